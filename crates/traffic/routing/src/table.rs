//! The table: routes in the order in which they are tried.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::{Backend, Endpoint, HostMatch, PathMatch, Stats};

/// A backend of a route and its share of the requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The backend's name, as in `gateway/gateway:http`.
    pub backend: String,
    /// Its share in proportion to its siblings; 0 gets nothing.
    pub weight: u32,
    /// The addresses that serve it; one share each.
    pub endpoints: Vec<SocketAddr>,
}

/// A route to be put into a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSpec {
    /// Names the route in statistics; unique within a table.
    pub name: String,
    pub host: HostMatch,
    pub path: PathMatch,
    pub targets: Vec<Target>,
}

/// A route: where the requests that match it go.
#[derive(Debug)]
pub struct Route {
    pub name: String,
    pub path: PathMatch,
    pub stats: Arc<Stats>,
    targets: Vec<(u32, Backend)>,
    total: u32,
}

impl Route {
    /// The backend that this request falls to; `None` if no backend has both a share and an endpoint.
    pub fn backend(&self, mut random: impl FnMut() -> u32) -> Option<&Backend> {
        if let [(_, only)] = self.targets.as_slice() {
            return (self.total > 0).then_some(only);
        }
        let mut left = random().checked_rem(self.total)?;
        self.targets.iter().find_map(|(weight, backend)| {
            if left < *weight {
                return Some(backend);
            }
            left -= weight;
            None
        })
    }

    pub fn backends(&self) -> impl Iterator<Item = &Backend> {
        self.targets.iter().map(|(_, backend)| backend)
    }
}

/// An immutable route table.
#[derive(Debug, Default)]
pub struct Table {
    exact: HashMap<String, Vec<Arc<Route>>>,
    wildcard: HashMap<String, Vec<Arc<Route>>>,
    any: Vec<Arc<Route>>,
    endpoints: HashMap<SocketAddr, Arc<Endpoint>>,
}

impl Table {
    /// Makes a table of routes, which takes over the counters of `previous`. Of two routes with the same host and
    /// path the first one given wins.
    #[must_use]
    pub fn new(specs: impl IntoIterator<Item = RouteSpec>, previous: Option<&Self>) -> Self {
        let stats: HashMap<&str, &Arc<Stats>> = previous
            .into_iter()
            .flat_map(Self::routes)
            .map(|route| (route.name.as_str(), &route.stats))
            .collect();
        let mut table = Self::default();
        let mut by_host: BTreeMap<HostMatch, Vec<Arc<Route>>> = BTreeMap::new();
        for spec in specs {
            let stats = stats.get(spec.name.as_str()).map(|stats| Arc::clone(stats)).unwrap_or_default();
            let targets: Vec<(u32, Backend)> = spec
                .targets
                .into_iter()
                .map(|target| {
                    let weight = if target.endpoints.is_empty() { 0 } else { target.weight };
                    (weight, table.backend(target, previous))
                })
                .collect();
            let total = targets.iter().map(|(weight, _)| weight).sum();
            let route = Route { name: spec.name, path: spec.path, stats, targets, total };
            by_host.entry(spec.host).or_default().push(Arc::new(route));
        }
        for (host, mut routes) in by_host {
            // A stable sort keeps the given order among equals.
            routes.sort_by_key(|route| route.path.precedence());
            match host {
                HostMatch::Exact(host) => drop(table.exact.insert(host, routes)),
                HostMatch::Wildcard(suffix) => drop(table.wildcard.insert(suffix, routes)),
                HostMatch::Any => table.any = routes,
            }
        }
        table
    }

    fn backend(&mut self, target: Target, previous: Option<&Self>) -> Backend {
        let endpoints = target
            .endpoints
            .into_iter()
            .map(|address| {
                let known = || previous.and_then(|table| table.endpoints.get(&address)).cloned();
                let endpoint = self
                    .endpoints
                    .entry(address)
                    .or_insert_with(|| known().unwrap_or_else(|| Arc::new(Endpoint::new(address))));
                Arc::clone(endpoint)
            })
            .collect();
        Backend { name: target.backend, endpoints }
    }

    /// The route of a request. `host` is in lower case and without a port, `path` without a query. The most specific
    /// host that has a matching path wins.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        let among = |routes: Option<&'_ Vec<Arc<Route>>>| {
            routes.and_then(|routes| routes.iter().position(|route| route.path.matches(path)))
        };
        if let Some(index) = among(self.exact.get(host)) {
            return self.exact.get(host)?.get(index);
        }
        let suffix = host.split_once('.').map_or("", |(_, suffix)| suffix);
        if let Some(index) = among(self.wildcard.get(suffix)) {
            return self.wildcard.get(suffix)?.get(index);
        }
        self.any.iter().find(|route| route.path.matches(path))
    }

    /// Every route, in no particular order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.exact.values().chain(self.wildcard.values()).flatten().chain(&self.any)
    }
}

#[cfg(test)]
mod tests;
