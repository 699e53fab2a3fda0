//! One container: its image, its configuration, its runs, its probes.

use objects::Value;

use crate::facts::{Found, Warning};
use crate::pod::missing;
use crate::reading::{array, in_namespace, text};
use crate::tree::{Node, State};
use crate::{Path, Target};

/// A container of a Pod.
struct Place<'a> {
    path: &'a Path<'a>,
    pod: &'a Target,
    object: &'a Value,
    /// From the spec.
    spec: &'a Value,
    init: bool,
}

/// The containers of a Pod that is not ready: up to the first init container that is not done, or all others.
pub(crate) fn containers(path: &Path<'_>, pod: &Target, object: &Value) -> Vec<Node> {
    let mut nodes = Vec::new();
    for spec in array(object, "/spec/initContainers") {
        let place = Place { path, pod, object, spec, init: true };
        let node = place.explain();
        if node.so_far() > State::Healthy {
            nodes.push(node);
            return nodes;
        }
    }
    for spec in array(object, "/spec/containers") {
        nodes.push(Place { path, pod, object, spec, init: false }.explain());
    }
    nodes
}

impl Place<'_> {
    fn name(&self) -> &str {
        self.spec["name"].as_str().unwrap_or_default()
    }

    fn status(&self) -> Option<&Value> {
        let list = if self.init { "/status/initContainerStatuses" } else { "/status/containerStatuses" };
        array(self.object, list).iter().find(|status| status["name"] == self.name())
    }

    fn node(&self) -> Node {
        let word = if self.init { "init container" } else { "container" };
        Node::new(format!("{word} {}", self.name()))
    }

    /// The Events about it that warn.
    fn warnings(&self) -> Vec<Warning> {
        let field = format!("{{{}}}", self.name());
        let all = self.path.facts.warnings(self.pod);
        all.into_iter().filter(|warning| warning.field.ends_with(&field)).collect()
    }

    fn explain(&self) -> Node {
        let Some(status) = self.status() else {
            return self.node().waiting("not started");
        };
        let state = &status["state"];
        if state["waiting"].is_object() {
            return self.waiting(status);
        }
        if state["terminated"].is_object() {
            return self.ended(&state["terminated"]);
        }
        let restartable = self.spec["restartPolicy"] == "Always";
        if self.init && (!restartable || status["started"] == true) {
            return self.node().waiting("running");
        }
        if status["ready"] == true {
            return self.node().with_status("ready");
        }
        self.probed(status)
    }

    fn waiting(&self, status: &Value) -> Node {
        let waiting = &status["state"]["waiting"];
        let why = waiting["reason"].as_str().unwrap_or("waiting");
        let message = waiting["message"].as_str().unwrap_or_default();
        match why {
            "ContainerCreating" | "PodInitializing" => {
                let mut node = self.node().waiting(why).with_message(message);
                for warning in self.warnings().iter().rev().take(2) {
                    node.say(warning.text());
                }
                node
            }
            "ErrImagePull"
            | "ImagePullBackOff"
            | "ErrImageNeverPull"
            | "InvalidImageName"
            | "ImageInspectError"
            | "RegistryUnavailable" => self.image(why, message),
            "CrashLoopBackOff" => self.crashing(status, message),
            "CreateContainerConfigError" => {
                let mut node = self.node().blocked(why).with_message(message);
                node.children.extend(self.references());
                node
            }
            _ => {
                let node = self.node().blocked(why).with_message(message);
                self.warnings()
                    .iter()
                    .rev()
                    .take(2)
                    .fold(node, |node, warning| node.with_message(warning.text()))
            }
        }
    }

    fn image(&self, why: &str, message: &str) -> Node {
        let image = self.spec["image"].as_str().unwrap_or_default();
        let mut node = self.node().blocked(why).with_message(format!("image {image}")).with_message(message);
        // While a pull waits to be tried again, only the Event says why it failed.
        let failed = |warning: &&Warning| warning.reason == "Failed" && warning.message.contains("pull");
        if let Some(warning) = self.warnings().iter().rev().find(failed) {
            node.say(warning.message.clone());
        }
        for secret in array(self.object, "/spec/imagePullSecrets") {
            let name = secret["name"].as_str().unwrap_or_default();
            let target = in_namespace("", "Secret", self.pod, name);
            if let Some(mut found) = missing(self.path, &target, "spec.imagePullSecrets") {
                // An image may be public all the same.
                found = found.in_state(State::Waiting);
                node.children.push(found);
            }
        }
        node
    }

    fn crashing(&self, status: &Value, message: &str) -> Node {
        let last = &status["lastState"]["terminated"];
        let count = status["restartCount"].as_i64().unwrap_or(0);
        let mut node = self.node().blocked(format!("CrashLoopBackOff, {count} restarts"));
        node.say(ending(last));
        node.say(last["message"].as_str().unwrap_or_default());
        if last.is_null() {
            node.say(message);
        }
        // A probe that fails ends the container too.
        for warning in self.warnings().iter().filter(|warning| warning.reason == "Unhealthy") {
            node.say(warning.text());
        }
        node.log = self.path.facts.log(self.pod, self.name(), true);
        if node.log.is_empty() {
            node.log = self.path.facts.log(self.pod, self.name(), false);
        }
        node
    }

    fn ended(&self, terminated: &Value) -> Node {
        if terminated["exitCode"].as_i64() == Some(0) {
            let restarts = !self.init && text(self.object, "/spec/restartPolicy") != "Never";
            let node = self.node().with_status("completed");
            return if restarts && text(self.object, "/spec/restartPolicy") == "Always" {
                node.waiting("completed").with_message("its restartPolicy is Always: it is started again")
            } else {
                node
            };
        }
        let mut node = self.node().blocked(ending(terminated));
        node.say(terminated["message"].as_str().unwrap_or_default());
        node.log = self.path.facts.log(self.pod, self.name(), false);
        node
    }

    /// It runs, and a probe keeps it from being ready.
    fn probed(&self, status: &Value) -> Node {
        let probe = if status["started"] == false { "startup" } else { "readiness" };
        let warnings = self.warnings();
        let failing = warnings.iter().rev().find(|warning| {
            warning.reason == "Unhealthy" && warning.message.to_lowercase().starts_with(probe)
        });
        let mut node = match failing {
            Some(warning) => {
                self.node().blocked(format!("{probe} probe fails")).with_message(warning.message.clone())
            }
            None => self.node().waiting(format!("running, waiting for its {probe} probe")),
        };
        if let Some(what) = described(&self.spec[&*format!("{probe}Probe")]) {
            node.say(format!("{probe}Probe: {what}"));
        }
        let last = &status["lastState"]["terminated"];
        if last.is_object() {
            node.say(format!("its last run: {}", ending(last)));
        }
        node.log = self.path.facts.log(self.pod, self.name(), false);
        node
    }

    /// Secrets and ConfigMaps that its environment names, as far as they or their keys are missing.
    fn references(&self) -> Vec<Node> {
        let mut found = Vec::new();
        for source in array(self.spec, "/envFrom") {
            for (field, kind) in [("secretRef", "Secret"), ("configMapRef", "ConfigMap")] {
                if let Some(name) =
                    source[field]["name"].as_str().filter(|_| source[field]["optional"] != true)
                {
                    found.extend(missing(self.path, &in_namespace("", kind, self.pod, name), "envFrom"));
                }
            }
        }
        for variable in array(self.spec, "/env") {
            for (field, kind) in [("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")] {
                let reference = &variable["valueFrom"][field];
                let (Some(name), Some(key)) = (reference["name"].as_str(), reference["key"].as_str()) else {
                    continue;
                };
                if reference["optional"] == true {
                    continue;
                }
                let used_by = format!("the variable {}", variable["name"].as_str().unwrap_or_default());
                let target = in_namespace("", kind, self.pod, name);
                match self.path.facts.object(&target) {
                    Found::Absent => found.extend(missing(self.path, &target, &used_by)),
                    Found::There(object) if !has_key(object, key) => found.push(
                        Node::of(&target)
                            .blocked(format!("has no key {key}"))
                            .with_message(format!("{used_by} needs it")),
                    ),
                    _ => {}
                }
            }
        }
        let mut unique: Vec<Node> = Vec::new();
        for node in found {
            if !unique.iter().any(|before| before.subject == node.subject && before.status == node.status) {
                unique.push(node);
            }
        }
        unique
    }
}

fn has_key(object: &Value, key: &str) -> bool {
    ["data", "stringData", "binaryData"].iter().any(|field| object[*field].get(key).is_some())
}

/// `OOMKilled (exit code 137)`, `Error (exit code 1)`.
fn ending(terminated: &Value) -> String {
    if terminated.is_null() {
        return String::new();
    }
    let code = terminated["exitCode"].as_i64().unwrap_or(0);
    let why = terminated["reason"].as_str().filter(|why| !why.is_empty());
    let signal = terminated["signal"].as_i64().filter(|signal| *signal != 0);
    match (why, signal) {
        (Some(why), _) => format!("ended: {why}, exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => format!("ended with exit code {code}"),
    }
}

/// `GET http :8080/healthz`, `tcp :5432`, `exec pg_isready`.
fn described(probe: &Value) -> Option<String> {
    let port =
        |value: &Value| value.as_str().map(str::to_owned).or_else(|| Some(value.as_i64()?.to_string()));
    if let Some(get) = probe.get("httpGet") {
        let scheme = get["scheme"].as_str().unwrap_or("HTTP");
        let path = get["path"].as_str().unwrap_or("/");
        return Some(format!("GET {scheme} :{}{path}", port(&get["port"])?));
    }
    if let Some(socket) = probe.get("tcpSocket") {
        return Some(format!("tcp :{}", port(&socket["port"])?));
    }
    let command: Vec<&str> = probe["exec"]["command"].as_array()?.iter().filter_map(Value::as_str).collect();
    Some(format!("exec {}", command.join(" ")))
}
