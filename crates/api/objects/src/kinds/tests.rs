use super::*;

#[test]
fn every_stored_kind_has_its_fields() {
    for kind in builtin().iter().filter(|kind| kind.stored) {
        assert!(crate::typing::Typing::of(&kind.gvk()).is_builtin(), "{} has no field table", kind.gvk());
    }
}

#[test]
fn names_are_unique_per_version() {
    let mut seen = std::collections::BTreeSet::new();
    for kind in builtin() {
        assert!(seen.insert((kind.group, kind.version, kind.plural)), "{} is listed twice", kind.plural);
        assert_eq!(kind.singular, kind.kind.to_lowercase());
    }
}

#[test]
fn lookups_find_kind_and_resource() {
    let deployment = by_resource("apps", "v1", "deployments").unwrap();
    assert_eq!(deployment.kind, "Deployment");
    assert!(deployment.namespaced() && deployment.has_status());
    assert_eq!(deployment.subresource("scale").unwrap().speaks, Some(("autoscaling", "v1", "Scale")));
    assert!(!is_builtin(&GroupVersionKind::new("argoproj.io", "v1alpha1", "Application")));
}
