//! What is read of Ingresses and IngressClasses.

use std::collections::BTreeMap;

use client::Key;
use objects::meta;
use serde_json::{Map, Value};

use crate::CONTROLLER;

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";
/// What Traefik reads from annotations of an Ingress.
const TRAEFIK_PREFIX: &str = "traefik.ingress.kubernetes.io/";
/// Annotations of Traefik 1, which its later versions ignore as well.
const IGNORED: [&str; 4] = ["redirect-entry-point", "timeout.read", "timeout.write", "timeout.idle"];

/// How an Ingress names its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Class {
    None,
    Named(String),
    /// By the annotation that was in use before classes were objects.
    Annotated(String),
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Backend {
    pub(crate) service: String,
    pub(crate) port: Port,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Port {
    Number(u16),
    Name(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) exact: bool,
    pub(crate) backend: Backend,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) secret: String,
    pub(crate) hosts: Vec<String>,
}

/// An Ingress, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ingress {
    /// Older ones win; RFC 3339 sorts as text.
    pub(crate) created: String,
    pub(crate) class: Class,
    pub(crate) paths: Vec<Path>,
    pub(crate) fallback: Option<Backend>,
    pub(crate) tls: Vec<Tls>,
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The class an Ingress names; the annotation wins, as it does for Traefik.
pub(crate) fn class(ingress: &Value) -> Class {
    if let Some(name) = meta::annotation(ingress, CLASS_ANNOTATION).filter(|name| !name.is_empty()) {
        return Class::Annotated(name.to_owned());
    }
    match ingress.pointer("/spec/ingressClassName").and_then(Value::as_str) {
        Some(name) if !name.is_empty() => Class::Named(name.to_owned()),
        _ => Class::None,
    }
}

impl Ingress {
    pub(crate) fn read(ingress: &Value) -> Self {
        let mut paths = Vec::new();
        for rule in items(ingress, "/spec/rules") {
            for path in items(rule, "/http/paths") {
                let Some(backend) = Backend::read(&path["backend"]) else { continue };
                let written = text(path, "path");
                paths.push(Path {
                    host: text(rule, "host").to_ascii_lowercase(),
                    path: if written.is_empty() { "/".to_owned() } else { written.to_owned() },
                    exact: text(path, "pathType") == "Exact",
                    backend,
                });
            }
        }
        let tls = items(ingress, "/spec/tls").map(|tls| Tls {
            secret: text(tls, "secretName").to_owned(),
            hosts: items(tls, "/hosts").filter_map(Value::as_str).map(str::to_ascii_lowercase).collect(),
        });
        Self {
            created: meta::creation_timestamp(ingress).unwrap_or_default().to_owned(),
            class: class(ingress),
            fallback: ingress.pointer("/spec/defaultBackend").and_then(Backend::read),
            tls: tls.filter(|tls| !tls.secret.is_empty()).collect(),
            paths,
        }
    }
}

impl Backend {
    fn read(backend: &Value) -> Option<Self> {
        let service = backend.get("service")?;
        let port = service.get("port")?;
        let port =
            match (port.get("number").and_then(Value::as_u64), port.get("name").and_then(Value::as_str)) {
                (Some(number), _) => Port::Number(u16::try_from(number).ok()?),
                (None, Some(name)) => Port::Name(name.to_owned()),
                (None, None) => return None,
            };
        Some(Self { service: service.get("name")?.as_str()?.to_owned(), port })
    }
}

/// What an Ingress asks for that is not done: the field and what is wrong with it, as sentences for its events.
pub(crate) fn problems(ingress: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let fallback = ingress.pointer("/spec/defaultBackend").map(|it| ("spec.defaultBackend".to_owned(), it));
    let mut backends: Vec<(String, &Value)> = fallback.into_iter().collect();
    for (rule_index, rule) in items(ingress, "/spec/rules").enumerate() {
        for (index, path) in items(rule, "/http/paths").enumerate() {
            let place = format!("spec.rules[{rule_index}].http.paths[{index}].backend");
            backends.push((place, &path["backend"]));
        }
    }
    for (place, backend) in backends {
        if backend.get("resource").is_some_and(|resource| !resource.is_null()) {
            found.push(format!("{place}.resource is not supported yet; the path is not served"));
        } else if Backend::read(backend).is_none() {
            found.push(format!("{place}.service names no service and port; the path is not served"));
        }
    }
    for name in meta::annotations(ingress).into_iter().flat_map(Map::keys) {
        if let Some(rest) = name.strip_prefix(TRAEFIK_PREFIX) {
            found.push(if IGNORED.contains(&rest) {
                format!("annotation {name} has no effect: Traefik knows it no more since version 2")
            } else {
                format!("annotation {name} is not supported yet")
            });
        }
    }
    found
}

/// The IngressClasses there are, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Classes {
    known: BTreeMap<String, KnownClass>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct KnownClass {
    ours: bool,
    default: bool,
}

impl Classes {
    /// Takes a class in; says whether anything changed.
    pub(crate) fn insert(&mut self, class: &Value) -> bool {
        let known = KnownClass {
            ours: class.pointer("/spec/controller").and_then(Value::as_str) == Some(CONTROLLER),
            default: meta::annotation(class, DEFAULT_ANNOTATION) == Some("true"),
        };
        self.known.insert(meta::name(class).to_owned(), known.clone()) != Some(known)
    }

    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.known.remove(name).is_some()
    }

    pub(crate) fn keep(&mut self, keys: &[Key]) -> bool {
        let before = self.known.len();
        self.known.retain(|name, _| keys.iter().any(|key| key.name == *name));
        self.known.len() != before
    }

    /// Whether an Ingress of this class is served. One without a class is, unless another controller's class is the
    /// default; `own` is served also while its object is missing.
    pub(crate) fn serves(&self, class: &Class, own: &str) -> bool {
        match class {
            Class::Named(name) | Class::Annotated(name) => {
                self.known.get(name).map_or(name == own, |known| known.ours)
            }
            Class::None => {
                let default =
                    |ours: bool| self.known.values().any(|known| known.default && known.ours == ours);
                default(true) || !default(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn class_object(name: &str, controller: &str, default: bool) -> Value {
        json!({"metadata": {"name": name, "annotations": {DEFAULT_ANNOTATION: default.to_string()}},
            "spec": {"controller": controller}})
    }

    #[test]
    fn classes_are_matched_by_controller() {
        let mut classes = Classes::default();
        let named = |name: &str| Class::Named(name.to_owned());
        assert!(classes.serves(&named("traefik"), "traefik"));
        assert!(classes.serves(&Class::Annotated("traefik".to_owned()), "traefik"));
        assert!(!classes.serves(&named("alb"), "traefik"));
        assert!(classes.serves(&Class::None, "traefik"));
        assert!(classes.insert(&class_object("alb", "ingress.k8s.aws/alb", true)));
        assert!(!classes.insert(&class_object("alb", "ingress.k8s.aws/alb", true)), "nothing changed");
        assert!(!classes.serves(&Class::None, "traefik"), "another controller's class is the default");
        classes.insert(&class_object("public", CONTROLLER, true));
        assert!(classes.serves(&Class::None, "traefik"));
        assert!(classes.serves(&named("public"), "traefik"));
        classes.insert(&class_object("traefik", "somebody/else", false));
        assert!(!classes.serves(&named("traefik"), "traefik"));
        assert!(classes.keep(&[]));
        assert!(classes.serves(&named("traefik"), "traefik"));
    }

    #[test]
    fn an_ingress_is_read_and_its_oddities_named() {
        let object = json!({
            "metadata": {"name": "web", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": {
                "traefik.ingress.kubernetes.io/router.middlewares": "a-b@kubernetescrd",
                "traefik.ingress.kubernetes.io/redirect-entry-point": "https"}},
            "spec": {
                "ingressClassName": "traefik",
                "defaultBackend": {"resource": {"kind": "Bucket", "name": "b"}},
                "tls": [{"hosts": ["Shop.Example"], "secretName": "cert"}, {"hosts": ["x"]}],
                "rules": [{"host": "Shop.Example", "http": {"paths": [
                    {"pathType": "Prefix", "path": "/api/", "backend": {"service": {"name": "api", "port": {"name": "http"}}}},
                    {"pathType": "Exact", "path": "/run", "backend": {"service": {"name": "api", "port": {"number": 80}}}},
                    {"pathType": "ImplementationSpecific", "backend": {"service": {"name": "api"}}},
                ]}}, {"host": "empty"}],
            },
        });
        let read = Ingress::read(&object);
        assert_eq!(read.class, Class::Named("traefik".to_owned()));
        assert_eq!(read.paths.len(), 2);
        assert_eq!(read.paths[0].host, "shop.example");
        assert_eq!(read.paths[0].backend.port, Port::Name("http".to_owned()));
        assert!(read.paths[1].exact);
        assert_eq!(read.tls, [Tls { secret: "cert".to_owned(), hosts: vec!["shop.example".to_owned()] }]);
        assert_eq!(read.fallback, None);
        let problems = problems(&object);
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(problems[0].starts_with("spec.defaultBackend.resource is not supported yet"));
        assert!(problems[1].starts_with("spec.rules[0].http.paths[2].backend.service names no"));
    }
}
