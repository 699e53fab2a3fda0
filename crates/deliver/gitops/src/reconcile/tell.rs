//! What a pass tells others: in the status, in an Event, and by taking off the wish for a refresh.

use client::dynamic::{Patch, PatchOptions};
use objects::{Value, meta};
use serde_json::json;
use sync::annotations;

use super::Pass;
use super::memory::Unwritten;
use crate::application::Application;
use crate::error::Error;
use crate::metrics::Count;
use crate::operation::OperationPhase;
use crate::status::{self, Findings};

impl Pass<'_> {
    /// Writes the status if it says something new, with what operations came to.
    pub(super) async fn write(
        &mut self,
        application: Option<&Application>,
        mut findings: Findings,
    ) -> Result<(), Error> {
        let mut unwritten = self.memory.unwritten.clone();
        let deployed = unwritten.deployed.len();
        // What a person asked to be terminated is not said to run on.
        let runs_on = self.is_terminating()
            && unwritten.operation.as_ref().is_some_and(|state| state["phase"] == "Running");
        let held_back = unwritten.operation.take_if(|_| runs_on);
        findings.operation = unwritten.operation;
        findings.deployed = unwritten.deployed;
        findings.told_before = unwritten.tried;
        let written = self.write_status(application, findings).await;
        match written {
            Ok(()) if application.is_some() => {
                self.memory.unwritten = Unwritten { operation: held_back, ..Unwritten::default() };
            }
            // The history is written once the spec is valid again.
            Ok(()) => self.memory.unwritten.operation = held_back,
            // It may have been written all the same.
            Err(_) => self.memory.unwritten.tried = deployed,
        }
        written
    }

    async fn write_status(
        &mut self,
        application: Option<&Application>,
        findings: Findings,
    ) -> Result<(), Error> {
        let old = &self.object["status"];
        let asked = &self.object["operation"];
        let ended = findings.operation.as_ref().is_some_and(|state| state["phase"] != "Running");
        let operation_done =
            asked.is_object() && self.memory.taken(asked) && ended && self.memory.operation.is_none();
        let looked = findings.refreshed || old["reconciledAt"].is_null();
        let new = status::build(old, application, findings, &self.shared.settings.namespace, self.now);
        self.work.says(self.object, &new);
        let news = status::news(old, &new);
        let told = news == json!({}) || self.memory.unkept.as_ref() == Some(&news);
        if told && !looked && !operation_done {
            return Ok(());
        }
        let mut change = json!({"status": news});
        if !told || looked {
            change["status"]["reconciledAt"] = meta::format_time(self.now).into();
        }
        if operation_done {
            change["operation"] = Value::Null;
        }
        self.work.add(Count::StatusWrite);
        match self
            .api
            .patch(self.key, &Patch::Merge(change), &PatchOptions::manager(sync::FIELD_MANAGER))
            .await
        {
            Ok(answer) => {
                let left = status::news(&answer["status"], &new);
                if left == json!({}) {
                    self.memory.unkept = None;
                } else if left == news {
                    self.memory.unkept = Some(left);
                }
                if operation_done {
                    // The same may be asked for again before the next look.
                    self.memory.forget_request();
                }
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Says in an Event how the operation went.
    pub(super) async fn tell(&mut self) {
        let Some((phase, message, revision)) = self.memory.ended.take() else { return };
        match phase {
            OperationPhase::Succeeded => {
                let text = format!("Sync operation to {revision} succeeded");
                self.shared.events.normal(self.object, "OperationCompleted", &text).await;
            }
            OperationPhase::Running | OperationPhase::Failed | OperationPhase::Error => {
                let text = format!("Sync operation to {revision} failed: {message}");
                self.shared.events.warning(self.object, "OperationCompleted", &text).await;
            }
        }
    }

    /// Takes the refresh annotation off, unless somebody asked again meanwhile.
    pub(super) async fn clear_refresh(&self, seen: Option<&str>) -> Result<(), Error> {
        let Some(seen) = seen else { return Ok(()) };
        let path = format!("/metadata/annotations/{}", annotations::REFRESH.replace('/', "~1"));
        let operations = json!([{"op": "test", "path": path, "value": seen}, {"op": "remove", "path": path}]);
        match self.api.patch(self.key, &Patch::Json(operations), &PatchOptions::default()).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() || error.is_invalid() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
