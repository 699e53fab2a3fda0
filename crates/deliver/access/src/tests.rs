use serde_json::{Value, json};

use super::*;
use crate::line::Severity;

fn policy(data: Value) -> Policy {
    Policy::builtin().with_config_map(&json!({"data": data}))
}

fn can(policy: &Policy, subject: &str, resource: &str, action: &str, object: &str) -> bool {
    policy.answer(Request { subject, resource, action, object }).is_allowed()
}

#[test]
fn the_built_in_roles_are_there() {
    let policy = policy(json!({}));
    for (subject, resource, action, object, expected) in [
        ("role:readonly", "applications", "get", "default/web", true),
        ("role:readonly", "applications", "sync", "default/web", false),
        ("role:readonly", "exec", "create", "default/web", false),
        ("role:admin", "applications", "delete/*/Pod/shop/web", "default/web", true),
        ("role:admin", "logs", "get", "default/web", true),
        ("admin", "clusters", "create", "https://a", true),
        ("alice", "applications", "get", "default/web", false),
    ] {
        assert_eq!(
            can(&policy, subject, resource, action, object),
            expected,
            "{subject} {resource} {action}"
        );
    }
}

#[test]
fn all_files_add_up_and_deny_wins() {
    let policy = policy(json!({
        "policy.csv": "p, role:team, applications, *, shop/*, allow\ng, org:team, role:team\n",
        "policy.zz.csv": "p, role:team, applications, delete, shop/web, deny\n# nothing\n\n",
        "policy.default": "role:readonly",
        "other.csv": "p, role:team, clusters, *, *, allow",
    }));
    assert!(policy.faults().is_empty(), "{:?}", policy.faults());
    assert!(can(&policy, "org:team", "applications", "sync", "shop/web"));
    assert!(!can(&policy, "org:team", "applications", "delete", "shop/web"));
    assert!(can(&policy, "org:team", "applications", "delete", "shop/other"));
    assert!(!can(&policy, "org:team", "clusters", "create", "x"));
    assert!(can(&policy, "anybody", "applications", "get", "any/thing"), "the default role");
    // Even who is denied has the default role.
    let answer = policy.answer(Request {
        subject: "org:team",
        resource: "applications",
        action: "delete",
        object: "shop/web",
    });
    let Answer::Denied { by: Some(rule) } = answer else { panic!("{answer:?}") };
    assert_eq!((rule.effect, rule.object.as_str()), (Effect::Deny, "shop/web"));
}

#[test]
fn patterns_are_globs_or_regular_expressions() {
    let lines = "p, a, applications, get, team-.*/web, allow\n";
    let globs = policy(json!({"policy.csv": lines}));
    assert!(!can(&globs, "a", "applications", "get", "team-1/web"));
    let regexes = policy(json!({"policy.csv": lines, "policy.matchMode": "regex"}));
    assert!(can(&regexes, "a", "applications", "get", "team-1/web"));
    assert!(can(&regexes, "a", "applications", "get", "my-team-1/web2"), "a search has no anchors");
    let broken =
        policy(json!({"policy.csv": "p, a, applications, get, (, allow", "policy.matchMode": "regex"}));
    assert!(!can(&broken, "a", "applications", "get", "("));
}

#[test]
fn a_projects_roles_are_its_own() {
    let project = json!({"metadata": {"name": "shop"}, "spec": {"roles": [
        {"name": "ci", "policies": ["p, proj:shop:ci, applications, sync, shop/*, allow"], "groups": ["org:ci"]}]}});
    let policy = policy(json!({})).with_project(&project);
    assert!(can(&policy, "proj:shop:ci", "projects", "get", "shop"));
    assert!(can(&policy, "org:ci", "applications", "sync", "shop/web"));
    assert!(!can(&policy, "org:ci", "applications", "delete", "shop/web"));
}

#[test]
fn roles_are_inherited_through_ten_steps_and_may_run_in_circles() {
    let mut lines: String = (0..12).map(|n| format!("g, r{n}, r{}\n", n + 1)).collect();
    lines.push_str("g, r12, r0\np, r10, logs, get, */*, allow\np, r11, exec, create, */*, allow\n");
    let policy = policy(json!({"policy.csv": lines}));
    assert!(can(&policy, "r0", "logs", "get", "a/b"));
    assert!(!can(&policy, "r0", "exec", "create", "a/b"));
}

#[test]
fn faults_name_their_line_and_what_they_lead_to() {
    let faults = |text: &str| -> Vec<(usize, Severity, String)> {
        let policy = policy(json!({"policy.csv": text}));
        policy.faults().iter().map(|fault| (fault.number, fault.severity, fault.to_string())).collect()
    };
    let found = faults("# one\np, role:a, applications, get, */*\n");
    assert_eq!((found[0].0, found[0].1), (2, Severity::DeniesAll));
    assert!(found[0].2.starts_with("policy.csv, line 2: a line with p has 5 fields"), "{}", found[0].2);
    assert_eq!(faults("x, a, b")[0].1, Severity::Refused);
    assert_eq!(faults("g, a")[0].1, Severity::Refused);
    assert_eq!(faults("p, \"a, applications, get, */*, allow")[0].1, Severity::Refused);
    assert_eq!(faults("p, a, applications, get, */*, alow")[0].1, Severity::Idle);
    assert!(faults("p, a, aplications, get, */*, allow")[0].2.contains("no resource"));
    assert!(faults("p, a, clusters, sync, *, allow")[0].2.contains("sync"));
    for fine in [
        "p, a, \"applications\", action/apps/Deployment/restart, */*, allow",
        "p, a, *, *, *, allow",
        "p, a, app*, \"{get,sync}\", */*, deny",
        "g, \"a \"\"b\"\"\", role:admin",
    ] {
        assert!(faults(fine).is_empty(), "{fine}: {:?}", faults(fine));
    }
    // As Argo CD's engine, which stops at such a line.
    let broken = policy(json!({"policy.csv": "p, role:a, applications, get, */*"}));
    assert!(!can(&broken, "role:admin", "applications", "get", "a/b"));
}

#[test]
fn words_are_known() {
    assert_eq!(resource_named("app"), "applications");
    assert!(understood("applications", "action/apps/Deployment/restart").is_ok());
    assert!(understood("applications", "action").is_err());
    assert!(
        understood("clusters", "delete/x").unwrap_err().to_string().contains("create, get, update, delete")
    );
    assert!(understood("foos", "get").unwrap_err().to_string().contains("accounts, applications"));
    assert!(is_project_scoped("logs") && !is_project_scoped("projects"));
}
