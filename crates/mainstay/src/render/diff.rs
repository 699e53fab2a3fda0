//! What differs between two renderings, object by object, without showing what Secrets hold.

use std::collections::BTreeMap;

use objects::meta;
use serde_json::Value;
use similar::TextDiff;

/// One document of a rendering, by what it is.
type Documents = BTreeMap<String, Vec<Document>>;

struct Document {
    text: String,
    object: Value,
}

/// Unified diffs of everything that differs; empty if nothing does. The texts may be of any form: comments and order
/// count within one document, the order of documents does not.
pub(super) fn diff(old_name: &str, old: &[String], new_name: &str, new: &[String]) -> String {
    let (mut old, mut new) = (by_key(old), by_key(new));
    let keys: std::collections::BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    let mut out = String::new();
    for key in keys {
        let (before, after) = (old.remove(&key).unwrap_or_default(), new.remove(&key).unwrap_or_default());
        for at in 0..before.len().max(after.len()) {
            let (before, after) = (before.get(at), after.get(at));
            let (hidden_before, hidden_after) = shown(before, after);
            if hidden_before == hidden_after {
                continue;
            }
            let name = |side: &str, there: bool| {
                if there { format!("{side}/{key}") } else { "/dev/null".to_owned() }
            };
            let diff = TextDiff::from_lines(&hidden_before, &hidden_after);
            let text = diff
                .unified_diff()
                .context_radius(3)
                .header(&name(old_name, before.is_some()), &name(new_name, after.is_some()))
                .to_string();
            out.push_str(&text);
        }
    }
    out
}

fn by_key(texts: &[String]) -> Documents {
    let mut documents = Documents::new();
    for text in texts.iter().flat_map(|text| super::chart::split(text)) {
        // What is no YAML was refused before; it would still be compared as text.
        let object = yaml::from_str(text).unwrap_or(Value::Null);
        if object.is_null() {
            continue;
        }
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let parts =
            [group, meta::kind(&object), meta::namespace(&object).unwrap_or_default(), meta::name(&object)];
        let key: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let mut text = text.trim_end().to_owned();
        text.push('\n');
        documents.entry(key.join("/")).or_default().push(Document { text, object });
    }
    documents
}

/// Both sides as they may be seen.
fn shown(before: Option<&Document>, after: Option<&Document>) -> (String, String) {
    let is_secret = |document: &&Document| {
        document.object["apiVersion"] == "v1" && meta::kind(&document.object) == "Secret"
    };
    if !before.iter().chain(after.iter()).any(is_secret) {
        let text =
            |document: Option<&Document>| document.map(|document| document.text.clone()).unwrap_or_default();
        return (text(before), text(after));
    }
    let text = |document: Option<&Document>, other: Option<&Document>, changed: &str| {
        document
            .map(|document| hidden(&document.object, other.map(|other| &other.object), changed))
            .unwrap_or_default()
    };
    (text(before, after, CHANGED_FROM), text(after, before, CHANGED_TO))
}

/// Of the same length for all values: a length tells something too.
const SAME: &str = "++++++++";
const CHANGED_FROM: &str = "++++++++ (before)";
const CHANGED_TO: &str = "++++++++ (after)";

/// A Secret whose values only tell whether they are the other's.
fn hidden(object: &Value, other: Option<&Value>, changed: &str) -> String {
    let mut object = object.clone();
    for field in ["data", "stringData"] {
        let Some(values) = object.get_mut(field).and_then(Value::as_object_mut) else { continue };
        for (name, value) in values {
            let same = other.is_some_and(|other| other[field].get(name) == Some(value));
            *value = Value::from(if same { SAME } else { changed });
        }
    }
    const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    if let Some(applied) = object["metadata"]["annotations"].get_mut(APPLIED) {
        *applied = Value::from(SAME);
    }
    yaml::to_string(&object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn objects_are_compared_one_by_one() {
        let old = documents(&[
            "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\ndata:\n  x: \"1\"\n",
            "kind: Service\napiVersion: v1\nmetadata: {name: gone}\n",
        ]);
        let new = documents(&[
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: new, namespace: team}\n",
            "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\ndata:\n  x: \"2\"\n\n",
        ]);
        let text = diff("main", &old, "saved", &new);
        for line in [
            "--- main/ConfigMap/a\n+++ saved/ConfigMap/a\n",
            "-  x: \"1\"\n+  x: \"2\"\n",
            "--- main/Service/gone\n+++ /dev/null\n",
            "--- /dev/null\n+++ saved/apps/Deployment/team/new\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert_eq!(diff("a", &old, "b", &old), "");
        let swapped: Vec<String> = old.iter().rev().cloned().collect();
        assert_eq!(diff("a", &old, "b", &swapped), "");
    }

    #[test]
    fn secrets_do_not_show() {
        let secret = |password: &str| {
            format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{user: alice, password: {password}}}\n"
            )
        };
        let text = diff("old", &[secret("sesame")], "new", &[secret("tulip")]);
        assert!(text.contains("-  password: ++++++++ (before)\n+  password: ++++++++ (after)\n"), "{text}");
        for word in ["sesame", "tulip", "alice"] {
            assert!(!text.contains(word), "{text}");
        }
        let added = diff("old", &[], "new", &[secret("tulip")]);
        assert!(added.contains("Secret/s") && !added.contains("tulip"), "{added}");
        assert_eq!(diff("old", &[secret("x")], "new", &[secret("x")]), "");
    }
}
