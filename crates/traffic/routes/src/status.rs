//! The address in the status of Ingresses, events about what they ask in vain, and the default class.

use client::controller::{Action, Controller};
use client::dynamic::ListOptions;
use client::events::Recorder;
use client::watch::WatchOptions;
use client::{Api, Client, Error, Key, resource};
use objects::meta;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::ingress::{Classes, class, problems};
use crate::{CONTROLLER, Config};

/// The key under which the class is reconciled: no Ingress is without a namespace.
const CLASS_KEY: &str = "ingress-class";

pub(crate) async fn run(config: &Config, shutdown: &CancellationToken) {
    let Config { client, class, address, .. } = config;
    let pass = Pass {
        ingresses: Api::new(client, &resource::INGRESSES),
        classes: Api::new(client, &resource::INGRESS_CLASSES),
        recorder: Recorder::new(client, "ingress-controller"),
        class: class.clone(),
        status: json!({ "loadBalancer": { "ingress": [{ "ip": address.to_string() }] } }),
    };
    let (keys, first) = tokio::sync::mpsc::channel(1);
    keys.try_send(Key::cluster(CLASS_KEY)).expect("the channel has room for one");
    drop(keys);
    Controller::new("ingress-status", Client::clone(client))
        .primary(resource::INGRESSES)
        .watches(resource::INGRESS_CLASSES, WatchOptions::metadata(), |_| vec![Key::cluster(CLASS_KEY)])
        .triggers(first)
        .concurrency(4)
        .run(
            move |key| {
                let pass = pass.clone();
                async move { pass.reconcile(&key).await }
            },
            shutdown.clone(),
        )
        .await;
}

#[derive(Clone)]
struct Pass {
    ingresses: Api,
    classes: Api,
    recorder: Recorder,
    class: String,
    /// The status of an Ingress that is served.
    status: Value,
}

impl Pass {
    async fn reconcile(&self, key: &Key) -> Result<Action, Error> {
        if key.namespace.is_none() {
            self.ensure_class().await?;
            // Any Ingress may be served, or not, by what a class now says.
            for ingress in self.ingresses.list_all(None, &ListOptions::all()).await?.items {
                self.settle(&ingress).await?;
            }
        } else if let Some(ingress) = self.ingresses.find(key).await? {
            self.settle(&ingress).await?;
        }
        Ok(Action::Done)
    }

    /// Publishes the address of an Ingress that is served.
    async fn settle(&self, ingress: &Value) -> Result<(), Error> {
        let shown = ingress.pointer("/status/loadBalancer/ingress");
        if meta::is_deleting(ingress)
            || shown == self.status.pointer("/loadBalancer/ingress")
            || !self.serves(ingress).await?
        {
            return Ok(());
        }
        match self.ingresses.patch_status(&Key::of(ingress), self.status.clone()).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        }
        // Said once for each Ingress: its status is written when it is new or was changed by somebody.
        for problem in problems(ingress) {
            self.recorder.warning(ingress, "Unsupported", &problem).await;
        }
        Ok(())
    }

    async fn serves(&self, ingress: &Value) -> Result<bool, Error> {
        let mut classes = Classes::default();
        for found in self.classes.list_all(None, &ListOptions::all()).await?.items {
            classes.insert(&found);
        }
        Ok(classes.serves(&class(ingress), &self.class))
    }

    /// Makes the class, as the default one, unless it is there; a present one is left as it is.
    async fn ensure_class(&self) -> Result<(), Error> {
        if self.classes.find(&Key::cluster(&self.class)).await?.is_some() {
            return Ok(());
        }
        let class = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": { "name": self.class, "annotations": { "ingressclass.kubernetes.io/is-default-class": "true" } },
            "spec": { "controller": CONTROLLER },
        });
        match self.classes.create(&class).await {
            Ok(_) => {
                tracing::info!(class = %self.class, "made the default ingress class");
                Ok(())
            }
            Err(error) if error.is_already_exists() => Ok(()),
            Err(error) => Err(error),
        }
    }
}
