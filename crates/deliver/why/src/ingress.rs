//! An Ingress: its class, the Services and ports its routes lead to, its certificates.

use objects::{Value, meta};

use crate::facts::Found;
use crate::generic::deleting;
use crate::pod::missing;
use crate::reading::{array, in_namespace, text};
use crate::service::has_port;
use crate::tree::{Node, State};
use crate::{Path, Target};

const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

pub(crate) fn ingress(path: &Path<'_>, target: &Target, object: &Value) -> Node {
    if let Some(node) = deleting(target, object) {
        return node;
    }
    let addressed = !array(object, "/status/loadBalancer/ingress").is_empty();
    let mut node = if addressed {
        Node::of(target).with_status("served")
    } else {
        Node::of(target).waiting("no address").with_message("no ingress controller has taken it up")
    };
    if !addressed {
        node.children.extend(class(path, object));
    }
    for (route, backend) in routes(object) {
        node.children.push(leads_to(path, target, &route, backend));
    }
    for tls in array(object, "/spec/tls") {
        if let Some(name) = tls["secretName"].as_str() {
            let hosts: Vec<&str> = array(tls, "/hosts").iter().filter_map(Value::as_str).collect();
            let used_by = format!(
                "TLS of {}",
                if hosts.is_empty() { "all hosts".to_owned() } else { hosts.join(", ") }
            );
            node.children.extend(missing(path, &in_namespace("", "Secret", target, name), &used_by));
        }
    }
    node
}

/// A class that is named and not there, or not named where none is the default.
fn class(path: &Path<'_>, ingress: &Value) -> Option<Node> {
    let classes = path.facts.list("networking.k8s.io", "IngressClass", "");
    if !classes.known {
        return None;
    }
    let known: Vec<&str> = classes.items.iter().map(meta::name).collect();
    let there = if known.is_empty() {
        "the cluster has none".to_owned()
    } else {
        format!("the cluster has: {}", known.join(", "))
    };
    let named = ingress
        .pointer("/spec/ingressClassName")
        .and_then(Value::as_str)
        .or_else(|| meta::annotation(ingress, CLASS_ANNOTATION));
    match named {
        Some(name) if known.contains(&name) => None,
        Some(name) => {
            let target = Target::new("networking.k8s.io", "IngressClass", "", name);
            Some(Node::of(&target).blocked("not found").with_message(there))
        }
        None => {
            let is_default = |class: &&Value| meta::annotation(class, DEFAULT_CLASS) == Some("true");
            if classes.items.iter().any(|class| is_default(&class)) {
                return None;
            }
            Some(
                Node::new("its class")
                    .blocked("it names no IngressClass, and none is the default")
                    .with_message(there),
            )
        }
    }
}

/// Every route as it reads, and its backend.
fn routes(ingress: &Value) -> Vec<(String, &Value)> {
    let default =
        ingress.pointer("/spec/defaultBackend").map(|backend| ("any other request".to_owned(), backend));
    let rules = array(ingress, "/spec/rules").iter().flat_map(|rule| {
        let host = rule["host"].as_str().unwrap_or("*");
        array(rule, "/http/paths")
            .iter()
            .map(move |path| (format!("{host}{}", path["path"].as_str().unwrap_or("/")), &path["backend"]))
    });
    rules.chain(default).collect()
}

fn leads_to(path: &Path<'_>, ingress: &Target, route: &str, backend: &Value) -> Node {
    let node = Node::new(format!("route {route}"));
    let name = text(backend, "/service/name");
    if name.is_empty() {
        return node.with_status("leads to no Service");
    }
    let target = in_namespace("", "Service", ingress, name);
    let port = &backend["service"]["port"];
    if let Found::There(service) = path.facts.object(&target)
        && text(service, "/spec/type") != "ExternalName"
        && !has_port(service, port)
    {
        let wanted = port["name"].as_str().map(str::to_owned).unwrap_or_else(|| port["number"].to_string());
        let there: Vec<String> = array(service, "/spec/ports")
            .iter()
            .map(|one| match one["name"].as_str() {
                Some(name) => format!("{} ({name})", one["port"]),
                None => one["port"].to_string(),
            })
            .collect();
        let below = Node::of(&target)
            .blocked(format!("has no port {wanted}"))
            .with_message(format!("its ports: {}", there.join(", ")));
        return node.with_status(format!("leads to Service {name}")).with(below);
    }
    let service = crate::object(path, &target);
    let node = node.with_status(format!("leads to Service {name}"));
    // A route whose Service is explained by its Pods needs no second telling.
    if service.so_far() > State::Healthy { node.with(service) } else { node }
}
