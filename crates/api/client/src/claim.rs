//! Which objects a controller's object owns: adoption and release by selector, as upstream's reference manager does.
//!
//! Owned and matching: kept. Owned but not matching any more: released. Without a controller and matching: adopted.
//! Objects that are being deleted are neither adopted nor released, and an owner that is being deleted adopts nothing.

use objects::meta::{self, Key, OwnerReference};
use objects::selector::LabelSelector;
use serde_json::{Value, json};

use crate::dynamic::{Patch, PatchOptions};
use crate::{Api, Error};

/// What to do with one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    Keep,
    Adopt,
    Release,
    Ignore,
}

fn decide(owner: &Value, selector: &LabelSelector, candidate: &Value) -> Claim {
    let matches = selector.matches_object(candidate);
    match meta::controller_of(candidate) {
        Some(reference) if reference.uid == meta::uid(owner) => match matches {
            true => Claim::Keep,
            false if meta::is_deleting(owner) || meta::is_deleting(candidate) => Claim::Ignore,
            false => Claim::Release,
        },
        Some(_) => Claim::Ignore,
        None if matches && !meta::is_deleting(owner) && !meta::is_deleting(candidate) => Claim::Adopt,
        None => Claim::Ignore,
    }
}

/// Adopts and releases among `candidates` (all of one type, in the owner's namespace) and returns what `owner` controls.
///
/// `owner` has to be freshly read, so that a deleted and recreated owner never adopts by its old uid.
pub async fn claim(
    api: &Api,
    owner: &Value,
    selector: &LabelSelector,
    candidates: Vec<Value>,
) -> Result<Vec<Value>, Error> {
    let mut claimed = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        match decide(owner, selector, &candidate) {
            Claim::Keep => claimed.push(candidate),
            Claim::Adopt => match adopt(api, owner, &candidate).await {
                Ok(adopted) => claimed.push(adopted),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            },
            Claim::Release => match release(api, owner, &candidate).await {
                // Gone, or another object of the same name: released either way.
                Err(error) if error.is_not_found() || error.is_invalid() || error.is_conflict() => {}
                other => other.map(|_| ())?,
            },
            Claim::Ignore => {}
        }
    }
    Ok(claimed)
}

async fn adopt(api: &Api, owner: &Value, object: &Value) -> Result<Value, Error> {
    let mut references: Vec<Value> =
        meta::owner_references(object).iter().map(OwnerReference::to_value).collect();
    references.retain(|reference| reference["uid"] != meta::uid(owner));
    references.push(OwnerReference::controller(owner).to_value());
    change_owners(api, object, references).await
}

async fn release(api: &Api, owner: &Value, object: &Value) -> Result<Value, Error> {
    let references = meta::owner_references(object)
        .iter()
        .filter(|reference| reference.uid != meta::uid(owner))
        .map(OwnerReference::to_value)
        .collect();
    change_owners(api, object, references).await
}

async fn change_owners(api: &Api, object: &Value, references: Vec<Value>) -> Result<Value, Error> {
    // The uid makes the patch fail on another object of the same name, the version on one that somebody just claimed.
    let patch = json!({ "metadata": {
        "uid": meta::uid(object),
        "resourceVersion": meta::resource_version(object),
        "ownerReferences": references,
    }});
    api.patch(&Key::of(object), &Patch::Merge(patch), &PatchOptions::default()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions() {
        let owner = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": { "name": "web", "uid": "1" } });
        let mut dying = owner.clone();
        dying["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let selector = LabelSelector::parse("app=web").unwrap();
        let pod = |app: &str, uid: Option<&str>| {
            let references: Vec<Value> = uid
                .map(|uid| json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid, "controller": true }))
                .into_iter()
                .collect();
            json!({ "metadata": { "name": "p", "labels": { "app": app }, "ownerReferences": references } })
        };
        assert_eq!(decide(&owner, &selector, &pod("web", Some("1"))), Claim::Keep);
        assert_eq!(decide(&owner, &selector, &pod("db", Some("1"))), Claim::Release);
        assert_eq!(decide(&owner, &selector, &pod("web", Some("2"))), Claim::Ignore);
        assert_eq!(decide(&owner, &selector, &pod("web", None)), Claim::Adopt);
        assert_eq!(decide(&owner, &selector, &pod("db", None)), Claim::Ignore);
        assert_eq!(decide(&dying, &selector, &pod("web", None)), Claim::Ignore);
        assert_eq!(decide(&dying, &selector, &pod("db", Some("1"))), Claim::Ignore);
    }
}
