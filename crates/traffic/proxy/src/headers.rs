//! What is done to a request's headers on the way: hop-by-hop ones go, forwarding ones are set.

use std::net::SocketAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Headers that concern one connection only (RFC 9110 §7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// How the client reached the proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) client: SocketAddr,
    /// The port the client connected to.
    pub(crate) port: u16,
    pub(crate) encrypted: bool,
}

/// Whether two lengths are claimed for the body (RFC 9112 §6.3): such a request may mean different things to
/// different servers, so it is refused.
pub(crate) fn ambiguous_length(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH)
        || headers.get_all(header::CONTENT_LENGTH).iter().count() > 1
}

/// The protocol that the connection is asked to change to.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    if asked { headers.get(header::UPGRADE).cloned() } else { None }
}

/// Removes what concerns one connection only.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|token| token.trim().parse().ok())
        .collect();
    // `TE: trailers` is end to end in effect: gRPC servers insist on it.
    let trailers = headers.get(header::TE).is_some_and(|value| value.as_bytes() == b"trailers");
    for name in named.iter().chain(&HOP_BY_HOP).chain([&PROXY_CONNECTION]) {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Says who asked, in the headers that applications read (as Traefik sets them when it trusts nobody before it).
pub(crate) fn set_forwarding(
    headers: &mut HeaderMap,
    arrival: Arrival,
    host: Option<&HeaderValue>,
    upgraded: bool,
) {
    let client = arrival.client.ip().to_string();
    let client = HeaderValue::from_str(&client).expect("an IP address is a header value");
    headers.insert(FORWARDED_FOR, client.clone());
    headers.insert(REAL_IP, client);
    headers.insert(FORWARDED_PORT, arrival.port.into());
    let scheme = match (arrival.encrypted, upgraded) {
        (true, true) => "wss",
        (false, true) => "ws",
        (true, false) => "https",
        (false, false) => "http",
    };
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    headers.remove(header::FORWARDED);
    headers.remove(FORWARDED_HOST);
    if let Some(host) = host {
        headers.insert(FORWARDED_HOST, host.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn connection_headers_do_not_pass() {
        let mut map = headers(&[
            ("connection", "close, X-Secret"),
            ("x-secret", "1"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("accept", "*/*"), ("te", "trailers")]));
    }

    #[test]
    fn two_lengths_are_ambiguous() {
        assert!(ambiguous_length(&headers(&[("transfer-encoding", "chunked"), ("content-length", "3")])));
        let mut twice = headers(&[("content-length", "3")]);
        assert!(!ambiguous_length(&twice));
        twice.append("content-length", HeaderValue::from_static("4"));
        assert!(ambiguous_length(&twice));
    }

    #[test]
    fn forwarding_headers_are_ours() {
        let mut map =
            headers(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-host", "evil"), ("forwarded", "for=6")]);
        let arrival = Arrival { client: "10.1.2.3:5".parse().unwrap(), port: 8443, encrypted: true };
        set_forwarding(&mut map, arrival, Some(&HeaderValue::from_static("api.checkmate")), false);
        assert_eq!(
            map,
            headers(&[
                ("x-forwarded-for", "10.1.2.3"),
                ("x-real-ip", "10.1.2.3"),
                ("x-forwarded-port", "8443"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "api.checkmate"),
            ])
        );
    }

    #[test]
    fn an_upgrade_needs_both_headers() {
        assert_eq!(
            upgrade(&headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")])).unwrap(),
            "websocket"
        );
        assert_eq!(upgrade(&headers(&[("upgrade", "websocket")])), None);
        assert_eq!(upgrade(&headers(&[("connection", "upgrade")])), None);
    }
}
