//! Limit ranges: what a container gets that says nothing, and between what bounds Pods and claims may ask.
//!
//! The sentences are those of upstream's plugin `LimitRanger`.

use std::collections::BTreeMap;

use objects::meta;
use objects::quantity::Quantity;
use serde_json::{Value, json};
use store::{ListOptions, Scope};

use crate::core::Call;
use crate::error::ApiError;
use crate::object;

/// What a plugin of that name has set, for people.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Fills in a Pod's defaults and checks it.
pub(super) fn pod(call: &Call, pod: &mut Value) -> Result<(), ApiError> {
    let items = items(call)?;
    if items.is_empty() {
        return Ok(());
    }
    defaults(&items, pod);
    let mut problems = Vec::new();
    for item in &items {
        match item["type"].as_str() {
            Some("Container") => {
                for list in ["containers", "initContainers"] {
                    for container in pod["spec"][list].as_array().into_iter().flatten() {
                        let resources = &container["resources"];
                        let (requests, limits) =
                            (amounts(&resources["requests"]), amounts(&resources["limits"]));
                        bounds(item, "Container", &requests, &limits, &mut problems);
                    }
                }
            }
            Some("Pod") => {
                let (requests, limits) = (whole(pod, "requests"), whole(pod, "limits"));
                bounds(item, "Pod", &requests, &limits, &mut problems);
            }
            _ => {}
        }
    }
    refuse(call, pod, &problems)
}

/// Checks what a claim asks for.
pub(super) fn claim(call: &Call, claim: &Value) -> Result<(), ApiError> {
    let requests = amounts(&claim["spec"]["resources"]["requests"]);
    let mut problems = Vec::new();
    for item in items(call)?.iter().filter(|item| item["type"] == "PersistentVolumeClaim") {
        for (what, least) in amounts(&item["min"]) {
            let sentence = format!("minimum {what} usage per PersistentVolumeClaim is {least}");
            match requests.get(&what) {
                None => problems.push(format!("{sentence}.  No request is specified")),
                Some(asked) if *asked < least => problems.push(format!("{sentence}, but request is {asked}")),
                Some(_) => {}
            }
        }
        for (what, most) in amounts(&item["max"]) {
            let sentence = format!("maximum {what} usage per PersistentVolumeClaim is {most}");
            match requests.get(&what) {
                None => problems.push(format!("{sentence}.  No request is specified")),
                Some(asked) if *asked > most => problems.push(format!("{sentence}, but request is {asked}")),
                Some(_) => {}
            }
        }
    }
    refuse(call, claim, &problems)
}

fn refuse(call: &Call, object: &Value, problems: &[String]) -> Result<(), ApiError> {
    let because = match problems {
        [] => return Ok(()),
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    Err(ApiError::forbidden("", &call.resource.plural, meta::name(object), &because))
}

/// The limits of all ranges in the namespace.
fn items(call: &Call) -> Result<Vec<Value>, ApiError> {
    let scope = Scope::new("limitranges", Some(&call.info.namespace));
    let Ok(page) = call.core.store.list(&scope, &ListOptions::default()) else { return Ok(Vec::new()) };
    let mut items = Vec::new();
    for (_, stored) in &page.items {
        let mut range = object::decode(&stored.bytes)?;
        if let Value::Array(limits) = range["spec"]["limits"].take() {
            items.extend(limits);
        }
    }
    Ok(items)
}

/// Amounts by resource.
pub(crate) fn amounts(list: &Value) -> BTreeMap<String, Quantity> {
    let entries = list.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value).ok()?))).collect()
}

/// What a Pod asks for as a whole: the sum of its containers, or the most that one of its init containers does.
pub(crate) fn whole(pod: &Value, side: &str) -> BTreeMap<String, Quantity> {
    let list = |name: &str| pod["spec"][name].as_array().cloned().unwrap_or_default();
    let mut total: BTreeMap<String, Quantity> = BTreeMap::new();
    let mut add = |amounts: BTreeMap<String, Quantity>| {
        for (what, amount) in amounts {
            let sum = match total.remove(&what) {
                Some(before) => before.plus(amount),
                None => amount,
            };
            total.insert(what, sum);
        }
    };
    let (sidecars, starting): (Vec<Value>, Vec<Value>) =
        list("initContainers").into_iter().partition(|container| container["restartPolicy"] == "Always");
    for container in list("containers").iter().chain(&sidecars) {
        add(amounts(&container["resources"][side]));
    }
    for container in &starting {
        for (what, amount) in amounts(&container["resources"][side]) {
            if total.get(&what).is_none_or(|sum| *sum < amount) {
                total.insert(what, amount);
            }
        }
    }
    total
}

fn bounds(
    item: &Value,
    kind: &str,
    requests: &BTreeMap<String, Quantity>,
    limits: &BTreeMap<String, Quantity>,
    problems: &mut Vec<String>,
) {
    for (what, least) in amounts(&item["min"]) {
        let sentence = format!("minimum {what} usage per {kind} is {least}");
        match (requests.get(&what), limits.get(&what)) {
            (None, _) => problems.push(format!("{sentence}.  No request is specified")),
            (Some(asked), _) if *asked < least => {
                problems.push(format!("{sentence}, but request is {asked}"));
            }
            (_, Some(limit)) if *limit < least => problems.push(format!("{sentence}, but limit is {limit}")),
            _ => {}
        }
    }
    for (what, most) in amounts(&item["max"]) {
        let sentence = format!("maximum {what} usage per {kind} is {most}");
        match (requests.get(&what), limits.get(&what)) {
            (_, None) => problems.push(format!("{sentence}.  No limit is specified")),
            (_, Some(limit)) if *limit > most => problems.push(format!("{sentence}, but limit is {limit}")),
            (Some(asked), _) if *asked > most => problems.push(format!("{sentence}, but request is {asked}")),
            _ => {}
        }
    }
    for (what, most) in amounts(&item["maxLimitRequestRatio"]) {
        let sentence = format!("{what} max limit to request ratio per {kind} is {most}");
        let given =
            |side: &BTreeMap<String, Quantity>| side.get(&what).copied().filter(|side| !side.is_zero());
        match (given(requests), given(limits)) {
            (None, _) => {
                problems.push(format!("{sentence}, but no request is specified or request is 0"));
            }
            (_, None) => problems.push(format!("{sentence}, but no limit is specified or limit is 0")),
            (Some(asked), Some(limit)) => {
                let ratio = limit.as_f64() / asked.as_f64();
                if ratio > most.as_f64() {
                    problems.push(format!("{sentence}, but provided ratio is {ratio:.6}"));
                }
            }
        }
    }
}

/// Gives containers what they leave out, and notes it.
fn defaults(items: &[Value], pod: &mut Value) {
    let mut given = BTreeMap::from([("limits", BTreeMap::new()), ("requests", BTreeMap::new())]);
    for item in items.iter().filter(|item| item["type"] == "Container") {
        for (side, field) in [("limits", "default"), ("requests", "defaultRequest")] {
            let side: &mut BTreeMap<String, Value> = given.entry(side).or_default();
            side.extend(item[field].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
        }
    }
    let mut notes = Vec::new();
    for (list, called) in [("initContainers", "init container"), ("containers", "container")] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            for (side, word) in [("requests", "request"), ("limits", "limit")] {
                let set = fill(&given[side], &mut container["resources"], side);
                if !set.is_empty() {
                    notes.push(format!("{} {word} for {called} {name}", set.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        meta::set_annotation(pod, ANNOTATION, Some(&format!("LimitRanger plugin set: {}", notes.join("; "))));
    }
}

/// Sets what is missing; the names of it.
fn fill(given: &BTreeMap<String, Value>, resources: &mut Value, side: &str) -> Vec<String> {
    let mut set = Vec::new();
    for (what, amount) in given {
        if resources[side].get(what).is_none() {
            if !resources.is_object() {
                *resources = json!({});
            }
            resources[side][what] = amount.clone();
            set.push(what.clone());
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_get_what_they_leave_out() {
        let items =
            [json!({"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "100m"}})];
        let mut pod = json!({"metadata": {}, "spec": {"containers": [
            {"name": "a"}, {"name": "b", "resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "2"}}}]}});
        defaults(&items, &mut pod);
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}})
        );
        assert_eq!(pod["spec"]["containers"][1]["resources"]["limits"]["cpu"], "2");
        assert_eq!(
            meta::annotation(&pod, ANNOTATION),
            Some("LimitRanger plugin set: cpu request for container a; cpu limit for container a")
        );
    }

    #[test]
    fn a_pod_needs_what_its_containers_or_one_that_starts_it_need() {
        let cpu = |amount: &str| json!({"resources": {"requests": {"cpu": amount}}});
        let pod = json!({"spec": {"containers": [cpu("100m"), cpu("200m")], "initContainers": [cpu("250m"), cpu("500m")]}});
        assert_eq!(whole(&pod, "requests")["cpu"].to_string(), "500m");
    }

    #[test]
    fn bounds_hold_for_what_is_said_and_what_is_not() {
        let item =
            json!({"min": {"cpu": "50m"}, "max": {"memory": "1Gi"}, "maxLimitRequestRatio": {"cpu": "2"}});
        let mut problems = Vec::new();
        let (requests, limits) = (amounts(&json!({"cpu": "10m"})), amounts(&json!({"cpu": "40m"})));
        bounds(&item, "Container", &requests, &limits, &mut problems);
        assert_eq!(
            problems,
            [
                "minimum cpu usage per Container is 50m, but request is 10m",
                "maximum memory usage per Container is 1Gi.  No limit is specified",
                "cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000",
            ]
        );
    }
}
