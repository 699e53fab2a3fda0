//! What became of a container, in memory and as `status.json`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Its directory exists and its process has not run yet.
    Created,
    Running(Running),
    Exited(Exit),
}

impl Status {
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    /// How it ended, once it has.
    pub fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Exited(exit) => Some(exit),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Of the container's first process, in the caller's PID namespace.
    pub pid: i32,
    pub started_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0 to 255; 128 + n when signal n ended it, as shells and the kubelet count. 137 when [`lost`](Self::lost).
    pub code: i32,
    pub signal: Option<i32>,
    /// The kernel killed a process of this container for want of memory, and the container ended with a failure.
    pub oom_killed: bool,
    /// The monitor vanished before it could write the result (power failure, `kill -9`): the code is not the process's.
    pub lost: bool,
    /// `None` when it never ran.
    pub started_at: Option<Timestamp>,
    pub finished_at: Timestamp,
    /// What the process left at [`termination_message_path`](crate::ContainerSpec::termination_message_path).
    pub message: Option<String>,
}
