//! The namespace of every object, and of the role binding subjects that follow it.

use crate::Error;
use crate::fieldspec::{self, FieldSpec};
use crate::node::{Kind, Node, Tag};
use crate::resource::Resource;
use crate::resources::Resources;
use crate::schema::Schema;

pub(crate) fn set(
    resources: &mut Resources,
    namespace: &str,
    specs: &[FieldSpec],
    schema: &Schema,
) -> Result<(), Error> {
    for index in 0..resources.list.len() {
        let resource = &mut resources.list[index];
        resource.remember(schema)?;
        set_one(resource, namespace, specs, schema)
            .map_err(|error| error.within("namespace transformation failed"))?;
        let id = resource.id(schema);
        let same =
            resources.list.iter().filter(|other| other.name() == id.name && other.id(schema).same(&id));
        if same.count() != 1 {
            return Err(Error::invalid(format!("namespace transformation produces ID conflict: {id}")));
        }
    }
    Ok(())
}

fn set_one(
    resource: &mut Resource,
    namespace: &str,
    specs: &[FieldSpec],
    schema: &Schema,
) -> Result<(), Error> {
    let mut write = |node: &mut Node| node.set_text(namespace, Tag::Str);
    if !resource.id(schema).cluster_scoped {
        let spec = FieldSpec::new("metadata/namespace", "", "", "", true);
        fieldspec::apply(resource, &spec, Some(Kind::Scalar), &mut write)?;
    }
    let binding = is_binding(resource.kind());
    if binding
        && let Some(Node::List(subjects)) =
            resource.node.fields_mut().and_then(|fields| fields.get_mut("subjects"))
    {
        for subject in subjects.iter_mut() {
            if subject.get("name").is_some_and(|name| name.text() == "default") {
                let fields = subject.expect_map()?;
                write(fields.entry("namespace".to_owned()).or_insert_with(|| Node::empty(Kind::Scalar)))?;
            }
        }
    }
    for spec in specs {
        let object = spec.path == "metadata/namespace"
            || (spec.path == "metadata/name" && resource.api_version() != "v1")
            || (binding && is_binding(&spec.gvk.kind) && spec.path == "subjects/namespace");
        if !object {
            fieldspec::apply(resource, spec, Some(Kind::Scalar), &mut write)?;
        }
    }
    Ok(())
}

fn is_binding(kind: &str) -> bool {
    matches!(kind, "RoleBinding" | "ClusterRoleBinding")
}
