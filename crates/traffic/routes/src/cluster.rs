//! What is kept of the objects that routes are made of.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use client::Key;
use client::watch::Event;
use objects::meta;
use serde_json::Value;

use crate::ingress::{Classes, Ingress};

/// The label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The kinds that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Ingresses,
    Classes,
    Services,
    Slices,
    Secrets,
}

/// The ports of a Service: number and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) ports: Vec<(u16, String)>,
    /// An `ExternalName` has no endpoints.
    pub(crate) external: bool,
}

/// The addresses of an EndpointSlice that take requests now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slice {
    service: Key,
    ports: Vec<(String, u16)>,
    ready: Vec<IpAddr>,
}

/// Certificate chain and key of a TLS Secret, PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TlsSecret {
    pub(crate) chain: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

/// Everything that tables and certificates are made of.
#[derive(Default)]
pub(crate) struct Cluster {
    pub(crate) classes: Classes,
    pub(crate) ingresses: BTreeMap<Key, Ingress>,
    pub(crate) services: BTreeMap<Key, Service>,
    slices: BTreeMap<Key, Slice>,
    /// Slices by the Service they belong to.
    by_service: BTreeMap<Key, Vec<Key>>,
    pub(crate) secrets: BTreeMap<Key, TlsSecret>,
}

/// What an event means for what is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    /// Routes may differ everywhere.
    Routes,
    /// Routes to this Service may differ.
    Service(Key),
    Certificates,
}

impl Cluster {
    pub(crate) fn take(&mut self, source: Source, event: Event) -> Vec<Change> {
        match event {
            Event::Applied(object) => vec![self.applied(source, &object)],
            Event::Deleted(object) => vec![self.deleted(source, &Key::of(&object))],
            Event::Resynced(keys) => self.keep(source, &keys),
        }
    }

    fn applied(&mut self, source: Source, object: &Value) -> Change {
        let key = Key::of(object);
        match source {
            Source::Classes => if_changed(self.classes.insert(object), Change::Routes),
            Source::Ingresses => {
                let ingress = Ingress::read(object);
                let before = self.ingresses.insert(key, ingress.clone());
                if_changed(before.as_ref() != Some(&ingress), Change::Routes)
            }
            Source::Services => {
                let service = Service::read(object);
                let before = self.services.insert(key.clone(), service.clone());
                if_changed(before.as_ref() != Some(&service), Change::Service(key))
            }
            Source::Slices => self.slice_applied(key, object),
            Source::Secrets => match TlsSecret::read(object) {
                Some(secret) => {
                    let before = self.secrets.insert(key, secret.clone());
                    if_changed(before.as_ref() != Some(&secret), Change::Certificates)
                }
                None => self.deleted(source, &key),
            },
        }
    }

    fn slice_applied(&mut self, key: Key, object: &Value) -> Change {
        let Some(slice) = Slice::read(object) else { return self.deleted(Source::Slices, &key) };
        let service = slice.service.clone();
        match self.slices.get(&key) {
            Some(before) if *before == slice => return Change::Nothing,
            Some(before) if before.service != service => drop(self.deleted(Source::Slices, &key)),
            _ => {}
        }
        let siblings = self.by_service.entry(service.clone()).or_default();
        if !siblings.contains(&key) {
            siblings.push(key.clone());
            siblings.sort();
        }
        self.slices.insert(key, slice);
        Change::Service(service)
    }

    fn deleted(&mut self, source: Source, key: &Key) -> Change {
        match source {
            Source::Classes => if_changed(self.classes.remove(&key.name), Change::Routes),
            Source::Ingresses => if_changed(self.ingresses.remove(key).is_some(), Change::Routes),
            Source::Services => if_changed(self.services.remove(key).is_some(), Change::Service(key.clone())),
            Source::Secrets => if_changed(self.secrets.remove(key).is_some(), Change::Certificates),
            Source::Slices => {
                let Some(slice) = self.slices.remove(key) else { return Change::Nothing };
                if let Some(siblings) = self.by_service.get_mut(&slice.service) {
                    siblings.retain(|sibling| sibling != key);
                    if siblings.is_empty() {
                        self.by_service.remove(&slice.service);
                    }
                }
                Change::Service(slice.service)
            }
        }
    }

    /// Forgets what a complete list did not name.
    fn keep(&mut self, source: Source, keys: &[Key]) -> Vec<Change> {
        let named: std::collections::BTreeSet<&Key> = keys.iter().collect();
        let known: Vec<Key> = match source {
            Source::Classes => return vec![if_changed(self.classes.keep(keys), Change::Routes)],
            Source::Ingresses => self.ingresses.keys().cloned().collect(),
            Source::Services => self.services.keys().cloned().collect(),
            Source::Slices => self.slices.keys().cloned().collect(),
            Source::Secrets => self.secrets.keys().cloned().collect(),
        };
        known.iter().filter(|key| !named.contains(key)).map(|key| self.deleted(source, key)).collect()
    }

    /// Where requests to a port of a Service go now; sorted, each once.
    pub(crate) fn endpoints(&self, service: &Key, port_name: &str) -> Vec<SocketAddr> {
        let slices =
            self.by_service.get(service).into_iter().flatten().filter_map(|key| self.slices.get(key));
        let mut found: Vec<SocketAddr> = slices
            .flat_map(|slice| {
                let ports = slice.ports.iter().filter(|(name, _)| name == port_name).map(|(_, port)| *port);
                ports.flat_map(|port| slice.ready.iter().map(move |ip| SocketAddr::new(*ip, port)))
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn if_changed(changed: bool, change: Change) -> Change {
    if changed { change } else { Change::Nothing }
}

fn port(value: &Value) -> Option<u16> {
    u16::try_from(value.as_u64()?).ok().filter(|port| *port != 0)
}

fn items<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn name_of(port: &Value) -> String {
    port["name"].as_str().unwrap_or_default().to_owned()
}

impl Service {
    fn read(object: &Value) -> Self {
        let ports = items(object, "/spec/ports").filter_map(|it| Some((port(&it["port"])?, name_of(it))));
        Self { ports: ports.collect(), external: object["spec"]["type"] == "ExternalName" }
    }
}

impl Slice {
    /// `None` for a slice of no Service, or of names instead of addresses.
    fn read(object: &Value) -> Option<Self> {
        if object["addressType"] == "FQDN" {
            return None;
        }
        let service = meta::label(object, SERVICE_NAME).filter(|name| !name.is_empty())?;
        let ports = items(object, "/ports").filter_map(|it| Some((name_of(it), port(&it["port"])?)));
        let ready = items(object, "/endpoints").filter(|endpoint| takes_requests(endpoint));
        let addresses = ready.flat_map(|endpoint| items(endpoint, "/addresses"));
        Some(Self {
            service: Key::new(meta::namespace(object), service),
            ports: ports.collect(),
            ready: addresses.filter_map(|address| address.as_str()?.parse().ok()).collect(),
        })
    }
}

/// Ready (an unknown readiness counts as ready, by the API's definition) and not terminating.
fn takes_requests(endpoint: &Value) -> bool {
    let condition = |name: &str| endpoint["conditions"][name].as_bool();
    condition("ready").unwrap_or(true) && !condition("terminating").unwrap_or(false)
}

impl TlsSecret {
    fn read(object: &Value) -> Option<Self> {
        let decode = |field: &str| {
            let text = object.pointer(&format!("/data/{field}"))?.as_str()?;
            base64::engine::general_purpose::STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty())
        };
        Some(Self { chain: decode("tls.crt")?, key: decode("tls.key")? })
    }
}
