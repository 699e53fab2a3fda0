//! Getting a container's image, with the kubelet's Events.

use client::chain;
use images::{Image, PullPolicy};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use registry::Keyring;

use super::start::StartJob;
use crate::env::{Reference, secret};
use crate::observed::Waiting;
use crate::pod;

impl StartJob {
    /// The image, or why the container has to wait for it.
    pub(super) async fn image(&self) -> Result<(Image, String), Waiting> {
        let name = self.container.image.as_deref().unwrap_or_default();
        let reference = registry::Reference::parse(name).map_err(|error| {
            let message = format!("Failed to apply default image tag \"{name}\": {}", chain(&error));
            self.failed("InspectFailed", message.clone());
            waiting("InvalidImageName", message)
        })?;
        let policy = policy(&self.container, &reference);
        let present = self.shared.runtime().image(&reference).await;
        if let Some(image) = present.filter(|_| policy != PullPolicy::Always) {
            self.normal("Pulled", format!("Container image \"{name}\" already present on machine"));
            let id = image_id(&reference, &image);
            return Ok((image, id));
        }
        if policy != PullPolicy::Never {
            self.normal("Pulling", format!("Pulling image \"{name}\""));
        }
        let began = self.shared.now();
        let keyring = self.keyring().await;
        match self.shared.runtime().ensure_image(&reference, policy, &keyring).await {
            Ok(image) => {
                self.pulled(name, &reference, began).await;
                let id = image_id(&reference, &image);
                Ok((image, id))
            }
            Err(error) => {
                let (reason, text) = (error.reason(), chain(&error));
                if reason == "ErrImagePull" {
                    self.failed("Failed", format!("Failed to pull image \"{name}\": {text}"));
                }
                self.failed("Failed", format!("Error: {reason}"));
                Err(waiting(reason, text))
            }
        }
    }

    async fn pulled(&self, name: &str, reference: &registry::Reference, began: Timestamp) {
        let took = self.shared.now().duration_since(began).as_millis();
        let took =
            if took < 1000 { format!("{took}ms") } else { format!("{}.{:03}s", took / 1000, took % 1000) };
        let mut message =
            format!("Successfully pulled image \"{name}\" in {took} ({took} including waiting).");
        if let Some(size) = self.shared.runtime().image_size(reference).await {
            message.push_str(&format!(" Image size: {size} bytes."));
        }
        self.normal("Pulled", message);
    }

    /// What the Pod's pull secrets offer. A missing one is no failure: the image may be public.
    async fn keyring(&self) -> Keyring {
        let mut keyring = Keyring::default();
        for reference in pull_secrets(&self.pod) {
            let name = &reference.name;
            let contents = self.shared.contents(&self.id.namespace, &reference).await.ok().flatten();
            let parsed = contents.and_then(|contents| {
                let new =
                    contents.data.get(".dockerconfigjson").map(|data| Keyring::from_docker_config_json(data));
                new.or_else(|| contents.data.get(".dockercfg").map(|data| Keyring::from_dockercfg(data)))
            });
            match parsed {
                Some(Ok(more)) => keyring.extend(more),
                Some(Err(error)) => {
                    let message = format!("Unable to use image pull secret {name}: {error}");
                    self.failed("FailedToRetrieveImagePullSecret", message);
                }
                None => {
                    let message = format!(
                        "Unable to retrieve some image pull secrets ({name}); attempting to pull the image may not succeed."
                    );
                    self.failed("FailedToRetrieveImagePullSecret", message);
                }
            }
        }
        keyring
    }
}

/// The Secrets that may open the Pod's images.
pub(super) fn pull_secrets(pod: &Pod) -> Vec<Reference> {
    pod::spec(pod).image_pull_secrets.iter().flatten().map(|named| secret(&named.name)).collect()
}

fn policy(container: &Container, reference: &registry::Reference) -> PullPolicy {
    match container.image_pull_policy.as_deref() {
        Some("Always") => PullPolicy::Always,
        Some("Never") => PullPolicy::Never,
        Some("IfNotPresent") => PullPolicy::IfNotPresent,
        _ if reference.is_latest() => PullPolicy::Always,
        _ => PullPolicy::IfNotPresent,
    }
}

/// As `kubectl` shows it: the repository with the manifest's digest.
fn image_id(reference: &registry::Reference, image: &Image) -> String {
    format!("{}/{}@{}", reference.host(), reference.repository(), image.manifest)
}

pub(super) fn waiting(reason: &str, message: String) -> Waiting {
    Waiting { reason: reason.to_owned(), message: Some(message), retry_at: None }
}
