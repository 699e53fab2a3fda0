//! `mainstay project`: AppProjects and their rules.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use client::dynamic::{DeleteOptions, ListOptions, WriteOptions};
use client::{Api, ResourceType, resource};
use objects::{Value, meta};
use serde_json::json;

use crate::cli::{KindRule, Project, ProjectCommand, ProjectFlags, RuleList};
use crate::environment::Environment;
use crate::remote::output::{array, object, objects, say, text};
use crate::remote::table::Table;
use crate::remote::{Remote, manifests};

const PROJECTS: ResourceType =
    ResourceType::namespaced("argoproj.io", "v1alpha1", "AppProject", "appprojects");
const ATTEMPTS: usize = 5;

pub(crate) async fn run(project: Project, environment: &Environment) -> Result<ExitCode> {
    let remote = Remote::connect(&project.connect, environment).await?;
    let projects = Projects { api: remote.api(&PROJECTS), remote: &remote };
    projects.run(project.command).await?;
    Ok(ExitCode::SUCCESS)
}

struct Projects<'a> {
    remote: &'a Remote,
    api: Api,
}

impl Projects<'_> {
    async fn run(&self, command: ProjectCommand) -> Result<()> {
        match command {
            ProjectCommand::List { output } => {
                let all = self.api.list_all(Some(&self.remote.namespace), &ListOptions::all()).await?.items;
                objects(all, output, table)
            }
            ProjectCommand::Get { project, output } => object(self.get(&project).await?, output, summary),
            ProjectCommand::Create { project, file, upsert, flags } => {
                let mut made = match file {
                    Some(file) => manifests::read(&file, "AppProject")?,
                    None => vec![json!({"metadata": {}, "spec": {}})],
                };
                let [one] = made.as_mut_slice() else {
                    bail!("the file holds several projects: one is expected")
                };
                self.create(one, project, upsert, &flags).await
            }
            ProjectCommand::Delete { project } => self.delete(&project).await,
            command => self.change(command).await,
        }
    }

    async fn get(&self, name: &str) -> Result<Value> {
        let key = self.remote.key(name);
        self.api.find(&key).await?.with_context(|| format!("there is no project {name}"))
    }

    async fn create(
        &self,
        made: &mut Value,
        name: Option<String>,
        upsert: bool,
        flags: &ProjectFlags,
    ) -> Result<()> {
        made["apiVersion"] = json!("argoproj.io/v1alpha1");
        made["kind"] = json!("AppProject");
        if let Some(name) = name {
            meta::set(made, "name", json!(name));
        }
        meta::set(made, "namespace", json!(self.remote.namespace));
        set(made, flags)?;
        let options = WriteOptions { field_manager: Some("mainstay".to_owned()), ..WriteOptions::default() };
        let name = meta::name(made).to_owned();
        match self.api.create_with(made, &options).await {
            Ok(_) => say(&format!("project '{name}' created\n")),
            Err(error) if error.is_already_exists() && upsert => {
                self.edit(&name, |present| {
                    present["spec"] = made["spec"].clone();
                    Ok(())
                })
                .await?;
                say(&format!("project '{name}' updated\n"))
            }
            Err(error) if error.is_already_exists() => {
                bail!("project {name} is there already; --upsert changes it")
            }
            Err(error) => Err(error.into()),
        }
    }

    /// As in Argo CD, not while Applications belong to it.
    async fn delete(&self, name: &str) -> Result<()> {
        if name == "default" {
            bail!("the project default cannot be deleted");
        }
        self.get(name).await?;
        let all = Api::new(&self.remote.client, &resource::APPLICATIONS)
            .list_all(None, &ListOptions::all())
            .await?;
        let users: Vec<&str> =
            all.items.iter().filter(|one| text(one, "/spec/project") == name).map(meta::name).collect();
        if !users.is_empty() {
            bail!("project {name} is referenced by {} applications: {}", users.len(), users.join(", "));
        }
        self.api.delete(&self.remote.key(name), &DeleteOptions::default()).await?;
        say(&format!("project '{name}' deleted\n"))
    }

    async fn change(&self, command: ProjectCommand) -> Result<()> {
        match command {
            ProjectCommand::Set { project, flags } => self.edit(&project, |one| set(one, &flags)).await,
            ProjectCommand::AddSource { project, url } => {
                self.edit(&project, |one| add(one, "sourceRepos", json!(url))).await
            }
            ProjectCommand::RemoveSource { project, url } => {
                self.edit(&project, |one| remove(one, "sourceRepos", |entry| entry == url.as_str())).await
            }
            ProjectCommand::AddDestination { project, server, namespace, name } => {
                let field = if name { "name" } else { "server" };
                let entry = json!({field: server, "namespace": namespace});
                self.edit(&project, |one| add(one, "destinations", entry.clone())).await
            }
            ProjectCommand::RemoveDestination { project, server, namespace } => {
                self.edit(&project, |one| {
                    remove(one, "destinations", |entry| {
                        (entry["server"] == server.as_str() || entry["name"] == server.as_str())
                            && entry["namespace"] == namespace.as_str()
                    })
                })
                .await
            }
            ProjectCommand::AddSourceNamespace { project, namespace } => {
                self.edit(&project, |one| add(one, "sourceNamespaces", json!(namespace))).await
            }
            ProjectCommand::RemoveSourceNamespace { project, namespace } => {
                self.edit(&project, |one| {
                    remove(one, "sourceNamespaces", |entry| entry == namespace.as_str())
                })
                .await
            }
            ProjectCommand::AllowClusterResource(rule) => self.rule(rule, Scope::Cluster, Verb::Allow).await,
            ProjectCommand::DenyClusterResource(rule) => self.rule(rule, Scope::Cluster, Verb::Deny).await,
            ProjectCommand::AllowNamespaceResource(rule) => {
                self.rule(rule, Scope::Namespace, Verb::Allow).await
            }
            ProjectCommand::DenyNamespaceResource(rule) => {
                self.rule(rule, Scope::Namespace, Verb::Deny).await
            }
            ProjectCommand::AddOrphanedIgnore { project, group, kind, name } => {
                let mut entry = json!({"group": group, "kind": kind});
                if let Some(name) = name {
                    entry["name"] = json!(name);
                }
                self.edit(&project, |one| {
                    if !one["spec"]["orphanedResources"].is_object() {
                        one["spec"]["orphanedResources"] = json!({});
                    }
                    push(&mut one["spec"]["orphanedResources"]["ignore"], entry.clone())
                })
                .await
            }
            ProjectCommand::RemoveOrphanedIgnore { project, group, kind, name } => {
                let entry = |entry: &Value| {
                    entry["group"] == group.as_str()
                        && entry["kind"] == kind.as_str()
                        && entry["name"].as_str() == name.as_deref()
                };
                self.edit(&project, |one| take(&mut one["spec"]["orphanedResources"]["ignore"], entry)).await
            }
            ProjectCommand::List { .. }
            | ProjectCommand::Get { .. }
            | ProjectCommand::Create { .. }
            | ProjectCommand::Delete { .. } => unreachable!("answered before"),
        }
    }

    /// Moves a kind in or out of one of the four lists, as Argo CD does: what is to be allowed leaves the list of what
    /// is denied, or enters the list of what is allowed.
    async fn rule(&self, rule: KindRule, scope: Scope, verb: Verb) -> Result<()> {
        let list = rule.list.unwrap_or(match scope {
            Scope::Cluster => RuleList::Allow,
            Scope::Namespace => RuleList::Deny,
        });
        let field = match (scope, list) {
            (Scope::Cluster, RuleList::Allow) => "clusterResourceWhitelist",
            (Scope::Cluster, RuleList::Deny) => "clusterResourceBlacklist",
            (Scope::Namespace, RuleList::Allow) => "namespaceResourceWhitelist",
            (Scope::Namespace, RuleList::Deny) => "namespaceResourceBlacklist",
        };
        let entry = json!({"group": rule.group, "kind": rule.kind});
        let enters = matches!((verb, list), (Verb::Allow, RuleList::Allow) | (Verb::Deny, RuleList::Deny));
        self.edit(&rule.project, |one| {
            if enters {
                add(one, field, entry.clone())
            } else {
                remove(one, field, |found| found["group"] == entry["group"] && found["kind"] == entry["kind"])
            }
        })
        .await
    }

    async fn edit(&self, name: &str, change: impl Fn(&mut Value) -> Result<()>) -> Result<()> {
        let options = WriteOptions { field_manager: Some("mainstay".to_owned()), ..WriteOptions::default() };
        for _ in 0..ATTEMPTS {
            let mut project = self.get(name).await?;
            change(&mut project)?;
            match self.api.replace_with(&project, &options).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("project {name} changes faster than it can be written")
    }
}

#[derive(Debug, Clone, Copy)]
enum Scope {
    Cluster,
    Namespace,
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Allow,
    Deny,
}

fn push(list: &mut Value, entry: Value) -> Result<()> {
    if !list.is_array() {
        *list = json!([]);
    }
    let list = list.as_array_mut().expect("made an array just above");
    if list.contains(&entry) {
        bail!("{entry} is there already");
    }
    list.push(entry);
    Ok(())
}

fn take(list: &mut Value, gone: impl Fn(&Value) -> bool) -> Result<()> {
    let before = list.as_array().map_or(0, Vec::len);
    if let Some(list) = list.as_array_mut() {
        list.retain(|entry| !gone(entry));
    }
    if list.as_array().map_or(0, Vec::len) == before {
        bail!("the project has no such entry");
    }
    Ok(())
}

fn add(project: &mut Value, field: &str, entry: Value) -> Result<()> {
    push(&mut project["spec"][field], entry)
}

fn remove(project: &mut Value, field: &str, gone: impl Fn(&Value) -> bool) -> Result<()> {
    take(&mut project["spec"][field], gone)
}

fn set(project: &mut Value, flags: &ProjectFlags) -> Result<()> {
    let spec = &mut project["spec"];
    if let Some(text) = &flags.description {
        spec["description"] = json!(text);
    }
    for (field, list) in [("sourceRepos", &flags.sources), ("sourceNamespaces", &flags.source_namespaces)] {
        if !list.is_empty() {
            spec[field] = json!(list);
        }
    }
    if !flags.destinations.is_empty() {
        let destinations = flags.destinations.iter().map(|one| {
            let (server, namespace) =
                one.split_once(',').with_context(|| format!("--dest {one:?}: expected SERVER,NAMESPACE"))?;
            anyhow::Ok(json!({"server": server, "namespace": namespace}))
        });
        spec["destinations"] = Value::Array(destinations.collect::<Result<_>>()?);
    }
    for (field, list) in [
        ("clusterResourceWhitelist", &flags.allow_cluster),
        ("namespaceResourceWhitelist", &flags.allow_namespaced),
        ("clusterResourceBlacklist", &flags.deny_cluster),
        ("namespaceResourceBlacklist", &flags.deny_namespaced),
    ] {
        if list.is_empty() {
            continue;
        }
        let kinds = list.iter().map(|one| {
            let (group, kind) =
                one.split_once('/').with_context(|| format!("{one:?}: expected GROUP/KIND"))?;
            anyhow::Ok(json!({"group": group, "kind": kind}))
        });
        spec[field] = Value::Array(kinds.collect::<Result<_>>()?);
    }
    match flags.orphaned_resources {
        Some(true) if !spec["orphanedResources"].is_object() => {
            spec["orphanedResources"] = json!({"warn": true})
        }
        Some(false) => {
            if let Some(spec) = spec.as_object_mut() {
                spec.remove("orphanedResources");
            }
        }
        _ => {}
    }
    Ok(())
}

/// One entry as it is, several as their number.
fn counted(project: &Value, pointer: &str, one: impl Fn(&Value) -> String, what: &str) -> String {
    match array(project, pointer) {
        [] => "<none>".to_owned(),
        [entry] => one(entry),
        more => format!("{} {what}", more.len()),
    }
}

fn destination(entry: &Value) -> String {
    let server = text(entry, "/server");
    let server = if server.is_empty() { text(entry, "/name") } else { server };
    format!("{server},{}", text(entry, "/namespace"))
}

fn kind(entry: &Value) -> String {
    format!("{}/{}", text(entry, "/group"), text(entry, "/kind"))
}

fn word(entry: &Value) -> String {
    entry.as_str().unwrap_or_default().to_owned()
}

fn orphaned(project: &Value) -> &'static str {
    let orphaned = &project["spec"]["orphanedResources"];
    match (orphaned.is_object(), orphaned["warn"] == false) {
        (false, _) => "disabled",
        (true, true) => "enabled (no warning)",
        (true, false) => "enabled",
    }
}

fn table(projects: &[Value]) -> String {
    let mut table = Table::new(&[
        "NAME",
        "DESCRIPTION",
        "DESTINATIONS",
        "SOURCES",
        "CLUSTER-RESOURCE-WHITELIST",
        "NAMESPACE-RESOURCE-BLACKLIST",
        "SIGNATURE-KEYS",
        "ORPHANED-RESOURCES",
    ]);
    for one in projects {
        table.row([
            meta::name(one).to_owned(),
            text(one, "/spec/description").to_owned(),
            counted(one, "/spec/destinations", destination, "destinations"),
            counted(one, "/spec/sourceRepos", word, "repos"),
            counted(one, "/spec/clusterResourceWhitelist", kind, "resources"),
            counted(one, "/spec/namespaceResourceBlacklist", kind, "resources"),
            counted(one, "/spec/signatureKeys", |key| text(key, "/keyID").to_owned(), "key(s)"),
            orphaned(one).to_owned(),
        ]);
    }
    table.to_string()
}

fn summary(project: &Value) -> String {
    let mut table = Table::plain();
    table.row(["Name:", meta::name(project)]);
    table.row(["Description:", text(project, "/spec/description")]);
    type Shown = fn(&Value) -> String;
    let lists: [(&str, &str, Shown); 7] = [
        ("Destinations", "/spec/destinations", destination),
        ("Repositories", "/spec/sourceRepos", word),
        ("Source Namespaces", "/spec/sourceNamespaces", word),
        ("Allowed Cluster Resources", "/spec/clusterResourceWhitelist", kind),
        ("Denied Cluster Resources", "/spec/clusterResourceBlacklist", kind),
        ("Allowed Namespaced Resources", "/spec/namespaceResourceWhitelist", kind),
        ("Denied Namespaced Resources", "/spec/namespaceResourceBlacklist", kind),
    ];
    for (name, pointer, one) in lists {
        let entries = array(project, pointer);
        if entries.is_empty() {
            table.row([format!("{name}:"), "<none>".to_owned()]);
        }
        for (at, entry) in entries.iter().enumerate() {
            let name = if at == 0 { format!("{name}:") } else { String::new() };
            table.row([name, one(entry)]);
        }
    }
    table.row(["Orphaned Resources:", orphaned(project)]);
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_a_project() {
        let mut project = json!({"spec": {}});
        let flags = ProjectFlags {
            sources: vec!["https://git.example.org/*".to_owned()],
            destinations: vec!["https://kubernetes.default.svc,team-*".to_owned()],
            allow_cluster: vec!["/Namespace".to_owned()],
            orphaned_resources: Some(true),
            ..ProjectFlags::default()
        };
        set(&mut project, &flags).unwrap();
        assert_eq!(
            project["spec"],
            json!({
                "sourceRepos": ["https://git.example.org/*"],
                "destinations": [{"server": "https://kubernetes.default.svc", "namespace": "team-*"}],
                "clusterResourceWhitelist": [{"group": "", "kind": "Namespace"}],
                "orphanedResources": {"warn": true},
            })
        );
        assert!(table(&[project.clone()]).contains("https://kubernetes.default.svc,team-*"));
        assert!(push(&mut project["spec"]["sourceRepos"], json!("https://git.example.org/*")).is_err());
        assert!(remove(&mut project, "sourceRepos", |entry| entry == "x").is_err());
        let wrong = ProjectFlags { destinations: vec!["x".to_owned()], ..ProjectFlags::default() };
        assert!(set(&mut project, &wrong).unwrap_err().to_string().contains("SERVER,NAMESPACE"));
    }
}
