//! What containers printed.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use kube::Client;
use objects::meta::Key;

use crate::dynamic::{Accept, Query, Sent};
use crate::resource::PODS;
use crate::watch::lines::Lines;
use crate::{Api, Error};

/// How long the server may take to begin its answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// Which lines of which container.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// May be left out for a Pod with one container.
    pub container: Option<String>,
    /// Go on with what is printed from now on.
    pub follow: bool,
    /// Of the container's run before this one.
    pub previous: bool,
    pub tail_lines: Option<u32>,
    pub since_seconds: Option<u64>,
    pub timestamps: bool,
    /// The server cuts the answer here.
    pub limit_bytes: Option<u64>,
}

/// A log that is being read.
pub struct Log {
    lines: Lines,
    action: String,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("action", &self.action).finish_non_exhaustive()
    }
}

impl Log {
    /// Opens the log of a Pod's container.
    ///
    /// # Errors
    /// If the server refuses, because the Pod is gone or the container has not started.
    pub async fn open(client: &Client, pod: &Key, options: &LogOptions) -> Result<Log, Error> {
        let mut query = Query::new();
        query.add_some("container", options.container.as_deref());
        for (name, set) in
            [("follow", options.follow), ("previous", options.previous), ("timestamps", options.timestamps)]
        {
            query.add_some(name, set.then_some("true"));
        }
        let numbers = [
            ("tailLines", options.tail_lines.map(u64::from)),
            ("sinceSeconds", options.since_seconds),
            ("limitBytes", options.limit_bytes),
        ];
        for (name, number) in numbers {
            query.add_some(name, number.map(|number| number.to_string()).as_deref());
        }
        let path = format!("{}/log", PODS.object_path(pod.namespace.as_deref(), &pod.name));
        let action = format!("{} (log)", Api::new(client, &PODS).action("get", pod));
        let sent = Sent {
            client,
            method: Method::GET,
            target: query.on(&path),
            accept: Accept::Any,
            body: None,
            deadline: DEADLINE,
            action: &action,
        };
        let body = sent.stream().await?;
        Ok(Log { lines: Lines::of_text(body), action })
    }

    /// The next line without its end; `None` when there are no more. Cancelling it loses nothing.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn line(&mut self) -> Result<Option<Bytes>, Error> {
        match self.lines.next().await {
            None => Ok(None),
            Some(Ok(line)) => Ok(Some(line)),
            Some(Err(source)) => Err(Error::Transport { action: self.action.clone(), source }),
        }
    }
}
