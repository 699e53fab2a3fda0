//! ApplicationSets to Applications: the parameters of generators, and the template they fill.
//!
//! Owns what Argo CD's ApplicationSet controller decides without asking anybody: which sets of parameters each generator
//! gives and how they combine ([`generate`]), both template languages, patches of the template, what an Application
//! that is there already keeps ([`update`]), which of them sync when ([`rolling`]), and the status ([`status`]).
//!
//! What must hold: everything is a function of its arguments. What lies outside (clusters, repositories, pull requests)
//! comes in as [`Known`] answers; what is not known yet goes out as a [`Question`], and the caller asks again with the
//! answer. If any generator fails there are no Applications at all, so that nothing is deleted by mistake; what is not
//! supported is such a failure. Keeps out reading, writing and waiting.

#![forbid(unsafe_code)]

mod combine;
mod error;
mod generators;
mod git;
mod parameters;
mod pulls;
pub mod rolling;
pub mod status;
mod template;
pub mod update;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use objects::{Value, meta};
use serde_json::{Map, json};

pub use error::{Failure, Reason};
pub use pulls::PullRequest;

use error::Stop;
use generators::Generators;
use template::Renderer;

/// A set of parameters.
pub(crate) type Parameters = Map<String, Value>;

/// A cluster as generators see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    pub name: String,
    pub server: String,
    /// Empty if it belongs to no project.
    pub project: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// Something that is to be found out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// The files of a repository at a revision; `project` says whose credentials may be used (empty: nobody's own).
    Repository { url: String, revision: String, project: String },
    /// The open pull requests that a generator describes, as the text of its `pullRequest` block.
    PullRequests { generator: String },
}

/// What was found out.
#[derive(Clone)]
pub enum Answer {
    Repository(Arc<dyn tree::Tree>),
    PullRequests(Vec<PullRequest>),
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Repository(_) => f.write_str("Repository"),
            Self::PullRequests(pulls) => f.debug_tuple("PullRequests").field(&pulls.len()).finish(),
        }
    }
}

/// Everything that generators may look at.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The registered clusters; the one that the controller talks to need not be among them.
    pub clusters: Vec<Cluster>,
    /// Answers, or why there are none.
    pub answers: BTreeMap<Question, Result<Answer, String>>,
}

/// What comes of an ApplicationSet.
#[derive(Debug)]
pub enum Outcome {
    /// More has to be known first.
    Asks(BTreeSet<Question>),
    Generated(Generated),
}

/// The Applications of a set.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// In the order of generators and parameters, with the set's namespace.
    pub applications: Vec<Value>,
    /// When what lies outside is to be looked at again, where nobody tells of changes.
    pub again: Option<Duration>,
    /// The questions that the answer depends on.
    pub asked: BTreeSet<Question>,
}

/// Nested generators go no deeper than this: matrix or merge in matrix or merge.
const DEEPEST: usize = 3;
/// More Applications than this come of a mistake.
const MOST: usize = 50_000;

/// The Applications of an ApplicationSet.
///
/// # Errors
/// If a generator cannot give its parameters, something in the set is not supported, or a template does not render.
pub fn generate(set: &Value, known: &Known) -> Result<Outcome, Failure> {
    let spec = &set["spec"];
    let renderer = Renderer::of(spec)?;
    let project = spec["template"]["spec"]["project"].as_str().unwrap_or_default();
    let project = if project.contains("{{") { "" } else { project };
    let generators = Generators::new(known, &renderer, project);
    let listed = spec["generators"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut applications = Vec::new();
    for (index, generator) in listed.iter().enumerate() {
        let place = format!("spec.generators[{index}]");
        let sets = match generators.parameters(generator, None, &place, DEEPEST) {
            Ok(sets) => sets,
            // The others may have questions too.
            Err(Stop::Asks) => continue,
            Err(Stop::Failed(message)) => return Err(Failure::new(Reason::Parameters, message)),
        };
        let template = template::merged(template_of(generator), &spec["template"]);
        for parameters in sets {
            if applications.len() >= MOST {
                let message = format!("the ApplicationSet generates more than {MOST} Applications");
                return Err(Failure::new(Reason::Parameters, message));
            }
            applications.push(application(set, &template, &parameters, &renderer)?);
        }
    }
    let (asked, open, again) = generators.finish();
    if !open.is_empty() {
        return Ok(Outcome::Asks(open));
    }
    Ok(Outcome::Generated(Generated { applications, again, asked }))
}

/// The template of a generator's own, wherever it stands.
fn template_of(generator: &Value) -> &Value {
    static NONE: Value = Value::Null;
    let kinds = generator.as_object().into_iter().flatten();
    kinds.map(|(_, kind)| &kind["template"]).find(|template| template.is_object()).unwrap_or(&NONE)
}

fn application(
    set: &Value,
    template: &Value,
    parameters: &Parameters,
    renderer: &Renderer,
) -> Result<Value, Failure> {
    let failed = |message: String| Failure::new(Reason::Template, message);
    let spec = &set["spec"];
    let metadata = &template["metadata"];
    let mut own = Map::new();
    for field in ["name", "labels", "annotations", "finalizers"] {
        if !metadata[field].is_null() {
            own.insert(field.to_owned(), metadata[field].clone());
        }
    }
    let mut application = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": own,
        "spec": template["spec"],
    });
    if !template["operation"].is_null() {
        application["operation"] = template["operation"].clone();
    }
    let scope = renderer.scope(parameters);
    if !parameters.is_empty() {
        application = scope.deeply(&application).map_err(failed)?;
        let preserved = spec["syncPolicy"]["preserveResourcesOnDeletion"] == true;
        if !preserved && meta::finalizers(&application).next().is_none() {
            application["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
        }
    }
    if let Some(patch) = spec["templatePatch"].as_str().filter(|patch| !patch.trim().is_empty()) {
        let patch = scope.text(patch);
        let patch = patch.map_err(|e| failed(format!("error replacing values in templatePatch: {e}")))?;
        application = template::patched(application, &patch).map_err(failed)?;
    }
    application["metadata"]["namespace"] = meta::namespace(set).unwrap_or_default().into();
    Ok(application)
}

#[cfg(test)]
mod tests;
