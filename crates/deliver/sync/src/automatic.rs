//! Whether an application syncs by itself now.

use std::time::Duration;

use jiff::Timestamp;
use objects::Value;

use crate::schedule::heal_wait;
use crate::status::{ResourceStatus, SyncStatus};

/// `spec.syncPolicy.automated`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Automated {
    pub prune: bool,
    pub self_heal: bool,
    pub allow_empty: bool,
}

impl Automated {
    /// `None` if the application syncs only when told to.
    #[must_use]
    pub fn from_spec(spec: &Value) -> Option<Self> {
        let automated = spec.pointer("/syncPolicy/automated").filter(|automated| automated.is_object())?;
        let is = |field: &str| automated[field] == true;
        (automated["enabled"] != false).then(|| Self {
            prune: is("prune"),
            self_heal: is("selfHeal"),
            allow_empty: is("allowEmpty"),
        })
    }
}

/// How the last operation ended.
#[derive(Debug, Clone)]
pub struct LastSync<'a> {
    /// Whether it tried the revision and sources that are wanted now.
    pub same: bool,
    pub succeeded: bool,
    pub message: &'a str,
    pub finished: Option<Timestamp>,
    /// Attempts to heal this revision so far.
    pub heals: u32,
    /// Whether everything it failed on was missing a namespace or kind, at least one of which is there now.
    pub unblocked: bool,
}

/// What the decision depends on.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    pub automated: Automated,
    pub sync: SyncStatus,
    pub resources: &'a [ResourceStatus],
    pub last: Option<LastSync<'a>>,
    /// As shown in messages, several joined by a space.
    pub revision: &'a str,
    pub now: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Nothing,
    /// A sync of everything.
    Sync,
    /// A sync of the resources that are not Synced, being attempt number so-and-so.
    Heal {
        attempt: u32,
    },
    /// Nothing yet: decide again after this long.
    Later(Duration),
    /// Nothing, and a SyncError condition says why.
    Refused(String),
}

/// Decides after a comparison; the caller has made sure that no operation is under way and the application is not
/// being deleted.
#[must_use]
pub fn decide(situation: &Situation<'_>) -> Decision {
    let Situation { automated, resources, revision, .. } = situation;
    if situation.sync != SyncStatus::OutOfSync {
        return Decision::Nothing;
    }
    let differs =
        |resource: &&ResourceStatus| resource.status.is_some_and(|status| status != SyncStatus::Synced);
    if !automated.prune && resources.iter().filter(differs).all(|resource| resource.requires_pruning) {
        return Decision::Nothing;
    }
    let decision = match &situation.last {
        Some(last) if last.same => match again(situation, last) {
            Decision::Sync => Decision::Sync,
            Decision::Heal { attempt } => Decision::Heal { attempt },
            other => return other,
        },
        _ => Decision::Sync,
    };
    if automated.prune && !automated.allow_empty && resources.iter().all(|resource| resource.requires_pruning)
    {
        return Decision::Refused(format!(
            "Skipping sync attempt to [{revision}]: auto-sync will wipe out all resources"
        ));
    }
    decision
}

/// The revision was already tried.
fn again(situation: &Situation<'_>, last: &LastSync<'_>) -> Decision {
    if !last.succeeded {
        if last.unblocked {
            return Decision::Sync;
        }
        return Decision::Refused(format!(
            "Failed last sync attempt to [{}]: {}",
            situation.revision, last.message
        ));
    }
    if !situation.automated.self_heal {
        return Decision::Nothing;
    }
    let wait = heal_wait(last.heals);
    let since = last.finished.map_or(Duration::MAX, |finished| {
        Duration::try_from(situation.now.duration_since(finished)).unwrap_or(Duration::ZERO)
    });
    if since < wait {
        return Decision::Later(wait - since);
    }
    Decision::Heal { attempt: last.heals + 1 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resource(status: SyncStatus, requires_pruning: bool) -> ResourceStatus {
        ResourceStatus { status: Some(status), requires_pruning, hook: false, counts: true }
    }

    fn last(succeeded: bool, heals: u32, seconds_ago: i64) -> LastSync<'static> {
        let finished = Timestamp::from_second(1_000_000 - seconds_ago).ok();
        LastSync { same: true, succeeded, message: "boom", finished, heals, unblocked: false }
    }

    fn situation<'a>(resources: &'a [ResourceStatus], last: Option<LastSync<'a>>) -> Situation<'a> {
        Situation {
            automated: Automated { prune: true, self_heal: true, allow_empty: false },
            sync: of(resources),
            resources,
            last,
            revision: "abc",
            now: Timestamp::from_second(1_000_000).unwrap(),
        }
    }

    fn of(resources: &[ResourceStatus]) -> SyncStatus {
        crate::status::of_application(resources)
    }

    #[test]
    fn syncs_what_was_not_tried_and_heals_what_was() {
        let changed = [resource(SyncStatus::OutOfSync, false), resource(SyncStatus::Synced, false)];
        assert_eq!(decide(&situation(&changed, None)), Decision::Sync);
        assert_eq!(decide(&situation(&changed[1..], None)), Decision::Nothing);
        let other = LastSync { same: false, ..last(false, 3, 0) };
        assert_eq!(decide(&situation(&changed, Some(other))), Decision::Sync);
        assert_eq!(decide(&situation(&changed, Some(last(true, 0, 0)))), Decision::Heal { attempt: 1 });
        assert_eq!(
            decide(&situation(&changed, Some(last(true, 2, 1)))),
            Decision::Later(Duration::from_secs(5))
        );
        assert_eq!(decide(&situation(&changed, Some(last(true, 2, 6)))), Decision::Heal { attempt: 3 });
        let mut manual_heal = situation(&changed, Some(last(true, 0, 60)));
        manual_heal.automated.self_heal = false;
        assert_eq!(decide(&manual_heal), Decision::Nothing);
    }

    #[test]
    fn a_failed_revision_is_not_tried_again_unless_what_it_missed_came() {
        let changed = [resource(SyncStatus::OutOfSync, false)];
        let refused = Decision::Refused("Failed last sync attempt to [abc]: boom".to_owned());
        assert_eq!(decide(&situation(&changed, Some(last(false, 0, 999)))), refused);
        let unblocked = LastSync { unblocked: true, ..last(false, 0, 0) };
        assert_eq!(decide(&situation(&changed, Some(unblocked))), Decision::Sync);
    }

    #[test]
    fn never_wipes_out_everything_by_itself() {
        let extra = [resource(SyncStatus::OutOfSync, true)];
        let refused = Decision::Refused(
            "Skipping sync attempt to [abc]: auto-sync will wipe out all resources".to_owned(),
        );
        assert_eq!(decide(&situation(&extra, None)), refused);
        let mut allowed = situation(&extra, None);
        allowed.automated.allow_empty = true;
        assert_eq!(decide(&allowed), Decision::Sync);
        let mut no_prune = situation(&extra, None);
        no_prune.automated.prune = false;
        assert_eq!(decide(&no_prune), Decision::Nothing);
    }

    #[test]
    fn automated_may_be_switched_off() {
        assert!(Automated::from_spec(&json!({})).is_none());
        assert!(Automated::from_spec(&json!({"syncPolicy": {"automated": {"enabled": false}}})).is_none());
        let automated =
            Automated::from_spec(&json!({"syncPolicy": {"automated": {"selfHeal": true}}})).unwrap();
        assert!(automated.self_heal && !automated.prune);
    }
}
