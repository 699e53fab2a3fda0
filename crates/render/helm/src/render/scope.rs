//! What templates see: the dot of each chart.

use bytes::Bytes;
use gotmpl::{Map, MapKind, Value};

use crate::capabilities::{Capabilities, KubeVersion};
use crate::dependencies::Node;
use crate::files::Files;
use crate::metadata::Metadata;
use crate::options::Options;
use crate::values::Table;

/// A template of some chart in the tree of charts.
pub(super) struct Renderable {
    /// `chart/charts/other/templates/name.yaml`
    pub(super) path: String,
    pub(super) text: Bytes,
    /// The dot, one for all templates of a chart.
    pub(super) scope: Value,
    base: String,
}

const VALUES: MapKind = MapKind::Named("common.Values");

impl Renderable {
    /// Tells the dot which template is being executed.
    pub(super) fn enter(&self) {
        if let Value::Map(scope) = &self.scope {
            let entries = [("Name", self.path.as_str()), ("BasePath", self.base.as_str())]
                .map(|(key, text)| (key.into(), Value::from(text)));
            scope.insert("Template", Value::Map(Map::from_entries(VALUES, entries)));
        }
    }
}

/// Every template of a chart and its dependencies.
pub(super) fn collect(node: &Node, values: Table, kube: KubeVersion, options: &Options) -> Vec<Renderable> {
    let release: Value = [
        ("Name", Value::from(options.release_name.as_str())),
        ("Namespace", options.namespace.as_str().into()),
        ("IsUpgrade", options.is_upgrade.into()),
        ("IsInstall", (!options.is_upgrade).into()),
        ("Revision", Value::int(options.revision)),
        ("Service", "Helm".into()),
    ]
    .into_iter()
    .collect();
    let capabilities = Value::object(Capabilities::new(kube, &options.api_versions));
    // Taken apart while it is converted, so that large values are not there twice.
    let values: Value = values.into_iter().map(|(key, value)| (key, Value::from(value))).collect();
    let Value::Map(values) = values else { return Vec::new() };
    let mut collector = Collector { release, capabilities, found: Vec::new() };
    collector.chart(node, &values.with_kind(VALUES), &node.metadata.name, true);
    collector.found
}

struct Collector {
    release: Value,
    capabilities: Value,
    found: Vec<Renderable>,
}

impl Collector {
    /// Gives the chart's dot, which its parent shows under `.Subcharts`.
    fn chart(&mut self, node: &Node, values: &Map, path: &str, root: bool) -> Value {
        let subcharts = Map::default();
        let scope = Map::from_entries(
            VALUES,
            [
                ("Chart", chart_value(&node.metadata, root)),
                ("Files", Value::object(Files::new(node.chart.files()))),
                ("Release", self.release.clone()),
                ("Capabilities", self.capabilities.clone()),
                ("Values", Value::Map(values.clone())),
                ("Subcharts", Value::Map(subcharts.clone())),
            ]
            .map(|(key, value)| (key.into(), value)),
        );
        for child in &node.dependencies {
            let name = child.metadata.name.as_str();
            let values = match values.get(name.as_bytes()) {
                Some(Value::Map(values)) => values.with_kind(VALUES),
                _ => Map::new(VALUES),
            };
            let child_scope = self.chart(child, &values, &format!("{path}/charts/{name}"), false);
            subcharts.insert(name, child_scope);
        }
        for template in &node.chart.content.templates {
            let base = template.name.rsplit('/').next().unwrap_or_default();
            if node.metadata.is_library() && !base.starts_with('_') {
                continue;
            }
            self.found.push(Renderable {
                path: format!("{path}/{}", template.name),
                text: template.data.clone(),
                scope: Value::Map(scope.clone()),
                base: format!("{path}/templates"),
            });
        }
        Value::Map(scope.with_kind(MapKind::Any))
    }
}

fn text(value: &str) -> Value {
    value.into()
}

fn texts(values: &[String]) -> Value {
    Value::list(values.iter().map(|value| text(value)).collect())
}

/// `.Chart`
fn chart_value(metadata: &Metadata, root: bool) -> Value {
    let maintainers = metadata.maintainers.iter().map(|maintainer| {
        [("Name", &maintainer.name), ("Email", &maintainer.email), ("URL", &maintainer.url)]
            .into_iter()
            .map(|(key, value)| (key, text(value)))
            .collect()
    });
    let dependencies = metadata.dependencies.iter().map(|dependency| {
        [
            ("Name", text(&dependency.name)),
            ("Version", text(&dependency.version)),
            ("Repository", text(&dependency.repository)),
            ("Condition", text(&dependency.condition)),
            ("Tags", texts(&dependency.tags)),
            ("Enabled", dependency.enabled.into()),
            ("ImportValues", Value::list(dependency.import_values.iter().map(Value::from).collect())),
            ("Alias", text(&dependency.alias)),
        ]
        .into_iter()
        .collect()
    });
    let kind = if metadata.annotations.is_empty() { MapKind::NilStrings } else { MapKind::Strings };
    let annotations = metadata.annotations.iter().map(|(key, value)| (key.as_str().into(), text(value)));
    [
        ("Name", text(&metadata.name)),
        ("Home", text(&metadata.home)),
        ("Sources", texts(&metadata.sources)),
        ("Version", text(&metadata.version)),
        ("Description", text(&metadata.description)),
        ("Keywords", texts(&metadata.keywords)),
        ("Maintainers", Value::list(maintainers.collect())),
        ("Icon", text(&metadata.icon)),
        ("APIVersion", text(&metadata.api_version)),
        ("Condition", text(&metadata.condition)),
        ("Tags", text(&metadata.tags)),
        ("AppVersion", text(&metadata.app_version)),
        ("Deprecated", metadata.deprecated.into()),
        ("Annotations", Value::Map(Map::from_entries(kind, annotations))),
        ("KubeVersion", text(&metadata.kube_version)),
        ("Dependencies", Value::list(dependencies.collect())),
        ("Type", text(&metadata.kind)),
        ("IsRoot", root.into()),
    ]
    .into_iter()
    .collect()
}
