//! The trait by which others reach a node.
//!
//! Owns the requests that the API server forwards to the machine a Pod runs on, and the words in which the node refuses
//! them: reading a container's log, running a command in it, connecting with its own input and output or with a port of
//! a Pod.
//!
//! What must hold: an implementation checks names against Pods it really runs, never builds a path from them, and every
//! stream ends when the container's log does (or, with `follow`, when the container does or the reader goes away).
//!
//! Kept out: HTTP, authorization and object lookups. The API server has already decided that the caller may ask.

#![forbid(unsafe_code)]

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Sink, SinkExt as _, StreamExt as _};

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

/// A command to run in a container; the query of `…/pods/NAME/exec`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecRequest {
    /// Namespace of the Pod.
    pub namespace: String,
    /// Name of the Pod.
    pub pod: String,
    /// Name of the container. The API server has already chosen the default one.
    pub container: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whether the command gets a standard input.
    pub stdin: bool,
    /// Whether it gets a terminal.
    pub tty: bool,
}

/// A container to connect with; the query of `…/pods/NAME/attach`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachRequest {
    /// Namespace of the Pod.
    pub namespace: String,
    /// Name of the Pod.
    pub pod: String,
    /// Name of the container. The API server has already chosen the default one.
    pub container: String,
    /// Whether the client has something for its standard input.
    pub stdin: bool,
}

/// What is sent to a running command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Bytes for its standard input.
    Bytes(Bytes),
    /// The end of its standard input.
    End,
    /// A new size of its terminal.
    Resize {
        /// Characters in a line.
        columns: u16,
        /// Lines.
        rows: u16,
    },
}

/// What comes from a running command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bytes of its standard output, or of its terminal.
    Stdout(Bytes),
    /// Bytes of its standard error.
    Stderr(Bytes),
    /// It has ended with this code, 128 + n for signal n. Nothing comes after it.
    Ended(i32),
}

/// Where input goes; waits while the receiver is busy.
pub type Sender<T> = Pin<Box<dyn Sink<T, Error = LinkError> + Send>>;

/// A command that runs. Dropping it ends the command.
pub struct Session {
    /// To the command.
    pub input: Sender<Input>,
    /// From the command, until [`Output::Ended`].
    pub output: BoxStream<'static, Result<Output, LinkError>>,
}

/// A connection with a port of a Pod. Dropping it closes the connection.
pub struct Connection {
    /// To the Pod. Closing the sink says that nothing more comes.
    pub input: Sender<Bytes>,
    /// From the Pod.
    pub output: ByteStream,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// A machine that runs Pods.
pub trait Node: Send + Sync {
    /// Opens a container's log.
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<ByteStream, LinkError>>;

    /// Runs a command in a container.
    fn exec(&self, request: ExecRequest) -> BoxFuture<'_, Result<Session, LinkError>> {
        let what = format!("exec into {}/{}", request.namespace, request.pod);
        Box::pin(async move { Err(LinkError::NotSupported { what }) })
    }

    /// Connects with a container's own input and output. Dropping the session changes nothing for the container.
    fn attach(&self, request: AttachRequest) -> BoxFuture<'_, Result<Session, LinkError>> {
        let AttachRequest { namespace, pod, container, .. } = request;
        Box::pin(async move { Ok(listening(self.logs(following(&namespace, &pod, &container)).await?)) })
    }

    /// Connects with a TCP port inside a Pod's network namespace.
    fn connect(
        &self,
        namespace: String,
        pod: String,
        port: u16,
    ) -> BoxFuture<'_, Result<Connection, LinkError>> {
        let what = format!("port-forward to {namespace}/{pod}:{port}");
        Box::pin(async move { Err(LinkError::NotSupported { what }) })
    }
}

/// The log of a container from now on.
pub fn following(namespace: &str, pod: &str, container: &str) -> LogRequest {
    LogRequest { follow: true, tail_lines: Some(0), ..LogRequest::new(namespace, pod, container) }
}

/// A session with a container that has no standard input: it shows the log, and what a client has for the input goes
/// nowhere.
pub fn listening(log: ByteStream) -> Session {
    let ended = futures::stream::iter([Ok(Output::Ended(0))]);
    let output = log.map(|chunk| chunk.map(Output::Stdout)).chain(ended).boxed();
    let input = futures::sink::drain().sink_map_err(|never: std::convert::Infallible| match never {});
    Session { input: Box::pin(input), output }
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
    /// The container has ended or has not started, so nothing can run in it. An API server answers 400.
    #[error("container not found (\"{container}\")")]
    NotRunning {
        /// Name of the container.
        container: String,
    },
    /// The command could not be run, in the words of the runtime. An API server answers 500.
    #[error("{message}")]
    Exec {
        /// Why.
        message: String,
    },
    /// Nothing listens on the port, or the connection broke. An API server answers 500.
    #[error("connect with port {port} of pod \"{pod}\"")]
    Connect {
        /// Name of the Pod.
        pod: String,
        /// The port.
        port: u16,
        /// What the network said.
        #[source]
        source: std::io::Error,
    },
    /// This node cannot do it. An API server answers 501.
    #[error("{what} is not supported by this node")]
    NotSupported {
        /// What was asked.
        what: String,
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
            LinkError::NotRunning { .. } => 400,
            LinkError::Read { .. } | LinkError::Exec { .. } | LinkError::Connect { .. } => 500,
            LinkError::NotSupported { .. } => 501,
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
