//! A look around a cluster at the start: which kinds an Application has objects of, whatever its status says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use client::backoff::Backoff;
use client::dynamic::ListOptions;
use client::{Api, Error, ResourceType, Resources};

use super::{GroupKind, Live};

/// Objects of one answer where kinds are looked through.
const PAGE: u32 = 500;
/// Looking through them is tried again after this long, and ever longer.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

impl Live {
    /// Looks once through everything that is served for objects that carry the mark of an Application, and watches the
    /// kinds of those. A status names the kinds of its objects, but whoever was cut off between the creation of the
    /// first one of a kind and the write of the status leaves one that nobody knows of.
    pub(crate) async fn look_around(self: &Arc<Self>, resources: &Resources) {
        let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
        let mut seen = BTreeSet::new();
        while let Err(error) = self.look_through(resources, &mut seen).await {
            tracing::debug!(error = client::chain(&error), "cannot look for marked objects; trying on");
            tokio::time::sleep(backoff.next_wait()).await;
        }
        self.looked_around.store(true, Ordering::Release);
    }

    /// Waits until objects are marked otherwise than before, and the look has to be taken again.
    pub(crate) async fn retracked(&self) {
        self.retracked.notified().await;
    }

    /// Whether every marked object that was there at the start is known.
    pub(crate) fn has_looked_around(&self) -> bool {
        self.looked_around.load(Ordering::Acquire)
    }

    async fn look_through(
        self: &Arc<Self>,
        resources: &Resources,
        seen: &mut BTreeSet<GroupKind>,
    ) -> Result<(), Error> {
        let catalog = resources.catalog().await?;
        for served in catalog.preferred_types() {
            let kind = &served.resource;
            let name = (kind.group.clone().into_owned(), kind.kind.clone().into_owned());
            // Events are many and nobody's manifests.
            let passed_over = !served.can("list") || !served.can("watch") || kind.kind == "Event";
            if passed_over || seen.contains(&name) || self.state().kinds.contains_key(&name) {
                continue;
            }
            for namespace in self.scope.watches(kind) {
                if self.has_marked(kind, namespace.as_deref()).await? {
                    self.follow(std::slice::from_ref(kind)).await;
                    break;
                }
            }
            seen.insert(name);
        }
        Ok(())
    }

    /// Whether an object of a kind carries the mark of an Application. A kind that went away, or that nobody may list,
    /// has none.
    async fn has_marked(&self, kind: &ResourceType, namespace: Option<&str>) -> Result<bool, Error> {
        let tracking = self.tracking();
        let api = Api::new(&self.client, kind);
        let mut options = ListOptions { metadata_only: true, limit: Some(PAGE), ..ListOptions::all() };
        loop {
            let page = match api.list(namespace, &options).await {
                Ok(page) => page,
                Err(error) if error.is_not_found() || error.is_forbidden() => return Ok(false),
                Err(error) => return Err(error),
            };
            if page.items.iter().any(|object| tracking.owner(object).is_some()) {
                return Ok(true);
            }
            match page.continue_token {
                Some(token) => options.continue_token = Some(token),
                None => return Ok(false),
            }
        }
    }
}
