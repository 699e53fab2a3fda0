//! What is known of a Pod's containers at one moment: the input of the planner and of the status.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;

/// Everything known of one container of a Pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Observed {
    /// The newest instance.
    pub(crate) current: Option<Instance>,
    /// The one before it, which has exited.
    pub(crate) previous: Option<Instance>,
    /// What is being done with the container right now.
    pub(crate) busy: Option<Busy>,
    /// Why the last attempt to start made no instance.
    pub(crate) waiting: Option<Waiting>,
    /// Waits between restarts.
    pub(crate) backoff: Backoff,
    /// What the probes say of `current`.
    pub(crate) health: Health,
}

/// A container as the runtime knows it. Each restart makes a new one with the next attempt number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Instance {
    /// Counts from 0; also the restart count.
    pub(crate) attempt: u32,
    /// Its id in the runtime.
    pub(crate) id: String,
    /// As the specification named it; the one field of a running container that may change, and that asks for a new one.
    pub(crate) image: String,
    pub(crate) image_id: String,
    /// It was stopped with the node, not by its own doing, or its work was lost with the node: it is started again whatever
    /// its exit code was, unless the Pod's policy is never to.
    pub(crate) interrupted: bool,
    /// It was stopped because its specification changed: another is started whatever the policy says.
    pub(crate) replaced: bool,
    pub(crate) state: InstanceState,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum InstanceState {
    Created,
    Running { started_at: Timestamp },
    Exited(Exit),
}

/// How an instance ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`.
    pub(crate) reason: String,
    /// The termination message.
    pub(crate) message: Option<String>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// Pulling its image, preparing or creating it, or running its postStart hook.
    Starting,
    /// Ending it; `grace` counts from the moment the stop began.
    Stopping { grace: Duration },
}

/// A container's waiting state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) reason: String,
    pub(crate) message: Option<String>,
    /// When to try again; `None` waits for a change of something the container depends on.
    pub(crate) retry_at: Option<Timestamp>,
}

impl Waiting {
    pub(crate) fn new(reason: &str) -> Waiting {
        Waiting { reason: reason.to_owned(), message: None, retry_at: None }
    }
}

/// What the probes of the current instance have found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// The startup probe has succeeded, or there is none.
    pub(crate) started: bool,
    /// The readiness probe has succeeded, or there is none.
    pub(crate) ready: bool,
    /// The startup or liveness probe has failed too often.
    pub(crate) failed: Option<Failed>,
}

/// A probe that asks for a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// `liveness` or `startup`.
    pub(crate) probe: &'static str,
    /// The probe's own grace period, in place of the Pod's.
    pub(crate) grace: Option<Duration>,
}

/// All containers of a Pod by name.
pub(crate) type Containers = BTreeMap<String, Observed>;

impl Observed {
    pub(crate) fn is_running(&self) -> bool {
        matches!(
            &self.current,
            Some(Instance { state: InstanceState::Running { .. } | InstanceState::Created, .. })
        )
    }

    pub(crate) fn exit(&self) -> Option<&Exit> {
        self.current.as_ref().and_then(Instance::exit)
    }
}

impl Instance {
    pub(crate) fn exit(&self) -> Option<&Exit> {
        match &self.state {
            InstanceState::Exited(exit) => Some(exit),
            _ => None,
        }
    }
}
