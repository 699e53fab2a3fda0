//! The endpoints of a Service, from its Pods.

use std::collections::{BTreeMap, HashMap};

use client::hash;
use objects::meta::{self, OwnerReference};
use serde_json::{Map, Value, json};

use crate::pods;

pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";
pub(super) const ENDPOINTS_MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const HEADLESS: &str = "service.kubernetes.io/headless";
/// As upstream's default for one slice, and its limit for one Endpoints object.
const SLICE_SIZE: usize = 100;
const ENDPOINTS_SIZE: usize = 1000;

/// A port as an endpoint serves it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    name: String,
    protocol: String,
    number: Option<i64>,
    app_protocol: Option<String>,
}

impl Port {
    fn to_value(&self) -> Value {
        let mut value = json!({ "name": self.name, "protocol": self.protocol, "port": self.number });
        if let Some(app_protocol) = &self.app_protocol {
            value["appProtocol"] = json!(app_protocol);
        }
        value
    }
}

/// Whether a Pod has an address that traffic could go to.
fn has_endpoint(pod: &Value) -> bool {
    !pods::is_finished(pod) && address(pod).is_some()
}

fn address(pod: &Value) -> Option<&str> {
    pod["status"]["podIP"].as_str().filter(|address| !address.is_empty())
}

/// The Service's ports on this Pod. A named target port that the Pod does not have is left out.
fn ports_on(service: &Value, pod: &Value) -> Vec<Port> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let mut found: Vec<Port> = ports
        .filter_map(|port| {
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            let number = target(port, protocol, pod)?;
            Some(Port {
                name: port["name"].as_str().unwrap_or("").to_owned(),
                protocol: protocol.to_owned(),
                number: Some(number),
                app_protocol: port["appProtocol"].as_str().map(str::to_owned),
            })
        })
        .collect();
    found.sort();
    found
}

fn target(port: &Value, protocol: &str, pod: &Value) -> Option<i64> {
    match &port["targetPort"] {
        Value::String(name) if name.parse::<i64>().is_err() => {
            let spec = &pod["spec"];
            let sidecars = spec["initContainers"].as_array().into_iter().flatten();
            let sidecars = sidecars.filter(|container| container["restartPolicy"] == "Always");
            let containers = spec["containers"].as_array().into_iter().flatten().chain(sidecars);
            containers.flat_map(|container| container["ports"].as_array().into_iter().flatten()).find(
                |candidate| {
                    candidate["name"] == name.as_str()
                        && candidate["protocol"].as_str().unwrap_or("TCP") == protocol
                },
            )?["containerPort"]
                .as_i64()
        }
        Value::Number(number) if number.as_i64() != Some(0) => number.as_i64(),
        Value::String(number) => number.parse().ok(),
        _ => port["port"].as_i64(),
    }
}

fn endpoint(service: &Value, pod: &Value, zones: &HashMap<String, String>) -> Value {
    let serving = pods::is_ready(pod);
    let terminating = meta::is_deleting(pod);
    let publish = service["spec"]["publishNotReadyAddresses"] == true;
    let mut endpoint = json!({
        "addresses": [address(pod)],
        "conditions": {
            "ready": publish || serving && !terminating,
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {
            "kind": "Pod", "name": meta::name(pod), "namespace": meta::namespace(pod), "uid": meta::uid(pod),
        },
    });
    if let Some(node) = pod["spec"]["nodeName"].as_str() {
        endpoint["nodeName"] = json!(node);
        if let Some(zone) = zones.get(node) {
            endpoint["zone"] = json!(zone);
        }
    }
    if let Some(hostname) = hostname(service, pod) {
        endpoint["hostname"] = json!(hostname);
    }
    endpoint
}

/// A Pod has a name of its own under a headless Service that is its subdomain.
fn hostname<'a>(service: &Value, pod: &'a Value) -> Option<&'a str> {
    let hostname = pod["spec"]["hostname"].as_str().filter(|hostname| !hostname.is_empty())?;
    (pod["spec"]["subdomain"] == meta::name(service)).then_some(hostname)
}

fn is_headless(service: &Value) -> bool {
    service["spec"]["clusterIP"] == "None"
}

/// All slices a Service should have; one without endpoints if nothing is selected, as upstream.
pub(super) fn slices(service: &Value, pods: &[Value], zones: &HashMap<String, String>) -> Vec<Value> {
    let mut groups: BTreeMap<Vec<Port>, Vec<Value>> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| has_endpoint(pod)) {
        let ports = ports_on(service, pod);
        // A headless Service has a use for Pods without ports: their addresses are its DNS records.
        if ports.is_empty() && !is_headless(service) {
            continue;
        }
        groups.entry(ports).or_default().push(endpoint(service, pod, zones));
    }
    if groups.is_empty() {
        groups.insert(Vec::new(), Vec::new());
    }
    let mut slices = Vec::new();
    for (ports, endpoints) in groups {
        let chunks: Vec<&[Value]> = match endpoints.is_empty() {
            true => vec![&[]],
            false => endpoints.chunks(SLICE_SIZE).collect(),
        };
        for (number, chunk) in chunks.into_iter().enumerate() {
            slices.push(slice(service, &ports, number, chunk));
        }
    }
    slices
}

fn slice(service: &Value, ports: &[Port], number: usize, endpoints: &[Value]) -> Value {
    let ports: Vec<Value> = ports.iter().map(Port::to_value).collect();
    let mut place = hash::template_hash(&json!([ports, number]), None);
    place.truncate(5);
    let name = meta::name(service);
    let prefix = &name[..name.len().min(57)];
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{prefix}-{place}"),
            "namespace": meta::namespace(service),
            "labels": labels(service, &[(SERVICE_NAME, name), (MANAGED_BY, MANAGER)]),
            "ownerReferences": [OwnerReference::controller(service).to_value()],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    })
}

/// The Service's own labels and those that mark the object as ours.
fn labels(service: &Value, own: &[(&str, &str)]) -> Map<String, Value> {
    let mut labels = meta::labels(service).cloned().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), json!(""));
    }
    labels.extend(own.iter().map(|(key, value)| ((*key).to_owned(), json!(value))));
    labels
}

/// The Endpoints object of a Service, for clients that still read it.
pub(super) fn endpoints(service: &Value, pods: &[Value]) -> Value {
    let publish = service["spec"]["publishNotReadyAddresses"] == true;
    let mut subsets: BTreeMap<Vec<Port>, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
    let candidates = pods.iter().filter(|pod| has_endpoint(pod) && (publish || !meta::is_deleting(pod)));
    for pod in candidates.take(ENDPOINTS_SIZE) {
        let ports = ports_on(service, pod);
        if ports.is_empty() && !is_headless(service) {
            continue;
        }
        let mut entry = json!({
            "ip": address(pod),
            "targetRef": {
                "kind": "Pod", "name": meta::name(pod), "namespace": meta::namespace(pod), "uid": meta::uid(pod),
            },
        });
        if let Some(node) = pod["spec"]["nodeName"].as_str() {
            entry["nodeName"] = json!(node);
        }
        if let Some(hostname) = hostname(service, pod) {
            entry["hostname"] = json!(hostname);
        }
        let subset = subsets.entry(ports).or_default();
        if publish || pods::is_ready(pod) { subset.0.push(entry) } else { subset.1.push(entry) }
    }
    let subsets: Vec<Value> = subsets
        .into_iter()
        .map(|(ports, (ready, not_ready))| {
            let mut subset = Map::new();
            let ports: Vec<Value> = ports.iter().map(endpoints_port).collect();
            for (field, list) in [("addresses", ready), ("notReadyAddresses", not_ready), ("ports", ports)] {
                if !list.is_empty() {
                    subset.insert(field.to_owned(), Value::Array(list));
                }
            }
            Value::Object(subset)
        })
        .collect();
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": meta::name(service),
            "namespace": meta::namespace(service),
            "labels": labels(service, &[(ENDPOINTS_MANAGED_BY, "endpoint-controller")]),
        },
    });
    if !subsets.is_empty() {
        object["subsets"] = Value::Array(subsets);
    }
    object
}

fn endpoints_port(port: &Port) -> Value {
    let mut value = port.to_value();
    if port.name.is_empty()
        && let Some(map) = value.as_object_mut()
    {
        map.remove("name");
    }
    value
}

/// Whether an existing object says already what is wanted, in these fields and its labels.
pub(super) fn same(known: &Value, wanted: &Value, fields: &[&str]) -> bool {
    let list = |object: &Value, field: &str| {
        object.get(field).cloned().filter(|v| !v.is_null()).unwrap_or(json!([]))
    };
    fields.iter().all(|field| list(known, field) == list(wanted, field))
        && meta::labels(known) == meta::labels(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(extra: Value) -> Value {
        let mut service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "web", "namespace": "a", "uid": "s", "labels": { "team": "x" } },
            "spec": { "clusterIP": "10.0.0.1", "ports": [
                { "name": "http", "port": 80, "targetPort": "http" }, { "name": "raw", "port": 81, "targetPort": 8081 },
                { "name": "same", "port": 82 }] },
        });
        objects::patch::merge(&mut service, &extra);
        service
    }

    fn pod(name: &str, ready: bool, port: i64) -> Value {
        let mut pod = crate::pods::tests::pod(name, ready.then_some(5));
        pod["status"]["podIP"] = json!(format!("10.1.0.{port}"));
        pod["spec"]["containers"] = json!([{ "ports": [{ "name": "http", "containerPort": port }] }]);
        pod
    }

    fn conditions(slice: &Value, index: usize) -> Value {
        slice["endpoints"][index]["conditions"].clone()
    }

    #[test]
    fn ports_are_resolved_per_pod() {
        let slices = slices(&service(json!({})), &[pod("p1", true, 8), pod("p2", true, 9)], &HashMap::new());
        assert_eq!(slices.len(), 2);
        let numbers: Vec<i64> =
            slices[0]["ports"].as_array().unwrap().iter().map(|p| p["port"].as_i64().unwrap()).collect();
        assert_eq!(numbers, [8, 8081, 82]);
        assert_ne!(meta::name(&slices[0]), meta::name(&slices[1]));
        assert_eq!(
            slices[0]["metadata"]["labels"],
            json!({ "team": "x", SERVICE_NAME: "web", MANAGED_BY: MANAGER })
        );
        let zones = HashMap::from([("p1".to_owned(), "z".to_owned())]);
        let slice = super::slices(&service(json!({})), &[pod("p1", true, 8)], &zones).remove(0);
        assert_eq!(slice["endpoints"][0]["zone"], "z");
        assert_eq!(slice["endpoints"][0]["nodeName"], "p1");
    }

    #[test]
    fn conditions_tell_ready_serving_and_terminating_apart() {
        let mut leaving = pod("c", true, 8);
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let mut done = pod("d", true, 8);
        done["status"]["phase"] = json!("Succeeded");
        let mut young = pod("e", false, 8);
        young["status"]["podIP"] = json!("");
        let pods = [pod("a", true, 8), pod("b", false, 8), leaving, done, young];
        let slice = slices(&service(json!({})), &pods, &HashMap::new()).remove(0);
        assert_eq!(slice["endpoints"].as_array().unwrap().len(), 3);
        assert_eq!(conditions(&slice, 0), json!({ "ready": true, "serving": true, "terminating": false }));
        assert_eq!(conditions(&slice, 1), json!({ "ready": false, "serving": false, "terminating": false }));
        assert_eq!(conditions(&slice, 2), json!({ "ready": false, "serving": true, "terminating": true }));
        let publish = service(json!({ "spec": { "publishNotReadyAddresses": true } }));
        let slice = super::slices(&publish, &pods, &HashMap::new()).remove(0);
        assert_eq!(conditions(&slice, 1), json!({ "ready": true, "serving": false, "terminating": false }));
        let object = endpoints(&service(json!({})), &pods);
        assert_eq!(object["subsets"][0]["addresses"].as_array().unwrap().len(), 1);
        assert_eq!(object["subsets"][0]["notReadyAddresses"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn headless_services_name_their_pods() {
        let headless = service(json!({ "spec": { "clusterIP": "None", "ports": null } }));
        let mut member = pod("web-0", true, 8);
        member["spec"]["hostname"] = json!("web-0");
        member["spec"]["subdomain"] = json!("web");
        let slice = slices(&headless, &[member], &HashMap::new()).remove(0);
        assert_eq!(slice["endpoints"][0]["hostname"], "web-0");
        assert_eq!(slice["ports"], json!([]));
        assert_eq!(meta::label(&slice, HEADLESS), Some(""));
    }

    #[test]
    fn nothing_selected_leaves_one_empty_slice_and_many_are_split() {
        let none = slices(&service(json!({})), &[], &HashMap::new());
        assert_eq!((none.len(), &none[0]["endpoints"]), (1, &json!([])));
        assert!(endpoints(&service(json!({})), &[]).get("subsets").is_none());
        let many: Vec<Value> = (0..250).map(|n| pod(&format!("p{n}"), true, 8)).collect();
        let slices = slices(&service(json!({})), &many, &HashMap::new());
        let sizes: Vec<usize> = slices.iter().map(|s| s["endpoints"].as_array().unwrap().len()).collect();
        assert_eq!(sizes, [100, 100, 50]);
        let mut names: Vec<&str> = slices.iter().map(meta::name).collect();
        names.dedup();
        assert_eq!(names.len(), 3);
    }
}
