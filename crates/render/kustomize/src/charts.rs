//! `helmCharts`: charts of the tree, or fetched ones, rendered into the build.

use serde_json::Value;
use tree::TreePath;

use crate::kustomization::{HelmChart, HelmGlobals};
use crate::loader::Loader;
use crate::node::Node;
use crate::remote::ChartReference;
use crate::resource::{Resource, parse};
use crate::schema::Schema;
use crate::{Error, merge};

const DEFAULT_HOME: &str = "charts";

/// One chart, with its files and settings checked.
#[derive(Debug)]
pub(crate) struct Chart {
    chart: HelmChart,
    /// The directory that holds the chart's own, if it is in the tree.
    home: String,
    additional_values: Vec<Value>,
}

/// Where a chart's files are.
enum Place {
    /// In the tree of the kustomization, below the loader's directory or beside it.
    Local(TreePath),
    Fetched(helm::Chart),
}

impl Chart {
    pub(crate) fn new(
        chart: HelmChart,
        globals: Option<&HelmGlobals>,
        loader: &Loader<'_>,
    ) -> Result<Self, Error> {
        if loader.settings().helm.is_none() {
            return Err(Error::invalid("must specify --enable-helm"));
        }
        if chart.name.is_empty() {
            return Err(Error::invalid("chart name cannot be empty"));
        }
        // Real kustomize hands both to a command line; what it refuses there is refused here.
        for (field, text) in [("releaseName", &chart.release_name), ("name", &chart.name)] {
            if text.starts_with('-') {
                return Err(Error::invalid(format!("{field} must not start with '-', got {text:?}")));
            }
        }
        if !chart.name_template.is_empty() && !chart.release_name.is_empty() {
            return Err(Error::invalid("cannot set --name-template and also specify a name"));
        }
        if !["", "merge", "override", "replace"].contains(&chart.values_merge.as_str()) {
            return Err(Error::invalid("valuesMerge must be one of [merge override replace]"));
        }
        let mut additional_values = Vec::new();
        for path in &chart.additional_values_files {
            let text = loader
                .load_text(path)
                .map_err(|error| error.within("could not load additionalValuesFile"))?;
            additional_values.push(values(path, &text)?);
        }
        let mut home = globals.map_or("", |globals| globals.chart_home.as_str()).to_owned();
        if home.is_empty() {
            DEFAULT_HOME.clone_into(&mut home);
        }
        if !chart.version.is_empty() && !chart.repo.is_empty() {
            home = format!("{home}/{}-{}", chart.name, chart.version);
        }
        Ok(Self { chart, home, additional_values })
    }

    pub(crate) fn render(&self, loader: &Loader<'_>) -> Result<Vec<Resource>, Error> {
        let name = &self.chart.name;
        let failed = |source| Error::Chart { name: name.clone(), source };
        let place = self.place(loader)?;
        let loaded = match &place {
            Place::Local(path) => helm::load(loader.tree(), path.as_str()).map_err(failed)?,
            Place::Fetched(chart) => chart.clone(),
        };
        let options = self.options(loader, &place)?;
        let rendered = helm::render(&loaded, &options).map_err(failed)?;
        let mut found = Vec::new();
        let crds = rendered.crds.iter().chain(&rendered.manifests);
        let hooks = rendered.hooks.iter().filter(|_| !self.chart.skip_hooks);
        for manifest in crds.chain(hooks) {
            found.extend(parse(&manifest.source, &manifest.text)?);
        }
        found.iter_mut().try_for_each(Resource::mark_from_chart)?;
        Ok(found)
    }

    fn place(&self, loader: &Loader<'_>) -> Result<Place, Error> {
        let HelmChart { name, repo, version, devel, .. } = &self.chart;
        let path = format!("{}/{name}", self.home);
        if loader.is_directory(&path) {
            return Ok(Place::Local(loader.resolve(&path)?));
        }
        if repo.is_empty() {
            return Err(Error::invalid("no repo specified for pull, no chart found at ''"));
        }
        let chart = ChartReference {
            repository: repo.clone(),
            name: name.clone(),
            version: version.clone(),
            devel: *devel,
        };
        let what = format!("the chart {name} of {repo}");
        let Some(remote) = loader.settings().remote else { return Err(Error::Unfetched { what }) };
        remote.chart(&chart).map(Place::Fetched).map_err(|source| Error::Fetch { what, source })
    }

    fn options(&self, loader: &Loader<'_>, place: &Place) -> Result<helm::Options, Error> {
        let mut options = loader.settings().helm.clone().unwrap_or_default();
        let chart = &self.chart;
        if !chart.release_name.is_empty() {
            options.release_name.clone_from(&chart.release_name);
        }
        if !chart.name_template.is_empty() {
            options.release_name = helm::name_from_template(&chart.name_template, &options)
                .map_err(|source| Error::Chart { name: chart.name.clone(), source })?;
        }
        if !chart.namespace.is_empty() {
            options.namespace.clone_from(&chart.namespace);
        }
        if !chart.kube_version.is_empty() {
            options.kube_version.clone_from(&chart.kube_version);
        }
        if !chart.api_versions.is_empty() {
            options.api_versions.clone_from(&chart.api_versions);
        }
        options.include_crds = chart.include_crds;
        options.skip_tests = chart.skip_tests;
        options.values.push(self.main_values(loader, place)?);
        options.values.extend(self.additional_values.iter().cloned());
        Ok(options)
    }

    /// What the values file and the inline values make together.
    fn main_values(&self, loader: &Loader<'_>, place: &Place) -> Result<Value, Error> {
        let inline = self
            .chart
            .values_inline
            .as_ref()
            .filter(|inline| inline.as_object().is_some_and(|fields| !fields.is_empty()));
        let Some(inline) = inline else { return self.file_values(loader, place) };
        if self.chart.values_merge == "replace" {
            return Ok(inline.clone());
        }
        let (file, inline) = (Node::from(&self.file_values(loader, place)?), Node::from(inline));
        let (over, under) = if self.chart.values_merge == "merge" { (file, inline) } else { (inline, file) };
        let merged = merge::merge(under, over, &Schema::builtin())
            .map_err(|error| error.within("could not merge values"))?;
        merged.map_or(Ok(Value::Null), |node| node.to_value())
    }

    fn file_values(&self, loader: &Loader<'_>, place: &Place) -> Result<Value, Error> {
        let own = &self.chart.values_file;
        let text = match place {
            _ if !own.is_empty() => loader.load_text(own)?,
            Place::Local(_) => loader.load_text(&format!("{}/{}/values.yaml", self.home, self.chart.name))?,
            Place::Fetched(chart) => return Ok(Value::Object(chart.values().clone())),
        };
        values(if own.is_empty() { "values.yaml" } else { own }, &text)
    }
}

fn values(path: &str, text: &str) -> Result<Value, Error> {
    yaml::from_str(text)
        .map_err(|error| Error::Malformed { path: path.to_owned(), message: error.to_string() })
}
