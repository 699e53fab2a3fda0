//! An Application: its spec and project, its sources, its sync, its resources.

use objects::{Value, meta};
use sync::annotations::SKIP_RECONCILE;

use crate::facts::Found;
use crate::generic::deleting;
use crate::reading::{array, number, text};
use crate::tree::{Node, State};
use crate::{Path, Target};
use crate::{rolling, source};

pub(crate) fn application(path: &Path<'_>, target: &Target, object: &Value) -> Node {
    let this = This { path, target, object };
    if let Some(mut node) = deleting(target, object) {
        node.children.extend(this.conditions(&["DeletionError"]));
        node.children.extend(this.resources());
        return node;
    }
    let mut node = Node::of(target).with_status(this.words());
    if meta::annotation(object, SKIP_RECONCILE) == Some("true") {
        return node
            .blocked("nobody looks after it")
            .with_message(format!("the annotation {SKIP_RECONCILE} is set"));
    }
    node.children.extend(this.conditions(&["InvalidSpecError", "UnknownError", "DeletionError"]));
    for condition in array(object, "/status/conditions") {
        let message = text(condition, "/message");
        match text(condition, "/type") {
            "ComparisonError" => node.children.push(source::failing(object, &this.name(), message)),
            kind if kind.ends_with("Warning") => node.say(format!("{kind}: {message}")),
            _ => {}
        }
    }
    if text(object, "/status/sync/status").is_empty() && node.children.is_empty() {
        return node
            .waiting("never compared")
            .with_message("no controller has looked at it yet")
            .with_hint("is `mainstay up` (or Argo CD's application controller) running?");
    }
    let operation = this.operation();
    let told = operation.as_ref().is_some_and(|node| node.so_far() > State::Healthy);
    node.children.extend(operation);
    if !told && node.so_far() == State::Healthy {
        node.children.extend(this.unsynced());
    }
    node.children.extend(this.resources());
    if node.so_far() == State::Healthy {
        node.children.extend(this.unexplained());
    }
    node
}

struct This<'a> {
    path: &'a Path<'a>,
    target: &'a Target,
    object: &'a Value,
}

impl This<'_> {
    /// The name as it is typed.
    fn name(&self) -> String {
        if self.target.namespace == crate::NAMESPACE {
            self.target.name.clone()
        } else {
            format!("{}/{}", self.target.namespace, self.target.name)
        }
    }

    fn words(&self) -> String {
        let word = |pointer: &str| {
            Some(text(self.object, pointer)).filter(|word| !word.is_empty()).unwrap_or("Unknown")
        };
        format!("{}, {}", word("/status/sync/status"), word("/status/health/status"))
    }

    /// Errors that are told in one message.
    fn conditions(&self, kinds: &[&str]) -> Vec<Node> {
        let wanted = array(self.object, "/status/conditions")
            .iter()
            .filter(|condition| kinds.contains(&text(condition, "/type")));
        let nodes = wanted.map(|condition| {
            let (kind, message) = (text(condition, "/type"), text(condition, "/message"));
            let project = text(self.object, "/spec/project");
            let lower = message.to_lowercase();
            let of_project = lower.contains("project") || lower.contains("not permitted");
            let subject = match kind {
                "InvalidSpecError" if of_project => {
                    format!("project {}", if project.is_empty() { "default" } else { project })
                }
                "InvalidSpecError" => "its specification".to_owned(),
                _ => kind.to_owned(),
            };
            let status = match kind {
                "InvalidSpecError" if of_project && lower.contains("does not exist") => "does not exist",
                "InvalidSpecError" if of_project => "refuses it",
                "InvalidSpecError" => "is invalid",
                _ => "",
            };
            Node::new(subject).blocked(status).with_message(message)
        });
        nodes.collect()
    }

    /// The sync under way, asked for, or failed.
    fn operation(&self) -> Option<Node> {
        let state = &self.object["status"]["operationState"];
        let asked = self.object["operation"].is_object();
        if asked
            && (state.is_null()
                || !text(state, "/finishedAt").is_empty() && text(state, "/phase") != "Running")
        {
            return Some(Node::new("sync").waiting("asked for, and not taken up yet"));
        }
        let message = text(state, "/message");
        let revision = short(text(state, "/syncResult/revision"));
        let subject = if revision.is_empty() { "sync".to_owned() } else { format!("sync to {revision}") };
        let mut node = Node::new(subject).with_message(message);
        match text(state, "/phase") {
            "Running" | "Terminating" => {
                let retries = number(state, "/retryCount");
                node = if retries > 0 || !text(state, "/finishedAt").is_empty() {
                    node.blocked(format!("fails, tried again ({retries} times so far)"))
                } else {
                    node.waiting(text(state, "/phase").to_owned())
                };
            }
            "Failed" | "Error" if self.still_counts(state) => {
                let automated = state["operation"]["initiatedBy"]["automated"] == true;
                node = node.blocked(text(state, "/phase").to_owned());
                if automated {
                    // A missing namespace or kind is waited for.
                    let until = if awaits_something(message) {
                        "that is there or Git changes"
                    } else {
                        "Git changes"
                    };
                    node = node.with_hint(format!(
                        "nothing is tried again before {until}; `mainstay app sync {}` does it now",
                        self.name()
                    ));
                }
            }
            _ => return None,
        }
        node.children.extend(self.results(state));
        Some(node)
    }

    /// Whether what failed is still wanted: a failure that a later commit or sync made good is history.
    fn still_counts(&self, state: &Value) -> bool {
        let compared = &self.object["status"]["sync"];
        let result = &state["syncResult"];
        let same = ["revision", "revisions"].iter().all(|field| {
            let (failed, wanted) = (&result[*field], &compared[*field]);
            failed.is_null() || failed == wanted || failed == "" || wanted.is_null()
        });
        same || compared["status"] != "Synced"
    }

    /// What of the sync failed, or is waited for.
    fn results(&self, state: &Value) -> Vec<Node> {
        let mut nodes = Vec::new();
        for result in array(state, "/syncResult/resources") {
            let hook = text(result, "/hookType");
            let failed = text(result, "/status") == "SyncFailed"
                || matches!(text(result, "/hookPhase"), "Failed" | "Error");
            let runs = text(result, "/hookPhase") == "Running" && !hook.is_empty();
            if !failed && !runs {
                continue;
            }
            let target = target_of(result);
            let message = text(result, "/message");
            let mut node = match self.path.facts.object(&target) {
                // What was applied and then failed is explained by itself.
                Found::There(live) => {
                    let mut below = crate::known(&self.path.below(&target), &target, live);
                    below.messages.insert(0, message.to_owned());
                    below.messages.retain(|message| !message.is_empty());
                    below
                }
                _ => Node::of(&target).with_message(message),
            };
            if !hook.is_empty() {
                node.subject = format!("{hook} hook {}", node.subject);
            }
            if failed && node.own < State::Blocked {
                let status = if hook.is_empty() { "was not applied" } else { "failed" };
                node = node.blocked(status);
            }
            nodes.push(node);
        }
        nodes
    }

    /// Why what differs is not being synced.
    fn unsynced(&self) -> Option<Node> {
        if text(self.object, "/status/sync/status") != "OutOfSync" {
            return None;
        }
        let differing: Vec<&Value> = array(self.object, "/status/resources")
            .iter()
            .filter(|resource| text(resource, "/status") == "OutOfSync")
            .collect();
        let mut node = Node::new("sync");
        const SHOWN: usize = 10;
        for resource in differing.iter().take(SHOWN) {
            let pruning = if resource["requiresPruning"] == true { ", is no longer in Git" } else { "" };
            node.say(format!("{} differs{pruning}", target_of(resource)));
        }
        if differing.len() > SHOWN {
            node.say(format!("and {} more", differing.len() - SHOWN));
        }
        let automated = &self.object["spec"]["syncPolicy"]["automated"];
        let is_automated = automated.is_object() && automated["enabled"] != false;
        let only_pruning =
            !differing.is_empty() && differing.iter().all(|one| one["requiresPruning"] == true);
        let error = array(self.object, "/status/conditions").iter().find(|one| one["type"] == "SyncError");
        let sync = format!("mainstay app sync {}", self.name());
        Some(if let Some(error) = error {
            node.blocked("refused").with_message(text(error, "/message")).with_hint(sync)
        } else if let Some(waits) =
            (!is_automated).then(|| rolling::waits(self.path, self.object, &node)).flatten()
        {
            waits
        } else if !is_automated {
            node.blocked("nobody has synced it: its sync policy is manual").with_hint(format!("`{sync}`"))
        } else if only_pruning && automated["prune"] != true {
            node.blocked("automated pruning is off").with_hint(format!("`{sync} --prune`"))
        } else if self.was_synced() && automated["selfHeal"] != true {
            node.blocked("changed in the cluster, and selfHeal is off").with_hint(format!("`{sync}`"))
        } else {
            node.waiting("due")
        })
    }

    /// Whether the last sync brought what Git describes now.
    fn was_synced(&self) -> bool {
        let state = &self.object["status"]["operationState"];
        let compared = &self.object["status"]["sync"];
        text(state, "/phase") == "Succeeded"
            && ["revision", "revisions"]
                .iter()
                .all(|field| compared[*field].is_null() || compared[*field] == state["syncResult"][*field])
    }

    /// What it consists of, as far as there is anything to say of its kind.
    fn resources(&self) -> Vec<Node> {
        let deleting = meta::is_deleting(self.object);
        let mut nodes = Vec::new();
        for resource in array(self.object, "/status/resources") {
            let target = target_of(resource);
            if is_passive(&target)
                || resource["hook"] == true
                || resource["requiresPruning"] == true && !deleting
            {
                continue;
            }
            let node = match self.path.facts.object(&target) {
                // Something out of sync that is not there is told by the sync.
                Found::Absent if text(resource, "/status") == "OutOfSync" || deleting => continue,
                Found::Absent => Node::of(&target).blocked("not found"),
                _ => crate::object(self.path, &target),
            };
            nodes.push(node);
        }
        nodes
    }

    /// It says that it does not do well, and nothing was found that would explain it.
    fn unexplained(&self) -> Option<Node> {
        let health = text(self.object, "/status/health/status");
        let sync = text(self.object, "/status/sync/status");
        let message = text(self.object, "/status/health/message");
        match (sync, health) {
            ("Synced", "Healthy" | "Suspended") => None,
            (_, "Progressing") => Some(Node::new("health").waiting("Progressing").with_message(message)),
            ("Synced", health) => Some(Node::new("health").blocked(health.to_owned()).with_message(message)),
            (sync, _) => Some(Node::new("sync").blocked(sync.to_owned())),
        }
    }
}

/// The object that an entry of a status is about.
fn target_of(entry: &Value) -> Target {
    Target::new(text(entry, "/group"), text(entry, "/kind"), text(entry, "/namespace"), text(entry, "/name"))
}

/// A commit as it is usually shortened.
fn short(revision: &str) -> &str {
    let is_commit = revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_commit { &revision[..7] } else { revision }
}

/// Kinds that are what they are: they have neither health nor conditions.
fn is_passive(target: &Target) -> bool {
    match target.group.as_str() {
        "" => matches!(
            target.kind.as_str(),
            "ConfigMap"
                | "Secret"
                | "ServiceAccount"
                | "Endpoints"
                | "LimitRange"
                | "ResourceQuota"
                | "PodTemplate"
        ),
        "rbac.authorization.k8s.io"
        | "scheduling.k8s.io"
        | "storage.k8s.io"
        | "admissionregistration.k8s.io" => true,
        "networking.k8s.io" => target.kind != "Ingress",
        "argoproj.io" => target.kind == "AppProject",
        _ => false,
    }
}

/// Whether a sync failed only because something is not there yet: then it goes on by itself once it is.
fn awaits_something(message: &str) -> bool {
    message.starts_with("namespaces \"") && message.ends_with("\" not found")
        || message.starts_with("The Kubernetes API could not find ")
}
