//! ControllerRevisions: the history of a StatefulSet's or DaemonSet's template.

use client::dynamic::{DeleteOptions, ListOptions};
use client::{Api, Error, Key, claim, hash};
use objects::meta::{self, OwnerReference};
use objects::selector::LabelSelector;
use serde_json::{Value, json};

use crate::template;

/// The revisions of one owner.
#[derive(Debug)]
pub(crate) struct History {
    /// Oldest first; holds `current`'s place too.
    pub(crate) all: Vec<Value>,
    /// The revision of the present template.
    pub(crate) update: Value,
    /// How often a revision's name was already taken by something else.
    pub(crate) collisions: i64,
}

/// What a revision stores: the template, as a patch that replaces the owner's.
fn data(owner: &Value) -> Value {
    let mut template = owner["spec"]["template"].clone();
    template["$patch"] = json!("replace");
    json!({ "spec": { "template": template } })
}

fn same_data(revision: &Value, wanted: &Value) -> bool {
    template::same(&revision["data"]["spec"]["template"], &wanted["spec"]["template"], "")
}

fn number(revision: &Value) -> i64 {
    revision["revision"].as_i64().unwrap_or(0)
}

/// The template that a revision stands for.
pub(crate) fn template_of(revision: &Value) -> Value {
    let mut template = revision["data"]["spec"]["template"].clone();
    if let Some(map) = template.as_object_mut() {
        map.remove("$patch");
    }
    template
}

/// Reads the history, adds the present template's revision or moves it to the end (a rollback), and returns all.
///
/// `hash_label` is the label that carries a revision's hash on revisions and Pods.
pub(crate) async fn sync(
    api: &Api,
    owner: &Value,
    selector: &LabelSelector,
    hash_label: &str,
) -> Result<History, Error> {
    let listed = api.list_all(meta::namespace(owner), &ListOptions::all()).await?.items;
    let mut all = claim::claim(api, owner, selector, listed).await?;
    all.sort_by_key(|revision| (number(revision), meta::name(revision).to_owned()));
    let wanted = data(owner);
    let newest = all.last().map_or(0, number);
    let mut collisions = owner["status"]["collisionCount"].as_i64().unwrap_or(0);
    if let Some(place) = all.iter().rposition(|revision| same_data(revision, &wanted)) {
        let mut update = all[place].clone();
        if number(&update) < newest {
            update["revision"] = json!(newest + 1);
            update = api.replace(&update).await?;
            all.remove(place);
            all.push(update.clone());
        }
        return Ok(History { all, update, collisions });
    }
    loop {
        let revision = new(owner, &wanted, newest + 1, hash_label, collisions);
        match api.create(&revision).await {
            Ok(update) => {
                all.push(update.clone());
                return Ok(History { all, update, collisions });
            }
            Err(error) if error.is_already_exists() => {
                let existing = api.get(&Key::of(&revision)).await?;
                if same_data(&existing, &wanted) && meta::is_controlled_by(&existing, meta::uid(owner)) {
                    return Ok(History { all, update: existing, collisions });
                }
                collisions += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn new(owner: &Value, data: &Value, number: i64, hash_label: &str, collisions: i64) -> Value {
    let hash = hash::template_hash(data, (collisions > 0).then_some(collisions));
    let mut labels = meta::labels(&owner["spec"]["template"]).cloned().unwrap_or_default();
    labels.insert(hash_label.to_owned(), json!(hash));
    let name = meta::name(owner);
    let prefix = &name[..name.len().min(223)];
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": format!("{prefix}-{hash}"),
            "namespace": meta::namespace(owner),
            "labels": labels,
            "annotations": owner["metadata"]["annotations"],
            "ownerReferences": [OwnerReference::controller(owner).to_value()],
        },
        "data": data,
        "revision": number,
    })
}

/// Deletes the oldest revisions beyond `revisionHistoryLimit` that nothing in `used` (names) refers to.
pub(crate) async fn truncate(
    api: &Api,
    owner: &Value,
    history: &History,
    used: &[String],
) -> Result<(), Error> {
    let limit = owner["spec"]["revisionHistoryLimit"].as_i64().unwrap_or(10);
    for key in superfluous(history, used, usize::try_from(limit).unwrap_or(0)) {
        api.delete_if_exists(&key, &DeleteOptions::default()).await?;
    }
    Ok(())
}

fn superfluous(history: &History, used: &[String], limit: usize) -> Vec<Key> {
    let unused: Vec<&Value> = history
        .all
        .iter()
        .filter(|revision| meta::name(revision) != meta::name(&history.update))
        .filter(|revision| !used.iter().any(|name| name == meta::name(revision)))
        .collect();
    let surplus = unused.len().saturating_sub(limit);
    unused.into_iter().take(surplus).map(Key::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays() {
        let revision =
            |n: i64| json!({ "metadata": { "name": format!("r{n}"), "namespace": "a" }, "revision": n });
        let history = History { all: (1..=5).map(revision).collect(), update: revision(5), collisions: 0 };
        let names = |used: &[&str], limit| -> Vec<String> {
            let used: Vec<String> = used.iter().map(|name| (*name).to_owned()).collect();
            superfluous(&history, &used, limit).into_iter().map(|key| key.name).collect()
        };
        assert_eq!(names(&[], 2), ["r1", "r2"]);
        assert_eq!(names(&["r1"], 2), ["r2"]);
        assert_eq!(names(&[], 10), Vec::<String>::new());
        assert_eq!(names(&["r1", "r2", "r3", "r4"], 0), Vec::<String>::new());
    }

    #[test]
    fn a_revision_gives_its_template_back() {
        let owner = json!({ "metadata": { "name": "db", "namespace": "a" },
            "spec": { "template": { "metadata": { "labels": { "app": "db" } }, "spec": { "x": 1 } } } });
        let revision = new(&owner, &data(&owner), 1, "hash", 0);
        assert_eq!(template_of(&revision), owner["spec"]["template"]);
        assert!(same_data(&revision, &data(&owner)));
        let collided = new(&owner, &data(&owner), 1, "hash", 1);
        assert_ne!(meta::name(&revision), meta::name(&collided));
        assert_eq!(meta::label(&revision, "app"), Some("db"));
    }
}
