//! `Chart.yaml`

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use yaml::number::float_g32;

/// What `Chart.yaml` says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    pub name: String,
    pub home: String,
    pub sources: Vec<String>,
    pub version: String,
    pub description: String,
    pub keywords: Vec<String>,
    pub maintainers: Vec<Maintainer>,
    pub icon: String,
    pub api_version: String,
    pub condition: String,
    pub tags: String,
    pub app_version: String,
    pub deprecated: bool,
    pub annotations: BTreeMap<String, String>,
    pub kube_version: String,
    pub dependencies: Vec<Dependency>,
    /// `application`, `library` or empty.
    pub kind: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maintainer {
    pub name: String,
    pub email: String,
    pub url: String,
}

/// A chart that this one needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dependency {
    pub name: String,
    pub version: String,
    pub repository: String,
    pub condition: String,
    pub tags: Vec<String>,
    pub enabled: bool,
    pub import_values: Vec<Value>,
    pub alias: String,
}

/// Reads fields of an object the way `encoding/json` fills a struct.
struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// The Go path of the struct, for errors.
    of: &'static str,
}

fn mismatch(value: &Value, of: &str, field: &str, wanted: &str) -> String {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go struct field {of}.{field} of type {wanted}"
    )
}

/// A scalar as the string `sigs.k8s.io/yaml` makes of it where a string is wanted.
fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => integer.to_string(),
            (None, Some(integer)) => integer.to_string(),
            (None, None) => float_g32(number.as_f64().unwrap_or(f64::NAN)),
        }),
        Value::Array(_) | Value::Object(_) => None,
    }
}

impl Fields<'_> {
    /// A field by its name; Go ignores the case where no name fits exactly.
    fn get(&self, name: &str) -> Option<&Value> {
        self.object.get(name).or_else(|| {
            self.object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        })
    }

    fn text(&self, name: &str, into: &mut String) -> Result<(), String> {
        if let Some(value) = self.get(name).filter(|value| !value.is_null()) {
            *into = scalar_text(value).ok_or_else(|| mismatch(value, self.of, name, "string"))?;
        }
        Ok(())
    }

    fn flag(&self, name: &str, into: &mut bool) -> Result<(), String> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(()),
            Some(Value::Bool(value)) => {
                *into = *value;
                Ok(())
            }
            Some(other) => Err(mismatch(other, self.of, name, "bool")),
        }
    }

    fn items(&self, name: &str, wanted: &str) -> Result<Option<&Vec<Value>>, String> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(other) => Err(mismatch(other, self.of, name, wanted)),
        }
    }

    fn texts(&self, name: &str, into: &mut Vec<String>) -> Result<(), String> {
        let Some(items) = self.items(name, "[]string")? else { return Ok(()) };
        *into = items
            .iter()
            .map(|item| scalar_text(item).ok_or_else(|| mismatch(item, self.of, name, "string")))
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    fn text_map(&self, name: &str) -> Result<Option<BTreeMap<String, String>>, String> {
        let entries = match self.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(entries)) => entries,
            Some(other) => return Err(mismatch(other, self.of, name, "map[string]string")),
        };
        let pair = |(key, value): (&String, &Value)| {
            let text = scalar_text(value).ok_or_else(|| mismatch(value, self.of, name, "string"))?;
            Ok((key.clone(), text))
        };
        entries.iter().map(pair).collect::<Result<_, _>>().map(Some)
    }
}

impl Metadata {
    /// Takes what a document says; fields it does not name stay as they are.
    ///
    /// # Errors
    /// With Go's text, if a field has the wrong type.
    pub(crate) fn read(&mut self, document: &str) -> Result<(), String> {
        let value =
            yaml::from_str(document).map_err(|error| format!("error converting YAML to JSON: {error}"))?;
        let object = match &value {
            Value::Null => return Ok(()),
            Value::Object(object) => object,
            other => {
                let text = mismatch(other, "", "", "");
                let text = text.split(" into Go").next().unwrap_or_default().to_owned();
                return Err(format!("{text} into Go value of type v2.Metadata"));
            }
        };
        let fields = Fields { object, of: "Metadata" };
        for (name, slot) in [
            ("name", &mut self.name),
            ("home", &mut self.home),
            ("version", &mut self.version),
            ("description", &mut self.description),
            ("icon", &mut self.icon),
            ("apiVersion", &mut self.api_version),
            ("condition", &mut self.condition),
            ("tags", &mut self.tags),
            ("appVersion", &mut self.app_version),
            ("kubeVersion", &mut self.kube_version),
            ("type", &mut self.kind),
        ] {
            fields.text(name, slot)?;
        }
        fields.texts("sources", &mut self.sources)?;
        fields.texts("keywords", &mut self.keywords)?;
        fields.flag("deprecated", &mut self.deprecated)?;
        if let Some(annotations) = fields.text_map("annotations")? {
            self.annotations = annotations;
        }
        if let Some(items) = fields.items("maintainers", "[]*v2.Maintainer")? {
            self.maintainers = items.iter().map(read_maintainer).collect::<Result<_, _>>()?;
        }
        if let Some(items) = fields.items("dependencies", "[]*v2.Dependency")? {
            self.dependencies = items.iter().map(read_dependency).collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    /// Helm's checks of a chart's metadata.
    ///
    /// # Errors
    /// With Helm's text.
    pub(crate) fn validate(&mut self) -> Result<(), String> {
        for text in [
            &mut self.name,
            &mut self.description,
            &mut self.home,
            &mut self.icon,
            &mut self.condition,
            &mut self.tags,
            &mut self.app_version,
            &mut self.kube_version,
        ] {
            sanitize(text);
        }
        self.sources.iter_mut().chain(&mut self.keywords).for_each(sanitize);
        let problem = |text: String| Err(format!("validation: {text}"));
        if self.api_version.is_empty() {
            return problem("chart.metadata.apiVersion is required".to_owned());
        }
        if self.name.is_empty() {
            return problem("chart.metadata.name is required".to_owned());
        }
        if matches!(self.name.as_str(), "." | "..") {
            return problem(format!("chart.metadata.name {} is not allowed", quote(&self.name)));
        }
        if self.name.contains('/') {
            return problem(format!("chart.metadata.name {} is invalid", quote(&self.name)));
        }
        if self.version.is_empty() {
            return problem("chart.metadata.version is required".to_owned());
        }
        if gotmpl::semver::Version::parse(&self.version).is_err() {
            return problem(format!("chart.metadata.version {} is invalid", quote(&self.version)));
        }
        if !matches!(self.kind.as_str(), "" | "application" | "library") {
            return problem("chart.metadata.type must be application or library".to_owned());
        }
        let mut known = Vec::new();
        for dependency in &mut self.dependencies {
            dependency.validate()?;
            let key = if dependency.alias.is_empty() { &dependency.name } else { &dependency.alias };
            if known.contains(key) {
                return problem(format!("more than one dependency with name or alias {}", quote(key)));
            }
            known.push(key.clone());
        }
        Ok(())
    }

    pub(crate) fn is_library(&self) -> bool {
        self.kind == "library"
    }
}

fn quote(text: &str) -> String {
    gotmpl::quote(text.as_bytes())
}

/// Blanks become spaces, what cannot be printed goes.
fn sanitize(text: &mut String) {
    if text.chars().any(|character| character != ' ' && (character.is_whitespace() || character.is_control()))
    {
        let kept = text.chars().filter(|character| character.is_whitespace() || !character.is_control());
        *text = kept.map(|character| if character.is_whitespace() { ' ' } else { character }).collect();
    }
}

fn read_maintainer(value: &Value) -> Result<Maintainer, String> {
    let mut maintainer = Maintainer::default();
    let object = match value {
        Value::Object(object) => object,
        Value::Null => {
            return Err("validation: maintainers must not contain empty or null nodes".to_owned());
        }
        other => return Err(mismatch(other, "Metadata", "maintainers", "v2.Maintainer")),
    };
    let fields = Fields { object, of: "Maintainer" };
    fields.text("name", &mut maintainer.name)?;
    fields.text("email", &mut maintainer.email)?;
    fields.text("url", &mut maintainer.url)?;
    for text in [&mut maintainer.name, &mut maintainer.email, &mut maintainer.url] {
        sanitize(text);
    }
    Ok(maintainer)
}

fn read_dependency(value: &Value) -> Result<Dependency, String> {
    let mut dependency = Dependency::default();
    let object = match value {
        Value::Object(object) => object,
        Value::Null => {
            return Err("validation: dependencies must not contain empty or null nodes".to_owned());
        }
        other => return Err(mismatch(other, "Metadata", "dependencies", "v2.Dependency")),
    };
    let fields = Fields { object, of: "Dependency" };
    fields.text("name", &mut dependency.name)?;
    fields.text("version", &mut dependency.version)?;
    fields.text("repository", &mut dependency.repository)?;
    fields.text("condition", &mut dependency.condition)?;
    fields.texts("tags", &mut dependency.tags)?;
    fields.flag("enabled", &mut dependency.enabled)?;
    fields.text("alias", &mut dependency.alias)?;
    if let Some(items) = fields.items("import-values", "[]interface {}")? {
        dependency.import_values.clone_from(items);
    }
    Ok(dependency)
}

impl Dependency {
    fn validate(&mut self) -> Result<(), String> {
        for text in [&mut self.name, &mut self.version, &mut self.repository, &mut self.condition] {
            sanitize(text);
        }
        self.tags.iter_mut().for_each(sanitize);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !self.alias.bytes().all(allowed) {
            let name = quote(&self.name);
            return Err(format!("validation: dependency {name} has disallowed characters in the alias"));
        }
        Ok(())
    }
}
