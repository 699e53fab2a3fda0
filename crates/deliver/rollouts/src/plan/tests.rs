use super::*;
use serde_json::json;

/// A cluster in miniature: a Rollout, its ReplicaSets, and Pods that become available when `settle` says so.
struct World {
    rollout: Value,
    sets: Vec<Value>,
    now: Timestamp,
    /// Images whose Pods never become available.
    broken: Vec<&'static str>,
    events: Vec<String>,
}

impl World {
    fn new(replicas: i64) -> Self {
        let rollout = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "gateway", "namespace": "gateway", "uid": "u", "generation": 1},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "gateway"}},
                "strategy": {"canary": {"maxSurge": "25%", "maxUnavailable": "0", "steps": [
                    {"setWeight": 20}, {"pause": {"duration": "30s"}}, {"setWeight": 50}, {"pause": {"duration": "60s"}},
                    {"setWeight": 100},
                ]}},
                "template": {
                    "metadata": {"labels": {"app": "gateway"}},
                    "spec": {"containers": [{"name": "gateway", "image": "gateway:7"}]},
                },
            },
        });
        let now = Timestamp::from_second(1_000_000).unwrap();
        Self { rollout, sets: Vec::new(), now, broken: Vec::new(), events: Vec::new() }
    }

    fn set_image(&mut self, image: &str) {
        self.rollout["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
    }

    fn image(set: &Value) -> &str {
        set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap()
    }

    /// One pass of the controller; returns when it wants to look again.
    fn pass(&mut self) -> Option<Duration> {
        let sets: Vec<ReplicaSet> = self.sets.iter().map(ReplicaSet::read).collect();
        let plan = plan(&self.rollout, &sets, self.now);
        if let Some(mut create) = plan.create {
            create["metadata"]["creationTimestamp"] = meta::format_time(self.now).into();
            self.sets.push(create);
            return None;
        }
        if let Some(revise) = &plan.revise {
            let set = self.sets.iter_mut().find(|set| meta::name(set) == revise.name).unwrap();
            meta::set_annotation(set, REVISION, Some(&revise.revision.to_string()));
        }
        for scale in &plan.scale {
            let set = self.sets.iter_mut().find(|set| meta::name(set) == scale.name).unwrap();
            assert_eq!(set["spec"]["replicas"], scale.from);
            set["spec"]["replicas"] = scale.to.into();
        }
        self.sets.retain(|set| !plan.delete.iter().any(|name| name == meta::name(set)));
        self.rollout["status"] = plan.status;
        self.events.extend(plan.events.into_iter().map(|event| event.reason.to_owned()));
        plan.look_again
    }

    /// Lets the ReplicaSets make and remove their Pods.
    fn pods(&mut self) {
        for set in &mut self.sets {
            let replicas = set["spec"]["replicas"].clone();
            let works = !self.broken.contains(&Self::image(set));
            let available = if works { replicas.clone() } else { json!(0) };
            set["status"] =
                json!({"replicas": replicas, "readyReplicas": available, "availableReplicas": available});
        }
    }

    /// Passes until nothing changes.
    fn settle(&mut self) -> Option<Duration> {
        for _ in 0..50 {
            let before = (self.rollout.clone(), self.sets.clone());
            let again = self.pass();
            self.pods();
            if before == (self.rollout.clone(), self.sets.clone()) {
                return again;
            }
        }
        panic!("it does not settle: {:#}", self.rollout["status"]);
    }

    fn wait(&mut self, seconds: i64) {
        self.now += jiff::SignedDuration::from_secs(seconds);
    }

    /// Pods by image, in the order of images.
    fn running(&self) -> Vec<(&str, i64)> {
        let mut running: Vec<(&str, i64)> = self
            .sets
            .iter()
            .map(|set| (Self::image(set), set["spec"]["replicas"].as_i64().unwrap()))
            .filter(|(_, replicas)| *replicas > 0)
            .collect();
        running.sort_unstable();
        running
    }

    fn status(&self, field: &str) -> &Value {
        &self.rollout["status"][field]
    }

    fn deployed(replicas: i64) -> Self {
        let mut world = Self::new(replicas);
        world.settle();
        assert_eq!(world.running(), [("gateway:7", replicas)]);
        world
    }
}

#[test]
fn the_first_template_goes_out_at_once() {
    let world = World::deployed(2);
    assert_eq!(world.status("phase"), "Healthy");
    assert_eq!(world.status("stableRS"), world.status("currentPodHash"));
    assert_eq!(*world.status("currentStepIndex"), 5);
    assert_eq!(*world.status("availableReplicas"), 2);
    assert_eq!(*world.status("selector"), "app=gateway");
    assert_eq!(meta::annotation(&world.sets[0], REVISION), Some("1"));
    assert!(world.events.contains(&"RolloutCompleted".to_owned()));
}

#[test]
fn a_new_image_goes_through_the_steps_in_time() {
    let mut world = World::deployed(1);
    let stable = world.status("stableRS").clone();
    world.set_image("gateway:8");
    assert_eq!(world.settle(), Some(Duration::from_secs(30)));
    assert_eq!(world.running(), [("gateway:7", 1), ("gateway:8", 1)]);
    assert_eq!(
        (world.status("phase"), world.status("message")),
        (&json!("Paused"), &json!("CanaryPauseStep"))
    );
    assert_eq!(*world.status("stableRS"), stable);
    assert_eq!(*world.status("currentStepIndex"), 1);

    world.wait(29);
    assert_eq!(world.settle(), Some(Duration::from_secs(1)));
    assert_eq!(*world.status("currentStepIndex"), 1);
    world.wait(1);
    assert_eq!(world.settle(), Some(Duration::from_secs(60)));
    assert_eq!(*world.status("currentStepIndex"), 3);
    world.wait(60);
    world.settle();
    assert_eq!(world.running(), [("gateway:8", 1)]);
    assert_eq!(world.status("phase"), "Healthy");
    assert_ne!(*world.status("stableRS"), stable);
    assert_eq!(meta::annotation(&world.sets[1], REVISION), Some("2"));
    for event in ["RolloutUpdated", "RolloutPaused", "RolloutStepCompleted", "RolloutCompleted"] {
        assert!(world.events.contains(&event.to_owned()), "{event} in {:?}", world.events);
    }
}

#[test]
fn an_image_that_does_not_start_leaves_the_stable_one_serving() {
    let mut world = World::deployed(1);
    world.broken.push("gateway:bad");
    world.set_image("gateway:bad");
    assert_eq!(world.settle(), Some(Duration::from_secs(600)));
    assert_eq!(world.running(), [("gateway:7", 1), ("gateway:bad", 1)]);
    // The available Pods are the stable ones: upstream counts them all before it asks for the last old one to go.
    assert_eq!(world.status("message"), "old replicas are pending termination");
    world.wait(601);
    world.settle();
    assert_eq!(world.status("phase"), "Degraded");
    assert!(world.status("message").as_str().unwrap().starts_with("ProgressDeadlineExceeded: ReplicaSet"));
    assert_eq!(world.running(), [("gateway:7", 1), ("gateway:bad", 1)]);

    world.set_image("gateway:9");
    world.settle();
    assert_eq!(world.running(), [("gateway:7", 1), ("gateway:9", 1)], "the broken one made way for the next");
}

#[test]
fn the_deadline_aborts_where_it_is_asked_to() {
    let mut world = World::deployed(1);
    world.rollout["spec"]["progressDeadlineAbort"] = true.into();
    world.broken.push("gateway:bad");
    world.set_image("gateway:bad");
    world.settle();
    world.wait(601);
    world.settle();
    assert_eq!(world.running(), [("gateway:7", 1)]);
    assert_eq!(*world.status("abort"), true);
}

#[test]
fn an_abort_returns_to_the_stable_template_and_a_retry_starts_over() {
    let mut world = World::deployed(5);
    world.set_image("gateway:8");
    world.settle();
    world.wait(30);
    world.settle();
    assert_eq!(world.running(), [("gateway:7", 3), ("gateway:8", 3)]);
    world.rollout["status"]["abort"] = true.into();
    world.settle();
    assert_eq!(world.running(), [("gateway:7", 5)]);
    assert_eq!(world.status("phase"), "Degraded");
    assert_eq!(world.status("message"), "RolloutAborted: Rollout aborted update to revision 2");

    world.rollout["status"].as_object_mut().unwrap().remove("abort");
    world.settle();
    assert_eq!(world.running(), [("gateway:7", 4), ("gateway:8", 1)]);
    assert_eq!(*world.status("currentStepIndex"), 1);
}

#[test]
fn going_back_skips_the_steps() {
    let mut world = World::deployed(5);
    world.set_image("gateway:8");
    world.settle();
    world.set_image("gateway:7");
    world.settle();
    assert_eq!(world.running(), [("gateway:7", 5)]);
    assert_eq!(world.status("phase"), "Healthy");
    assert_eq!(*world.status("currentStepIndex"), 5);
    assert_eq!(
        meta::annotation(&world.sets[0], REVISION),
        Some("3"),
        "the old template is the newest revision"
    );
}

#[test]
fn a_pause_without_a_time_waits_for_a_person() {
    let mut world = World::deployed(1);
    world.rollout["spec"]["strategy"]["canary"]["steps"] = json!([{"setWeight": 20}, {"pause": {}}]);
    world.settle();
    world.set_image("gateway:8");
    world.settle();
    world.wait(1_000_000);
    world.settle();
    assert_eq!(world.status("phase"), "Paused");
    // What `kubectl argo rollouts promote` writes.
    world.rollout["status"].as_object_mut().unwrap().remove("pauseConditions");
    world.settle();
    assert_eq!(world.running(), [("gateway:8", 1)]);
    assert!(world.events.contains(&"RolloutResumed".to_owned()));
}

#[test]
fn a_full_promotion_ignores_what_is_left_of_the_steps() {
    let mut world = World::deployed(1);
    world.set_image("gateway:8");
    world.settle();
    world.rollout["status"]["promoteFull"] = true.into();
    world.settle();
    assert_eq!(world.running(), [("gateway:8", 1)]);
    assert_eq!(*world.status("promoteFull"), Value::Null);
}

#[test]
fn a_users_pause_stops_everything() {
    let mut world = World::deployed(2);
    world.rollout["spec"]["paused"] = true.into();
    world.set_image("gateway:8");
    world.settle();
    assert_eq!(world.running(), [("gateway:7", 2)]);
    assert_eq!(
        (world.status("phase"), world.status("message")),
        (&json!("Paused"), &json!("manually paused"))
    );
    world.rollout["spec"]["paused"] = false.into();
    world.settle();
    assert_eq!(world.running(), [("gateway:7", 2), ("gateway:8", 1)]);
}

#[test]
fn scaling_is_followed_while_a_pause_step_holds() {
    let mut world = World::deployed(1);
    world.set_image("gateway:8");
    world.settle();
    world.rollout["spec"]["replicas"] = 10.into();
    world.settle();
    assert_eq!(world.running(), [("gateway:7", 8), ("gateway:8", 2)]);
    world.rollout["spec"]["replicas"] = 0.into();
    world.settle();
    assert_eq!(world.running(), []);
}

#[test]
fn history_is_kept_within_its_limit() {
    let mut world = World::deployed(1);
    world.rollout["spec"]["revisionHistoryLimit"] = 1.into();
    world.rollout["spec"]["strategy"]["canary"]["steps"] = json!([]);
    for image in ["gateway:8", "gateway:9", "gateway:10"] {
        world.set_image(image);
        world.settle();
    }
    let images: Vec<&str> = world.sets.iter().map(World::image).collect();
    assert_eq!(images, ["gateway:9", "gateway:10"]);
}

#[test]
fn an_invalid_specification_is_reported_once_and_mended() {
    let mut world = World::deployed(1);
    let strategy = world.rollout["spec"]["strategy"].take();
    world.rollout["spec"]["strategy"] = json!({"blueGreen": {"activeService": "a"}});
    world.settle();
    assert_eq!(world.status("phase"), "Degraded");
    let message = world.status("message").as_str().unwrap();
    assert!(message.ends_with("spec.strategy.blueGreen is not supported yet"), "{message}");
    assert_eq!(world.events.iter().filter(|reason| *reason == "InvalidSpec").count(), 1);
    assert_eq!(world.running(), [("gateway:7", 1)]);
    world.rollout["spec"]["strategy"] = strategy;
    world.settle();
    assert_eq!(world.status("phase"), "Healthy");
}
