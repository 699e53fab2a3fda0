//! Node selector terms, as node affinity and volumes use them.

use objects::selector::LabelSelector;
use serde_json::{Map, Value};

use crate::request::array;

/// A node as selectors see it.
pub(crate) struct Selected<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: &'a Map<String, Value>,
}

/// Any term matches. No terms match nothing, as upstream.
pub(crate) fn any_term(terms: &Value, node: &Selected<'_>) -> bool {
    array(terms).any(|term| one_term(term, node))
}

/// All expressions and fields of a term match; an empty term matches nothing.
pub(crate) fn one_term(term: &Value, node: &Selected<'_>) -> bool {
    let mut empty = true;
    for expression in array(&term["matchExpressions"]) {
        empty = false;
        if !expression_matches(expression, |key| node.labels.get(key).and_then(Value::as_str)) {
            return false;
        }
    }
    for expression in array(&term["matchFields"]) {
        empty = false;
        if !expression_matches(expression, |key| (key == "metadata.name").then_some(node.name)) {
            return false;
        }
    }
    !empty
}

fn expression_matches<'a>(expression: &Value, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
    let value = value_of(expression["key"].as_str().unwrap_or(""));
    let listed = || array(&expression["values"]).any(|wanted| wanted.as_str() == value && value.is_some());
    let compare = |holds: fn(i64, i64) -> bool| {
        let bound = array(&expression["values"]).next().and_then(Value::as_str)?.parse().ok()?;
        Some(holds(value?.parse().ok()?, bound))
    };
    match expression["operator"].as_str().unwrap_or("") {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(|value, bound| value > bound).unwrap_or(false),
        "Lt" => compare(|value, bound| value < bound).unwrap_or(false),
        _ => false,
    }
}

/// `spec.nodeSelector` and required node affinity together.
pub(crate) fn wanted_by_pod(pod: &Value, node: &Selected<'_>) -> bool {
    let simple =
        pod["spec"].get("nodeSelector").filter(|map| map.as_object().is_some_and(|map| !map.is_empty()));
    let simple = simple.map_or_else(LabelSelector::everything, LabelSelector::from_map);
    let required = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    simple.matches(Some(node.labels))
        && (required.is_null() || any_term(&required["nodeSelectorTerms"], node))
}

/// The weights of preferred terms that match, added.
pub(crate) fn preference(pod: &Value, node: &Selected<'_>) -> i64 {
    let preferred =
        &pod["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"];
    array(preferred)
        .filter(|term| one_term(&term["preference"], node))
        .filter_map(|term| term["weight"].as_i64())
        .sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(term: Value) -> bool {
        let labels = json!({ "zone": "a", "size": "5" });
        let node = Selected { name: "n1", labels: labels.as_object().unwrap() };
        one_term(&term, &node)
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> Value {
        json!({ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] })
    }

    #[test]
    fn operators() {
        assert!(matches(expression("zone", "In", &["a", "b"])));
        assert!(!matches(expression("zone", "NotIn", &["a"])));
        assert!(matches(expression("absent", "NotIn", &["a"])));
        assert!(matches(expression("zone", "Exists", &[])));
        assert!(matches(expression("absent", "DoesNotExist", &[])));
        assert!(matches(expression("size", "Gt", &["4"])));
        assert!(!matches(expression("size", "Lt", &["5"])));
        assert!(!matches(expression("zone", "Gt", &["5"])));
        assert!(!matches(json!({})));
        assert!(matches(
            json!({ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["n1"] }] })
        ));
    }
}
