//! List and watch, for as long as the consumer listens.
//!
//! [`watch`] first yields [`Event::Applied`] for every object that exists and then [`Event::Resynced`] with all their keys; after that
//! one event per change. It resumes by itself where a connection ended (bookmarks keep the place young), lists again when
//! the server has forgotten that place (410), and waits between failures with exponential back-off and jitter. A consumer
//! that keeps anything per object must drop what a later [`Event::Resynced`] does not name: those objects went away unseen.
//!
//! The stream never ends by itself and yields no errors: there is nothing a consumer could do about them. They are logged
//! here, once per state and not per attempt. Dropping the stream closes the connection.

pub(crate) mod lines;

use std::time::Duration;

use futures::Stream;
use futures::stream;
use http::Method;
use kube::Client;
use objects::meta::{self, Key};
use serde_json::Value;

use crate::backoff::Backoff;
use crate::dynamic::{Accept, Api, ListOptions, Sent};
use crate::error::Status;
use crate::{Error, ResourceType, chain};
use lines::Lines;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The object exists in this state: it was listed, created or changed.
    Applied(Value),
    /// The object is gone; this was its last state.
    Deleted(Value),
    /// A complete list has just been yielded and held these keys: whatever else a consumer remembers is gone.
    Resynced(Vec<Key>),
}

/// What to watch.
#[derive(Debug, Clone, Default)]
pub struct WatchOptions {
    /// One namespace, or all.
    pub namespace: Option<String>,
    /// Label selector in query syntax.
    pub labels: Option<String>,
    /// Field selector.
    pub fields: Option<String>,
    /// Ask only for metadata: objects then hold `apiVersion`, `kind` and `metadata`.
    pub metadata_only: bool,
}

impl WatchOptions {
    /// Only metadata, which costs a server and a reader a fraction of whole objects.
    pub fn metadata() -> WatchOptions {
        WatchOptions { metadata_only: true, ..WatchOptions::default() }
    }

    /// One object.
    pub fn object(key: &Key) -> WatchOptions {
        let fields = Some(format!("metadata.name={}", key.name));
        WatchOptions { namespace: key.namespace.clone(), fields, ..WatchOptions::default() }
    }

    fn list_options(&self) -> ListOptions {
        ListOptions {
            labels: self.labels.clone(),
            fields: self.fields.clone(),
            metadata_only: self.metadata_only,
            ..ListOptions::default()
        }
    }
}

/// The events of one resource type. See the module's text for what holds.
pub fn watch(
    client: &Client,
    resource: &ResourceType,
    options: WatchOptions,
) -> impl Stream<Item = Event> + Send + use<> {
    let watcher = Watcher {
        api: Api::new(client, resource),
        client: client.clone(),
        options,
        place: Place::Unknown,
        pending: Vec::new().into_iter(),
        resynced: None,
        backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
        failing: false,
    };
    stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await;
        Some((event, watcher))
    })
}

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// Asked of the server; each connection spreads it so that watches of one start do not end together.
const CONNECTION_SECONDS: u64 = 300;
/// A connection silent for this long beyond its own end is dead.
const GRACE: Duration = Duration::from_secs(30);

struct Watcher {
    api: Api,
    client: Client,
    options: WatchOptions,
    place: Place,
    /// Listed objects not yet handed on.
    pending: std::vec::IntoIter<Value>,
    /// What to yield after them.
    resynced: Option<Vec<Key>>,
    backoff: Backoff,
    failing: bool,
}

enum Place {
    /// Nothing is known: list.
    Unknown,
    /// Everything up to this version was yielded: connect.
    Version(String),
    /// Connected; the version is the last one yielded.
    Open(Box<Connection>, String),
}

struct Connection {
    lines: Lines,
    ends: tokio::time::Instant,
}

impl Watcher {
    async fn next(&mut self) -> Event {
        loop {
            if let Some(object) = self.pending.next() {
                return Event::Applied(object);
            }
            if let Some(keys) = self.resynced.take() {
                return Event::Resynced(keys);
            }
            let step = match &mut self.place {
                Place::Unknown => self.list().await,
                Place::Version(_) => self.connect().await,
                Place::Open(connection, _) => {
                    let line =
                        tokio::time::timeout_at(connection.ends + GRACE, connection.lines.next()).await;
                    match line {
                        Ok(Some(Ok(line))) => match self.take(&line) {
                            Ok(Some(event)) => return event,
                            Ok(None) => Ok(()),
                            Err(error) => Err(error),
                        },
                        Ok(Some(Err(source))) => self.broken(source),
                        // The server ended the connection as it was asked to, or it fell silent: go on from here.
                        Ok(None) | Err(_) => {
                            self.reopen();
                            Ok(())
                        }
                    }
                }
            };
            if let Err(error) = step {
                self.failed(&error).await;
            }
        }
    }

    async fn list(&mut self) -> Result<(), Error> {
        let list = self.api.list_all(self.options.namespace.as_deref(), &self.options.list_options()).await?;
        self.resynced = Some(list.items.iter().map(Key::of).collect());
        self.pending = list.items.into_iter();
        self.place = Place::Version(list.resource_version);
        self.recovered();
        Ok(())
    }

    async fn connect(&mut self) -> Result<(), Error> {
        let Place::Version(version) = &self.place else { return Ok(()) };
        let version = version.clone();
        let seconds = CONNECTION_SECONDS + fastrand::u64(0..CONNECTION_SECONDS);
        let namespace = self.options.namespace.as_deref();
        let mut query = self.options.list_options().query();
        query.add("watch", "true");
        query.add("allowWatchBookmarks", "true");
        query.add("resourceVersion", &version);
        query.add("timeoutSeconds", &seconds.to_string());
        let action = self.api.collection_action("watch", namespace);
        let body = Sent {
            client: &self.client,
            method: Method::GET,
            target: query.on(&self.api.resource().collection_path(namespace)),
            accept: if self.options.metadata_only { Accept::Metadata } else { Accept::Json },
            body: None,
            deadline: Duration::from_secs(30),
            action: &action,
        }
        .stream()
        .await;
        let body = match body {
            Err(error) if error.is_expired() => {
                self.place = Place::Unknown;
                return Ok(());
            }
            body => body?,
        };
        let ends = tokio::time::Instant::now() + Duration::from_secs(seconds);
        self.place = Place::Open(Box::new(Connection { lines: Lines::new(body), ends }), version);
        self.recovered();
        Ok(())
    }

    /// Reads one line of the connection.
    fn take(&mut self, line: &[u8]) -> Result<Option<Event>, Error> {
        let action = || self.api.collection_action("watch", self.options.namespace.as_deref());
        let mut event: Value = match serde_json::from_slice(line) {
            Ok(event) => event,
            Err(source) => {
                let action = action();
                self.place = Place::Unknown;
                return Err(Error::Answer { action, source });
            }
        };
        let object = event["object"].take();
        if event["type"] == "ERROR" {
            let action = action();
            let status = Box::new(Status::from_object(&object));
            // Whatever the server complains about, this place is not good to continue from.
            self.place = Place::Unknown;
            return if status.code == 410 { Ok(None) } else { Err(Error::Refused { action, status }) };
        }
        if let Place::Open(_, version) = &mut self.place {
            meta::resource_version(&object).clone_into(version);
        }
        let metadata_only = self.options.metadata_only;
        Ok(match event["type"].as_str() {
            Some("ADDED" | "MODIFIED") => Some(Event::Applied(self.api.normalise(object, metadata_only))),
            Some("DELETED") => Some(Event::Deleted(self.api.normalise(object, metadata_only))),
            _ => None,
        })
    }

    fn reopen(&mut self) {
        if let Place::Open(_, version) = &mut self.place {
            self.place = Place::Version(std::mem::take(version));
        }
    }

    fn broken(&mut self, source: Box<dyn std::error::Error + Send + Sync>) -> Result<(), Error> {
        self.reopen();
        let action = self.api.collection_action("watch", self.options.namespace.as_deref());
        Err(Error::Transport { action, source })
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failing) {
            tracing::info!(resource = %self.api.resource(), "watching again");
        }
        self.backoff.reset();
    }

    async fn failed(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(resource = %self.api.resource(), error = chain(error), "cannot watch; trying on");
        }
        // A type that went away has no objects any more; say so once, then wait for it to come back.
        if error.is_not_found() && !matches!(self.place, Place::Unknown) {
            self.place = Place::Unknown;
            self.resynced = Some(Vec::new());
            return;
        }
        tokio::time::sleep(self.backoff.next_wait()).await;
    }
}

#[cfg(test)]
mod tests;
