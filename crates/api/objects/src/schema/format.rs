//! The string and number formats that the API server checks; unknown ones are ignored, as it does.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

/// Whether the value has the format. Anything else than a string (or number, for `int32`) is not looked at.
pub(super) fn fits(format: &str, value: &Value) -> bool {
    if let Some(number) = value.as_i64() {
        return format != "int32" || i32::try_from(number).is_ok();
    }
    let Some(text) = value.as_str() else { return true };
    match format {
        "date-time" | "datetime" => is_date_time(text),
        "date" => is_date(text),
        "duration" => is_duration(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.contains(':') && text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "byte" => is_base64(text),
        "uri" => is_request_uri(text),
        "email" => text
            .split_once('@')
            .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@')),
        "hostname" => {
            text.len() <= 255
                && text.trim_end_matches('.').split('.').all(|part| {
                    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                    (1..=63).contains(&part.len())
                        && part.chars().all(inner)
                        && !part.starts_with('-')
                        && !part.ends_with('-')
                })
        }
        "uuid" | "uuid3" | "uuid4" | "uuid5" => is_uuid(text, format.as_bytes().get(4).copied()),
        "mac" => is_mac(text),
        _ => true,
    }
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['T', 't', ' ']) else { return false };
    let zoned =
        time.ends_with(['Z', 'z']) || time.rfind(['+', '-']).is_some_and(|at| time[at..].contains(':'));
    is_date(date) && zoned && text.parse::<jiff::Timestamp>().is_ok()
}

/// Go's `time.ParseDuration`, or a number with a word (`3 days`), as `strfmt.ParseDuration` reads them.
fn is_duration(text: &str) -> bool {
    is_go_duration(text) || {
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let unit = text[split..].trim().trim_end_matches('s');
        let units =
            ["n", "nano", "nanosecond", "micro", "milli", "sec", "second", "min", "minute", "hr", "hour"];
        split > 0 && (units.contains(&unit) || ["d", "day", "w", "wk", "week"].contains(&unit))
    }
}

fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number = &rest[..digits];
        if !number.contains(|c: char| c.is_ascii_digit()) || number.matches('.').count() > 1 {
            return false;
        }
        rest = &rest[digits..];
        let units = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];
        let Some(unit) = units.iter().filter(|unit| rest.starts_with(**unit)).max_by_key(|unit| unit.len())
        else {
            return false;
        };
        rest = &rest[unit.len()..];
    }
    true
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let Ok(length) = length.parse::<u8>() else { return false };
    match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => length <= 32,
        Ok(std::net::IpAddr::V6(_)) => length <= 128,
        Err(_) => false,
    }
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// Go's `url.ParseRequestURI`: an absolute path or an absolute URI.
fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.chars().any(|c| c.is_control() || c == ' ') {
        return false;
    }
    text.starts_with('/')
        || text.split_once(':').is_some_and(|(scheme, rest)| {
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
                && !rest.is_empty()
        })
}

/// Upstream also accepts a UUID without dashes.
fn is_uuid(text: &str, version: Option<u8>) -> bool {
    let plain: String = text.chars().filter(|c| *c != '-').collect();
    let dashes: Vec<usize> = text.match_indices('-').map(|(index, _)| index).collect();
    plain.len() == 32
        && plain.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (dashes.is_empty() || dashes == [8, 13, 18, 23])
        && version.is_none_or(|version| plain.as_bytes()[12] == version)
}

fn is_mac(text: &str) -> bool {
    let separator = if text.contains('-') { '-' } else { ':' };
    let parts: Vec<&str> = text.split(separator).collect();
    matches!(parts.len(), 6 | 8 | 20)
        && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn formats_accept_and_refuse() {
        for (format, good, bad) in [
            ("date-time", "2026-01-02T03:04:05Z", "2026-01-02"),
            ("date-time", "2026-01-02T03:04:05.5+01:00", "2026-01-02T03:04:05"),
            ("date", "2026-01-02", "2026-13-02"),
            ("duration", "1h30m", "1x"),
            ("duration", "3 days", "days"),
            ("ipv4", "10.0.0.1", "10.0.0"),
            ("ipv6", "::1", "1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("byte", "YWJj", "YW*j"),
            ("uri", "http://a/b", "a b"),
            ("email", "a@b.c", "a"),
            ("hostname", "a.b-c", "-a"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
            ("mac", "00:00:5e:00:53:01", "00:00"),
        ] {
            assert!(fits(format, &json!(good)), "{format} refused {good}");
            assert!(!fits(format, &json!(bad)), "{format} accepted {bad}");
        }
        assert!(fits("password", &json!("anything")));
        assert!(!fits("int32", &json!(3_000_000_000_i64)));
        assert!(fits("int64", &json!(3_000_000_000_i64)));
    }
}
