//! The two languages in which a set's texts are written, and what else makes a template.

use std::cell::RefCell;
use std::collections::BTreeMap;

use gotmpl::{Environment, Functions, Limits, Machine, MissingKey, Templates};
use objects::{Value, patch};
use serde_json::Map;

use crate::Parameters;
use crate::error::{Failure, Reason};
use crate::parameters::is_empty;

/// How a set's texts are filled.
pub(crate) struct Renderer {
    language: Language,
    /// Go's templates by their text; the same ones are filled for every set of parameters.
    parsed: RefCell<BTreeMap<String, Result<Templates, String>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    /// `{{name}}`: unknown names stay as they are.
    Simple,
    Go(MissingKey),
}

/// The clock and randomness of templates: none, so that the same parameters give the same Applications.
struct Nothing;

impl Environment for Nothing {}

impl Renderer {
    pub(crate) fn of(spec: &Value) -> Result<Self, Failure> {
        let mut language = Language::Simple;
        if spec["goTemplate"] == true {
            language = Language::Go(MissingKey::Default);
            let options = spec["goTemplateOptions"].as_array().into_iter().flatten();
            for option in options.filter_map(Value::as_str) {
                language = Language::Go(match option {
                    "missingkey=default" | "missingkey=invalid" | "missingkey=zero" => MissingKey::Default,
                    "missingkey=error" => MissingKey::Error,
                    _ => {
                        let message = format!("spec.goTemplateOptions: unrecognized option: {option}");
                        return Err(Failure::new(Reason::Template, message));
                    }
                });
            }
        }
        Ok(Self { language, parsed: RefCell::default() })
    }

    pub(crate) fn is_go(&self) -> bool {
        self.language != Language::Simple
    }

    pub(crate) fn scope<'r>(&'r self, parameters: &'r Parameters) -> Scope<'r> {
        let data = match self.language {
            Language::Simple => gotmpl::Value::Nil,
            // Numbers are those of Go's JSON.
            Language::Go(_) => gotmpl::from_json(&Value::Object(parameters.clone()).to_string())
                .unwrap_or(gotmpl::Value::Nil),
        };
        Scope { renderer: self, parameters, data }
    }

    fn go(&self, text: &str, data: &gotmpl::Value, missing_key: MissingKey) -> Result<String, String> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let mut parsed = self.parsed.borrow_mut();
        let templates = parsed.entry(text.to_owned()).or_insert_with(|| {
            let mut templates = Templates::new(Functions::application_sets());
            templates.parse("", text).map_err(|error| error.to_string())?;
            Ok(templates)
        });
        let templates =
            templates.as_ref().map_err(|error| format!("failed to parse template {text}: {error}"))?;
        let mut machine = Machine::new(templates, &Nothing, Limits::default()).missing_key(missing_key);
        let filled = machine.execute("", data);
        filled
            .map(|filled| filled.text().into_owned())
            .map_err(|error| format!("failed to execute go template {text}: {error}"))
    }
}

/// One set of parameters to fill texts with.
pub(crate) struct Scope<'r> {
    renderer: &'r Renderer,
    parameters: &'r Parameters,
    data: gotmpl::Value,
}

impl Scope<'_> {
    pub(crate) fn text(&self, text: &str) -> Result<String, String> {
        match self.renderer.language {
            Language::Simple => self.simple(text),
            Language::Go(missing_key) => self.renderer.go(text, &self.data, missing_key),
        }
    }

    fn simple(&self, text: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((tag, after)) = after.split_once("}}") else {
                // What is no placeholder in any of its lines stays.
                break;
            };
            filled.push_str(before);
            match self.parameters.get(tag.trim()).and_then(Value::as_str) {
                Some(value) if !tag.trim().is_empty() => filled.push_str(value),
                _ => {
                    filled.push_str("{{");
                    filled.push_str(tag);
                    filled.push_str("}}");
                }
            }
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// Every text of a value, keys included.
    pub(crate) fn deeply(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => self.text(text)?.into(),
            Value::Array(list) => list.iter().map(|item| self.deeply(item)).collect::<Result<_, _>>()?,
            Value::Object(map) => {
                let mut filled = Map::new();
                for (key, value) in map {
                    filled.insert(self.text(key)?, self.deeply(value)?);
                }
                filled.into()
            }
            other => other.clone(),
        })
    }

    /// A generator filled with an outer one's parameters. Its `values` may also name parameters of its own, which are
    /// not known yet: those stay.
    pub(crate) fn generator(&self, generator: &Value) -> Result<Value, String> {
        let mut without = generator.clone();
        let mut values = Vec::new();
        for (kind, block) in without.as_object_mut().into_iter().flatten() {
            if let Some(own) = block.as_object_mut().and_then(|block| block.remove("values")) {
                values.push((kind.clone(), own));
            }
        }
        let mut filled = self.deeply(&without)?;
        for (kind, own) in values {
            let mut kept = Map::new();
            for (key, value) in own.as_object().into_iter().flatten() {
                let text = value.as_str().unwrap_or_default();
                kept.insert(key.clone(), self.value(text)?.into());
            }
            filled[kind]["values"] = kept.into();
        }
        Ok(filled)
    }

    fn value(&self, text: &str) -> Result<String, String> {
        if !self.renderer.is_go() {
            return self.simple(text);
        }
        match self.renderer.go(text, &self.data, MissingKey::Error) {
            Err(error)
                if error.contains("map has no entry for key") || error.contains("can't evaluate field") =>
            {
                Ok(text.to_owned())
            }
            other => other,
        }
    }
}

/// A generator's own template, and from the set's whatever it leaves out.
pub(crate) fn merged(own: &Value, of_set: &Value) -> Value {
    match (own, of_set) {
        (Value::Object(own), Value::Object(of_set)) => {
            let mut merged = own.clone();
            for (key, value) in of_set {
                let own = merged.get(key).unwrap_or(&Value::Null);
                let value = self::merged(own, value);
                merged.insert(key.clone(), value);
            }
            merged.into()
        }
        (own, of_set) if is_empty(own) => of_set.clone(),
        (own, _) => own.clone(),
    }
}

/// An Application changed by the filled text of `templatePatch`.
pub(crate) fn patched(mut application: Value, text: &str) -> Result<Value, String> {
    let change = yaml::from_str(text)
        .map_err(|error| format!("error while converting template to json {text:?}: {error}"))?;
    if change.is_null() {
        return Ok(application);
    }
    if !change.is_object() {
        return Err(format!("invalid templatePatch {text:?}: it is no map"));
    }
    let before = application.clone();
    patch::merge(&mut application, &change);
    // Finalizers are added to, and the project is not a patch's to choose.
    let finalizers =
        |object: &Value| object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let mut all = finalizers(&before);
    for finalizer in finalizers(&change) {
        if !all.contains(&finalizer) {
            all.push(finalizer);
        }
    }
    if !all.is_empty() {
        application["metadata"]["finalizers"] = all.into();
    }
    application["spec"]["project"] = before["spec"]["project"].clone();
    Ok(application)
}
