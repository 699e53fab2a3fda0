//! The build itself: kustomizations entered one after the other, then what is done once at the end.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::Value;
use tree::Tree;

use crate::config::{self, Config, FIRST, LAST, rank};
use crate::fieldspec::FieldSpec;
use crate::id::{Gvk, Id};
use crate::kustomization::{COMPONENT, Kustomization, LegacySortOptions, SortOptions, Texts, without_nulls};
use crate::loader::Loader;
use crate::options::Options;
use crate::resource::{self, NEEDS_HASH, Resource};
use crate::resources::Resources;
use crate::schema::{Base, Schema};
use crate::transform::variables::{self, Variables};
use crate::transform::{self, Context, references};
use crate::{Error, generate};

/// Kustomizations one build may enter (the same base counts each time).
const MAX_KUSTOMIZATIONS: usize = 2_000;
const BUILTIN_SCHEMA: &str = "v1.21.2";
/// What `managedByLabel` writes: the version whose output is reproduced.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "kustomize-v5.5.0");

pub(crate) fn build(tree: &dyn Tree, path: &str, options: &Options) -> Result<Vec<Value>, Error> {
    let loader = Loader::new(tree, path)?;
    let mut file = load(&loader)?;
    options.edit(&mut file, &loader)?;
    let mut builder =
        Builder { schema: Schema::builtin(), schema_is_set: false, custom_kind_seen: false, entered: 0 };
    builder.set_schema(&file, &loader)?;
    let mut accumulated = builder.accumulate(&file, &loader, Accumulated::default())?;
    let schema = builder.schema;
    let resources = &mut accumulated.resources;
    add_hashes(resources, &schema)?;
    references::repair(resources, &accumulated.config.name_reference, &schema)?;
    variables::resolve(resources, &accumulated.variables, &accumulated.config.var_reference)?;
    resources.list.retain(|resource| !resource.is_local());
    sort(resources, file.sort_options.as_ref(), &schema)?;
    if !file.build_metadata.is_empty() {
        let (name, text) = MANAGED_BY;
        let texts = Texts::from([(name.to_owned(), text.to_owned())]);
        transform::add_texts(resources, &texts, &[FieldSpec::new("metadata/labels", "", "", "", true)])?;
    }
    resources
        .list
        .iter_mut()
        .map(|resource| {
            resource.finish()?;
            let named = format!("{} {}", resource.kind(), resource.name());
            resource.node.to_value().map_err(|error| error.within(format!("write {named}")))
        })
        .collect()
}

fn load(loader: &Loader<'_>) -> Result<Kustomization, Error> {
    let (path, text) = loader.kustomization()?;
    Kustomization::parse(&path, &text)
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
        if self.schema_is_set {
            return Ok(());
        }
        let (path, version) = (file.openapi.get("path"), file.openapi.get("version"));
        let Some(path) = path else {
            return match version.map(String::as_str) {
                None => Ok(()),
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
        let text = loader.load_text(path)?;
        let document = yaml::from_str(&text)
            .map_err(|error| Error::Malformed { path: loader.display(path), message: error.to_string() })?;
        let base = if self.custom_kind_seen { Base::Builtin } else { Base::Nothing };
        self.schema = Arc::new(Schema::from_openapi(&document, base)?);
        self.schema_is_set = true;
        Ok(())
    }

    fn accumulate(
        &mut self,
        file: &Kustomization,
        loader: &Loader<'_>,
        mut accumulated: Accumulated,
    ) -> Result<Accumulated, Error> {
        self.entered += 1;
        if self.entered > MAX_KUSTOMIZATIONS {
            return Err(Error::Limit { what: "the number of kustomizations", limit: MAX_KUSTOMIZATIONS });
        }
        for path in &file.resources {
            self.add_resource(path, loader, &mut accumulated)?;
        }
        accumulated.config.merge(configuration(file, loader)?)?;
        self.generate(file, loader, &mut accumulated)?;
        for path in &file.components {
            accumulated = self
                .add_component(path, loader, accumulated)
                .map_err(|error| error.within(format!("component {path:?} of {}", loader.root())))?;
        }
        let context = Context { file, loader, config: &accumulated.config, schema: &self.schema };
        transform::run(&mut accumulated.resources, &context)
            .map_err(|error| error.within(format!("kustomization in {}", loader.root())))?;
        variables::define(&mut accumulated.variables, &file.vars, &mut accumulated.resources, &self.schema)?;
        Ok(accumulated)
    }

    fn generate(
        &self,
        file: &Kustomization,
        loader: &Loader<'_>,
        accumulated: &mut Accumulated,
    ) -> Result<(), Error> {
        let maps = file.config_map_generator.iter().map(|generator| (generate::Target::ConfigMap, generator));
        let secrets = file.secret_generator.iter().map(|generator| (generate::Target::Secret, generator));
        for (target, generator) in maps.chain(secrets) {
            let new = generate::generate(target, generator, file.generator_options.as_ref(), loader)?;
            accumulated.resources.absorb(new, &self.schema)?;
        }
        Ok(())
    }

    /// A resource is a file, or else the directory of another kustomization.
    fn add_resource(
        &mut self,
        path: &str,
        loader: &Loader<'_>,
        accumulated: &mut Accumulated,
    ) -> Result<(), Error> {
        let context =
            |error: Error| error.within(format!("accumulating resources from {path:?} in {}", loader.root()));
        if is_remote(path) {
            let field = format!("the remote base {path:?} in resources");
            return Err(Error::Unsupported { path: loader.root().clone(), field });
        }
        if loader.is_directory(path) {
            let base = loader.enter(path).map_err(context)?;
            let more = self.enter(&base, None).map_err(context)?;
            accumulated.resources.append_all(more.resources.list, &self.schema).map_err(context)?;
            accumulated.config.merge(more.config)?;
            return variables::merge(&mut accumulated.variables, more.variables.into_values());
        }
        let text = loader.load_text(path).map_err(context)?;
        let found = resource::parse(&loader.display(path), &text)?;
        let builtin = Schema::builtin();
        let unknown = |new: &Resource| builtin.of_kind(new.api_version(), new.kind()).is_none();
        self.custom_kind_seen |= found.iter().any(unknown);
        accumulated.resources.append_all(found, &self.schema).map_err(context)
    }

    /// A component works on what was gathered, and not on objects of its own only.
    fn add_component(
        &mut self,
        path: &str,
        loader: &Loader<'_>,
        accumulated: Accumulated,
    ) -> Result<Accumulated, Error> {
        if is_remote(path) {
            let field = format!("the remote component {path:?} in components");
            return Err(Error::Unsupported { path: loader.root().clone(), field });
        }
        let component = loader.enter(path)?;
        self.enter(&component, Some(accumulated))
    }

    fn enter(&mut self, loader: &Loader<'_>, gathered: Option<Accumulated>) -> Result<Accumulated, Error> {
        let file = load(loader)?;
        self.set_schema(&file, loader)?;
        match (&gathered, file.kind == COMPONENT) {
            (Some(_), false) => {
                let (root, kind) = (loader.root(), &file.kind);
                Err(Error::invalid(format!("expected kind '{COMPONENT}' for path '{root}' but got '{kind}'")))
            }
            (None, true) => {
                Err(Error::invalid(format!("expected kind != '{COMPONENT}' for path '{}'", loader.root())))
            }
            _ => self.accumulate(&file, loader, gathered.unwrap_or_default()),
        }
    }
}

/// Kustomize's default fields with those of the kustomization's `configurations` and `crds`.
fn configuration(file: &Kustomization, loader: &Loader<'_>) -> Result<Config, Error> {
    let mut config = Config::builtin();
    let read = |path: &String| {
        let text = loader.load_text(path)?;
        let value = yaml::from_str(&text);
        let malformed = |message| Error::Malformed { path: loader.display(path), message };
        Ok((value.map(without_nulls).map_err(|error| malformed(error.to_string()))?, loader.display(path)))
    };
    for path in &file.configurations {
        let (value, path) = read(path)?;
        let more: Config = serde_json::from_value(value)
            .map_err(|error| Error::Malformed { path, message: error.to_string() })?;
        config.merge(more)?;
    }
    for path in &file.crds {
        config.merge(config::from_crds(&read(path)?.0)?)?;
    }
    Ok(config)
}

/// Whether kustomize would fetch it: a URL, or a Git host's short form.
fn is_remote(path: &str) -> bool {
    path.contains("://")
        || path.starts_with("git@")
        || path.starts_with("git::")
        || path.starts_with("gh:")
        || path.starts_with("github.com/")
        || path.contains("?ref=")
}

fn add_hashes(resources: &mut Resources, schema: &Schema) -> Result<(), Error> {
    for resource in resources.list.iter_mut().filter(|resource| resource.is_enabled(NEEDS_HASH)) {
        let hash = generate::hash(resource)?;
        resource.remember(schema)?;
        let name = format!("{}-{hash}", resource.name());
        resource.set_name(&name)?;
    }
    Ok(())
}

/// Puts the objects in output order: by kind, unless `sortOptions` asks for the order of reading.
fn sort(resources: &mut Resources, options: Option<&SortOptions>, schema: &Schema) -> Result<(), Error> {
    let order = options.map_or("legacy", |options| options.order.as_str());
    let own = options.and_then(|options| options.legacy_sort_options.as_ref());
    match (order, own) {
        ("fifo", Some(_)) => {
            return Err(Error::invalid(
                "the field 'sortOptions.legacySortOptions' is set but the selected sort order is 'fifo', not 'legacy'",
            ));
        }
        ("fifo", None) => return Ok(()),
        ("legacy", _) => {}
        _ => return Err(Error::invalid("the field 'sortOptions.order' must be one of [fifo, legacy]")),
    }
    let default = LegacySortOptions {
        order_first: FIRST.map(str::to_owned).into(),
        order_last: LAST.map(str::to_owned).into(),
    };
    let own = own.unwrap_or(&default);
    let mut keyed: Vec<_> = std::mem::take(&mut resources.list)
        .into_iter()
        .map(|resource| {
            let id = resource.id(schema);
            let rank = rank(&id.gvk.kind, &own.order_first, &own.order_last);
            (rank, id.gvk.sort_key(), sort_key(&id), id, resource)
        })
        .collect();
    keyed.sort_by(|a, b| {
        if a.3.gvk == b.3.gvk {
            return a.2.cmp(&b.2);
        }
        a.0.cmp(&b.0).then_with(|| by_kind(&a.3.gvk, &b.3.gvk, &a.1, &b.1))
    });
    resources.list = keyed.into_iter().map(|(.., resource)| resource).collect();
    Ok(())
}

/// Core Namespaces come before other groups' kinds of that name.
fn by_kind(a: &Gvk, b: &Gvk, a_key: &str, b_key: &str) -> Ordering {
    let namespaces =
        a.kind == "Namespace" && b.kind == "Namespace" && (a.group.is_empty() || b.group.is_empty());
    if namespaces { b_key.cmp(a_key) } else { a_key.cmp(b_key) }
}

fn sort_key(id: &Id) -> String {
    let namespace = if id.namespace.is_empty() { "~X" } else { &id.namespace };
    let name = if id.name.is_empty() { "~N" } else { &id.name };
    format!("{}|{namespace}|{name}", id.gvk)
}
