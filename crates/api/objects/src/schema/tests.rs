use serde_json::json;

use super::*;

fn schema() -> Schema {
    Schema::parse(&json!({
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object",
                "required": ["image"],
                "properties": {
                    "image": {"type": "string", "minLength": 1, "pattern": "^[a-z]+$"},
                    "replicas": {"type": "integer", "minimum": 0, "maximum": 9, "default": 1},
                    "policy": {"type": "string", "enum": ["Always", "Never"], "default": "Always"},
                    "port": {"x-kubernetes-int-or-string": true,
                        "anyOf": [{"type": "integer"}, {"type": "string"}]},
                    "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                        "properties": {"known": {"type": "object", "properties": {"a": {"type": "string"}}}}},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "note": {"type": "string", "nullable": true},
                    "template": {"type": "object", "x-kubernetes-embedded-resource": true,
                        "properties": {"spec": {"type": "object", "properties": {}}}},
                    "steps": {"type": "array", "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"], "maxItems": 2, "items": {"type": "object",
                        "properties": {"name": {"type": "string"}, "weight": {"type": "integer", "default": 5}}}},
                },
            },
        },
    }))
    .unwrap()
}

fn errors(object: &Value) -> Vec<String> {
    schema().validate(object).iter().map(ToString::to_string).collect()
}

#[test]
fn pruning_keeps_what_is_known_or_preserved() {
    let mut object = json!({
        "apiVersion": "a/v1", "kind": "A", "metadata": {"name": "x", "odd": 1}, "status": {},
        "spec": {"image": "a", "unknown": 1, "labels": {"a": "b"},
            "extra": {"any": {"thing": 1}, "known": {"a": "b", "c": "d"}},
            "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"x": 1}, "y": 1},
            "steps": [{"name": "a", "odd": 1}]},
    });
    let mut removed = schema().prune(&mut object);
    removed.sort();
    assert_eq!(
        removed,
        [
            "spec.extra.known.c",
            "spec.steps[0].odd",
            "spec.template.spec.x",
            "spec.template.y",
            "spec.unknown",
            "status"
        ]
    );
    assert_eq!(object["spec"]["extra"], json!({"any": {"thing": 1}, "known": {"a": "b"}}));
    assert_eq!(object["metadata"]["odd"], 1);
}

#[test]
fn defaults_fill_gaps_and_stray_nulls() {
    let mut object =
        json!({"spec": {"image": null, "replicas": null, "note": null, "steps": [{"name": "a"}]}});
    schema().fill(&mut object);
    assert_eq!(
        object,
        json!({"spec": {"replicas": 1, "policy": "Always", "note": null, "steps": [{"name": "a", "weight": 5}]}})
    );
}

#[test]
fn errors_are_worded_as_upstream() {
    assert_eq!(errors(&json!({})), ["spec: Required value"]);
    assert_eq!(
        errors(&json!({"spec": {"image": "", "replicas": "three"}})),
        [
            "spec.image: Invalid value: \"\": spec.image in body should be at least 1 chars long",
            "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
        ]
    );
    assert_eq!(
        errors(&json!({"spec": {"image": "a", "policy": "Often", "replicas": 10}})),
        [
            "spec.policy: Unsupported value: \"Often\": supported values: \"Always\", \"Never\"",
            "spec.replicas: Invalid value: 10: spec.replicas in body should be less than or equal to 9",
        ]
    );
    assert_eq!(
        errors(&json!({"spec": {"image": "a", "steps": [{"name": "x"}, {"name": "x"}, {"name": "y"}]}})),
        [
            "spec.steps[1]: Duplicate value: {\"name\":\"x\"}",
            "spec.steps: Too many: 3: must have at most 2 items"
        ]
    );
}

#[test]
fn nullable_and_int_or_string_are_accepted() {
    assert_eq!(errors(&json!({"spec": {"image": "a", "note": null, "port": 80}})), Vec::<String>::new());
    assert_eq!(errors(&json!({"spec": {"image": "a", "port": "http"}})), Vec::<String>::new());
    assert_eq!(errors(&json!({"spec": {"image": "a", "port": 1.5}})).len(), 1);
    assert_eq!(errors(&json!({"spec": {"image": "a", "labels": {"a": 1}}})).len(), 1);
}

#[test]
fn alternatives_are_checked() {
    let schema = Schema::parse(&json!({
        "type": "object",
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        "not": {"required": ["c"]},
    }))
    .unwrap();
    assert!(schema.validate(&json!({"a": 1})).is_empty());
    assert_eq!(schema.validate(&json!({"a": 1, "b": 1})).len(), 1);
    assert_eq!(schema.validate(&json!({})).len(), 1);
    assert_eq!(schema.validate(&json!({"a": 1, "c": 1})).len(), 1);
}

#[test]
fn a_definition_without_that_version_is_an_error() {
    let crd = json!({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"type": "object"}}},
        {"name": "v2"}]}});
    assert!(Schema::from_crd(&crd, "v1").unwrap().is_some());
    assert!(Schema::from_crd(&crd, "v2").unwrap().is_none());
    assert_eq!(Schema::from_crd(&crd, "v3").unwrap_err(), SchemaError::NoVersion("v3".to_owned()));
    assert!(Schema::parse(&json!({"type": "thing"})).is_err());
}
