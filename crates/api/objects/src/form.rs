//! The form in which upstream's typed objects are written: fields that are always there, and none of those that say
//! nothing.
//!
//! Upstream keeps built-in objects as Go structs. Whatever a client sends comes back as those are encoded: a plain field
//! marked `omitempty` vanishes when it is zero (`hostNetwork: false`), one that is not is written even then
//! (`containers: null`), a pointer keeps the difference between zero and absent (`replicas: 0`). The facts stand in
//! the table of types; free-form JSON (extensions, schemas) is left as it is.

use serde_json::{Map, Value};

use crate::gvk::GroupVersionKind;
use crate::typing::{Field, Presence, Shape, Typing};

/// Brings an object into this form, in place. Of custom resources only the metadata is typed. Fields that the type
/// does not have stay. Doing it twice is the same as once.
pub fn canonical(object: &mut Value) {
    of_object(object, Empty::Omitted);
}

/// The same, but for lists and maps that are there and empty, metadata apart: upstream's decoder keeps them apart from
/// absent ones, on which defaults and checks depend, until the object is written.
pub fn decoded(object: &mut Value) {
    of_object(object, Empty::Kept);
}

/// What becomes of lists and maps that are empty, where they may be left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    Omitted,
    Kept,
}

fn of_object(object: &mut Value, empty: Empty) {
    let gvk = GroupVersionKind::of(object).unwrap_or_default();
    let typing = Typing::of(&gvk);
    if let (Typing::Builtin(slot), Some(metadata)) = (typing.field("metadata"), object.get_mut("metadata")) {
        value(metadata, slot.shape, Empty::Omitted);
    }
    if let Typing::Builtin(slot) = typing {
        value(object, slot.shape, empty);
    }
}

/// What an empty object of a built-in kind is written as, without its kind: the fields that are always there. Empty for
/// custom resources.
#[must_use]
pub fn zero(typing: Typing<'_>) -> Value {
    match typing {
        Typing::Builtin(slot) => zero_of(slot.shape),
        _ => Value::Object(Map::new()),
    }
}

fn value(value: &mut Value, shape: &Shape, empty: Empty) {
    match (shape, value) {
        (Shape::Struct(id), Value::Object(map)) => {
            let fields = id.get();
            map.retain(|name, child| {
                let Some(field) = fields.field(name) else { return true };
                if !child.is_null() {
                    self::value(child, &field.shape, empty);
                }
                // As it is stored, an empty list cannot be told from none.
                let counts = matches!(field.shape, Shape::List(_) | Shape::Map(_));
                if empty == Empty::Omitted && field.presence == Presence::Always && counts && is_bare(child) {
                    *child = Value::Null;
                }
                keeps(field, child, empty)
            });
            for (name, field) in fields.always() {
                if map.get(name).is_none() {
                    map.insert(name.to_owned(), zero_of_field(field));
                }
            }
        }
        (Shape::Map(inner), Value::Object(map)) => {
            map.values_mut().for_each(|child| self::value(child, inner, empty))
        }
        (Shape::List(inner), Value::Array(items)) => {
            items.iter_mut().for_each(|item| self::value(item, inner, empty));
        }
        _ => {}
    }
}

/// Whether a field with this value is written.
fn keeps(field: &Field, value: &Value, empty: Empty) -> bool {
    match field.presence {
        Presence::Always => true,
        Presence::Pointer => !value.is_null(),
        Presence::Omitted => match value {
            Value::Null => false,
            Value::Bool(set) => *set,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(_) | Value::Object(_) => empty == Empty::Kept || !is_bare(value),
        },
    }
}

/// Whether it is a list or a map without anything.
fn is_bare(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty)
}

fn zero_of_field(field: &Field) -> Value {
    if field.nullable { Value::Null } else { zero_of(&field.shape) }
}

fn zero_of(shape: &Shape) -> Value {
    match shape {
        Shape::String => Value::String(String::new()),
        Shape::Quantity => Value::String("0".to_owned()),
        Shape::Bool => Value::Bool(false),
        Shape::Int32 | Shape::Int64 | Shape::Number | Shape::IntOrString => Value::from(0),
        Shape::Bytes | Shape::Any | Shape::Time | Shape::MicroTime | Shape::List(_) | Shape::Map(_) => {
            Value::Null
        }
        Shape::Struct(id) => {
            let fields = id.get().always();
            Value::Object(fields.map(|(name, field)| (name.to_owned(), zero_of_field(field))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(mut object: Value) -> Value {
        canonical(&mut object);
        object
    }

    #[test]
    fn what_says_nothing_vanishes_and_pointers_keep_their_zero() {
        let pod = of(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {}},
            "spec": {"hostNetwork": false, "nodeName": "", "volumes": [], "priority": 0, "containers": [
                {"name": "c", "args": [], "stdin": false, "ports": [{"containerPort": 80, "hostPort": 0}]}]}}));
        assert_eq!(
            pod,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "status": {},
                "spec": {"priority": 0, "containers": [
                    {"name": "c", "resources": {}, "ports": [{"containerPort": 80}]}]}})
        );
    }

    #[test]
    fn what_is_decoded_still_tells_empty_from_absent() {
        let mut autoscaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "a", "labels": {}}, "spec": {"behavior": {"scaleUp": {"policies": []}}}});
        decoded(&mut autoscaler);
        assert_eq!(autoscaler["spec"]["behavior"]["scaleUp"]["policies"], json!([]));
        assert_eq!(autoscaler["metadata"], json!({"name": "a"}));
        canonical(&mut autoscaler);
        assert_eq!(autoscaler["spec"]["behavior"]["scaleUp"], json!({}));
    }

    #[test]
    fn what_is_always_written_appears() {
        let event = of(json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "a"},
            "involvedObject": {"name": "b"}}));
        assert_eq!(event["eventTime"], Value::Null);
        assert!(event.as_object().unwrap().contains_key("firstTimestamp"));
        assert_eq!(event["source"], json!({}));
        assert_eq!(event["reportingComponent"], "");
        let role = of(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "a"}}));
        assert!(role.as_object().unwrap().contains_key("rules"));
    }

    #[test]
    fn what_is_always_written_is_null_where_it_is_empty() {
        let empty = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "a"}, "rules": []});
        assert_eq!(of(empty.clone())["rules"], Value::Null);
        let mut role = empty;
        decoded(&mut role);
        assert_eq!(role["rules"], json!([]));
    }

    #[test]
    fn an_empty_deployment_has_a_template_without_containers() {
        let typing = Typing::of(&GroupVersionKind::new("apps", "v1", "Deployment"));
        assert_eq!(
            zero(typing),
            json!({"metadata": {}, "status": {}, "spec": {"selector": null, "strategy": {},
                "template": {"metadata": {}, "spec": {"containers": null}}}})
        );
    }

    #[test]
    fn of_custom_resources_only_the_metadata_is_typed() {
        let custom = json!({"apiVersion": "a.b/v1", "kind": "X", "metadata": {"name": "a", "annotations": {}},
            "spec": {"empty": {}, "no": false}});
        let mut expected = custom.clone();
        expected["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!(of(custom), expected);
    }
}
