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
        ("apiextensions.k8s.io", "customresourcedefinitions") => return definition(call, object),
        _ => return,
    };
    call.warn(what);
}

fn definition(call: &Call, object: &Value) {
    if object["spec"]["conversion"]["strategy"] == "Webhook" {
        call.warn("spec.conversion: webhooks are not called yet, versions are converted by changing apiVersion only");
    }
}
