//! Deleting an Application with everything it manages, in reverse waves.

mod hooks;

use std::time::Duration;

use client::controller::Action;
use client::dynamic::{Patch, PatchOptions};
use client::{Api, Key, resource};
use objects::{Value, meta};
use serde_json::json;
use sync::hooks::HookType;
use sync::options::{Deletion, Propagation};
use sync::{ResourceKey, SyncOptions, plan};

use crate::apply;
use crate::clusters::Connection;
use crate::comparison::read;
use crate::error::Error;
use crate::reconcile::Shared;
pub(crate) use hooks::{Outcome, Part, Running, finalizers};

const FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";
/// How often a cascade looks again, besides when something it waits for moves.
const LOOK: Duration = Duration::from_secs(2);

/// Whether what the Application manages is deleted with it.
pub(crate) fn cascades(object: &Value) -> bool {
    cascade(object).is_some()
}

/// The propagation that the Application's finalizers ask for; `None` if it does not cascade.
fn cascade(object: &Value) -> Option<(&str, Propagation)> {
    meta::finalizers(object).find_map(|finalizer| {
        let kind = finalizer.strip_prefix(FINALIZER)?;
        let propagation = match kind {
            "" | "/foreground" => Propagation::Foreground,
            "/background" => Propagation::Background,
            _ => return None,
        };
        Some((finalizer, propagation))
    })
}

/// One look at an Application that is being deleted.
pub(crate) async fn pass(
    shared: &std::sync::Arc<Shared>,
    key: &Key,
    object: &Value,
) -> Result<Action, Error> {
    let Some((finalizer, propagation)) = cascade(object) else { return Ok(Action::Done) };
    let instance = &key.name;
    let Some(beside) = shared.beside.now() else { return Ok(Action::RequeueAfter(LOOK)) };
    let name = object["spec"]["project"].as_str().filter(|name| !name.is_empty()).unwrap_or("default");
    let Some(project) = beside.project(name) else {
        // What may be deleted is the project's to say; whoever brings it back goes on here.
        stuck(
            shared,
            key,
            object,
            &format!("error getting project: appproject.argoproj.io {name:?} not found"),
        )
        .await?;
        return Ok(Action::RequeueAfter(LOOK));
    };
    let (place, new) = match shared.clusters.resolve(&beside, &object["spec"]["destination"]).await {
        Ok(found) => found,
        Err(reason) => {
            give_up(shared, key, object, &reason).await?;
            return Ok(Action::Done);
        }
    };
    let cluster = &place.cluster;
    if new {
        shared.tend(cluster);
    }
    match cluster.connection() {
        Connection::Up => {}
        Connection::Unknown => return Ok(Action::RequeueAfter(LOOK)),
        Connection::Down(reason) => {
            stuck(shared, key, object, &format!("cluster {}: {reason}", cluster.server())).await?;
            return Ok(Action::RequeueAfter(LOOK));
        }
    }
    cluster.live.track(&beside.settings().tracking);
    let mut kinds = Shared::kinds_in_status(cluster, object).await?;
    if Part::CleanUp(HookType::PreDelete).is_due(object) {
        // What ran before the cascade goes with it, and no status lists it.
        kinds.extend([resource::JOBS, resource::PODS]);
    }
    if !cluster.live.follow(&kinds).await || !cluster.live.has_looked_around() {
        return Ok(Action::RequeueAfter(LOOK));
    }
    let this = ResourceKey::new("argoproj.io", "Application", key.namespace_str(), &key.name);
    let options = SyncOptions::from_value(&object["spec"]["syncPolicy"]["syncOptions"]);
    let mut remaining = Vec::new();
    let mut deleting = false;
    for tracked in cluster.live.tracked(instance) {
        if project.refuses(place.as_name(), &tracked, !tracked.namespace.is_empty()).is_some() {
            continue;
        }
        let served = match cluster.resources.preferred(&tracked.group, &tracked.kind).await {
            Ok(served) => served,
            Err(error) if error.is_unknown_kind() => continue,
            Err(error) => return Err(error.into()),
        };
        let Some(live) = read(&cluster.client, &served.resource, &tracked).await? else {
            cluster.live.missed(&tracked);
            continue;
        };
        let owner = beside.settings().tracking.owner(&live);
        let ours = owner.is_some_and(|owner| owner.application == *instance && owner.named(&tracked));
        if !ours || tracked == this || !may_delete(&options, object, &live) {
            continue;
        }
        deleting |= meta::is_deleting(&live);
        remaining.push((tracked, served.resource, live));
    }
    if remaining.is_empty() {
        finish(shared, key, object, finalizer).await?;
        return Ok(Action::Done);
    }
    if !deleting && let Some(wave) = plan::cascade_wave(remaining.iter().map(|(_, _, live)| live)) {
        for (tracked, resource, live) in
            remaining.iter().filter(|(_, _, live)| sync::order::wave(live) == wave)
        {
            apply::delete(&cluster.client, resource, tracked, live, propagation).await?;
        }
    }
    Ok(Action::RequeueAfter(LOOK))
}

/// What is to be done where the cluster of an Application that is being deleted is unknown or does not answer.
pub(crate) async fn without_cluster(
    shared: &std::sync::Arc<Shared>,
    key: &Key,
    object: &Value,
) -> Result<Option<Action>, Error> {
    let Some(beside) = shared.beside.now() else { return Ok(Some(Action::RequeueAfter(LOOK))) };
    match shared.clusters.resolve(&beside, &object["spec"]["destination"]).await {
        Ok((place, new)) => {
            if new {
                shared.tend(&place.cluster);
            }
            let Connection::Down(reason) = place.cluster.connection() else { return Ok(None) };
            stuck(shared, key, object, &format!("cluster {}: {reason}", place.cluster.server())).await?;
            Ok(Some(Action::RequeueAfter(LOOK)))
        }
        Err(reason) => {
            give_up(shared, key, object, &reason).await?;
            Ok(Some(Action::Done))
        }
    }
}

/// Lets an Application go whose cluster is unknown: nothing can be deleted or run there.
async fn give_up(shared: &Shared, key: &Key, object: &Value, reason: &str) -> Result<(), Error> {
    tracing::warn!(application = %key, reason, "its cluster is unknown: nothing is deleted there");
    let parts = Part::ALL.map(Part::finalizer);
    let is_ours = |finalizer: &str| parts.iter().any(|part| part == finalizer);
    let cascade = cascade(object).map(|(finalizer, _)| finalizer);
    let left = meta::finalizers(object).filter(|one| !is_ours(one) && cascade != Some(*one));
    let left: Vec<&str> = left.collect();
    let change = json!({"metadata": {"finalizers": left, "resourceVersion": meta::resource_version(object)}});
    let api = Api::new(&shared.client, &resource::APPLICATIONS);
    match api.patch(key, &Patch::Merge(change), &PatchOptions::default()).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn may_delete(options: &SyncOptions, application: &Value, live: &Value) -> bool {
    if meta::kind(live) == "CustomResourceDefinition" {
        return false;
    }
    match options.deleting(live) {
        Deletion::Yes => true,
        Deletion::No => false,
        Deletion::Confirm => {
            let time = |text: Option<&str>| text?.parse::<jiff::Timestamp>().ok();
            let approved = time(meta::annotation(application, sync::annotations::DELETION_APPROVED));
            let asked = time(meta::deletion_timestamp(application));
            matches!((approved, asked), (Some(approved), Some(asked)) if approved >= asked)
        }
    }
}

/// Says why an Application cannot be deleted.
pub(crate) async fn stuck(shared: &Shared, key: &Key, object: &Value, message: &str) -> Result<(), Error> {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let said = |condition: &Value| condition["type"] == "DeletionError" && condition["message"] == message;
    if conditions.iter().any(said) {
        return Ok(());
    }
    let mut conditions: Vec<Value> =
        conditions.into_iter().filter(|condition| condition["type"] != "DeletionError").collect();
    let now = meta::format_time(jiff::Timestamp::now());
    conditions.insert(0, json!({"type": "DeletionError", "message": message, "lastTransitionTime": now}));
    let change = Patch::Merge(json!({"status": {"conditions": conditions}}));
    let api = Api::new(&shared.client, &resource::APPLICATIONS);
    match api.patch(key, &change, &PatchOptions::manager(sync::FIELD_MANAGER)).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes one finalizer off.
pub(crate) async fn finish(shared: &Shared, key: &Key, object: &Value, finalizer: &str) -> Result<(), Error> {
    let Some(at) = meta::finalizers(object).position(|found| found == finalizer) else { return Ok(()) };
    let path = format!("/metadata/finalizers/{at}");
    let operations = json!([
        {"op": "test", "path": path, "value": finalizer},
        {"op": "remove", "path": path},
    ]);
    let api = Api::new(&shared.client, &resource::APPLICATIONS);
    match api.patch(key, &Patch::Json(operations), &PatchOptions::default()).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}
