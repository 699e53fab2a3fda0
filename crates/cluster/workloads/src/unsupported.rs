//! Fields that a controller does not act on yet: each is told as an event when the controller first sees the object.

use client::events::Recorder;
use serde_json::Value;

/// Records what of `fields` (JSON pointers) the object sets. Called on the first pass, which is the one without a status.
pub(crate) async fn announce(recorder: &Recorder, object: &Value, fields: &[&str]) {
    for field in set(object, fields) {
        let text = format!("{field} is not supported yet and has no effect");
        recorder.warning(object, "NotSupported", &text).await;
    }
}

/// Those that are set, written with dots. What stands at its zero value changes nothing.
fn set(object: &Value, fields: &[&str]) -> Vec<String> {
    let is_set = |field: &&&str| {
        object.pointer(field).is_some_and(|value| !value.is_null() && *value != 0 && *value != "0%")
    };
    fields.iter().filter(is_set).map(|field| field[1..].replace('/', ".")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_set_is_told() {
        let job = json!({"spec": {"podFailurePolicy": {"rules": []}, "maxFailedIndexes": null, "surge": 0}});
        let fields =
            ["/spec/podFailurePolicy", "/spec/maxFailedIndexes", "/spec/surge", "/spec/successPolicy"];
        assert_eq!(set(&job, &fields), ["spec.podFailurePolicy"]);
    }
}
