//! Which requests go through a repository's own proxy.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use crate::Repository;

/// How a request leaves the machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// As the environment says, as for a repository without a proxy of its own.
    Environment,
    Direct,
    Through(String),
}

pub(crate) fn way(repository: &Repository, url: &Url) -> Way {
    if repository.proxy.is_empty() {
        Way::Environment
    } else if is_spared(&repository.no_proxy, url) {
        Way::Direct
    } else {
        Way::Through(repository.proxy.clone())
    }
}

/// Whether a list of hosts, as `NO_PROXY` has it and Go reads it, names the URL's: `*` for all, a domain for itself and
/// what is below it, `.domain` or `*.domain` for the latter alone, an address or a range of them, each with a port or
/// without.
fn is_spared(list: &str, url: &Url) -> bool {
    let Some(host) = url.host() else { return false };
    let port = url.port_or_known_default();
    list.split(',').map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty()).any(
        |entry| {
            if entry == "*" {
                return true;
            }
            if let Ok(range) = entry.parse::<IpNet>() {
                return address(&host).is_some_and(|address| range.contains(&address));
            }
            let (name, wanted) = match entry.rsplit_once(':') {
                Some((name, wanted)) if !name.contains(':') || name.ends_with(']') => {
                    (name, wanted.parse::<u16>().ok())
                }
                _ => (entry.as_str(), None),
            };
            if wanted.is_some() && wanted != port {
                return false;
            }
            if let Ok(wanted) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
                return address(&host) == Some(wanted);
            }
            let Host::Domain(domain) = &host else { return false };
            let below = |parent: &str| domain.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
            match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
                Some(parent) => below(parent),
                None => *domain == name || below(name),
            }
        },
    )
}

fn address(host: &Host<&str>) -> Option<IpAddr> {
    match host {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some((*address).into()),
        Host::Ipv6(address) => Some((*address).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_spared_as_go_spares_them() {
        for (list, url, spared) in [
            ("example.org", "https://example.org/x", true),
            ("example.org", "https://charts.example.org", true),
            ("example.org", "https://notexample.org", false),
            (".example.org", "https://example.org", false),
            ("*.example.org, other", "https://a.b.example.org", true),
            ("example.org:8080", "https://example.org", false),
            ("example.org:443", "https://example.org", true),
            ("*", "http://anything", true),
            ("10.0.0.0/8", "http://10.1.2.3:8080", true),
            ("10.0.0.0/8", "http://11.1.2.3", false),
            ("127.0.0.1:80", "http://127.0.0.1", true),
            ("::1", "http://[::1]/", true),
            ("[::1]:81", "http://[::1]/", false),
            (" ,", "http://a", false),
        ] {
            assert_eq!(is_spared(list, &url.parse().unwrap()), spared, "{list} {url}");
        }
    }
}
