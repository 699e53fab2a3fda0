//! `mainstay appset`: ApplicationSets.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use client::dynamic::{DeleteOptions, ListOptions, WriteOptions};
use client::{Api, Key, ResourceType};
use objects::{Value, meta};
use serde_json::json;

use crate::cli::{AppSet, AppSetCommand, Format};
use crate::environment::Environment;
use crate::remote::output::{array, object, objects, qualified, say, text};
use crate::remote::table::Table;
use crate::remote::{Remote, confirm, manifests};

const APPLICATION_SETS: ResourceType =
    ResourceType::namespaced("argoproj.io", "v1alpha1", "ApplicationSet", "applicationsets");

pub(crate) async fn run(sets: AppSet, environment: &Environment) -> Result<ExitCode> {
    let remote = Remote::connect(&sets.connect, environment).await?;
    let api = remote.api(&APPLICATION_SETS);
    match sets.command {
        AppSetCommand::List { selector, project, output } => {
            let options = ListOptions { labels: selector, ..ListOptions::default() };
            let mut all = api.list_all(None, &options).await?.items;
            all.retain(|set| project.is_empty() || project.iter().any(|one| one == project_of(set)));
            objects(all, output, table)?;
        }
        AppSetCommand::Get { name, output } => {
            object(get(&remote, &api, &name).await?, output, summary)?;
        }
        AppSetCommand::Create { files, upsert, dry_run, output } => {
            for file in files {
                for set in manifests::read(&file, "ApplicationSet")? {
                    create(&remote, &api, set, upsert, dry_run, output).await?;
                }
            }
        }
        AppSetCommand::Delete { names, yes } => {
            for name in names {
                let key = remote.key(&name);
                get(&remote, &api, &name).await?;
                if !confirm(&format!("Delete ApplicationSet {key} and its Applications?"), yes)? {
                    bail!("ApplicationSet {key} was not deleted");
                }
                api.delete(&key, &DeleteOptions::default()).await?;
                say(&format!("applicationset '{key}' deleted\n"))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn get(remote: &Remote, api: &Api, name: &str) -> Result<Value> {
    let key = remote.key(name);
    api.find(&key).await?.with_context(|| format!("there is no ApplicationSet {key}"))
}

async fn create(
    remote: &Remote,
    api: &Api,
    mut set: Value,
    upsert: bool,
    dry_run: bool,
    output: Option<Format>,
) -> Result<()> {
    if meta::namespace(&set).is_none() {
        meta::set(&mut set, "namespace", json!(remote.namespace));
    }
    let options = WriteOptions { field_manager: Some("mainstay".to_owned()), dry_run };
    let (written, how) = match api.create_with(&set, &options).await {
        Ok(created) => (created, "created"),
        Err(error) if error.is_already_exists() => {
            let mut present = api.get(&Key::of(&set)).await?;
            if present["spec"] == set["spec"] {
                (present, "unchanged")
            } else if upsert {
                present["spec"] = set["spec"].clone();
                (api.replace_with(&present, &options).await?, "updated")
            } else {
                bail!(
                    "ApplicationSet {} is there already, with another spec; --upsert changes it",
                    Key::of(&set)
                );
            }
        }
        Err(error) => return Err(error.into()),
    };
    match output {
        Some(format) => object(written, format, summary),
        None => {
            let note = if dry_run { " (dry run)" } else { "" };
            say(&format!("applicationset '{}' {how}{note}\n", qualified(&written)))
        }
    }
}

fn project_of(set: &Value) -> &str {
    text(set, "/spec/template/spec/project")
}

fn source(set: &Value) -> &Value {
    let spec = &set["spec"]["template"]["spec"];
    if spec["source"].is_object() { &spec["source"] } else { &spec["sources"][0] }
}

fn policy(set: &Value) -> &'static str {
    let automated = &set["spec"]["template"]["spec"]["syncPolicy"]["automated"];
    match (automated.is_object(), automated["prune"] == true) {
        (false, _) => "Manual",
        (true, true) => "Auto-Prune",
        (true, false) => "Auto",
    }
}

fn conditions(set: &Value) -> String {
    let list: Vec<String> = array(set, "/status/conditions")
        .iter()
        .filter(|condition| condition["status"] == "True")
        .map(|condition| text(condition, "/type").to_owned())
        .collect();
    if list.is_empty() { "<none>".to_owned() } else { list.join(",") }
}

fn table(sets: &[Value]) -> String {
    let mut table = Table::new(&["NAME", "PROJECT", "SYNCPOLICY", "CONDITIONS", "REPO", "PATH", "TARGET"]);
    for set in sets {
        let part = |pointer: &str| text(source(set), pointer).to_owned();
        table.row([
            qualified(set),
            project_of(set).to_owned(),
            policy(set).to_owned(),
            conditions(set),
            part("/repoURL"),
            part("/path"),
            part("/targetRevision"),
        ]);
    }
    table.to_string()
}

fn summary(set: &Value) -> String {
    let mut table = Table::plain();
    let mut row = |name: &str, value: &str| table.row([format!("{name}:"), value.to_owned()]);
    let destination = &set["spec"]["template"]["spec"]["destination"];
    let server = text(destination, "/server");
    row("Name", &qualified(set));
    row("Project", project_of(set));
    row("Server", if server.is_empty() { text(destination, "/name") } else { server });
    row("Namespace", text(destination, "/namespace"));
    row("Repo", text(source(set), "/repoURL"));
    row("Target", text(source(set), "/targetRevision"));
    row("Path", text(source(set), "/path"));
    row("SyncPolicy", policy(set));
    let mut out = table.to_string();
    let mut conditions = Table::new(&["CONDITION", "STATUS", "MESSAGE", "LAST TRANSITION"]);
    for condition in array(set, "/status/conditions") {
        conditions
            .row(["/type", "/status", "/message", "/lastTransitionTime"].map(|part| text(condition, part)));
    }
    out.push_str(&format!("\n{conditions}"));
    let resources = array(set, "/status/resources");
    if !resources.is_empty() {
        let mut table = Table::new(&["APPLICATION", "STATUS", "HEALTH"]);
        for resource in resources {
            table.row([text(resource, "/name"), text(resource, "/status"), text(resource, "/health/status")]);
        }
        out.push_str(&format!("\n{table}"));
    }
    out
}
