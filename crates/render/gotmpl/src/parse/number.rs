//! Numeric constants.

use crate::ast::Number;
use crate::lex::Kind;
use crate::quote::{quote, unquote_char};

pub(super) fn parse(text: &str, kind: Kind) -> Result<Number, String> {
    let mut number = Number { int: None, uint: None, float: None };
    if kind == Kind::CharConstant {
        let Some(character) = unquote_char(text) else {
            return Err(format!("malformed character constant: {text}"));
        };
        number.int = Some(i64::from(u32::from(character)));
        number.uint = Some(u64::from(u32::from(character)));
        number.float = Some(f64::from(u32::from(character)));
        return Ok(number);
    }
    if kind == Kind::Complex || text.ends_with('i') {
        return Err(format!("complex constants are not supported: {text}"));
    }
    number.uint = parse_uint(text);
    number.int = parse_int(text);
    if number.int == Some(0) {
        // -0 and +0 are not unsigned numbers to ParseUint.
        number.uint = Some(0);
    }
    #[expect(clippy::cast_precision_loss, reason = "a constant has every type it can have")]
    if let Some(value) = number.int {
        number.float = Some(value as f64);
    } else if let Some(value) = number.uint {
        number.float = Some(value as f64);
    } else if let Some(value) = parse_float(text) {
        if !text.contains(['.', 'e', 'E', 'p', 'P']) {
            return Err(format!("integer overflow: {}", quote(text.as_bytes())));
        }
        number.float = Some(value);
        #[expect(clippy::cast_possible_truncation, reason = "compared with the value afterwards")]
        let integer = value as i64;
        if integer as f64 == value {
            number.int = Some(integer);
            number.uint = u64::try_from(integer).ok();
        }
    }
    if number.float.is_none() {
        return Err(format!("illegal number syntax: {}", quote(text.as_bytes())));
    }
    Ok(number)
}

/// `strconv.ParseUint(text, 0, 64)`
pub(crate) fn parse_uint(text: &str) -> Option<u64> {
    let (radix, digits) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &text[2..]),
        [b'0', b'b' | b'B', ..] => (2, &text[2..]),
        [b'0', b'o' | b'O', ..] => (8, &text[2..]),
        [b'0', _, ..] => (8, &text[1..]),
        _ => (10, text),
    };
    if digits.contains('_') && !underscores_fit(text) {
        return None;
    }
    let plain = digits.replace('_', "");
    if plain.is_empty() || !plain.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    u64::from_str_radix(&plain, radix).ok()
}

/// `strconv.ParseInt(text, 0, 64)`
pub(crate) fn parse_int(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix('-') {
        return 0i64.checked_sub_unsigned(parse_uint(digits)?);
    }
    i64::try_from(parse_uint(text.strip_prefix('+').unwrap_or(text))?).ok()
}

/// Underscores must stand between digits, or between a base prefix and a digit.
fn underscores_fit(text: &str) -> bool {
    let prefixed = matches!(text.as_bytes(), [b'0', b'x' | b'X' | b'b' | b'B' | b'o' | b'O', ..]);
    let body = if prefixed { &text[2..] } else { text };
    !body.ends_with('_') && !body.contains("__") && (prefixed || !body.starts_with('_'))
}

/// Underscores of a float must stand between digits.
fn underscores_part_digits(text: &str) -> bool {
    let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = text.as_bytes();
    bytes
        .iter()
        .enumerate()
        .all(|(at, byte)| *byte != b'_' || (at > 0 && digit(bytes.get(at - 1)) && digit(bytes.get(at + 1))))
}

/// `strconv.ParseFloat(text, 64)` of what the lexer lets pass.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.starts_with("0x") || unsigned.starts_with("0X") {
        let digits = &unsigned[2..];
        if !underscores_part_digits(digits.strip_prefix('_').unwrap_or(digits)) {
            return None;
        }
        let value = parse_hex_float(&digits.replace('_', ""))?;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    let starts = unsigned.starts_with(|digit: char| digit.is_ascii_digit() || digit == '.');
    if !starts || !underscores_part_digits(unsigned) {
        return None;
    }
    text.replace('_', "").parse().ok().filter(|value: &f64| value.is_finite())
}

fn parse_hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut value = 0.0;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let shift = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    Some(value * 2f64.powi(exponent.checked_sub(shift)?))
}
