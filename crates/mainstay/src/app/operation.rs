//! Placing an operation on an Application, and following it to its end.

use std::time::Duration;

use anyhow::{Result, bail};
use client::Key;
use client::dynamic::{Patch, PatchOptions};
use objects::{Value, meta};
use serde_json::json;

use super::wait::{self, Check, Outcome, runs};
use crate::remote::Remote;
use crate::remote::output::text;

/// How often a write is tried anew because somebody else was faster.
const ATTEMPTS: usize = 5;

/// Asks for an operation, unless one is under way. As in Argo CD, the state of the one before is cleared, so that what
/// the status tells from now on is told of this one.
pub(super) async fn place(
    remote: &Remote,
    key: &Key,
    operation: impl Fn(&Value) -> Result<Value>,
) -> Result<()> {
    let api = remote.applications();
    for _ in 0..ATTEMPTS {
        let Some(application) = api.find(key).await? else { bail!("there is no Application {key}") };
        if application["operation"].is_object() || runs(&application["status"]["operationState"]) {
            bail!(
                "application {key}: another operation is already in progress; `mainstay app terminate-op {}` ends it",
                key.name
            );
        }
        if meta::is_deleting(&application) {
            bail!("application {key} is being deleted");
        }
        let mut change = json!({
            "metadata": {"resourceVersion": meta::resource_version(&application)},
            "operation": operation(&application)?,
        });
        if application["status"]["operationState"].is_object() {
            change["status"] = json!({"operationState": null});
        }
        match api.patch(key, &Patch::Merge(change), &PatchOptions::manager("mainstay")).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("application {key} changes faster than an operation can be placed on it")
}

/// Follows operations that were placed to their ends.
pub(super) async fn follow(remote: &Remote, keys: &[Key], limit: Duration) -> Vec<Outcome> {
    wait::until(remote, keys, limit, ended).await
}

fn ended(application: Option<&Value>) -> Check {
    let Some(application) = application else { return Check::Never("it was deleted meanwhile".to_owned()) };
    let state = &application["status"]["operationState"];
    let message = text(state, "/message");
    if application["operation"].is_object() && state.is_null() {
        return Check::Waiting(
            "no controller has taken the operation up; is `mainstay up` (or Argo CD) running?".to_owned(),
        );
    }
    match text(state, "/phase") {
        "Succeeded" => Check::Done,
        "Failed" | "Error" => {
            Check::Never(format!("Operation has completed with phase: {}: {message}", text(state, "/phase")))
        }
        _ => Check::Waiting(if message.is_empty() { "it runs".to_owned() } else { message.to_owned() }),
    }
}

/// Asks the controller to end the operation under way.
pub(super) async fn terminate(remote: &Remote, name: &str) -> Result<()> {
    let application = remote.application(name).await?;
    let key = Key::of(&application);
    if !runs(&application["status"]["operationState"]) {
        bail!("application {key}: no operation is in progress");
    }
    let change = json!({
        "metadata": {"resourceVersion": meta::resource_version(&application)},
        "status": {"operationState": {"phase": "Terminating"}},
    });
    match remote.applications().patch(&key, &Patch::Merge(change), &PatchOptions::manager("mainstay")).await {
        Err(error) if error.is_conflict() => bail!("application {key} has just changed: try again"),
        result => result?,
    };
    crate::remote::output::say(&format!("application {key}: its operation is being terminated\n"))
}
