//! The namespace of every object, and of the role binding subjects that follow it.

use serde::Deserialize;

use crate::Error;
use crate::fieldspec::{self, FieldSpec};
use crate::node::{Kind, Node, Tag};
use crate::resource::Resource;
use crate::resources::Resources;
use crate::schema::Schema;

/// Which subjects of role bindings follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subjects {
    NamedDefault,
    ServiceAccounts,
    None,
}

/// The transformer.
#[derive(Debug)]
pub(crate) struct Namespace {
    namespace: String,
    specs: Vec<FieldSpec>,
    /// Fields that have a namespace keep it.
    unset_only: bool,
    subjects: Subjects,
}

/// The configuration of a NamespaceTransformer.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Configuration {
    metadata: Metadata,
    field_specs: Vec<FieldSpec>,
    unset_only: bool,
    set_role_binding_subjects: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename = "ObjectMeta")]
struct Metadata {
    namespace: String,
}

impl TryFrom<Configuration> for Namespace {
    type Error = Error;

    fn try_from(configuration: Configuration) -> Result<Self, Error> {
        let subjects = match configuration.set_role_binding_subjects.as_str() {
            "" | "defaultOnly" => Subjects::NamedDefault,
            "allServiceAccounts" => Subjects::ServiceAccounts,
            "none" => Subjects::None,
            other => {
                return Err(Error::invalid(format!(
                    "invalid value {other:?} for setRoleBindingSubjects: must be one of \"defaultOnly\", \"none\" \
                     or \"allServiceAccounts\""
                )));
            }
        };
        let Configuration { metadata, field_specs, unset_only, .. } = configuration;
        Ok(Self { namespace: metadata.namespace, specs: field_specs, unset_only, subjects })
    }
}

impl Namespace {
    pub(crate) fn new(namespace: String, specs: Vec<FieldSpec>) -> Self {
        Self { namespace, specs, unset_only: false, subjects: Subjects::NamedDefault }
    }

    pub(crate) fn set(&self, resources: &mut Resources, schema: &Schema) -> Result<(), Error> {
        if self.namespace.is_empty() {
            return Ok(());
        }
        for index in 0..resources.list.len() {
            let resource = &mut resources.list[index];
            if resource.is_from_chart() {
                continue;
            }
            resource.remember(schema)?;
            self.set_one(resource, schema)?;
            let id = resource.id(schema);
            let same: Vec<&Resource> = resources
                .list
                .iter()
                .filter(|other| other.name() == id.name && other.id(schema).same(&id))
                .collect();
            if same.len() != 1 {
                let shown: Vec<String> = same.iter().map(|resource| resource.json()).collect();
                return Err(Error::invalid(format!(
                    "namespace transformation produces ID conflict: [{}]",
                    shown.join(" ")
                )));
            }
        }
        Ok(())
    }

    fn write(&self, node: &mut Node) -> Result<(), Error> {
        let kept = self.unset_only && !node.is_empty() && !node.text().is_empty();
        if kept { Ok(()) } else { node.set_text(self.namespace.clone(), Tag::Str) }
    }

    pub(crate) fn set_one(&self, resource: &mut Resource, schema: &Schema) -> Result<(), Error> {
        let mut write = |node: &mut Node| self.write(node);
        if !resource.id(schema).cluster_scoped {
            let spec = FieldSpec::new("metadata/namespace", "", "", "", true);
            fieldspec::apply(resource, &spec, Some(Kind::Scalar), &mut write)?;
        }
        let binding = is_binding(resource.kind());
        if binding
            && let Some(subjects) = resource.node.fields_mut().and_then(|fields| fields.get_mut("subjects"))
        {
            self.set_subjects(subjects)?;
        }
        for spec in &self.specs {
            let object = spec.path == "metadata/namespace"
                || (spec.path == "metadata/name" && resource.api_version() != "v1")
                || (binding && is_binding(&spec.gvk.kind) && spec.path == "subjects/namespace");
            if object {
                continue;
            }
            fieldspec::apply(resource, spec, Some(Kind::Scalar), &mut write).map_err(|error| {
                let shape = error.text().contains("wrong node kind");
                error.within(if shape {
                    "namespace field specs must target scalar nodes"
                } else {
                    "namespace transformation failed"
                })
            })?;
        }
        Ok(())
    }

    fn set_subjects(&self, subjects: &mut Node) -> Result<(), Error> {
        let Node::List(subjects) = subjects else { return Ok(()) };
        for subject in subjects {
            let is = |name: &str, text: &str| subject.get(name).is_some_and(|value| value.text() == text);
            let follows = match self.subjects {
                Subjects::NamedDefault => is("name", "default"),
                Subjects::ServiceAccounts => is("kind", "ServiceAccount"),
                Subjects::None => false,
            };
            if follows {
                let fields = subject.expect_map()?;
                self.write(
                    fields.entry("namespace".to_owned()).or_insert_with(|| Node::empty(Kind::Scalar)),
                )?;
            }
        }
        Ok(())
    }
}

fn is_binding(kind: &str) -> bool {
    matches!(kind, "RoleBinding" | "ClusterRoleBinding")
}
