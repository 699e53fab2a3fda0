use serde_json::json;

use super::*;

fn matches(selector: &str, labels: &Value) -> bool {
    LabelSelector::parse(selector).unwrap().matches(labels.as_object())
}

#[test]
fn query_syntax_selects_as_documented() {
    let labels = json!({"app": "web", "tier": "front", "empty": ""});
    for yes in [
        "",
        "app=web",
        "app==web",
        "app = web",
        "app",
        "!missing",
        "missing!=x",
        "app in (web, db)",
        "app notin (db)",
        "missing notin (a)",
        "empty=",
        "app=web,tier!=back",
        "app in (web),tier",
        "empty in ()",
        "a.b/c!=d",
    ] {
        assert!(matches(yes, &labels), "{yes:?} should match");
    }
    for no in
        ["app=db", "missing", "!app", "app notin (web)", "app=web,tier=back", "missing in (a)", "app!=web"]
    {
        assert!(!matches(no, &labels), "{no:?} should not match");
    }
}

#[test]
fn malformed_queries_are_refused() {
    for bad in [
        "=x",
        "app=web,",
        "app in web",
        "app in (web",
        "(a)",
        "app=a b",
        "a//b",
        "-a",
        "x=-",
        "!",
        "a=b=c",
        "a,,b",
    ] {
        assert!(LabelSelector::parse(bad).is_err(), "{bad:?} was accepted");
    }
}

#[test]
fn printed_form_parses_to_the_same() {
    for text in ["a=b", "a in (b,c),d!=e,f,!g", "a notin (x,y)"] {
        let selector = LabelSelector::parse(text).unwrap();
        assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap(), selector);
    }
    assert_eq!(LabelSelector::parse("b==1,a in (2,1)").unwrap().to_string(), "a in (1,2),b=1");
}

#[test]
fn object_form_null_is_nothing_and_empty_is_everything() {
    assert!(!LabelSelector::from_object(&json!(null)).unwrap().matches(None));
    assert!(LabelSelector::from_object(&json!({})).unwrap().matches(None));
    assert!(!LabelSelector::from_map(&json!({})).matches(None));
    let selector = LabelSelector::from_object(&json!({
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["db"]}],
    }))
    .unwrap();
    assert!(selector.matches(json!({"app": "web"}).as_object()));
    assert!(!selector.matches(json!({"app": "web", "tier": "db"}).as_object()));
    assert!(
        LabelSelector::from_object(&json!({"matchExpressions": [{"key": "a", "operator": "In"}]})).is_err()
    );
    assert!(
        LabelSelector::from_object(&json!({"matchExpressions": [{"key": "a", "operator": "Is"}]})).is_err()
    );
}

#[test]
fn node_affinity_compares_integers() {
    let greater =
        Requirement::from_expression(&json!({"key": "cpus", "operator": "Gt", "values": ["4"]})).unwrap();
    assert!(greater.matches(Some("10")));
    assert!(!greater.matches(Some("4")));
    assert!(!greater.matches(Some("many")));
}

#[test]
fn field_selectors_read_any_path() {
    let pod = json!({"metadata": {"name": "a"}, "status": {"phase": "Running"}, "spec": {"nodeName": null}});
    let matches = |text: &str| FieldSelector::parse(text).unwrap().matches(&pod);
    assert!(matches("metadata.name=a,status.phase!=Failed"));
    assert!(matches("spec.nodeName="));
    assert!(matches("spec.unschedulable=false"));
    assert!(!matches("metadata.name==b"));
    assert!(matches(""));
    assert_eq!(FieldSelector::parse("a=b\\,c").unwrap().required("a"), Some("b,c"));
    assert!(FieldSelector::parse("metadata.name").is_err());
    assert!(FieldSelector::parse("a=b\\c").is_err());
}
