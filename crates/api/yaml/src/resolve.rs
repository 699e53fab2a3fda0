//! The type of a plain scalar, by go-yaml v2's rules (YAML 1.1 without sexagesimal numbers).

use std::borrow::Cow;

/// What a scalar's text stands for. A timestamp reads as the string it is, but may not be written plain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Timestamp,
    String,
}

pub(crate) fn resolve(text: &str) -> Scalar {
    let Some(&first) = text.as_bytes().first() else { return Scalar::Null };
    match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => word(text),
        b'.' => match text {
            ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
            ".inf" | ".Inf" | ".INF" => Scalar::Float(f64::INFINITY),
            _ if is_float(text) => float(text).unwrap_or(Scalar::String),
            _ => Scalar::String,
        },
        b'+' | b'-' | b'0'..=b'9' => number(text),
        _ => Scalar::String,
    }
}

fn word(text: &str) -> Scalar {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Scalar::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Scalar::Bool(false)
        }
        "~" | "null" | "Null" | "NULL" => Scalar::Null,
        _ => Scalar::String,
    }
}

fn number(text: &str) -> Scalar {
    match text {
        "+.inf" | "+.Inf" | "+.INF" => return Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if is_timestamp(text) {
        return Scalar::Timestamp;
    }
    let plain = if text.contains('_') { Cow::Owned(text.replace('_', "")) } else { Cow::Borrowed(text) };
    if let Some(value) = integer(&plain) {
        return value;
    }
    if is_float(&plain)
        && let Some(value) = float(&plain)
    {
        return value;
    }
    Scalar::String
}

/// `strconv.ParseInt(text, 0, 64)`, then `ParseUint`.
fn integer(text: &str) -> Option<Scalar> {
    let value = crate::number::integer(text)?;
    i64::try_from(value).map(Scalar::Int).or_else(|_| u64::try_from(value).map(Scalar::Uint)).ok()
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`
fn is_float(text: &str) -> bool {
    let digits = |text: &mut &str| {
        let count = text.bytes().take_while(u8::is_ascii_digit).count();
        *text = &text[count..];
        count
    };
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole = digits(&mut rest);
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction;
        if digits(&mut rest) + whole == 0 || (whole == 0 && fraction.len() == rest.len()) {
            return false;
        }
    } else if whole == 0 {
        return false;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        rest = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if digits(&mut rest) == 0 {
            return false;
        }
    }
    rest.is_empty()
}

fn float(text: &str) -> Option<Scalar> {
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Scalar::Float)
}

/// Whether `time.Parse` takes the text in one of the four forms go-yaml tries.
pub(crate) fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return false;
    }
    let mut rest = &text[5..];
    let year = text[..4].parse().unwrap_or(0);
    let Some(month) = short_number(&mut rest).filter(|month| (1..=12).contains(month)) else { return false };
    let Some(after) = rest.strip_prefix('-') else { return false };
    rest = after;
    if !short_number(&mut rest).is_some_and(|day| (1..=days(year, month)).contains(&day)) {
        return false;
    }
    if rest.is_empty() {
        return true;
    }
    let zoned = rest.starts_with(['T', 't']);
    rest = if zoned { &rest[1..] } else { rest.trim_start_matches(' ') };
    if !zoned && !text[..text.len() - rest.len()].ends_with(' ') {
        return false;
    }
    is_clock(&mut rest) && if zoned { is_zone(rest) } else { rest.is_empty() }
}

fn short_number(rest: &mut &str) -> Option<u32> {
    let count = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
    let (digits, after) = rest.split_at(count);
    *rest = after;
    digits.parse().ok()
}

fn days(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_clock(rest: &mut &str) -> bool {
    for (limit, separator) in [(24, ":"), (60, ":"), (60, "")] {
        if short_number(rest).is_none_or(|number| number >= limit) {
            return false;
        }
        let Some(after) = rest.strip_prefix(separator) else { return false };
        *rest = after;
    }
    if let Some(fraction) = rest.strip_prefix(['.', ','])
        && fraction.starts_with(|digit: char| digit.is_ascii_digit())
    {
        *rest = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
    }
    true
}

fn is_zone(rest: &str) -> bool {
    match rest.as_bytes() {
        b"Z" => true,
        [b'+' | b'-', a, b, b':', c, d] => {
            [a, b, c, d].iter().all(|digit| digit.is_ascii_digit())
                && (a - b'0') * 10 + (b - b'0') <= 24
                && (c - b'0') * 10 + (d - b'0') < 60
        }
        _ => false,
    }
}

/// The text of standard base64 (line breaks are skipped); bytes that are not UTF-8 become replacement characters,
/// as in JSON.
pub(crate) fn base64_text(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut group, mut count, mut padding) = (0u32, 0, 0);
    for byte in text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')) {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                0
            }
            _ => return None,
        };
        if padding > 0 && byte != b'=' {
            return None;
        }
        group = group << 6 | u32::from(digit);
        count += 1;
        if count % 4 == 0 {
            bytes.extend_from_slice(&group.to_be_bytes()[1..]);
            group = 0;
        }
    }
    if count % 4 != 0 || padding > 2 {
        return None;
    }
    bytes.truncate(bytes.len() - padding);
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
