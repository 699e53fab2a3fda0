//! Watches: the events of a collection as they happen, one JSON object a line.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::{Response, StatusCode};
use objects::meta;
use serde_json::{Value, json};
use store::{Event, EventKind, ListOptions, Object, Revision, Watch};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::selection::Selection;
use super::{answer, list};
use crate::core::Call;
use crate::error::ApiError;
use crate::http::body::{respond, stream as streamed};
use crate::http::{ApiBody, Encoding, Shape};
use crate::{convert, object, table, write};

/// Time between bookmarks on a watch that has no other events.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// A watch without `timeoutSeconds` ends after this long and is begun anew by its client.
const LONGEST: Duration = Duration::from_secs(45 * 60);
/// Events taken from the store at once.
const BATCH: usize = 256;

/// Where a watch begins.
struct Start {
    from: Revision,
    /// Objects sent as additions before the first event.
    initial: Vec<Object>,
    /// Whether a bookmark marks the end of those.
    mark_end: bool,
}

struct Running {
    call: Arc<Call>,
    selection: Selection,
    watch: Watch,
    initial: VecDeque<Object>,
    mark_end: Option<Revision>,
    bookmarks: bool,
    next_bookmark: Instant,
    end: Instant,
    /// The next table carries its column definitions.
    first_table: bool,
    finished: bool,
    shutdown: tokio_util::sync::CancellationToken,
    _permit: OwnedSemaphorePermit,
}

pub(crate) async fn watch(call: Arc<Call>) -> Result<Response<ApiBody>, ApiError> {
    if call.encoding == Encoding::Yaml {
        return Err(ApiError::not_acceptable("application/json;stream=watch"));
    }
    let selection = Selection::of(&call)?;
    let permit = call
        .core
        .watches
        .clone()
        .try_acquire_owned()
        .map_err(|_| ApiError::too_many_requests("too many watches, please try again later", Some(5)))?;
    let start = start(&call, &selection).await?;
    let scope = call.resource.scope(&call.info.namespace);
    let watch = call.core.store.watch(scope, start.from).map_err(|error| match error {
        store::Error::Compacted { requested, oldest } => {
            ApiError::expired(format!("too old resource version: {requested} ({oldest})"))
        }
        other => write::stored(&other),
    })?;
    let longest = call.query.number("timeoutSeconds")?.map_or(LONGEST, Duration::from_secs).min(LONGEST);
    let now = Instant::now();
    let running = Running {
        bookmarks: call.query.flag("allowWatchBookmarks"),
        shutdown: call.core.shutdown.clone(),
        selection,
        watch,
        mark_end: start.mark_end.then_some(start.from),
        initial: start.initial.into(),
        next_bookmark: now + BOOKMARKS,
        end: now + longest,
        first_table: true,
        finished: false,
        _permit: permit,
        call,
    };
    let chunks = stream::unfold(running, |mut running| async move {
        let chunk = running.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(chunk), running))
    });
    Ok(respond(StatusCode::OK, "application/json", streamed(chunks)))
}

async fn start(call: &Call, selection: &Selection) -> Result<Start, ApiError> {
    let version = call.query.get("resourceVersion");
    let revision = list::parse_version(version).map_err(|error| ApiError::unexplained(error.message))?;
    if let Some(revision) = revision {
        list::fresh(call, revision).await?;
    }
    let send = call.query.get("sendInitialEvents");
    let streaming = call.query.flag("sendInitialEvents");
    let with_initial = match send {
        Some(_) => streaming,
        // Without a version, or with any version, a watch begins with what is there.
        None => revision.is_none(),
    };
    if !with_initial {
        let from = revision.unwrap_or_else(|| call.core.store.revision());
        return Ok(Start { from, initial: Vec::new(), mark_end: false });
    }
    let scope = call.resource.scope(&call.info.namespace);
    let page =
        call.core.store.list(&scope, &ListOptions::default()).map_err(|error| write::stored(&error))?;
    let mut initial = Vec::new();
    for (_, stored) in page.items {
        if selection.matches(&call.resource, &stored)? {
            initial.push(stored);
        }
    }
    let mark_end = streaming && call.query.flag("allowWatchBookmarks");
    Ok(Start { from: page.revision, initial, mark_end })
}

impl Running {
    /// The next bytes to send; `None` when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        if self.finished {
            return None;
        }
        let mut out = BytesMut::new();
        if let Err(error) = self.fill(&mut out).await {
            self.finished = true;
            // A watch cannot answer with a code any more: the error is its last event.
            event(&mut out, "ERROR", error.to_status().to_string().as_bytes());
        }
        if out.is_empty() { None } else { Some(out.freeze()) }
    }

    async fn fill(&mut self, out: &mut BytesMut) -> Result<(), ApiError> {
        while let Some(stored) = self.initial.pop_front() {
            self.emit("ADDED", &stored, out)?;
            if out.len() > CHUNK {
                return Ok(());
            }
        }
        if let Some(revision) = self.mark_end.take() {
            self.bookmark(revision, true, out)?;
        }
        if !out.is_empty() {
            return Ok(());
        }
        loop {
            let wake = self.end.min(self.next_bookmark);
            tokio::select! {
                () = self.shutdown.cancelled() => { self.finished = true; return Ok(()); }
                events = tokio::time::timeout_at(wake, self.watch.next(BATCH)) => match events {
                    Ok(Ok(events)) => {
                        for happened in events {
                            self.happened(&happened, out)?;
                        }
                        if !out.is_empty() {
                            return Ok(());
                        }
                    }
                    Ok(Err(store::Error::Closed)) => { self.finished = true; return Ok(()); }
                    Ok(Err(store::Error::Compacted { requested, oldest })) => {
                        return Err(ApiError::expired(format!("too old resource version: {requested} ({oldest})")));
                    }
                    Ok(Err(error)) => return Err(write::stored(&error)),
                    Err(_) => {
                        // What is there already moves the position, so that the bookmark tells the newest.
                        for happened in self.watch.poll(BATCH).map_err(|error| write::stored(&error))? {
                            self.happened(&happened, out)?;
                        }
                        let now = Instant::now();
                        if now >= self.end {
                            self.finished = true;
                        }
                        self.next_bookmark = now + BOOKMARKS;
                        if self.bookmarks {
                            self.bookmark(self.watch.position(), false, out)?;
                        }
                        if self.finished || !out.is_empty() {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    /// What an event is for this selection: an object that begins to match was added, one that ceases was deleted.
    fn happened(&mut self, happened: &Arc<Event>, out: &mut BytesMut) -> Result<(), ApiError> {
        let resource = self.call.resource.clone();
        let now =
            happened.kind != EventKind::Deleted && self.selection.matches(&resource, &happened.object)?;
        let before = match &happened.previous {
            Some(previous) => self.selection.matches(&resource, previous)?,
            None => false,
        };
        match (before, now) {
            (false, true) => self.emit("ADDED", &happened.object, out),
            (true, true) => self.emit("MODIFIED", &happened.object, out),
            (true, false) if happened.kind == EventKind::Deleted => {
                self.emit("DELETED", &happened.object, out)
            }
            (true, false) => {
                // It is the last matching state that is gone, at the revision at which it went.
                let Some(previous) = &happened.previous else { return Ok(()) };
                let mut value = object::decode(&previous.bytes)?;
                meta::set(&mut value, "resourceVersion", happened.object.revision.to_string().into());
                self.emit_value("DELETED", value, out)
            }
            (false, false) => Ok(()),
        }
    }

    fn emit(&mut self, kind: &str, stored: &Object, out: &mut BytesMut) -> Result<(), ApiError> {
        let resource = &self.call.resource;
        if self.call.shape == Shape::Whole
            && convert::is_stored_version(resource)
            && stored.bytes.starts_with(resource.type_prefix.as_bytes())
        {
            event(out, kind, &stored.bytes);
            return Ok(());
        }
        self.emit_value(kind, object::decode(&stored.bytes)?, out)
    }

    fn emit_value(&mut self, kind: &str, mut value: Value, out: &mut BytesMut) -> Result<(), ApiError> {
        convert::to_requested(&self.call.resource, &mut value)?;
        let shaped = match self.call.shape {
            Shape::Whole | Shape::Aggregated => value,
            Shape::Metadata => answer::metadata_only(&value),
            Shape::Table => {
                let mut table = table::of_object(&self.call, value);
                if !std::mem::take(&mut self.first_table) {
                    table["columnDefinitions"] = Value::Null;
                }
                table
            }
        };
        event(out, kind, shaped.to_string().as_bytes());
        Ok(())
    }

    /// A bookmark tells the client how far it has seen.
    fn bookmark(
        &mut self,
        revision: Revision,
        end_of_initial: bool,
        out: &mut BytesMut,
    ) -> Result<(), ApiError> {
        let resource = &self.call.resource;
        let mut object = json!({"kind": resource.kind, "apiVersion": resource.api_version,
            "metadata": {"resourceVersion": revision.to_string()}});
        if end_of_initial {
            meta::set_annotation(&mut object, "k8s.io/initial-events-end", Some("true"));
        }
        let shaped = match self.call.shape {
            Shape::Whole | Shape::Aggregated => object,
            Shape::Metadata => answer::metadata_only(&object),
            Shape::Table => table::of_bookmark(&self.call, &object, std::mem::take(&mut self.first_table)),
        };
        event(out, "BOOKMARK", shaped.to_string().as_bytes());
        Ok(())
    }
}

/// Bytes of initial events sent as one chunk.
const CHUNK: usize = 64 << 10;

fn event(out: &mut BytesMut, kind: &str, object: &[u8]) {
    out.reserve(object.len() + 40);
    out.put_slice(b"{\"type\":\"");
    out.put_slice(kind.as_bytes());
    out.put_slice(b"\",\"object\":");
    out.put_slice(object);
    out.put_slice(b"}\n");
}
