//! The ConfigMap, read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::faults::{Fault, Weight, check};

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `slack`, `webhook`, …
    pub kind: String,
    /// Keys of the Secret that its definition refers to as `$key`.
    pub secrets: BTreeSet<String>,
}

/// When a trigger fires, and what it sends then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// An expression of expr-lang.
    pub when: String,
    /// Names of templates.
    pub send: Vec<String>,
    /// An expression; the condition fires once for each of its values.
    pub once_per: String,
    pub description: String,
}

/// A subscription for all Applications that its selector matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// `SERVICE[:RECIPIENT]`.
    pub recipients: Vec<String>,
    /// Empty for the default ones.
    pub triggers: Vec<String>,
}

/// Everything, by name.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    pub services: BTreeMap<String, Service>,
    /// Each as its YAML has it.
    pub templates: BTreeMap<String, Value>,
    pub triggers: BTreeMap<String, Vec<Condition>>,
    pub default_triggers: Vec<String>,
    /// By the name of the service.
    pub service_default_triggers: BTreeMap<String, Vec<String>>,
    pub subscriptions: Vec<Subscription>,
    pub faults: Vec<Fault>,
}

impl Configuration {
    /// Reads the ConfigMap. `secret` is the Secret beside it, of which only the keys count; without one they are not
    /// looked for.
    #[must_use]
    pub fn read(map: &Value, secret: Option<&Value>) -> Self {
        let mut this = Self::default();
        for (key, text) in map["data"].as_object().into_iter().flatten() {
            let text = text.as_str().unwrap_or_default();
            if let Err((problem, weight)) = this.entry(key, text) {
                this.faults.push(Fault { key: key.clone(), problem, weight });
            }
        }
        let faults = check(&this, secret);
        this.faults.extend(faults);
        this
    }

    fn entry(&mut self, key: &str, text: &str) -> Result<(), (String, Weight)> {
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        match (section, name) {
            ("service", name) => self.service(name, text),
            ("template", name) => {
                let template = parsed(text)?;
                if !template.is_object() && !template.is_null() {
                    return Err(("a template is a map".to_owned(), Weight::Refused));
                }
                self.templates.insert(name.to_owned(), template);
                Ok(())
            }
            ("trigger", name) => {
                let conditions = list(&parsed(text)?, "a trigger is a list of conditions")?;
                let conditions = conditions.iter().map(condition).collect::<Result<_, _>>()?;
                self.triggers.insert(name.to_owned(), conditions);
                Ok(())
            }
            ("defaultTriggers", "") => {
                self.default_triggers = names(&parsed(text)?)?;
                Ok(())
            }
            ("defaultTriggers", service) => {
                self.service_default_triggers.insert(service.to_owned(), names(&parsed(text)?)?);
                Ok(())
            }
            ("subscriptions", "") => {
                for one in list(&parsed(text)?, "subscriptions are a list")? {
                    let (recipients, triggers) = (names(&one["recipients"])?, names(&one["triggers"])?);
                    self.subscriptions.push(Subscription { recipients, triggers });
                }
                Ok(())
            }
            ("context", "") => parsed(text).map(drop),
            ("config", "yaml") => Err((
                "the legacy form is not read: write its parts under keys of their own".to_owned(),
                Weight::Unsent,
            )),
            // What is close to a key and none is read by nobody.
            ("services" | "templates" | "triggers" | "subscription", _) => {
                let meant =
                    if section == "subscription" { "subscriptions" } else { section.trim_end_matches('s') };
                Err((format!("no key begins like this, so it is not read; {meant} is meant"), Weight::Unsent))
            }
            _ => Err(("no such key is read".to_owned(), Weight::Unsent)),
        }
    }

    fn service(&mut self, name: &str, text: &str) -> Result<(), (String, Weight)> {
        let parts: Vec<&str> = name.split('.').collect();
        let (kind, name) = match parts[..] {
            [kind] if !kind.is_empty() => (kind, kind),
            [kind, name] => (kind, name),
            _ => return Err(("expected service.TYPE or service.TYPE.NAME".to_owned(), Weight::Refused)),
        };
        let definition = parsed(text)?;
        let mut secrets = BTreeSet::new();
        references(&definition, &mut secrets);
        self.services.insert(name.to_owned(), Service { kind: kind.to_owned(), secrets });
        Ok(())
    }
}

fn parsed(text: &str) -> Result<Value, (String, Weight)> {
    yaml::from_str(text).map_err(|error| (format!("no YAML: {error}"), Weight::Refused))
}

fn list(value: &Value, otherwise: &str) -> Result<Vec<Value>, (String, Weight)> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => Ok(list.clone()),
        _ => Err((otherwise.to_owned(), Weight::Refused)),
    }
}

fn names(value: &Value) -> Result<Vec<String>, (String, Weight)> {
    let names = list(value, "a list of names is expected")?;
    let text = |name: &Value| name.as_str().map(str::to_owned);
    let texts: Option<Vec<String>> = names.iter().map(text).collect();
    texts.ok_or_else(|| ("a list of names is expected".to_owned(), Weight::Refused))
}

fn condition(value: &Value) -> Result<Condition, (String, Weight)> {
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let condition = Condition {
        when: text("when"),
        send: names(&value["send"])?,
        once_per: text("oncePer"),
        description: text("description"),
    };
    for field in ["when", "oncePer", "description"] {
        if !value[field].is_null() && !value[field].is_string() {
            return Err((format!("{field} is a text"), Weight::Refused));
        }
    }
    Ok(condition)
}

/// The keys that texts refer to as `$key`.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            for part in text.split('$').skip(1) {
                let key: String =
                    part.chars().take_while(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect();
                if !key.is_empty() {
                    found.insert(key);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|one| references(one, found)),
        Value::Object(map) => map.values().for_each(|one| references(one, found)),
        _ => {}
    }
}
