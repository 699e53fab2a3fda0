//! Which Applications a command is about, and which of their resources.

use anyhow::{Result, bail};
use client::Key;
use objects::Value;
use sync::ResourceKey;

use super::list;
use crate::cli::Selected;
use crate::remote::Remote;
use crate::remote::output::{array, text};

/// The Applications that were named or selected.
pub(super) async fn keys(remote: &Remote, selected: &Selected) -> Result<Vec<Key>> {
    let filter = &selected.filter;
    if !selected.names.is_empty() {
        return Ok(selected
            .names
            .iter()
            .map(|name| match &filter.app_namespace {
                Some(namespace) if !name.contains('/') => Key::namespaced(namespace, name),
                _ => remote.key(name),
            })
            .collect());
    }
    let rows = list::rows(remote, filter).await?;
    if rows.is_empty() {
        bail!("no Application matches");
    }
    Ok(rows.iter().map(|row| Key::namespaced(&row.metadata.namespace, &row.metadata.name)).collect())
}

/// A `GROUP:KIND:NAME` that a person typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    group: String,
    kind: String,
    namespace: Option<String>,
    name: String,
    excludes: bool,
}

impl Pattern {
    pub(super) fn parse(typed: &str) -> Result<Self> {
        let (excludes, rest) = match typed.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, typed),
        };
        let mut parts = rest.splitn(3, ':');
        let (Some(group), Some(kind), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            bail!(
                "{typed:?} is no resource: it is written as GROUP:KIND:NAME, as in apps:Deployment:web or :Service:web"
            );
        };
        let (namespace, name) = match name.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, name),
        };
        Ok(Self {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace,
            name: name.to_owned(),
            excludes,
        })
    }

    fn matches(&self, key: &ResourceKey) -> bool {
        let is = |wanted: &str, found: &str| wanted == "*" || wanted == found;
        is(&self.group, &key.group)
            && is(&self.kind, &key.kind)
            && is(&self.name, &key.name)
            && self.namespace.as_deref().is_none_or(|namespace| is(namespace, &key.namespace))
    }
}

impl Pattern {
    /// Whether patterns choose an object; all are chosen where there are none.
    pub(super) fn choose(patterns: &[Self], key: &ResourceKey) -> bool {
        let (out, within): (Vec<&Self>, Vec<&Self>) = patterns.iter().partition(|pattern| pattern.excludes);
        (within.is_empty() || within.iter().any(|pattern| pattern.matches(key)))
            && !out.iter().any(|pattern| pattern.matches(key))
    }
}

/// The resources in an Application's status, as keys with their entries.
pub(super) fn resources(application: &Value) -> impl Iterator<Item = (ResourceKey, &Value)> {
    array(application, "/status/resources").iter().map(|resource| (key_of(resource), resource))
}

/// What an entry of a status is about.
pub(super) fn key_of(entry: &Value) -> ResourceKey {
    ResourceKey::new(
        text(entry, "/group"),
        text(entry, "/kind"),
        text(entry, "/namespace"),
        text(entry, "/name"),
    )
}

/// The resources that patterns choose; all where there are none.
pub(super) fn chosen(application: &Value, typed: &[String]) -> Result<Vec<ResourceKey>> {
    let patterns: Vec<Pattern> = typed.iter().map(|one| Pattern::parse(one)).collect::<Result<_>>()?;
    let keys: Vec<ResourceKey> =
        resources(application).map(|(key, _)| key).filter(|key| Pattern::choose(&patterns, key)).collect();
    if keys.is_empty() && !typed.is_empty() {
        bail!(
            "no resource of {} matches {}; `mainstay app resources` shows those there are",
            objects::meta::name(application),
            typed.join(", ")
        );
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns_choose_and_leave_out() {
        let application = json!({"metadata": {"name": "a"}, "status": {"resources": [
            {"group": "apps", "kind": "Deployment", "namespace": "x", "name": "web"},
            {"kind": "Service", "namespace": "x", "name": "web"},
            {"kind": "Service", "namespace": "y", "name": "web"}]}});
        let names = |typed: &[&str]| -> Vec<String> {
            let typed: Vec<String> = typed.iter().map(|one| (*one).to_owned()).collect();
            chosen(&application, &typed).unwrap().iter().map(ToString::to_string).collect()
        };
        assert_eq!(names(&["apps:Deployment:web"]), ["apps/Deployment/x/web"]);
        assert_eq!(names(&[":Service:y/web"]), ["Service/y/web"]);
        assert_eq!(names(&["*:*:*", "!apps:*:*"]), ["Service/x/web", "Service/y/web"]);
        assert_eq!(names(&[]).len(), 3);
        assert!(chosen(&application, &["batch:Job:x".to_owned()]).is_err());
        assert!(Pattern::parse("Deployment/web").unwrap_err().to_string().contains("GROUP:KIND:NAME"));
    }
}
