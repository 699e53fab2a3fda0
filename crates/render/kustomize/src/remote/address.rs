//! The forms in which kustomize lets a base name a Git repository.

use std::time::Duration;

use super::Repository;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(27);
const SCHEMES: [&str; 4] = ["ssh://", "https://", "http://", "file://"];

pub(super) fn parse(written: &str) -> Option<Repository> {
    if written.starts_with('/') {
        return None;
    }
    let (address, query) = written.split_once('?').unwrap_or((written, ""));
    let Query { reference, timeout, submodules } = Query::parse(query);
    let (host, rest) = host(address)?;
    let (repository, directory) = split(rest, host.starts_with("file://"))?;
    if repository.is_empty() || leaves(directory.trim_start_matches('/')) {
        return None;
    }
    Some(Repository {
        written: written.to_owned(),
        url: format!("{host}{repository}"),
        directory: directory.strip_prefix('/').unwrap_or(directory).to_owned(),
        reference,
        submodules,
        timeout,
    })
}

struct Query {
    reference: String,
    timeout: Duration,
    submodules: bool,
}

impl Query {
    fn parse(query: &str) -> Self {
        let mut read = Self { reference: String::new(), timeout: DEFAULT_TIMEOUT, submodules: true };
        let Some(pairs) = query.split('&').map(pair).collect::<Option<Vec<_>>>() else { return read };
        let first = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        read.reference = first("ref")
            .filter(|text| !text.is_empty())
            .or_else(|| first("version"))
            .unwrap_or_default()
            .to_owned();
        if let Some(timeout) = first("timeout").and_then(duration) {
            read.timeout = timeout;
        }
        if let Some("0" | "f" | "F" | "false" | "False" | "FALSE") = first("submodules") {
            read.submodules = false;
        }
        read
    }
}

/// A decoded `key=value`; `None` if its escapes are broken.
fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    Some((unescape(key)?, unescape(value)?))
}

fn unescape(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                rest = &rest[2..];
                u8::from_str_radix(digits, 16).ok()?
            }
            other => *other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Seconds, or a number with a unit of Go's (`61s`, `2m`, `1h30m`, `1500ms`).
fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return (seconds > 0).then(|| Duration::from_secs(seconds));
    }
    let (mut total, mut rest) = (Duration::ZERO, text);
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|character: char| character.is_ascii_digit()).unwrap_or(rest.len());
        let seconds = match &rest[..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number * seconds).ok()?;
        rest = &rest[unit..];
    }
    (!total.is_zero()).then_some(total)
}

/// Takes scheme, user and host apart from the path and writes the host's part as it is cloned.
fn host(address: &str) -> Option<(String, &str)> {
    let address = strip_prefix(address, "git::").unwrap_or(address);
    let (scheme, rest) = SCHEMES
        .into_iter()
        .find_map(|scheme| strip_prefix(address, scheme).map(|rest| (scheme, rest)))
        .unwrap_or(("", address));
    let (user, rest) = user(rest);
    let lower = rest.to_ascii_lowercase();
    let github = lower.starts_with("github.com/") || lower.starts_with("github.com:");
    // `host:path`, as ssh and scp know it.
    let short = scheme.is_empty() && (!user.is_empty() || github);
    if scheme.is_empty() && !short {
        return None;
    }
    if scheme == "file://" {
        return Some((scheme.to_owned(), &address[scheme.len()..]));
    }
    let mut separator = rest.find('/');
    if short {
        let colon = rest.find(':');
        if separator.is_none() || colon.is_some_and(|colon| colon > 0 && Some(colon) < separator) {
            separator = colon;
        }
    }
    let (host, path) = separator.map_or((rest, ""), |at| rest.split_at(at + 1));
    if github {
        let host = if scheme == "ssh://" || !user.is_empty() {
            format!("{user}github.com:")
        } else {
            "https://github.com/".to_owned()
        };
        return Some((host, path));
    }
    if host.is_empty() {
        return None;
    }
    Some((format!("{scheme}{user}{host}"), path))
}

fn strip_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let start = text.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// `user@` before a host.
fn user(text: &str) -> (&str, &str) {
    let Some(at) = text.find('@') else { return ("", text) };
    let name = &text[..at];
    let legal = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '-');
    if legal { text.split_at(at + 1) } else { ("", text) }
}

/// The repository's path and the directory in it.
fn split(path: &str, whole: bool) -> Option<(&str, &str)> {
    const AZURE: &str = "_git/";
    if let Some(at) = path.find(AZURE) {
        let start = at + AZURE.len();
        let end = path[start..].find('/').map_or(path.len(), |end| start + end);
        return Some((&path[..end], path.get(end + 1..).unwrap_or_default()));
    }
    if let Some(at) = path.find("//") {
        return Some((&path[..at], &path[at + 2..]));
    }
    if let Some(at) = path.find(".git") {
        return Some(path.split_at(at + ".git".len()));
    }
    if whole {
        return Some((path, ""));
    }
    let first = path.find('/')?;
    match path[first + 1..].find('/') {
        Some(second) => Some((&path[..first + 1 + second], &path[first + second + 2..])),
        None => Some((path, "")),
    }
}

/// Whether a path climbs above where it starts.
fn leaves(path: &str) -> bool {
    let mut depth = 0_i32;
    path.split('/').any(|part| {
        depth += match part {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        depth < 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_of_an_address() {
        let check = |written: &str, url: &str, directory: &str, reference: &str| {
            let found = parse(written).unwrap_or_else(|| panic!("{written}"));
            assert_eq!(
                (found.url.as_str(), found.directory.as_str(), found.reference.as_str()),
                (url, directory, reference),
                "{written}"
            );
        };
        check("https://github.com/org/repo", "https://github.com/org/repo", "", "");
        check("https://github.com/org/repo//a/b?ref=v1", "https://github.com/org/repo", "a/b", "v1");
        check(
            "github.com/org/repo/a/b?ref=kustomize%2Fv4",
            "https://github.com/org/repo",
            "a/b",
            "kustomize/v4",
        );
        check("GitHub.com/org/repo?version=v2", "https://github.com/org/repo", "", "v2");
        check("git@github.com:org/repo.git//a", "git@github.com:org/repo.git", "a", "");
        check("ssh://git@github.com/org/repo/a", "git@github.com:org/repo", "a", "");
        check("git::https://gitlab.com/org/repo.git/a?ref=x", "https://gitlab.com/org/repo.git", "a", "x");
        check(
            "https://dev.azure.com/org/project/_git/repo/a/b",
            "https://dev.azure.com/org/project/_git/repo",
            "a/b",
            "",
        );
        check("file:///srv/repo.git/a", "file:///srv/repo.git", "a", "");
        check("file:///srv/repo//a?ref=b", "file:///srv/repo", "a", "b");
        check("git@host:2222/org/repo/a", "git@host:2222/org", "repo/a", "");
    }

    #[test]
    fn paths_are_not_addresses() {
        for path in
            ["../base", "base", "/srv/base", "a/b/c", "https://github.com/org", "github.com/a/b//../.."]
        {
            assert_eq!(parse(path), None, "{path}");
        }
    }

    #[test]
    fn parameters_have_defaults() {
        let found = parse("https://h/o/r?timeout=90&submodules=false").unwrap();
        assert_eq!((found.timeout, found.submodules), (Duration::from_secs(90), false));
        let found = parse("https://h/o/r?timeout=1m30s&submodules=maybe").unwrap();
        assert_eq!((found.timeout, found.submodules), (Duration::from_secs(90), true));
        assert_eq!(parse("https://h/o/r?timeout=-1").unwrap().timeout, DEFAULT_TIMEOUT);
    }
}
