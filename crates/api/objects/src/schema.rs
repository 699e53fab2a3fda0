//! Structural schemas of custom resources: what a CustomResourceDefinition says about its objects.
//!
//! The API server handles a custom object in this order, as upstream does: [`Schema::prune`] (unknown fields),
//! [`Schema::fill`] (defaults and stray nulls), [`Schema::validate`]. Error texts are upstream's. CEL rules are
//! kept in [`Schema::rules`] for whoever can evaluate them.

mod fill;
mod format;
mod parse;
mod prune;
mod validate;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use regex::Regex;
use serde_json::{Number, Value};

pub use validate::{ErrorKind, FieldError};

use crate::typing::Lists;

/// Why a definition's schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    #[error("the definition has no version {0:?}")]
    NoVersion(String),
    #[error("{path}: {problem}")]
    Malformed { path: String, problem: String },
}

/// The JSON type a value must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonType {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// What a map's undeclared keys may hold.
#[derive(Debug, Clone)]
pub enum Additional {
    /// `additionalProperties: true`.
    Anything,
    Schema(Box<Schema>),
}

/// How the lists of a node merge: `x-kubernetes-list-type`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListType {
    #[default]
    Atomic,
    Set,
    /// With `x-kubernetes-list-map-keys`.
    Map(Vec<String>),
}

/// One CEL rule of `x-kubernetes-validations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub rule: String,
    pub message: Option<String>,
    pub message_expression: Option<String>,
    /// `FieldValueInvalid` if the definition names none.
    pub reason: Option<String>,
    /// Relative path such as `.spec.replicas`, if the definition names one.
    pub field_path: Option<String>,
    pub optional_old_self: bool,
}

/// One node of a structural schema.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    pub json_type: Option<JsonType>,
    pub nullable: bool,
    pub properties: BTreeMap<String, Schema>,
    pub additional: Option<Additional>,
    pub items: Option<Box<Schema>>,
    pub default: Option<Value>,
    pub preserve_unknown_fields: bool,
    pub embedded_resource: bool,
    pub int_or_string: bool,
    pub list_type: ListType,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic_map: bool,
    pub rules: Vec<Rule>,
    checks: Option<Box<Checks>>,
}

/// Value validations; most nodes have none.
#[derive(Debug, Clone, Default)]
struct Checks {
    required: Vec<String>,
    choices: Option<Vec<Value>>,
    format: Option<String>,
    pattern: Option<String>,
    /// Compiled on first use: definitions carry far more patterns than objects ever meet.
    compiled: OnceLock<Option<Regex>>,
    minimum: Option<Number>,
    maximum: Option<Number>,
    exclusive_minimum: bool,
    exclusive_maximum: bool,
    multiple_of: Option<Number>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    min_items: Option<u64>,
    max_items: Option<u64>,
    unique_items: bool,
    min_properties: Option<u64>,
    max_properties: Option<u64>,
    all_of: Vec<Schema>,
    any_of: Vec<Schema>,
    one_of: Vec<Schema>,
    not: Option<Box<Schema>>,
}

impl Schema {
    /// Reads the schema of one version of a CustomResourceDefinition; `None` if that version has none.
    ///
    /// # Errors
    /// If there is no such version, or a part of the schema has a form that is not understood.
    pub fn from_crd(crd: &Value, version: &str) -> Result<Option<Self>, SchemaError> {
        parse::from_crd(crd, version)
    }

    /// Reads an `openAPIV3Schema`.
    ///
    /// # Errors
    /// If a part of it has a form that is not understood.
    pub fn parse(schema: &Value) -> Result<Self, SchemaError> {
        parse::schema(schema, "openAPIV3Schema")
    }

    /// Removes fields the schema does not know and returns their paths, for strict field validation.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::root(self, object)
    }

    /// Fills in defaults and drops nulls where null is not allowed.
    pub fn fill(&self, object: &mut Value) {
        fill::fill(self, object);
    }

    /// Checks a whole object.
    #[must_use]
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        validate::root(self, object)
    }

    /// The node below a key: a declared property, or what undeclared keys hold.
    #[must_use]
    pub fn child(&self, key: &str) -> Option<&Self> {
        self.properties.get(key).or(match &self.additional {
            Some(Additional::Schema(schema)) => Some(schema),
            _ => None,
        })
    }

    /// How this node's list merges.
    #[must_use]
    pub fn lists(&self) -> Lists<'_> {
        match &self.list_type {
            ListType::Atomic => Lists::Atomic,
            ListType::Set => Lists::Set,
            ListType::Map(keys) => Lists::Map(keys),
        }
    }
}
