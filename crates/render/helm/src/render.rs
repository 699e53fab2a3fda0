//! One rendering, from values to documents.

mod errors;
mod scope;

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::PoisonError;

use bytes::Bytes;
use gotmpl::{Environment, Functions, Limits, Machine, Templates, remove_no_value};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::capabilities::KubeVersion;
use crate::chart::{Chart, Parsed};
use crate::dependencies::{self, Node, is_compatible};
use crate::error::Error;
use crate::manifests::{self, Manifest};
use crate::options::{Options, SetKind};
use crate::strvals;
use crate::values::{Mode, Table, coalesce, merge_maps, numbers_to_floats};
use scope::Renderable;

/// What a chart becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// In the order in which Helm installs them.
    pub manifests: Vec<Manifest>,
    /// In the order in which Helm runs those of the same event and weight.
    pub hooks: Vec<Manifest>,
    /// The files under `crds/`, whole; empty unless asked for.
    pub crds: Vec<Manifest>,
    pub notes: Option<String>,
    /// Whether something was random or read the clock, so that another rendering would differ.
    pub nondeterministic: bool,
}

const LIMITS: Limits = Limits { depth: 3000, steps: 200_000_000, output: 1 << 30, deadline: None };

/// Renders a chart.
///
/// # Errors
/// Where Helm would refuse, with its text; and where a limit is exceeded.
pub fn render(chart: &Chart, options: &Options) -> Result<Rendered, Error> {
    let values = user_values(options)?;
    let mut node = Node::new(chart);
    dependencies::process(&mut node, &values)
        .map_err(|error| Error::Values(format!("chart dependencies processing failed: {error}")))?;
    let kube = KubeVersion::parse(&options.kube_version).map_err(Error::Values)?;
    let values = coalesce(&node, values, Mode::Coalesce).map_err(Error::Values)?;
    if !options.skip_schema {
        crate::schema::validate(&node, &values).map_err(Error::Schema)?;
    }
    let required = &node.metadata.kube_version;
    if !required.is_empty() && !is_compatible(required, &kube.normalized) {
        return Err(Error::Render(format!(
            "chart requires kubeVersion: {required} which is incompatible with Kubernetes {}",
            kube.version()
        )));
    }
    let world = World { options, drawn: RefCell::default() };
    let (mut texts, nondeterministic) = execute(&node, values, kube, options, &world)?;
    let notes = take_notes(&mut texts, &node.metadata.name, options.sub_notes);
    let (manifests, mut hooks) = manifests::sort(&texts)?;
    if options.skip_tests {
        hooks.retain(|hook| !hook.hook.as_ref().is_some_and(crate::manifests::HookInfo::is_test));
    }
    let mut crds = Vec::new();
    if options.include_crds {
        collect_crds(&node, &node.metadata.name, &mut crds);
    }
    Ok(Rendered { manifests, hooks, crds, notes, nondeterministic })
}

/// The name of a release by a template, as `--name-template` makes it: with the functions of charts and no values.
///
/// # Errors
/// Where the template is wrong or fails, and if there is no name in the end.
pub fn name_from_template(template: &str, options: &Options) -> Result<String, Error> {
    let mut templates = Templates::new(Functions::helm());
    templates.parse("name-template", template).map_err(|error| Error::Render(error.to_string()))?;
    let world = World { options, drawn: RefCell::default() };
    let mut machine = Machine::new(&templates, &world, LIMITS);
    let name = machine
        .execute("name-template", &gotmpl::Value::Nil)
        .map_err(|error| Error::Render(error.to_string()))?;
    let name = name.text().into_owned();
    if name.is_empty() {
        return Err(Error::Render(format!("the template {template:?} makes no name for the release")));
    }
    Ok(name)
}

/// The values of the user: documents first, then parameters by kind.
fn user_values(options: &Options) -> Result<Table, Error> {
    let mut values = Table::new();
    for document in &options.values {
        let mut document = document.clone();
        numbers_to_floats(&mut document);
        match document {
            Value::Object(table) => merge_maps(&mut values, table),
            Value::Null => {}
            _ => return Err(Error::Values("values are no mapping".to_owned())),
        }
    }
    let read_file = |name: &str| match options.set_files.get(name) {
        Some(content) => Ok(String::from_utf8_lossy(content).into_owned()),
        None => Err(format!("open {name}: no such file or directory")),
    };
    for kind in [SetKind::Json, SetKind::Value, SetKind::String, SetKind::File, SetKind::Literal] {
        let flag = match kind {
            SetKind::Json => "set-json",
            SetKind::Value => "set",
            SetKind::String => "set-string",
            SetKind::File => "set-file",
            SetKind::Literal => "set-literal",
        };
        for set in options.set.iter().filter(|set| set.kind == kind) {
            // Of JSON Helm shows what was given instead of what is wrong with it.
            let failed = |error| match kind {
                SetKind::Json => Error::Values(format!("failed parsing --{flag} data {}", set.expr)),
                _ => Error::Values(format!("failed parsing --{flag} data: {error}")),
            };
            let trimmed = set.expr.trim();
            if kind == SetKind::Json && trimmed.starts_with('{') {
                let failed = || Error::Values(format!("failed parsing --{flag} data JSON: {}", set.expr));
                let mut parsed: Value = serde_json::from_str(trimmed).map_err(|_| failed())?;
                numbers_to_floats(&mut parsed);
                if let Value::Object(table) = parsed {
                    merge_maps(&mut values, table);
                }
                continue;
            }
            strvals::apply(&set.expr, kind, &mut values, &read_file).map_err(failed)?;
        }
    }
    Ok(values)
}

/// The world as the options describe it.
pub(crate) struct World<'o> {
    options: &'o Options,
    /// How many blocks of random bytes were drawn.
    drawn: RefCell<u64>,
}

impl Environment for World<'_> {
    fn now(&self) -> jiff::Timestamp {
        self.options.now
    }

    fn random(&self, buffer: &mut [u8]) -> Result<(), String> {
        let Some(seed) = self.options.seed else {
            return Err("no source of randomness was given for this rendering".to_owned());
        };
        for chunk in buffer.chunks_mut(32) {
            let mut drawn = self.drawn.borrow_mut();
            *drawn += 1;
            let block = Sha256::new().chain_update(seed).chain_update(drawn.to_be_bytes()).finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(())
    }

    fn certificates(&self) -> Option<&dyn gotmpl::Certificates> {
        Some(self)
    }
}

/// The templates as they were parsed for the last rendering of this chart, unless conditions or aliases select
/// others now.
fn parse(chart: &Chart, renderables: &[Renderable]) -> Result<Templates, Error> {
    let mut parsed = chart.content.parsed.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(parsed) = &*parsed {
        // Texts are compared by where they lie: those of one chart do not move.
        let same = |((path, text), new): (&(String, Bytes), &Renderable)| {
            *path == new.path && text.as_ptr() == new.text.as_ptr() && text.len() == new.text.len()
        };
        if parsed.texts.len() == renderables.len() && parsed.texts.iter().zip(renderables).all(same) {
            return Ok(parsed.templates.clone());
        }
    }
    let mut templates = Templates::new(Functions::helm());
    for Renderable { path, text, .. } in renderables {
        // Checking first is several times faster than looking for what to replace.
        let text = std::str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::Borrowed);
        templates.parse(path, &text).map_err(|error| errors::parse(path, &error.to_string()))?;
    }
    let texts = renderables.iter().map(|new| (new.path.clone(), new.text.clone())).collect();
    *parsed = Some(Parsed { texts, templates: templates.clone() });
    Ok(templates)
}

/// Executes every template; gives the texts by path.
fn execute(
    node: &Node,
    values: Table,
    kube: KubeVersion,
    options: &Options,
    world: &World<'_>,
) -> Result<(Vec<(String, String)>, bool), Error> {
    let mut renderables = scope::collect(node, values, kube, options);
    // Templates of the root come last, so that they replace those of dependencies with the same name.
    renderables.sort_by(|a, b| {
        let depth = |path: &str| path.matches('/').count();
        (depth(&b.path), &b.path).cmp(&(depth(&a.path), &a.path))
    });
    let templates = parse(&node.chart, &renderables)?;
    let mut machine = Machine::new(&templates, world, LIMITS);
    let mut texts = Vec::new();
    for renderable in &renderables {
        let path = &renderable.path;
        if path.rsplit('/').next().is_some_and(|base| base.starts_with('_')) {
            continue;
        }
        renderable.enter();
        let output =
            machine.execute(path, &renderable.scope).map_err(|error| errors::execute(path, &error))?;
        texts.push((path.clone(), remove_no_value(output).text().into_owned()));
    }
    Ok((texts, machine.is_nondeterministic()))
}

fn take_notes(texts: &mut Vec<(String, String)>, chart: &str, sub_notes: bool) -> Option<String> {
    let own = format!("{chart}/templates/NOTES.txt");
    let mut notes: Option<String> = None;
    texts.retain(|(path, text)| {
        if !path.ends_with("NOTES.txt") {
            return true;
        }
        if sub_notes || *path == own {
            let notes = notes.get_or_insert_default();
            if !notes.is_empty() {
                notes.push('\n');
            }
            notes.push_str(text);
        }
        false
    });
    notes
}

fn collect_crds(node: &Node, path: &str, crds: &mut Vec<Manifest>) {
    for file in node.chart.files() {
        let extension = file.name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase());
        let is_manifest = matches!(extension.as_deref(), Some("yaml" | "yml" | "json"));
        if file.name.starts_with("crds/") && is_manifest {
            crds.push(Manifest {
                source: format!("{path}/{}", file.name),
                text: String::from_utf8_lossy(&file.data).into_owned(),
                kind: "CustomResourceDefinition".to_owned(),
                name: String::new(),
                hook: None,
            });
        }
    }
    for child in &node.dependencies {
        collect_crds(child, &format!("{path}/charts/{}", child.metadata.name), crds);
    }
}
