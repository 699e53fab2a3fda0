//! Whether something is as a case describes it.
//!
//! A description is a part of the thing: maps may have more keys; lists have as many items as described; a text that
//! begins with `~` is found inside the other; `null` is absent. A map with one key of these says more:
//! `$has` (a list has an item like each of these), `$count` (so many items), `$not` (not like this), `$any` (is there).

use serde_json::Value;

/// The first place where a thing is not as described, and how.
pub(crate) fn differs(wanted: &Value, found: Option<&Value>, place: &str) -> Option<String> {
    let found = found.filter(|found| !found.is_null());
    let shown = || format!("{place} should be {wanted}, is {}", found.unwrap_or(&Value::Null));
    match (wanted, found) {
        (Value::Null, None) => None,
        (Value::Object(map), _) if map.len() == 1 && map.keys().all(|key| key.starts_with('$')) => {
            let (verb, of) = map.iter().next().expect("it has one key");
            special(verb, of, found, place).then(shown)
        }
        // Nothing is inside what is absent, so whatever is described there must be absent too.
        (Value::Object(wanted), None) if !wanted.is_empty() => {
            wanted.iter().find_map(|(key, wanted)| differs(wanted, None, &format!("{place}/{key}")))
        }
        (Value::Null, Some(_)) | (_, None) => Some(shown()),
        (Value::Object(wanted), Some(Value::Object(found))) => {
            wanted.iter().find_map(|(key, wanted)| differs(wanted, found.get(key), &format!("{place}/{key}")))
        }
        (Value::Array(wanted), Some(Value::Array(found))) if wanted.len() == found.len() => {
            wanted.iter().zip(found).enumerate().find_map(|(index, (wanted, found))| {
                differs(wanted, Some(found), &format!("{place}/{index}"))
            })
        }
        (Value::String(wanted), Some(Value::String(found))) if wanted.starts_with('~') => {
            (!found.contains(&wanted[1..])).then(shown)
        }
        (wanted, Some(found)) => (wanted != found).then(shown),
    }
}

/// Whether it is *not* as the special description says.
fn special(verb: &str, of: &Value, found: Option<&Value>, place: &str) -> bool {
    let items = || found.and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    match verb {
        "$any" => found.is_none(),
        "$not" => differs(of, found, place).is_none(),
        "$count" => items().len() as u64 != of.as_u64().expect("$count is a number"),
        "$has" => {
            let wanted = of.as_array().expect("$has is a list");
            !wanted.iter().all(|one| items().iter().any(|item| differs(one, Some(item), place).is_none()))
        }
        other => panic!("{other} describes nothing"),
    }
}

#[test]
fn descriptions_are_parts_of_things() {
    use serde_json::json;
    let thing = json!({"a": {"b": "hello there", "c": 1}, "l": [{"n": 1}, {"n": 2}]});
    for same in [
        json!({"a": {"c": 1}}),
        json!({"a": {"b": "~there"}, "z": null}),
        json!({"l": {"$has": [{"n": 2}]}}),
        json!({"l": {"$count": 2}, "z": {"$count": 0}}),
        json!({"a": {"$any": true}, "z": {"$not": {"$any": true}}}),
        json!({"z": {"deep": null}}),
    ] {
        assert_eq!(differs(&same, Some(&thing), ""), None, "{same}");
    }
    for other in [
        json!({"a": {"c": 2}}),
        json!({"a": null}),
        json!({"a": {"b": "there"}}),
        json!({"l": [{"n": 1}]}),
        json!({"l": {"$has": [{"n": 3}]}}),
        json!({"z": {"$any": true}}),
        json!({"a": {"$not": {"c": 1}}}),
    ] {
        assert!(differs(&other, Some(&thing), "").is_some(), "{other}");
    }
}
