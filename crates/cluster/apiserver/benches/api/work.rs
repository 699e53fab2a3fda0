//! The operations that are measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::load::{Client, Target};
use crate::measure::{Figures, Sizes, repeat};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Create,
    Get,
    Update,
    Apply,
    List,
    FanOut,
    Crowd,
}

pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) kind: Kind,
}

/// In this order: later ones use what earlier ones made.
pub(crate) const OPERATIONS: [Operation; 7] = [
    Operation { name: "create Deployments", unit: "requests", kind: Kind::Create },
    Operation { name: "get", unit: "requests", kind: Kind::Get },
    Operation { name: "update", unit: "requests", kind: Kind::Update },
    Operation { name: "apply patch", unit: "requests", kind: Kind::Apply },
    Operation { name: "list all of them", unit: "lists", kind: Kind::List },
    Operation { name: "events to 100 watchers", unit: "events", kind: Kind::FanOut },
    Operation { name: "create ConfigMaps of 1 KiB", unit: "requests", kind: Kind::Crowd },
];

const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/bench/deployments";
const FANNED: &str = "/api/v1/namespaces/fan/configmaps";
const CROWD: &str = "/api/v1/namespaces/crowd/configmaps";
const CONNECTIONS: usize = 4;
/// Writers of the objects that are watched.
const WRITERS: usize = 16;
/// Lists in flight: a few clients that start at once.
const LISTERS: usize = 4;
/// Bytes of the objects that fill a store.
const FILLER: usize = 8 << 10;

/// A server, and what is done to it.
pub(crate) struct Work {
    client: Arc<Client>,
    target: Target,
    sizes: Sizes,
}

impl Work {
    pub(crate) async fn connect(target: &Target, sizes: &Sizes) -> Result<Work> {
        let client = Arc::new(Client::connect(target, CONNECTIONS).await?);
        for name in ["bench", "fan", "crowd"] {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            let path = format!("/api/v1/namespaces/{name}?fieldManager=bench");
            client.send(Method::PATCH, &path, APPLY, bytes(&namespace)).await?;
        }
        Ok(Work { client, target: target.clone(), sizes: sizes.clone() })
    }

    pub(crate) async fn run(&self, kind: Kind) -> Result<Figures> {
        let requests = self.sizes.requests;
        match kind {
            Kind::Create => {
                self.each(requests, |number| {
                    (Method::POST, DEPLOYMENTS.to_owned(), JSON, deployment(number, 0))
                })
                .await
            }
            // A step that shares no factor with the count visits all, in another order than they were made.
            Kind::Get => {
                self.each(requests, move |number| {
                    (Method::GET, named(number * 7919 % requests), JSON, Value::Null)
                })
                .await
            }
            Kind::Update => {
                self.each(requests, |number| (Method::PUT, named(number), JSON, deployment(number, 1))).await
            }
            Kind::Apply => {
                self.each(requests, |number| {
                    let path = format!("{}?fieldManager=applier&force=true", named(number));
                    (Method::PATCH, path, APPLY, applied(number))
                })
                .await
            }
            Kind::List => self.lists().await,
            Kind::FanOut => self.fan_out().await,
            Kind::Crowd => {
                let figures = self
                    .each(self.sizes.crowd, |number| {
                        (Method::POST, CROWD.to_owned(), JSON, config_map(number, 1 << 10))
                    })
                    .await?;
                Ok(figures)
            }
        }
    }

    async fn each(
        &self,
        count: usize,
        request: impl Fn(usize) -> (Method, String, &'static str, Value) + Clone + Send + Sync + 'static,
    ) -> Result<Figures> {
        let client = self.client.clone();
        repeat(count, self.sizes.concurrency, self.sizes.limit, move |number| {
            let (client, request) = (client.clone(), request.clone());
            async move {
                let (method, path, kind, body) = request(number);
                let body = if body.is_null() { Bytes::new() } else { bytes(&body) };
                client.send(method, &path, kind, body).await.map(drop)
            }
        })
        .await
    }

    async fn lists(&self) -> Result<Figures> {
        let (client, expected) = (self.client.clone(), self.sizes.requests);
        repeat(self.sizes.lists, LISTERS, self.sizes.limit, move |_| {
            let client = client.clone();
            async move {
                let list = client.get(DEPLOYMENTS).await?;
                let items = memchr::memmem::find_iter(&list, b"\"creationTimestamp\":\"").count();
                ensure!(items >= expected, "the list has {items} objects, not {expected}");
                Ok(())
            }
        })
        .await
    }

    /// Writes that every watcher sees: how many events reach watchers a second, and how long after its write was sent
    /// each does.
    async fn fan_out(&self) -> Result<Figures> {
        for number in 0..WRITERS {
            self.client.send(Method::POST, FANNED, JSON, bytes(&stamped(number, 0))).await?;
        }
        let list: Value = serde_json::from_slice(&self.client.get(FANNED).await?)?;
        let version = list["metadata"]["resourceVersion"].as_str().context("the list has a version")?;
        let path = format!("{FANNED}?watch=true&resourceVersion={version}");
        let watching = Arc::new(Client::connect(&self.target, CONNECTIONS).await?);
        let epoch = Instant::now();
        let (fanned, limit) = (self.sizes.fanned, self.sizes.limit);
        let mut watchers = Vec::new();
        for _ in 0..self.sizes.watchers {
            let mut response = watching.open(Method::GET, &path, JSON, Bytes::new()).await?;
            watchers.push(tokio::spawn(async move {
                let mut latencies = Vec::with_capacity(fanned);
                let mut rest = Vec::new();
                let deadline = tokio::time::Instant::now() + limit;
                while latencies.len() < fanned {
                    let frame = tokio::time::timeout_at(deadline, response.frame())
                        .await
                        .with_context(|| format!("{} of {fanned} events came in time", latencies.len()))?
                        .context("the watch ended early")??;
                    let Some(data) = frame.data_ref() else { continue };
                    let now = epoch.elapsed();
                    rest.extend_from_slice(data);
                    let mut begin = 0;
                    while let Some(end) = memchr::memchr(b'\n', &rest[begin..]) {
                        let sent = stamp(&rest[begin..begin + end]).context("an event without its stamp")?;
                        latencies.push(now.saturating_sub(sent));
                        begin += end + 1;
                    }
                    rest.drain(..begin);
                }
                anyhow::Ok(latencies)
            }));
        }
        let begun = Instant::now();
        let client = self.client.clone();
        let turn = Arc::new(AtomicUsize::new(0));
        let writes = repeat(WRITERS, WRITERS, limit, move |writer| {
            let (client, turn) = (client.clone(), turn.clone());
            async move {
                while turn.fetch_add(1, Ordering::Relaxed) < fanned {
                    let body = stamped(writer, epoch.elapsed().as_micros());
                    client
                        .send(Method::PUT, &format!("{FANNED}/{}", name(writer)), JSON, bytes(&body))
                        .await?;
                }
                Ok(())
            }
        });
        writes.await?;
        let mut latencies = Vec::new();
        for watcher in watchers {
            latencies.extend(watcher.await??);
        }
        Ok(Figures::new(latencies.len(), begun.elapsed(), latencies))
    }

    /// Creates objects until their data is so many bytes.
    pub(crate) async fn fill(&self, total: usize) -> Result<()> {
        let count = total / FILLER;
        let client = self.client.clone();
        let limit = Duration::from_secs(300);
        let filled = repeat(count, self.sizes.concurrency, limit, move |number| {
            let client = client.clone();
            async move {
                client.send(Method::POST, CROWD, JSON, bytes(&config_map(number, FILLER))).await.map(drop)
            }
        })
        .await?;
        ensure!(filled.done == count, "{} of {count} objects were made in time", filled.done);
        Ok(())
    }

    pub(crate) async fn count_filled(&self) -> Result<usize> {
        let first: Value = serde_json::from_slice(&self.client.get(&format!("{CROWD}?limit=1")).await?)?;
        let rest = first["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
        Ok(first["items"].as_array().map_or(0, Vec::len) + usize::try_from(rest)?)
    }
}

fn bytes(value: &Value) -> Bytes {
    value.to_string().into()
}

fn name(number: usize) -> String {
    format!("object-{number:06}")
}

fn named(number: usize) -> String {
    format!("{DEPLOYMENTS}/{}", name(number))
}

fn deployment(number: usize, turn: usize) -> Value {
    let labels = json!({"app.kubernetes.io/name": name(number), "app.kubernetes.io/part-of": "bench"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name(number), "namespace": "bench", "labels": labels,
            "annotations": {"bench.example.org/turn": turn.to_string()}},
        "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{
                "name": "main", "image": "registry.example.org/team/service:1.2.3",
                "ports": [{"name": "http", "containerPort": 8080}],
                "env": [{"name": "LOG_LEVEL", "value": "info"}, {"name": "PORT", "value": "8080"}],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 5},
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }], "volumes": [{"name": "data", "emptyDir": {}}]},
        }},
    })
}

fn applied(number: usize) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name(number), "namespace": "bench", "annotations": {"bench.example.org/applied": "yes"}},
        "spec": {"replicas": 4, "template": {"spec": {"containers": [{
            "name": "main", "env": [{"name": "LOG_LEVEL", "value": "debug"}],
        }]}}},
    })
}

fn config_map(number: usize, size: usize) -> Value {
    let line = format!("{number:016}");
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name(number), "namespace": "crowd"},
        "data": {"text": line.repeat(size / line.len())},
    })
}

fn stamped(number: usize, micros: u128) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name(number), "namespace": "fan"},
        "data": {"sent": micros.to_string(), "more": "some text that makes the object less small than it would be"},
    })
}

/// When the write of an event was sent.
fn stamp(line: &[u8]) -> Option<Duration> {
    const FIELD: &[u8] = b"\"sent\":\"";
    let at = memchr::memmem::find(line, FIELD)? + FIELD.len();
    let end = memchr::memchr(b'"', &line[at..])?;
    Some(Duration::from_micros(std::str::from_utf8(&line[at..at + end]).ok()?.parse().ok()?))
}
