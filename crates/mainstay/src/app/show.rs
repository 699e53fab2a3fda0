//! `app get` and `app resources`.

use anyhow::Result;
use objects::Value;
use serde_json::json;
use sync::ResourceKey;

use super::live::{self, Live};
use super::{orphans, tree, wait};
use crate::cli::{Get, GetFormat, Resources};
use crate::remote::output::{Machine, array, machine, qualified, say, text, tidy};
use crate::remote::table::Table;
use crate::remote::{Remote, seconds};

pub(super) async fn get(remote: &Remote, get: &Get) -> Result<()> {
    if get.refresh || get.hard_refresh {
        let key = remote.key(&get.name);
        remote.application(&get.name).await?;
        wait::refresh(remote, &key, get.hard_refresh, seconds(get.timeout)).await?;
    }
    let application = remote.application(&get.name).await?;
    print(remote, application, get.output, Shown { operation: get.show_operation, params: get.show_params })
        .await
}

/// What of an Application is shown besides its summary.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown {
    pub(super) operation: bool,
    pub(super) params: bool,
}

pub(super) async fn print(
    remote: &Remote,
    application: Value,
    format: GetFormat,
    shown: Shown,
) -> Result<()> {
    match format {
        GetFormat::Json => machine(&tidy(application), Machine::Json),
        GetFormat::Yaml => machine(&tidy(application), Machine::Yaml),
        GetFormat::Wide | GetFormat::Tree => {
            let mut out = summary(&application);
            if shown.params {
                out.push_str(&params(&application));
            }
            if shown.operation {
                out.push_str(&operation(&application));
            }
            let conditions = array(&application, "/status/conditions");
            if !conditions.is_empty() {
                let mut table = Table::new(&["CONDITION", "MESSAGE", "LAST TRANSITION"]);
                for condition in conditions {
                    table.row([
                        text(condition, "/type"),
                        text(condition, "/message"),
                        text(condition, "/lastTransitionTime"),
                    ]);
                }
                out.push_str(&format!("\n{table}"));
            }
            let resources = live::read(remote, &application).await?;
            if !resources.is_empty() {
                out.push('\n');
                out.push_str(&if format == GetFormat::Tree {
                    tree::text(remote, &resources).await?
                } else {
                    resource_table(&application, &resources)
                });
            }
            say(&out)
        }
    }
}

/// What Argo CD prints above the resources.
fn summary(application: &Value) -> String {
    let word = |pointer: &str| text(application, pointer).to_owned();
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([format!("{name}:"), value]);
    row("Name", qualified(application));
    row(
        "Project",
        Some(word("/spec/project")).filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned()),
    );
    let server = word("/spec/destination/server");
    row("Server", if server.is_empty() { word("/spec/destination/name") } else { server });
    row("Namespace", word("/spec/destination/namespace"));
    for url in array(application, "/status/summary/externalURLs").iter().filter_map(Value::as_str) {
        row("URL", url.to_owned());
    }
    let sources = sources(application);
    for source in &sources {
        row(if sources.len() > 1 { "Source" } else { "Repo" }, text(source, "/repoURL").to_owned());
        row("Target", text(source, "/targetRevision").to_owned());
        for (field, name) in [("/path", "Path"), ("/chart", "Chart"), ("/ref", "Ref")] {
            if !text(source, field).is_empty() {
                row(name, text(source, field).to_owned());
            }
        }
        let values: Vec<&str> = array(source, "/helm/valueFiles").iter().filter_map(Value::as_str).collect();
        if !values.is_empty() {
            row("Helm Values", values.join(","));
        }
    }
    row("Sync Policy", policy(application));
    let revision = revisions(&application["status"]["sync"]);
    let target = text(sources.first().copied().unwrap_or(&Value::Null), "/targetRevision").to_owned();
    let sync = word("/status/sync/status");
    let verb = if sync == "Synced" { "to" } else { "from" };
    row("Sync Status", format!("{sync} {verb} {target} ({revision})"));
    let message = word("/status/health/message");
    let health = word("/status/health/status");
    row("Health Status", if message.is_empty() { health } else { format!("{health} ({message})") });
    table.to_string()
}

pub(super) fn sources(application: &Value) -> Vec<&Value> {
    match array(application, "/spec/sources") {
        [] => application.pointer("/spec/source").into_iter().collect(),
        list => list.iter().collect(),
    }
}

/// `Automated (Prune)`.
fn policy(application: &Value) -> String {
    let automated = &application["spec"]["syncPolicy"]["automated"];
    if !automated.is_object() || automated["enabled"] == false {
        return "Manual".to_owned();
    }
    let mut extras: Vec<&str> = Vec::new();
    for (field, name) in [("prune", "Prune"), ("selfHeal", "SelfHeal"), ("allowEmpty", "AllowEmpty")] {
        if automated[field] == true {
            extras.push(name);
        }
    }
    if extras.is_empty() { "Automated".to_owned() } else { format!("Automated ({})", extras.join(", ")) }
}

/// One or several revisions, commits as seven digits.
pub(super) fn revisions(status: &Value) -> String {
    match array(status, "/revisions") {
        [] => short(text(status, "/revision")).to_owned(),
        list => list.iter().filter_map(Value::as_str).map(short).collect::<Vec<_>>().join(","),
    }
}

pub(super) fn short(revision: &str) -> &str {
    let is_commit = revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_commit { &revision[..7] } else { revision }
}

fn params(application: &Value) -> String {
    let mut table = Table::new(&["NAME", "VALUE"]);
    for source in sources(application) {
        for parameter in array(source, "/helm/parameters") {
            table.row([text(parameter, "/name"), text(parameter, "/value")]);
        }
        for image in array(source, "/kustomize/images").iter().filter_map(Value::as_str) {
            table.row(["kustomize.image", image]);
        }
    }
    format!("\n{table}")
}

/// How the running or last operation went.
pub(super) fn operation(application: &Value) -> String {
    let state = &application["status"]["operationState"];
    if state.is_null() {
        return String::new();
    }
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([format!("{name}:"), value]);
    row("Operation", "Sync".to_owned());
    row("Sync Revision", revisions(&state["syncResult"]));
    row("Phase", text(state, "/phase").to_owned());
    row("Start", text(state, "/startedAt").to_owned());
    row("Finished", text(state, "/finishedAt").to_owned());
    if let Some(lasted) = lasted(state) {
        row("Duration", lasted);
    }
    if let Some(retries) = state["retryCount"].as_i64().filter(|retries| *retries > 0) {
        row("Retries", retries.to_string());
    }
    row("Message", text(state, "/message").to_owned());
    format!("\n{table}")
}

fn lasted(state: &Value) -> Option<String> {
    let time = |pointer: &str| text(state, pointer).parse::<jiff::Timestamp>().ok();
    let seconds = time("/finishedAt")?.duration_since(time("/startedAt")?).as_secs();
    Some(format!("{seconds}s"))
}

/// `GROUP KIND NAMESPACE NAME STATUS HEALTH HOOK MESSAGE`
fn resource_table(application: &Value, resources: &[Live]) -> String {
    let mut table =
        Table::new(&["GROUP", "KIND", "NAMESPACE", "NAME", "STATUS", "HEALTH", "HOOK", "MESSAGE"]);
    let results = array(application, "/status/operationState/syncResult/resources");
    let result = |live: &Live| results.iter().find(|result| super::select::key_of(result) == live.key);
    // Hooks are part of the operation, and mostly gone by now.
    for hook in results.iter().filter(|result| !text(result, "/hookType").is_empty()) {
        let part = |pointer: &str| text(hook, pointer);
        table.row([
            part("/group"),
            part("/kind"),
            part("/namespace"),
            part("/name"),
            part("/hookPhase"),
            "",
            part("/hookType"),
            part("/message"),
        ]);
    }
    for live in resources.iter().filter(|live| live.entry["hook"] != true) {
        let message = live.health().map(|health| health.message).filter(|message| !message.is_empty());
        let message = message.or_else(|| result(live).map(|result| text(result, "/message").to_owned()));
        let key = &live.key;
        table.row([
            key.group.clone(),
            key.kind.clone(),
            key.namespace.clone(),
            key.name.clone(),
            live.status().to_owned(),
            live.health_word(),
            String::new(),
            message.unwrap_or_default(),
        ]);
    }
    table.to_string()
}

pub(super) async fn resources(remote: &Remote, args: &Resources) -> Result<()> {
    let application = remote.application(&args.name).await?;
    if args.orphaned {
        return orphaned(&orphans::of(remote, &application).await?, args.output);
    }
    match args.output {
        GetFormat::Tree => say(&tree::text(remote, &live::read(remote, &application).await?).await?),
        GetFormat::Json => machine(&json!(array(&application, "/status/resources")), Machine::Json),
        GetFormat::Yaml => machine(&json!(array(&application, "/status/resources")), Machine::Yaml),
        GetFormat::Wide => {
            let mut table = Table::new(&["GROUP", "KIND", "NAMESPACE", "NAME", "STATUS", "HEALTH", "WAVE"]);
            for live in live::read(remote, &application).await? {
                let wave = live.entry["syncWave"].as_i64().map(|wave| wave.to_string()).unwrap_or_default();
                let (status, health) = (live.status().to_owned(), live.health_word());
                let key = live.key;
                table.row([key.group, key.kind, key.namespace, key.name, status, health, wave]);
            }
            say(&table.to_string())
        }
    }
}

/// `GROUP KIND NAMESPACE NAME ORPHANED`, as Argo CD prints them.
fn orphaned(found: &[ResourceKey], format: GetFormat) -> Result<()> {
    let entry = |key: &ResourceKey| json!({"group": key.group, "kind": key.kind, "namespace": key.namespace, "name": key.name});
    let entries = || Value::Array(found.iter().map(entry).collect());
    match format {
        GetFormat::Json => machine(&entries(), Machine::Json),
        GetFormat::Yaml => machine(&entries(), Machine::Yaml),
        GetFormat::Wide | GetFormat::Tree => {
            let mut table = Table::new(&["GROUP", "KIND", "NAMESPACE", "NAME", "ORPHANED"]);
            for key in found {
                table.row([
                    key.group.as_str(),
                    key.kind.as_str(),
                    key.namespace.as_str(),
                    key.name.as_str(),
                    "Yes",
                ]);
            }
            say(&table.to_string())
        }
    }
}
