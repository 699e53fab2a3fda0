//! Claims and Ingresses that name no class get the default one, if there is one.

use objects::meta;
use serde_json::Value;
use store::{ListOptions, Scope};

use crate::core::Call;
use crate::object;

pub(super) fn storage(call: &Call, claim: &mut Value) {
    // An empty name asks for no class, which is something else than not asking.
    if claim["spec"]["storageClassName"].is_null()
        && let Some(name) =
            default(call, "storage.k8s.io/storageclasses", "storageclass.kubernetes.io/is-default-class")
    {
        claim["spec"]["storageClassName"] = name.into();
    }
}

pub(super) fn ingress(call: &Call, ingress: &mut Value) {
    let annotated = meta::annotation(ingress, "kubernetes.io/ingress.class").is_some();
    if ingress["spec"]["ingressClassName"].is_null()
        && !annotated
        && let Some(name) =
            default(call, "networking.k8s.io/ingressclasses", "ingressclass.kubernetes.io/is-default-class")
    {
        ingress["spec"]["ingressClassName"] = name.into();
    }
}

/// The class that an annotation calls the default; the newest, if several are called so.
fn default(call: &Call, resource: &str, annotation: &str) -> Option<String> {
    let page = call.core.store.list(&Scope::new(resource, None), &ListOptions::default()).ok()?;
    let classes = page.items.iter().filter_map(|(_, stored)| object::decode(&stored.bytes).ok());
    let defaults = classes.filter(|class| meta::annotation(class, annotation) == Some("true"));
    let newest = defaults.max_by_key(|class| meta::creation_timestamp(class).map(str::to_owned))?;
    Some(meta::name(&newest).to_owned())
}
