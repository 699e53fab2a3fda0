//! The build itself: kustomizations entered one after the other, then what is done once at the end.

use std::sync::Arc;

use serde_json::Value;
use tree::Tree;

use crate::config::{self, Config};
use crate::fieldspec::FieldSpec;
use crate::kustomization::{COMPONENT, Kustomization, Texts};
use crate::loader::Loader;
use crate::options::Options;
use crate::origin::{ORIGIN, Origin, TRANSFORMATIONS};
use crate::resource::{self, Resource};
use crate::resources::Resources;
use crate::schema::{Base, Schema};
use crate::settings::{Reorder, Settings};
use crate::transform::variables::{self, Variables};
use crate::transform::{self, Step, references};
use crate::{Error, generate, order};

mod plugins;

/// Kustomizations one build may enter (the same base counts each time).
const MAX_KUSTOMIZATIONS: usize = 2_000;
const BUILTIN_SCHEMA: &str = "v1.21.2";
/// What `managedByLabel` writes: the version whose output is reproduced.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "kustomize-v5.8.2");

pub(crate) fn build(
    tree: &dyn Tree,
    path: &str,
    options: &Options,
    settings: &Settings<'_>,
) -> Result<Vec<Value>, Error> {
    let loader = Loader::new(tree, path, settings)?;
    let (name, mut file) = load(&loader)?;
    options.edit(&mut file, &loader)?;
    let mut builder =
        Builder { schema: Schema::builtin(), schema_is_set: false, custom_kind_seen: false, entered: 0 };
    builder.set_schema(&file, &loader)?;
    let origin = (!file.build_metadata.is_empty()).then(Origin::default);
    let target = Target { file, name, loader, origin, chart_namespace: String::new() };
    let mut accumulated = builder.accumulate(&target, Accumulated::default())?;
    let schema = builder.schema;
    let resources = &mut accumulated.resources;
    generate::add_hashes(resources, &schema)?;
    references::repair(resources, &accumulated.config.name_reference, &schema)?;
    variables::resolve(resources, &accumulated.variables, &accumulated.config.var_reference)?;
    resources.list.retain(|resource| !resource.is_local());
    let file = &target.file;
    match (&file.sort_options, settings.reorder) {
        (Some(options), _) => order::sort(resources, options, &schema)?,
        (None, Reorder::Legacy) => order::legacy(resources, &schema),
        (None, Reorder::None) => {}
    }
    if settings.managed_by_label || file.records("managedByLabel") {
        let (name, text) = MANAGED_BY;
        let texts = Texts::from([(name.to_owned(), text.to_owned())]);
        transform::add_texts(resources, &texts, &[FieldSpec::new("metadata/labels", "", "", "", true)])?;
    }
    let kept: Vec<&str> = [
        (ORIGIN, file.records("originAnnotations")),
        (TRANSFORMATIONS, file.records("transformerAnnotations")),
    ]
    .into_iter()
    .filter_map(|(annotation, kept)| kept.then_some(annotation))
    .collect();
    finish(resources, &kept)
}

/// The objects as they are printed.
fn finish(resources: &mut Resources, kept: &[&str]) -> Result<Vec<Value>, Error> {
    resources
        .list
        .iter_mut()
        .map(|resource| {
            resource.finish(kept)?;
            let named = resource.named();
            resource.node.to_value().map_err(|error| error.within(format!("write {named}")))
        })
        .collect()
}

fn load(loader: &Loader<'_>) -> Result<(&'static str, Kustomization), Error> {
    let (name, text) = loader.kustomization()?;
    Ok((name, Kustomization::parse(&loader.root(), &text)?))
}

/// One kustomization on its way.
struct Target<'t> {
    file: Kustomization,
    /// Of the file.
    name: &'static str,
    loader: Loader<'t>,
    /// Where it lies, if origins are recorded.
    origin: Option<Origin>,
    /// The namespace that charts get from the kustomizations around this one.
    chart_namespace: String,
}

/// What a kustomization has gathered so far.
#[derive(Default)]
struct Accumulated {
    resources: Resources,
    config: Config,
    variables: Variables,
}

struct Builder {
    schema: Arc<Schema>,
    /// Only the outermost kustomization that names a schema decides.
    schema_is_set: bool,
    /// Whether an object of a kind outside the built-in schema was read: a custom schema that comes later then
    /// stands beside the built-in one, as in real kustomize, which had to load it.
    custom_kind_seen: bool,
    entered: usize,
}

impl Builder {
    fn set_schema(&mut self, file: &Kustomization, loader: &Loader<'_>) -> Result<(), Error> {
        let (path, version) = (file.openapi.get("path"), file.openapi.get("version"));
        let text = path.map(|path| loader.load_text(path)).transpose()?;
        if self.schema_is_set {
            return Ok(());
        }
        let (Some(path), Some(text)) = (path, text) else {
            return match version.map(String::as_str) {
                None | Some("") => Ok(()),
                Some(BUILTIN_SCHEMA) => {
                    self.schema_is_set = true;
                    Ok(())
                }
                Some(_) => Err(Error::invalid("the specified OpenAPI version is not built in")),
            };
        };
        if version.is_some() {
            return Err(Error::invalid("builtin version and custom schema provided, cannot use both"));
        }
        let document = yaml::from_str(&text)
            .map_err(|error| Error::Malformed { path: path.clone(), message: error.to_string() })?;
        let base = if self.custom_kind_seen { Base::Builtin } else { Base::Nothing };
        self.schema = Arc::new(Schema::from_openapi(&document, base)?);
        self.schema_is_set = true;
        Ok(())
    }

    fn accumulate(
        &mut self,
        target: &Target<'_>,
        mut accumulated: Accumulated,
    ) -> Result<Accumulated, Error> {
        self.entered += 1;
        if self.entered > MAX_KUSTOMIZATIONS {
            return Err(Error::Limit { what: "the number of kustomizations", limit: MAX_KUSTOMIZATIONS });
        }
        let Target { file, loader, .. } = target;
        self.add_resources(&file.resources, target, &mut accumulated)
            .map_err(|error| error.within("accumulating resources"))?;
        accumulated.config.merge(configuration(file, loader)?)?;
        self.generate(target, &mut accumulated)?;
        accumulated = self
            .add_components(target, accumulated)
            .map_err(|error| error.within("accumulating components"))?;
        let steps = self.transformers(target, &accumulated.config)?;
        transform::run(&mut accumulated.resources, &steps, &self.schema)?;
        self.validate(target, &mut accumulated.resources)?;
        variables::define(&mut accumulated.variables, &file.vars, &mut accumulated.resources, &self.schema)
            .map_err(|error| error.within(variables::merging(&file.vars)))?;
        Ok(accumulated)
    }

    /// The transformers of a kustomization's own fields and then those it names, in the order they run.
    fn transformers(&mut self, target: &Target<'_>, config: &Config) -> Result<Vec<Step>, Error> {
        let builtin = transform::of_kustomization(&target.file, config, &target.loader)?;
        let mut steps: Vec<Step> = builtin
            .into_iter()
            .map(|(kind, transformer)| {
                let origin = target.origin.as_ref().map(|origin| origin.of_builtin(target.name, kind));
                Step { transformer, origin }
            })
            .collect();
        steps.extend(self.configured_transformers(&target.file.transformers, target)?);
        Ok(steps)
    }

    /// A resource is a file, or else the directory or the repository of another kustomization.
    fn add_resources(
        &mut self,
        paths: &[String],
        target: &Target<'_>,
        accumulated: &mut Accumulated,
    ) -> Result<(), Error> {
        for path in paths {
            let Err(not_a_file) = self.add_file(path, target, &mut accumulated.resources) else { continue };
            if not_a_file.is_http() || not_a_file.is_final() {
                return Err(not_a_file);
            }
            let base = match target.loader.enter(path) {
                Ok(base) => base,
                Err(error) if error.is_final() => return Err(error),
                Err(_) if not_a_file.is_malformed() => return Err(not_a_file),
                Err(error) => return Err(error.within(format!("accumulation err='{}'", not_a_file.text()))),
            };
            let within = |error: Error| {
                if error.is_final() {
                    return error;
                }
                error.within(format!("accumulation err='{}'", not_a_file.text()))
            };
            let base = self.enter(base, path, target, None).map_err(within)?;
            self.merge(base, accumulated).map_err(within)?;
        }
        Ok(())
    }

    /// Adds what another kustomization gathered.
    fn merge(&self, (root, more): (String, Accumulated), into: &mut Accumulated) -> Result<(), Error> {
        let within = |error: Error| error.within(format!("recursed merging from path '{root}'"));
        into.resources.append_all(more.resources.list, &self.schema).map_err(within)?;
        into.config.merge(more.config).map_err(within)?;
        variables::merge(&mut into.variables, more.variables.into_values()).map_err(within)
    }

    fn add_file(&mut self, path: &str, target: &Target<'_>, into: &mut Resources) -> Result<(), Error> {
        let within = |error: Error| error.within(format!("accumulating resources from '{path}'"));
        let text = target.loader.load_text(path).map_err(within)?;
        let mut found = Resources::default();
        let parsed = resource::parse(path, &text).map_err(within)?;
        found.append_all(parsed, &self.schema).map_err(within)?;
        if let Some(origin) = &target.origin {
            let origin = origin.append(path);
            found.list.iter_mut().try_for_each(|resource| resource.set_origin(&origin)).map_err(within)?;
        }
        let builtin = Schema::builtin();
        let unknown = |new: &Resource| builtin.of_kind(new.api_version(), new.kind()).is_none();
        self.custom_kind_seen |= found.list.iter().any(unknown);
        into.append_all(found.list, &self.schema)
            .map_err(|error| error.within(format!("merging resources from '{path}'")))
    }

    /// A component works on what was gathered, and not on objects of its own only.
    fn add_components(
        &mut self,
        target: &Target<'_>,
        mut accumulated: Accumulated,
    ) -> Result<Accumulated, Error> {
        for path in &target.file.components {
            let quoted = |what: &str, error: Error| {
                if error.is_final() { error } else { Error::invalid(format!("{what} {:?}", error.text())) }
            };
            let loader = target.loader.enter(path).map_err(|error| quoted("loader.New", error))?;
            let component = self
                .enter(loader, path, target, Some(accumulated))
                .map_err(|error| quoted("accumulateDirectory:", error))?;
            accumulated = Accumulated::default();
            self.merge(component, &mut accumulated).map_err(|error| quoted("accumulateDirectory:", error))?;
        }
        Ok(accumulated)
    }

    /// Builds another kustomization; a component with what was `gathered`. Returns its directory with the result.
    fn enter(
        &mut self,
        loader: Loader<'_>,
        path: &str,
        from: &Target<'_>,
        gathered: Option<Accumulated>,
    ) -> Result<(String, Accumulated), Error> {
        let root = loader.root();
        let (name, mut file) =
            load(&loader).map_err(|error| error.within(format!("couldn't make target for path '{root}'")))?;
        file.build_metadata.clone_from(&from.file.build_metadata);
        self.set_schema(&file, &loader)?;
        match (&gathered, file.kind == COMPONENT) {
            (Some(_), false) => {
                let kind = &file.kind;
                return Err(Error::invalid(format!(
                    "expected kind '{COMPONENT}' for path '{root}' but got '{kind}'"
                )));
            }
            (None, true) => {
                return Err(Error::invalid(format!("expected kind != '{COMPONENT}' for path '{root}'")));
            }
            _ => {}
        }
        let chart_namespace = match from.file.namespace.as_str() {
            "" => from.chart_namespace.clone(),
            namespace => namespace.to_owned(),
        };
        let origin = from.origin.as_ref().map(|origin| origin.append(path));
        let target = Target { file, name, loader, origin, chart_namespace };
        let found = self.accumulate(&target, gathered.unwrap_or_default()).map_err(|error| {
            if error.is_final() {
                error
            } else {
                error.within(format!("recursed accumulation of path '{root}'"))
            }
        })?;
        Ok((root, found))
    }
}

/// Kustomize's default fields with those of the kustomization's `configurations` and `crds`.
fn configuration(file: &Kustomization, loader: &Loader<'_>) -> Result<Config, Error> {
    let (mut config, mut own) = (Config::builtin(), Config::default());
    for path in &file.configurations {
        own.merge(Config::parse(&loader.load_text(path)?)?)?;
    }
    config.merge(own)?;
    for path in &file.crds {
        let text = loader.load_text(path)?;
        let value = yaml::from_str(&text).map_err(|error| {
            Error::invalid(format!("unable to parse open API definition from '{path}': {error}"))
        })?;
        let found = config::from_crds(&value)
            .map_err(|error| error.within(format!("loading CRDs [{}]", file.crds.join(" "))))?;
        config.merge(found)?;
    }
    Ok(config)
}
