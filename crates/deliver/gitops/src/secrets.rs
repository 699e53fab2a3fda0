//! What Secrets hold kept out of what people read: messages of servers, states of operations.

use base64::Engine as _;
use objects::{Value, meta};

/// What stands for a value.
const MASK: &str = "++++++++";
/// Shorter values are taken out only where they stand in quotes: elsewhere they are parts of words.
const SHORTEST: usize = 4;

/// Whether an object is a Secret, whatever else is wrong with it.
pub(crate) fn is_secret(object: &Value) -> bool {
    meta::kind(object) == "Secret" && object["apiVersion"] == "v1"
}

/// A message about objects, without what those of them that are Secrets hold. A server may repeat what it refuses.
pub(crate) fn masked<'o>(message: String, objects: impl IntoIterator<Item = &'o Value>) -> String {
    let mut values = Vec::new();
    for object in objects.into_iter().filter(|object| is_secret(object)) {
        for field in ["data", "stringData"] {
            gather(&object[field], &mut values);
        }
        if let Some(applied) = meta::annotation(object, sync::annotations::LAST_APPLIED) {
            values.push(applied.trim().to_owned());
        }
    }
    // A value may hold another one.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    values.dedup();
    values.iter().fold(message, |message, value| without(&message, value))
}

/// Every text in a value, as it is and decoded, and its lines.
fn gather(value: &Value, values: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.values().for_each(|value| gather(value, values)),
        Value::Array(list) => list.iter().for_each(|value| gather(value, values)),
        Value::Null => {}
        Value::String(text) => {
            add(text, values);
            let decoded = base64::engine::general_purpose::STANDARD.decode(text.trim()).ok();
            if let Some(decoded) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) {
                add(&decoded, values);
            }
        }
        Value::Bool(_) | Value::Number(_) => values.push(value.to_string()),
    }
}

fn add(text: &str, values: &mut Vec<String>) {
    values.push(text.to_owned());
    // As it is inside quotes.
    values.push(Value::from(text).to_string().trim_matches('"').to_owned());
    if text.contains('\n') {
        values.extend(text.lines().map(|line| line.trim().to_owned()));
    }
}

fn without(message: &str, value: &str) -> String {
    if value.is_empty() || !message.contains(value) {
        return message.to_owned();
    }
    if value.len() >= SHORTEST {
        return message.replace(value, MASK);
    }
    ["\"", "'", "`"].iter().fold(message.to_owned(), |message, quote| {
        message.replace(&format!("{quote}{value}{quote}"), &format!("{quote}{MASK}{quote}"))
    })
}

/// A request for an operation as its state shows it: Secrets among the manifests that were sent along have no values.
pub(crate) fn shown(request: &Value) -> Value {
    let mut shown = request.clone();
    let Some(manifests) = shown.pointer_mut("/sync/manifests").and_then(Value::as_array_mut) else {
        return shown;
    };
    for manifest in manifests {
        let Some(Ok(mut object)) = manifest.as_str().map(serde_json::from_str::<Value>) else { continue };
        if !is_secret(&object) {
            continue;
        }
        for field in ["data", "stringData"] {
            match object.get_mut(field) {
                Some(Value::Object(values)) => values.values_mut().for_each(|value| *value = MASK.into()),
                Some(other) => *other = MASK.into(),
                None => {}
            }
        }
        meta::set_annotation(&mut object, sync::annotations::LAST_APPLIED, None);
        *manifest = object.to_string().into();
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_keeps_no_value() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"},
            "data": {"a": "c2VzYW1l", "b": "not base64!", "short": "ab"},
            "stringData": {"c": "line one\nline two", "d": 123_456, "e": ["deep"], "f": true}});
        let said = r#"Secret "keys" is invalid: data[a]: Invalid value: "sesame" ("c2VzYW1l"): not base64! line one\nline two, line two, 123456, deep, abacus, "ab""#;
        let told = masked(said.to_owned(), [&secret]);
        for word in ["sesame", "c2VzYW1l", "not base64!", "line one", "line two", "123456", "deep", "\"ab\""]
        {
            assert!(!told.contains(word), "{word}: {told}");
        }
        assert!(told.starts_with(r#"Secret "keys" is invalid: data[a]: Invalid value: "#), "{told}");
        assert!(told.contains("abacus"));
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "sesame"}});
        assert_eq!(masked("sesame".to_owned(), [&map]), "sesame");
    }

    #[test]
    fn manifests_that_were_sent_along_show_no_value() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"a": "sesame"}});
        let map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "b"}});
        let request = json!({"sync": {"manifests": [secret.to_string(), map.to_string(), "no JSON"]}});
        let told = shown(&request);
        assert!(!told.to_string().contains("sesame"));
        assert_eq!(told["sync"]["manifests"][1], map.to_string());
        assert_eq!(shown(&json!({"sync": {}})), json!({"sync": {}}));
    }
}
