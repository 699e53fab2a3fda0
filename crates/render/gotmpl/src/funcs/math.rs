//! Numbers.

mod decimal;

use super::Type::{Any, Float, Int, Str as Text};
use super::{Function, fixed, int, text, variadic};
use crate::error::Error;
use crate::exec::Machine;
use crate::parse::parse_int;
use crate::value::{IntKind, List, ListKind, Value};
use decimal::Decimal;

const TWO: &[super::Type] = &[Any, Any];

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("atoi", &[Text], |_, args| {
        let text = text(args, 0).text();
        let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
        let leading = digits.bytes().take_while(u8::is_ascii_digit).count();
        // A number that is too large is told before what is wrong after it.
        let good = leading > 0 && (leading == digits.len() || digits[..leading].parse::<u64>().is_err());
        Ok(Value::int(if good { text.parse().unwrap_or_else(|_| saturated(&text)) } else { 0 }))
    }),
    fixed("int64", &[Any], |_, args| Ok(Value::int64(to_int(&args[0])))),
    fixed("int", &[Any], |_, args| Ok(Value::int(to_int(&args[0])))),
    fixed("float64", &[Any], |_, args| Ok(Value::Float(to_float(&args[0])))),
    variadic("seq", &[], Int, seq),
    fixed("toDecimal", &[Any], |_, args| {
        let text = crate::format::to_text(&args[0]);
        Ok(Value::int64(i64::from_str_radix(&text.text(), 8).unwrap_or(0)))
    }),
    fixed("until", &[Int], |_, args| {
        let count = int(args, 0);
        range(0, count, if count < 0 { -1 } else { 1 })
    }),
    fixed("untilStep", &[Int, Int, Int], |_, args| range(int(args, 0), int(args, 1), int(args, 2))),
    fixed("add1", &[Any], |_, args| Ok(Value::int64(to_int(&args[0]).wrapping_add(1)))),
    variadic("add", &[], Any, |_, args| Ok(Value::int64(args.iter().map(to_int).fold(0, i64::wrapping_add)))),
    fixed("sub", TWO, |_, args| Ok(Value::int64(to_int(&args[0]).wrapping_sub(to_int(&args[1]))))),
    fixed("div", TWO, |_, args| divided(args, i64::wrapping_div)),
    fixed("mod", TWO, |_, args| divided(args, i64::wrapping_rem)),
    variadic("mul", &[Any], Any, |_, args| {
        Ok(Value::int64(args.iter().map(to_int).fold(1, i64::wrapping_mul)))
    }),
    fixed("add1f", &[Any], |_, args| decimals(to_float(&args[0]), &[Value::int(1)], Decimal::add)),
    variadic("addf", &[], Any, |_, args| decimals(0.0, args, Decimal::add)),
    variadic("subf", &[Any], Any, |_, args| decimals(to_float(&args[0]), &args[1..], Decimal::sub)),
    variadic("divf", &[Any], Any, |_, args| decimals(to_float(&args[0]), &args[1..], Decimal::div)),
    variadic("mulf", &[Any], Any, |_, args| decimals(to_float(&args[0]), &args[1..], Decimal::mul)),
    variadic("max", &[Any], Any, |_, args| Ok(Value::int64(args.iter().map(to_int).max().unwrap_or(0)))),
    variadic("biggest", &[Any], Any, |_, args| Ok(Value::int64(args.iter().map(to_int).max().unwrap_or(0)))),
    variadic("min", &[Any], Any, |_, args| Ok(Value::int64(args.iter().map(to_int).min().unwrap_or(0)))),
    variadic("maxf", &[Any], Any, |_, args| {
        Ok(Value::Float(args.iter().map(to_float).fold(f64::NEG_INFINITY, larger)))
    }),
    variadic("minf", &[Any], Any, |_, args| {
        Ok(Value::Float(args.iter().map(to_float).fold(f64::INFINITY, |a, b| -larger(-a, -b))))
    }),
    fixed("ceil", &[Any], |_, args| Ok(Value::Float(to_float(&args[0]).ceil()))),
    fixed("floor", &[Any], |_, args| Ok(Value::Float(to_float(&args[0]).floor()))),
    variadic("round", &[Any, Int], Float, round),
];

/// `math.Max`: zero is larger than its negative, and what is no number wins over all but infinity.
fn larger(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { b } else { a }
    } else if a > b {
        a
    } else {
        b
    }
}

fn saturated(text: &str) -> i64 {
    if text.starts_with('-') { i64::MIN } else { i64::MAX }
}

/// Go's conversion of a float to an integer on amd64.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn truncated(value: f64) -> i64 {
    if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value) {
        return i64::MIN;
    }
    value as i64
}

/// `cast.ToInt64`: what cannot be converted is zero.
pub(super) fn to_int(value: &Value) -> i64 {
    match value {
        Value::Int(IntKind::Duration, _) => 0,
        Value::Int(_, value) => *value,
        Value::Float(value) => truncated(*value),
        Value::Bool(value) => i64::from(*value),
        Value::Str(text) => parse_int(without_zero_decimals(&text.text())).unwrap_or(0),
        _ => 0,
    }
}

/// "3.00" counts as "3".
fn without_zero_decimals(text: &str) -> &str {
    match text.rsplit_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
        _ => text,
    }
}

/// `cast.ToFloat64`
pub(super) fn to_float(value: &Value) -> f64 {
    match value {
        Value::Int(IntKind::Duration, _) => 0.0,
        #[expect(clippy::cast_precision_loss, reason = "as Go converts")]
        Value::Int(_, value) => *value as f64,
        Value::Float(value) => *value,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Str(text) => parse_float(&text.text()).unwrap_or(0.0),
        _ => 0.0,
    }
}

/// `strconv.ParseFloat(text, 64)` without errors of range.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
        return Some(sign * f64::INFINITY);
    }
    if text.eq_ignore_ascii_case("nan") {
        return Some(f64::NAN);
    }
    crate::parse::parse_float(text)
}

fn divided(args: &[Value], divide: fn(i64, i64) -> i64) -> Result<Value, Error> {
    match to_int(&args[1]) {
        0 => Err("runtime error: integer divide by zero".into()),
        divisor => Ok(Value::int64(divide(to_int(&args[0]), divisor))),
    }
}

/// The integers of Sprig's `untilStep`.
fn steps(start: i64, stop: i64, step: i64) -> Result<Vec<i64>, Error> {
    let mut found = Vec::new();
    let down = stop < start;
    if down == (step >= 0) || step == 0 {
        return Ok(found);
    }
    let mut at = start;
    while if down { at > stop } else { at < stop } {
        if found.len() >= 10_000_000 {
            return Err("runtime error: out of memory".into());
        }
        found.push(at);
        at = at.saturating_add(step);
    }
    Ok(found)
}

fn range(start: i64, stop: i64, step: i64) -> Result<Value, Error> {
    let items = steps(start, stop, step)?.into_iter().map(Value::int).collect();
    Ok(Value::List(List::appended(ListKind::Ints, items)))
}

fn seq(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let (start, step, end) = match args.len() {
        1 => (1, None, int(args, 0)),
        2 => (int(args, 0), None, int(args, 1)),
        3 => (int(args, 0), Some(int(args, 1)), int(args, 2)),
        _ => return Ok("".into()),
    };
    let direction = if end < start { -1 } else { 1 };
    if end < start && step.is_some_and(|step| step > 0) {
        return Ok("".into());
    }
    let found = steps(start, end.saturating_add(direction), step.unwrap_or(direction))?;
    let texts: Vec<String> = found.iter().map(i64::to_string).collect();
    Ok(texts.join(" ").into())
}

fn round(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let round_on = args.get(2).map_or(0.5, to_float);
    let power = power_of_ten(int(args, 1));
    let digit = power * to_float(&args[0]);
    let rounded = if digit.fract() >= round_on { digit.ceil() } else { digit.floor() };
    Ok(Value::Float(rounded / power))
}

/// `math.Pow(10, float64(exponent))`. Go multiplies squares, which is not always what is nearest.
fn power_of_ten(exponent: i64) -> f64 {
    // 10 is 0.625 times 2^4.
    let (mut square, mut shift) = (0.625f64, 4i32);
    let (mut mantissa, mut binary) = (1f64, 0i32);
    let mut left = exponent.unsigned_abs();
    while left != 0 {
        if shift.abs() > 1 << 12 {
            binary += shift;
            break;
        }
        if left & 1 == 1 {
            mantissa *= square;
            binary += shift;
        }
        square *= square;
        shift <<= 1;
        if square < 0.5 {
            square += square;
            shift -= 1;
        }
        left >>= 1;
    }
    if exponent < 0 {
        (mantissa, binary) = (1.0 / mantissa, -binary);
    }
    // In two steps, since a power of two alone may be too large or too small.
    let half = binary / 2;
    mantissa * 2f64.powi(half) * 2f64.powi(binary - half)
}

fn decimals(
    first: f64,
    others: &[Value],
    operation: fn(Decimal, Decimal) -> Option<Decimal>,
) -> Result<Value, Error> {
    let too_large = || Error::from("decimal out of range");
    let mut result = Decimal::new(first).ok_or_else(too_large)?;
    for other in others {
        let other = Decimal::new(to_float(other)).ok_or_else(too_large)?;
        // What has more digits than fit is rounded to those a float can tell apart, and tried once more.
        let found = operation(result, other).or_else(|| operation(result.short(), other.short()));
        result = match found {
            Some(result) => result,
            None if other.is_zero() => return Err("decimal division by 0".into()),
            None => return Err(too_large()),
        };
    }
    Ok(Value::Float(result.to_float()))
}
