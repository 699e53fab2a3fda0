//! CEL rules of custom resources (`x-kubernetes-validations`): compiled once for a definition, evaluated where a value changed,
//! bounded in what they may cost.
//!
//! `kube-cel` compiles and evaluates. The walk is ours: it skips what did not change (ratcheting), finds the old value of a
//! list's item by the list's keys, and stops when the budget is spent. The cost of a rule is bounded before it runs, from its
//! loops and the sizes of the value, because an evaluation cannot be interrupted.

mod syntax;

use std::collections::BTreeMap;

use kube_cel::{CompiledSchema, RootContext, Validator, compile_schema};
use objects::schema::{ErrorKind, FieldError};
use serde_json::Value;

pub(super) use syntax::{parses, problems};

/// What one object may cost: upstream's `RuntimeCELCostBudget`.
const BUDGET: u64 = 10_000_000;
/// Stack for the compiler and the evaluator, which recurse as deep as a rule is nested.
const STACK: usize = 64 << 20;
const FIELD: &str = "x-kubernetes-validations";

/// The rules of one version of a definition.
#[derive(Debug)]
pub(crate) struct Rules {
    root: Node,
    context: RootContext,
}

/// A place in the schema, kept if there are rules at it or below it.
#[derive(Debug, Default)]
struct Node {
    own: Option<Own>,
    properties: BTreeMap<String, Node>,
    additional: Option<Box<Node>>,
    items: Option<Box<Node>>,
    /// By which an item of the list is the same as one of the old list.
    keys: Vec<String>,
}

#[derive(Debug)]
struct Own {
    /// The node with its own rules and none of those below.
    schema: CompiledSchema,
    json_type: String,
    costs: Vec<syntax::Cost>,
    transitions: bool,
}

impl Rules {
    /// `None` if the schema has no rules.
    pub(crate) fn compile(schema: &Value, group: &str, api_version: &str, kind: &str) -> Option<Rules> {
        let root = stacker::grow(STACK, || Node::compile(schema))?;
        let context = RootContext {
            api_version: api_version.to_owned(),
            api_group: group.to_owned(),
            kind: kind.to_owned(),
        };
        Some(Rules { root, context })
    }

    pub(super) fn check(&self, old: Option<&Value>, object: &Value, problems: &mut Vec<FieldError>) {
        let mut walk = Walk { rules: self, validator: Validator::new(), left: BUDGET, problems };
        stacker::grow(STACK, || walk.node(&self.root, object, old, ""));
    }
}

impl Node {
    fn compile(schema: &Value) -> Option<Node> {
        let child = |name: &str| schema.get(name).and_then(Node::compile).map(Box::new);
        let properties = schema.get("properties").and_then(Value::as_object);
        let node = Node {
            own: Own::compile(schema),
            properties: properties
                .into_iter()
                .flatten()
                .filter_map(|(name, schema)| Some((name.clone(), Node::compile(schema)?)))
                .collect(),
            additional: child("additionalProperties"),
            items: child("items"),
            keys: schema["x-kubernetes-list-map-keys"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|key| key.as_str().map(str::to_owned))
                .collect(),
        };
        let empty = node.own.is_none()
            && node.properties.is_empty()
            && node.additional.is_none()
            && node.items.is_none();
        (!empty).then_some(node)
    }
}

impl Own {
    fn compile(schema: &Value) -> Option<Own> {
        let rules = schema.get(FIELD)?.as_array().filter(|rules| !rules.is_empty())?;
        let mut bare = schema.clone();
        strip(&mut bare, true);
        let texts = rules.iter().filter_map(|rule| rule["rule"].as_str());
        Some(Own {
            schema: compile_schema(&bare),
            json_type: schema["type"].as_str().unwrap_or("object").to_owned(),
            transitions: texts.clone().any(|text| text.contains("oldSelf")),
            costs: texts.filter_map(syntax::cost).collect(),
        })
    }
}

/// Removes the rules below a node, and what else is not needed to evaluate the node's own.
fn strip(schema: &mut Value, keep_own: bool) {
    let Some(fields) = schema.as_object_mut() else { return };
    fields.remove("description");
    fields.remove("default");
    if !keep_own {
        fields.remove(FIELD);
    }
    for (name, value) in fields {
        match name.as_str() {
            "properties" => {
                value.as_object_mut().into_iter().flatten().for_each(|(_, child)| strip(child, false))
            }
            "items" | "additionalProperties" => strip(value, false),
            _ => {}
        }
    }
}

struct Walk<'a> {
    rules: &'a Rules,
    validator: Validator,
    left: u64,
    problems: &'a mut Vec<FieldError>,
}

impl Walk<'_> {
    fn node(&mut self, node: &Node, value: &Value, old: Option<&Value>, path: &str) {
        if let Some(own) = &node.own
            && (old != Some(value) || own.transitions)
            && !value.is_null()
        {
            self.own(own, value, old, path);
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if let Some(child) = node.properties.get(name).or(node.additional.as_deref()) {
                        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                        self.node(child, value, old.and_then(|old| old.get(name)), &path);
                    }
                }
            }
            Value::Array(items) => {
                let Some(child) = &node.items else { return };
                for (at, item) in items.iter().enumerate() {
                    let old = old.and_then(|old| same_item(old, item, &node.keys));
                    self.node(child, item, old, &format!("{path}[{at}]"));
                }
            }
            _ => {}
        }
    }

    fn own(&mut self, own: &Own, value: &Value, old: Option<&Value>, path: &str) {
        if self.left == 0 {
            return;
        }
        let size = syntax::Size::of(value);
        let cost = own.costs.iter().fold(0_u64, |sum, cost| sum.saturating_add(cost.of(&size)));
        let shown = |path: &str, kind, detail: String| {
            FieldError::new(kind, path, Value::String(own.json_type.clone()), detail)
        };
        if cost > self.left {
            self.left = 0;
            let detail = "validation failed due to running out of cost budget, no further validation rules will be run";
            self.problems.push(shown(path, ErrorKind::Invalid, detail.to_owned()));
            return;
        }
        self.left -= cost;
        let context = path.is_empty().then_some(&self.rules.context);
        let result = self.validator.validate_compiled_with_context(&own.schema, value, old, context);
        for error in result.err().into_iter().flatten() {
            let kind = match error.reason.as_deref() {
                Some("FieldValueForbidden") => ErrorKind::Forbidden,
                Some("FieldValueRequired") => ErrorKind::Required,
                Some("FieldValueDuplicate") => ErrorKind::Duplicate,
                _ => ErrorKind::Invalid,
            };
            let detail = match error.message.strip_prefix("rule evaluation error: ") {
                Some(cause) => format!("{} evaluating rule: {}", decapitalized(cause), error.rule),
                None => error.message.clone(),
            };
            self.problems.push(shown(&join(path, &error.field_path), kind, detail));
        }
    }
}

fn decapitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}

fn join(path: &str, below: &str) -> String {
    let below = below.trim_start_matches('.');
    match (path.is_empty(), below.is_empty()) {
        (true, _) => below.to_owned(),
        (_, true) => path.to_owned(),
        _ if below.starts_with('[') => format!("{path}{below}"),
        _ => format!("{path}.{below}"),
    }
}

/// The item of the old list that has the same keys; lists without keys have no such.
fn same_item<'a>(old: &'a Value, item: &Value, keys: &[String]) -> Option<&'a Value> {
    if keys.is_empty() {
        return None;
    }
    old.as_array()?.iter().find(|old| keys.iter().all(|key| old.get(key) == item.get(key)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: &Value, old: Option<&Value>, object: &Value) -> Vec<String> {
        let rules = Rules::compile(schema, "example.com", "example.com/v1", "Thing").unwrap();
        let mut problems = Vec::new();
        rules.check(old, object, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    fn with(rule: &Value, below: &Value) -> Value {
        let spec = json!({"type": "object", "properties": below, FIELD: [rule]});
        json!({"type": "object", "properties": {"spec": spec}})
    }

    #[test]
    fn a_rule_is_told_with_its_message_reason_and_place() {
        let schema = with(
            &json!({"rule": "self.a < self.b", "message": "too much", "fieldPath": ".a", "reason": "FieldValueForbidden"}),
            &json!({"a": {"type": "integer"}, "b": {"type": "integer"}}),
        );
        assert_eq!(check(&schema, None, &json!({"spec": {"a": 1, "b": 2}})), Vec::<String>::new());
        assert_eq!(check(&schema, None, &json!({"spec": {"a": 2, "b": 2}})), ["spec.a: Forbidden: too much"]);
        let missing = check(&schema, None, &json!({"spec": {"a": 2}}));
        assert!(missing.len() == 1 && missing[0].contains("no such key: b"), "{missing:?}");
    }

    #[test]
    fn what_did_not_change_is_not_checked_again() {
        let schema = with(&json!({"rule": "self.a < 3"}), &json!({"a": {"type": "integer"}}));
        let bad = json!({"spec": {"a": 5}, "status": {}});
        assert!(check(&schema, Some(&json!({"spec": {"a": 5}})), &bad).is_empty());
        assert_eq!(check(&schema, Some(&json!({"spec": {"a": 4}})), &bad).len(), 1);
    }

    #[test]
    fn old_items_are_found_by_their_keys() {
        let item = json!({"type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "integer"}},
            FIELD: [{"rule": "self.size >= oldSelf.size"}]});
        let list = json!({"type": "array", "items": item, "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"]});
        let schema = json!({"type": "object", "properties": {"disks": list}});
        let old = json!({"disks": [{"name": "a", "size": 5}, {"name": "b", "size": 1}]});
        let new =
            json!({"disks": [{"name": "b", "size": 2}, {"name": "a", "size": 4}, {"name": "c", "size": 0}]});
        let found = check(&schema, Some(&old), &new);
        assert_eq!(found, ["disks[1]: Invalid value: \"object\": failed rule: self.size >= oldSelf.size"]);
    }

    #[test]
    fn a_rule_that_would_take_too_long_is_not_begun() {
        let schema = with(
            &json!({"rule": "self.l.all(a, self.l.all(b, self.l.all(c, a + b + c > 0)))"}),
            &json!({"l": {"type": "array", "items": {"type": "integer"}}}),
        );
        let list = |length: usize| json!({"spec": {"l": vec![1; length]}});
        assert!(check(&schema, None, &list(20)).is_empty());
        let refused = check(&schema, None, &list(5_000));
        assert!(refused.len() == 1 && refused[0].contains("cost budget"), "{refused:?}");
    }
}
