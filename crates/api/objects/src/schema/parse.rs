//! From JSON to [`Schema`].

use serde_json::{Map, Number, Value};

use super::{Additional, Checks, JsonType, ListType, Rule, Schema, SchemaError};

pub(super) fn from_crd(crd: &Value, version: &str) -> Result<Option<Schema>, SchemaError> {
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array);
    let named = |entry: &&Value| entry.get("name").and_then(Value::as_str) == Some(version);
    let entry = versions
        .and_then(|versions| versions.iter().find(named))
        .ok_or_else(|| SchemaError::NoVersion(version.to_owned()))?;
    let preserve = crd.pointer("/spec/preserveUnknownFields").and_then(Value::as_bool).unwrap_or_default();
    match entry.pointer("/schema/openAPIV3Schema") {
        None | Some(Value::Null) => Ok(None),
        Some(found) => {
            let mut root = schema(found, "spec.versions.schema.openAPIV3Schema")?;
            root.preserve_unknown_fields |= preserve;
            Ok(Some(root))
        }
    }
}

pub(super) fn schema(value: &Value, path: &str) -> Result<Schema, SchemaError> {
    let node = Node { path, fields: as_map(value, path)? };
    let mut found = Schema {
        json_type: node.json_type()?,
        nullable: node.flag("nullable"),
        items: node.below("items")?.map(Box::new),
        additional: node.additional()?,
        default: node.fields.get("default").filter(|default| !default.is_null()).cloned(),
        preserve_unknown_fields: node.flag("x-kubernetes-preserve-unknown-fields"),
        embedded_resource: node.flag("x-kubernetes-embedded-resource"),
        int_or_string: node.flag("x-kubernetes-int-or-string"),
        list_type: node.list_type()?,
        atomic_map: node.text("x-kubernetes-map-type") == Some("atomic"),
        rules: node.rules(),
        ..Schema::default()
    };
    if let Some(properties) = node.fields.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            let below = format!("{path}.properties[{name}]");
            found.properties.insert(name.clone(), schema(property, &below)?);
        }
    }
    found.checks = node.checks()?;
    Ok(found)
}

fn as_map<'a>(value: &'a Value, path: &str) -> Result<&'a Map<String, Value>, SchemaError> {
    value.as_object().ok_or_else(|| malformed(path, "a schema must be an object"))
}

fn malformed(path: &str, problem: &str) -> SchemaError {
    SchemaError::Malformed { path: path.to_owned(), problem: problem.to_owned() }
}

struct Node<'a> {
    path: &'a str,
    fields: &'a Map<String, Value>,
}

impl Node<'_> {
    fn flag(&self, name: &str) -> bool {
        self.fields.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    fn count(&self, name: &str) -> Option<u64> {
        self.fields.get(name).and_then(Value::as_u64)
    }

    fn number(&self, name: &str) -> Option<Number> {
        self.fields.get(name).and_then(Value::as_number).cloned()
    }

    fn strings(&self, name: &str) -> Vec<String> {
        let entries = self.fields.get(name).and_then(Value::as_array).into_iter().flatten();
        entries.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn json_type(&self) -> Result<Option<JsonType>, SchemaError> {
        Ok(Some(match self.text("type") {
            None | Some("") => return Ok(None),
            Some("object") => JsonType::Object,
            Some("array") => JsonType::Array,
            Some("string") => JsonType::String,
            Some("integer") => JsonType::Integer,
            Some("number") => JsonType::Number,
            Some("boolean") => JsonType::Boolean,
            Some(other) => return Err(malformed(self.path, &format!("type: Unsupported value: {other:?}"))),
        }))
    }

    fn below(&self, name: &str) -> Result<Option<Schema>, SchemaError> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => schema(value, &format!("{}.{name}", self.path)).map(Some),
        }
    }

    fn each(&self, name: &str) -> Result<Vec<Schema>, SchemaError> {
        let entries = self.fields.get(name).and_then(Value::as_array).into_iter().flatten();
        entries
            .enumerate()
            .map(|(index, entry)| schema(entry, &format!("{}.{name}[{index}]", self.path)))
            .collect()
    }

    fn additional(&self) -> Result<Option<Additional>, SchemaError> {
        match self.fields.get("additionalProperties") {
            None | Some(Value::Null | Value::Bool(false)) => Ok(None),
            Some(Value::Bool(true)) => Ok(Some(Additional::Anything)),
            Some(value) => {
                let below = schema(value, &format!("{}.additionalProperties", self.path))?;
                Ok(Some(Additional::Schema(Box::new(below))))
            }
        }
    }

    fn list_type(&self) -> Result<ListType, SchemaError> {
        match self.text("x-kubernetes-list-type") {
            None | Some("atomic") => Ok(ListType::Atomic),
            Some("set") => Ok(ListType::Set),
            Some("map") => Ok(ListType::Map(self.strings("x-kubernetes-list-map-keys"))),
            Some(other) => {
                Err(malformed(self.path, &format!("x-kubernetes-list-type: Unsupported value: {other:?}")))
            }
        }
    }

    fn rules(&self) -> Vec<Rule> {
        let entries = self.fields.get("x-kubernetes-validations").and_then(Value::as_array);
        let text = |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        entries
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                Some(Rule {
                    rule: text(entry, "rule")?,
                    message: text(entry, "message"),
                    message_expression: text(entry, "messageExpression"),
                    reason: text(entry, "reason"),
                    field_path: text(entry, "fieldPath"),
                    optional_old_self: entry.get("optionalOldSelf") == Some(&Value::Bool(true)),
                })
            })
            .collect()
    }

    fn checks(&self) -> Result<Option<Box<Checks>>, SchemaError> {
        const NAMES: [&str; 20] = [
            "required",
            "enum",
            "format",
            "pattern",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "multipleOf",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "uniqueItems",
            "minProperties",
            "maxProperties",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
        ];
        if !NAMES.iter().any(|name| self.fields.contains_key(*name)) {
            return Ok(None);
        }
        Ok(Some(Box::new(Checks {
            required: self.strings("required"),
            choices: self.fields.get("enum").and_then(Value::as_array).cloned(),
            format: self.text("format").map(str::to_owned),
            pattern: self.text("pattern").map(str::to_owned),
            minimum: self.number("minimum"),
            maximum: self.number("maximum"),
            exclusive_minimum: self.flag("exclusiveMinimum"),
            exclusive_maximum: self.flag("exclusiveMaximum"),
            multiple_of: self.number("multipleOf"),
            min_length: self.count("minLength"),
            max_length: self.count("maxLength"),
            min_items: self.count("minItems"),
            max_items: self.count("maxItems"),
            unique_items: self.flag("uniqueItems"),
            min_properties: self.count("minProperties"),
            max_properties: self.count("maxProperties"),
            all_of: self.each("allOf")?,
            any_of: self.each("anyOf")?,
            one_of: self.each("oneOf")?,
            not: self.below("not")?.map(Box::new),
            ..Checks::default()
        })))
    }
}
