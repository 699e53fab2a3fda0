//! The trait by which others reach a node.
//!
//! Owns the requests that the API server forwards to the machine a Pod runs on, and the words in which the node refuses
//! them. Today that is reading a container's log; exec, attach and port-forward are further methods of [`Node`].
//!
//! What must hold: an implementation checks names against Pods it really runs, never builds a path from them, and every
//! stream ends when the container's log does (or, with `follow`, when the container does or the reader goes away).
//!
//! Kept out: HTTP, authorization and object lookups. The API server has already decided that the caller may ask.

#![forbid(unsafe_code)]

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

/// Bytes of a log as they become available. Dropping the stream ends the reading.
pub type ByteStream = BoxStream<'static, Result<Bytes, LinkError>>;

/// What to read of one container's log; the query of `GET …/pods/NAME/log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRequest {
    /// Namespace of the Pod.
    pub namespace: String,
    /// Name of the Pod.
    pub pod: String,
    /// Name of the container, init containers included. The API server has already chosen the default one.
    pub container: String,
    /// Keep the stream open for lines written later.
    pub follow: bool,
    /// Read the log of the instance before the present one.
    pub previous: bool,
    /// Only this many lines from the end; counted before `follow` adds more.
    pub tail_lines: Option<u64>,
    /// Only lines written at or after this time (`sinceSeconds` and `sinceTime` both become this).
    pub since: Option<jiff::Timestamp>,
    /// Put the RFC 3339 time before each line.
    pub timestamps: bool,
    /// End the stream after this many bytes.
    pub limit_bytes: Option<u64>,
}

impl LogRequest {
    /// The whole log of the present instance of a container.
    pub fn new(namespace: impl Into<String>, pod: impl Into<String>, container: impl Into<String>) -> Self {
        LogRequest {
            namespace: namespace.into(),
            pod: pod.into(),
            container: container.into(),
            follow: false,
            previous: false,
            tail_lines: None,
            since: None,
            timestamps: false,
            limit_bytes: None,
        }
    }
}

/// A machine that runs Pods.
pub trait Node: Send + Sync {
    /// Opens a container's log.
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<ByteStream, LinkError>>;
}

/// Why a node refuses. The text is what `kubectl` shows, worded as the kubelet words it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The node runs no such Pod. An API server answers 404.
    #[error("pods \"{pod}\" not found")]
    PodNotFound {
        /// Name of the Pod.
        pod: String,
    },
    /// The Pod has no such container. An API server answers 400.
    #[error("container {container} is not valid for pod {pod}")]
    ContainerNotFound {
        /// Name of the Pod.
        pod: String,
        /// Name of the container asked for.
        container: String,
    },
    /// The container has not started yet, so it has no log. An API server answers 400.
    #[error("container \"{container}\" in pod \"{pod}\" is waiting to start: {reason}")]
    NotReady {
        /// Name of the Pod.
        pod: String,
        /// Name of the container.
        container: String,
        /// Its waiting reason, for example `ContainerCreating` or `trying and failing to pull image`.
        reason: String,
    },
    /// `previous` was asked for and the container was never restarted. An API server answers 400.
    #[error("previous terminated container \"{container}\" in pod \"{pod}\" not found")]
    NoPrevious {
        /// Name of the Pod.
        pod: String,
        /// Name of the container.
        container: String,
    },
    /// The log exists and cannot be read. An API server answers 500.
    #[error("reading the log of container \"{container}\" in pod \"{pod}\"")]
    Read {
        /// Name of the Pod.
        pod: String,
        /// Name of the container.
        container: String,
        /// What the file system said.
        #[source]
        source: std::io::Error,
    },
    /// No node is attached, or it is stopping. An API server answers 503.
    #[error("the node is not running")]
    Unavailable,
}

impl LinkError {
    /// The HTTP status with which the API server passes this error on.
    pub fn status(&self) -> u16 {
        match self {
            LinkError::PodNotFound { .. } => 404,
            LinkError::ContainerNotFound { .. }
            | LinkError::NotReady { .. }
            | LinkError::NoPrevious { .. } => 400,
            LinkError::Read { .. } => 500,
            LinkError::Unavailable => 503,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_read_as_the_kubelet_words_them() {
        let waiting = LinkError::NotReady {
            pod: "web-1".into(),
            container: "web".into(),
            reason: "ContainerCreating".into(),
        };
        assert_eq!(
            waiting.to_string(),
            r#"container "web" in pod "web-1" is waiting to start: ContainerCreating"#
        );
        assert_eq!(waiting.status(), 400);
        let previous = LinkError::NoPrevious { pod: "web-1".into(), container: "web".into() };
        assert_eq!(previous.to_string(), r#"previous terminated container "web" in pod "web-1" not found"#);
    }

    #[test]
    fn a_node_is_usable_as_a_trait_object() {
        struct Gone;
        impl Node for Gone {
            fn logs(&self, _: LogRequest) -> BoxFuture<'_, Result<ByteStream, LinkError>> {
                Box::pin(async { Err(LinkError::Unavailable) })
            }
        }
        let node: std::sync::Arc<dyn Node> = std::sync::Arc::new(Gone);
        let answer = futures::executor::block_on(node.logs(LogRequest::new("default", "web-1", "web")));
        assert_eq!(answer.err().map(|e| e.status()), Some(503));
    }
}
