//! Claims of dynamic resource allocation.

use serde_json::json;

use super::{Fields, default_text, each, inside};

pub(super) fn resource(kind: &str, fields: &mut Fields) {
    let devices: &[&str] = match kind {
        "ResourceClaim" => &["spec", "devices"],
        "ResourceClaimTemplate" => &["spec", "spec", "devices"],
        _ => return,
    };
    inside(fields, devices, |devices| {
        each(devices, "requests", |request| {
            inside(request, &["exactly"], of_a_request);
            each(request, "firstAvailable", of_a_request);
        });
    });
}

/// One device, unless it says how many.
fn of_a_request(request: &mut Fields) {
    default_text(request, "allocationMode", "ExactCount");
    if request.get("allocationMode").is_some_and(|mode| mode == "ExactCount")
        && request.get("count").and_then(serde_json::Value::as_i64).unwrap_or(0) == 0
    {
        request.insert("count".to_owned(), json!(1));
    }
    each(request, "tolerations", |toleration| default_text(toleration, "operator", "Equal"));
}
