//! The type of a plain scalar by go-yaml v3's rules, which kustomize reads with: YAML 1.2 words, 1.1 numbers.

use serde_json::{Number, Value};

use crate::node::Tag;

/// The tag a plain scalar with this text gets.
pub(crate) fn tag(text: &str) -> Tag {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Tag::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => return Tag::Bool,
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => return Tag::Float,
        _ => {}
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return Tag::Str;
    }
    if text.as_bytes()[0].is_ascii_digit() && timestamp(text).is_some() {
        return Tag::Timestamp;
    }
    let plain = text.replace('_', "");
    if !text.starts_with('.') && integer(&plain).is_some() {
        return Tag::Int;
    }
    if float(&plain).is_some() { Tag::Float } else { Tag::Str }
}

/// The JSON value of a text that has this tag; `None` if the text does not fit it or JSON has no such value.
pub(crate) fn value(text: &str, wanted: Tag) -> Option<Value> {
    match wanted {
        Tag::Str | Tag::Empty => Some(text.into()),
        Tag::Null => (tag(text) == Tag::Null).then_some(Value::Null),
        Tag::Bool => match tag(text) {
            Tag::Bool => Some(text.eq_ignore_ascii_case("true").into()),
            _ => None,
        },
        Tag::Int => integer(&text.replace('_', "")).map(Value::Number),
        Tag::Float => {
            let number = float(&text.replace('_', ""))?;
            yaml::number::float_to_integer(number)
                .map(Number::from)
                .or_else(|| Number::from_f64(number))
                .map(Value::Number)
        }
        Tag::Timestamp => timestamp(text).map(Value::String),
    }
}

/// `strconv.ParseInt(text, 0, 64)`, then `ParseUint`.
fn integer(text: &str) -> Option<Number> {
    let value = yaml::number::integer(text)?;
    i64::try_from(value).map(Number::from).or_else(|_| u64::try_from(value).map(Number::from)).ok()
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let fits = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    if !fits || exponent.is_some_and(|exponent| exponent.is_empty() || !digits(exponent)) {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A timestamp in one of go-yaml's four forms, as Go's `time.Time` prints in JSON.
fn timestamp(text: &str) -> Option<String> {
    let mut rest = text;
    let year = digits(&mut rest, 4, 4)?;
    let month = part(&mut rest, "-", 1)?;
    let day = part(&mut rest, "-", 1)?;
    if !(1..=12).contains(&month) || day == 0 || day > days(year, month) {
        return None;
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    if rest.is_empty() {
        return Some(format!("{date}T00:00:00Z"));
    }
    let separated_by_space = rest.starts_with(' ');
    rest = rest.strip_prefix(['T', 't', ' '])?.trim_start_matches(' ');
    let (hour, minute) = (digits(&mut rest, 1, 2)?, part(&mut rest, ":", 1)?);
    let second = part(&mut rest, ":", 1)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut clock = format!("{hour:02}:{minute:02}:{second:02}");
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let kept = fraction[..count.min(9)].trim_end_matches('0');
        if count == 0 {
            return None;
        }
        if !kept.is_empty() {
            clock = format!("{clock}.{kept}");
        }
        rest = &fraction[count..];
    }
    let zone = match rest {
        "" if separated_by_space => "Z",
        "Z" | "+00:00" | "-00:00" => "Z",
        zone if is_offset(zone) => zone,
        _ => return None,
    };
    Some(format!("{date}T{clock}{zone}"))
}

fn is_offset(zone: &str) -> bool {
    matches!(zone.as_bytes(), [b'+' | b'-', a, b, b':', c, d] if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit()))
}

fn part(rest: &mut &str, separator: &str, least: usize) -> Option<u32> {
    *rest = rest.strip_prefix(separator)?;
    digits(rest, least, 2)
}

fn digits(rest: &mut &str, least: usize, most: usize) -> Option<u32> {
    let count = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, after) = rest.split_at(count);
    *rest = after;
    if count < least { None } else { number.parse().ok() }
}

fn days(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: Tag, json: &str) {
        assert_eq!(tag(text), wanted, "{text}");
        assert_eq!(value(text, wanted).unwrap().to_string(), json, "{text}");
    }

    #[test]
    fn plain_scalars_have_the_types_of_go_yaml_v3() {
        check("yes", Tag::Str, "\"yes\"");
        check("True", Tag::Bool, "true");
        check("~", Tag::Null, "null");
        check("0755", Tag::Int, "493");
        check("0o755", Tag::Int, "493");
        check("1_000", Tag::Int, "1000");
        check("18446744073709551615", Tag::Int, "18446744073709551615");
        check("1.0", Tag::Float, "1");
        check("0.2", Tag::Float, "0.2");
        check(".5", Tag::Float, "0.5");
        check("1e3", Tag::Float, "1000");
        check("1.2.3", Tag::Str, "\"1.2.3\"");
        check("-", Tag::Str, "\"-\"");
        check("0x1f", Tag::Int, "31");
        check("2024-02-30", Tag::Str, "\"2024-02-30\"");
        check("2024-01-01", Tag::Timestamp, "\"2024-01-01T00:00:00Z\"");
        check("2001-12-14 21:59:43.10", Tag::Timestamp, "\"2001-12-14T21:59:43.1Z\"");
        check("2001-12-14t21:59:43+05:00", Tag::Timestamp, "\"2001-12-14T21:59:43+05:00\"");
    }

    #[test]
    fn text_that_does_not_fit_its_tag_has_no_value() {
        assert_eq!(value("abc", Tag::Int), None);
        assert_eq!(value(".inf", Tag::Float), None);
        assert_eq!(value("3", Tag::Bool), None);
    }
}
