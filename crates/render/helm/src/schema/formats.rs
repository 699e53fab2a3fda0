//! The formats that drafts before 2019 check.

use std::net::Ipv6Addr;

/// Why a text does not have a format; formats that are not known fit everything.
pub(super) fn check(format: &str, text: &str) -> Result<(), String> {
    match format {
        "ipv4" => ipv4(text),
        "ipv6" => ipv6(text),
        "hostname" => host_name(text),
        "email" => email(text),
        "date" => date(text),
        "time" => time(text),
        "date-time" => date_time(text),
        "uri" | "iri" => uri(text),
        "uri-reference" | "iri-reference" if text.contains('\\') => Err(r"contains \".to_owned()),
        "uuid" => uuid(text),
        "regex" => gotmpl::compile_regex(text).map(|_| ()),
        "json-pointer" if !text.is_empty() && !text.starts_with('/') => Err("not starting with /".to_owned()),
        "semver" => semver(text),
        _ => Ok(()),
    }
}

fn fail(text: &str) -> Result<(), String> {
    Err(text.to_owned())
}

fn character(character: char) -> String {
    format!("'{character}'")
}

fn ipv4(text: &str) -> Result<(), String> {
    let groups: Vec<&str> = text.split('.').collect();
    if groups.len() != 4 {
        return fail("expected four decimals");
    }
    for group in groups {
        if group.len() > 1 && group.starts_with('0') {
            return fail("leading zeros");
        }
        match group.parse::<i64>() {
            Ok(0..=255) => {}
            Ok(_) => return fail("decimal must be between 0 and 255"),
            Err(_) => {
                let group = gotmpl::quote(group.as_bytes());
                return Err(format!("strconv.Atoi: parsing {group}: invalid syntax"));
            }
        }
    }
    Ok(())
}

fn ipv6(text: &str) -> Result<(), String> {
    if !text.contains(':') {
        return fail("missing colon");
    }
    if text.contains('%') {
        return fail("zone id is not a part of ipv6 address");
    }
    text.parse::<Ipv6Addr>()
        .map(|_| ())
        .map_err(|_| format!("ParseAddr({}): unable to parse IP", gotmpl::quote(text.as_bytes())))
}

fn host_name(text: &str) -> Result<(), String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.len() > 253 {
        return fail("more than 253 characters long");
    }
    for label in text.split('.') {
        if label.is_empty() || label.len() > 63 {
            return fail("label must be 1 to 63 characters long");
        }
        if label.starts_with('-') {
            return fail("label starts with hyphen");
        }
        if label.ends_with('-') {
            return fail("label ends with hyphen");
        }
        if let Some(bad) = label.chars().find(|one| !one.is_ascii_alphanumeric() && *one != '-') {
            return Err(format!("invalid character {}", character(bad)));
        }
    }
    Ok(())
}

fn email(text: &str) -> Result<(), String> {
    if text.len() > 254 {
        return fail("more than 255 characters long");
    }
    let Some((local, domain)) = text.rsplit_once('@') else { return fail("missing @") };
    if local.len() > 64 {
        return fail("local part more than 64 characters long");
    }
    if local.len() > 1 && local.starts_with('"') {
        let inner = &local[1..local.len() - 1];
        if inner.contains(['\\', '"']) {
            return fail("backslash and quote are not allowed within quoted local part");
        }
    } else {
        if local.starts_with('.') {
            return fail("starts with dot");
        }
        if local.ends_with('.') {
            return fail("ends with dot");
        }
        if local.contains("..") {
            return fail("consecutive dots");
        }
        let allowed = |one: &char| one.is_ascii_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(*one);
        if let Some(bad) = local.chars().find(|one| !allowed(one)) {
            return Err(format!("invalid character {}", character(bad)));
        }
    }
    if let Some(address) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match address.strip_prefix("IPv6:") {
            Some(address) => ipv6(address).map_err(|error| format!("invalid ipv6 address: {error}")),
            None => ipv4(address).map_err(|error| format!("invalid ipv4 address: {error}")),
        };
    }
    host_name(domain).map_err(|error| format!("invalid domain: {error}"))
}

fn numbers(text: &str, lengths: &[usize], separator: char) -> Option<Vec<u32>> {
    let parts: Vec<&str> = text.split(separator).collect();
    let fits = parts.len() == lengths.len()
        && parts
            .iter()
            .zip(lengths)
            .all(|(part, length)| part.len() == *length && part.bytes().all(|byte| byte.is_ascii_digit()));
    fits.then(|| parts.iter().filter_map(|part| part.parse().ok()).collect())
}

fn date(text: &str) -> Result<(), String> {
    let quoted = gotmpl::quote(text.as_bytes());
    let good = numbers(text, &[4, 2, 2], '-').is_some_and(|parts| {
        let leap =
            parts[0].is_multiple_of(4) && (!parts[0].is_multiple_of(100) || parts[0].is_multiple_of(400));
        let days = match parts[1] {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => 0,
        };
        (1..=days).contains(&parts[2])
    });
    if good {
        return Ok(());
    }
    Err(format!("parsing time {quoted} as \"2006-01-02\": cannot parse {quoted} as \"2006\""))
}

fn time(text: &str) -> Result<(), String> {
    let Some(clock) = text.get(..8).filter(|_| text.len() >= 9) else {
        return fail("less than 9 characters long");
    };
    let Some(parts) = numbers(clock, &[2, 2, 2], ':') else {
        return fail("missing colon in correct place");
    };
    let (hour, minute, second) = (parts[0], parts[1], parts[2]);
    if hour > 23 || minute > 59 || second > 60 {
        return fail("hour/min/sec out of range");
    }
    let mut rest = &text[8..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return fail("no digits in second fraction");
        }
        rest = &fraction[digits..];
    }
    let mut minutes = i64::from(hour * 60 + minute);
    if !matches!(rest, "z" | "Z") {
        if rest.len() != 6 {
            return fail("offset must be 6 characters long");
        }
        let sign = match rest.as_bytes()[0] {
            b'+' => -1,
            b'-' => 1,
            _ => return fail("offset must begin with plus/minus"),
        };
        let Some(offset) = rest.get(1..).and_then(|offset| numbers(offset, &[2, 2], ':')) else {
            return fail("missing colon in offset in correct place");
        };
        if offset[0] > 23 || offset[1] > 59 {
            return fail("hour/min in offset out of range");
        }
        minutes = (minutes + sign * i64::from(offset[0] * 60 + offset[1])).rem_euclid(24 * 60);
    }
    if second >= 60 && minutes != 23 * 60 + 59 {
        return fail("invalid leap second");
    }
    Ok(())
}

fn date_time(text: &str) -> Result<(), String> {
    let (Some(day), Some(clock)) = (text.get(..10), text.get(11..)) else {
        return fail("less than 20 characters long");
    };
    if text.len() < 20 {
        return fail("less than 20 characters long");
    }
    if !matches!(text.as_bytes()[10], b't' | b'T') {
        return fail("11th character must be t or T");
    }
    date(day).map_err(|error| format!("invalid date element: {error}"))?;
    time(clock).map_err(|error| format!("invalid time element: {error}"))
}

fn uri(text: &str) -> Result<(), String> {
    let scheme = text.split(':').next().filter(|scheme| scheme.len() < text.len()).unwrap_or_default();
    let good = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if good { Ok(()) } else { fail("relative url") }
}

fn uuid(text: &str) -> Result<(), String> {
    let lengths = [8, 4, 4, 4, 12];
    let groups: Vec<&str> = text.split('-').collect();
    if groups.len() != lengths.len() {
        return fail("must have 5 elements");
    }
    for (index, (group, length)) in groups.iter().zip(lengths).enumerate() {
        if group.len() != length {
            return Err(format!("element {} must be {length} characters long", index + 1));
        }
        if let Some(bad) = group.chars().find(|one| !one.is_ascii_hexdigit()) {
            return Err(format!("non-hex character {}", character(bad)));
        }
    }
    Ok(())
}

fn semver(text: &str) -> Result<(), String> {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let good = core.split('.').count() == 3
        && gotmpl::semver::Version::parse(text).is_ok()
        && !text.starts_with('v')
        && core.split('.').all(|part| part.len() == 1 || !part.starts_with('0'));
    if good { Ok(()) } else { fail("invalid semantic version") }
}
