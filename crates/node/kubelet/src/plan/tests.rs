use super::*;
use crate::observed::{Failed, Health, Instance};
use crate::pod::PodId;
use serde_json::{Value, json};

const NOW: i64 = 100_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A Pod and what is known of it, to be asked what is next.
struct Situation {
    pod: Pod,
    containers: Containers,
    surroundings: Surroundings,
    leaving: Option<Leaving>,
    now: Timestamp,
}

impl Situation {
    fn new(spec: Value) -> Situation {
        let mut spec = spec;
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                container["image"] = json!("image");
            }
        }
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec});
        Situation {
            pod: serde_json::from_value(pod).unwrap(),
            containers: Containers::new(),
            surroundings: Surroundings::Ready,
            leaving: None,
            now: at(NOW),
        }
    }

    fn set(&mut self, name: &str, state: InstanceState) -> &mut Observed {
        let observed = self.containers.entry(name.to_owned()).or_default();
        let attempt = observed.current.as_ref().map_or(0, |instance| instance.attempt);
        observed.current = Some(Instance {
            attempt,
            id: format!("{name}-{attempt}"),
            image: "image".into(),
            image_id: String::new(),
            interrupted: false,
            replaced: false,
            state,
        });
        observed
    }

    fn run(&mut self, name: &str) -> &mut Observed {
        let observed = self.set(name, InstanceState::Running { started_at: at(NOW - 60) });
        observed.health = Health { started: true, ready: true, failed: None };
        observed
    }

    fn exit(&mut self, name: &str, code: i32) -> &mut Observed {
        self.set(
            name,
            InstanceState::Exited(Exit {
                code,
                signal: None,
                reason: "Error".into(),
                message: None,
                started_at: Some(at(NOW - 60)),
                finished_at: at(NOW),
            }),
        )
    }

    fn plan(&self) -> Plan {
        let id = PodId { namespace: "n".into(), name: "p".into(), uid: "u".into() };
        plan(&View {
            pod: &self.pod,
            id: &id,
            now: self.now,
            start_time: at(NOW - 100),
            containers: &self.containers,
            surroundings: self.surroundings,
            leaving: self.leaving,
            refused: None,
            terminal: false,
        })
    }

    fn actions(&self) -> Vec<String> {
        let text = |action: &Action| match action {
            Action::SetUp => "set up".to_owned(),
            Action::Start { container, attempt } => format!("start {container} {attempt}"),
            Action::CancelStart { container } => format!("cancel {container}"),
            Action::Stop { container, grace, .. } => format!("stop {container} {}s", grace.as_secs()),
            Action::Release => "release".to_owned(),
        };
        self.plan().actions.iter().map(text).collect()
    }

    fn waiting(&self, name: &str) -> String {
        self.plan().waiting.get(name).map(|waiting| waiting.reason.clone()).unwrap_or_default()
    }
}

fn two() -> Situation {
    Situation::new(json!({"containers": [{"name": "a"}, {"name": "b"}]}))
}

#[test]
fn surroundings_come_first() {
    let mut situation = two();
    situation.surroundings = Surroundings::Absent;
    assert_eq!(situation.actions(), ["set up"]);
    assert_eq!(situation.waiting("a"), "ContainerCreating");
    situation.surroundings = Surroundings::Partial { retry_at: Some(at(NOW + 5)) };
    assert_eq!(situation.actions(), [""; 0]);
    assert_eq!(situation.plan().wake, Some(at(NOW + 5)));
    situation.surroundings = Surroundings::Ready;
    assert_eq!(situation.actions(), ["start a 0", "start b 0"]);
}

#[test]
fn nothing_is_asked_twice() {
    let mut situation = two();
    situation.containers.entry("a".into()).or_default().busy = Some(Busy::Starting);
    situation.run("b");
    assert_eq!(situation.actions(), [""; 0]);
    assert_eq!(situation.waiting("a"), "ContainerCreating");
}

#[test]
fn init_containers_run_one_after_the_other() {
    let mut situation = Situation::new(json!({
        "initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}],
    }));
    assert_eq!(situation.actions(), ["start i 0"]);
    assert_eq!(situation.waiting("a"), "PodInitializing");
    situation.run("i");
    assert_eq!(situation.actions(), [""; 0]);
    situation.exit("i", 1);
    assert_eq!(situation.actions(), ["start i 1"], "the first restart is at once");
    situation.exit("i", 0);
    assert_eq!(situation.actions(), ["start j 0"]);
    situation.exit("j", 0);
    assert_eq!(situation.actions(), ["start a 0"]);
    situation.run("a");
    situation.containers.remove("i");
    assert_eq!(situation.actions(), [""; 0], "an initialized Pod does not run them again");
}

#[test]
fn a_failed_init_container_ends_a_pod_that_never_restarts() {
    let mut situation = Situation::new(json!({
        "restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}],
    }));
    situation.exit("i", 3);
    assert_eq!(situation.actions(), ["release"]);
    assert_eq!(situation.plan().end, Some(End::ForGood));
}

#[test]
fn sidecars_start_in_turn_keep_running_and_stop_last() {
    let mut situation = Situation::new(json!({
        "terminationGracePeriodSeconds": 5, "restartPolicy": "Never",
        "initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "t", "restartPolicy": "Always"}],
        "containers": [{"name": "a"}],
    }));
    assert_eq!(situation.actions(), ["start s 0"]);
    situation.run("s").health.started = false;
    assert_eq!(situation.actions(), [""; 0], "the next waits for its startup probe");
    situation.run("s");
    assert_eq!(situation.actions(), ["start t 0"]);
    situation.run("t");
    situation.run("a");
    situation.exit("s", 1);
    assert_eq!(situation.actions(), ["start s 1"], "whatever the Pod's policy");
    situation.run("s");
    situation.exit("a", 0);
    assert_eq!(situation.actions(), ["stop t 5s"]);
    situation.exit("t", 0);
    assert_eq!(situation.actions(), ["stop s 5s"]);
    situation.exit("s", 0);
    assert_eq!(situation.actions(), ["release"]);
}

#[test]
fn restart_policies() {
    for (policy, code, expected) in [
        ("Always", 0, "start a 1"),
        ("OnFailure", 1, "start a 1"),
        ("OnFailure", 0, "release"),
        ("Never", 1, "release"),
    ] {
        let mut situation = Situation::new(json!({"restartPolicy": policy, "containers": [{"name": "a"}]}));
        situation.exit("a", code);
        assert_eq!(situation.actions(), [expected], "{policy} {code}");
    }
}

#[test]
fn crash_loops_wait_longer_each_time() {
    let mut situation = Situation::new(json!({"containers": [{"name": "a"}]}));
    let observed = situation.exit("a", 1);
    observed.backoff.attempt(at(NOW - 1), at(NOW - 1));
    assert_eq!(situation.actions(), [""; 0]);
    let plan = situation.plan();
    assert_eq!(plan.wake, Some(at(NOW + 10)));
    assert_eq!(
        plan.waiting["a"].message.as_deref(),
        Some("back-off 10s restarting failed container=a pod=p_n(u)")
    );
    assert_eq!(plan.waiting["a"].reason, "CrashLoopBackOff");
    situation.now = at(NOW + 10);
    assert_eq!(situation.actions(), ["start a 1"]);
}

#[test]
fn a_failed_probe_and_a_new_image_stop_the_container() {
    let mut situation = two();
    situation.run("a").health.failed =
        Some(Failed { probe: "liveness", grace: Some(Duration::from_secs(3)) });
    situation.run("b").current.as_mut().unwrap().image = "old".into();
    assert_eq!(situation.actions(), ["stop a 3s", "stop b 30s"]);
}

#[test]
fn a_start_that_failed_waits_for_its_time_or_its_cause() {
    let mut situation = Situation::new(json!({"containers": [{"name": "a"}]}));
    let mut waiting = Waiting::new("ImagePullBackOff");
    waiting.retry_at = Some(at(NOW + 20));
    situation.containers.entry("a".into()).or_default().waiting = Some(waiting);
    assert_eq!((situation.actions(), situation.plan().wake), (vec![], Some(at(NOW + 20))));
    situation.containers.get_mut("a").unwrap().waiting = Some(Waiting::new("CreateContainerConfigError"));
    assert_eq!((situation.actions(), situation.plan().wake), (vec![], None));
    assert_eq!(situation.waiting("a"), "CreateContainerConfigError");
    situation.containers.get_mut("a").unwrap().waiting = None;
    assert_eq!(situation.actions(), ["start a 0"]);
}

#[test]
fn post_start_hooks_hold_back_what_follows() {
    let hook = json!({"postStart": {"exec": {"command": ["x"]}}});
    let mut situation =
        Situation::new(json!({"containers": [{"name": "a", "lifecycle": hook}, {"name": "b"}]}));
    assert_eq!(situation.actions(), ["start a 0"]);
    situation.run("a").busy = Some(Busy::Starting);
    assert_eq!(situation.actions(), [""; 0]);
    situation.run("a").busy = None;
    assert_eq!(situation.actions(), ["start b 0"]);
}

#[test]
fn deletion_stops_everything_then_releases() {
    let mut situation = two();
    situation.run("a");
    situation.containers.entry("b".into()).or_default().busy = Some(Busy::Starting);
    situation.leaving = Some(Leaving::Deleted { grace: Duration::from_secs(30) });
    assert_eq!(situation.actions(), ["stop a 30s", "cancel b"]);
    situation.containers.get_mut("b").unwrap().busy = None;
    situation.run("a").busy = Some(Busy::Stopping { grace: Duration::from_secs(30) });
    assert_eq!(situation.actions(), [""; 0]);
    situation.leaving = Some(Leaving::Deleted { grace: Duration::from_secs(1) });
    assert_eq!(situation.actions(), ["stop a 1s"], "a second deletion shortens the wait");
    situation.exit("a", 143);
    situation.containers.get_mut("a").unwrap().busy = None;
    assert_eq!(situation.actions(), ["release"]);
    situation.surroundings = Surroundings::Held { retry_at: at(NOW + 1) };
    assert_eq!(
        (situation.actions(), situation.plan().wake),
        (vec![], Some(at(NOW + 1))),
        "not at once again"
    );
    situation.now = at(NOW + 1);
    assert_eq!(situation.actions(), ["release"]);
    situation.surroundings = Surroundings::Absent;
    assert!(situation.plan().end == Some(End::ForGood) && situation.actions().is_empty());
}

#[test]
fn a_deadline_fails_the_pod() {
    let mut situation = Situation::new(json!({"activeDeadlineSeconds": 120, "containers": [{"name": "a"}]}));
    situation.run("a");
    assert_eq!(situation.plan().wake, Some(at(NOW + 20)));
    situation.now = at(NOW + 20);
    assert_eq!(situation.actions(), ["stop a 30s"]);
    let verdict = situation.plan().verdict.unwrap();
    assert_eq!((verdict.phase, verdict.reason), ("Failed", Some("DeadlineExceeded")));
}

#[test]
fn a_node_shutdown_keeps_the_surroundings_and_is_made_good() {
    let mut situation = Situation::new(json!({
        "restartPolicy": "OnFailure", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}],
    }));
    situation.exit("i", 0);
    situation.run("a");
    situation.leaving = Some(Leaving::NodeShutdown { grace: Duration::from_secs(10) });
    assert_eq!(situation.actions(), ["stop a 10s"]);
    situation.exit("a", 143);
    assert_eq!(situation.actions(), [""; 0]);
    assert_eq!(situation.plan().end, Some(End::UntilNextStart));
    situation.leaving = None;
    for observed in situation.containers.values_mut() {
        observed.current.as_mut().unwrap().interrupted = true;
    }
    assert_eq!(situation.actions(), ["start i 1"], "everything runs again, whatever the exit code");
    situation.exit("i", 0).current.as_mut().unwrap().attempt = 1;
    assert_eq!(situation.actions(), ["start a 1"]);
}

#[test]
fn a_node_shutdown_ends_what_never_runs_twice() {
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "s", "restartPolicy": "Always"}],
        "containers": [{"name": "a"}],
    });
    let shutdown = Some(Leaving::NodeShutdown { grace: Duration::from_secs(10) });
    let mut situation = Situation::new(spec.clone());
    situation.leaving = shutdown;
    assert_eq!(situation.plan().end, Some(End::UntilNextStart), "nothing of it ran: it runs later");
    situation.run("s").current.as_mut().unwrap().interrupted = true;
    situation.run("a").current.as_mut().unwrap().interrupted = true;
    assert_eq!(situation.actions(), ["stop a 10s"]);
    for name in ["a", "s"] {
        situation.exit(name, 0).current.as_mut().unwrap().interrupted = true;
    }
    for leaving in [shutdown, None] {
        situation.leaving = leaving;
        let plan = situation.plan();
        assert_eq!((plan.end, situation.actions()), (Some(End::ForGood), vec!["release".to_owned()]));
        assert_eq!(plan.verdict.unwrap().reason, Some("Terminated"));
    }
    // Its work was done before the node was stopped; the sidecar does not matter.
    let mut situation = Situation::new(spec);
    situation.exit("a", 0);
    situation.exit("s", 143).current.as_mut().unwrap().interrupted = true;
    situation.leaving = shutdown;
    assert_eq!((situation.plan().end, situation.plan().verdict), (Some(End::ForGood), None));
}
