//! Persistent volumes on the local disk.
//!
//! Claims of a class whose provisioner is [`PROVISIONER`] get a directory of this machine, as the local-path provisioner of k3s
//! does; static volumes of any class are bound by size, access mode and selector. A volume's directory goes with it if its
//! reclaim policy is `Delete`. Only directories that this controller named, directly below the configured one, are ever removed.
//!
//! The class `local-path` is made when there is no default class. It binds at once: there is one machine, so nothing is won by
//! waiting for a consumer, and a claim that is not used yet is not shown as unfinished.

mod bind;
mod disk;

use std::path::PathBuf;
use std::sync::Arc;

use client::controller::{Action, Controller};
use client::dynamic::{DeleteOptions, ListOptions, Patch, PatchOptions};
use client::events::Recorder;
use client::resource::{PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES};
use client::watch::WatchOptions;
use client::{Api, Client, Error, Key};
use objects::meta;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) const ACCOUNT: &str = "persistent-volume-binder";
/// The name that classes use to ask for local directories.
pub(crate) const PROVISIONER: &str = "rancher.io/local-path";
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

pub(crate) fn rules() -> Value {
    json!([
        { "apiGroups": [""], "resources": ["persistentvolumes"],
          "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"] },
        { "apiGroups": [""], "resources": ["persistentvolumes/status"], "verbs": ["patch", "update"] },
        { "apiGroups": [""], "resources": ["persistentvolumeclaims"],
          "verbs": ["get", "list", "patch", "update", "watch"] },
        { "apiGroups": [""], "resources": ["persistentvolumeclaims/status"], "verbs": ["patch", "update"] },
        { "apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"] },
        { "apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["create", "get", "list", "watch"] },
        { "apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch", "update"] },
    ])
}

/// Whether claims of this class are bound only when a Pod that uses them is placed.
pub(crate) fn waits_for_consumer(class: &Value) -> bool {
    class["volumeBindingMode"] == "WaitForFirstConsumer"
}

pub(crate) async fn run(client: Client, directory: PathBuf, node_name: String, shutdown: CancellationToken) {
    let this = Volumes {
        claims: Api::new(&client, &PERSISTENT_VOLUME_CLAIMS),
        volumes: Api::new(&client, &PERSISTENT_VOLUMES),
        classes: Api::new(&client, &STORAGE_CLASSES),
        pods: Api::new(&client, &PODS),
        recorder: Recorder::new(&client, "persistentvolume-controller"),
        directory: directory.into(),
        node_name: node_name.into(),
    };
    // A claim's key has a namespace, a volume's has none, and the empty name stands for the default class.
    Controller::new("volume", client)
        .primary(PERSISTENT_VOLUME_CLAIMS)
        .primary_with(PERSISTENT_VOLUMES, WatchOptions::default(), |volume| {
            let claim = &volume["spec"]["claimRef"];
            let claim = claim["name"].as_str().map(|name| Key::new(claim["namespace"].as_str(), name));
            [Some(Key::of(volume)), claim].into_iter().flatten().collect()
        })
        .watches(STORAGE_CLASSES, WatchOptions::metadata(), |_| vec![Key::cluster("")])
        .watches(PODS, WatchOptions::default(), |pod| {
            // Only a Pod's end matters, for claims that are protected while they are used.
            if crate::pods::is_finished(pod) || meta::is_deleting(pod) {
                used_claims(pod)
            } else {
                Vec::new()
            }
        })
        .triggers(crate::once(Key::cluster("")))
        .run(
            move |key| {
                let this = this.clone();
                async move { this.reconcile(&key).await }
            },
            shutdown,
        )
        .await;
}

fn used_claims(pod: &Value) -> Vec<Key> {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    volumes
        .filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
        .map(|name| Key::new(meta::namespace(pod), name))
        .collect()
}

#[derive(Clone)]
struct Volumes {
    claims: Api,
    volumes: Api,
    classes: Api,
    pods: Api,
    recorder: Recorder,
    directory: Arc<std::path::Path>,
    node_name: Arc<str>,
}

impl Volumes {
    async fn reconcile(&self, key: &Key) -> Result<Action, Error> {
        match (&key.namespace, key.name.as_str()) {
            (None, "") => self.ensure_class().await?,
            (None, _) => {
                if let Some(volume) = self.volumes.find(key).await? {
                    self.volume(volume).await?;
                }
            }
            (Some(_), _) => {
                if let Some(claim) = self.claims.find(key).await? {
                    self.claim(claim).await?;
                }
            }
        }
        Ok(Action::Done)
    }

    /// Makes the class `local-path` unless some class is the default.
    async fn ensure_class(&self) -> Result<(), Error> {
        let classes = self.classes.list(None, &ListOptions::all()).await?.items;
        let default = |class: &Value| meta::annotation(class, DEFAULT_CLASS) == Some("true");
        if classes.iter().any(|class| default(class) || meta::name(class) == "local-path") {
            return Ok(());
        }
        let class = json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": { "name": "local-path", "annotations": { DEFAULT_CLASS: "true" } },
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "Immediate",
        });
        match self.classes.create(&class).await {
            Err(error) if !error.is_already_exists() => Err(error),
            _ => Ok(()),
        }
    }

    async fn claim(&self, mut claim: Value) -> Result<(), Error> {
        if meta::is_deleting(&claim) {
            return self.release_claim(claim).await;
        }
        if meta::add_finalizer(&mut claim, CLAIM_PROTECTION) {
            claim = self.claims.replace(&claim).await?;
        }
        let named = claim["spec"]["volumeName"].as_str().unwrap_or("").to_owned();
        if !named.is_empty() {
            return match self.volumes.find(&Key::cluster(&named)).await? {
                Some(volume) if bind::may_take(&volume, &claim) => self.bind(volume, claim).await,
                Some(_) if meta::annotation(&claim, BIND_COMPLETED).is_some() => self.lose(&claim).await,
                None if meta::annotation(&claim, BIND_COMPLETED).is_some() => self.lose(&claim).await,
                _ => self.pend(&claim).await,
            };
        }
        let claim = self.with_default_class(claim).await?;
        let volumes = self.volumes.list_all(None, &ListOptions::all()).await?.items;
        let class = match claim["spec"]["storageClassName"].as_str().filter(|class| !class.is_empty()) {
            Some(class) => self.classes.find(&Key::cluster(class)).await?,
            None => None,
        };
        let selected = meta::annotation(&claim, SELECTED_NODE).is_some();
        if class.as_ref().is_some_and(waits_for_consumer) && !selected {
            let text = "waiting for first consumer to be created before binding";
            self.recorder.normal(&claim, "WaitForFirstConsumer", text).await;
            return self.pend(&claim).await;
        }
        if let Some(volume) = bind::best(&volumes, &claim) {
            return self.bind(volume.clone(), claim).await;
        }
        match class {
            Some(class) if class["provisioner"] == PROVISIONER => self.provision(claim, &class).await,
            Some(class) => {
                let provisioner = class["provisioner"].as_str().unwrap_or("");
                let text = format!(
                    "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by \
                     the system administrator. If volume creation is delayed, please verify that the provisioner is \
                     running and correctly registered."
                );
                self.recorder.normal(&claim, "ExternalProvisioning", &text).await;
                self.pend(&claim).await
            }
            None => {
                let text = match claim["spec"]["storageClassName"].as_str().filter(|class| !class.is_empty())
                {
                    Some(class) => format!("storageclass.storage.k8s.io \"{class}\" not found"),
                    None => "no persistent volumes available for this claim and no storage class is set"
                        .to_owned(),
                };
                let reason =
                    if text.starts_with("storageclass") { "ProvisioningFailed" } else { "FailedBinding" };
                self.recorder.warning(&claim, reason, &text).await;
                self.pend(&claim).await
            }
        }
    }

    /// A claim made before there was a default class gets it now. An empty name means "no class" and stays.
    async fn with_default_class(&self, mut claim: Value) -> Result<Value, Error> {
        if claim["spec"]["storageClassName"].is_string() {
            return Ok(claim);
        }
        let classes = self.classes.list(None, &ListOptions::all()).await?.items;
        let default = classes.iter().find(|class| meta::annotation(class, DEFAULT_CLASS) == Some("true"));
        let Some(default) = default else { return Ok(claim) };
        claim["spec"]["storageClassName"] = json!(meta::name(default));
        self.claims.replace(&claim).await
    }

    async fn provision(&self, claim: Value, class: &Value) -> Result<(), Error> {
        if let Some(problem) = bind::unsupported(&claim) {
            self.recorder.warning(&claim, "ProvisioningFailed", &problem).await;
            return self.pend(&claim).await;
        }
        let name = format!("pvc-{}", meta::uid(&claim));
        let path = disk::directory(&self.directory, &name, &claim);
        if let Err(error) = disk::make(path.clone()).await {
            let text = format!("failed to provision volume: {}", client::chain(&error));
            self.recorder.warning(&claim, "ProvisioningFailed", &text).await;
            return self.pend(&claim).await;
        }
        let volume = bind::volume(&name, &path, &claim, class, &self.node_name);
        let volume = match self.volumes.create(&volume).await {
            Err(error) if error.is_already_exists() => self.volumes.get(&Key::cluster(&name)).await?,
            created => {
                let text = format!("Successfully provisioned volume {name}");
                self.recorder.normal(&claim, "ProvisioningSucceeded", &text).await;
                created?
            }
        };
        self.bind(volume, claim).await
    }

    /// Writes both ends of the bond: the volume first, because its claimRef is what keeps others away.
    async fn bind(&self, mut volume: Value, mut claim: Value) -> Result<(), Error> {
        let reference = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "name": meta::name(&claim), "namespace": meta::namespace(&claim), "uid": meta::uid(&claim),
        });
        let mut changed = meta::add_finalizer(&mut volume, VOLUME_PROTECTION);
        if volume["spec"]["claimRef"]["uid"] != reference["uid"] {
            volume["spec"]["claimRef"] = reference;
            changed = true;
        }
        if changed {
            volume = self.volumes.replace(&volume).await?;
        }
        if volume["status"]["phase"] != "Bound" {
            let status = json!({ "phase": "Bound", "message": null, "reason": null });
            self.volumes.patch_status(&Key::of(&volume), status).await?;
        }
        if claim["spec"]["volumeName"] != meta::name(&volume)
            || meta::annotation(&claim, BIND_COMPLETED).is_none()
        {
            claim["spec"]["volumeName"] = json!(meta::name(&volume));
            meta::set_annotation(&mut claim, BIND_COMPLETED, Some("yes"));
            meta::set_annotation(&mut claim, "pv.kubernetes.io/bound-by-controller", Some("yes"));
            claim = self.claims.replace(&claim).await?;
        }
        let status = json!({
            "phase": "Bound",
            "accessModes": volume["spec"]["accessModes"],
            "capacity": { "storage": volume["spec"]["capacity"]["storage"] },
        });
        if bind::differs(&claim["status"], &status) {
            self.claims.patch_status(&Key::of(&claim), status).await?;
        }
        Ok(())
    }

    async fn pend(&self, claim: &Value) -> Result<(), Error> {
        if claim["status"]["phase"] != "Pending" {
            self.claims.patch_status(&Key::of(claim), json!({ "phase": "Pending" })).await?;
        }
        Ok(())
    }

    async fn lose(&self, claim: &Value) -> Result<(), Error> {
        if claim["status"]["phase"] != "Lost" {
            self.claims.patch_status(&Key::of(claim), json!({ "phase": "Lost" })).await?;
            let text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
            self.recorder.warning(claim, "ClaimLost", text).await;
        }
        Ok(())
    }

    /// Lets a deleted claim go once no Pod that still runs uses it.
    async fn release_claim(&self, mut claim: Value) -> Result<(), Error> {
        let key = Key::of(&claim);
        let pods = self.pods.list_all(meta::namespace(&claim), &ListOptions::all()).await?.items;
        let used = pods.iter().any(|pod| !crate::pods::is_finished(pod) && used_claims(pod).contains(&key));
        if !used && meta::remove_finalizer(&mut claim, CLAIM_PROTECTION) {
            match self.claims.replace(&claim).await {
                Err(error) if error.is_not_found() => {}
                other => other.map(|_| ())?,
            }
        }
        // The volume has to notice; the claim's deletion brings no event of its own.
        if let Some(name) = claim["spec"]["volumeName"].as_str().filter(|name| !name.is_empty())
            && let Some(volume) = self.volumes.find(&Key::cluster(name)).await?
        {
            self.volume(volume).await?;
        }
        Ok(())
    }

    async fn volume(&self, mut volume: Value) -> Result<(), Error> {
        let claim = &volume["spec"]["claimRef"];
        let Some(claim_name) = claim["name"].as_str() else {
            return self.phase(&volume, "Available").await;
        };
        let claim_key = Key::new(claim["namespace"].as_str(), claim_name);
        let claim_uid = claim["uid"].as_str().unwrap_or("").to_owned();
        let owner = self.claims.find(&claim_key).await?;
        let bound = owner.as_ref().is_some_and(|owner| claim_uid.is_empty() || meta::uid(owner) == claim_uid);
        if bound || claim_uid.is_empty() {
            if claim_uid.is_empty() && volume["status"]["phase"].as_str().is_none_or(|p| p == "Pending") {
                return self.phase(&volume, "Available").await;
            }
            return Ok(());
        }
        if volume["spec"]["persistentVolumeReclaimPolicy"] != "Delete" {
            self.phase(&volume, "Released").await?;
            return self.unprotect(&mut volume).await;
        }
        if meta::annotation(&volume, PROVISIONED_BY) == Some(PROVISIONER) {
            self.phase(&volume, "Released").await?;
            if let Err(error) = disk::remove(&self.directory, &volume).await {
                let text = client::chain(&error);
                self.recorder.warning(&volume, "VolumeFailedDelete", &text).await;
                return self.phase(&volume, "Failed").await;
            }
            let options = DeleteOptions::default().only(meta::uid(&volume));
            self.volumes.delete_if_exists(&Key::of(&volume), &options).await?;
            return self.unprotect(&mut volume).await;
        }
        let text = "error getting deleter volume plugin: no volume plugin matched";
        self.recorder.warning(&volume, "VolumeFailedDelete", text).await;
        self.phase(&volume, "Failed").await
    }

    async fn phase(&self, volume: &Value, phase: &str) -> Result<(), Error> {
        if volume["status"]["phase"] != phase {
            self.volumes.patch_status(&Key::of(volume), json!({ "phase": phase })).await?;
        }
        Ok(())
    }

    async fn unprotect(&self, volume: &mut Value) -> Result<(), Error> {
        if !meta::remove_finalizer(volume, VOLUME_PROTECTION) {
            return Ok(());
        }
        let finalizers: Vec<&str> = meta::finalizers(volume).collect();
        let patch =
            Patch::Merge(json!({ "metadata": { "uid": meta::uid(volume), "finalizers": finalizers } }));
        match self.volumes.patch(&Key::of(volume), &patch, &PatchOptions::default()).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }
}
