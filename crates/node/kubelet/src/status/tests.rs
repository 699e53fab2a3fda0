use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::observed::{Exit, Instance, InstanceState, Observed};
use crate::plan::Verdict;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pod(spec: Value, status: Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 2}, "spec": spec, "status": status,
    }))
    .unwrap()
}

fn instance(state: InstanceState, interrupted: bool) -> Observed {
    let instance = Instance {
        attempt: 1,
        id: "id".into(),
        image: "i".into(),
        image_id: "i@sha256:1".into(),
        interrupted,
        replaced: false,
        state,
    };
    let mut observed = Observed { current: Some(instance), ..Observed::default() };
    observed.health.started = true;
    observed.health.ready = true;
    observed
}

fn exited(code: i32) -> InstanceState {
    InstanceState::Exited(Exit {
        code,
        signal: None,
        reason: "Error".into(),
        message: None,
        started_at: Some(at(10)),
        finished_at: at(20),
    })
}

fn check(pod: &Pod, containers: &Containers, plan: &Plan) -> Value {
    let status = build(&Facts {
        pod,
        containers,
        plan,
        pod_ip: Some("10.42.0.2"),
        host_ip: "192.0.2.1",
        start_time: at(5),
        now: at(100),
    });
    serde_json::to_value(status).unwrap()
}

fn phase_of(policy: &str, states: &[InstanceState], end: Option<End>) -> String {
    let containers: Vec<Value> = (0..states.len()).map(|n| json!({"name": format!("c{n}")})).collect();
    let pod = pod(json!({"restartPolicy": policy, "containers": containers}), json!({}));
    let observed = states
        .iter()
        .enumerate()
        .map(|(n, state)| (format!("c{n}"), instance(state.clone(), false)))
        .collect();
    let status = check(&pod, &observed, &Plan { end, ..Plan::default() });
    status["phase"].as_str().unwrap().to_owned()
}

#[test]
fn phases() {
    let running = || InstanceState::Running { started_at: at(10) };
    let done = Some(End::ForGood);
    for (policy, states, end, expected) in [
        ("Always", vec![running(), running()], None, "Running"),
        ("Always", vec![exited(0)], None, "Running"),
        ("Always", vec![exited(143)], done, "Failed"),
        ("Always", vec![exited(0)], done, "Succeeded"),
        ("Never", vec![exited(0), exited(0)], done, "Succeeded"),
        ("Never", vec![exited(0), exited(1)], done, "Failed"),
        ("Never", vec![running(), exited(1)], None, "Running"),
        // Something of the Pod, such as a sidecar, has not been stopped yet.
        ("Never", vec![exited(0)], None, "Running"),
        ("OnFailure", vec![exited(1)], None, "Running"),
        ("OnFailure", vec![exited(0)], done, "Succeeded"),
    ] {
        assert_eq!(phase_of(policy, &states, end), expected, "{policy} {states:?} {end:?}");
    }
}

#[test]
fn a_pod_without_containers_is_pending_and_says_why() {
    let pod = pod(json!({"containers": [{"name": "a"}]}), json!({}));
    let status = check(&pod, &Containers::new(), &Plan::default());
    assert_eq!(status["phase"], "Pending");
    assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["reason"], "ContainerCreating");
    let ready = &status["conditions"][2];
    assert_eq!((&ready["type"], &ready["status"]), (&json!("Ready"), &json!("False")));
    assert_eq!(ready["message"], "containers with unready status: [a]");
    assert_eq!(ready["observedGeneration"], 2);
}

#[test]
fn a_failed_or_succeeded_pod_stays_so() {
    let pod =
        pod(json!({"containers": [{"name": "a"}]}), json!({"phase": "Failed", "reason": "DeadlineExceeded"}));
    let observed =
        Containers::from([("a".into(), instance(InstanceState::Running { started_at: at(10) }, false))]);
    let status = check(&pod, &observed, &Plan::default());
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Failed"), &json!("DeadlineExceeded")));
}

#[test]
fn a_verdict_outweighs_exit_codes() {
    let pod = pod(json!({"restartPolicy": "Never", "containers": [{"name": "a"}]}), json!({}));
    let observed = Containers::from([("a".into(), instance(exited(0), false))]);
    let verdict = Verdict {
        phase: "Failed",
        reason: Some("DeadlineExceeded"),
        message: Some("too long"),
        disruption: None,
    };
    let status =
        check(&pod, &observed, &Plan { verdict: Some(verdict), end: Some(End::ForGood), ..Plan::default() });
    assert_eq!((&status["phase"], &status["message"]), (&json!("Failed"), &json!("too long")));
}

#[test]
fn a_container_the_node_interrupted_fails_nothing_and_has_not_ended() {
    for policy in ["OnFailure", "Always"] {
        let pod = pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}]}), json!({}));
        // Its exit code says how it takes a signal, not that its work is done.
        let observed = Containers::from([("a".into(), instance(exited(0), true))]);
        let status = check(&pod, &observed, &Plan { end: Some(End::UntilNextStart), ..Plan::default() });
        assert_eq!(status["phase"], "Running");
        let container = &status["containerStatuses"][0];
        assert_eq!(container["state"]["waiting"]["reason"], "NodeStopped");
        assert_eq!(container["lastState"]["terminated"]["exitCode"], 0);
        let status = check(&pod, &observed, &Plan { end: Some(End::ForGood), ..Plan::default() });
        assert!(
            status["containerStatuses"][0]["state"]["terminated"].is_object(),
            "it was deleted meanwhile"
        );
    }
}

#[test]
fn an_init_container_that_runs_again_is_shown_as_it_ended() {
    let spec = json!({
        "restartPolicy": "OnFailure", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}],
    });
    let before = instance(exited(0), true);
    let observed =
        Containers::from([("i".into(), before.clone()), ("a".into(), instance(exited(143), true))]);
    let stopped = check(&pod(spec.clone(), json!({})), &observed, &Plan::default());
    let told = stopped["initContainerStatuses"][0]["state"].clone();
    assert_eq!(told["terminated"]["exitCode"], 0);
    let again = |state| {
        let mut again = instance(state, false);
        again.previous = before.current.clone();
        let observed = Containers::from([("i".into(), again), ("a".into(), instance(exited(143), true))]);
        check(&pod(spec.clone(), stopped.clone()), &observed, &Plan::default())
    };
    let running = again(InstanceState::Running { started_at: at(30) });
    assert_eq!(running["initContainerStatuses"][0]["state"], told);
    assert_eq!((&running["phase"], &running["conditions"][1]["status"]), (&json!("Running"), &json!("True")));
    let failed = again(exited(7));
    assert_eq!(failed["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 7);
}

#[test]
fn a_pod_the_node_cut_short_is_disrupted() {
    let pod = pod(json!({"restartPolicy": "Never", "containers": [{"name": "a"}]}), json!({}));
    let observed = Containers::from([("a".into(), instance(exited(0), true))]);
    let verdict =
        Verdict { phase: "Failed", reason: Some("Terminated"), message: Some("m"), disruption: Some("m") };
    let plan = Plan { verdict: Some(verdict), end: Some(End::ForGood), ..Plan::default() };
    let status = check(&pod, &observed, &plan);
    assert_eq!((&status["phase"], &status["reason"]), (&json!("Failed"), &json!("Terminated")));
    assert!(status["containerStatuses"][0]["state"]["terminated"].is_object());
    let condition = &status["conditions"][5];
    assert_eq!(condition["type"], "DisruptionTarget");
    assert_eq!(condition["reason"], "TerminationByKubelet");
    // What the API shows then stays, and is not written again.
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "a"}]});
    let seen = self::pod(spec, status);
    let again = check(&seen, &observed, &Plan { end: Some(End::UntilNextStart), ..Plan::default() });
    let again: PodStatus = serde_json::from_value(again).unwrap();
    assert!(same(seen.status.as_ref(), &again));
}

#[test]
fn transition_times_change_with_the_status_only() {
    let old = json!({"conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:07Z"},
        {"type": "ContainersReady", "status": "False", "lastTransitionTime": "1970-01-01T00:00:07Z"},
    ]});
    let pod = pod(json!({"containers": [{"name": "a"}]}), old);
    let observed =
        Containers::from([("a".into(), instance(InstanceState::Running { started_at: at(10) }, false))]);
    let status = check(&pod, &observed, &Plan::default());
    assert_eq!(status["conditions"][2]["lastTransitionTime"], "1970-01-01T00:00:07Z");
    assert_eq!(status["conditions"][3]["lastTransitionTime"], "1970-01-01T00:01:40Z");
}

#[test]
fn readiness_gates_are_somebody_elses_word() {
    let gates = json!({"readinessGates": [{"conditionType": "x/y"}], "containers": [{"name": "a"}]});
    let observed =
        Containers::from([("a".into(), instance(InstanceState::Running { started_at: at(10) }, false))]);
    let status = check(&pod(gates.clone(), json!({})), &observed, &Plan::default());
    assert_eq!(status["conditions"][2]["reason"], "ReadinessGatesNotReady");
    let open = json!({"conditions": [{"type": "x/y", "status": "True"}]});
    let status = check(&pod(gates, open), &observed, &Plan::default());
    assert_eq!(status["conditions"][2]["status"], "True");
}

#[test]
fn the_same_status_is_not_written_again_and_foreign_conditions_are_left_alone() {
    let spec = json!({"containers": [{"name": "a"}]});
    let observed =
        Containers::from([("a".into(), instance(InstanceState::Running { started_at: at(10) }, false))]);
    let mut written = check(&pod(spec.clone(), json!({})), &observed, &Plan::default());
    written["conditions"].as_array_mut().unwrap().insert(0, json!({"type": "x/y", "status": "True"}));
    let seen = pod(spec, written);
    let again: PodStatus = serde_json::from_value(check(&seen, &observed, &Plan::default())).unwrap();
    assert!(same(seen.status.as_ref(), &again));
    let patch = patch("u", &again);
    assert_eq!(patch["metadata"]["uid"], "u");
    assert_eq!(patch["status"]["reason"], Value::Null);
    assert!(!patch["status"]["conditions"].to_string().contains("x/y"));
    assert_eq!(patch["status"]["podIPs"][0]["$patch"], "replace");
}
