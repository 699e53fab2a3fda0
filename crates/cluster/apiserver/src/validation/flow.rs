//! FlowSchemas and priority levels. They are kept for tools that read them; requests are bounded otherwise.

use objects::meta;
use serde_json::Value;

use super::Problems;
use super::field::Field;
use super::names::{self, Form};

const VERBS: [&str; 9] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

pub(super) fn schema(object: &Value, problems: &mut Problems) {
    const LOWEST: i64 = 10_000;
    let root = Field::root(object);
    let spec = root.get("spec");
    let precedence = spec.get("matchingPrecedence");
    let number = precedence.number();
    if number <= 0 {
        precedence.invalid_as(number.into(), "must be a positive value", problems);
    }
    if number > LOWEST {
        precedence.invalid(format!("must not be greater than {LOWEST}"), problems);
    }
    if number == 1 && meta::name(object) != "exempt" {
        let detail = "only the schema named 'exempt' may have matchingPrecedence 1";
        precedence.invalid(detail, problems);
    }
    let method = spec.get("distinguisherMethod");
    if method.is_set() && !["ByNamespace", "ByUser"].contains(&method.get("type").text()) {
        let kind = method.get("type");
        kind.not_supported(&["ByNamespace", "ByUser"], problems);
        if let Some(last) = problems.last_mut() {
            last.shown = Some(format!("{{\"Type\":{:?}}}", kind.text()));
        }
    }
    let level = spec.get("priorityLevelConfiguration");
    let name = level.get("name");
    if name.text().is_empty() {
        name.required("must reference a priority level", problems);
    }
    name.name_if_given(Form::Subdomain, problems);
    for rule in spec.get("rules").items() {
        self::rule(&rule, problems);
    }
}

fn rule(rule: &Field<'_, '_>, problems: &mut Problems) {
    let subjects = rule.get("subjects");
    if subjects.list().is_empty() {
        subjects.required("subjects must contain at least one value", problems);
    }
    subjects.items().for_each(|subject| self::subject(&subject, problems));
    let (resources, others) = (rule.get("resourceRules"), rule.get("nonResourceRules"));
    if resources.list().is_empty() && others.list().is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        rule.required(detail, problems);
    }
    resources.items().for_each(|rule| resource_rule(&rule, problems));
    others.items().for_each(|rule| other_rule(&rule, problems));
}

fn subject(subject: &Field<'_, '_>, problems: &mut Problems) {
    const KINDS: [(&str, &str); 3] =
        [("serviceAccount", "ServiceAccount"), ("user", "User"), ("group", "Group")];
    let kind = subject.get("kind");
    let Some((own, name)) = KINDS.into_iter().find(|(_, name)| *name == kind.text()) else {
        kind.with(&kind.text().into()).not_supported(&["Group", "ServiceAccount", "User"], problems);
        return;
    };
    let given = subject.get(own);
    if given.is_set() {
        let name = given.get("name");
        if own != "serviceAccount" {
            name.need(problems);
        } else if name.need(problems) && name.text() != "*" {
            name.name(Form::Subdomain, problems);
        }
        if own == "serviceAccount" {
            let namespace = given.get("namespace");
            if namespace.text().is_empty() {
                namespace.required("must specify namespace for service account", problems);
            }
            namespace.name_if_given(Form::Label, problems);
        }
    } else {
        given.required(&format!("{own} is required when subject kind is '{name}'"), problems);
    }
    for (field, name) in KINDS.into_iter().filter(|(field, _)| *field != own) {
        if subject.get(field).is_set() {
            let detail = format!("{field} is forbidden when subject kind is not '{name}'");
            subject.get(field).forbidden(detail, problems);
        }
    }
}

fn wildcard(list: &Field<'_, '_>) -> bool {
    list.strings().any(|item| item == "*")
}

fn verbs(verbs: &Field<'_, '_>, problems: &mut Problems) {
    if verbs.list().is_empty() {
        verbs.required("verbs must contain at least one value", problems);
    } else if wildcard(verbs) {
        alone(verbs, "verbs", problems);
    } else if !verbs.strings().all(|verb| VERBS.contains(&verb)) {
        verbs.not_supported(&VERBS, problems);
    }
}

fn alone(list: &Field<'_, '_>, what: &str, problems: &mut Problems) {
    if list.list().len() > 1 && wildcard(list) {
        list.invalid(format!("if '*' is present, must not specify other {what}"), problems);
    }
}

fn resource_rule(rule: &Field<'_, '_>, problems: &mut Problems) {
    verbs(&rule.get("verbs"), problems);
    for (field, one, several) in
        [("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")]
    {
        let list = rule.get(field);
        if list.list().is_empty() {
            list.required(&format!("resource rules must supply at least one {one}"), problems);
        }
        alone(&list, several, problems);
    }
    let namespaces = rule.get("namespaces");
    if namespaces.list().is_empty() && !rule.get("clusterScope").is_true() {
        let detail = "resource rules that are not cluster scoped must supply at least one namespace";
        namespaces.required(detail, problems);
    } else if wildcard(&namespaces) {
        alone(&namespaces, "namespaces", problems);
    } else {
        for namespace in namespaces.items() {
            for problem in names::problems(Form::Label, namespace.text()) {
                let detail = format!("each member of this list must be '*' or a DNS-1123 label; {problem}");
                namespace.invalid(detail, problems);
            }
        }
    }
}

fn other_rule(rule: &Field<'_, '_>, problems: &mut Problems) {
    verbs(&rule.get("verbs"), problems);
    let urls = rule.get("nonResourceURLs");
    if urls.list().is_empty() {
        urls.required("nonResourceURLs must contain at least one value", problems);
    } else if wildcard(&urls) {
        alone(&urls, "non-resource URLs", problems);
    } else {
        for url in urls.items() {
            if let Some(problem) = path_problem(url.text()) {
                url.invalid(problem, problems);
            }
        }
    }
}

fn path_problem(path: &str) -> Option<&'static str> {
    let wildcards = path.matches('*').count();
    match path {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !path.starts_with('/') => Some("must start with slash"),
        _ if path.contains(' ') => Some("must not contain white-space"),
        _ if path.contains("//") => Some("must not contain double slash"),
        _ if wildcards > 1 || (wildcards == 1 && !path.ends_with("/*")) => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}

pub(super) fn level(object: &Value, problems: &mut Problems) {
    const ZERO: &str = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";
    let root = Field::root(object);
    if meta::annotation(object, ZERO).is_some() {
        let metadata = root.get("metadata");
        metadata.get("annotations").forbidden(format!("annotation '{ZERO}' is forbidden"), problems);
    }
    let spec = root.get("spec");
    let kind = spec.get("type");
    if (meta::name(object) == "exempt") != (kind.text() == "Exempt") {
        let detail = "must be 'Exempt' if and only if `name` is 'exempt'";
        kind.invalid_as(kind.text().into(), detail, problems);
    }
    let (limited, exempt) = (spec.get("limited"), spec.get("exempt"));
    match kind.text() {
        "Exempt" => {
            if limited.is_set() {
                limited.forbidden("must be nil if the type is not Limited", problems);
            }
            shares(&exempt, problems);
        }
        "Limited" => {
            if exempt.is_set() {
                exempt.forbidden("must be nil if the type is Limited", problems);
            }
            if limited.is_set() {
                self::limited(&limited, problems);
            } else {
                limited.required("must not be empty when type is Limited", problems);
            }
        }
        other => kind.with(&other.into()).not_supported(&["Exempt", "Limited"], problems),
    }
}

fn shares(level: &Field<'_, '_>, problems: &mut Problems) {
    let shares = level.get("nominalConcurrencyShares");
    if shares.number() < 0 {
        shares.invalid("must be a non-negative integer", problems);
    }
    level.get("lendablePercent").within(0, 100, problems);
}

fn limited(limited: &Field<'_, '_>, problems: &mut Problems) {
    let shares = limited.get("nominalConcurrencyShares");
    if shares.number() < 0 {
        shares.invalid("must be a non-negative integer", problems);
    }
    let response = limited.get("limitResponse");
    let (kind, queuing) = (response.get("type"), response.get("queuing"));
    match kind.text() {
        "Reject" if queuing.is_set() => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            queuing.forbidden(detail, problems);
        }
        "Reject" => {}
        "Queue" if !queuing.is_set() => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            queuing.required(detail, problems);
        }
        "Queue" => queues(&queuing, problems),
        other => kind.with(&other.into()).not_supported(&["Queue", "Reject"], problems),
    }
    limited.get("lendablePercent").within(0, 100, problems);
    let borrowing = limited.get("borrowingLimitPercent");
    if borrowing.number() < 0 {
        borrowing.invalid("if specified, must be a non-negative integer", problems);
    }
}

fn queues(queuing: &Field<'_, '_>, problems: &mut Problems) {
    const QUEUES: i64 = 10_000_000;
    const HASH_BITS: f64 = 60.0;
    let (queues, hand) = (queuing.get("queues"), queuing.get("handSize"));
    for field in ["queueLengthLimit", "queues"] {
        let number = queuing.get(field);
        if number.number() <= 0 {
            number.invalid_as(number.number().into(), "must be positive", problems);
        }
    }
    if queues.number() > QUEUES {
        queues.invalid(format!("must not be greater than {QUEUES}"), problems);
    }
    #[expect(clippy::cast_precision_loss, reason = "only whether it is above sixty counts")]
    let bits = ((queues.number().max(1) as f64).log2() * hand.number() as f64).ceil();
    if hand.number() <= 0 {
        hand.invalid_as(hand.number().into(), "must be positive", problems);
    } else if hand.number() > queues.number() {
        hand.invalid(format!("should not be greater than queues ({})", queues.number()), problems);
    } else if bits > HASH_BITS {
        let detail = format!(
            "required entropy bits of deckSize {} and handSize {} should not be greater than {HASH_BITS}",
            queues.number(),
            hand.number()
        );
        hand.invalid(detail, problems);
    }
}
