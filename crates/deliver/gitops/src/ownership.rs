//! Which Applications are this controller's, where another one may be at work.
//!
//! On the embedded cluster all are. On a cluster that has an Argo CD, only those are that were taken from it
//! ([`sync::takeover`]), and no ApplicationSet is. That an Argo CD was seen is noted in a ConfigMap, so that an upgrade
//! of Argo CD that deletes its StatefulSet for a moment, or scaling it down, hands nothing over: only a person's word
//! does ([`release_claim`]).

mod argocd;

use client::controller::BoxError;
use client::dynamic::ListOptions;
use client::{Api, Client, Key, ResourceType, resource};
use objects::Value;
use sync::takeover::{self, Stage};
use tokio::sync::{mpsc, watch as channel};
use tokio_util::sync::CancellationToken;

use crate::reconcile::Shared;

pub(crate) use argocd::noted;
pub use argocd::{ArgoCd, NOTE, argo_cd, follow_argo_cd, release_claim};

/// How long to wait where a list failed.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// What this controller may look after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Claim {
    /// Everything.
    #[default]
    All,
    /// Applications that were taken from Argo CD.
    Taken,
}

impl Claim {
    /// Whether it has an Application in it.
    pub(crate) fn covers(self, application: &Value) -> bool {
        match self {
            Claim::All => true,
            Claim::Taken => takeover::stage(application) == Stage::Taken,
        }
    }
}

/// What this controller may look after, which may change.
#[derive(Debug, Clone)]
pub struct Ownership(channel::Receiver<Claim>);

impl Default for Ownership {
    /// Everything, for ever.
    fn default() -> Self {
        Self(channel::channel(Claim::All).1)
    }
}

impl From<channel::Receiver<Claim>> for Ownership {
    fn from(claims: channel::Receiver<Claim>) -> Self {
        Self(claims)
    }
}

impl Ownership {
    pub(crate) fn now(&self) -> Claim {
        *self.0.borrow()
    }

    /// Whether an Application is this controller's.
    pub(crate) fn covers(&self, application: &Value) -> bool {
        self.now().covers(application)
    }
}

/// Looks at every Application anew when it becomes, or is no longer, this controller's.
pub(crate) async fn wake(shared: std::sync::Arc<Shared>, stop: CancellationToken) {
    let (kind, ownership) = (&resource::APPLICATIONS, &shared.settings.ownership);
    follow(&shared.client, kind, &shared.settings.namespace, ownership, &shared.triggers, &stop).await;
}

/// Sends the keys of all objects of a kind whenever the claim moves, until the end.
pub(crate) async fn follow(
    client: &Client,
    kind: &ResourceType,
    namespace: &str,
    ownership: &Ownership,
    triggers: &mpsc::Sender<Key>,
    stop: &CancellationToken,
) {
    let mut claims = ownership.0.clone();
    let moves = async {
        // The claim that never changes has no sender.
        while claims.changed().await.is_ok() {
            while let Err(error) = send_all(client, kind, namespace, triggers).await {
                tracing::warn!(error = %error, kind = %kind, "who is concerned by a change of hands cannot be listed");
                tokio::time::sleep(RETRY).await;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = moves => {}
    }
}

async fn send_all(
    client: &Client,
    kind: &ResourceType,
    namespace: &str,
    triggers: &mpsc::Sender<Key>,
) -> Result<(), BoxError> {
    let options = ListOptions { metadata_only: true, ..ListOptions::all() };
    for object in Api::new(client, kind).list_all(Some(namespace), &options).await?.items {
        triggers.send(Key::of(&object)).await?;
    }
    Ok(())
}
