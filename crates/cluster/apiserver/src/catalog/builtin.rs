//! The built-in kinds as resources.

use objects::kinds::{Kind, builtin};
use objects::typing::Model;

use super::{Origin, Resource, Subresource};
use crate::object::type_prefix;

/// Groups of which one version is stored and the others are converted to and from it.
const STORED_VERSIONS: &[(&str, &str, &str)] =
    &[("autoscaling", "horizontalpodautoscalers", "autoscaling/v2")];

pub(super) fn resources() -> Vec<Resource> {
    builtin().iter().map(resource).collect()
}

fn resource(kind: &'static Kind) -> Resource {
    let api_version = kind.api_version();
    let storage_version = STORED_VERSIONS
        .iter()
        .find(|(group, plural, _)| *group == kind.group && *plural == kind.plural)
        .map_or_else(|| api_version.clone(), |(_, _, version)| (*version).to_owned());
    // Events are one resource under two groups.
    let (storage, storage_version) = match (kind.group, kind.plural) {
        ("events.k8s.io", "events") => ("events".to_owned(), "v1".to_owned()),
        ("", plural) => (plural.to_owned(), storage_version),
        (group, plural) => (format!("{group}/{plural}"), storage_version),
    };
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Resource {
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        kind: kind.kind.to_owned(),
        list_kind: format!("{}List", kind.kind),
        plural: kind.plural.to_owned(),
        singular: kind.singular.to_owned(),
        short_names: owned(kind.short_names),
        categories: owned(kind.categories),
        namespaced: kind.namespaced(),
        verbs: kind.verbs.to_vec(),
        subresources: kind
            .subresources
            .iter()
            .map(|subresource| Subresource {
                name: subresource.name.to_owned(),
                speaks: subresource
                    .speaks
                    .map(|(group, version, kind)| (group.to_owned(), version.to_owned(), kind.to_owned())),
                verbs: subresource.verbs.to_vec(),
            })
            .collect(),
        storage: storage.into(),
        type_prefix: type_prefix(kind.kind, &storage_version),
        storage_version,
        api_version,
        model: Model::Builtin(kind.gvk()),
        origin: Origin::Builtin(kind),
        deprecation: deprecation(kind),
    }
}

fn deprecation(kind: &Kind) -> Option<String> {
    match (kind.group, kind.plural) {
        ("", "endpoints") => {
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned())
        }
        ("", "componentstatuses") => Some("v1 ComponentStatus is deprecated in v1.19+".to_owned()),
        _ => None,
    }
}
