//! Name prefixes and suffixes.

use crate::Error;
use crate::fieldspec::{self, FieldSpec};
use crate::id::Gvk;
use crate::node::{Kind, Tag};
use crate::resource::{PREFIXES, SUFFIXES};
use crate::resources::Resources;
use crate::schema::Schema;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Affix {
    Prefix,
    Suffix,
}

/// Kinds whose name means something outside the kustomization.
fn keeps_its_name(gvk: &Gvk) -> bool {
    matches!(gvk.kind.as_str(), "CustomResourceDefinition" | "Namespace")
        || (gvk.kind == "APIService" && gvk.group == "apiregistration.k8s.io")
}

pub(crate) fn add(
    resources: &mut Resources,
    affix: Affix,
    text: &str,
    specs: &[FieldSpec],
    schema: &Schema,
) -> Result<(), Error> {
    if text.is_empty() {
        return Ok(());
    }
    for resource in &mut resources.list {
        let original = resource.original_id(schema).gvk;
        if keeps_its_name(&original) {
            continue;
        }
        for spec in specs.iter().filter(|spec| original.is_selected(&spec.gvk)) {
            if spec.path == "metadata/name" {
                let annotation = if affix == Affix::Prefix { PREFIXES } else { SUFFIXES };
                resource.append_annotation(annotation, text)?;
                resource.remember(schema)?;
            }
            fieldspec::apply(resource, spec, Some(Kind::Scalar), &mut |node| {
                let name = match affix {
                    Affix::Prefix => format!("{text}{}", node.text()),
                    Affix::Suffix => format!("{}{text}", node.text()),
                };
                node.set_text(name, Tag::Empty)
            })?;
        }
    }
    Ok(())
}
