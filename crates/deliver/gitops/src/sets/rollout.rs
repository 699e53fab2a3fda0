//! Rolling syncs of a set: who syncs now, and who is deleted first.

use std::time::Duration;

use applicationsets::{Generated, rolling, status};
use client::controller::Action;
use client::dynamic::{Patch, PatchOptions};
use objects::{Value, meta};
use serde_json::json;

use super::Pass;
use super::apply::FINALIZER;
use crate::error::Error;

/// How often a deletion in reverse looks whether a step is gone, besides when one of its Applications moves.
const LOOK: Duration = Duration::from_secs(2);

/// What came of it.
pub(super) enum Rolled {
    /// The Applications as a rolling set writes them; none if it is no such set.
    Out(Vec<Value>),
    /// The steps are wrong, and the status says so: nothing is written.
    Wrong,
}

impl Pass<'_> {
    /// Looks how far the rollout is, and lets those go on whose turn it is. The status is written before they are, so
    /// that a sync is never asked for twice.
    pub(super) async fn roll_out(
        &self,
        report: &mut status::Report,
        generated: &Generated,
        valid: &[&Value],
        owned: &[Value],
    ) -> Result<Rolled, Error> {
        if !report.rolling {
            return Ok(Rolled::Out(Vec::new()));
        }
        let rollout = match rolling::advance(self.set, owned, &generated.applications, self.now) {
            Ok(rollout) => rollout,
            Err(message) => {
                report.error = Some(("ApplicationSetRolloutError".to_owned(), message));
                self.write(report, None).await?;
                return Ok(Rolled::Wrong);
            }
        };
        let settled = valid.iter().map(|application| {
            let mut application = (*application).clone();
            rolling::settle(&mut application, &rollout);
            application
        });
        let settled = settled.collect();
        report.rollout = Some(rollout);
        self.hold_until_deleted().await?;
        self.write(report, None).await?;
        Ok(Rolled::Out(settled))
    }

    /// Has the deletion of the set wait for that of its Applications, where they go one step after another.
    async fn hold_until_deleted(&self) -> Result<(), Error> {
        if !rolling::deletes_in_reverse(self.set) || meta::finalizers(self.set).any(|one| one == FINALIZER) {
            return Ok(());
        }
        let mut finalizers: Vec<&str> = meta::finalizers(self.set).collect();
        finalizers.push(FINALIZER);
        let change = json!({"metadata": {
            "finalizers": finalizers, "resourceVersion": meta::resource_version(self.set),
        }});
        match self.api.patch(self.key, &Patch::Merge(change), &PatchOptions::default()).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the Applications of the last step that has any; `None` once none of a step is left.
    pub(super) async fn delete_in_reverse(&self) -> Result<Option<Action>, Error> {
        if !rolling::deletes_in_reverse(self.set) {
            return Ok(None);
        }
        let owned = self.owned().await?;
        let next = rolling::next_to_delete(self.set, &owned);
        if next.is_empty() {
            return Ok(None);
        }
        for application in next {
            self.delete_application(application).await?;
        }
        Ok(Some(Action::RequeueAfter(LOOK)))
    }
}
