//! Asking a server what it serves: aggregated discovery, or group by group where a server does not offer it.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use kube::Client;
use serde_json::Value;

use super::Served;
use crate::dynamic::{Accept, Sent};
use crate::{Error, ResourceType};

/// All types in the server's order.
pub(super) async fn read(client: &Client) -> Result<Vec<Served>, Error> {
    let mut types = Vec::new();
    for root in ["/api", "/apis"] {
        let answer = get(client, root, Accept::Discovery).await?;
        match answer["kind"].as_str() {
            Some("APIGroupDiscoveryList") => types.extend(aggregated(&answer)),
            Some("APIVersions") => {
                for version in strings(&answer["versions"]) {
                    let list = get(client, &format!("/api/{version}"), Accept::Json).await?;
                    types.extend(resource_list("", &version, true, &list));
                }
            }
            _ => types.extend(groups(client, &answer).await?),
        }
    }
    Ok(types)
}

async fn groups(client: &Client, list: &Value) -> Result<Vec<Served>, Error> {
    let mut types = Vec::new();
    for group in array(&list["groups"]) {
        let preferred = text(&group["preferredVersion"]["version"]);
        for entry in array(&group["versions"]) {
            let (name, version) = (text(&group["name"]), text(&entry["version"]));
            match get(client, &format!("/apis/{name}/{version}"), Accept::Json).await {
                Ok(list) => types.extend(resource_list(name, version, version == preferred, &list)),
                // One broken aggregated API must not hide the others.
                Err(error) if error.status().is_some() => {
                    tracing::warn!(group = name, version, error = %error.message(), "an API group does not answer");
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(types)
}

async fn get(client: &Client, path: &str, accept: Accept) -> Result<Value, Error> {
    let action = format!("discover {path}");
    Sent {
        client,
        method: Method::GET,
        target: path.to_owned(),
        accept,
        body: None,
        deadline: Duration::from_secs(30),
        action: &action,
    }
    .json()
    .await
}

/// The types of an `APIGroupDiscoveryList`, whose versions come in order of preference.
pub(super) fn aggregated(list: &Value) -> Vec<Served> {
    let mut types = Vec::new();
    for group in array(&list["items"]) {
        let group_name = text(&group["metadata"]["name"]);
        for (position, version) in array(&group["versions"]).enumerate() {
            let version_name = text(&version["version"]);
            let resources =
                array(&version["resources"]).filter(|r| !text(&r["responseKind"]["kind"]).is_empty());
            types.extend(
                resources.map(|resource| Served {
                    resource: ResourceType {
                        group: group_name.to_owned().into(),
                        version: version_name.to_owned().into(),
                        kind: text(&resource["responseKind"]["kind"]).to_owned().into(),
                        plural: text(&resource["resource"]).to_owned().into(),
                        namespaced: resource["scope"] == "Namespaced",
                    },
                    verbs: strings(&resource["verbs"]).into_iter().collect(),
                    subresources: array(&resource["subresources"])
                        .map(|sub| text(&sub["subresource"]).to_owned())
                        .collect(),
                    short_names: strings(&resource["shortNames"]),
                    singular: text(&resource["singularResource"]).to_owned(),
                    categories: strings(&resource["categories"]),
                    preferred: position == 0,
                }),
            );
        }
    }
    types
}

/// The types of an `APIResourceList`, where subresources are entries named `pods/status`.
pub(super) fn resource_list(group: &str, version: &str, preferred: bool, list: &Value) -> Vec<Served> {
    let subresources_of = |plural: &str| -> BTreeSet<String> {
        array(&list["resources"])
            .filter_map(|entry| text(&entry["name"]).split_once('/'))
            .filter(|(parent, _)| *parent == plural)
            .map(|(_, sub)| sub.to_owned())
            .collect()
    };
    array(&list["resources"])
        .filter(|entry| !text(&entry["name"]).contains('/'))
        .map(|entry| Served {
            resource: ResourceType {
                group: group.to_owned().into(),
                version: version.to_owned().into(),
                kind: text(&entry["kind"]).to_owned().into(),
                plural: text(&entry["name"]).to_owned().into(),
                namespaced: entry["namespaced"].as_bool().unwrap_or(false),
            },
            verbs: strings(&entry["verbs"]).into_iter().collect(),
            subresources: subresources_of(text(&entry["name"])),
            short_names: strings(&entry["shortNames"]),
            singular: text(&entry["singularName"]).to_owned(),
            categories: strings(&entry["categories"]),
            preferred,
        })
        .collect()
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn strings(value: &Value) -> Vec<String> {
    array(value).filter_map(|v| v.as_str().map(str::to_owned)).collect()
}
