//! Policies in CEL, and where they hold.

use std::collections::BTreeSet;

use objects::meta;
use serde_json::Value;

use super::{MATCHES, POLICIES, expression, match_conditions};
use crate::validation::field::{Field, same};
use crate::validation::names::{self, Form};
use crate::validation::{Problems, selector};

/// A policy.
pub(in crate::validation) fn policy(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    const EITHER: &str = "validations or auditAnnotations must contain at least one item";
    let root = Field::root(object);
    let spec = root.get("spec");
    spec.get("failurePolicy").one_of_if_set(&POLICIES, problems);
    let params = spec.get("paramKind");
    if params.is_set() {
        param_kind(&params, problems);
    }
    let constraints = spec.get("matchConstraints");
    if constraints.is_set() {
        match_resources(&constraints, problems);
        constraints.get("resourceRules").need(problems);
    } else {
        constraints.required("", problems);
    }
    let conditions = spec.get("matchConditions");
    let unchanged = |old: &Value| {
        same(&old["spec"]["matchConditions"], conditions.value())
            && same(&old["spec"]["paramKind"], params.value())
    };
    if !old.is_some_and(unchanged) {
        match_conditions(&conditions, problems);
    }
    for variable in spec.get("variables").items() {
        let name = variable.get("name");
        if name.text().trim().is_empty() {
            name.required("name is not specified", problems);
        } else if !is_identifier(name.text()) {
            name.invalid("must be a valid CEL identifier", problems);
        }
        expression(&variable.get("expression"), "expression is not specified", problems);
    }
    let (validations, annotations) = (spec.get("validations"), spec.get("auditAnnotations"));
    if validations.list().is_empty() && annotations.list().is_empty() {
        validations.required(EITHER, problems);
        annotations.required(EITHER, problems);
    }
    validations.items().for_each(|validation| self::validation(&validation, problems));
    audit_annotations(&annotations, meta::name(object), problems);
}

fn is_identifier(name: &str) -> bool {
    const RESERVED: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
        && !RESERVED.contains(&name)
}

fn validation(validation: &Field<'_, '_>, problems: &mut Problems) {
    expression(&validation.get("expression"), "expression is not specified", problems);
    let (message, computed) = (validation.get("message"), validation.get("messageExpression"));
    let blank = |field: &Field<'_, '_>| !field.text().is_empty() && field.text().trim().is_empty();
    if blank(&computed) {
        computed.invalid("must be non-empty if specified", problems);
    } else if !computed.text().is_empty() {
        expression(&computed, "", problems);
    }
    if blank(&message) {
        message.invalid("must be non-empty if specified", problems);
    } else if message.text().trim().contains(['\n', '\r']) {
        message.invalid("must not contain line breaks", problems);
    }
    let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
    validation.get("reason").one_of_if_set(&reasons, problems);
}

fn audit_annotations(annotations: &Field<'_, '_>, policy: &str, problems: &mut Problems) {
    const MOST: usize = 20;
    const LONGEST: usize = 5 * 1024;
    if annotations.list().len() > MOST {
        annotations.invalid(format!("must not have more than {MOST} auditAnnotations"), problems);
    }
    let mut seen = BTreeSet::new();
    for annotation in annotations.items() {
        let (key, value) = (annotation.get("key"), annotation.get("valueExpression"));
        let full = Value::from(format!("{policy}/{}", key.text()));
        key.with(&full).qualified(problems);
        if value.text().trim().len() > LONGEST {
            value.required(&format!("must not exceed {LONGEST} bytes in length"), problems);
        } else {
            expression(&value, "valueExpression is not specified", problems);
        }
        if !seen.insert(key.text()) {
            key.duplicate(problems);
        }
    }
}

fn param_kind(params: &Field<'_, '_>, problems: &mut Problems) {
    let (version, kind) = (params.get("apiVersion"), params.get("kind"));
    let text = version.text();
    let joined = |form: Form, text: &str| {
        let wrong = names::problems(form, text);
        (!wrong.is_empty()).then(|| wrong.join(","))
    };
    if version.need(problems) {
        let (group, number) = text.split_once('/').unwrap_or(("", text));
        if number.contains('/') {
            version.invalid(format!("unexpected GroupVersion string: {text}"), problems);
        } else {
            if let Some(problem) = joined(Form::Subdomain, group).filter(|_| !group.is_empty()) {
                version.invalid_as(group.into(), problem, problems);
            }
            if number.is_empty() {
                version.invalid("version must be specified", problems);
            } else if let Some(problem) = joined(Form::Label1035, number) {
                version.invalid_as(number.into(), problem, problems);
            }
        }
    }
    if kind.need(problems)
        && let Some(problem) = joined(Form::Label1035, &kind.text().to_lowercase())
    {
        kind.invalid(format!("may have mixed case, but should otherwise match: {problem}"), problems);
    }
}

fn match_resources(resources: &Field<'_, '_>, problems: &mut Problems) {
    resources.get("matchPolicy").one_of_if_set(&MATCHES, problems);
    selector::label_selector(&resources.get("namespaceSelector"), problems);
    selector::label_selector(&resources.get("objectSelector"), problems);
    for list in ["resourceRules", "excludeResourceRules"] {
        for rule in resources.get(list).items() {
            let mut seen = BTreeSet::new();
            for name in rule.get("resourceNames").items() {
                name.name(Form::Segment, problems);
                if !seen.insert(name.text()) {
                    name.duplicate(problems);
                }
            }
            super::rule(&rule, problems);
        }
    }
}

/// What a policy is applied to, and with which parameters.
pub(in crate::validation) fn policy_binding(object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    spec.get("policyName").needs_name(Form::Subdomain, problems);
    let params = spec.get("paramRef");
    if params.is_set() {
        param_reference(&params, problems);
    }
    let resources = spec.get("matchResources");
    if resources.is_set() {
        match_resources(&resources, problems);
    }
    let actions = spec.get("validationActions");
    let mut seen = BTreeSet::new();
    for action in actions.items() {
        action.one_of_if_set(&["Audit", "Deny", "Warn"], problems);
        if !seen.insert(action.text()) {
            action.duplicate(problems);
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        actions.invalid(detail, problems);
    }
    if seen.is_empty() {
        actions.required("at least one validation action is required", problems);
    }
}

fn param_reference(params: &Field<'_, '_>, problems: &mut Problems) {
    const EXCLUSIVE: &str = "name and selector are mutually exclusive";
    let (name, select) = (params.get("name"), params.get("selector"));
    name.name_if_given(Form::Segment, problems);
    if !name.text().is_empty() && select.is_set() {
        name.forbidden(EXCLUSIVE, problems);
    }
    selector::label_selector(&select, problems);
    if !name.text().is_empty() && select.is_set() {
        select.forbidden(EXCLUSIVE, problems);
    }
    if name.text().is_empty() && !select.is_set() {
        params.required("one of name or selector must be specified", problems);
    }
    let absent = params.get("parameterNotFoundAction");
    if absent.need(problems) {
        absent.one_of(&["Deny", "Allow"], problems);
    }
}
