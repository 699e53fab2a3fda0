//! The rules by which hosts and paths match.

/// Which hosts a route answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostMatch {
    /// This host and no other, in lower case.
    Exact(String),
    /// `*.example.com` as its suffix `example.com`: exactly one more label.
    Wildcard(String),
    Any,
}

impl HostMatch {
    /// Reads the host of an Ingress rule: empty is any host, a leading `*.` a wildcard.
    #[must_use]
    pub fn parse(host: &str) -> Self {
        let host = host.to_ascii_lowercase();
        match host.strip_prefix("*.") {
            _ if host.is_empty() || host == "*" => Self::Any,
            Some(suffix) => Self::Wildcard(suffix.to_owned()),
            None => Self::Exact(host),
        }
    }
}

/// Which paths a route answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathMatch {
    /// This path and no other, trailing slash included.
    Exact(String),
    /// Paths that begin with these elements: `/api` answers `/api`, `/api/` and `/api/x`, not `/apix`. A trailing
    /// slash makes no difference.
    Prefix(String),
}

impl PathMatch {
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == path,
            Self::Prefix(prefix) => {
                let prefix = prefix.trim_end_matches('/');
                path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }

    /// What is tried first comes first: exact paths, then prefixes, longer before shorter.
    pub(crate) fn precedence(&self) -> (u8, std::cmp::Reverse<usize>) {
        match self {
            Self::Exact(path) => (0, std::cmp::Reverse(path.len())),
            Self::Prefix(path) => (1, std::cmp::Reverse(path.trim_end_matches('/').len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the Kubernetes documentation of Ingress path types.
    #[test]
    fn prefixes_match_whole_elements() {
        for (prefix, path, matches) in [
            ("/", "/any/path", true),
            ("/foo", "/foo", true),
            ("/foo", "/foo/", true),
            ("/foo/", "/foo", true),
            ("/foo/", "/foo/", true),
            ("/aaa/bb", "/aaa/bbb", false),
            ("/aaa/bbb", "/aaa/bbb", true),
            ("/aaa/bbb/", "/aaa/bbb", true),
            ("/aaa/bbb", "/aaa/bbb/", true),
            ("/aaa/bbb", "/aaa/bbb/ccc", true),
            ("/aaa/bbb", "/aaa/bbbxyz", false),
        ] {
            assert_eq!(PathMatch::Prefix(prefix.to_owned()).matches(path), matches, "{prefix} and {path}");
        }
        for (exact, path, matches) in
            [("/foo", "/foo", true), ("/foo", "/foo/", false), ("/foo/", "/foo", false)]
        {
            assert_eq!(PathMatch::Exact(exact.to_owned()).matches(path), matches, "{exact} and {path}");
        }
    }

    #[test]
    fn hosts_parse() {
        assert_eq!(HostMatch::parse("Api.Checkmate"), HostMatch::Exact("api.checkmate".to_owned()));
        assert_eq!(HostMatch::parse("*.codedang.com"), HostMatch::Wildcard("codedang.com".to_owned()));
        assert_eq!(HostMatch::parse(""), HostMatch::Any);
    }
}
