use std::fmt::Write as _;

use serde_json::json;

use super::*;
use crate::annotations::{HELM_HOOK, HOOK, SYNC_OPTIONS};

fn object(api_version: &str, kind: &str, name: &str, annotations: Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind,
           "metadata": {"name": name, "namespace": "shop", "annotations": annotations}})
}

/// Steps as lines: `Sync 0: -Pod/x | ConfigMap/a ConfigMap/b | Deployment/c`, prunes with a minus.
fn described(targets: &[Value], prunes: &[Value], options: &[&str]) -> String {
    let options = SyncOptions::from_value(&json!(options));
    let keys: Vec<_> = targets.iter().chain(prunes).map(ResourceKey::of).collect();
    let items: Vec<_> = targets
        .iter()
        .map(|target| (Some(target), None))
        .chain(prunes.iter().map(|live| (None, Some(live))))
        .zip(&keys)
        .map(|((target, live), key)| Item { key, target, live })
        .collect();
    let terms = Terms { options: &options, prune: true, hooks: true, deletion_approved: false };
    let plan = plan(&items, &terms);
    let mut text = String::new();
    for step in plan.steps.iter().chain(&plan.on_failure) {
        write!(text, "{} {}:", step.phase.as_str(), step.wave).unwrap();
        for task in &step.prunes {
            write!(text, " -{}/{}", task.key.kind, task.key.name).unwrap();
        }
        for group in &step.groups {
            text.push_str(" |");
            for task in group {
                write!(text, " {}/{}", task.key.kind, task.key.name).unwrap();
            }
        }
        text.push('\n');
    }
    for (key, message) in &plan.kept {
        writeln!(text, "kept {}/{}: {message}", key.kind, key.name).unwrap();
    }
    for key in &plan.unconfirmed {
        writeln!(text, "unconfirmed {}/{}", key.kind, key.name).unwrap();
    }
    writeln!(text, "gated: {}", plan.gated).unwrap();
    text
}

#[test]
fn one_wave_goes_by_kind_and_name_and_is_not_gated() {
    let targets = [
        object("argoproj.io/v1alpha1", "Rollout", "r", json!({})),
        object("apps/v1", "Deployment", "b", json!({})),
        object("v1", "Service", "s", json!({})),
        object("apps/v1", "Deployment", "a", json!({})),
        object("v1", "Namespace", "shop", json!({})),
        object("v1", "ConfigMap", "c", json!({})),
    ];
    assert_eq!(
        described(&targets, &[], &[]),
        "Sync 0: | Namespace/shop | ConfigMap/c | Service/s | Deployment/a Deployment/b | Rollout/r\ngated: false\n"
    );
}

#[test]
fn phases_and_waves() {
    let targets = [
        object("v1", "ConfigMap", "late", json!({SYNC_WAVE: "2"})),
        object("v1", "ConfigMap", "early", json!({SYNC_WAVE: "-1"})),
        object("v1", "ConfigMap", "weighted", json!({"helm.sh/hook-weight": "2"})),
        object(
            "batch/v1",
            "Job",
            "migrate",
            json!({HELM_HOOK: "pre-install,pre-upgrade", "helm.sh/hook-weight": "-5"}),
        ),
        object("batch/v1", "Job", "smoke", json!({HOOK: "PostSync,SyncFail"})),
        object("v1", "Pod", "test", json!({HELM_HOOK: "test"})),
        object("v1", "Pod", "skipped", json!({HOOK: "Skip"})),
    ];
    assert_eq!(
        described(&targets, &[], &[]),
        "PreSync -5: | Job/migrate\nSync -1: | ConfigMap/early\nSync 2: | ConfigMap/late ConfigMap/weighted\n\
         PostSync 0: | Job/smoke\nSyncFail 0: | Job/smoke\ngated: true\n"
    );
}

#[test]
fn a_single_hook_gates() {
    let targets = [object("batch/v1", "Job", "only", json!({HOOK: "Sync"}))];
    assert_eq!(described(&targets, &[], &[]), "Sync 0: | Job/only\ngated: true\n");
}

#[test]
fn namespaces_and_definitions_go_before_what_needs_them() {
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.org", "annotations": {SYNC_WAVE: "5"}},
        "spec": {"group": "example.org", "names": {"kind": "Thing"}}});
    let mut namespace = object("v1", "Namespace", "shop", json!({SYNC_WAVE: "3"}));
    namespace["metadata"].as_object_mut().unwrap().remove("namespace");
    let targets = [
        definition,
        namespace,
        object("example.org/v1", "Thing", "t", json!({SYNC_WAVE: "1"})),
        object("v1", "ConfigMap", "c", json!({SYNC_WAVE: "-2"})),
    ];
    assert_eq!(
        described(&targets, &[], &[]),
        "Sync -2: | Namespace/shop | ConfigMap/c\nSync 1: | CustomResourceDefinition/things.example.org | Thing/t\n\
         gated: true\n"
    );
}

#[test]
fn prunes_are_mirrored_and_precede_applies() {
    let targets = [object("v1", "ConfigMap", "stays", json!({SYNC_WAVE: "1"}))];
    let prunes = [
        object("v1", "ConfigMap", "first", json!({SYNC_WAVE: "0"})),
        object("v1", "ConfigMap", "middle", json!({SYNC_WAVE: "1"})),
        object("v1", "ConfigMap", "last", json!({SYNC_WAVE: "7"})),
    ];
    assert_eq!(
        described(&targets, &prunes, &[]),
        "Sync 0: -ConfigMap/last\nSync 1: -ConfigMap/middle | ConfigMap/stays\nSync 7: -ConfigMap/first\ngated: true\n"
    );
    assert_eq!(
        described(&targets, &prunes, &["PruneLast=true"]),
        "Sync 1: | ConfigMap/stays\nSync 8: -ConfigMap/first -ConfigMap/last -ConfigMap/middle\ngated: true\n"
    );
}

#[test]
fn what_may_not_be_pruned_stays() {
    let prunes = [
        object("v1", "PersistentVolumeClaim", "data", json!({SYNC_OPTIONS: "Prune=false"})),
        object("v1", "ConfigMap", "ask", json!({SYNC_OPTIONS: "Prune=confirm"})),
    ];
    assert_eq!(
        described(&[], &prunes, &[]),
        "kept PersistentVolumeClaim/data: ignored (no prune)\nunconfirmed ConfigMap/ask\ngated: false\n"
    );
}
