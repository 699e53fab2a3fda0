//! What is stored and has no effect yet: the client is told so.

use serde_json::Value;

use crate::core::Call;

pub(super) fn warn(call: &Call, object: &Value) {
    let resource = &call.resource;
    let what = match (resource.group.as_str(), resource.plural.as_str()) {
        ("admissionregistration.k8s.io", plural) if plural.ends_with("webhookconfigurations") => {
            "admission webhooks are stored but not called yet"
        }
        ("admissionregistration.k8s.io", _) => "admission policies are stored but not evaluated yet",
        ("apiregistration.k8s.io", "apiservices") if object["spec"]["service"].is_object() => {
            "APIServices are stored but requests are not passed on to them yet"
        }
        ("flowcontrol.apiserver.k8s.io", _) => {
            "priority and fairness settings are stored but have no effect yet"
        }
        ("", "resourcequotas" | "limitranges") => "quotas and limit ranges are stored but not enforced yet",
        ("apiextensions.k8s.io", "customresourcedefinitions") => return definition(call, object),
        _ => return,
    };
    call.warn(what);
}

fn definition(call: &Call, object: &Value) {
    if object["spec"]["conversion"]["strategy"] == "Webhook" {
        call.warn("spec.conversion: webhooks are not called yet, versions are converted by changing apiVersion only");
    }
    let versions = object["spec"]["versions"].as_array().into_iter().flatten();
    if versions.into_iter().any(|version| has_rules(&version["schema"]["openAPIV3Schema"])) {
        call.warn("x-kubernetes-validations are stored but not evaluated yet");
    }
}

/// Whether a schema has CEL rules anywhere. Depth is bounded by that of the JSON it came from.
fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            fields
                .get("x-kubernetes-validations")
                .and_then(Value::as_array)
                .is_some_and(|rules| !rules.is_empty())
                || fields.values().any(has_rules)
        }
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}
