//! `ignoreDifferences`: fields of live objects that others may set.

use objects::{GroupVersionKind, Value, meta};

use super::jq::Expression;
use super::paths::Paths;
use crate::glob;

/// The rules of one application, checked.
#[derive(Debug, Default)]
pub struct IgnoreRules(Vec<Rule>);

/// A rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IgnoreError {
    #[error("ignoreDifferences: {pointer:?} is not a JSON pointer")]
    Pointer { pointer: String },
    #[error("ignoreDifferences: jq expression {expression:?}: {reason}")]
    Expression { expression: String, reason: String },
}

#[derive(Debug)]
struct Rule {
    group: String,
    kind: String,
    name: String,
    namespace: String,
    pointers: Vec<String>,
    expressions: Vec<Expression>,
    managers: Vec<String>,
}

impl IgnoreRules {
    /// From `spec.ignoreDifferences`.
    ///
    /// # Errors
    /// If a pointer or an expression cannot be used.
    pub fn parse(list: &Value) -> Result<Self, IgnoreError> {
        let rules = list.as_array().into_iter().flatten().map(Rule::parse).collect::<Result<_, _>>()?;
        Ok(Self(rules))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is ignored of the object `live`, as it appears in any of the given copies of it.
    pub(super) fn paths(&self, gvk: &GroupVersionKind, live: &Value, copies: [Option<&Value>; 3]) -> Paths {
        let mut paths = Paths::default();
        for rule in self.0.iter().filter(|rule| rule.matches(gvk, live)) {
            for pointer in &rule.pointers {
                paths.add_pointer(pointer);
            }
            for expression in &rule.expressions {
                for copy in copies.iter().flatten() {
                    for path in expression.paths(copy) {
                        paths.add(path);
                    }
                }
            }
            for entry in live["metadata"]["managedFields"].as_array().into_iter().flatten() {
                let manager = entry["manager"].as_str().unwrap_or_default();
                if rule.managers.iter().any(|name| name == manager) {
                    paths.add_fields(&entry["fieldsV1"]);
                }
            }
        }
        paths
    }
}

impl Rule {
    fn parse(rule: &Value) -> Result<Self, IgnoreError> {
        let text = |field: &str| rule[field].as_str().unwrap_or_default().to_owned();
        let list = |field: &str| {
            let entries = rule[field].as_array().into_iter().flatten();
            entries.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        let pointers = list("jsonPointers");
        if let Some(pointer) = pointers.iter().find(|pointer| !pointer.starts_with('/')) {
            return Err(IgnoreError::Pointer { pointer: pointer.clone() });
        }
        let expressions = list("jqPathExpressions").into_iter().map(|expression| {
            Expression::parse(&expression).map_err(|reason| IgnoreError::Expression { expression, reason })
        });
        Ok(Self {
            group: text("group"),
            kind: text("kind"),
            name: text("name"),
            namespace: text("namespace"),
            pointers,
            expressions: expressions.collect::<Result<_, _>>()?,
            managers: list("managedFieldsManagers"),
        })
    }

    /// Group and kind are globs; name and namespace are exact, or empty for any.
    fn matches(&self, gvk: &GroupVersionKind, live: &Value) -> bool {
        glob::matches(&self.group, &gvk.group)
            && glob::matches(&self.kind, &gvk.kind)
            && (self.name.is_empty() || self.name == meta::name(live))
            && (self.namespace.is_empty() || Some(self.namespace.as_str()) == meta::namespace(live))
    }
}
