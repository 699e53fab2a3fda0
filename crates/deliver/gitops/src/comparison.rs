//! Every resource of an application compared with the cluster, as far as anything moved since the last time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use client::{Api, Client, Key, ResourceType};
use futures::{FutureExt as _, StreamExt as _, stream};
use objects::{GroupVersionKind, Value, meta};
use sha2::{Digest, Sha256};
use sync::health::{self, Contribution};
use sync::hooks::finalizers_beside;
use sync::options::Deletion;
use sync::project::Project;
use sync::status::{self, ResourceStatus};
use sync::{Method, ResourceKey, Tracking, plan};

use crate::application::Application;
use crate::beside::ArgoSettings;
use crate::error::Error;
use crate::live::{Live, Sight, state_of};
use crate::metrics::{Count, Work};
use crate::reconcile::Site;
use crate::targets::{Target, Targets};

/// Reads at the same time for one application.
const PARALLEL_READS: usize = 8;

/// What is known of one resource.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    pub(crate) key: ResourceKey,
    pub(crate) version: String,
    pub(crate) status: ResourceStatus,
    pub(crate) contribution: Contribution,
    pub(crate) wave: Option<i64>,
    pub(crate) live: bool,
    pub(crate) needs_confirmation: bool,
    /// Another application that the live object's tracking id names.
    pub(crate) shared_with: Option<String>,
    pub(crate) images: BTreeSet<String>,
    pub(crate) urls: BTreeSet<String>,
}

/// The comparisons that still hold.
#[derive(Debug, Default)]
pub(crate) struct Comparisons {
    /// Of the rules they were made by.
    rules: [u8; 32],
    /// Which live objects count is the project's to say.
    project: Option<Arc<Project>>,
    by_key: BTreeMap<ResourceKey, Compared>,
}

#[derive(Debug)]
struct Compared {
    target: Option<[u8; 32]>,
    /// State of the live object; `None`: there was none.
    live: Option<String>,
    resource: Arc<Resource>,
}

/// What a comparison works with.
pub(crate) struct Comparing<'a> {
    pub(crate) client: &'a Client,
    pub(crate) resources: &'a client::Resources,
    pub(crate) live: &'a Live,
    pub(crate) work: &'a Work,
    pub(crate) site: &'a Site,
    pub(crate) application: &'a Application,
}

impl Comparisons {
    /// All resources of the application: those with a manifest, and those it tracks without one.
    pub(crate) async fn update(
        &mut self,
        context: &Comparing<'_>,
        targets: &Targets,
    ) -> Result<Vec<Arc<Resource>>, Error> {
        let rules = rules(context.application, &context.site.settings.tracking);
        let project = &context.site.project;
        let same_project = self.project.as_ref().is_some_and(|before| before == project);
        if self.rules != rules || !same_project {
            self.by_key.clear();
            self.rules = rules;
            self.project = Some(Arc::clone(project));
        }
        let wanted = targets.keys();
        let extra: BTreeSet<ResourceKey> = context
            .live
            .tracked(&context.application.instance)
            .into_iter()
            .filter(|key| !wanted.contains(key) && context.site.permits_live(key))
            .collect();
        self.by_key.retain(|key, _| wanted.contains(key) || extra.contains(key));
        let with_targets = targets.list.iter().map(|target| (target.key.clone(), Some(target)));
        let all = with_targets.chain(extra.into_iter().map(|key| (key, None)));
        let (mut held, mut moved) = (Vec::new(), Vec::new());
        for (key, target) in all {
            match self.holds(context.live, &key, target) {
                Some(resource) => {
                    context.work.add(Count::ComparisonCacheHit);
                    held.push(resource);
                }
                None => moved.push((key, target)),
            }
        }
        let moved: Vec<_> =
            moved.into_iter().map(|(key, target)| compare(context, key, target).boxed()).collect();
        let compared: Vec<_> = stream::iter(moved).buffer_unordered(PARALLEL_READS).collect().await;
        for result in compared {
            let Some((key, compared)) = result? else { continue };
            held.push(Arc::clone(&compared.resource));
            self.by_key.insert(key, compared);
        }
        held.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(held)
    }

    fn holds(&self, live: &Live, key: &ResourceKey, target: Option<&Target>) -> Option<Arc<Resource>> {
        let compared = self.by_key.get(key)?;
        let same_live = match (live.sight(key), &compared.live) {
            (Sight::At(now), Some(then)) => now == *then,
            (Sight::Unseen, None) => true,
            _ => false,
        };
        (same_live && compared.target == target.map(|target| target.hash))
            .then(|| Arc::clone(&compared.resource))
    }
}

/// Everything of a spec and of the settings that a comparison depends on.
fn rules(application: &Application, tracking: &Tracking) -> [u8; 32] {
    let rules = serde_json::json!([
        application.ignore_differences,
        application.sync_policy["syncOptions"],
        application.instance,
        format!("{tracking:?}"),
    ]);
    Sha256::digest(rules.to_string()).into()
}

/// `None` if an object without manifest is gone by now.
async fn compare(
    context: &Comparing<'_>,
    key: ResourceKey,
    target: Option<&Target>,
) -> Result<Option<(ResourceKey, Compared)>, Error> {
    // What is outside of the managed part of a cluster may not even be looked at there.
    let outside = context.site.place.refuses(&key.kind, &key.namespace, &key.name).is_some();
    let live = match target {
        _ if outside => None,
        Some(target) => match &target.resource {
            Some(resource) => read(context.client, resource, &key).await?,
            None => None,
        },
        None => match context.resources.preferred(&key.group, &key.kind).await {
            Ok(served) => read(context.client, &served.resource, &key).await?,
            Err(error) if error.is_unknown_kind() => None,
            Err(error) => return Err(error.into()),
        },
    };
    match &live {
        Some(live) => context.live.observed(&context.application.key(), &key, live),
        None => context.live.missed(&key),
    }
    let seen = live.as_ref().map(state_of);
    let live = live.filter(|_| context.site.permits_live(&key));
    if target.is_none() && live.is_none() {
        return Ok(None);
    }
    context.work.add(Count::Comparison);
    let state = seen;
    let manifest = target.map(Target::manifest);
    let resource = Arc::new(judged(
        context.application,
        &context.site.settings,
        &key,
        target,
        manifest.as_ref(),
        live.as_ref(),
    ));
    Ok(Some((key, Compared { target: target.map(|target| target.hash), live: state, resource })))
}

/// The live object of a key.
pub(crate) async fn read(
    client: &Client,
    resource: &ResourceType,
    key: &ResourceKey,
) -> Result<Option<Value>, client::Error> {
    let namespace = Some(key.namespace.as_str()).filter(|_| resource.namespaced);
    if key.name.is_empty() || (resource.namespaced && key.namespace.is_empty()) {
        return Ok(None);
    }
    Api::new(client, resource).find(&Key::new(namespace, &key.name)).await
}

fn judged(
    application: &Application,
    settings: &ArgoSettings,
    key: &ResourceKey,
    target: Option<&Target>,
    manifest: Option<&Value>,
    live: Option<&Value>,
) -> Resource {
    let this = ResourceKey::new("argoproj.io", "Application", &application.namespace, &application.name);
    let owner = live.and_then(|live| settings.tracking.owner(live));
    let status = match (manifest, live) {
        (Some(manifest), Some(live)) => {
            let method = if application.options.server_side_apply(manifest) {
                Method::ServerSide
            } else {
                Method::ClientSide
            };
            let settled = settled(&settings.tracking, manifest, live);
            let modified =
                sync::compare(manifest, settled.as_ref().unwrap_or(live), &application.ignore, method)
                    .modified;
            status::with_target(manifest, Some(modified))
        }
        (Some(manifest), None) => status::with_target(manifest, None),
        (None, Some(live)) => {
            status::without_target(live, owner.as_ref().is_some_and(|owner| owner.named(key)))
        }
        (None, None) => ResourceStatus { status: None, requires_pruning: false, hook: false, counts: false },
    };
    let health = live.and_then(|live| settings.checks.assess(live));
    let confirm = |live: &Value| {
        application.options.pruning(live) == Deletion::Confirm
            || application.options.deleting(live) == Deletion::Confirm
    };
    let tracked_by = owner.filter(|owner| owner.named(key)).map(|owner| owner.application);
    let described = manifest.or(live);
    let gvk = target.map(|target| target.gvk.clone()).or_else(|| live.and_then(GroupVersionKind::of));
    Resource {
        key: key.clone(),
        version: gvk.map(|gvk| gvk.version).unwrap_or_default(),
        contribution: health::contribution(manifest, live, health.as_ref(), &this),
        needs_confirmation: status.requires_pruning && live.is_some_and(confirm),
        status,
        wave: described.and_then(plan::reported_wave),
        live: live.is_some(),
        shared_with: tracked_by.filter(|name| target.is_some() && *name != application.instance),
        images: live.map(images).unwrap_or_default(),
        urls: live.map(urls).unwrap_or_default(),
    }
}

/// A live object as it is compared: without marks and finalizers of the controller's that its manifest has no word on.
/// `None` if that is how it is.
pub(crate) fn settled(tracking: &Tracking, manifest: &Value, live: &Value) -> Option<Value> {
    let settled = tracking.settled(manifest, live);
    let without = without_hooks(manifest, settled.as_ref().unwrap_or(live));
    without.or(settled)
}

/// A live Application without the finalizers of its hooks, where it has any that its manifest has not.
pub(crate) fn without_hooks(manifest: &Value, live: &Value) -> Option<Value> {
    let beside = finalizers_beside(manifest, live);
    if beside.is_empty() {
        return None;
    }
    let left: Vec<&str> = meta::finalizers(live).filter(|name| !beside.contains(name)).collect();
    let mut without = live.clone();
    meta::set(&mut without, "finalizers", if left.is_empty() { Value::Null } else { left.into() });
    Some(without)
}

/// The images of a workload's pods.
fn images(object: &Value) -> BTreeSet<String> {
    let pods = ["/spec/template/spec", "/spec/jobTemplate/spec/template/spec", "/spec"];
    let containers = pods.iter().filter_map(|pointer| object.pointer(pointer)).flat_map(|pod| {
        ["containers", "initContainers"].into_iter().filter_map(|field| pod[field].as_array()).flatten()
    });
    containers.filter_map(|container| container["image"].as_str()).map(str::to_owned).collect()
}

/// Where an Ingress can be opened.
fn urls(object: &Value) -> BTreeSet<String> {
    let mut urls = BTreeSet::new();
    if meta::kind(object) != "Ingress" {
        return urls;
    }
    let secure: BTreeSet<&str> = object["spec"]["tls"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|tls| tls["hosts"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    for rule in object["spec"]["rules"].as_array().into_iter().flatten() {
        let Some(host) = rule["host"].as_str().filter(|host| !host.is_empty() && !host.starts_with('*'))
        else {
            continue;
        };
        let scheme = if secure.contains(host) { "https" } else { "http" };
        let paths =
            rule["http"]["paths"].as_array().into_iter().flatten().filter_map(|path| path["path"].as_str());
        for path in paths {
            urls.insert(format!("{scheme}://{host}{}", path.trim_end_matches('*')));
        }
    }
    urls
}
