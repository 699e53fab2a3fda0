//! `fmt.Sprintf`

use super::{bytes_of, display};
use crate::quote::{quote, quote_ascii, quote_char};
use crate::value::Value;
use yaml::number::float_g;

/// Widths and precisions beyond this are errors in Go as well.
const MAX_NUMBER: i64 = 1_000_000;

#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    plus: bool,
    minus: bool,
    sharp: bool,
    /// `%#v`: as Go's source writes it.
    source: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

struct Printer<'a> {
    out: Vec<u8>,
    args: &'a [Value],
    next: usize,
    reordered: bool,
}

pub(crate) fn sprintf(format: &[u8], args: &[Value]) -> Vec<u8> {
    let mut printer = Printer { out: Vec::with_capacity(format.len()), args, next: 0, reordered: false };
    printer.run(format);
    printer.out
}

impl Printer<'_> {
    fn run(&mut self, format: &[u8]) {
        let mut at = 0;
        while at < format.len() {
            let start = at;
            while at < format.len() && format[at] != b'%' {
                at += 1;
            }
            self.out.extend_from_slice(&format[start..at]);
            if at < format.len() {
                at = self.verb(format, at + 1);
            }
        }
        if !self.reordered && self.next < self.args.len() {
            self.out.extend_from_slice(b"%!(EXTRA ");
            for (index, arg) in self.args[self.next..].iter().enumerate() {
                if index > 0 {
                    self.out.extend_from_slice(b", ");
                }
                if arg.is_nil() {
                    self.out.extend_from_slice(b"<nil>");
                } else {
                    self.out.extend_from_slice(arg.type_name().as_bytes());
                    self.out.push(b'=');
                    display(arg, &mut self.out);
                }
            }
            self.out.push(b')');
        }
    }

    /// `[3]`: which argument comes next. Gives where to go on and whether the index is good.
    fn index(&mut self, format: &[u8], at: usize) -> (usize, bool) {
        if format.get(at) != Some(&b'[') {
            return (at, true);
        }
        self.reordered = true;
        let Some(length) = format[at..].iter().position(|&byte| byte == b']') else {
            return (at + 1, false);
        };
        let number =
            std::str::from_utf8(&format[at + 1..at + length]).ok().and_then(|text| text.parse().ok());
        match number {
            Some(number @ 1..) if number <= self.args.len() => {
                self.next = number - 1;
                (at + length + 1, true)
            }
            _ => (at + length + 1, false),
        }
    }

    fn number(&mut self, format: &[u8], at: &mut usize) -> Result<Option<i64>, ()> {
        if format.get(*at) == Some(&b'*') {
            *at += 1;
            let arg = self.args.get(self.next);
            self.next += 1;
            return match arg {
                Some(Value::Int(_, number)) if number.abs() <= MAX_NUMBER => Ok(Some(*number)),
                _ => Err(()),
            };
        }
        let mut number = None;
        while let Some(digit @ b'0'..=b'9') = format.get(*at) {
            number = Some(number.unwrap_or(0) * 10 + i64::from(digit - b'0'));
            if number > Some(MAX_NUMBER) {
                return Ok(None);
            }
            *at += 1;
        }
        Ok(number)
    }

    fn verb(&mut self, format: &[u8], mut at: usize) -> usize {
        let mut flags = Flags::default();
        while let Some(byte) = format.get(at) {
            match byte {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                _ => break,
            }
            at += 1;
        }
        let (after, mut good_index) = self.index(format, at);
        at = after;
        match self.number(format, &mut at) {
            Ok(Some(width)) => {
                flags.minus |= width < 0;
                flags.width = usize::try_from(width.abs()).ok();
            }
            Ok(None) => {}
            Err(()) => self.out.extend_from_slice(b"%!(BADWIDTH)"),
        }
        if format.get(at) == Some(&b'.') {
            at += 1;
            let (after, good) = self.index(format, at);
            at = after;
            good_index &= good;
            match self.number(format, &mut at) {
                Ok(number) => match usize::try_from(number.unwrap_or(0)) {
                    Ok(precision) => flags.precision = Some(precision),
                    Err(_) => self.out.extend_from_slice(b"%!(BADPREC)"),
                },
                Err(()) => self.out.extend_from_slice(b"%!(BADPREC)"),
            }
        }
        let (after, good) = self.index(format, at);
        at = after;
        good_index &= good;
        if at >= format.len() {
            self.out.extend_from_slice(b"%!(NOVERB)");
            return at;
        }
        let character = crate::format::first_char(&format[at..]);
        at += character.len_utf8().min(format.len() - at);
        self.apply(character, flags, good_index);
        at
    }

    fn apply(&mut self, verb: char, flags: Flags, good_index: bool) {
        if verb == '%' {
            self.out.push(b'%');
            return;
        }
        let problem = if !good_index {
            Some("(BADINDEX)")
        } else if self.next >= self.args.len() {
            Some("(MISSING)")
        } else {
            None
        };
        if let Some(problem) = problem {
            self.out.extend_from_slice(format!("%!{verb}{problem}").as_bytes());
            return;
        }
        let arg = self.args[self.next].clone();
        self.next += 1;
        let mut flags = flags;
        if verb == 'v' {
            flags.source = std::mem::take(&mut flags.sharp);
            flags.plus = false;
        }
        self.value(verb, flags, &arg);
    }

    fn value(&mut self, verb: char, flags: Flags, value: &Value) {
        match verb {
            'T' => return self.pad_text(value.type_name().as_bytes(), flags),
            'w' => return self.bad_verb(verb, flags, value),
            _ => {}
        }
        if value.is_nil() {
            return match verb {
                'v' => self.pad_text(b"<nil>", flags),
                _ => self.bad_verb(verb, flags, value),
            };
        }
        if let Some(bytes) = bytes_of(value)
            && matches!(verb, 's' | 'q' | 'x' | 'X')
        {
            return self.string(verb, flags, bytes, value);
        }
        match value {
            Value::Bool(truth) => match verb {
                't' | 'v' => self.pad_text(if *truth { b"true" } else { b"false" }, flags),
                _ => self.bad_verb(verb, flags, value),
            },
            Value::Int(kind, number) => match (kind, verb) {
                (crate::value::IntKind::Duration, 'v' | 's') => {
                    let mut text = Vec::new();
                    display(value, &mut text);
                    self.pad_text(&text, flags);
                }
                _ => self.integer(verb, flags, *number, value),
            },
            Value::Float(number) => self.float(verb, flags, *number, value),
            Value::Str(text) => self.string(verb, flags, text, value),
            Value::List(_) | Value::Map(_) if flags.source => self.source(flags, value),
            Value::List(list) => {
                self.out.push(b'[');
                for (index, item) in list.to_vec().iter().enumerate() {
                    if index > 0 {
                        self.out.push(b' ');
                    }
                    self.element(verb, flags, item);
                }
                self.out.push(b']');
            }
            Value::Map(map) => {
                self.out.extend_from_slice(b"map[");
                for (index, (key, item)) in map.to_vec().iter().enumerate() {
                    if index > 0 {
                        self.out.push(b' ');
                    }
                    self.value(verb, flags, &Value::Str(key.clone()));
                    self.out.push(b':');
                    self.element(verb, flags, item);
                }
                self.out.push(b']');
            }
            Value::Object(object) => match verb {
                'v' if flags.source => self.pad_text(object.display().as_bytes(), flags),
                'v' | 's' | 'q' | 'x' | 'X' => self.string(verb, flags, object.display().as_bytes(), value),
                'd' => self.pad_text(object.display().as_bytes(), flags),
                _ => self.bad_verb(verb, flags, value),
            },
            Value::Nil => {}
        }
    }

    /// A collection as Go's source writes it.
    fn source(&mut self, flags: Flags, value: &Value) {
        let (nil, entries): (bool, Vec<(Option<Value>, Value)>) = match value {
            Value::List(list) => {
                (list.is_nil(), list.to_vec().into_iter().map(|item| (None, item)).collect())
            }
            Value::Map(map) => {
                let entries = map.to_vec().into_iter();
                (map.kind().is_nil(), entries.map(|(key, item)| (Some(Value::Str(key)), item)).collect())
            }
            _ => (false, Vec::new()),
        };
        self.out.extend_from_slice(value.type_name().as_bytes());
        if nil {
            self.out.extend_from_slice(b"(nil)");
            return;
        }
        self.out.push(b'{');
        for (index, (key, item)) in entries.iter().enumerate() {
            if index > 0 {
                self.out.extend_from_slice(b", ");
            }
            if let Some(key) = key {
                self.value('v', flags, key);
                self.out.push(b':');
            }
            if item.is_nil() {
                self.out.extend_from_slice(b"interface {}(nil)");
            } else {
                self.value('v', flags, item);
            }
        }
        self.out.push(b'}');
    }

    /// A part of a collection; a nil in one is written as it is, whatever the verb.
    fn element(&mut self, verb: char, flags: Flags, value: &Value) {
        if value.is_nil() {
            self.out.extend_from_slice(b"<nil>");
        } else {
            self.value(verb, flags, value);
        }
    }

    fn bad_verb(&mut self, verb: char, flags: Flags, value: &Value) {
        self.out.extend_from_slice(format!("%!{verb}(").as_bytes());
        if value.is_nil() {
            self.out.extend_from_slice(b"<nil>");
        } else {
            self.out.extend_from_slice(value.type_name().as_bytes());
            self.out.push(b'=');
            self.value('v', flags, value);
        }
        self.out.push(b')');
    }

    fn pad(&mut self, text: &[u8], width: usize, flags: Flags, zeros: bool) {
        let missing = flags.width.unwrap_or(0).saturating_sub(width);
        if flags.minus {
            self.out.extend_from_slice(text);
            self.out.resize(self.out.len() + missing, b' ');
        } else {
            self.out.resize(self.out.len() + missing, if zeros { b'0' } else { b' ' });
            self.out.extend_from_slice(text);
        }
    }

    fn pad_text(&mut self, text: &[u8], flags: Flags) {
        let width = String::from_utf8_lossy(text).chars().count();
        self.pad(text, width, flags, flags.zero && !flags.minus);
    }

    fn string(&mut self, verb: char, flags: Flags, text: &[u8], value: &Value) {
        let cut = |text: &[u8]| match flags.precision {
            Some(count) => {
                let lossy = String::from_utf8_lossy(text);
                lossy.char_indices().nth(count).map_or(text.len(), |(at, _)| at).min(text.len())
            }
            None => text.len(),
        };
        match verb {
            'v' if flags.source => self.pad_text(quote(text).as_bytes(), flags),
            'v' | 's' => self.pad_text(&text[..cut(text)], flags),
            'q' => {
                let text = &text[..cut(text)];
                let raw =
                    flags.sharp && !text.iter().any(|&byte| byte == b'`' || (byte < b' ' && byte != b'\t'));
                let quoted = if raw {
                    format!("`{}`", String::from_utf8_lossy(text))
                } else if flags.plus {
                    quote_ascii(text)
                } else {
                    quote(text)
                };
                self.pad_text(quoted.as_bytes(), flags);
            }
            'x' | 'X' => {
                let text = &text[..flags.precision.unwrap_or(text.len()).min(text.len())];
                let mut hex = String::new();
                for (index, byte) in text.iter().enumerate() {
                    if flags.space && index > 0 {
                        hex.push(' ');
                    }
                    if flags.sharp && (flags.space || index == 0) {
                        hex.push_str(if verb == 'x' { "0x" } else { "0X" });
                    }
                    hex.push_str(&if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") });
                }
                self.pad_text(hex.as_bytes(), flags);
            }
            _ => self.bad_verb(verb, flags, value),
        }
    }

    fn integer(&mut self, verb: char, flags: Flags, number: i64, value: &Value) {
        let unsigned = matches!(value, Value::Int(kind, _) if kind.is_unsigned());
        let size = number.unsigned_abs();
        let digits = match verb {
            'v' | 'd' => size.to_string(),
            'b' => format!("{size:b}"),
            'o' | 'O' => format!("{size:o}"),
            'x' => format!("{size:x}"),
            'X' => format!("{size:X}"),
            'c' | 'q' | 'U' => {
                let character = u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{FFFD}');
                let text = match verb {
                    'c' => character.to_string(),
                    'q' => quote_char(character, flags.plus),
                    _ if flags.sharp => format!("U+{number:04X} '{character}'"),
                    _ => format!("U+{number:04X}"),
                };
                return self.pad_text(text.as_bytes(), flags);
            }
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' | 's' | 't' => return self.bad_verb(verb, flags, value),
            _ => return self.bad_verb(verb, flags, value),
        };
        let sign = if number < 0 {
            "-"
        } else if flags.plus && !unsigned {
            "+"
        } else if flags.space {
            " "
        } else {
            ""
        };
        let prefix = match verb {
            'O' => "0o",
            'b' if flags.sharp => "0b",
            'o' if flags.sharp => "0",
            'x' if flags.sharp => "0x",
            'X' if flags.sharp => "0X",
            _ => "",
        };
        if flags.precision == Some(0) && number == 0 {
            return self.pad(b"", 0, flags, false);
        }
        let mut least = flags.precision.unwrap_or(0);
        if flags.precision.is_none() && flags.zero && !flags.minus {
            least = flags.width.unwrap_or(0).saturating_sub(sign.len());
        }
        let zeros = "0".repeat(least.saturating_sub(digits.len()));
        let text = format!("{sign}{prefix}{zeros}{digits}");
        self.pad(text.as_bytes(), text.len(), flags, false);
    }

    fn float(&mut self, verb: char, flags: Flags, number: f64, value: &Value) {
        let mut text = match verb {
            'v' if flags.precision.is_none() => float_g(number),
            'v' | 'g' | 'G' => match flags.precision {
                None => float_g(number),
                Some(precision) => general(number, precision.max(1)),
            },
            'e' | 'E' => exponent(number, flags.precision.unwrap_or(6)),
            'x' | 'X' => hexadecimal(number, flags.precision),
            'b' => binary(number),
            'f' | 'F' => {
                let precision = flags.precision.unwrap_or(6);
                if number.is_finite() { format!("{number:.precision$}") } else { float_g(number) }
            }
            _ => return self.bad_verb(verb, flags, value),
        };
        match verb {
            'G' | 'E' => text = text.replace('e', "E"),
            'X' => text = text.to_uppercase(),
            _ => {}
        }
        if flags.sharp && verb != 'b' && number.is_finite() {
            text = with_zeros(&text, verb, flags.precision);
        }
        let bare = text.trim_start_matches(['-', '+']).to_owned();
        let sign = if text.starts_with('-') {
            "-"
        } else if flags.plus {
            "+"
        } else if flags.space {
            " "
        } else if number.is_infinite() {
            "+"
        } else {
            ""
        };
        if flags.zero && !flags.minus && number.is_finite() {
            let missing = flags.width.unwrap_or(0).saturating_sub(sign.len() + bare.len());
            let text = format!("{sign}{}{bare}", "0".repeat(missing));
            return self.pad(text.as_bytes(), text.len(), flags, false);
        }
        let text = format!("{sign}{bare}");
        self.pad(text.as_bytes(), text.len(), flags, false);
    }
}

/// What the flag `#` does to a float: it keeps the point, and zeros up to the precision.
fn with_zeros(text: &str, verb: char, precision: Option<usize>) -> String {
    let mut missing = match verb {
        'v' | 'g' | 'G' | 'x' => precision.map_or(6, |digits| i64::try_from(digits).unwrap_or(i64::MAX)),
        _ => 0,
    };
    let hexadecimal = matches!(verb, 'x' | 'X');
    let tail = text.find(|mark| matches!(mark, 'p' | 'P') || (!hexadecimal && matches!(mark, 'e' | 'E')));
    let (number, tail) = text.split_at(tail.unwrap_or(text.len()));
    let bare = number.trim_start_matches(['-', '+']);
    let mut counts = false;
    for digit in bare.chars().filter(|digit| *digit != '.') {
        counts |= digit != '0';
        missing -= i64::from(counts);
    }
    let mut out = number.to_owned();
    if !bare.contains('.') {
        missing -= i64::from(bare == "0");
        out.push('.');
    }
    out.extend(std::iter::repeat_n('0', usize::try_from(missing).unwrap_or(0)));
    out + tail
}

/// `strconv.FormatFloat(number, 'b', -1, 64)`: the mantissa as an integer, and the power of two.
fn binary(number: f64) -> String {
    if !number.is_finite() {
        return float_g(number);
    }
    let bits = number.to_bits();
    let (fraction, power) = (bits & ((1 << 52) - 1), i64::try_from(bits >> 52 & 0x7FF).unwrap_or(0));
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let (mantissa, power) = if power == 0 { (fraction, 1) } else { (fraction | 1 << 52, power) };
    format!("{sign}{mantissa}p{:+}", power - 1075)
}

/// `%x`: the digits of the mantissa in base 16, the exponent a power of two.
fn hexadecimal(number: f64, precision: Option<usize>) -> String {
    if !number.is_finite() {
        return float_g(number);
    }
    let bits = number.to_bits();
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let mut mantissa = bits & 0x000F_FFFF_FFFF_FFFF;
    let biased = i32::try_from(bits >> 52 & 0x7FF).unwrap_or(0);
    let mut exponent = biased - 1023;
    if biased == 0 && mantissa == 0 {
        exponent = 0;
    } else if biased == 0 {
        // Subnormal numbers are shown normalised.
        let shift = mantissa.leading_zeros() - 11;
        mantissa <<= shift;
        exponent = -1022 - i32::try_from(shift).unwrap_or(0);
    } else {
        mantissa |= 1 << 52;
    }
    if let Some(precision) = precision.filter(|&precision| precision < 13) {
        let drop = 52 - 4 * precision;
        let (half, rest) = (1u64 << (drop - 1), mantissa & ((1 << drop) - 1));
        mantissa >>= drop;
        if rest > half || (rest == half && mantissa & 1 == 1) {
            mantissa += 1;
        }
        mantissa <<= drop;
        if mantissa >> 53 != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let digits = format!("{:013x}", mantissa & 0x000F_FFFF_FFFF_FFFF);
    let digits = match precision {
        None => digits.trim_end_matches('0').to_owned(),
        Some(precision) => format!("{digits:0<precision$}")[..precision].to_owned(),
    };
    let point = if digits.is_empty() { "" } else { "." };
    let mark = if exponent < 0 { '-' } else { '+' };
    format!("{sign}0x{}{point}{digits}p{mark}{:02}", mantissa >> 52, exponent.abs())
}

/// `%.{precision}e`
fn exponent(number: f64, precision: usize) -> String {
    if !number.is_finite() {
        return float_g(number);
    }
    let text = format!("{number:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// `%.{precision}g`
fn general(number: f64, precision: usize) -> String {
    if !number.is_finite() || number == 0.0 {
        return float_g(number);
    }
    let scientific = format!("{number:.*e}", precision - 1);
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let precision = i32::try_from(precision).unwrap_or(i32::MAX);
    // The digits that are left without trailing zeros bound the plain form as well.
    let digits = i32::try_from(trimmed(mantissa).chars().filter(char::is_ascii_digit).count()).unwrap_or(0);
    let limit = if precision > digits && digits > power { digits } else { precision };
    if power < -4 || power >= limit {
        format!("{}e{}{:02}", trimmed(mantissa), if power < 0 { '-' } else { '+' }, power.abs())
    } else {
        let decimals = usize::try_from(precision - 1 - power).unwrap_or(0);
        trimmed(&format!("{number:.decimals$}"))
    }
}
