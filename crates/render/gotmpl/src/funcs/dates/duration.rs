//! `time.Duration`: "1h2m3.5s".

/// `Duration.String`
pub(crate) fn text(nanoseconds: i64) -> String {
    let size = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    if size == 0 {
        return "0s".to_owned();
    }
    let (unit, name) = match size {
        0..1_000 => return format!("{sign}{size}ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let fraction = |size: u64| {
        let digits = unit.to_string().len() - 1;
        let text = format!("{:0digits$}", size % unit);
        let text = text.trim_end_matches('0');
        if text.is_empty() { String::new() } else { format!(".{text}") }
    };
    if name != "s" {
        return format!("{sign}{}{}{name}", size / unit, fraction(size));
    }
    let seconds = size / unit;
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let tail = format!("{rest}{}s", fraction(size));
    match (hours, minutes) {
        (0, 0) => format!("{sign}{tail}"),
        (0, _) => format!("{sign}{minutes}m{tail}"),
        _ => format!("{sign}{hours}h{minutes}m{tail}"),
    }
}

/// `time.ParseDuration`, in nanoseconds.
pub(crate) fn parse(whole: &str) -> Result<i64, String> {
    let quoted = || super::layout::quote(whole);
    let invalid = || format!("time: invalid duration {}", quoted());
    let (negative, mut rest) = match whole.as_bytes().first() {
        Some(b'-') => (true, &whole[1..]),
        Some(b'+') => (false, &whole[1..]),
        _ => (false, whole),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let whole_digits = digits(rest);
        let (number, after) = rest.split_at(whole_digits);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(digits(after)),
            None => ("", after),
        };
        if number.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = after.find(|character: char| character == '.' || character.is_ascii_digit());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let scale: u128 = match unit {
            "" => return Err(format!("time: missing unit in duration {}", quoted())),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => {
                let unit = crate::quote::quote(unit.as_bytes());
                return Err(format!("time: unknown unit {unit} in duration {}", quoted()));
            }
        };
        let number: u128 = if number.is_empty() { 0 } else { number.parse().map_err(|_| invalid())? };
        let kept = &fraction[..fraction.len().min(18)];
        let parts: u128 = if kept.is_empty() { 0 } else { kept.parse().map_err(|_| invalid())? };
        let divisor = 10u128.pow(u32::try_from(kept.len()).unwrap_or(0));
        total = number
            .checked_mul(scale)
            .and_then(|value| value.checked_add(parts * scale / divisor))
            .and_then(|value| value.checked_add(total))
            .ok_or_else(invalid)?;
        rest = after;
    }
    let size = i64::try_from(total).map_err(|_| invalid())?;
    Ok(if negative { -size } else { size })
}
