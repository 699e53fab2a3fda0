//! What can go wrong with a container, in words that kubelet users know.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The root could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot prepare the container directory {path}")]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot find the cgroup controllers of this machine")]
    Cgroups(#[source] io::Error),
    #[error("the containers in {0} are already looked after by another process")]
    InUse(PathBuf),
    #[error("the cgroup parent {0:?} is not a relative path of plain names")]
    CgroupParent(String),
}

/// A container did not come up; nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("invalid container: {field}: {reason}")]
    Invalid { field: &'static str, reason: String },
    #[error("container {0:?} exists already")]
    Exists(String),
    #[error("cannot write the container's directory {path}")]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot start the monitor {exe}")]
    Monitor {
        exe: PathBuf,
        #[source]
        source: io::Error,
    },
    /// What was attempted before the process could run: mounts, cgroups, namespaces. Kubernetes:
    /// `CreateContainerError`.
    #[error("failed to create container: {0}")]
    Create(String),
    /// The process itself could not be run, in the words of the usual runtimes, such as
    /// `exec: "foo": executable file not found in $PATH`. Kubernetes: `RunContainerError` / `StartError`.
    #[error("unable to start container process: {0}")]
    Process(String),
    #[error("the container did not start within {0:?}")]
    Deadline(Duration),
}

/// An operation on a known container failed.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    #[error("container {0:?} not found")]
    NotFound(String),
    #[error("container {0:?} is not running")]
    NotRunning(String),
    #[error("cannot {action} container {id:?}")]
    Io {
        id: String,
        action: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("container {id:?} did not {action} within {limit:?}")]
    Deadline { id: String, action: &'static str, limit: Duration },
}

/// A command inside a container did not give a result.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error("cannot start the exec helper {exe}")]
    Helper {
        exe: PathBuf,
        #[source]
        source: io::Error,
    },
    /// In the words of the usual runtimes: `exec: "foo": executable file not found in $PATH`.
    #[error("unable to start container process: {0}")]
    Process(String),
    /// As the kubelet words it for exec probes.
    #[error("command timed out after {0:?}")]
    Timeout(Duration),
}
