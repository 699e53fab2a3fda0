//! `app actions`: what Argo CD's bundled actions do with workloads, Jobs and Rollouts.

use anyhow::{Context, Result, bail};
use client::Key;
use client::dynamic::{Patch, PatchOptions};
use client::resource;
use objects::{Value, meta};
use serde_json::json;

use super::change::resources;
use super::live::{self, Live};
use crate::cli::{ActionsCommand, ActionsList, ActionsRun, Format};
use crate::remote::Remote;
use crate::remote::output::{Machine, machine, say};
use crate::remote::table::Table;

const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";

pub(super) async fn run(remote: &Remote, command: &ActionsCommand) -> Result<()> {
    match command {
        ActionsCommand::List(list) => self::list(remote, list).await,
        ActionsCommand::Run(run) => self::act(remote, run).await,
    }
}

/// The actions for an object as it is, each with whether it would do anything now.
fn available(object: &Value) -> Vec<(&'static str, bool)> {
    let group = object["apiVersion"]
        .as_str()
        .and_then(|version| version.split_once('/'))
        .map_or("", |(group, _)| group);
    let spec = &object["spec"];
    let paused = spec["paused"] == true;
    match (group, meta::kind(object)) {
        ("apps", "Deployment") => {
            vec![("pause", !paused), ("restart", true), ("resume", paused), ("scale", true)]
        }
        ("apps", "StatefulSet") => vec![("restart", true), ("scale", true)],
        ("apps", "DaemonSet") => vec![("restart", true)],
        ("batch", "CronJob") => {
            let suspended = spec["suspend"] == true;
            vec![("create-job", true), ("resume", suspended), ("suspend", !suspended)]
        }
        ("batch", "Job") => {
            let suspended = spec["suspend"] == true;
            vec![("resume", suspended), ("suspend", !suspended)]
        }
        ("argoproj.io", "Rollout") => {
            let status = &object["status"];
            let waits = status["pauseConditions"].as_array().is_some_and(|list| !list.is_empty());
            let aborted = status["abort"] == true;
            let under_way =
                !status["currentPodHash"].is_null() && status["currentPodHash"] != status["stableRS"];
            let stepwise = spec["strategy"]["canary"].is_object() && !aborted && under_way;
            vec![
                ("abort", under_way && !aborted),
                ("pause", !paused),
                ("promote-full", under_way),
                ("restart", true),
                ("resume", paused || waits),
                ("retry", aborted),
                ("skip-current-step", stepwise),
            ]
        }
        _ => Vec::new(),
    }
}

async fn list(remote: &Remote, args: &ActionsList) -> Result<()> {
    let application = remote.application(&args.name).await?;
    let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    let chosen = |live: &Live| {
        is(&args.kind, &live.key.kind)
            && is(&args.group, &live.key.group)
            && is(&args.namespace, &live.key.namespace)
            && is(&args.resource_name, &live.key.name)
    };
    let mut rows = Vec::new();
    for live in live::read(remote, &application).await? {
        if let Some(object) = live.object.as_ref().filter(|_| chosen(&live)) {
            rows.extend(
                available(object).into_iter().map(|(action, enabled)| (live.key.clone(), action, enabled)),
            );
        }
    }
    let value = || -> Value {
        rows.iter()
            .map(|(key, action, enabled)| {
                json!({"group": key.group, "kind": key.kind, "namespace": key.namespace, "name": key.name,
                    "action": action, "disabled": !enabled})
            })
            .collect()
    };
    match args.output {
        Format::Json => machine(&value(), Machine::Json),
        Format::Yaml => machine(&value(), Machine::Yaml),
        Format::Name => say(&rows.iter().map(|(_, action, _)| format!("{action}\n")).collect::<String>()),
        Format::Wide => {
            let mut table = Table::new(&["GROUP", "KIND", "NAME", "ACTION", "DISABLED"]);
            for (key, action, enabled) in &rows {
                let disabled = if *enabled { "false" } else { "true" };
                table.row([key.group.as_str(), &key.kind, &key.name, action, disabled]);
            }
            say(&table.to_string())
        }
    }
}

/// What an action writes.
#[derive(Debug, PartialEq)]
enum Write {
    Object(Value),
    Status(Value),
    NewJob(Value),
}

async fn act(remote: &Remote, args: &ActionsRun) -> Result<()> {
    let now = meta::format_time(jiff::Timestamp::now());
    for key in resources(remote, &args.resource).await? {
        let Some(object) = live::object(remote, &key).await? else { bail!("{key} is not there") };
        let write = written(&object, &args.action, &args.param, &now)?;
        let served = remote.resources.preferred(&key.group, &key.kind).await?;
        let api = remote.api(&served.resource);
        let place = Key::of(&object);
        match write {
            Write::Object(patch) => {
                api.patch(&place, &Patch::Merge(patch), &PatchOptions::manager("mainstay")).await?;
            }
            Write::Status(status) => {
                api.patch_status(&place, status).await?;
            }
            Write::NewJob(job) => {
                remote.api(&resource::JOBS).create(&job).await?;
            }
        }
        say(&format!("{key}: {}\n", args.action))?;
    }
    Ok(())
}

fn written(object: &Value, action: &str, params: &[(String, String)], now: &str) -> Result<Write> {
    let known = available(object);
    if !known.iter().any(|(name, _)| *name == action) {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        bail!("{} has no action {action:?}; it has: {}", meta::kind(object), names.join(", "));
    }
    let kind = meta::kind(object);
    Ok(match (kind, action) {
        ("Rollout", "restart") => Write::Object(json!({"spec": {"restartAt": now}})),
        (_, "restart") => {
            Write::Object(json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED: now}}}}}))
        }
        (_, "scale") => {
            let replicas = params.iter().find(|(name, _)| name == "replicas");
            let (_, replicas) = replicas.context("scale takes --param replicas=N")?;
            let replicas: u32 =
                replicas.parse().with_context(|| format!("replicas {replicas:?} is no number"))?;
            Write::Object(json!({"spec": {"replicas": replicas}}))
        }
        ("CronJob" | "Job", "suspend") => Write::Object(json!({"spec": {"suspend": true}})),
        ("CronJob" | "Job", "resume") => Write::Object(json!({"spec": {"suspend": false}})),
        ("CronJob", "create-job") => Write::NewJob(job(object, now)),
        ("Rollout", "resume") if object["spec"]["paused"] != true => {
            Write::Status(json!({"pauseConditions": null}))
        }
        (_, "pause") => Write::Object(json!({"spec": {"paused": true}})),
        (_, "resume") => Write::Object(json!({"spec": {"paused": false}})),
        ("Rollout", "abort") => Write::Status(json!({"abort": true})),
        ("Rollout", "retry") => Write::Status(json!({"abort": false})),
        ("Rollout", "promote-full") => Write::Status(json!({"promoteFull": true})),
        ("Rollout", "skip-current-step") => {
            let next = object["status"]["currentStepIndex"].as_i64().unwrap_or(0) + 1;
            Write::Status(json!({"currentStepIndex": next}))
        }
        _ => bail!("{kind} has no action {action:?}"),
    })
}

/// The Job that a CronJob makes when its time comes, named after the moment.
fn job(cron: &Value, now: &str) -> Value {
    let digits: String = now.chars().filter(char::is_ascii_digit).collect();
    let name: String = meta::name(cron).chars().take(63 - digits.len() - 1).collect();
    let template = &cron["spec"]["jobTemplate"];
    let mut annotations = template["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    annotations.insert("cronjob.kubernetes.io/instantiate".to_owned(), json!("manual"));
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": format!("{name}-{digits}"), "namespace": meta::namespace(cron),
            "labels": template["metadata"]["labels"], "annotations": annotations,
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "CronJob", "name": meta::name(cron), "uid": meta::uid(cron),
                "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": template["spec"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    #[test]
    fn actions_write_what_argo_cds_write() {
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {}});
        let act = |action: &str, params: &[(String, String)]| written(&deployment, action, params, NOW);
        assert_eq!(
            act("restart", &[]).unwrap(),
            Write::Object(json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED: NOW}}}}}))
        );
        let three = [("replicas".to_owned(), "3".to_owned())];
        assert_eq!(act("scale", &three).unwrap(), Write::Object(json!({"spec": {"replicas": 3}})));
        assert!(act("scale", &[]).unwrap_err().to_string().contains("replicas=N"));
        assert!(act("abort", &[]).unwrap_err().to_string().contains("pause, restart, resume, scale"));
        let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": {"strategy": {"canary": {}}},
            "status": {"currentPodHash": "b", "stableRS": "a", "currentStepIndex": 2, "pauseConditions": [{}]}});
        assert_eq!(
            written(&rollout, "resume", &[], NOW).unwrap(),
            Write::Status(json!({"pauseConditions": null}))
        );
        assert_eq!(
            written(&rollout, "skip-current-step", &[], NOW).unwrap(),
            Write::Status(json!({"currentStepIndex": 3}))
        );
        assert!(available(&json!({"apiVersion": "v1", "kind": "Service"})).is_empty());
    }

    #[test]
    fn a_job_of_a_cron_job_is_named_after_the_moment() {
        let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "n".repeat(60), "namespace": "shop", "uid": "u"},
            "spec": {"jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"backoffLimit": 1}}}});
        let job = job(&cron, NOW);
        assert_eq!(meta::name(&job).len(), 63);
        assert!(meta::name(&job).ends_with("-20260101000000"));
        assert_eq!(job["spec"], json!({"backoffLimit": 1}));
    }
}
