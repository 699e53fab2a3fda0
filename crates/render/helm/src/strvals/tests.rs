use serde_json::json;

use super::*;

fn parsed(expr: &str, kind: SetKind) -> Result<Value, String> {
    let mut table = Table::new();
    apply(expr, kind, &mut table, &|name| Ok(format!("<{name}>")))?;
    Ok(Value::Object(table))
}

#[test]
fn values_have_types() {
    assert_eq!(
        parsed("a=1,b=true,c=null,d=01,e=x y,f=,g=1.5,h=-3,i=0", SetKind::Value).unwrap(),
        json!({"a": 1, "b": true, "c": null, "d": "01", "e": "x y", "f": "", "g": "1.5", "h": -3, "i": 0})
    );
    assert_eq!(parsed("a=1,b=true", SetKind::String).unwrap(), json!({"a": "1", "b": "true"}));
}

#[test]
fn paths_lists_and_escapes() {
    assert_eq!(
        parsed(r"a.b\.c=1,d[1].e=x,d[0].e=y,f={p,q},g[0][1]=z,h=a\,b", SetKind::Value).unwrap(),
        json!({"a": {"b.c": 1}, "d": [{"e": "y"}, {"e": "x"}], "f": ["p", "q"], "g": [[null, "z"]], "h": "a,b"})
    );
}

#[test]
fn json_literals_and_files() {
    assert_eq!(
        parsed(r#"a={"x":[1,"y"]},b=2"#, SetKind::Json).unwrap(),
        json!({"a": {"x": [1.0, "y"]}, "b": 2.0})
    );
    assert_eq!(parsed(r"a.b=x,\y=z", SetKind::Literal).unwrap(), json!({"a": {"b": r"x,\y=z"}}));
    assert_eq!(parsed("a=f.txt", SetKind::File).unwrap(), json!({"a": "<f.txt>"}));
}

#[test]
fn mistakes_are_named_as_helm_names_them() {
    let error = |expr| parsed(expr, SetKind::Value).unwrap_err();
    assert_eq!(error("a"), r#"key "a" has no value"#);
    assert_eq!(error("a,b=1"), r#"key "a" has no value (cannot end with ,)"#);
    assert_eq!(error("a={1,2"), "list must terminate with '}'");
    assert_eq!(error("a[-1]=1"), "negative -1 index not allowed");
    assert_eq!(error("a[70000]=1"), "index of 70000 is greater than maximum supported index of 65536");
    assert_eq!(
        error(&format!("{}x=1", "a.".repeat(31))),
        "value name nested level is greater than maximum supported nested level of 30"
    );
}
