//! Webhooks and policies that decide about admission. They are kept for tools that read them; nothing is called.

use std::collections::BTreeSet;

use objects::meta;
use serde_json::Value;

use super::field::{Field, same};
use super::names::{self, Form};
use super::{Problems, rules, selector};

const POLICIES: [&str; 2] = ["Fail", "Ignore"];
const MATCHES: [&str; 2] = ["Equivalent", "Exact"];
const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];

pub(super) fn webhooks(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let mut names = BTreeSet::new();
    for (index, hook) in root.get("webhooks").items().enumerate() {
        let name = hook.get("name");
        full_name(&name, problems);
        hook.get("rules").items().for_each(|rule| self::rule(&rule, problems));
        hook.get("failurePolicy").one_of_if_set(&POLICIES, problems);
        hook.get("matchPolicy").one_of_if_set(&MATCHES, problems);
        effects(&hook.get("sideEffects"), problems);
        let timeout = hook.get("timeoutSeconds");
        if timeout.int().is_some_and(|seconds| !(1..=30).contains(&seconds)) {
            timeout.invalid("the timeout value must be between 1 and 30 seconds", problems);
        }
        selector::label_selector(&hook.get("namespaceSelector"), problems);
        selector::label_selector(&hook.get("objectSelector"), problems);
        hook.get("reinvocationPolicy").one_of_if_set(&["IfNeeded", "Never"], problems);
        client(&hook.get("clientConfig"), problems);
        let conditions = hook.get("matchConditions");
        let before = old.map(|old| &old["webhooks"][index]["matchConditions"]);
        if before.is_none_or(|before| !same(before, conditions.value())) {
            match_conditions(&conditions, problems);
        }
        versions(&hook.get("admissionReviewVersions"), problems);
        if !name.text().is_empty() && !names.insert(name.text()) {
            name.duplicate(problems);
        }
    }
}

/// A domain of at least three labels.
fn full_name(name: &Field<'_, '_>, problems: &mut Problems) {
    if !name.need(problems) {
        return;
    }
    let wrong = names::problems(Form::Subdomain, name.text());
    if !wrong.is_empty() {
        name.invalid(wrong.join(","), problems);
    } else if name.text().split('.').count() < 3 {
        name.invalid("should be a domain with at least three segments separated by dots", problems);
    }
}

fn effects(effects: &Field<'_, '_>, problems: &mut Problems) {
    if effects.is_set() {
        effects.one_of_if_set(&["None", "NoneOnDryRun"], problems);
    } else {
        effects.required("must specify one of None, NoneOnDryRun", problems);
    }
}

fn versions(versions: &Field<'_, '_>, problems: &mut Problems) {
    const KNOWN: [&str; 2] = ["v1", "v1beta1"];
    if versions.list().is_empty() {
        versions.required("must specify one of v1, v1beta1", problems);
        return;
    }
    let mut seen = BTreeSet::new();
    for version in versions.items() {
        if seen.insert(version.text()) {
            version.name(Form::Label1035, problems);
        } else {
            version.invalid("duplicate version", problems);
        }
    }
    if !KNOWN.iter().any(|known| seen.contains(known)) {
        versions.invalid("must include at least one of v1, v1beta1", problems);
    }
}

fn alone(list: &Field<'_, '_>, what: &str, problems: &mut Problems) {
    if list.list().len() > 1 && list.strings().any(|item| item == "*") {
        list.invalid(format!("if '*' is present, must not specify other {what}"), problems);
    }
}

/// What a webhook or policy looks at.
fn rule(rule: &Field<'_, '_>, problems: &mut Problems) {
    let operations = rule.get("operations");
    operations.need(problems);
    alone(&operations, "operations", problems);
    operations.items().for_each(|operation| operation.one_of_if_set(&OPERATIONS, problems));
    let (groups, versions) = (rule.get("apiGroups"), rule.get("apiVersions"));
    groups.need(problems);
    alone(&groups, "API groups", problems);
    versions.need(problems);
    alone(&versions, "API versions", problems);
    versions.items().for_each(|version| {
        version.need(problems);
    });
    resources(&rule.get("resources"), problems);
    rule.get("scope").one_of_if_set(&SCOPES, problems);
}

fn resources(resources: &Field<'_, '_>, problems: &mut Problems) {
    resources.need(problems);
    let (mut all_subresources, mut of_all) = (BTreeSet::new(), BTreeSet::new());
    let mut whole = false;
    for resource in resources.items() {
        let text = resource.text();
        if !resource.need(problems) {
            continue;
        }
        let Some((name, sub)) = text.split_once('/') else {
            whole = text != "*";
            continue;
        };
        if all_subresources.contains(name) {
            let detail = format!("if '{name}/*' is present, must not specify {text}");
            resource.invalid(detail, problems);
        }
        if of_all.contains(sub) {
            let detail = format!("if '*/{sub}' is present, must not specify {text}");
            resource.invalid(detail, problems);
        }
        if sub == "*" {
            all_subresources.insert(name);
        }
        if name == "*" {
            of_all.insert(sub);
        }
    }
    let has = |wanted: &str| resources.strings().any(|resource| resource == wanted);
    if resources.list().len() > 1 && has("*/*") {
        resources.invalid("if '*/*' is present, must not specify other resources", problems);
    }
    if has("*") && whole {
        let detail = "if '*' is present, must not specify other resources without subresources";
        resources.invalid(detail, problems);
    }
}

fn client(config: &Field<'_, '_>, problems: &mut Problems) {
    let (url, service) = (config.get("url"), config.get("service"));
    if url.is_set() == service.is_set() {
        config.required("exactly one of url or service is required", problems);
    } else if url.is_set() {
        self::url(&url, problems);
    } else {
        // Upstream takes one for the other here.
        if service.get("namespace").text().is_empty() {
            service.get("name").required("", problems);
        }
        if service.get("name").text().is_empty() {
            service.get("namespace").required("", problems);
        }
        let port = service.get("port");
        if port.is_set() && !(1..=65535).contains(&port.number()) {
            port.invalid("port is not valid: must be between 1 and 65535, inclusive", problems);
        }
        service_path(&service.get("path"), problems);
    }
}

fn url(url: &Field<'_, '_>, problems: &mut Problems) {
    const FORM: &str = "; desired format: https://host[/path]";
    let text = url.text();
    let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest.strip_prefix("//").map(|rest| rest.split('/').next().unwrap_or_default());
    let (user, host) = match authority.unwrap_or_default().rsplit_once('@') {
        Some((user, host)) => (user, host),
        None => ("", authority.unwrap_or_default()),
    };
    let mut tell = |value: &str, detail: String| url.invalid_as(value.into(), detail, problems);
    if scheme != "https" {
        tell(scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if host.is_empty() {
        tell("", format!("host must be specified{FORM}"));
    }
    for (part, detail) in [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ] {
        if !part.is_empty() {
            tell(part, detail.to_owned());
        }
    }
}

fn service_path(path: &Field<'_, '_>, problems: &mut Problems) {
    let text = path.text();
    if matches!(text, "" | "/") {
        return;
    }
    if text == "//" {
        path.invalid("segment[0] may not be empty", problems);
        return;
    }
    if !text.starts_with('/') {
        path.invalid("must start with a '/'", problems);
    }
    let inner: String = text.chars().skip(1).collect();
    for (at, step) in inner.strip_suffix('/').unwrap_or(&inner).split('/').enumerate() {
        if step.is_empty() {
            path.invalid(format!("segment[{at}] may not be empty"), problems);
            continue;
        }
        for problem in names::problems(Form::Subdomain, step) {
            path.invalid(format!("segment[{at}]: {problem}"), problems);
        }
    }
}

fn match_conditions(conditions: &Field<'_, '_>, problems: &mut Problems) {
    const MOST: usize = 64;
    if conditions.list().len() > MOST {
        conditions.too_many(MOST, problems);
    }
    let mut seen = BTreeSet::new();
    for condition in conditions.items() {
        expression(&condition.get("expression"), "", problems);
        let name = condition.get("name");
        if name.need(problems) {
            name.qualified(problems);
            if !seen.insert(name.text()) {
                name.duplicate(problems);
            }
        }
    }
}

/// A CEL expression that can be read.
fn expression(expression: &Field<'_, '_>, missing: &str, problems: &mut Problems) {
    let text = expression.text().trim();
    if text.is_empty() {
        expression.required(missing, problems);
    } else if let Err(problem) = rules::parses(text) {
        expression.invalid_as(text.into(), problem, problems);
    }
}

pub(super) fn policy(old: Option<&Value>, object: &Value, problems: &mut Problems) {
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
            self::rule(&rule, problems);
        }
    }
}

pub(super) fn policy_binding(object: &Value, problems: &mut Problems) {
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
