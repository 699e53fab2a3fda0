//! Secrets as they may be seen in a diff: which values are the same shows, and nothing else.

use objects::{Value, meta};
use sync::annotations::LAST_APPLIED;

/// What stands for a value; each further distinct value of a key is longer by four.
const MASK: &str = "++++++++";

/// Hides the data of one Secret on both sides alike.
pub(super) fn hide(left: Option<Value>, right: Option<Value>) -> (Option<Value>, Option<Value>) {
    let mut sides = [left, right];
    if !sides.iter().flatten().any(is_secret) {
        let [left, right] = sides;
        return (left, right);
    }
    let mut seen: Vec<(String, Vec<String>)> = Vec::new();
    for side in sides.iter_mut().flatten() {
        for field in ["data", "stringData"] {
            let Some(values) = side.get_mut(field).and_then(Value::as_object_mut) else { continue };
            for (key, value) in values {
                *value = Value::from(mask(&mut seen, &format!("{field}/{key}"), value));
            }
        }
        let annotations = side.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"));
        if let Some(applied) = annotations.and_then(|annotations| annotations.get_mut(LAST_APPLIED)) {
            *applied = Value::from(MASK);
        }
    }
    let [left, right] = sides;
    (left, right)
}

fn is_secret(object: &Value) -> bool {
    meta::kind(object) == "Secret" && object["apiVersion"] == "v1"
}

fn mask(seen: &mut Vec<(String, Vec<String>)>, key: &str, value: &Value) -> String {
    let value = value.to_string();
    let at = match seen.iter().position(|(name, _)| name == key) {
        Some(at) => at,
        None => {
            seen.push((key.to_owned(), Vec::new()));
            seen.len() - 1
        }
    };
    let values = &mut seen[at].1;
    let position = values.iter().position(|before| *before == value).unwrap_or_else(|| {
        values.push(value);
        values.len() - 1
    });
    format!("{MASK}{}", "++++".repeat(position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(user: &str, password: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Secret", "data": {"user": user, "password": password},
            "metadata": {"annotations": {LAST_APPLIED: format!("{{\"stringData\":{{\"password\":\"{password}\"}}}}")}}})
    }

    #[test]
    fn only_equality_shows() {
        let (left, right) = hide(Some(secret("alice", "sesame")), Some(secret("alice", "tulip")));
        let (left, right) = (left.unwrap(), right.unwrap());
        assert_eq!(left["data"], json!({"user": "++++++++", "password": "++++++++"}));
        assert_eq!(right["data"], json!({"user": "++++++++", "password": "++++++++++++"}));
        assert_eq!(left["metadata"], right["metadata"]);
        for word in ["sesame", "tulip", "alice"] {
            assert!(!left.to_string().contains(word) && !right.to_string().contains(word));
        }
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}});
        assert_eq!(hide(Some(map.clone()), None), (Some(map), None));
    }
}
