//! Events as `kubectl describe` shows them: core/v1, with repeated ones counted instead of added.
//!
//! A [`Recorder`] never fails its caller: what cannot be written within 2 s is logged and dropped. As upstream's broadcaster does,
//! equal events (same object, type, reason and message) become one with a count, and an object that causes more than 25 in a
//! row gets one more only every 5 minutes. What it remembers is bounded.

mod recent;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use objects::meta::{self, Key};
use serde_json::{Value, json};

use crate::dynamic::{Patch, PatchOptions};
use crate::resource::EVENTS;
use crate::{Api, chain};
use recent::{Next, Recent};

/// How an event is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
    }
}

/// Writes the events of one component. Clones share what is remembered.
#[derive(Clone)]
pub struct Recorder {
    api: Api,
    component: Arc<str>,
    host: Option<Arc<str>>,
    recent: Arc<Mutex<Recent>>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("component", &self.component).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Events from `component`, e.g. `deployment-controller`.
    pub fn new(client: &Client, component: &str) -> Recorder {
        let api = Api::new(client, &EVENTS).deadline(Duration::from_secs(2));
        Recorder { api, component: component.into(), host: None, recent: Arc::default() }
    }

    /// Events from a component on one node, as the kubelet's.
    pub fn on_host(mut self, host: &str) -> Recorder {
        self.host = Some(host.into());
        self
    }

    /// Records a normal event about `object` (which needs `apiVersion`, `kind` and `metadata`).
    pub async fn normal(&self, object: &Value, reason: &str, message: &str) {
        self.record(object, EventType::Normal, reason, message).await;
    }

    /// Records a warning about `object`.
    pub async fn warning(&self, object: &Value, reason: &str, message: &str) {
        self.record(object, EventType::Warning, reason, message).await;
    }

    /// Records an event about `object`. `field_path` inside an object is set with [`Recorder::record_at`].
    pub async fn record(&self, object: &Value, kind: EventType, reason: &str, message: &str) {
        self.record_at(object, None, kind, reason, message).await;
    }

    /// Records an event about a part of `object`, e.g. `spec.containers{web}`.
    pub async fn record_at(
        &self,
        object: &Value,
        field_path: Option<&str>,
        kind: EventType,
        reason: &str,
        message: &str,
    ) {
        let now = Timestamp::now();
        let involved = involved_object(object, field_path);
        // Without the resource version: the next event about the same object comes from another one.
        let subject = format!("{}\0{}\0{}", involved["kind"], involved["uid"], involved["fieldPath"]);
        let identity = format!("{}\0{}\0{reason}\0{message}", subject, kind.as_str());
        let next = self.recent.lock().expect("no panic while held").next(&subject, &identity, now);
        let written = match next {
            Next::Suppressed => return,
            Next::Repeat { key, count } => self.repeat(&key, count, now).await,
            Next::New => None,
        };
        if let Some(count) = written {
            self.recent.lock().expect("no panic while held").repeated(&identity, count, now);
            return;
        }
        let event = self.event(&involved, kind, reason, message, now);
        match self.api.create(&event).await {
            Ok(_) => self.recent.lock().expect("no panic while held").written(identity, Key::of(&event), now),
            // A namespace that goes away takes no events any more; that is nobody's failure.
            Err(error) if error.is_namespace_terminating() || error.is_not_found() => {}
            Err(error) => tracing::warn!(reason, error = chain(&error), "an event could not be written"),
        }
    }

    /// Counts up an event that exists; `None` when it does not any more.
    async fn repeat(&self, key: &Key, count: i64, now: Timestamp) -> Option<i64> {
        let patch = Patch::Merge(json!({ "count": count + 1, "lastTimestamp": meta::format_time(now) }));
        match self.api.patch(key, &patch, &PatchOptions::default()).await {
            Ok(_) => Some(count + 1),
            Err(error) if error.is_not_found() => None,
            Err(error) => {
                tracing::warn!(error = chain(&error), "an event could not be counted up");
                Some(count)
            }
        }
    }

    fn event(&self, involved: &Value, kind: EventType, reason: &str, message: &str, now: Timestamp) -> Value {
        let name = involved["name"].as_str().unwrap_or("");
        let namespace = involved["namespace"].as_str().filter(|n| !n.is_empty()).unwrap_or("default");
        let mut source = json!({ "component": &*self.component });
        if let Some(host) = &self.host {
            source["host"] = json!(&**host);
        }
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": event_name(name, now), "namespace": namespace },
            "involvedObject": involved,
            "type": kind.as_str(),
            "reason": reason,
            "message": clip(message, 1024),
            "source": source,
            "firstTimestamp": meta::format_time(now),
            "lastTimestamp": meta::format_time(now),
            "count": 1,
            "eventTime": null,
            "reportingComponent": &*self.component,
            "reportingInstance": self.host.as_deref().unwrap_or(""),
        })
    }
}

/// The reference that an event holds to what it is about.
fn involved_object(object: &Value, field_path: Option<&str>) -> Value {
    let mut involved = json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "name": meta::name(object),
        "uid": meta::uid(object),
        "resourceVersion": meta::resource_version(object),
    });
    if let Some(namespace) = meta::namespace(object) {
        involved["namespace"] = json!(namespace);
    }
    if let Some(path) = field_path {
        involved["fieldPath"] = json!(path);
    }
    involved
}

/// `<object>.<nanoseconds in hex>`, cut to what a name may be.
fn event_name(object: &str, now: Timestamp) -> String {
    let suffix = format!(".{:x}{:04x}", now.as_nanosecond(), fastrand::u16(..));
    format!("{}{suffix}", clip(object, 253 - suffix.len()))
}

fn clip(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
