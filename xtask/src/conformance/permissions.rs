//! Whether an installation's service account may do more than it ever does: what the tests had it do is in the audit log
//! of the real API server, and what it may do is in the manifests. That it may not do less is told by the tests, which fail
//! when it is refused anything.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process;

/// Who acts.
const ACCOUNT: &str = "system:serviceaccount:mainstay:mainstay";
/// Where its own business is; elsewhere it deploys.
const OWN: [&str; 3] = ["", "argocd", "mainstay"];
/// What repositories may deploy is not told by what the tests deploy.
const DEPLOY: &str = "mainstay-deploy";

/// Rights that no request shows: the admission plugin OwnerReferencesPermissionEnforcement, which some distributions turn
/// on, wants this one of whoever makes an Application that its set waits for.
const SILENT: [&str; 1] = ["update argoproj.io/applicationsets/finalizers"];

/// `VERB GROUP/RESOURCE`.
type Right = String;

/// Compares both.
pub(super) fn all_used(root: &Path, log: &Path) -> Result<()> {
    let used = used(log)?;
    let granted = granted(root)?;
    let idle: Vec<&Right> =
        granted.difference(&used).filter(|right| !SILENT.contains(&right.as_str())).collect();
    println!("permissions: {} granted, {} of them used", granted.len(), granted.intersection(&used).count());
    if idle.is_empty() {
        return Ok(());
    }
    let list: Vec<&str> = idle.into_iter().map(String::as_str).collect();
    bail!("granted and never used:\n  {}", list.join("\n  "))
}

fn used(log: &Path) -> Result<BTreeSet<Right>> {
    let text = fs::read_to_string(log).with_context(|| format!("read {}", log.display()))?;
    let mut used = BTreeSet::new();
    for line in text.lines() {
        let event: Value =
            serde_json::from_str(line).with_context(|| format!("parse a line of {}", log.display()))?;
        let what = &event["objectRef"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        // What belongs to no object is discovery, which everybody may do.
        // A namespace is in itself, as the log has it.
        let namespace = if what["resource"] == "namespaces" {
            ""
        } else {
            what["namespace"].as_str().unwrap_or_default()
        };
        if event["user"]["username"] != ACCOUNT || !what.is_object() || !OWN.contains(&namespace) {
            continue;
        }
        let mut resource = text(&what["resource"]);
        if let Some(subresource) = what["subresource"].as_str() {
            resource = format!("{resource}/{subresource}");
        }
        used.insert(right(&text(&event["verb"]), &text(&what["apiGroup"]), &resource));
    }
    Ok(used)
}

fn right(verb: &str, group: &str, resource: &str) -> Right {
    format!("{verb} {group}/{resource}")
}

/// What the roles of the manifests say, those for deploying left out.
fn granted(root: &Path) -> Result<BTreeSet<Right>> {
    let mut command = Command::new("cargo");
    command.current_dir(root).args(["run", "--quiet", "--package", "mainstay", "--"]);
    let text =
        process::output(command.args(["install", "--image", "localhost/mainstay:1", "--output", "json"]))?;
    let list: Value = serde_json::from_str(&text).context("parse the manifests")?;
    let mut granted = BTreeSet::new();
    for object in list["items"].as_array().context("the manifests are a list")? {
        if object["metadata"]["name"] == DEPLOY {
            continue;
        }
        for rule in object["rules"].as_array().into_iter().flatten() {
            let texts = |field: &str| {
                let list = rule[field].as_array().cloned().unwrap_or_default();
                list.into_iter().filter_map(|entry| entry.as_str().map(str::to_owned)).collect::<Vec<_>>()
            };
            for group in texts("apiGroups") {
                for resource in texts("resources") {
                    granted.extend(texts("verbs").iter().map(|verb| right(verb, &group, &resource)));
                }
            }
        }
    }
    Ok(granted)
}
