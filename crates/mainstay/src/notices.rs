//! `mainstay notifications`: what `argocd-notifications-cm` says, and what is wrong with it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use client::{Key, ResourceType, resource};
use notifications::{Configuration, Weight};
use objects::Value;
use serde_json::{Map, json};

use crate::cli::{Notifications, NotificationsCommand, PartCommand, PartFormat, PartGet};
use crate::environment::Environment;
use crate::remote::output::{Machine, machine, say};
use crate::remote::table::Table;
use crate::remote::{NO, Remote};

const CONFIG_MAP: &str = "argocd-notifications-cm";
const SECRET: &str = "argocd-notifications-secret";
/// Characters of a message that a table shows, as upstream.
const PREVIEW: usize = 100;

pub(crate) async fn run(typed: Notifications, environment: &Environment) -> Result<ExitCode> {
    let configuration = read(&typed, environment).await?;
    match &typed.command {
        NotificationsCommand::Validate => validate(&configuration),
        NotificationsCommand::Template(part) => {
            let PartCommand::Get(get) = &part.command;
            templates(&configuration, get).map(|()| ExitCode::SUCCESS)
        }
        NotificationsCommand::Trigger(part) => {
            let PartCommand::Get(get) = &part.command;
            triggers(&configuration, get).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// From files where they are named; a Secret that is nowhere is not looked into.
async fn read(typed: &Notifications, environment: &Environment) -> Result<Configuration> {
    let secret = typed.secret.as_deref().map(file).transpose()?;
    if let Some(path) = &typed.config_map {
        return Ok(Configuration::read(&file(path)?, secret.as_ref()));
    }
    let remote = Remote::connect(&typed.connect, environment).await?;
    let find = async |kind: &ResourceType, name: &str| {
        remote.api(kind).find(&Key::namespaced(&remote.namespace, name)).await
    };
    let Some(map) = find(&resource::CONFIG_MAPS, CONFIG_MAP).await? else {
        bail!("there is no ConfigMap {}/{CONFIG_MAP}; name a file with --config-map", remote.namespace);
    };
    let secret = match secret {
        Some(secret) => Some(secret),
        None => find(&resource::SECRETS, SECRET).await?,
    };
    Ok(Configuration::read(&map, secret.as_ref()))
}

fn file(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    yaml::from_str(&text).with_context(|| format!("parse {}", path.display()))
}

fn validate(configuration: &Configuration) -> Result<ExitCode> {
    let mut text = String::new();
    for fault in &configuration.faults {
        let leads_to = match fault.weight {
            Weight::Refused => "all of the configuration is refused",
            Weight::Unsent => "something is never sent",
        };
        text.push_str(&format!("{fault} ({leads_to})\n"));
    }
    let Configuration { services, templates, triggers, .. } = configuration;
    text.push_str(&format!(
        "{} services, {} templates, {} triggers. Mainstay itself sends no notifications yet.\n",
        services.len(),
        templates.len(),
        triggers.len()
    ));
    say(&text)?;
    let refused = configuration.faults.iter().any(|fault| fault.weight == Weight::Refused);
    Ok(if refused { ExitCode::from(NO) } else { ExitCode::SUCCESS })
}

/// Those that were asked for.
fn chosen<'a, T>(
    all: impl IntoIterator<Item = (&'a String, &'a T)>,
    get: &PartGet,
    kind: &str,
) -> Result<Vec<(&'a String, &'a T)>> {
    let chosen: Vec<_> =
        all.into_iter().filter(|(name, _)| get.name.as_ref().is_none_or(|wanted| wanted == *name)).collect();
    if let (Some(name), true) = (&get.name, chosen.is_empty()) {
        bail!("there is no {kind} {name:?}");
    }
    Ok(chosen)
}

fn print(rows: Vec<(&String, Value)>, table: &Table, format: PartFormat) -> Result<()> {
    let object = |rows: Vec<(&String, Value)>| {
        Value::Object(rows.into_iter().map(|(name, value)| (name.clone(), value)).collect::<Map<_, _>>())
    };
    match format {
        PartFormat::Wide => say(&table.to_string()),
        PartFormat::Name => say(&rows.iter().map(|(name, _)| format!("{name}\n")).collect::<String>()),
        PartFormat::Json => machine(&object(rows), Machine::Json),
        PartFormat::Yaml => machine(&object(rows), Machine::Yaml),
    }
}

fn templates(configuration: &Configuration, get: &PartGet) -> Result<()> {
    let chosen = chosen(&configuration.templates, get, "template")?;
    let mut table = Table::new(&["NAME", "PREVIEW"]);
    for (name, template) in &chosen {
        let message = template["message"].as_str().unwrap_or_default();
        let mut preview: String = message.chars().take(PREVIEW).collect();
        if message.chars().count() > PREVIEW {
            preview.push_str("...");
        }
        table.row([(*name).clone(), preview]);
    }
    let rows = chosen.into_iter().map(|(name, template)| (name, template.clone())).collect();
    print(rows, &table, get.output)
}

fn triggers(configuration: &Configuration, get: &PartGet) -> Result<()> {
    let chosen = chosen(&configuration.triggers, get, "trigger")?;
    let mut table = Table::new(&["NAME", "TEMPLATE", "CONDITION"]);
    for (name, conditions) in &chosen {
        for (at, condition) in conditions.iter().enumerate() {
            let name = if at == 0 { (*name).clone() } else { String::new() };
            table.row([name, condition.send.join(", "), condition.when.clone()]);
        }
    }
    let shown = |conditions: &Vec<notifications::Condition>| {
        let one = |condition: &notifications::Condition| {
            let mut shown = json!({"when": condition.when, "send": condition.send});
            for (field, text) in [("oncePer", &condition.once_per), ("description", &condition.description)] {
                if !text.is_empty() {
                    shown[field] = text.clone().into();
                }
            }
            shown
        };
        Value::Array(conditions.iter().map(one).collect())
    };
    let rows = chosen.into_iter().map(|(name, conditions)| (name, shown(conditions))).collect();
    print(rows, &table, get.output)
}
