//! Resources with what they own, as a tree.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use client::dynamic::ListOptions;
use client::resource;
use objects::{Value, meta};
use sync::health::assess;

use super::live::Live;
use crate::remote::Remote;

/// Kinds that others make.
const OWNED: [&client::ResourceType; 6] = [
    &resource::REPLICA_SETS,
    &resource::PODS,
    &resource::JOBS,
    &resource::ENDPOINT_SLICES,
    &resource::CONTROLLER_REVISIONS,
    &resource::PERSISTENT_VOLUME_CLAIMS,
];

pub(super) async fn text(remote: &Remote, resources: &[Live]) -> Result<String> {
    let owned = owned(remote, resources).await?;
    let mut out = String::from("KIND/NAME  STATUS  HEALTH  MESSAGE\n");
    for live in resources {
        let health = live.health();
        let message = health.as_ref().map(|health| health.message.clone()).unwrap_or_default();
        let words = [live.status().to_owned(), live.health_word(), message];
        line(&mut out, "", &format!("{}/{}", live.key.kind, live.key.name), &words);
        if let Some(object) = &live.object {
            below(&mut out, "", meta::uid(object), &owned, 0);
        }
    }
    Ok(out)
}

/// What is owned by whom, in the namespaces of the resources.
async fn owned(remote: &Remote, resources: &[Live]) -> Result<BTreeMap<String, Vec<Value>>> {
    let namespaces: BTreeSet<&str> = resources
        .iter()
        .filter(|live| live.object.is_some())
        .map(|live| live.key.namespace.as_str())
        .filter(|namespace| !namespace.is_empty())
        .collect();
    let mut owned: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for namespace in namespaces {
        let lists = OWNED
            .map(|kind| async move { remote.api(kind).list_all(Some(namespace), &ListOptions::all()).await });
        for list in futures::future::try_join_all(lists).await? {
            for object in list.items {
                for owner in meta::owner_references(&object) {
                    owned.entry(owner.uid.clone()).or_default().push(object.clone());
                }
            }
        }
    }
    Ok(owned)
}

/// Deeper than any chain of owners that there is.
const MOST_DEPTH: usize = 10;

fn below(out: &mut String, indent: &str, uid: &str, owned: &BTreeMap<String, Vec<Value>>, depth: usize) {
    let children = owned.get(uid).map_or(&[][..], Vec::as_slice);
    if depth > MOST_DEPTH {
        return;
    }
    for (at, child) in children.iter().enumerate() {
        let last = at + 1 == children.len();
        let health = assess(child);
        let word = health.as_ref().map(|health| health.status.to_string()).unwrap_or_default();
        let message = health.map(|health| health.message).unwrap_or_default();
        let branch = if last { "└─" } else { "├─" };
        let name = format!("{}/{}", meta::kind(child), meta::name(child));
        line(out, &format!("{indent}{branch}"), &name, &[String::new(), word, message]);
        let deeper = format!("{indent}{}", if last { "  " } else { "│ " });
        below(out, &deeper, meta::uid(child), owned, depth + 1);
    }
}

fn line(out: &mut String, indent: &str, name: &str, words: &[String; 3]) {
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
    let text = format!("{indent}{name}  {}", words.join("  "));
    let printable: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    out.push_str(printable.trim_end());
    out.push('\n');
}
