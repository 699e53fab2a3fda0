//! What `mainstay up` answers from this machine, told where other commands can read it.
//!
//! `app diff` and `app manifests` render as the running process does, and a source that it answers from a local place
//! (`up PATH`, `--source URL=PATH`) is in no repository that they could ask. So `up` writes its mappings to a ConfigMap
//! beside the Applications. A file of the data directory was rejected because it is found only by who knows the
//! directory, and an endpoint of the process because everything else goes through the Kubernetes API.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use client::dynamic::DeleteOptions;
use client::{Api, Client, Key, resource};
use git::{Mapping, Repositories};
use objects::Value;
use serde_json::json;

const NAME: &str = "mainstay-sources";
const FIELD: &str = "sources.json";
const MIRRORS: &str = "mirrors.json";

/// What is answered from elsewhere than its URL.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) mappings: Vec<Mapping>,
    /// Of registries, by host.
    pub(crate) mirrors: BTreeMap<String, Vec<String>>,
}

impl Sources {
    /// Writes them, into the namespace that Applications are created in, which is made first; a ConfigMap that has
    /// nothing to tell any more goes away.
    pub(crate) async fn publish(&self, client: &Client, namespace: &str) -> Result<()> {
        let api = Api::new(client, &resource::CONFIG_MAPS);
        let key = Key::namespaced(namespace, NAME);
        if self.mappings.is_empty() && self.mirrors.is_empty() {
            return api
                .delete_if_exists(&key, &DeleteOptions::default())
                .await
                .context("remove the mappings");
        }
        let namespaces = Api::new(client, &resource::NAMESPACES);
        if namespaces.find(&Key::cluster(namespace)).await?.is_none() {
            let made = namespaces.create(&sync::plan::namespace_manifest(namespace, None)).await;
            if let Err(error) = made
                && !error.is_already_exists()
            {
                return Err(error).context("create the namespace of the mappings");
            }
        }
        if self.mappings.is_empty() && self.mirrors.is_empty() {
            return api
                .delete_if_exists(&key, &DeleteOptions::default())
                .await
                .context("remove the mappings");
        }
        api.apply(&self.object(namespace), "mainstay", true).await.context("write the mappings")?;
        Ok(())
    }

    fn object(&self, namespace: &str) -> Value {
        let mappings: Vec<Value> = self
            .mappings
            .iter()
            .map(|mapping| json!({"url": mapping.url, "path": mapping.path, "revision": mapping.revision}))
            .collect();
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "argocd"}},
            "data": {FIELD: json!(mappings).to_string(), MIRRORS: json!(self.mirrors).to_string()},
        })
    }

    /// Reads what a running process wrote; nothing where none did.
    pub(crate) async fn read(client: &Client, namespace: &str) -> Result<Self> {
        let key = Key::namespaced(namespace, NAME);
        match Api::new(client, &resource::CONFIG_MAPS).find(&key).await? {
            Some(object) => Self::parse(&object).with_context(|| format!("read the ConfigMap {key}")),
            None => Ok(Self::default()),
        }
    }

    fn parse(object: &Value) -> Result<Self> {
        let text = |field: &str| object["data"][field].as_str();
        let mut sources = Self::default();
        if let Some(text) = text(FIELD) {
            let list: Vec<Value> = serde_json::from_str(text).with_context(|| format!("read {FIELD}"))?;
            for entry in list {
                let (Some(url), Some(path)) = (entry["url"].as_str(), entry["path"].as_str()) else {
                    bail!("{FIELD}: an entry lacks url or path");
                };
                let revision = entry["revision"].as_str().map(str::to_owned);
                sources.mappings.push(Mapping { revision, ..Mapping::new(url, path) });
            }
        }
        if let Some(text) = text(MIRRORS) {
            sources.mirrors = serde_json::from_str(text).with_context(|| format!("read {MIRRORS}"))?;
        }
        Ok(sources)
    }

    /// Has the repositories of a command answer as those of the running process do.
    pub(crate) fn map(&self, repositories: &Repositories) -> Result<()> {
        for mapping in &self.mappings {
            if !is_there(&mapping.path) {
                bail!(
                    "{} is answered from {} by the process that runs there, and that is not on this machine: \
                     run this command where `mainstay up` runs",
                    mapping.url,
                    mapping.path.display()
                );
            }
            repositories
                .map(mapping.clone())
                .with_context(|| format!("answer {} from {}", mapping.url, mapping.path.display()))?;
        }
        Ok(())
    }
}

fn is_there(path: &Path) -> bool {
    path.is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let sources = Sources {
            mappings: vec![
                Mapping {
                    revision: Some("v1".to_owned()),
                    ..Mapping::new("https://git.example.org/a.git", "/src/a")
                },
                Mapping::new("file:///src/b", "/src/b"),
            ],
            mirrors: BTreeMap::from([("ghcr.io".to_owned(), vec!["http://127.0.0.1:5000".to_owned()])]),
        };
        let read = Sources::parse(&sources.object("argocd")).unwrap();
        assert_eq!(read.mappings, sources.mappings);
        assert_eq!(read.mirrors, sources.mirrors);
        assert!(Sources::parse(&json!({"data": {FIELD: "["}})).is_err());
        assert!(Sources::parse(&json!({})).unwrap().mappings.is_empty());
    }
}
