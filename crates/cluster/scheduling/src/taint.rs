//! Taints of nodes and tolerations of Pods.

use serde_json::Value;

use crate::request::array;

/// The first taint of this effect that the Pod does not tolerate.
pub(crate) fn untolerated<'a>(pod: &Value, taints: &'a [Value], effects: &[&str]) -> Option<&'a Value> {
    taints.iter().find(|taint| {
        effects.contains(&taint["effect"].as_str().unwrap_or(""))
            && !array(&pod["spec"]["tolerations"]).any(|toleration| tolerates(toleration, taint))
    })
}

/// How many `PreferNoSchedule` taints the Pod does not tolerate.
pub(crate) fn unwelcome(pod: &Value, taints: &[Value]) -> i64 {
    let disliked = taints
        .iter()
        .filter(|taint| taint["effect"] == "PreferNoSchedule")
        .filter(|taint| !array(&pod["spec"]["tolerations"]).any(|toleration| tolerates(toleration, taint)));
    i64::try_from(disliked.count()).unwrap_or(i64::MAX)
}

/// Whether a toleration covers a taint: empty key, effect and operator `Exists` are wildcards.
pub(crate) fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or("").to_owned();
    let effect = text(toleration, "effect");
    let key = text(toleration, "key");
    if !effect.is_empty() && effect != text(taint, "effect") || !key.is_empty() && key != text(taint, "key") {
        return false;
    }
    match text(toleration, "operator").as_str() {
        "Exists" => true,
        "" | "Equal" => !key.is_empty() && text(toleration, "value") == text(taint, "value"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wildcards() {
        let taint = json!({ "key": "dedicated", "value": "db", "effect": "NoSchedule" });
        assert!(tolerates(&json!({ "operator": "Exists" }), &taint));
        assert!(tolerates(&json!({ "key": "dedicated", "operator": "Exists" }), &taint));
        assert!(tolerates(&json!({ "key": "dedicated", "value": "db" }), &taint));
        assert!(!tolerates(&json!({ "key": "dedicated", "value": "web" }), &taint));
        assert!(!tolerates(&json!({ "key": "dedicated", "value": "db", "effect": "NoExecute" }), &taint));
        assert!(!tolerates(&json!({ "value": "db" }), &taint));
    }
}
