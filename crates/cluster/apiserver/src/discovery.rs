//! Discovery: what is served, in the legacy and in the aggregated form.

use serde_json::{Value, json};

use crate::catalog::{Group, Resource, Snapshot, Version};
use objects::gvk::api_version;

/// `/api`
pub(crate) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis`
pub(crate) fn groups(snapshot: &Snapshot) -> Value {
    let groups: Vec<Value> = named(snapshot).map(group_value).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn named(snapshot: &Snapshot) -> impl Iterator<Item = &Group> {
    snapshot.groups.iter().filter(|group| !group.name.is_empty())
}

fn group_value(group: &Group) -> Value {
    let version = |version: &Version| json!({"groupVersion": api_version(&group.name, &version.name), "version": version.name});
    let versions: Vec<Value> = group.versions.iter().map(version).collect();
    json!({"name": group.name, "preferredVersion": versions.first(), "versions": versions})
}

/// `/apis/GROUP`
pub(crate) fn group(snapshot: &Snapshot, name: &str) -> Option<Value> {
    let mut value = group_value(snapshot.group(name)?);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Some(value)
}

/// `/api/v1`, `/apis/GROUP/VERSION`
pub(crate) fn resources(snapshot: &Snapshot, group: &str, version: &str) -> Option<Value> {
    let found = snapshot.group(group)?.versions.iter().find(|candidate| candidate.name == version)?;
    let resources: Vec<Value> = found.resources.iter().flat_map(|resource| legacy(resource)).collect();
    let mut list = json!({"kind": "APIResourceList", "groupVersion": api_version(group, version), "resources": resources});
    // Upstream's core group is older than the field.
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    Some(list)
}

fn legacy(resource: &Resource) -> Vec<Value> {
    let mut entry = json!({"name": resource.plural, "singularName": resource.singular,
        "namespaced": resource.namespaced, "kind": resource.kind, "verbs": resource.verbs});
    if !resource.short_names.is_empty() {
        entry["shortNames"] = resource.short_names.clone().into();
    }
    if !resource.categories.is_empty() {
        entry["categories"] = resource.categories.clone().into();
    }
    if resource.stored() {
        entry["storageVersionHash"] = hash(resource).into();
    }
    let mut entries = vec![entry];
    for subresource in &resource.subresources {
        let mut entry = json!({"name": format!("{}/{}", resource.plural, subresource.name), "singularName": "",
            "namespaced": resource.namespaced, "kind": resource.kind, "verbs": subresource.verbs});
        if let Some((group, version, kind)) = &subresource.speaks {
            entry["kind"] = kind.clone().into();
            if !group.is_empty() {
                entry["version"] = version.clone().into();
                entry["group"] = group.clone().into();
            }
        }
        entries.push(entry);
    }
    entries
}

/// Changes when objects are stored in another version.
fn hash(resource: &Resource) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256};
    let (group, version) =
        resource.storage_version.split_once('/').unwrap_or(("", &resource.storage_version));
    let text = format!("{group}/{version}/{}", resource.kind);
    STANDARD.encode(&Sha256::digest(text)[..8])
}

/// The aggregated form: of `/api` the core group, of `/apis` the others.
pub(crate) fn aggregated(snapshot: &Snapshot, core: bool) -> Value {
    let items: Vec<Value> = snapshot
        .groups
        .iter()
        .filter(|group| group.name.is_empty() == core)
        .map(|group| {
            let versions: Vec<Value> = group.versions.iter().map(aggregated_version).collect();
            let metadata = if core { json!({}) } else { json!({"name": group.name}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_version(version: &Version) -> Value {
    let resources: Vec<Value> =
        version.resources.iter().map(|resource| aggregated_resource(resource)).collect();
    json!({"version": version.name, "resources": resources, "freshness": "Current"})
}

fn aggregated_resource(resource: &Resource) -> Value {
    let scope = if resource.namespaced { "Namespaced" } else { "Cluster" };
    let own = response_kind(&resource.group, &resource.version, &resource.kind);
    let mut entry = json!({"resource": resource.plural, "responseKind": own, "scope": scope,
        "singularResource": resource.singular, "verbs": resource.verbs});
    if !resource.short_names.is_empty() {
        entry["shortNames"] = resource.short_names.clone().into();
    }
    if !resource.categories.is_empty() {
        entry["categories"] = resource.categories.clone().into();
    }
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|subresource| {
            let response = match &subresource.speaks {
                Some((group, version, kind)) => response_kind(group, version, kind),
                None => own.clone(),
            };
            json!({"subresource": subresource.name, "responseKind": response, "verbs": subresource.verbs})
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}

/// What a resource answers with; upstream names no version for the core group.
fn response_kind(group: &str, version: &str, kind: &str) -> Value {
    let version = if group.is_empty() { "" } else { version };
    json!({"group": group, "version": version, "kind": kind})
}

/// `/version`: the Kubernetes whose API this is.
pub(crate) fn version() -> Value {
    json!({"major": "1", "minor": "34", "gitVersion": crate::KUBERNETES_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc", "platform": platform(),
        "emulationMajor": "1", "emulationMinor": "34", "minCompatibilityMajor": "1", "minCompatibilityMinor": "33"})
}

fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "linux/amd64",
        "aarch64" => "linux/arm64",
        other => other,
    }
}
