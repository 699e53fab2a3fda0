//! What an AppProject permits: sources, destinations, kinds and namespaces of its applications.

use std::collections::BTreeMap;

use objects::{Value, meta};

use crate::ResourceKey;
use crate::glob;
use crate::windows::Windows;

/// A project. What it does not say is not permitted, except for kinds of namespaced objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Project {
    pub name: String,
    source_repos: Vec<String>,
    source_namespaces: Vec<String>,
    destinations: Vec<Pattern>,
    cluster_allowed: Vec<KindPattern>,
    cluster_denied: Vec<KindPattern>,
    /// `None`: every kind.
    namespaced_allowed: Option<Vec<KindPattern>>,
    namespaced_denied: Vec<KindPattern>,
    only_own_clusters: bool,
    orphans: Option<Orphans>,
    windows: Windows,
    /// What the project demands and nothing here can keep.
    unsupported: Option<&'static str>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Pattern {
    server: String,
    name: String,
    namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct KindPattern {
    group: String,
    kind: String,
    name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Orphans {
    warn: bool,
    ignore: Vec<KindPattern>,
}

/// A cluster as projects name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterName<'a> {
    pub server: &'a str,
    pub name: &'a str,
    /// The project that the cluster belongs to; empty if it is everybody's.
    pub project: &'a str,
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn kinds(list: &Value) -> Vec<KindPattern> {
    let entries = list.as_array().into_iter().flatten();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    entries
        .map(|entry| KindPattern {
            group: text(entry, "group"),
            kind: text(entry, "kind"),
            name: text(entry, "name"),
        })
        .collect()
}

impl Project {
    /// From an AppProject object. Roles are the business of whoever signs people in.
    #[must_use]
    pub fn read(object: &Value) -> Self {
        let spec = &object["spec"];
        let destinations = spec["destinations"].as_array().into_iter().flatten();
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let filled = |field: &str| spec[field].as_array().is_some_and(|list| !list.is_empty());
        let unsupported = if filled("signatureKeys") {
            Some("spec.signatureKeys")
        } else if spec["sourceIntegrity"].is_object() {
            Some("spec.sourceIntegrity")
        } else {
            None
        };
        Self {
            name: meta::name(object).to_owned(),
            source_repos: texts(&spec["sourceRepos"]),
            source_namespaces: texts(&spec["sourceNamespaces"]),
            destinations: destinations
                .map(|entry| Pattern {
                    server: text(entry, "server"),
                    name: text(entry, "name"),
                    namespace: text(entry, "namespace"),
                })
                .collect(),
            cluster_allowed: kinds(&spec["clusterResourceWhitelist"]),
            cluster_denied: kinds(&spec["clusterResourceBlacklist"]),
            namespaced_allowed: spec["namespaceResourceWhitelist"]
                .is_array()
                .then(|| kinds(&spec["namespaceResourceWhitelist"])),
            namespaced_denied: kinds(&spec["namespaceResourceBlacklist"]),
            only_own_clusters: spec["permitOnlyProjectScopedClusters"] == true,
            orphans: spec["orphanedResources"].is_object().then(|| Orphans {
                warn: spec["orphanedResources"]["warn"] == true,
                ignore: kinds(&spec["orphanedResources"]["ignore"]),
            }),
            windows: Windows::from_value(&spec["syncWindows"]),
            unsupported,
        }
    }

    /// The project `default` as it is where nobody wrote one: everything is permitted.
    #[must_use]
    pub fn unrestricted(name: &str) -> Self {
        let any = || KindPattern { group: "*".to_owned(), kind: "*".to_owned(), name: String::new() };
        let everywhere = Pattern { server: "*".to_owned(), name: String::new(), namespace: "*".to_owned() };
        Self {
            name: name.to_owned(),
            source_repos: vec!["*".to_owned()],
            destinations: vec![everywhere],
            cluster_allowed: vec![any()],
            ..Self::default()
        }
    }

    /// A field of the project that asks for something that is not there; its applications cannot be synced.
    #[must_use]
    pub fn unsupported(&self) -> Option<&'static str> {
        self.unsupported
    }

    #[must_use]
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// Whether an Application in this namespace may use the project; those beside the controller always may.
    #[must_use]
    pub fn permits_application_in(&self, namespace: &str, controller_namespace: &str) -> bool {
        namespace == controller_namespace
            || self.source_namespaces.iter().any(|pattern| glob::matches(pattern, namespace))
    }

    /// The patterns of repositories as the project lists them: as long as they are the same, the same is permitted.
    #[must_use]
    pub fn source_rules(&self) -> &[String] {
        &self.source_repos
    }

    /// Whether a repository may be a source. A denial that applies beats every permission.
    #[must_use]
    pub fn permits_source(&self, url: &str) -> bool {
        let url = normalised(url);
        let mut permitted = false;
        for pattern in &self.source_repos {
            match pattern.strip_prefix('!') {
                Some(denied) if source_matches(&normalised(denied), &url) => return false,
                // What a denial leaves over is permitted, as upstream.
                Some(_) => permitted = true,
                None => permitted |= source_matches(&normalised(pattern), &url),
            }
        }
        permitted
    }

    /// Whether something may be put into a namespace of a cluster.
    #[must_use]
    pub fn permits_destination(&self, cluster: ClusterName<'_>, namespace: &str) -> bool {
        self.matches_destination(cluster, namespace)
            && (!self.only_own_clusters || cluster.project == self.name)
    }

    fn matches_destination(&self, cluster: ClusterName<'_>, namespace: &str) -> bool {
        let mut permitted = false;
        for pattern in &self.destinations {
            let by_name = !cluster.name.is_empty() && negatable(&pattern.name, cluster.name);
            let by_server = !cluster.server.is_empty() && negatable(&pattern.server, cluster.server);
            let by_namespace = negatable(&pattern.namespace, namespace);
            let denies = |pattern: &str| pattern.starts_with('!');
            if (by_server || by_name) && by_namespace {
                permitted = true;
            } else if !by_name && denies(&pattern.name)
                || !by_server && denies(&pattern.server) && by_namespace
                || !by_namespace && denies(&pattern.namespace) && by_server
            {
                return false;
            }
        }
        permitted
    }

    /// Whether objects of a kind may be managed.
    #[must_use]
    pub fn permits_kind(&self, group: &str, kind: &str, name: &str, namespaced: bool) -> bool {
        let listed = |list: &[KindPattern], name: Option<&str>| {
            list.iter().any(|pattern| {
                glob::matches_go(&pattern.kind, kind)
                    && glob::matches_go(&pattern.group, group)
                    && name
                        .is_none_or(|name| pattern.name.is_empty() || glob::matches_go(&pattern.name, name))
            })
        };
        if namespaced {
            let allowed = self.namespaced_allowed.as_ref().is_none_or(|list| listed(list, None));
            return allowed && !listed(&self.namespaced_denied, None);
        }
        listed(&self.cluster_allowed, Some(name)) && !listed(&self.cluster_denied, Some(name))
    }

    /// Why an object may not be synced, in the words of its result; `None` if it may.
    #[must_use]
    pub fn refuses(&self, cluster: ClusterName<'_>, key: &ResourceKey, namespaced: bool) -> Option<String> {
        let ResourceKey { group, kind, namespace, name } = key;
        if !self.permits_kind(group, kind, name, namespaced) {
            return Some(format!("resource {group}:{kind} is not permitted in project {}", self.name));
        }
        if namespaced && !self.permits_destination(cluster, namespace) {
            return Some(format!("namespace {namespace} is not permitted in project '{}'", self.name));
        }
        None
    }

    /// Whether objects that no application manages are looked for.
    #[must_use]
    pub fn watches_orphans(&self) -> bool {
        self.orphans.is_some()
    }

    /// Whether a condition tells of them: only where `warn` says so.
    #[must_use]
    pub fn warns_of_orphans(&self) -> bool {
        self.orphans.as_ref().is_some_and(|orphans| orphans.warn)
    }

    /// Whether an object without an owner that nobody manages is an orphan. Where the project looks for none, nothing is
    /// ignored that it permits.
    #[must_use]
    pub fn may_be_orphan(&self, key: &ResourceKey) -> bool {
        let ResourceKey { group, kind, namespace, name } = key;
        let always_there = group.is_empty()
            && matches!(
                (namespace.as_str(), kind.as_str(), name.as_str()),
                ("default", "Service", "kubernetes")
                    | (_, "ServiceAccount", "default")
                    | (_, "ConfigMap", "kube-root-ca.crt")
            );
        let ignored = self.orphans.iter().flat_map(|orphans| &orphans.ignore).any(|pattern| {
            (pattern.kind.is_empty() || glob::matches(&pattern.kind, kind))
                && glob::matches(&pattern.group, group)
                && (pattern.name.is_empty() || glob::matches(&pattern.name, name))
        });
        !namespace.is_empty() && !always_there && !ignored && self.permits_kind(group, kind, name, true)
    }
}

fn source_matches(pattern: &str, url: &str) -> bool {
    pattern == "*" || glob::matches_path(pattern, url)
}

/// A pattern that may begin with `!`.
fn negatable(pattern: &str, text: &str) -> bool {
    match pattern.strip_prefix('!') {
        Some(denied) => !glob::matches(denied, text),
        None => glob::matches(pattern, text),
    }
}

/// A repository's URL as projects compare it: lower case, without `.git`, ssh in one form.
fn normalised(url: &str) -> String {
    let mut url = url.trim().to_lowercase();
    let bare = url.strip_prefix("ssh://").unwrap_or(&url);
    let is_ssh = bare
        .split_once('@')
        .is_some_and(|(user, host)| !user.contains(['/', ':']) && !host.is_empty() && !host.contains('@'));
    if is_ssh && !url.starts_with("ssh://") {
        url = url.replacen(':', "/", 1);
    }
    let url = url.strip_prefix("ssh://").unwrap_or(&url);
    url.strip_suffix(".git").unwrap_or(url).to_owned()
}

/// What several projects together permit: `globalProjects` add to each project that their selector takes.
#[must_use]
pub fn with_global(mut object: Value, global: &[&Value]) -> Value {
    const LISTS: [&str; 8] = [
        "clusterResourceWhitelist",
        "clusterResourceBlacklist",
        "namespaceResourceWhitelist",
        "namespaceResourceBlacklist",
        "syncWindows",
        "sourceRepos",
        "destinations",
        "destinationServiceAccounts",
    ];
    let mut lists: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for field in LISTS {
        let more = global.iter().flat_map(|other| other["spec"][field].as_array().into_iter().flatten());
        let mut list = object["spec"][field].as_array().cloned().unwrap_or_default();
        let before = list.len();
        list.extend(more.cloned());
        if list.len() > before {
            lists.insert(field, list);
        }
    }
    for (field, list) in lists {
        object["spec"][field] = list.into();
    }
    object
}

#[cfg(test)]
mod tests;
