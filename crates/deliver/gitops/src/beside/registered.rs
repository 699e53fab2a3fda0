//! A cluster as its Secret registers it.

use std::collections::BTreeMap;

use base64::Engine as _;
use client::remote::{Remote, Verification};
use objects::{Value, meta};

use crate::live::Scope;

/// What makes a Secret a cluster's.
pub(super) const SELECTOR: &str = "argocd.argoproj.io/secret-type=cluster";

/// A registered cluster. Shows no credential when printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) name: String,
    /// Without a slash at its end.
    pub(crate) server: String,
    /// Whose it is; empty if everybody's.
    pub(crate) project: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// Only these namespaces are managed; empty for all.
    pub(crate) namespaces: Vec<String>,
    /// Whether objects without a namespace are managed in spite of a list of namespaces.
    pub(crate) cluster_resources: bool,
    /// How to get there, or why nobody can.
    pub(crate) remote: Result<Remote, String>,
}

impl std::fmt::Debug for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registered")
            .field("name", &self.name)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Registered {
    /// `None` for a Secret that names no server.
    pub(super) fn read(secret: &Value) -> Option<Self> {
        let text = |field: &str| -> String {
            let encoded = secret["data"][field].as_str().unwrap_or_default();
            let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
            String::from_utf8_lossy(&decoded).trim().to_owned()
        };
        let server = text("server").trim_end_matches('/').to_owned();
        if server.is_empty() {
            return None;
        }
        let map = |map: Option<&serde_json::Map<String, Value>>| {
            let entries = map.into_iter().flatten();
            entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
        };
        let namespaces = text("namespaces");
        let mut annotations: BTreeMap<String, String> = map(meta::annotations(secret));
        // It may hold the whole Secret, and templates of ApplicationSets see annotations.
        annotations.remove(sync::annotations::LAST_APPLIED);
        Some(Self {
            name: text("name"),
            project: text("project"),
            labels: map(meta::labels(secret)),
            annotations,
            namespaces: namespaces
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            cluster_resources: text("clusterResources") == "true",
            remote: remote(&server, &text("config")),
            server,
        })
    }
}

impl Registered {
    /// The part of the cluster that the Secret says is managed.
    pub(crate) fn scope(&self) -> Scope {
        Scope { namespaces: self.namespaces.clone(), cluster_resources: self.cluster_resources }
    }

    /// The cluster as generators of ApplicationSets see it.
    pub(crate) fn as_cluster(&self) -> applicationsets::Cluster {
        applicationsets::Cluster {
            name: self.name.clone(),
            server: self.server.clone(),
            project: self.project.clone(),
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
        }
    }
}

/// The errors name no value of the Secret.
fn remote(server: &str, config: &str) -> Result<Remote, String> {
    let config: Value = if config.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(config).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            format!("failed to unmarshal cluster config: no valid JSON at {place}")
        })?
    };
    for field in ["execProviderConfig", "awsAuthConfig"] {
        if config[field].is_object() {
            let instead = "use bearerToken or a client certificate in tlsClientConfig instead";
            return Err(format!("config.{field} is not supported: {instead}"));
        }
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if !text(&config["proxyUrl"]).is_empty() {
        return Err("config.proxyUrl is not supported".to_owned());
    }
    let tls = &config["tlsClientConfig"];
    let insecure = tls["insecure"] == true;
    if insecure && !text(&tls["caData"]).is_empty() {
        return Err("config.tlsClientConfig: insecure and caData exclude each other".to_owned());
    }
    Ok(Remote {
        server: server.to_owned(),
        bearer_token: text(&config["bearerToken"]),
        username: text(&config["username"]),
        password: text(&config["password"]),
        authorities: text(&tls["caData"]),
        certificate: text(&tls["certData"]),
        key: text(&tls["keyData"]),
        server_name: text(&tls["serverName"]),
        verification: if insecure { Verification::Skipped } else { Verification::Full },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(fields: &[(&str, &str)]) -> Value {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let data: serde_json::Map<String, Value> =
            fields.iter().map(|(name, text)| ((*name).to_owned(), encode(text).into())).collect();
        json!({"metadata": {"name": "c", "labels": {"env": "stage"}}, "data": data})
    }

    #[test]
    fn a_secret_is_read() {
        let config = r#"{"bearerToken": "sesame", "tlsClientConfig": {"insecure": false, "caData": "Q0E="}}"#;
        let registered = Registered::read(&secret(&[
            ("name", "stage"),
            ("server", "https://stage:6443/"),
            ("namespaces", "a, b"),
            ("config", config),
        ]))
        .unwrap();
        assert_eq!((registered.name.as_str(), registered.server.as_str()), ("stage", "https://stage:6443"));
        assert_eq!(registered.namespaces, ["a", "b"]);
        let remote = registered.remote.clone().unwrap();
        assert_eq!((remote.bearer_token.as_str(), remote.authorities.as_str()), ("sesame", "Q0E="));
        assert!(!format!("{registered:?}").contains("sesame"));
        assert!(Registered::read(&secret(&[("name", "stage")])).is_none());
    }

    #[test]
    fn what_cannot_be_used_is_told_without_its_values() {
        let refused = |config: &str| {
            Registered::read(&secret(&[("server", "https://s"), ("config", config)]))
                .unwrap()
                .remote
                .unwrap_err()
        };
        assert!(refused(r#"{"execProviderConfig": {"command": "x"}}"#).contains("config.execProviderConfig"));
        assert!(refused(r#"{"awsAuthConfig": {"clusterName": "x"}}"#).contains("config.awsAuthConfig"));
        let broken = refused(r#"{"bearerToken": "sesame"#);
        assert!(broken.contains("line 1") && !broken.contains("sesame"), "{broken}");
    }
}
