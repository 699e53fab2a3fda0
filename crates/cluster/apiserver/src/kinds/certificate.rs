//! Requests for certificates: who asked is the server's to say, and approving changes nothing but the decision.

use objects::meta;
use serde_json::{Map, Value};

use crate::core::Call;

/// Notes who asks.
pub(super) fn prepare(call: &Call, object: &mut Value) {
    let user = &call.user;
    let Some(spec) = object["spec"].as_object_mut() else { return };
    spec.insert("username".to_owned(), user.name.clone().into());
    spec.insert("groups".to_owned(), user.groups.clone().into());
    spec.remove("uid");
    if !user.uid.is_empty() {
        spec.insert("uid".to_owned(), user.uid.clone().into());
    }
    spec.remove("extra");
    if !user.extra.is_empty() {
        let extra: Map<String, Value> =
            user.extra.iter().map(|(key, values)| (key.clone(), values.clone().into())).collect();
        spec.insert("extra".to_owned(), extra.into());
    }
}

/// When conditions were set is the server's to say where the client does not; one that was set before keeps its time.
pub(super) fn date(call: &Call, old: &Value, conditions: &mut Value) {
    let now = meta::format_time(call.now);
    let before = old["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    for condition in conditions.as_array_mut().into_iter().flatten() {
        if condition["lastUpdateTime"].is_null() {
            condition["lastUpdateTime"] = now.clone().into();
        }
        if condition["lastTransitionTime"].is_null() {
            let same =
                |old: &&Value| ["type", "status"].into_iter().all(|field| old[field] == condition[field]);
            let since = before.iter().find(same).map(|old| &old["lastTransitionTime"]);
            let since = since.filter(|since| since.is_string()).cloned();
            condition["lastTransitionTime"] = since.unwrap_or_else(|| now.clone().into());
        }
    }
}

/// An approval sets conditions and nothing else.
pub(super) fn keep_all_but_decisions(call: &Call, old: &Value, new: &mut Value) {
    let mut conditions = new["status"]["conditions"].take();
    date(call, old, &mut conditions);
    let fields = new["metadata"].get("managedFields").cloned();
    *new = old.clone();
    if let Some(fields) = fields {
        meta::set(new, "managedFields", fields);
    }
    if conditions.is_array() {
        new["status"]["conditions"] = conditions;
    }
}
