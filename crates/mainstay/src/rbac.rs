//! `mainstay rbac`: what the policy of `argocd-rbac-cm` permits, and what is wrong with it.

use std::path::Path;
use std::process::ExitCode;

use access::{Answer, Effect, Policy, Request, Rule, Severity};
use anyhow::{Context, Result, bail};
use client::dynamic::ListOptions;
use client::{Key, resource};
use objects::Value;

use crate::cli::{Can, Rbac, RbacCommand, Validate};
use crate::environment::Environment;
use crate::remote::output::say;
use crate::remote::{NO, Remote};

/// Argo CD's policy.
const CONFIG_MAP: &str = "argocd-rbac-cm";

pub(crate) async fn run(typed: Rbac, environment: &Environment) -> Result<ExitCode> {
    match &typed.command {
        RbacCommand::Can(can) => self::can(&typed, can, environment).await,
        RbacCommand::Validate(validate) => self::validate(&typed, validate, environment).await,
    }
}

async fn can(typed: &Rbac, can: &Can, environment: &Environment) -> Result<ExitCode> {
    let resource = access::resource_named(&can.resource);
    if can.strict {
        access::understood(resource, &can.action)?;
    }
    // As upstream: nothing named is any of them.
    let any = can.object.is_empty() || can.object == "*";
    let object = if any && access::is_project_scoped(resource) { "*/*" } else { &can.object };
    let base = if can.use_builtin_policy { Policy::builtin() } else { Policy::default() };
    let mut policy = match &can.policy_file {
        Some(file) => from_file(base, file)?,
        None => {
            let remote = Remote::connect(&typed.connect, environment).await?;
            let policy = from_cluster(base, &remote).await?;
            // What the roles of a project permit counts where the request is about the project.
            match object.split_once('/').map_or("", |(project, _)| project) {
                "" | "*" => policy,
                name => match remote
                    .api(&resource::APP_PROJECTS)
                    .find(&Key::namespaced(&remote.namespace, name))
                    .await?
                {
                    Some(project) => policy.with_project(&project),
                    None => policy,
                },
            }
        }
    };
    if let Some(role) = &can.default_role {
        policy = policy.with_default_role(role);
    }
    let request = Request { subject: &can.subject, resource, action: &can.action, object };
    let answer = policy.answer(request);
    if let Answer::Broken(fault) = &answer {
        bail!("the policy cannot be used: {fault}");
    }
    if !can.quiet {
        let mut text = if answer.is_allowed() { "Yes\n".to_owned() } else { "No\n".to_owned() };
        if can.explain {
            text.push_str(&explained(&answer));
        }
        say(&text)?;
    }
    Ok(if answer.is_allowed() { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

fn explained(answer: &Answer) -> String {
    match answer {
        Answer::Allowed { by } | Answer::Denied { by: Some(by) } => format!("by {}\n", line(by)),
        Answer::Denied { by: None } | Answer::Broken(_) => "no line permits it\n".to_owned(),
    }
}

fn line(rule: &Rule) -> String {
    let effect = match rule.effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
        Effect::Neither => "",
    };
    let Rule { subject, resource, action, object, .. } = rule;
    format!("p, {subject}, {resource}, {action}, {object}, {effect}")
}

async fn validate(typed: &Rbac, validate: &Validate, environment: &Environment) -> Result<ExitCode> {
    let policy = match &validate.policy_file {
        Some(file) => from_file(Policy::default(), file)?,
        None => {
            let remote = Remote::connect(&typed.connect, environment).await?;
            let mut policy = from_cluster(Policy::default(), &remote).await?;
            let projects = remote.api(&resource::APP_PROJECTS);
            for project in projects.list_all(Some(&remote.namespace), &ListOptions::all()).await?.items {
                policy = policy.with_project(&project);
            }
            policy
        }
    };
    let mut text = String::new();
    let mut usable = true;
    for fault in policy.faults() {
        let leads_to = match fault.severity {
            Severity::Refused => "the policy is refused as a whole",
            Severity::DeniesAll => "everything is denied",
            Severity::Idle => "it has no effect",
        };
        usable &= fault.severity == Severity::Idle;
        text.push_str(&format!("{fault} ({leads_to})\n"));
    }
    text.push_str(if usable { "Policy is valid.\n" } else { "Policy is invalid.\n" });
    say(&text)?;
    Ok(if usable { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

async fn from_cluster(base: Policy, remote: &Remote) -> Result<Policy> {
    let key = Key::namespaced(&remote.namespace, CONFIG_MAP);
    match remote.api(&resource::CONFIG_MAPS).find(&key).await? {
        Some(map) => Ok(base.with_config_map(&map)),
        None => bail!("there is no ConfigMap {key}; name a file with --policy-file"),
    }
}

/// A ConfigMap, or else the lines themselves.
fn from_file(base: Policy, file: &Path) -> Result<Policy> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    match yaml::from_str(&text) {
        Ok(map @ Value::Object(_)) if map["kind"] == "ConfigMap" || map["data"].is_object() => {
            Ok(base.with_config_map(&map))
        }
        _ => Ok(base.with_text(&name, &text)),
    }
}
