//! Webhooks and policies that decide about admission. They are kept for tools that read them; nothing is called.

mod policies;

use std::collections::BTreeSet;

use serde_json::Value;

use super::field::{Field, same};
use super::names::{self, Form};
use super::{Problems, rules, selector};

pub(super) use policies::{policy, policy_binding};

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
