//! Nobody grants what he does not have: writes of roles need every right they contain, bindings every right of the
//! role they bind, unless the verbs `escalate` and `bind` say otherwise.

use objects::meta;
use serde_json::Value;

use super::{Attributes, Rule};
use crate::core::Call;
use crate::error::ApiError;
use crate::user::MASTERS;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Checks a write of a role or binding; everything else passes.
pub(crate) fn check(call: &Call, old: Option<&Value>, object: &Value) -> Result<(), ApiError> {
    if call.resource.group != GROUP || call.user.in_group(MASTERS) {
        return Ok(());
    }
    let namespace = call.resource.namespaced.then_some(call.info.namespace.as_str());
    match call.resource.plural.as_str() {
        "roles" | "clusterroles" => {
            let unchanged = old.is_some_and(|old| {
                old["rules"] == object["rules"] && old["aggregationRule"] == object["aggregationRule"]
            });
            if unchanged || allowed(call, "escalate", &call.resource.plural, meta::name(object)) {
                return Ok(());
            }
            if object["aggregationRule"].is_object() {
                // What it will hold is not known yet.
                let all = Rule {
                    verbs: vec!["*".to_owned()],
                    api_groups: vec!["*".to_owned()],
                    resources: vec!["*".to_owned()],
                    ..Rule::default()
                };
                require(call, namespace, object, &[all])?;
            }
            let rules: Vec<Rule> = object["rules"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|rule| serde_json::from_value(rule.clone()).ok())
                .collect();
            require(call, namespace, object, &rules)
        }
        "rolebindings" | "clusterrolebindings" => {
            let unchanged = old.is_some_and(|old| {
                old["roleRef"] == object["roleRef"] && old["subjects"] == object["subjects"]
            });
            let role = object["roleRef"]["name"].as_str().unwrap_or_default();
            let cluster = object["roleRef"]["kind"] == "ClusterRole";
            let plural = if cluster { "clusterroles" } else { "roles" };
            if unchanged || allowed(call, "bind", plural, role) {
                return Ok(());
            }
            let place = if cluster { None } else { namespace };
            let Some(rules) = call.core.authorizer.index().role(place, role) else {
                return Err(ApiError::not_found(GROUP, plural, role));
            };
            require(call, namespace, object, &rules)
        }
        _ => Ok(()),
    }
}

fn allowed(call: &Call, verb: &str, resource: &str, name: &str) -> bool {
    let namespace = if call.resource.namespaced { call.info.namespace.as_str() } else { "" };
    let attributes = Attributes { verb, group: GROUP, resource, namespace, name, ..Attributes::default() };
    call.core.authorizer.allows(&call.user, &attributes)
}

fn require(call: &Call, namespace: Option<&str>, object: &Value, wanted: &[Rule]) -> Result<(), ApiError> {
    let index = call.core.authorizer.index();
    let own: Vec<&Rule> = index.rules(&call.user, namespace.unwrap_or_default()).collect();
    let missing: Vec<String> = wanted
        .iter()
        .flat_map(Rule::atoms)
        .filter(|atom| !own.iter().any(|rule| rule.covers(atom)))
        .map(|atom| shown(&atom))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let because = format!(
        "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
        call.user.name,
        call.user.groups,
        missing.join("\n")
    );
    Err(ApiError::forbidden(GROUP, &call.resource.plural, meta::name(object), &because))
}

fn shown(atom: &Rule) -> String {
    let mut parts = Vec::new();
    for (name, list) in [
        ("APIGroups", &atom.api_groups),
        ("Resources", &atom.resources),
        ("ResourceNames", &atom.resource_names),
        ("NonResourceURLs", &atom.non_resource_urls),
        ("Verbs", &atom.verbs),
    ] {
        if !list.is_empty() {
            parts.push(format!("{name}:{list:?}"));
        }
    }
    format!("{{{}}}", parts.join(", "))
}
