//! `Chart.lock`, and the digest by which it belongs to a `Chart.yaml`.

use helm::{Dependency, File};
use serde_json::Value;

use crate::Error;
use crate::cache::sha256;

#[derive(Debug)]
pub(crate) struct Lock {
    pub(crate) digest: String,
    pub(crate) dependencies: Vec<Dependency>,
}

impl Lock {
    /// The lock file among a chart's files, and its name; charts of the first version call it otherwise.
    pub(crate) fn find(files: &[File]) -> Result<Option<(&str, Self)>, Error> {
        for name in ["Chart.lock", "requirements.lock"] {
            if let Some(file) = files.iter().find(|file| file.name == name) {
                let lock = Self::read(&String::from_utf8_lossy(&file.data));
                return lock
                    .map(|lock| Some((file.name.as_str(), lock)))
                    .map_err(|reason| Error::Dependencies(format!("cannot load {name}: {reason}")));
            }
        }
        Ok(None)
    }

    fn read(text: &str) -> Result<Self, String> {
        let value = yaml::from_str(text).map_err(|error| error.to_string())?;
        let string = |value: &Value, field: &str| match &value[field] {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            _ => Err(format!("{field} is no text")),
        };
        let mut dependencies = Vec::new();
        match &value["dependencies"] {
            Value::Null => {}
            Value::Array(items) => {
                for item in items {
                    dependencies.push(Dependency {
                        name: string(item, "name")?,
                        version: string(item, "version")?,
                        repository: string(item, "repository")?,
                        ..Dependency::default()
                    });
                }
            }
            _ => return Err("dependencies is no list".to_owned()),
        }
        Ok(Self { digest: string(&value, "digest")?, dependencies })
    }
}

/// Helm's digest over what is required and what it was locked to.
pub(crate) fn digest(required: &[Dependency], locked: &[Dependency]) -> String {
    let mut text = "[".to_owned();
    list(required, &mut text);
    text.push(',');
    list(locked, &mut text);
    text.push(']');
    format!("sha256:{}", sha256(text.as_bytes()))
}

/// The digest that Helm 2 made, of the requirements alone.
pub(crate) fn digest_v2(required: &[Dependency]) -> String {
    let mut text = "{\"dependencies\":".to_owned();
    list(required, &mut text);
    text.push('}');
    format!("sha256:{}", sha256(text.as_bytes()))
}

fn list(dependencies: &[Dependency], out: &mut String) {
    // A list that is not there is not an empty one.
    if dependencies.is_empty() {
        out.push_str("null");
        return;
    }
    out.push('[');
    for (at, dependency) in dependencies.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        object(dependency, out);
    }
    out.push(']');
}

/// The fields in the order of Go's struct; empty ones but name and repository are left out.
fn object(dependency: &Dependency, out: &mut String) {
    out.push_str("{\"name\":");
    string(&dependency.name, out);
    if !dependency.version.is_empty() {
        out.push_str(",\"version\":");
        string(&dependency.version, out);
    }
    out.push_str(",\"repository\":");
    string(&dependency.repository, out);
    if !dependency.condition.is_empty() {
        out.push_str(",\"condition\":");
        string(&dependency.condition, out);
    }
    if !dependency.tags.is_empty() {
        out.push_str(",\"tags\":");
        value(&dependency.tags.iter().map(|tag| Value::from(tag.as_str())).collect(), out);
    }
    if dependency.enabled {
        out.push_str(",\"enabled\":true");
    }
    if !dependency.import_values.is_empty() {
        out.push_str(",\"import-values\":");
        value(&Value::Array(dependency.import_values.clone()), out);
    }
    if !dependency.alias.is_empty() {
        out.push_str(",\"alias\":");
        string(&dependency.alias, out);
    }
    out.push('}');
}

/// JSON as Go writes it.
fn value(of: &Value, out: &mut String) {
    match of {
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                value(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (at, (key, item)) in map.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                string(key, out);
                out.push(':');
                value(item, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// Go escapes what could end a script element, and two line separators.
fn string(text: &str, out: &mut String) {
    let json = Value::from(text).to_string();
    for character in json.chars() {
        match character {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependency(name: &str, version: &str, repository: &str) -> Dependency {
        Dependency {
            name: name.to_owned(),
            version: version.to_owned(),
            repository: repository.to_owned(),
            ..Dependency::default()
        }
    }

    #[test]
    fn json_is_gos() {
        let mut out = String::new();
        let full = Dependency {
            condition: "a.enabled".to_owned(),
            tags: vec!["x".to_owned(), "<y>".to_owned()],
            import_values: vec![Value::from("data"), serde_json::json!({"parent": "b", "child": "a"})],
            alias: "other".to_owned(),
            ..dependency("web", ">= 1 & < 2", "https://a.org")
        };
        list(&[full, dependency("db", "", "")], &mut out);
        assert_eq!(
            out,
            "[{\"name\":\"web\",\"version\":\"\\u003e= 1 \\u0026 \\u003c 2\",\"repository\":\"https://a.org\",\
             \"condition\":\"a.enabled\",\"tags\":[\"x\",\"\\u003cy\\u003e\"],\"import-values\":[\"data\",\
             {\"child\":\"a\",\"parent\":\"b\"}],\"alias\":\"other\"},{\"name\":\"db\",\"repository\":\"\"}]"
        );
    }

    #[test]
    fn a_lock_that_is_none_is_named() {
        let file = |text: &str| vec![File { name: "Chart.lock".to_owned(), data: text.to_owned().into() }];
        for text in ["dependencies: 1", "dependencies: [{name: []}]", "digest: [", "digest: {}"] {
            let error = Lock::find(&file(text)).unwrap_err().to_string();
            assert!(error.starts_with("cannot load Chart.lock: "), "{error}");
        }
        assert!(Lock::find(&[]).unwrap().is_none());
    }
}
