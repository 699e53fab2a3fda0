//! One object on its way through the build.
//!
//! What the build must remember of it (earlier names, prefixes, whether a hash is due) stands in annotations, as in
//! real kustomize: patches and selectors see these, so keeping them elsewhere would build something else.

use std::collections::BTreeMap;

use objects::selector::LabelSelector;
use serde_json::{Map, Value};

use crate::id::{Gvk, Id};
use crate::node::{Node, Scalar, Style, Tag};
use crate::origin::{self, ORIGIN, Origin, TRANSFORMATIONS};
use crate::schema::Schema;
use crate::{Error, read};

const PREVIOUS_KINDS: &str = "internal.config.kubernetes.io/previousKinds";
const PREVIOUS_NAMES: &str = "internal.config.kubernetes.io/previousNames";
const PREVIOUS_NAMESPACES: &str = "internal.config.kubernetes.io/previousNamespaces";
pub(crate) const PREFIXES: &str = "internal.config.kubernetes.io/prefixes";
pub(crate) const SUFFIXES: &str = "internal.config.kubernetes.io/suffixes";
const REFERRERS: &str = "internal.config.kubernetes.io/refBy";
pub(crate) const ALLOW_NAME_CHANGE: &str = "internal.config.kubernetes.io/allowNameChange";
pub(crate) const ALLOW_KIND_CHANGE: &str = "internal.config.kubernetes.io/allowKindChange";
const BEHAVIOR: &str = "internal.config.kubernetes.io/generatorBehavior";
pub(crate) const NEEDS_HASH: &str = "internal.config.kubernetes.io/needsHashSuffix";
/// Every annotation that only the build sees.
const BUILD_ANNOTATIONS: [&str; 19] = [
    FROM_CHART,
    PREVIOUS_KINDS,
    PREVIOUS_NAMES,
    PREFIXES,
    SUFFIXES,
    PREVIOUS_NAMESPACES,
    ALLOW_NAME_CHANGE,
    ALLOW_KIND_CHANGE,
    REFERRERS,
    BEHAVIOR,
    NEEDS_HASH,
    "internal.config.kubernetes.io/path",
    "internal.config.kubernetes.io/index",
    "internal.config.kubernetes.io/seqindent",
    "internal.config.kubernetes.io/id",
    "internal.config.kubernetes.io/annotations-migration-resource-id",
    "config.kubernetes.io/path",
    "config.kubernetes.io/index",
    "config.k8s.io/id",
];
/// Marks what a chart made: its namespace is the chart's business.
const FROM_CHART: &str = "internal.config.kubernetes.io/helm-generated";
const LOCAL_CONFIG: &str = "config.kubernetes.io/local-config";
pub(crate) const ENABLED: &str = "enabled";

/// What a generator does when the object exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behavior {
    Unspecified,
    Create,
    Replace,
    Merge,
}

impl Behavior {
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "create" => Self::Create,
            "replace" => Self::Replace,
            "merge" => Self::Merge,
            _ => Self::Unspecified,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Merge => "merge",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Resource {
    pub(crate) node: Node,
    /// The variables that read a field of this object.
    pub(crate) variables: Vec<String>,
    /// What every shared scalar last held, by its number.
    shared: Vec<Scalar>,
}

/// The objects of a file: its documents, with lists taken apart.
pub(crate) fn parse(origin: &str, text: &str) -> Result<Vec<Resource>, Error> {
    let mut documents = read::documents(origin, text)?;
    if let [list] = documents.as_mut_slice()
        && matches!(list.get("kind").map(Node::text), Some("List" | "ResourceList"))
        && let Some(Node::List(items)) = list.get("items")
    {
        documents = items.clone();
    }
    let mut pending: std::collections::VecDeque<Node> = documents.into();
    let mut found = Vec::new();
    while let Some(node) = pending.pop_front() {
        if node.is_empty() {
            continue;
        }
        if node.fields().is_none() {
            return Err(Error::invalid("missing Resource metadata"));
        }
        let resource = Resource::new(node);
        let kind = resource.kind().to_owned();
        let problem = if kind.is_empty() {
            "missing kind in object"
        } else if !kind.ends_with("List") && resource.name().is_empty() {
            "missing metadata.name in object"
        } else {
            ""
        };
        if !problem.is_empty() {
            return Err(Error::invalid(format!("{problem} {}", resource.id_for_people())));
        }
        match resource.node.get("items") {
            Some(items) if kind.ends_with("List") => match items {
                Node::List(items) => pending.extend(items.iter().cloned()),
                items if items.is_null() => {}
                _ => {
                    return Err(Error::invalid(format!("expected array in {kind}/items, but found map")));
                }
            },
            _ => found.push(resource),
        }
    }
    Ok(found)
}

impl Resource {
    pub(crate) fn new(node: Node) -> Self {
        Self { node, variables: Vec::new(), shared: Vec::new() }
    }

    pub(crate) fn kind(&self) -> &str {
        self.node.get("kind").map(Node::text).unwrap_or_default()
    }

    pub(crate) fn api_version(&self) -> &str {
        self.node.get("apiVersion").map(Node::text).unwrap_or_default()
    }

    fn metadata(&self, field: &str) -> &str {
        self.node
            .get("metadata")
            .and_then(|metadata| metadata.get(field))
            .filter(|value| !value.is_null())
            .map(Node::text)
            .unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.metadata("name")
    }

    pub(crate) fn namespace(&self) -> &str {
        self.metadata("namespace")
    }

    /// Type and metadata as Go prints them.
    fn id_for_people(&self) -> String {
        let map = |texts: BTreeMap<String, String>| {
            let pairs: Vec<String> = texts.into_iter().map(|(name, text)| format!("{name}:{text}")).collect();
            format!("map[{}]", pairs.join(" "))
        };
        let (version, kind, name) = (self.api_version(), self.kind(), self.name());
        let (namespace, labels, annotations) =
            (self.namespace(), map(self.labels()), map(self.annotations()));
        format!("{{{{{version} {kind}}} {{{{{name} {namespace}}} {labels} {annotations}}}}}")
    }

    pub(crate) fn gvk(&self) -> Gvk {
        Gvk::new(self.api_version(), self.kind())
    }

    /// What the object is called now.
    pub(crate) fn id(&self, schema: &Schema) -> Id {
        let gvk = self.gvk();
        let cluster_scoped = schema.is_cluster_scoped(&gvk);
        Id { gvk, name: self.name().to_owned(), namespace: self.namespace().to_owned(), cluster_scoped }
    }

    /// Everything it was called before, oldest first.
    pub(crate) fn previous_ids(&self) -> Vec<Id> {
        let list = |name: &str| self.annotation_list(name);
        let (names, namespaces, kinds) =
            (list(PREVIOUS_NAMES), list(PREVIOUS_NAMESPACES), list(PREVIOUS_KINDS));
        let Gvk { group, version, .. } = self.gvk();
        names
            .into_iter()
            .zip(namespaces)
            .zip(kinds)
            .map(|((name, namespace), kind)| Id {
                gvk: Gvk { group: group.clone(), version: version.clone(), kind },
                name,
                namespace,
                cluster_scoped: false,
            })
            .collect()
    }

    /// What it was called in its file.
    pub(crate) fn original_id(&self, schema: &Schema) -> Id {
        self.previous_ids().into_iter().next().unwrap_or_else(|| self.id(schema))
    }

    /// Every name it has or had.
    pub(crate) fn all_ids(&self, schema: &Schema) -> Vec<Id> {
        let mut ids = self.previous_ids();
        ids.push(self.id(schema));
        ids
    }

    /// Remembers its present name before it changes.
    pub(crate) fn remember(&mut self, schema: &Schema) -> Result<(), Error> {
        let id = self.id(schema);
        self.append_annotation(PREVIOUS_NAMES, &id.name)?;
        self.append_annotation(PREVIOUS_NAMESPACES, id.effective_namespace())?;
        self.append_annotation(PREVIOUS_KINDS, &id.gvk.kind)
    }

    pub(crate) fn set_name(&mut self, name: &str) -> Result<(), Error> {
        self.node.map_at("metadata")?;
        self.metadata_mut()?.set_field_text("name", name)
    }

    pub(crate) fn set_namespace(&mut self, namespace: &str) -> Result<(), Error> {
        self.node.map_at("metadata")?;
        if namespace.is_empty() {
            self.node.map_at("metadata")?.remove("namespace");
            return Ok(());
        }
        self.metadata_mut()?.set_field_text("namespace", namespace)
    }

    pub(crate) fn set_kind(&mut self, kind: &str) -> Result<(), Error> {
        self.node.set_field_text("kind", kind)
    }

    pub(crate) fn set_api_version(&mut self, api_version: &str) -> Result<(), Error> {
        self.node.set_field_text("apiVersion", api_version)
    }

    fn metadata_mut(&mut self) -> Result<&mut Node, Error> {
        Ok(self.node.expect_map()?.entry("metadata".to_owned()).or_insert_with(Node::map))
    }

    fn texts(&self, field: &str) -> BTreeMap<String, String> {
        let fields =
            self.node.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Node::fields);
        fields.into_iter().flatten().map(|(name, value)| (name.clone(), value.text().to_owned())).collect()
    }

    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        self.texts("labels")
    }

    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        self.texts("annotations")
    }

    fn set_texts(&mut self, field: &str, texts: &BTreeMap<String, String>) -> Result<(), Error> {
        let metadata = self.node.map_at("metadata")?;
        metadata.remove(field);
        if !texts.is_empty() {
            let texts = texts.iter().map(|(name, text)| (name.clone(), Node::string(text.as_str())));
            metadata.insert(field.to_owned(), Node::Map(texts.collect()));
        }
        Ok(())
    }

    pub(crate) fn set_labels(&mut self, labels: &BTreeMap<String, String>) -> Result<(), Error> {
        self.set_texts("labels", labels)
    }

    pub(crate) fn set_annotations(&mut self, annotations: &BTreeMap<String, String>) -> Result<(), Error> {
        self.set_texts("annotations", annotations)
    }

    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.node.get("metadata")?.get("annotations")?.get(name).map(Node::text)
    }

    /// The parts of a build annotation that lists something.
    pub(crate) fn annotation_list(&self, name: &str) -> Vec<String> {
        self.annotation(name).map(|list| list.split(',').map(str::to_owned).collect()).unwrap_or_default()
    }

    /// Sets one annotation and leaves the others as they are written.
    pub(crate) fn annotate(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let metadata = self.metadata_mut()?;
        metadata.map_at("annotations")?.insert(name.to_owned(), Node::string(value));
        Ok(())
    }

    pub(crate) fn append_annotation(&mut self, name: &str, value: &str) -> Result<(), Error> {
        if value.is_empty() {
            return Ok(());
        }
        let list = match self.annotation(name) {
            Some(list) => format!("{list},{value}"),
            None => value.to_owned(),
        };
        self.annotate(name, &list)
    }

    pub(crate) fn is_enabled(&self, annotation: &str) -> bool {
        self.annotation(annotation) == Some(ENABLED)
    }

    pub(crate) fn behavior(&self) -> Behavior {
        Behavior::parse(self.annotation(BEHAVIOR).unwrap_or_default())
    }

    pub(crate) fn set_behavior(&mut self, behavior: Behavior) -> Result<(), Error> {
        self.annotate(BEHAVIOR, behavior.as_str())
    }

    /// The annotations that the build made.
    pub(crate) fn build_annotations(&self) -> BTreeMap<String, String> {
        self.annotations()
            .into_iter()
            .filter(|(name, _)| BUILD_ANNOTATIONS.contains(&name.as_str()))
            .collect()
    }

    /// Whether it only configures tools and is not printed.
    pub(crate) fn is_local(&self) -> bool {
        self.annotation(LOCAL_CONFIG).is_some_and(|value| value != "false")
    }

    /// Takes name, namespace and metadata from another object: what a patch or a generated object has for itself
    /// wins, what the build recorded is the other's.
    pub(crate) fn inherit(&mut self, other: &Self) -> Result<(), Error> {
        let mut labels = other.labels();
        labels.extend(self.labels());
        self.set_labels(&labels)?;
        let own = self.annotations();
        let mut annotations = other.annotations();
        annotations.extend(own.clone());
        for name in BUILD_ANNOTATIONS {
            match other.annotation(name) {
                Some(value) => annotations.insert(name.to_owned(), value.to_owned()),
                None => annotations.remove(name),
            };
        }
        if !own.contains_key(NEEDS_HASH) {
            annotations.remove(NEEDS_HASH);
        }
        self.set_annotations(&annotations)?;
        self.set_name(other.name())?;
        self.set_namespace(other.namespace())?;
        self.variables.clone_from(&other.variables);
        Ok(())
    }

    /// The texts of a map such as `data`.
    pub(crate) fn data(&self, field: &str) -> BTreeMap<String, String> {
        let fields = self.node.get(field).and_then(Node::fields);
        fields.into_iter().flatten().map(|(name, value)| (name.clone(), value.text().to_owned())).collect()
    }

    /// Whether a label selector in kubectl's syntax fits these texts.
    pub(crate) fn matches(texts: BTreeMap<String, String>, selector: &str) -> Result<bool, Error> {
        if selector.is_empty() {
            return Ok(true);
        }
        let parsed = LabelSelector::parse(selector)
            .map_err(|error| Error::invalid(format!("parse selector {selector:?}: {error}")))?;
        let texts: Map<String, Value> = texts.into_iter().map(|(name, text)| (name, text.into())).collect();
        Ok(parsed.matches(Some(&texts)))
    }

    /// Without everything the build recorded, apart from the provenance that `kept` names; annotations become
    /// strings.
    pub(crate) fn finish(&mut self, kept: &[&str]) -> Result<(), Error> {
        let mut annotations = self.annotations();
        annotations.retain(|name, _| {
            let name = name.as_str();
            kept.contains(&name)
                || !(BUILD_ANNOTATIONS.contains(&name) || [ORIGIN, TRANSFORMATIONS].contains(&name))
        });
        self.set_annotations(&annotations)
    }

    /// Kind and name, as kustomize's errors show them.
    pub(crate) fn named(&self) -> String {
        let (gvk, name, namespace) = (self.gvk(), self.name().to_owned(), self.namespace().to_owned());
        Id { gvk, name, namespace, cluster_scoped: false }.to_string()
    }

    /// The object as JSON; empty if it has none.
    pub(crate) fn json(&self) -> String {
        self.node.to_value().map(|value| value.to_string()).unwrap_or_default()
    }

    pub(crate) fn remove_label(&mut self, name: &str) {
        let metadata = self.node.fields_mut().and_then(|fields| fields.get_mut("metadata"));
        let labels = metadata.and_then(Node::fields_mut).and_then(|metadata| metadata.get_mut("labels"));
        if let Some(labels) = labels.and_then(Node::fields_mut) {
            labels.remove(name);
        }
    }

    /// A text that several fields of this object will share.
    pub(crate) fn share(&mut self, text: &str) -> Node {
        let number = u32::try_from(self.shared.len()).ok();
        let scalar = Scalar { text: text.to_owned(), tag: Tag::Str, style: Style::Plain, shared: number };
        self.shared.push(scalar.clone());
        Node::Scalar(scalar)
    }

    /// Gives all fields that share a scalar what was written to one of them.
    pub(crate) fn settle(&mut self) {
        if self.shared.is_empty() {
            return;
        }
        let before = self.shared.clone();
        let known = &mut self.shared;
        let mut changed = false;
        self.node.each_scalar(&mut |scalar| {
            let Some(number) = scalar.shared.map(|number| number as usize) else { return };
            if before.get(number).is_some_and(|last| scalar.text != last.text || scalar.tag != last.tag) {
                known[number] = scalar.clone();
                changed = true;
            }
        });
        if changed {
            self.node.each_scalar(&mut |scalar| {
                if let Some(last) = scalar.shared.and_then(|number| known.get(number as usize)) {
                    *scalar = last.clone();
                }
            });
        }
    }

    pub(crate) fn is_from_chart(&self) -> bool {
        self.annotation(FROM_CHART) == Some("true")
    }

    pub(crate) fn mark_from_chart(&mut self) -> Result<(), Error> {
        self.annotate(FROM_CHART, "true")
    }

    /// Where it comes from, as far as that is recorded.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.annotation(ORIGIN).and_then(origin::parse)
    }

    pub(crate) fn set_origin(&mut self, origin: &Origin) -> Result<(), Error> {
        self.annotate(ORIGIN, &origin.text())
    }

    /// Takes the origin of an object that is merged into this one.
    pub(crate) fn keep_origin(&mut self, old: &Self) -> Result<(), Error> {
        match old.annotation(ORIGIN) {
            Some(text) => self.annotate(ORIGIN, text),
            None => Ok(()),
        }
    }

    /// Notes a transformer; what has no origin yet was made by it.
    pub(crate) fn add_transformation(&mut self, by: &Origin) -> Result<(), Error> {
        if self.annotation(ORIGIN).is_none() {
            return self.set_origin(by);
        }
        let earlier = self.annotation(TRANSFORMATIONS).unwrap_or_default();
        let text = format!("{earlier}{}", by.entry());
        self.annotate(TRANSFORMATIONS, &text)
    }
}
