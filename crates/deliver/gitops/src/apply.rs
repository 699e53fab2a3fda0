//! One manifest written to the cluster, as `kubectl apply` would.

use std::time::Duration;

use client::dynamic::{DeleteOptions, Patch, PatchOptions, Propagation, WriteOptions};
use client::{Api, Client, Key, ResourceType};
use objects::{GroupVersionKind, Value, kinds, meta, patch};
use sync::annotations::LAST_APPLIED;
use sync::compare::{last_applied, respecting_ignored, without_status};
use sync::hooks::finalizers_beside;
use sync::options::{self, SyncOptions};
use sync::{FIELD_MANAGER, IgnoreRules, Method, ResourceKey};

use crate::comparison::{read, without_hooks};
use crate::secrets;

/// The name under which `kubectl apply` without `--server-side` writes.
const CLIENT_SIDE_MANAGER: &str = "kubectl-client-side-apply";
/// A patch that met a change is computed again this often.
const ATTEMPTS: usize = 4;

/// What an apply works with.
#[derive(Clone, Copy)]
pub(crate) struct Applying<'a> {
    pub(crate) client: &'a Client,
    pub(crate) resources: &'a client::Resources,
    pub(crate) options: &'a SyncOptions,
    pub(crate) ignore: &'a IgnoreRules,
    /// Whether the operation asks for deleting and creating what cannot be changed.
    pub(crate) force: bool,
    /// Whether the server is only asked what would come of it.
    pub(crate) dry_run: bool,
}

/// A manifest that is in the cluster now.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) live: Value,
    /// `deployment.apps/web configured`.
    pub(crate) message: String,
    /// Whether anything was sent.
    pub(crate) changed: bool,
}

/// Why a manifest is not in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotApplied {
    /// Its namespace or kind is missing: this resource waits, nothing else does.
    Deferred(Missing),
    Failed(String),
}

/// What has to appear first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) message: String,
    pub(crate) what: Absent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Absent {
    Namespace(String),
    Kind(GroupVersionKind),
}

impl From<client::Error> for NotApplied {
    fn from(error: client::Error) -> Self {
        Self::Failed(error.message())
    }
}

impl NotApplied {
    fn without_secrets(self, objects: [Option<&Value>; 2]) -> Self {
        let masked = |message| secrets::masked(message, objects.into_iter().flatten());
        match self {
            Self::Failed(message) => Self::Failed(masked(message)),
            Self::Deferred(missing) => {
                Self::Deferred(Missing { message: masked(missing.message), what: missing.what })
            }
        }
    }
}

/// Applies a manifest.
pub(crate) async fn apply(
    applying: Applying<'_>,
    key: &ResourceKey,
    manifest: &Value,
) -> Result<Applied, NotApplied> {
    let gvk = GroupVersionKind::of(manifest)
        .ok_or_else(|| NotApplied::Failed("apiVersion or kind is missing or malformed".to_owned()))?;
    let resource = match applying.resources.resolve(&gvk).await {
        Ok(resource) => resource,
        Err(error) if error.is_unknown_kind() => return Err(NotApplied::Deferred(unknown_kind(&gvk, key))),
        Err(error) => return Err(error.into()),
    };
    let api = Api::new(applying.client, &resource);
    let mut attempt = 0;
    loop {
        attempt += 1;
        let live = read(applying.client, &resource, key).await?;
        let before = live.clone().filter(secrets::is_secret);
        let one = One { applying, api: &api, resource: &resource, gvk: &gvk, key };
        match one.apply(manifest, live).await {
            Err(error) if (error.is_conflict() || error.is_already_exists()) && attempt < ATTEMPTS => {}
            Err(error) => {
                let refused = one.refused(&error).await;
                return Err(refused.without_secrets([Some(manifest), before.as_ref()]));
            }
            Ok(applied) => return Ok(applied),
        }
    }
}

fn unknown_kind(gvk: &GroupVersionKind, key: &ResourceKey) -> Missing {
    let kind = if gvk.group.is_empty() { gvk.kind.clone() } else { format!("{}/{}", gvk.group, gvk.kind) };
    let message = format!(
        "The Kubernetes API could not find {kind} for requested resource {}/{}. Make sure the \"{}\" CRD is installed \
         on the destination cluster.",
        key.namespace, key.name, gvk.kind
    );
    Missing { message, what: Absent::Kind(gvk.clone()) }
}

/// What kubectl adds to what it would have done.
pub(crate) const DRY_RUN: &str = " (dry run)";

/// How long an object that is replaced by force may take to go: its finalizers may need some time.
const RECREATE_WAIT: Duration = Duration::from_secs(30);

struct One<'a> {
    applying: Applying<'a>,
    api: &'a Api,
    resource: &'a ResourceType,
    gvk: &'a GroupVersionKind,
    key: &'a ResourceKey,
}

impl One<'_> {
    fn name(&self) -> Key {
        Key::new(Some(self.key.namespace.as_str()).filter(|_| self.resource.namespaced), &self.key.name)
    }

    fn done(&self, live: Value, verb: &str) -> Applied {
        let kind = self.gvk.kind.to_lowercase();
        let kind = if self.gvk.group.is_empty() { kind } else { format!("{kind}.{}", self.gvk.group) };
        let changed = verb != "unchanged";
        let note = if self.applying.dry_run { DRY_RUN } else { "" };
        Applied { live, message: format!("{kind}/{} {verb}{note}", self.key.name), changed }
    }

    fn writing(&self) -> WriteOptions {
        WriteOptions { dry_run: self.applying.dry_run, ..WriteOptions::manager(FIELD_MANAGER) }
    }

    fn patching(&self) -> PatchOptions {
        PatchOptions { dry_run: self.applying.dry_run, ..PatchOptions::manager(FIELD_MANAGER) }
    }

    async fn apply(&self, manifest: &Value, live: Option<Value>) -> Result<Applied, client::Error> {
        let options = self.applying.options;
        let mut target = without_status(manifest.clone());
        if let Some(live) = &live {
            if options.respect_ignore_differences() {
                target = respecting_ignored(&target, live, self.applying.ignore);
            }
            if self.gvk.kind == "ClusterRole" && !target["aggregationRule"].is_null() {
                // The controller that aggregates owns the rules.
                target.as_object_mut().map(|role| role.remove("rules"));
            }
        }
        let force = self.applying.force || SyncOptions::force(&target, live.as_ref());
        let result = if options.replace(&target, live.as_ref()) {
            self.replace(&target, live.as_ref(), force).await
        } else if options.server_side_apply(&target) {
            self.server_side(&target, live.as_ref()).await
        } else {
            self.client_side(&target, live.as_ref()).await
        };
        match (result, live) {
            (Err(error), Some(live)) if force && error.is_invalid() => self.recreate(&target, &live).await,
            (result, _) => result,
        }
    }

    async fn client_side(&self, target: &Value, live: Option<&Value>) -> Result<Applied, client::Error> {
        let mut modified = recorded(target);
        for finalizer in live.map(|live| finalizers_beside(target, live)).unwrap_or_default() {
            // The list is written as a whole.
            meta::add_finalizer(&mut modified, finalizer);
        }
        let Some(live) = live else {
            let created = self.api.create_with(&modified, &self.writing()).await?;
            return Ok(self.done(created, "created"));
        };
        let original = last_applied(live);
        if original.as_ref() == Some(target) && !self.differs(target, live, Method::ClientSide) {
            return Ok(self.done(live.clone(), "unchanged"));
        }
        let patch = patch::three_way(original.as_ref(), &modified, live, self.gvk)
            .unwrap_or_else(|_| patch::merge_diff(live, &modified));
        if patch.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(self.done(live.clone(), "unchanged"));
        }
        let patch = if kinds::is_builtin(self.gvk) { Patch::Strategic(patch) } else { Patch::Merge(patch) };
        let patched = self.api.patch(&self.name(), &patch, &self.patching()).await?;
        Ok(self.done_if_moved(patched, live, "configured"))
    }

    fn done_if_moved(&self, now: Value, before: &Value, verb: &str) -> Applied {
        let same = meta::resource_version(&now) == meta::resource_version(before);
        self.done(now, if same { "unchanged" } else { verb })
    }

    fn differs(&self, target: &Value, live: &Value, method: Method) -> bool {
        let without = without_hooks(target, live);
        sync::compare(target, without.as_ref().unwrap_or(live), &IgnoreRules::default(), method).modified
    }

    async fn server_side(&self, target: &Value, live: Option<&Value>) -> Result<Applied, client::Error> {
        if let Some(live) = live {
            if owns_by_apply(live) && !self.differs(target, live, Method::ServerSide) {
                return Ok(self.done(live.clone(), "unchanged"));
            }
            if !self.applying.dry_run {
                self.take_over(live).await?;
            }
        }
        let options = PatchOptions { force: true, ..self.patching() };
        let applied = self.api.patch(&self.name(), &Patch::Apply(target.clone()), &options).await?;
        Ok(match live {
            Some(live) => self.done_if_moved(applied, live, "serverside-applied"),
            None => self.done(applied, "serverside-applied"),
        })
    }

    /// Fields that `kubectl apply` wrote become ours, so that those the manifest drops are removed.
    async fn take_over(&self, live: &Value) -> Result<(), client::Error> {
        let entries = live["metadata"]["managedFields"].as_array();
        let is_theirs =
            |entry: &Value| entry["manager"] == CLIENT_SIDE_MANAGER && entry["operation"] == "Update";
        let Some(at) = entries.and_then(|entries| entries.iter().position(is_theirs)) else { return Ok(()) };
        if self.applying.options.has("ClientSideApplyMigration=false") || owns_by_apply(live) {
            return Ok(());
        }
        let entry = |field: &str| format!("/metadata/managedFields/{at}/{field}");
        let operations = serde_json::json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": meta::resource_version(live)},
            {"op": "replace", "path": entry("manager"), "value": FIELD_MANAGER},
            {"op": "replace", "path": entry("operation"), "value": "Apply"},
        ]);
        self.api.patch(&self.name(), &Patch::Json(operations), &PatchOptions::manager(FIELD_MANAGER)).await?;
        Ok(())
    }

    async fn replace(
        &self,
        target: &Value,
        live: Option<&Value>,
        force: bool,
    ) -> Result<Applied, client::Error> {
        let Some(live) = live else {
            let created = self.api.create_with(target, &self.writing()).await?;
            return Ok(self.done(created, "created"));
        };
        let in_place = matches!(self.gvk.kind.as_str(), "CustomResourceDefinition" | "Namespace");
        if force && !in_place {
            return self.recreate(target, live).await;
        }
        let mut target = target.clone();
        meta::set(&mut target, "resourceVersion", meta::resource_version(live).into());
        let replaced = self.api.replace_with(&target, &self.writing()).await?;
        Ok(self.done_if_moved(replaced, live, "replaced"))
    }

    /// Deletes the object as `kubectl replace --force` does, waits until it is gone, and creates it anew.
    async fn recreate(&self, target: &Value, live: &Value) -> Result<Applied, client::Error> {
        if self.applying.dry_run {
            return Ok(self.done(live.clone(), "replaced"));
        }
        let options =
            DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
        self.api.delete_if_exists(&self.name(), &options.only(meta::uid(live))).await?;
        let (client, name) = (self.applying.client, self.name());
        if let Err(still) = client::wait::gone(client, self.resource, &name, RECREATE_WAIT).await {
            let action = format!("replace {name}");
            return Err(client::Error::Request { action, problem: still.to_string() });
        }
        let created = self.api.create_with(&recorded(target), &WriteOptions::manager(FIELD_MANAGER)).await?;
        Ok(self.done(created, "replaced"))
    }

    /// A namespace that is missing, or about to be, defers the object; anything else is a failure.
    async fn refused(&self, error: &client::Error) -> NotApplied {
        let message = error.message();
        let namespace = &self.key.namespace;
        let missing = error.is_not_found()
            && error.status().is_some_and(|status| match &status.subject {
                Some((kind, _)) => kind == "namespaces",
                None => status.message.starts_with("namespaces "),
            });
        if !namespace.is_empty() && (missing || error.is_namespace_terminating()) {
            return NotApplied::Deferred(Missing { message, what: Absent::Namespace(namespace.clone()) });
        }
        if error.is_not_found() && error.status().is_some_and(|status| status.subject.is_none()) {
            // The type itself is gone: discovery was older than the server.
            self.applying.resources.invalidate();
            if let Err(error) = self.applying.resources.resolve(self.gvk).await
                && error.is_unknown_kind()
            {
                return NotApplied::Deferred(unknown_kind(self.gvk, self.key));
            }
        }
        NotApplied::Failed(message)
    }
}

/// The manifest with the record of itself that the next apply compares with.
fn recorded(target: &Value) -> Value {
    let mut original = target.clone();
    meta::set_annotation(&mut original, LAST_APPLIED, None);
    if meta::annotations(&original).is_none() {
        meta::metadata_mut(&mut original).insert("annotations".to_owned(), serde_json::json!({}));
    }
    let mut recorded = target.clone();
    meta::set_annotation(&mut recorded, LAST_APPLIED, Some(&format!("{original}\n")));
    recorded
}

fn owns_by_apply(live: &Value) -> bool {
    let entries = live["metadata"]["managedFields"].as_array();
    entries
        .into_iter()
        .flatten()
        .any(|entry| entry["manager"] == FIELD_MANAGER && entry["operation"] == "Apply")
}

/// Deletes an object that lost its manifest, or a hook that ran.
pub(crate) async fn delete(
    client: &Client,
    resource: &ResourceType,
    key: &ResourceKey,
    live: &Value,
    propagation: options::Propagation,
) -> Result<(), client::Error> {
    let propagation = match propagation {
        options::Propagation::Foreground => Propagation::Foreground,
        options::Propagation::Background => Propagation::Background,
        options::Propagation::Orphan => Propagation::Orphan,
    };
    let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
    let name = Key::new(Some(key.namespace.as_str()).filter(|_| resource.namespaced), &key.name);
    Api::new(client, resource).delete_if_exists(&name, &options.only(meta::uid(live))).await
}
