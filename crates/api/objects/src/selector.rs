//! Label and field selectors: the query syntax of requests and the object form of specs.

use std::fmt;

use serde_json::{Map, Value};

mod parse;
#[cfg(test)]
mod tests;

/// Why a selector cannot be used; worded as upstream's errors are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("unable to parse requirement: {0}")]
    Parse(String),
    /// What stands where only a whole requirement could begin or end.
    #[error("{0}")]
    Syntax(String),
    #[error("{0:?} is not a valid label selector operator")]
    Operator(String),
    #[error("invalid selector: {0}")]
    Invalid(String),
    #[error("invalid selector: '{0}'; can't understand '{1}'")]
    Field(String, String),
}

/// Which objects a set of labels must be like. The default selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    /// Set for the selector of an absent (null) object form, which selects nothing.
    nothing: bool,
}

/// One condition on one label; a selector is their conjunction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    /// Sorted, without duplicates; empty for `Exists` and `DoesNotExist`.
    pub values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    In,
    /// Also holds if the label is absent.
    NotIn,
    Exists,
    DoesNotExist,
    /// The label is an integer greater than the value (node selectors only).
    GreaterThan,
    /// The label is an integer less than the value (node selectors only).
    LessThan,
}

impl LabelSelector {
    /// Selects every object.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects no object.
    #[must_use]
    pub fn nothing() -> Self {
        Self { requirements: Vec::new(), nothing: true }
    }

    /// Parses the query syntax: `app=web,tier!=db,env in (a,b),x notin (y),has,!hasnot`.
    ///
    /// # Errors
    /// If the text is not in that syntax, or a key or value is no label key or value.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(Self { requirements: parse::requirements(text)?, nothing: false })
    }

    /// Reads the object form (`matchLabels`, `matchExpressions`). Null selects nothing, `{}` everything.
    ///
    /// # Errors
    /// If an operator is unknown or its values do not fit it.
    pub fn from_object(selector: &Value) -> Result<Self, Error> {
        if selector.is_null() {
            return Ok(Self::nothing());
        }
        let mut requirements = Vec::new();
        if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
            requirements.extend(labels.iter().map(|(key, value)| Requirement::equals(key, value)));
        }
        let expressions = selector.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.into_iter().flatten() {
            requirements.push(Requirement::from_expression(expression)?);
        }
        Ok(Self { requirements, nothing: false })
    }

    /// Reads a plain map of labels, as a Service's or a ReplicationController's `spec.selector` is. Null or empty
    /// selects nothing, as controllers treat it there.
    #[must_use]
    pub fn from_map(labels: &Value) -> Self {
        match labels.as_object() {
            Some(labels) if !labels.is_empty() => Self {
                requirements: labels.iter().map(|(key, value)| Requirement::equals(key, value)).collect(),
                nothing: false,
            },
            _ => Self::nothing(),
        }
    }

    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        !self.nothing
            && self.requirements.iter().all(|requirement| {
                let value = labels.and_then(|labels| labels.get(&requirement.key)).and_then(Value::as_str);
                requirement.matches(value)
            })
    }

    /// Whether the object's own labels are selected.
    #[must_use]
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(object.get("metadata").and_then(|metadata| metadata.get("labels")?.as_object()))
    }

    /// Whether every object is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

impl Requirement {
    fn equals(key: &str, value: &Value) -> Self {
        let value = value.as_str().unwrap_or_default().to_owned();
        Self { key: key.to_owned(), operator: Operator::In, values: vec![value] }
    }

    /// Reads one entry of `matchExpressions` (also of node affinity, which adds `Gt` and `Lt`).
    ///
    /// # Errors
    /// If the operator is unknown or its values do not fit it.
    pub fn from_expression(expression: &Value) -> Result<Self, Error> {
        let text = |field: &str| expression.get(field).and_then(Value::as_str).unwrap_or_default();
        let operator = match text("operator") {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            "Gt" => Operator::GreaterThan,
            "Lt" => Operator::LessThan,
            other => return Err(Error::Operator(other.to_owned())),
        };
        let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
        let mut values: Vec<String> = values.filter_map(Value::as_str).map(str::to_owned).collect();
        values.sort();
        values.dedup();
        let requirement = Self { key: text("key").to_owned(), operator, values };
        requirement.check()?;
        Ok(requirement)
    }

    fn check(&self) -> Result<(), Error> {
        let key = &self.key;
        let problem = match self.operator {
            Operator::In | Operator::NotIn if self.values.is_empty() => {
                format!("{key}: values: for 'in', 'notin' operators, values set can't be empty")
            }
            Operator::Exists | Operator::DoesNotExist if !self.values.is_empty() => {
                format!("{key}: values: values set must be empty for exists and does not exist")
            }
            Operator::GreaterThan | Operator::LessThan
                if self.values.len() != 1 || self.values[0].parse::<i64>().is_err() =>
            {
                return Err(Error::Parse(format!(
                    "values[0]: Invalid value: {:?}: for 'Gt', 'Lt' operators, the value must be an integer",
                    self.values.first().map_or("", String::as_str)
                )));
            }
            _ => return Ok(()),
        };
        Err(Error::Invalid(problem))
    }

    /// Whether a label with this value (`None`: the label is absent) meets the condition.
    #[must_use]
    pub fn matches(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|listed| listed == value);
        let compare = |value: &str| {
            let bound = self.values.first()?.parse::<i64>().ok()?;
            Some(value.parse::<i64>().ok()?.cmp(&bound))
        };
        match (self.operator, value) {
            (Operator::In, Some(value)) => listed(value),
            (Operator::NotIn, Some(value)) => !listed(value),
            (Operator::Exists, value) => value.is_some(),
            (Operator::DoesNotExist, value) => value.is_none(),
            (Operator::GreaterThan, Some(value)) => compare(value).is_some_and(std::cmp::Ordering::is_gt),
            (Operator::LessThan, Some(value)) => compare(value).is_some_and(std::cmp::Ordering::is_lt),
            (Operator::NotIn, None) => true,
            (Operator::In | Operator::GreaterThan | Operator::LessThan, None) => false,
        }
    }
}

/// The query syntax, as `status.selector` of a scale and `kubectl describe` show it.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, operator, values } = self;
        match (operator, values.as_slice()) {
            (Operator::In, [value]) => write!(f, "{key}={value}"),
            (Operator::NotIn, [value]) => write!(f, "{key}!={value}"),
            (Operator::In, values) => write!(f, "{key} in ({})", values.join(",")),
            (Operator::NotIn, values) => write!(f, "{key} notin ({})", values.join(",")),
            (Operator::Exists, _) => f.write_str(key),
            (Operator::DoesNotExist, _) => write!(f, "!{key}"),
            (Operator::GreaterThan, values) => write!(f, "{key}>{}", values.join(",")),
            (Operator::LessThan, values) => write!(f, "{key}<{}", values.join(",")),
        }
    }
}

/// Conditions on fields: `metadata.name=a,status.phase!=Running`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    terms: Vec<FieldTerm>,
}

/// One condition on one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTerm {
    /// Dotted path: `involvedObject.name`.
    pub path: String,
    pub equal: bool,
    pub value: String,
}

impl FieldSelector {
    /// Parses the query syntax.
    ///
    /// # Errors
    /// If a term has no operator or a bad escape.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(Self { terms: parse::field_terms(text)? })
    }

    /// Whether the object's fields fulfil every term. An absent field is the empty string, except that an absent
    /// boolean such as `spec.unschedulable` is `false`, as upstream's field sets have it.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| {
            let found = term.path.split('.').try_fold(object, |value, part| value.get(part));
            let equal = match found {
                None | Some(Value::Null) => {
                    term.value.is_empty() || (term.path == "spec.unschedulable" && term.value == "false")
                }
                Some(Value::String(text)) => *text == term.value,
                Some(Value::Bool(flag)) => term.value == if *flag { "true" } else { "false" },
                Some(other) => serde_json::from_str(&term.value).is_ok_and(|wanted: Value| *other == wanted),
            };
            equal == term.equal
        })
    }

    /// The terms, so that the server can refuse paths a kind does not support.
    #[must_use]
    pub fn terms(&self) -> &[FieldTerm] {
        &self.terms
    }

    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value a field must have, if a term says so (`metadata.name=x` lets a list become a get).
    #[must_use]
    pub fn required(&self, path: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.path == path).map(|term| term.value.as_str())
    }
}
