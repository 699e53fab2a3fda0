//! Where the manifests of an Application come from, and at which step they cannot be had.

use objects::Value;

use crate::reading::{array, text};
use crate::tree::Node;

/// The step at which it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Credentials,
    Unreachable,
    Revision,
    Chart,
    Path,
    Rendering,
    Comparing,
}

impl Step {
    /// What a ComparisonError says, in our words, Argo CD's, or Git's.
    fn of(message: &str) -> Self {
        let lower = message.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        if has(&["unable to resolve", "couldn't find remote ref", "unknown revision"]) {
            return Self::Revision;
        }
        if has(&[
            "authentication required",
            "authorization failed",
            "repository not found",
            "permission denied (publickey",
            "401 unauthorized",
            "403 forbidden",
            "invalid username or password",
        ]) {
            return Self::Credentials;
        }
        if has(&[
            "is unreachable",
            "connection refused",
            "no such host",
            "failed to list refs",
            "dial tcp",
            "i/o timeout",
            "could not resolve host",
            "cannot be reached",
            "plain http is refused",
        ]) || lower.contains("fetch http")
        {
            return Self::Unreachable;
        }
        if has(&["not found in", "improper constraint", "of chart "]) && lower.contains("chart") {
            return Self::Chart;
        }
        if has(&["app path does not exist", "path does not exist"]) {
            return Self::Path;
        }
        if has(&["failed to generate manifest", "manifest generation error", "failed to load target state"]) {
            return Self::Rendering;
        }
        Self::Comparing
    }

    fn status(self) -> &'static str {
        match self {
            Self::Credentials => "the repository refuses access",
            Self::Unreachable => "the repository cannot be reached",
            Self::Revision => "the repository has no such revision",
            Self::Chart => "the repository has no such chart or version",
            Self::Path => "the repository has no such path at this revision",
            Self::Rendering => "does not render",
            Self::Comparing => "cannot be compared with the cluster",
        }
    }

    fn hint(self, name: &str) -> String {
        match self {
            Self::Credentials => "give its credentials with `mainstay repo add`".to_owned(),
            Self::Unreachable | Self::Comparing => format!("`mainstay app get {name} --refresh` tries again"),
            Self::Revision | Self::Path | Self::Chart => {
                format!("correct it in Git, or with `mainstay app set {name}`")
            }
            Self::Rendering => format!("`mainstay app manifests {name} --source git` renders it here"),
        }
    }
}

/// The source that a ComparisonError is about, with the error.
pub(crate) fn failing(application: &Value, name: &str, message: &str) -> Node {
    let sources: Vec<&Value> = match array(application, "/spec/sources") {
        [] => application.pointer("/spec/source").into_iter().collect(),
        list => list.iter().collect(),
    };
    let position = numbered(message).filter(|position| *position < sources.len()).unwrap_or(0);
    let step = Step::of(message);
    let subject = match sources.get(position) {
        Some(source) => format!("source {}", described(source)),
        None => "source".to_owned(),
    };
    Node::new(subject).blocked(step.status()).with_message(message).with_hint(step.hint(name))
}

/// The position in "for source 2 of 3".
fn numbered(message: &str) -> Option<usize> {
    let (_, rest) = message.split_once("for source ")?;
    let number: usize = rest.split(' ').next()?.parse().ok()?;
    number.checked_sub(1)
}

/// `https://github.com/team/platform.git, charts/gateway at main`
pub(crate) fn described(source: &Value) -> String {
    let part = |field: &str| text(source, field);
    let mut line = part("/repoURL").to_owned();
    let place = if part("/chart").is_empty() {
        part("/path").to_owned()
    } else {
        format!("chart {}", part("/chart"))
    };
    if !place.is_empty() {
        line.push_str(&format!(", {place}"));
    }
    let revision = part("/targetRevision");
    line.push_str(&format!(" at {}", if revision.is_empty() { "HEAD" } else { revision }));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_tell_the_step() {
        for (message, step) in [
            ("unable to resolve 'v9' to a commit SHA", Step::Revision),
            ("https://git.example.org/a.git is unreachable: no route", Step::Unreachable),
            (
                "rpc error: code = Unknown desc = failed to list refs: dial tcp: lookup x: no such host",
                Step::Unreachable,
            ),
            ("authentication required: Repository not found.", Step::Credentials),
            ("chart \"web\" version \"9.x\" not found in https://charts.example.org repository", Step::Chart),
            (
                "Failed to load target state: failed to generate manifest for source 1 of 1: app path does not exist",
                Step::Path,
            ),
            (
                "Failed to load target state: failed to generate manifest for source 2 of 3: template: a/b.yaml:3:5: nil",
                Step::Rendering,
            ),
            ("error calculating structured merge diff", Step::Comparing),
        ] {
            assert_eq!(Step::of(message), step, "{message}");
        }
        assert_eq!(numbered("manifest for source 2 of 3: x"), Some(1));
        assert_eq!(numbered("for source 0 of 3"), None);
    }
}
