//! Where objects come from and what changed them, as `buildMetadata` records it in annotations.

use serde_json::Value;

use crate::remote::Repository;

/// Annotation with an object's origin.
pub(crate) const ORIGIN: &str = "config.kubernetes.io/origin";
/// Annotation with the transformers that changed an object.
pub(crate) const TRANSFORMATIONS: &str = "alpha.config.kubernetes.io/transformations";

/// A file, in the build's own tree or in a remote repository, or what a file configures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    path: String,
    repository: String,
    reference: String,
    configured_in: String,
    /// apiVersion, kind, name and namespace.
    configured_by: Option<[String; 4]>,
}

impl Origin {
    /// What lies at `path` from here.
    pub(crate) fn append(&self, path: &str) -> Self {
        let mut next = self.clone();
        let Some(repository) = Repository::parse(path) else {
            next.path = join(&self.path, path);
            return next;
        };
        next.repository = repository.url;
        next.reference = repository.reference;
        next.path = join("", &repository.directory);
        next
    }

    /// What a builtin plugin makes that the kustomization file `name` configures.
    pub(crate) fn of_builtin(&self, name: &str, kind: &str) -> Self {
        let by = ["builtin", kind, "", ""].map(str::to_owned);
        Self { configured_in: join(&self.path, name), ..self.configured(by) }
    }

    /// What a plugin makes whose configuration lies here.
    pub(crate) fn configured(&self, by: [String; 4]) -> Self {
        Self {
            path: String::new(),
            repository: self.repository.clone(),
            reference: self.reference.clone(),
            configured_in: self.path.clone(),
            configured_by: Some(by),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut add = |name: &str, text: &str, indent: &str| {
            if !text.is_empty() {
                let text = yaml::to_string(&Value::from(text));
                lines.push(format!("{indent}{name}: {}", text.trim_end()));
            }
        };
        add("path", &self.path, "");
        add("repo", &self.repository, "");
        add("ref", &self.reference, "");
        add("configuredIn", &self.configured_in, "");
        let Some(by) = &self.configured_by else { return lines };
        let mut inner = Vec::new();
        std::mem::swap(&mut inner, &mut lines);
        inner.push("configuredBy:".to_owned());
        for (name, text) in ["apiVersion", "kind", "name", "namespace"].into_iter().zip(by) {
            if !text.is_empty() {
                let text = yaml::to_string(&Value::from(text.as_str()));
                inner.push(format!("  {name}: {}", text.trim_end()));
            }
        }
        inner
    }

    /// The text of the origin annotation.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines();
        if lines.is_empty() { "{}\n".to_owned() } else { lines.join("\n") + "\n" }
    }

    /// The text of one entry of the transformations annotation.
    pub(crate) fn entry(&self) -> String {
        let lines = self.lines();
        lines
            .iter()
            .enumerate()
            .map(|(index, line)| {
                let start = if index == 0 { "- " } else { "  " };
                format!("{start}{line}\n")
            })
            .collect()
    }
}

/// The origin an annotation's text names.
pub(crate) fn parse(text: &str) -> Option<Origin> {
    let value = yaml::from_str(text).ok()?;
    let get =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Origin {
        path: get(&value, "path"),
        repository: get(&value, "repo"),
        reference: get(&value, "ref"),
        configured_in: get(&value, "configuredIn"),
        configured_by: value
            .get("configuredBy")
            .map(|by| ["apiVersion", "kind", "name", "namespace"].map(|name| get(by, name))),
    })
}

/// Joins paths as `filepath.Join`: `..` may lead above the start.
fn join(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
