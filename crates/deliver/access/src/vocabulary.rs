//! The words of Argo CD's policies: resources, and what can be done with them.

/// A word that no request ever has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    #[error("{0:?} is not a valid resource name; there are: {names}", names = names())]
    Resource(String),
    #[error("{action:?} is not a valid action for {resource}; there are: {}", actions.join(", "))]
    Action { resource: String, action: String, actions: Vec<&'static str> },
}

/// Resources with their actions; of those that end in `/` a path may follow.
const WORDS: [(&str, &[&str]); 12] = [
    ("accounts", &["get", "create", "update"]),
    (
        "applications",
        &[
            "create", "get", "update", "update/", "delete", "delete/", "action/", "override", "sync",
            "rollback",
        ],
    ),
    ("applicationsets", &["create", "get", "update", "delete"]),
    ("certificates", &["create", "get", "update", "delete"]),
    ("clusters", &["create", "get", "update", "delete"]),
    ("extensions", &["invoke"]),
    ("gpgkeys", &["create", "get", "delete"]),
    ("logs", &["get"]),
    ("exec", &["create", "debug"]),
    ("projects", &["create", "get", "update", "delete"]),
    ("repositories", &["create", "get", "update", "delete"]),
    ("write-repositories", &["create", "get", "update", "delete"]),
];

fn names() -> String {
    WORDS.map(|(name, _)| name).join(", ")
}

/// The resource that a short word stands for on the command line.
#[must_use]
pub fn resource_named(word: &str) -> &str {
    match word {
        "account" => "accounts",
        "app" | "apps" | "application" => "applications",
        "appset" | "appsets" | "applicationset" => "applicationsets",
        "cert" | "certs" | "certificate" => "certificates",
        "cluster" => "clusters",
        "extension" => "extensions",
        "gpgkey" | "key" => "gpgkeys",
        "log" => "logs",
        "proj" | "projs" | "project" => "projects",
        "repo" | "repos" | "repository" => "repositories",
        other => other,
    }
}

/// Whether the objects of a resource are named as PROJECT/NAME.
#[must_use]
pub fn is_project_scoped(resource: &str) -> bool {
    ["applications", "applicationsets", "logs", "exec", "clusters", "repositories"].contains(&resource)
}

/// Whether a request can be about this.
///
/// # Errors
/// Which word it cannot.
pub fn understood(resource: &str, action: &str) -> Result<(), Unknown> {
    let Some((_, actions)) = WORDS.iter().find(|(name, _)| *name == resource) else {
        return Err(Unknown::Resource(resource.to_owned()));
    };
    let known = |word: &&str| match word.strip_suffix('/') {
        Some(_) => action.starts_with(*word) && action.len() > word.len(),
        None => action == *word,
    };
    if actions.iter().any(known) {
        return Ok(());
    }
    Err(Unknown::Action {
        resource: resource.to_owned(),
        action: action.to_owned(),
        actions: actions.to_vec(),
    })
}

/// The resources and actions, to find patterns that can match none. Paths are tried with one that any pattern for them
/// is likely to match.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    WORDS.into_iter()
}
