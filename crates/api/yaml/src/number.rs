//! Numbers in the text forms of Go's `strconv` and `encoding/json`.

/// The digits and the decimal exponent of the shortest text that reads back as `value`:
/// `value = 0.d1d2d3… × 10^exponent`.
fn shortest(value: f64, single: bool) -> (String, i32) {
    #[expect(clippy::cast_possible_truncation, reason = "the caller asks for single precision")]
    let text = if single { format!("{:e}", value.abs() as f32) } else { format!("{:e}", value.abs()) };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent = exponent.parse::<i32>().unwrap_or(0);
    if digits == "0" { (digits, 1) } else { (digits, exponent + 1) }
}

fn exponent_form(digits: &str, exponent: i32, out: &mut String) {
    out.push_str(&digits[..1]);
    if digits.len() > 1 {
        out.push('.');
        out.push_str(&digits[1..]);
    }
    let exponent = exponent - 1;
    out.push_str(if exponent < 0 { "e-" } else { "e+" });
    out.push_str(&format!("{:02}", exponent.abs()));
}

fn plain_form(digits: &str, exponent: i32, out: &mut String) {
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if exponent <= 0 {
        out.push_str("0.");
        out.extend((0..-exponent).map(|_| '0'));
        out.push_str(digits);
    } else if exponent >= count {
        out.push_str(digits);
        out.extend((0..exponent - count).map(|_| '0'));
    } else {
        let (whole, fraction) = digits.split_at(usize::try_from(exponent).unwrap_or(0));
        out.push_str(whole);
        out.push('.');
        out.push_str(fraction);
    }
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

fn general(value: f64, single: bool) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let mut out = String::new();
    if value.is_sign_negative() {
        out.push('-');
    }
    let (digits, exponent) = shortest(value, single);
    // Go decides between the forms as if the precision were six.
    if (-3..=6).contains(&exponent) {
        plain_form(&digits, exponent, &mut out);
    } else {
        exponent_form(&digits, exponent, &mut out);
    }
    out
}

/// `strconv.ParseInt(text, 0, 64)`, and where that fails `strconv.ParseUint`, as go-yaml reads an integer without
/// underscores: what it gives fits an `i64` or a `u64`. A sign goes with what fits an `i64` only.
#[must_use]
pub fn integer(text: &str) -> Option<i128> {
    let (negative, signed, digits) = match text.as_bytes().first()? {
        b'-' => (true, true, &text[1..]),
        b'+' => (false, true, &text[1..]),
        _ => (false, false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', _, ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // from_str_radix would take a second sign.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let size = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let value = if negative { -size } else { size };
    (!signed || i64::try_from(value).is_ok()).then_some(value)
}

/// `strconv.FormatFloat(value, 'g', -1, 64)`, also what `%v` prints: with an exponent from 1e6 on and
/// below 1e-4.
#[must_use]
pub fn float_g(value: f64) -> String {
    general(value, false)
}

/// `strconv.FormatFloat(value, 'g', -1, 32)`.
#[must_use]
pub fn float_g32(value: f64) -> String {
    general(value, true)
}

/// `strconv.FormatFloat(value, 'f', -1, 64)`.
#[must_use]
pub fn float_f(value: f64) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let mut out = String::new();
    if value.is_sign_negative() {
        out.push('-');
    }
    let (digits, exponent) = shortest(value, false);
    plain_form(&digits, exponent, &mut out);
    out
}

/// The text `encoding/json` writes for a finite float.
#[must_use]
pub fn float_json(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let mut out = String::new();
        if value < 0.0 {
            out.push('-');
        }
        let (digits, exponent) = shortest(value, false);
        exponent_form(&digits, exponent, &mut out);
        // e-09 becomes e-9; two digits stay for positive exponents, which are never below 21 here.
        if let Some(at) = out.find("e-0") {
            out.remove(at + 2);
        }
        return out;
    }
    float_f(value)
}

/// An integer with the same JSON text as the float, if that text is one.
#[must_use]
pub fn float_to_integer(value: f64) -> Option<i64> {
    if value.fract() != 0.0 || value.abs() >= 9.2e18 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
    let integer = value as i64;
    Some(integer)
}
