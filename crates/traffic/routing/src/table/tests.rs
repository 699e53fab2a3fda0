use super::*;
use crate::InFlight;
use proptest::prelude::*;

fn spec(name: &str, host: &str, path: PathMatch, ports: &[u16]) -> RouteSpec {
    let endpoints = ports.iter().map(|port| SocketAddr::from(([10, 0, 0, 1], *port))).collect();
    let targets = vec![Target { backend: name.to_owned(), weight: 1, endpoints }];
    RouteSpec { name: name.to_owned(), host: HostMatch::parse(host), path, targets }
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.to_owned())
}

fn found<'a>(table: &'a Table, host: &str, path: &str) -> Option<&'a str> {
    table.find(host, path).map(|route| route.name.as_str())
}

#[test]
fn the_most_specific_route_wins() {
    let table = Table::new(
        [
            spec("any", "", prefix("/"), &[1]),
            spec("site", "codedang.com", prefix("/"), &[2]),
            spec("api", "codedang.com", prefix("/api/"), &[3]),
            spec("run", "codedang.com", PathMatch::Exact("/api/run".to_owned()), &[4]),
            spec("preview", "*.codedang.com", prefix("/"), &[5]),
        ],
        None,
    );
    assert_eq!(found(&table, "codedang.com", "/"), Some("site"));
    assert_eq!(found(&table, "codedang.com", "/api"), Some("api"));
    assert_eq!(found(&table, "codedang.com", "/api/x"), Some("api"));
    assert_eq!(found(&table, "codedang.com", "/apis"), Some("site"));
    assert_eq!(found(&table, "codedang.com", "/api/run"), Some("run"));
    assert_eq!(found(&table, "7.codedang.com", "/"), Some("preview"));
    assert_eq!(found(&table, "a.b.codedang.com", "/"), Some("any"), "a wildcard is one label");
    assert_eq!(found(&table, "localhost", "/x"), Some("any"));
}

#[test]
fn a_host_without_the_path_falls_through_to_less_specific_ones() {
    let table =
        Table::new([spec("api", "a.b", prefix("/api"), &[1]), spec("wild", "*.b", prefix("/"), &[1])], None);
    assert_eq!(found(&table, "a.b", "/other"), Some("wild"));
    assert_eq!(found(&table, "b", "/"), None);
}

#[test]
fn the_first_of_two_equal_routes_wins() {
    let table = Table::new([spec("old", "h", prefix("/"), &[1]), spec("new", "h", prefix("/"), &[2])], None);
    assert_eq!(found(&table, "h", "/"), Some("old"));
}

#[test]
fn counters_survive_a_change() {
    let before = Table::new([spec("r", "h", prefix("/"), &[1, 2])], None);
    let route = before.find("h", "/").unwrap();
    route.stats.retried();
    let _busy = InFlight::new(route.backend(|| 0).unwrap().endpoints()[1].clone());

    let after = Table::new([spec("r", "h", prefix("/"), &[2, 3])], Some(&before));
    let route = after.find("h", "/").unwrap();
    assert_eq!(route.stats.snapshot().retries, 1);
    let busy: Vec<usize> = route.backend(|| 0).unwrap().endpoints().iter().map(|e| e.in_flight()).collect();
    assert_eq!(busy, [1, 0]);
}

#[test]
fn shares_follow_weights_and_skip_what_has_no_endpoint() {
    let address = SocketAddr::from(([10, 0, 0, 1], 1));
    let target = |backend: &str, weight, endpoints: &[SocketAddr]| Target {
        backend: backend.to_owned(),
        weight,
        endpoints: endpoints.to_vec(),
    };
    let with = |targets| {
        let spec = RouteSpec { name: "r".to_owned(), host: HostMatch::Any, path: prefix("/"), targets };
        Table::new([spec], None)
    };
    let table =
        with(vec![target("stable", 8, &[address]), target("canary", 2, &[address]), target("dead", 90, &[])]);
    let route = table.find("h", "/").unwrap();
    let mut counts = BTreeMap::new();
    for random in 0..100 {
        *counts.entry(route.backend(|| random).unwrap().name.as_str()).or_insert(0) += 1;
    }
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("canary", 20), ("stable", 80)]);
    let empty = with(vec![target("dead", 1, &[])]);
    assert!(empty.find("h", "/").unwrap().backend(|| 0).is_none());
    let none = with(vec![]);
    assert!(none.find("h", "/").unwrap().backend(|| 0).is_none());
}

proptest! {
    /// The indexed lookup agrees with trying every route by the documented precedence.
    #[test]
    fn lookup_agrees_with_a_plain_search(
        routes in prop::collection::vec(("(a|b|\\*)\\.(x|y)|", "(/[ab]){0,3}/?", any::<bool>()), 0..12),
        host in "(a|b|c)\\.(x|y)",
        path in "(/[ab]){1,4}/?",
    ) {
        let specs: Vec<RouteSpec> = routes
            .iter()
            .enumerate()
            .map(|(index, (host, path, exact))| {
                let path = if path.is_empty() { "/".to_owned() } else { path.clone() };
                let path = if *exact { PathMatch::Exact(path) } else { PathMatch::Prefix(path) };
                spec(&index.to_string(), host, path, &[1])
            })
            .collect();
        let host_rank = |spec: &RouteSpec| match &spec.host {
            HostMatch::Exact(exact) => (*exact == host).then_some(0),
            HostMatch::Wildcard(suffix) => (host.split_once('.').unwrap().1 == suffix).then_some(1),
            HostMatch::Any => Some(2),
        };
        let expected = specs
            .iter()
            .enumerate()
            .filter(|(_, spec)| spec.path.matches(&path))
            .filter_map(|(index, spec)| Some(((host_rank(spec)?, spec.path.precedence(), index), spec.name.clone())))
            .min()
            .map(|(_, name)| name);
        let table = Table::new(specs.clone(), None);
        prop_assert_eq!(table.find(&host, &path).map(|route| route.name.clone()), expected);
    }
}
