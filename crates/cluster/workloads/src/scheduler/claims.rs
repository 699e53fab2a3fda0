//! The claims of a Pod: bound ones restrict the node, unbound ones wait for it or for their binding.

use client::dynamic::{Patch, PatchOptions};
use client::resource::{PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES};
use client::{Api, Client, Error, Key};
use objects::meta;
use serde_json::{Value, json};

use crate::volume::{SELECTED_NODE, waits_for_consumer};

pub(super) struct Claims {
    claims: Api,
    volumes: Api,
    classes: Api,
}

/// What a Pod's claims come to.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The node selector terms of the volumes that are bound.
    pub(super) volumes: Vec<Value>,
    /// Claims that want to know the node first.
    pub(super) unbound: Vec<Value>,
}

impl Claims {
    pub(super) fn new(client: &Client) -> Claims {
        Claims {
            claims: Api::new(client, &PERSISTENT_VOLUME_CLAIMS),
            volumes: Api::new(client, &PERSISTENT_VOLUMES),
            classes: Api::new(client, &STORAGE_CLASSES),
        }
    }

    /// The claims of a Pod, or the reason why it cannot be placed at all because of one.
    pub(super) async fn of_pod(&self, pod: &Value) -> Result<Result<Found, String>, Error> {
        let mut found = Found::default();
        for name in claim_names(pod) {
            let key = Key::new(meta::namespace(pod), &name);
            let Some(claim) = self.claims.find(&key).await? else {
                return Ok(Err(format!("persistentvolumeclaim \"{name}\" not found")));
            };
            if meta::is_deleting(&claim) {
                return Ok(Err(format!("persistentvolumeclaim \"{name}\" is being deleted")));
            }
            let volume = claim["spec"]["volumeName"].as_str().unwrap_or("");
            if volume.is_empty() || claim["status"]["phase"] != "Bound" {
                if !self.waits(&claim).await? {
                    return Ok(Err("pod has unbound immediate PersistentVolumeClaims".to_owned()));
                }
                found.unbound.push(claim);
                continue;
            }
            let volume = self.volumes.find(&Key::cluster(volume)).await?.unwrap_or_default();
            let terms = &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"];
            if !terms.is_null() {
                found.volumes.push(terms.clone());
            }
        }
        Ok(Ok(found))
    }

    async fn waits(&self, claim: &Value) -> Result<bool, Error> {
        let Some(class) = claim["spec"]["storageClassName"].as_str().filter(|class| !class.is_empty()) else {
            return Ok(false);
        };
        let class = self.classes.find(&Key::cluster(class)).await?;
        Ok(class.is_some_and(|class| waits_for_consumer(&class)))
    }

    pub(super) async fn select_node(&self, claim: &Value, node: &str) -> Result<(), Error> {
        if meta::annotation(claim, SELECTED_NODE) == Some(node) {
            return Ok(());
        }
        let patch = Patch::Merge(json!({ "metadata": {
            "uid": meta::uid(claim), "annotations": { SELECTED_NODE: node } } }));
        self.claims.patch(&Key::of(claim), &patch, &PatchOptions::default()).await?;
        Ok(())
    }
}

/// Claims by name, and those that generic ephemeral volumes make.
fn claim_names(pod: &Value) -> Vec<String> {
    let volumes = pod["spec"]["volumes"].as_array();
    volumes
        .into_iter()
        .flatten()
        .filter_map(|volume| {
            if let Some(name) = volume["persistentVolumeClaim"]["claimName"].as_str() {
                return Some(name.to_owned());
            }
            let name = volume["name"].as_str()?;
            volume["ephemeral"].is_object().then(|| format!("{}-{name}", meta::name(pod)))
        })
        .collect()
}
