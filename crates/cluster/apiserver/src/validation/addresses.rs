//! IP addresses, networks and ports.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use super::Problems;
use super::field::Field;
use super::names::Form;

/// Also with leading zeros, as Go once read them.
pub(super) fn parse(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse().ok();
    }
    let mut parts = [0_u8; 4];
    let mut given = text.split('.');
    for part in &mut parts {
        let digits = given.next().filter(|part| part.bytes().all(|c| c.is_ascii_digit()))?;
        *part = digits.parse().ok()?;
    }
    given.next().is_none().then(|| Ipv4Addr::from(parts).into())
}

/// An address and the length of its network's prefix.
pub(super) fn parse_network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let address = parse(address)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let digits = !prefix.is_empty() && prefix.bytes().all(|c| c.is_ascii_digit());
    let prefix = digits.then(|| prefix.parse().ok()).flatten().filter(|prefix: &u8| *prefix <= longest)?;
    Some((address, prefix))
}

/// The first bits of an address.
pub(super) fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from(u32::from(v4) & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            std::net::Ipv6Addr::from(u128::from(v6) & mask).into()
        }
    }
}

/// Tells what is no address; `old` holds those that were accepted before.
pub(super) fn address(field: &Field<'_, '_>, old: &[Value], problems: &mut Problems) -> Option<IpAddr> {
    let parsed = parse(field.text());
    if parsed.is_none() && !old.contains(field.value()) {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        field.invalid_as(field.text().into(), detail, problems);
    }
    parsed
}

pub(super) fn network(field: &Field<'_, '_>, text: &str, problems: &mut Problems) -> Option<(IpAddr, u8)> {
    let parsed = parse_network(text);
    if parsed.is_none() {
        let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
        field.invalid_as(text.into(), detail, problems);
    }
    parsed
}

/// An address in the one form it should be written in.
pub(super) fn canonical(text: &str) -> Result<IpAddr, String> {
    let Some(address) = parse(text) else {
        return Err("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned());
    };
    if text.parse::<IpAddr>().is_err() {
        return Err("must not have leading 0s".to_owned());
    }
    if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        return Err("must not be an IPv4-mapped IPv6 address".to_owned());
    }
    if address.to_string() != text {
        return Err(format!("must be in canonical form ({:?})", address.to_string()));
    }
    Ok(address)
}

/// An address at which something may be reached from elsewhere.
pub(super) fn endpoint(field: &Field<'_, '_>, address: IpAddr, problems: &mut Problems) {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let link_multicast = match address {
        IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    };
    if address.is_unspecified() {
        field.invalid(format!("may not be unspecified ({})", field.text()), problems);
    }
    if address.is_loopback() {
        field.invalid("may not be in the loopback range (127.0.0.0/8, ::1/128)", problems);
    }
    if link_local {
        field.invalid("may not be in the link-local range (169.254.0.0/16, fe80::/10)", problems);
    }
    if link_multicast {
        field.invalid("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)", problems);
    }
}

/// A port's number, where 0 is none.
pub(super) fn port_number(field: &Field<'_, '_>, problems: &mut Problems) {
    let number = field.number();
    if !(1..=65535).contains(&number) {
        field.invalid_as(number.into(), "must be between 1 and 65535, inclusive", problems);
    }
}

/// A port's number or name.
pub(super) fn port(field: &Field<'_, '_>, problems: &mut Problems) {
    if field.value().is_string() {
        field.name(Form::Port, problems);
    } else {
        port_number(field, problems);
    }
}

pub(super) const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("010.0.0.01", Some("10.0.0.1")),
            ("10.0.0", None),
            ("10.0.0.256", None),
            ("10..0.1", None),
            ("::1", Some("::1")),
            ("+1.2.3.4", None),
        ] {
            assert_eq!(parse(text).map(|address| address.to_string()).as_deref(), expected, "{text}");
        }
        let network = parse_network("10.1.2.3/8").unwrap();
        assert_eq!(masked(network.0, network.1).to_string(), "10.0.0.0");
        assert_eq!(masked(network.0, 0).to_string(), "0.0.0.0");
        for bad in ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "::/129"] {
            assert_eq!(parse_network(bad), None, "{bad}");
        }
        assert_eq!(canonical("2001:DB8::1"), Err("must be in canonical form (\"2001:db8::1\")".to_owned()));
    }
}
