use super::*;
use crate::pods::tests::pod as running;

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn set(replicas: i64, extra: Value) -> Value {
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": { "name": "db", "namespace": "a", "uid": "s" },
        "spec": {
            "replicas": replicas, "serviceName": "db-headless",
            "selector": { "matchLabels": { "app": "db" } },
            "template": { "metadata": { "labels": { "app": "db" } },
                "spec": { "volumes": [{ "name": "data", "emptyDir": {} }, { "name": "tmp", "emptyDir": {} }] } },
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } },
            "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": { "accessModes": ["ReadWriteOnce"] } }],
        },
    });
    objects::patch::merge(&mut set, &extra);
    set
}

fn member(ordinal: i64, revision: &str, ready: bool) -> Member {
    let set = set(1, json!({}));
    let mut pod = running(&format!("db-{ordinal}"), ready.then_some(60));
    meta::set_label(&mut pod, REVISION_LABEL, Some(revision));
    Member { ordinal, pod: with_identity(&set, pod) }
}

fn leaving(ordinal: i64, revision: &str) -> Member {
    let mut member = member(ordinal, revision, true);
    member.pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    member
}

fn planned(set: &Value, members: &[Member]) -> Vec<String> {
    steps(set, members, "old", "new", now())
        .into_iter()
        .map(|step| match step {
            Step::Create { ordinal, revision } => format!("+{ordinal} {revision}"),
            Step::Delete(pod) => format!("-{}", meta::name(&pod)),
            Step::Repair(pod) => format!("~{}", meta::name(&pod)),
        })
        .collect()
}

#[test]
fn pods_come_and_go_in_order() {
    let three = set(3, json!({}));
    assert_eq!(planned(&three, &[]), ["+0 new"]);
    assert_eq!(planned(&three, &[member(0, "new", false)]), Vec::<String>::new());
    assert_eq!(planned(&three, &[member(0, "new", true)]), ["+1 new"]);
    let all: Vec<Member> = (0..3).map(|n| member(n, "new", true)).collect();
    assert_eq!(planned(&three, &all), Vec::<String>::new());
    assert_eq!(planned(&set(1, json!({})), &all), ["-db-2"]);
    let ends = [member(0, "new", true), member(1, "new", true), leaving(2, "new")];
    assert_eq!(planned(&set(1, json!({})), &ends), Vec::<String>::new());
}

#[test]
fn parallel_sets_do_not_wait() {
    let parallel = set(3, json!({ "spec": { "podManagementPolicy": "Parallel" } }));
    assert_eq!(planned(&parallel, &[member(1, "new", false)]), ["+0 new", "+2 new"]);
    let none = set(0, json!({ "spec": { "podManagementPolicy": "Parallel" } }));
    let all: Vec<Member> = (0..3).map(|n| member(n, "new", true)).collect();
    assert_eq!(planned(&none, &all), ["-db-2", "-db-1", "-db-0"]);
}

#[test]
fn updates_go_from_the_highest_number_down_one_at_a_time() {
    let three = set(3, json!({}));
    let old: Vec<Member> = (0..3).map(|n| member(n, "old", true)).collect();
    assert_eq!(planned(&three, &old), ["-db-2"]);
    let gone = [member(0, "old", true), member(1, "old", true)];
    assert_eq!(planned(&three, &gone), ["+2 new"]);
    let starting = [member(0, "old", true), member(1, "old", true), member(2, "new", false)];
    assert_eq!(planned(&three, &starting), Vec::<String>::new());
    let started = [member(0, "old", true), member(1, "old", true), member(2, "new", true)];
    assert_eq!(planned(&three, &started), ["-db-1"]);
    let two = set(3, json!({ "spec": { "updateStrategy": { "rollingUpdate": { "maxUnavailable": 2 } } } }));
    assert_eq!(planned(&two, &old), ["-db-2", "-db-1"]);
}

#[test]
fn partitions_and_on_delete_hold_updates_back() {
    let partition = set(3, json!({ "spec": { "updateStrategy": { "rollingUpdate": { "partition": 2 } } } }));
    let old: Vec<Member> = (0..3).map(|n| member(n, "old", true)).collect();
    assert_eq!(planned(&partition, &old), ["-db-2"]);
    let mixed = [member(0, "old", true), member(1, "old", true), member(2, "new", true)];
    assert_eq!(planned(&partition, &mixed), Vec::<String>::new());
    assert_eq!(planned(&partition, &mixed[1..]), ["+0 old"]);
    let manual = set(3, json!({ "spec": { "updateStrategy": { "type": "OnDelete" } } }));
    assert_eq!(planned(&manual, &old), Vec::<String>::new());
    assert_eq!(planned(&manual, &old[1..]), ["+0 new"]);
}

#[test]
fn a_broken_old_pod_does_not_block_its_update() {
    let one = set(1, json!({ "spec": { "podManagementPolicy": "Parallel" } }));
    assert_eq!(planned(&one, &[member(0, "old", false)]), ["-db-0"]);
    let mut failed = member(0, "new", false);
    failed.pod["status"]["phase"] = json!("Failed");
    assert_eq!(planned(&set(1, json!({})), &[failed]), ["-db-0"]);
}

#[test]
fn pods_have_names_and_volumes_of_their_own() {
    let set = set(1, json!({ "spec": { "ordinals": { "start": 5 } } }));
    assert_eq!(range(&set), (5, 6));
    let revision = json!({ "metadata": { "name": "db-x" }, "data": { "spec": { "template": set["spec"]["template"] } } });
    let pod = pod(&set, 5, &revision);
    assert_eq!(pod["spec"]["hostname"], "db-5");
    assert_eq!(pod["spec"]["subdomain"], "db-headless");
    assert_eq!(
        pod["spec"]["volumes"],
        json!([{ "name": "tmp", "emptyDir": {} },
            { "name": "data", "persistentVolumeClaim": { "claimName": "data-db-5", "readOnly": false } }])
    );
    assert_eq!(meta::label(&pod, POD_NAME_LABEL), Some("db-5"));
    assert_eq!(meta::label(&pod, POD_INDEX_LABEL), Some("5"));
    assert_eq!(meta::label(&pod, REVISION_LABEL), Some("db-x"));
    assert_eq!(meta::name(&claims(&set, 5)[0]), "data-db-5");
    assert_eq!(claim_ordinal(&set, &json!({ "metadata": { "name": "data-db-12" } })), Some(12));
    assert_eq!(claim_ordinal(&set, &json!({ "metadata": { "name": "data-db-012" } })), None);
}

#[test]
fn a_complete_update_becomes_current() {
    let history = |name: &str| History {
        all: Vec::new(),
        update: json!({ "metadata": { "name": name } }),
        collisions: 0,
    };
    let two = set(2, json!({}));
    let half = [member(0, "old", true), member(1, "new", true)];
    let status = super::status(&two, &half, "old", &history("new"), now());
    assert_eq!((&status["currentRevision"], &status["updatedReplicas"]), (&json!("old"), &json!(1)));
    let done = [member(0, "new", true), member(1, "new", true)];
    let status = super::status(&two, &done, "old", &history("new"), now());
    assert_eq!((&status["currentRevision"], &status["currentReplicas"]), (&json!("new"), &json!(2)));
    assert_eq!(status["availableReplicas"], 2);
}
