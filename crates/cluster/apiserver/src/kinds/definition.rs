//! CustomResourceDefinitions: accepted and established as they are written, so that they are served at once.

use objects::meta;
use serde_json::{Value, json};

use crate::cleanup;
use crate::core::Call;

/// Fills in names, and the status that says what is served.
pub(super) fn prepare(call: &Call, old: Option<&Value>, object: &mut Value) {
    let names = &mut object["spec"]["names"];
    let kind = names["kind"].as_str().unwrap_or_default().to_owned();
    if let Some(names) = names.as_object_mut() {
        names.entry("listKind").or_insert_with(|| format!("{kind}List").into());
        names.entry("singular").or_insert_with(|| kind.to_lowercase().into());
    }
    if object["spec"]["conversion"].is_null() {
        object["spec"]["conversion"] = json!({"strategy": "None"});
    }
    let group = object["spec"]["group"].as_str().unwrap_or_default();
    let plural = object["spec"]["names"]["plural"].as_str().unwrap_or_default();
    let conflict = conflict(call, group, plural, &kind, meta::name(object));
    let now = meta::format_time(call.now);
    let accepted = match &conflict {
        None => ("True", "NoConflicts", "no conflicts found".to_owned()),
        Some(message) => ("False", "KindConflict", message.clone()),
    };
    let established = match &conflict {
        None => ("True", "InitialNamesAccepted", "the initial names have been accepted".to_owned()),
        Some(_) => ("False", "NotAccepted", "not all names are accepted".to_owned()),
    };
    let condition = |kind: &str, (status, reason, message): (&str, &str, String)| {
        let before = old
            .and_then(|old| old["status"]["conditions"].as_array())
            .and_then(|conditions| conditions.iter().find(|condition| condition["type"] == kind))
            .filter(|condition| condition["status"] == status);
        let since = before.and_then(|condition| condition["lastTransitionTime"].as_str()).unwrap_or(&now);
        json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since})
    };
    let mut conditions = vec![condition("NamesAccepted", accepted), condition("Established", established)];
    if let Some(terminating) = old
        .and_then(|old| old["status"]["conditions"].as_array())
        .and_then(|conditions| conditions.iter().find(|condition| condition["type"] == "Terminating"))
    {
        conditions.push(terminating.clone());
    }
    let mut stored: Vec<Value> =
        old.and_then(|old| old["status"]["storedVersions"].as_array()).cloned().unwrap_or_default();
    let versions = object["spec"]["versions"].as_array();
    for version in versions.into_iter().flatten().filter(|version| version["storage"] == true) {
        if !stored.contains(&version["name"]) {
            stored.push(version["name"].clone());
        }
    }
    object["status"] = json!({
        "acceptedNames": object["spec"]["names"].clone(),
        "conditions": conditions,
        "storedVersions": stored,
    });
    if old.is_none() {
        meta::add_finalizer(object, cleanup::FINALIZER);
    }
}

/// Another stored definition of the same group that has the same kind.
fn conflict(call: &Call, group: &str, plural: &str, kind: &str, name: &str) -> Option<String> {
    let scope = store::Scope::new(crate::catalog::DEFINITIONS, None);
    let page = call.core.store.list(&scope, &store::ListOptions::default()).ok()?;
    page.items.iter().filter(|(path, _)| **path != *name).find_map(|(path, object)| {
        let other: Value = serde_json::from_slice(&object.bytes).ok()?;
        let same_group = other["spec"]["group"] == group;
        let accepted = &other["status"]["acceptedNames"];
        (same_group && (accepted["kind"] == kind || accepted["plural"] == plural))
            .then(|| format!("{kind:?} is already in use by {path}"))
    })
}
