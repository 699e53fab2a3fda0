//! What is wrong with a configuration.

use std::collections::BTreeSet;
use std::fmt;

use gotmpl::{Functions, Templates};
use serde_json::Value;

use crate::configuration::Configuration;

/// What a fault leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Argo CD refuses all of the configuration.
    Refused,
    /// Something is never sent.
    Unsent,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key of the ConfigMap.
    pub key: String,
    pub problem: String,
    pub weight: Weight,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

/// The services that Argo CD can send to.
const KINDS: [&str; 19] = [
    "alertmanager",
    "awssqs",
    "email",
    "gcppubsub",
    "github",
    "googlechat",
    "grafana",
    "mattermost",
    "newrelic",
    "opsgenie",
    "pagerduty",
    "pagerdutyv2",
    "pushover",
    "rocketchat",
    "slack",
    "teams",
    "teams-workflows",
    "telegram",
    "webex",
];
/// Of these there are several, by their names.
const WEBHOOK: &str = "webhook";

/// What the parts say of each other.
pub(crate) fn check(all: &Configuration, secret: Option<&Value>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut unsent =
        |key: String, problem: String| faults.push(Fault { key, problem, weight: Weight::Unsent });
    for (name, service) in &all.services {
        let key = format!(
            "service.{}",
            if *name == service.kind { name.clone() } else { format!("{}.{name}", service.kind) }
        );
        if !KINDS.contains(&service.kind.as_str()) && ![WEBHOOK, "nats"].contains(&service.kind.as_str()) {
            unsent(key.clone(), format!("no service is of type {:?}", service.kind));
        }
        let Some(secret) = secret else { continue };
        for missing in service.secrets.iter().filter(|name| !has(secret, name)) {
            unsent(key.clone(), format!("argocd-notifications-secret has no key {missing:?}"));
        }
    }
    for (name, conditions) in &all.triggers {
        let key = format!("trigger.{name}");
        for condition in conditions {
            if condition.when.trim().is_empty() {
                unsent(key.clone(), "a condition without `when` never fires".to_owned());
            }
            if condition.send.is_empty() {
                unsent(key.clone(), "a condition without `send` sends nothing".to_owned());
            }
            for missing in condition.send.iter().filter(|name| !all.templates.contains_key(*name)) {
                unsent(key.clone(), format!("there is no template {missing:?}"));
            }
        }
    }
    for (name, template) in &all.templates {
        let mut texts = BTreeSet::new();
        collect(template, &mut texts);
        for text in texts {
            if let Err(error) = Templates::new(Functions::application_sets()).parse(name, text) {
                unsent(format!("template.{name}"), error.to_string());
            }
        }
    }
    let lists =
        all.service_default_triggers.iter().map(|(name, list)| (format!("defaultTriggers.{name}"), list));
    for (key, list) in lists.chain([("defaultTriggers".to_owned(), &all.default_triggers)]) {
        for missing in list.iter().filter(|name| !all.triggers.contains_key(*name)) {
            unsent(key.clone(), format!("there is no trigger {missing:?}"));
        }
    }
    for subscription in &all.subscriptions {
        let key = "subscriptions".to_owned();
        for missing in subscription.triggers.iter().filter(|name| !all.triggers.contains_key(*name)) {
            unsent(key.clone(), format!("there is no trigger {missing:?}"));
        }
        for recipient in &subscription.recipients {
            let service = recipient.split(':').next().unwrap_or_default();
            if !all.services.contains_key(service) {
                unsent(key.clone(), format!("there is no service {service:?}"));
            }
        }
        if subscription.triggers.is_empty() && all.default_triggers.is_empty() {
            unsent(key.clone(), "it names no trigger, and there are no default ones".to_owned());
        }
    }
    faults
}

fn has(secret: &Value, key: &str) -> bool {
    ["data", "stringData"].iter().any(|field| secret[field].get(key).is_some())
}

fn collect<'a>(value: &'a Value, texts: &mut BTreeSet<&'a str>) {
    match value {
        Value::String(text) => {
            texts.insert(text);
        }
        Value::Array(list) => list.iter().for_each(|one| collect(one, texts)),
        Value::Object(map) => map.values().for_each(|one| collect(one, texts)),
        _ => {}
    }
}
