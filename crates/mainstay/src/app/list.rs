//! `app list`: of each Application only what the table shows is read, so that ten thousand take no second.

use anyhow::Result;
use client::dynamic::ListOptions;
use serde::Deserialize;

use crate::cli::{Filter, Format, List};
use crate::remote::Remote;
use crate::remote::output::{objects, say};
use crate::remote::table::Table;

/// The parts of an Application that a list shows.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Row {
    pub(super) metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    project: String,
    destination: Destination,
    source: Option<Source>,
    sources: Vec<Source>,
    sync_policy: Option<SyncPolicy>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Destination {
    server: String,
    name: String,
    namespace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Source {
    #[serde(rename = "repoURL")]
    repo_url: String,
    path: String,
    target_revision: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SyncPolicy {
    automated: Option<Automated>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Automated {
    enabled: Option<bool>,
    prune: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    sync: Word,
    health: Word,
    conditions: Vec<Condition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Word {
    status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
}

impl Row {
    fn sources(&self) -> impl Iterator<Item = &Source> {
        self.spec.sources.iter().chain(&self.spec.source)
    }

    fn cluster(&self) -> &str {
        let Destination { server, name, .. } = &self.spec.destination;
        if server.is_empty() { name } else { server }
    }

    pub(super) fn project(&self) -> &str {
        if self.spec.project.is_empty() { "default" } else { &self.spec.project }
    }

    fn policy(&self) -> &'static str {
        let automated = self.spec.sync_policy.as_ref().and_then(|policy| policy.automated.as_ref());
        match automated.filter(|automated| automated.enabled != Some(false)) {
            None => "Manual",
            Some(automated) if automated.prune => "Auto-Prune",
            Some(_) => "Auto",
        }
    }

    /// The types of its conditions with how often each is there.
    fn conditions(&self) -> String {
        let mut kinds: Vec<&str> =
            self.status.conditions.iter().map(|condition| condition.kind.as_str()).collect();
        kinds.sort_unstable();
        let mut cells: Vec<String> = Vec::new();
        for group in kinds.chunk_by(|left, right| left == right) {
            cells.push(match group.len() {
                1 => group[0].to_owned(),
                count => format!("{}({count})", group[0]),
            });
        }
        if cells.is_empty() { "<none>".to_owned() } else { cells.join(",") }
    }

    fn cells(&self) -> [String; 11] {
        let source = self.sources().next();
        let of = |part: fn(&Source) -> &String| source.map(part).cloned().unwrap_or_default();
        let word = |word: &str| if word.is_empty() { "Unknown".to_owned() } else { word.to_owned() };
        [
            format!("{}/{}", self.metadata.namespace, self.metadata.name),
            self.cluster().to_owned(),
            self.spec.destination.namespace.clone(),
            self.project().to_owned(),
            word(&self.status.sync.status),
            word(&self.status.health.status),
            self.policy().to_owned(),
            self.conditions(),
            of(|source| &source.repo_url),
            of(|source| &source.path),
            of(|source| &source.target_revision),
        ]
    }

    fn matches(&self, list: &List) -> bool {
        let is = |wanted: &Option<String>, found: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(found);
        let trimmed = |url: &str| url.trim_end_matches('/').trim_end_matches(".git").to_lowercase();
        is(&list.repo, &|url| self.sources().any(|source| trimmed(&source.repo_url) == trimmed(url)))
            && is(&list.path, &|path| self.sources().any(|source| source.path == path))
            && is(&list.cluster, &|cluster| {
                self.spec.destination.server == cluster || self.spec.destination.name == cluster
            })
    }
}

const HEADING: [&str; 11] = [
    "NAME",
    "CLUSTER",
    "NAMESPACE",
    "PROJECT",
    "STATUS",
    "HEALTH",
    "SYNCPOLICY",
    "CONDITIONS",
    "REPO",
    "PATH",
    "TARGET",
];

pub(super) async fn run(remote: &Remote, list: &List) -> Result<()> {
    let mut rows = rows(remote, &list.filter).await?;
    rows.retain(|row| row.matches(list));
    match list.output {
        Format::Wide => {
            let mut table = Table::new(&HEADING);
            for row in &rows {
                table.row(row.cells());
            }
            say(&table.to_string())
        }
        Format::Name => {
            let names: Vec<String> = rows
                .iter()
                .map(|row| format!("{}/{}\n", row.metadata.namespace, row.metadata.name))
                .collect();
            say(&names.concat())
        }
        Format::Json | Format::Yaml => {
            let wanted: std::collections::BTreeSet<(&str, &str)> = rows
                .iter()
                .map(|row| (row.metadata.namespace.as_str(), row.metadata.name.as_str()))
                .collect();
            let (namespace, options) = scope(&list.filter);
            let mut all = remote.applications().list_all(namespace, &options).await?.items;
            all.retain(|object| {
                let key = client::Key::of(object);
                wanted.contains(&(key.namespace_str(), key.name.as_str()))
            });
            objects(all, list.output, |_| String::new())
        }
    }
}

fn scope(filter: &Filter) -> (Option<&str>, ListOptions) {
    let options = ListOptions { labels: filter.selector.clone(), ..ListOptions::default() };
    (filter.app_namespace.as_deref(), options)
}

/// The Applications that a filter selects, by name. Who may not list all namespaces sees Argo CD's own.
pub(super) async fn rows(remote: &Remote, filter: &Filter) -> Result<Vec<Row>> {
    let (namespace, options) = scope(filter);
    let api = remote.applications();
    let mut rows: Vec<Row> = match api.list_as(namespace, &options).await {
        Err(error) if error.is_forbidden() && namespace.is_none() => {
            api.list_as(Some(&remote.namespace), &options).await?
        }
        rows => rows?,
    };
    rows.retain(|row| filter.project.is_empty() || filter.project.iter().any(|one| one == row.project()));
    rows.sort_by(|left, right| {
        (&left.metadata.name, &left.metadata.namespace)
            .cmp(&(&right.metadata.name, &right.metadata.namespace))
    });
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(spec: serde_json::Value, status: serde_json::Value) -> Row {
        serde_json::from_value(
            json!({"metadata": {"name": "shop", "namespace": "argocd"}, "spec": spec, "status": status}),
        )
        .unwrap()
    }

    #[test]
    fn a_row_reads_as_argo_cds() {
        let spec = json!({"destination": {"name": "in-cluster", "namespace": "shop"},
            "sources": [{"repoURL": "https://git.example.org/a.git", "path": "charts/shop", "targetRevision": "main"}, {"repoURL": "b"}],
            "syncPolicy": {"automated": {"prune": true, "selfHeal": true}}});
        let status = json!({"sync": {"status": "Synced"}, "conditions": [{"type": "SyncError"}, {"type": "A"}, {"type": "A"}]});
        let row = row(spec, status);
        assert_eq!(
            row.cells(),
            [
                "argocd/shop",
                "in-cluster",
                "shop",
                "default",
                "Synced",
                "Unknown",
                "Auto-Prune",
                "A(2),SyncError",
                "https://git.example.org/a.git",
                "charts/shop",
                "main"
            ]
        );
        assert_eq!(self::row(json!({}), json!({})).policy(), "Manual");
        let off = json!({"syncPolicy": {"automated": {"enabled": false}}});
        assert_eq!(self::row(off, json!({})).policy(), "Manual");
    }
}
