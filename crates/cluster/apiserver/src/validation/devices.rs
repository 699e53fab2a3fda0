//! Claims of devices and what offers them.

use objects::schema::FieldError;
use serde_json::Value;

use super::Problems;

pub(super) fn claim(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    requests(&object["spec"]["devices"], "spec.devices", problems);
    unchanged(old, object, problems);
}

pub(super) fn template(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    requests(&object["spec"]["spec"]["devices"], "spec.spec.devices", problems);
    unchanged(old, object, problems);
}

/// What is claimed does not change.
fn unchanged(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    if old.is_some_and(|old| old["spec"] != object["spec"]) {
        problems.push(FieldError::invalid("spec", object["spec"].clone(), "field is immutable"));
    }
}

fn requests(devices: &Value, path: &str, problems: &mut Problems) {
    for (index, request) in devices["requests"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.requests[{index}]");
        required(request, "name", &path, problems);
        let alternatives = request["firstAvailable"].as_array().map(Vec::as_slice).unwrap_or_default();
        match (request["exactly"].is_object(), alternatives.is_empty()) {
            (true, true) => {
                let exactly = &request["exactly"];
                required(exactly, "deviceClassName", &format!("{path}.exactly"), problems);
            }
            (false, false) => {
                for (index, alternative) in alternatives.iter().enumerate() {
                    let path = format!("{path}.firstAvailable[{index}]");
                    required(alternative, "name", &path, problems);
                    required(alternative, "deviceClassName", &path, problems);
                }
            }
            (exactly, _) => {
                let detail = "exactly one of `exactly` or `firstAvailable` is required";
                problems.push(if exactly {
                    FieldError::invalid(&path, Value::Null, detail)
                } else {
                    FieldError::required(&path, detail)
                });
            }
        }
    }
}

fn required(value: &Value, field: &str, path: &str, problems: &mut Problems) {
    if value[field].as_str().unwrap_or_default().is_empty() {
        problems.push(FieldError::required(&format!("{path}.{field}"), ""));
    }
}
