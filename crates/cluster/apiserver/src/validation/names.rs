//! The forms of names: DNS labels and subdomains, label keys and values, path segments.

/// What a name has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// RFC 1123 subdomain.
    Subdomain,
    /// RFC 1123 label.
    Label,
    /// RFC 1035 label: does not start with a digit.
    Label1035,
    /// A subdomain after `*.`.
    Wildcard,
    /// A subdomain that may have underscores.
    Search,
    /// The key of a ConfigMap or Secret.
    ConfigKey,
    /// A container port's name.
    Port,
    /// An environment variable.
    Variable,
    /// An HTTP header.
    Header,
    /// The value of a label.
    LabelValue,
    /// Anything that can stand in a path.
    Segment,
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SEARCH: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const VARIABLE: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";
pub(super) const REASON: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";
const HEADER: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";

const SUBDOMAIN_LENGTH: usize = 253;
const LABEL_LENGTH: usize = 63;

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} characters")
}

fn is_label(text: &str) -> bool {
    let alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            alphanumeric(*first)
                && alphanumeric(*last)
                && bytes.iter().all(|c| alphanumeric(*c) || *c == b'-')
        }
        _ => false,
    }
}

fn is_subdomain(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(is_label)
}

/// `([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]`
fn is_qualified_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            first.is_ascii_alphanumeric()
                && last.is_ascii_alphanumeric()
                && bytes.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
        }
        _ => false,
    }
}

/// What is wrong with a name of that form.
pub(crate) fn problems(form: Form, name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let (limit, fits, text) = match form {
        Form::Subdomain => (SUBDOMAIN_LENGTH, is_subdomain(name), SUBDOMAIN),
        Form::Label => (LABEL_LENGTH, is_label(name), LABEL),
        Form::Label1035 => {
            let fits = is_label(name) && !name.starts_with(|c: char| c.is_ascii_digit());
            (LABEL_LENGTH, fits, LABEL_1035)
        }
        Form::Wildcard => (SUBDOMAIN_LENGTH, name.strip_prefix("*.").is_some_and(is_subdomain), WILDCARD),
        Form::Search => (SUBDOMAIN_LENGTH, is_search(name), SEARCH),
        Form::ConfigKey => (SUBDOMAIN_LENGTH, is_config_key(name), CONFIG_KEY),
        Form::Variable => (usize::MAX, name.bytes().all(|c| matches!(c, b' '..=b'~') && c != b'='), VARIABLE),
        Form::Header => {
            let fits = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
            (usize::MAX, fits, HEADER)
        }
        Form::LabelValue => return value_problems(name),
        Form::Port => return port_problems(name),
        Form::Segment => return segment(name),
    };
    if name.len() > limit {
        problems.push(too_long(limit));
    }
    if form == Form::Label && !fits && is_subdomain(name) {
        // Valid as a subdomain and not as a label, so it is dots that are wrong.
        problems.push("must not contain dots".to_owned());
    } else if !fits {
        problems.push(text.to_owned());
    }
    if form == Form::ConfigKey && name.starts_with('.') {
        problems.extend(match name {
            "." => Some("must not be '.'".to_owned()),
            ".." => Some("must not be '..'".to_owned()),
            _ => name.starts_with("..").then(|| "must not start with '..'".to_owned()),
        });
    }
    problems
}

/// The start of names that will grow a random end: what ends in a dash is checked as if a letter followed.
pub(crate) fn prefix_problems(form: Form, prefix: &str) -> Vec<String> {
    match prefix.strip_suffix('-') {
        Some(rest) if form != Form::Segment && !rest.is_empty() => {
            let end = rest.char_indices().next_back().map_or(0, |(at, _)| at);
            problems(form, &format!("{}a", &rest[..end]))
        }
        _ => problems(form, prefix),
    }
}

fn is_search(text: &str) -> bool {
    let part = |part: &str| {
        let part = part.strip_prefix('_').unwrap_or(part).as_bytes();
        let alphanumeric = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.first().is_some_and(alphanumeric)
            && part.last().is_some_and(alphanumeric)
            && part.iter().all(|c| alphanumeric(c) || matches!(c, b'-' | b'_'))
    };
    text.split('.').all(part)
}

fn is_config_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

fn segment(name: &str) -> Vec<String> {
    if name == "." || name == ".." {
        return vec![format!("may not be '{name}'")];
    }
    ["/", "%"]
        .iter()
        .filter(|part| name.contains(**part))
        .map(|part| format!("may not contain '{part}'"))
        .collect()
}

/// What is wrong with a container port's name.
fn port_problems(name: &str) -> Vec<String> {
    const LIMIT: usize = 15;
    let mut problems = Vec::new();
    if name.len() > LIMIT {
        problems.push(format!("must be no more than {LIMIT} characters"));
    }
    if name.is_empty() || !name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') {
        problems.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !name.bytes().any(|c| c.is_ascii_lowercase()) {
        problems.push("must contain at least one letter (a-z)".to_owned());
    }
    if name.contains("--") {
        problems.push("must not contain consecutive hyphens".to_owned());
    }
    if name.starts_with('-') || name.ends_with('-') {
        problems.push("must not begin or end with a hyphen".to_owned());
    }
    problems
}

/// What is wrong with a label or annotation key: `prefix/name`.
/// Whether this may be the reason of a condition.
pub(super) fn is_reason(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.last().is_some_and(|last| last.is_ascii_alphanumeric() || *last == b'_')
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_,:".contains(byte))
}

pub(crate) fn key_problems(key: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let name = match key.split_once('/') {
        None => key,
        Some((prefix, name)) => {
            if name.contains('/') {
                let rest = QUALIFIED.strip_prefix("name part").unwrap_or(QUALIFIED);
                problems.push(format!(
                    "a qualified name{rest} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
                ));
                return problems;
            }
            if prefix.is_empty() {
                problems.push("prefix part must be non-empty".to_owned());
            } else {
                let of_prefix = self::problems(Form::Subdomain, prefix).into_iter();
                problems.extend(of_prefix.map(|problem| format!("prefix part {problem}")));
            }
            name
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_LENGTH {
        problems.push(format!("name part {}", too_long(LABEL_LENGTH)));
    }
    if !is_qualified_part(name) {
        problems.push(QUALIFIED.to_owned());
    }
    problems
}

/// What is wrong with a label's value.
pub(crate) fn value_problems(value: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if value.len() > LABEL_LENGTH {
        problems.push(too_long(LABEL_LENGTH));
    }
    if !value.is_empty() && !is_qualified_part(value) {
        problems.push(VALUE.to_owned());
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_by_their_form() {
        for (form, good, bad) in [
            (Form::Subdomain, "a.b-c.1", "A.b"),
            (Form::Subdomain, "0", "a..b"),
            (Form::Label, "1a", "a.b"),
            (Form::Label1035, "a1", "1a"),
            (Form::Segment, "system:node", "a/b"),
        ] {
            assert!(problems(form, good).is_empty(), "{good}");
            assert!(!problems(form, bad).is_empty(), "{bad}");
        }
        assert_eq!(problems(Form::Label, &"a".repeat(64)), ["must be no more than 63 characters"]);
    }

    #[test]
    fn label_keys_and_values_are_checked() {
        for good in ["a", "app.kubernetes.io/name", "A_b.c"] {
            assert!(key_problems(good).is_empty(), "{good}");
        }
        for bad in ["", "/a", "a/", "a/b/c", "-a", "UPPER.example/x"] {
            assert!(!key_problems(bad).is_empty(), "{bad}");
        }
        assert!(value_problems("").is_empty());
        assert!(!value_problems("a b").is_empty());
    }
}
