//! From what is known of the cluster to routes and certificates: pure.

use std::collections::{BTreeMap, BTreeSet};

use client::Key;
use routing::{HostMatch, PathMatch, RouteSpec, Target};

use crate::Certificate;
use crate::cluster::Cluster;
use crate::ingress::{Backend, Ingress, Port};

/// What to publish.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) routes: Vec<RouteSpec>,
    /// Every Service that a served Ingress names, whether it exists or not.
    pub(crate) services: BTreeSet<Key>,
    /// What keeps routes from being served, by Ingress.
    pub(crate) problems: BTreeMap<Key, Vec<String>>,
}

/// The Ingresses that are served, oldest first: of two that claim one host and path the older one has it.
fn served<'a>(cluster: &'a Cluster, own_class: &str) -> Vec<(&'a Key, &'a Ingress)> {
    let mut found: Vec<(&Key, &Ingress)> = cluster
        .ingresses
        .iter()
        .filter(|(_, ingress)| cluster.classes.serves(&ingress.class, own_class))
        .collect();
    found.sort_by(|(a_key, a), (b_key, b)| (&a.created, a_key).cmp(&(&b.created, b_key)));
    found
}

pub(crate) fn routes(cluster: &Cluster, own_class: &str) -> Plan {
    let mut plan = Plan::default();
    let mut taken = BTreeSet::new();
    let served = served(cluster, own_class);
    for (key, ingress) in &served {
        for path in &ingress.paths {
            let host = HostMatch::parse(&path.host);
            let matching = if path.exact {
                PathMatch::Exact(path.path.clone())
            } else {
                PathMatch::Prefix(path.path.clone())
            };
            if !taken.insert((host.clone(), matching.clone())) {
                plan.problem(
                    key,
                    format!("{}{} is already served for another Ingress or rule", path.host, path.path),
                );
                continue;
            }
            let exactly = if path.exact { "=" } else { "" };
            let name = format!("{key} {}{exactly}{}", path.host, path.path);
            plan.add(cluster, key, name, (host, matching), &path.backend);
        }
    }
    // A default backend takes what no rule of any Ingress takes.
    let rest = (HostMatch::Any, PathMatch::Prefix("/".to_owned()));
    let mut fallbacks = served.iter().filter_map(|(key, ingress)| Some((*key, ingress.fallback.as_ref()?)));
    if let Some((key, backend)) = fallbacks.next() {
        plan.add(cluster, key, format!("{key} default"), rest, backend);
    }
    for (key, _) in fallbacks {
        plan.problem(key, "spec.defaultBackend is already served for another Ingress".to_owned());
    }
    plan
}

impl Plan {
    fn problem(&mut self, ingress: &Key, text: String) {
        self.problems.entry(ingress.clone()).or_default().push(text);
    }

    fn add(
        &mut self,
        cluster: &Cluster,
        ingress: &Key,
        name: String,
        (host, path): (HostMatch, PathMatch),
        backend: &Backend,
    ) {
        let service = Key::new(ingress.namespace.as_deref(), &backend.service);
        self.services.insert(service.clone());
        let mut target = Target { backend: backend.label(&service), weight: 1, endpoints: Vec::new() };
        match port_name(cluster, &service, &backend.port) {
            Ok(port) => target.endpoints = cluster.endpoints(&service, port),
            Err(problem) => self.problem(ingress, problem),
        }
        self.routes.push(RouteSpec { name, host, path, targets: vec![target] });
    }
}

impl Backend {
    /// `shop/api:http`, `shop/api:80`.
    fn label(&self, service: &Key) -> String {
        match &self.port {
            Port::Number(number) => format!("{service}:{number}"),
            Port::Name(name) => format!("{service}:{name}"),
        }
    }
}

/// The name that EndpointSlices give the port of a Service.
fn port_name<'a>(cluster: &'a Cluster, service: &Key, wanted: &Port) -> Result<&'a str, String> {
    let known = cluster.services.get(service).ok_or_else(|| format!("service {service} does not exist"))?;
    if known.external {
        return Err(format!("service {service} is an ExternalName, which is not supported yet"));
    }
    let found = known.ports.iter().find(|(number, name)| match wanted {
        Port::Number(wanted) => number == wanted,
        Port::Name(wanted) => name == wanted,
    });
    found.map(|(_, name)| name.as_str()).ok_or_else(|| match wanted {
        Port::Number(number) => format!("service {service} has no port {number}"),
        Port::Name(name) => format!("service {service} has no port named {name:?}"),
    })
}

/// The certificates that served Ingresses ask for. One without hosts is for the hosts of the Ingress's rules.
pub(crate) fn certificates(cluster: &Cluster, own_class: &str) -> Vec<Certificate> {
    let mut names: Vec<(Key, BTreeSet<String>)> = Vec::new();
    for (key, ingress) in served(cluster, own_class) {
        for tls in &ingress.tls {
            let secret = Key::new(key.namespace.as_deref(), &tls.secret);
            let hosts: BTreeSet<String> = if tls.hosts.is_empty() {
                ingress.paths.iter().map(|path| path.host.clone()).filter(|host| !host.is_empty()).collect()
            } else {
                tls.hosts.iter().cloned().collect()
            };
            match names.iter_mut().find(|(known, _)| *known == secret) {
                Some((_, known)) => known.extend(hosts),
                None => names.push((secret, hosts)),
            }
        }
    }
    names
        .into_iter()
        .filter_map(|(secret, names)| {
            let found = cluster.secrets.get(&secret)?;
            Some(Certificate {
                names: names.into_iter().collect(),
                chain: found.chain.clone(),
                key: found.key.clone(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
