//! What a person sees while a platform comes up: a line for each thing that changed, and when it all stands.
//!
//! Pure: objects go in, lines come out. What an object waits for is taken from its own status, so that nothing is
//! said here that `kubectl get` would not show as well.

use std::collections::BTreeMap;

use serde_json::Value;

/// What is known of the platform, by what was last said of each object.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    applications: BTreeMap<String, Line>,
    pods: BTreeMap<String, Line>,
}

/// What an object is doing, and whether it still moves by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    text: String,
    moving: bool,
}

impl Progress {
    /// Takes an Application as it is now; returns the line to print if it says something new.
    pub(crate) fn application(&mut self, object: &Value) -> Option<String> {
        let name = object["metadata"]["name"].as_str()?.to_owned();
        let line = application(object);
        note(&mut self.applications, "application", name, line)
    }

    /// Takes a Pod as it is now; returns the line to print if it says something new.
    pub(crate) fn pod(&mut self, object: &Value) -> Option<String> {
        let metadata = &object["metadata"];
        let name = format!("{}/{}", metadata["namespace"].as_str()?, metadata["name"].as_str()?);
        let line = pod(object);
        note(&mut self.pods, "pod", name, line)
    }

    pub(crate) fn application_gone(&mut self, name: &str) -> Option<String> {
        self.applications.remove(name).map(|_| row("application", name, "removed"))
    }

    pub(crate) fn pod_gone(&mut self, namespace: &str, name: &str) -> Option<String> {
        let name = format!("{namespace}/{name}");
        self.pods.remove(&name).map(|_| row("pod", &name, "removed"))
    }

    /// Whether there is something and nothing of it still moves: each application has reached what it can reach
    /// and each pod serves or says what it lacks.
    pub(crate) fn settled(&self) -> bool {
        let still = |lines: &BTreeMap<String, Line>| lines.values().all(|line| !line.moving);
        !self.applications.is_empty() && still(&self.applications) && still(&self.pods)
    }

    /// What did not get where it should: a row each.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let wanting =
            |line: &&(&String, &Line)| !matches!(line.1.text.as_str(), "Synced, Healthy" | "Ready" | "done");
        let applications = self.applications.iter().collect::<Vec<_>>();
        let pods = self.pods.iter().collect::<Vec<_>>();
        let rows = |kind: &'static str, lines: Vec<(&String, &Line)>| {
            lines.iter().filter(wanting).map(|(name, line)| row(kind, name, &line.text)).collect::<Vec<_>>()
        };
        [rows("application", applications), rows("pod", pods)].concat()
    }
}

fn note(lines: &mut BTreeMap<String, Line>, kind: &str, name: String, line: Line) -> Option<String> {
    if lines.get(&name) == Some(&line) {
        return None;
    }
    let text = row(kind, &name, &line.text);
    lines.insert(name, line);
    Some(text)
}

fn row(kind: &str, name: &str, text: &str) -> String {
    format!("{kind:<11} {name:<40} {text}")
}

/// "Synced, Healthy" or what keeps it from that, in the controller's words.
fn application(object: &Value) -> Line {
    let status = &object["status"];
    let Some(sync) = status["sync"]["status"].as_str() else {
        return Line { text: "waiting for the first comparison".to_owned(), moving: true };
    };
    let health = status["health"]["status"].as_str().unwrap_or("Unknown");
    let operation = &status["operationState"];
    let running = operation["phase"] == "Running" && operation["retryCount"].as_u64().unwrap_or(0) == 0;
    let errors: Vec<&str> = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|condition| condition["type"].as_str().is_some_and(|kind| kind.ends_with("Error")))
        .filter_map(|condition| condition["message"].as_str())
        .collect();
    let mut text = format!("{sync}, {health}");
    let said = if !errors.is_empty() {
        errors.join("; ")
    } else if sync != "Synced" || running {
        operation["message"].as_str().unwrap_or_default().to_owned()
    } else {
        status["health"]["message"].as_str().unwrap_or_default().to_owned()
    };
    if !said.is_empty() {
        text.push_str(": ");
        text.push_str(said.lines().next().unwrap_or_default());
    }
    let waiting_for_sync = sync == "OutOfSync" && operation["phase"].as_str().is_none() && errors.is_empty();
    Line { text, moving: running || waiting_for_sync || matches!(health, "Progressing") }
}

/// "Ready", "done", or what it waits for.
fn pod(object: &Value) -> Line {
    let line = |text: String, moving| Line { text, moving };
    if object["metadata"]["deletionTimestamp"].is_string() {
        return line("stopping".to_owned(), true);
    }
    let status = &object["status"];
    match status["phase"].as_str() {
        Some("Succeeded") => return line("done".to_owned(), false),
        Some("Failed") => return line(reason("Failed", status), false),
        _ => {}
    }
    let condition = |kind: &str| {
        status["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == kind)
    };
    if let Some(scheduled) = condition("PodScheduled").filter(|scheduled| scheduled["status"] == "False") {
        return line(reason("unscheduled", scheduled), false);
    }
    for container in ["initContainerStatuses", "containerStatuses"]
        .iter()
        .flat_map(|kind| status[*kind].as_array().into_iter().flatten())
    {
        let waiting = &container["state"]["waiting"];
        let Some(why) = waiting["reason"].as_str() else { continue };
        match why {
            "ContainerCreating" | "PodInitializing" => {}
            // The two take turns while a pull is tried again; that is no news.
            "ErrImagePull" | "ImagePullBackOff" => {
                let image = container["image"].as_str().unwrap_or_default();
                return line(format!("cannot pull {image}; tried again with back-off"), false);
            }
            _ => return line(reason(why, waiting), false),
        }
    }
    if condition("Ready").is_some_and(|ready| ready["status"] == "True") {
        return line("Ready".to_owned(), false);
    }
    let text = match status["phase"].as_str() {
        Some("Running") => "running, waiting for its readiness probe",
        _ => "starting",
    };
    line(text.to_owned(), true)
}

/// A reason with its message, if it has one.
fn reason(short: &str, status: &Value) -> String {
    match status["message"].as_str().and_then(|message| message.lines().next()) {
        Some(message) if !message.is_empty() => format!("{short}: {message}"),
        _ => short.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn application(name: &str, status: Value) -> Value {
        json!({"metadata": {"name": name}, "status": status})
    }

    fn pod(status: Value) -> Value {
        json!({"metadata": {"namespace": "gateway", "name": "gateway-1"}, "status": status})
    }

    fn text(line: Option<String>) -> String {
        line.unwrap_or_default().split_whitespace().skip(2).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_news_are_printed() {
        let mut progress = Progress::default();
        let synced =
            application("gateway", json!({"sync": {"status": "Synced"}, "health": {"status": "Healthy"}}));
        assert_eq!(text(progress.application(&synced)), "Synced, Healthy");
        assert_eq!(progress.application(&synced), None);
        assert!(progress.settled());
        assert_eq!(progress.unfinished(), [""; 0]);
        assert!(progress.application_gone("gateway").is_some());
        assert!(!progress.settled(), "nothing at all is not settled");
    }

    #[test]
    fn an_application_says_what_it_lacks() {
        let mut progress = Progress::default();
        assert_eq!(
            text(progress.application(&application("a", json!({})))),
            "waiting for the first comparison"
        );
        let unknown = json!({
            "sync": {"status": "Unknown"}, "health": {"status": "Healthy"},
            "conditions": [{"type": "ComparisonError", "message": "cannot reach https://charts.example.com\nmore"}],
        });
        assert_eq!(
            text(progress.application(&application("a", unknown))),
            "Unknown, Healthy: cannot reach https://charts.example.com"
        );
        assert!(progress.settled());
        assert_eq!(progress.unfinished().len(), 1);
        let failing = json!({
            "sync": {"status": "OutOfSync"}, "health": {"status": "Healthy"},
            "operationState": {"phase": "Running", "retryCount": 1, "message": "namespaces \"jenkins\" not found"},
        });
        assert_eq!(
            text(progress.application(&application("a", failing))),
            "OutOfSync, Healthy: namespaces \"jenkins\" not found"
        );
        assert!(progress.settled(), "what is tried again does not keep the rest waiting");
    }

    #[test]
    fn a_pod_says_what_it_waits_for() {
        let mut progress = Progress::default();
        progress.application(&application("a", json!({"sync": {"status": "Synced"}})));
        assert_eq!(text(progress.pod(&pod(json!({"phase": "Pending"})))), "starting");
        assert!(!progress.settled());
        let missing = json!({"phase": "Pending", "containerStatuses": [
            {"state": {"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"app-secrets\" not found"}}}
        ]});
        assert_eq!(
            text(progress.pod(&pod(missing))),
            "CreateContainerConfigError: secret \"app-secrets\" not found"
        );
        assert!(progress.settled());
        assert_eq!(
            text(progress.pod(&pod(
                json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]})
            ))),
            "running, waiting for its readiness probe"
        );
        for why in ["ErrImagePull", "ImagePullBackOff"] {
            let pull = json!({"phase": "Pending", "containerStatuses": [
                {"image": "ghcr.io/a/b:7", "state": {"waiting": {"reason": why, "message": "no route"}}}
            ]});
            let said = if why == "ErrImagePull" {
                "cannot pull ghcr.io/a/b:7; tried again with back-off"
            } else {
                ""
            };
            assert_eq!(text(progress.pod(&pod(pull))), said, "it is said once");
        }
        let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(text(progress.pod(&pod(ready))), "Ready");
        let unscheduled = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}
        ]});
        assert_eq!(
            text(progress.pod(&pod(unscheduled))),
            "unscheduled: 0/1 nodes are available: 1 Insufficient cpu."
        );
    }
}
