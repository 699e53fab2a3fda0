//! What an image says about how to run it.

use std::collections::BTreeMap;

use registry::Digest;
use serde::{Deserialize, Serialize};

/// The run-time part of an OCI image configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// `NAME=value`.
    pub env: Vec<String>,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// `""`, `"1000"`, `"redis:redis"`.
    pub user: String,
    /// Empty means `/`.
    pub working_dir: String,
    /// `8080/tcp`, sorted.
    pub exposed_ports: Vec<String>,
    /// Directories meant for volumes, sorted.
    pub volumes: Vec<String>,
    /// `SIGTERM`, `SIGQUIT`, `15` …
    pub stop_signal: Option<String>,
}

/// A configuration with the layers it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) config: ImageConfig,
    /// Digests of the uncompressed layers, base first.
    pub(crate) diff_ids: Vec<Digest>,
}

/// The wire form, shared by Docker and OCI. Anything may be `null`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Wire {
    architecture: String,
    os: String,
    config: Option<WireConfig>,
    rootfs: WireRootfs,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WireConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exposed_ports: Option<BTreeMap<String, Empty>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volumes: Option<BTreeMap<String, Empty>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Empty {}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct WireRootfs {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Vec<Digest>,
}

impl Document {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let wire: Wire = serde_json::from_slice(bytes)?;
        let config = wire.config.unwrap_or_default();
        let keys = |map: Option<BTreeMap<String, Empty>>| map.unwrap_or_default().into_keys().collect();
        Ok(Self {
            config: ImageConfig {
                env: config.env.unwrap_or_default(),
                entrypoint: config.entrypoint.unwrap_or_default(),
                cmd: config.cmd.unwrap_or_default(),
                user: config.user.unwrap_or_default(),
                working_dir: config.working_dir.unwrap_or_default(),
                exposed_ports: keys(config.exposed_ports),
                volumes: keys(config.volumes),
                stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()),
            },
            diff_ids: wire.rootfs.diff_ids,
        })
    }

    /// The wire form, the same bytes for the same content.
    pub(crate) fn to_json(&self, platform: &registry::Platform) -> Vec<u8> {
        let list = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let set = |list: &[String]| {
            (!list.is_empty()).then(|| list.iter().map(|key| (key.clone(), Empty {})).collect())
        };
        let wire = Wire {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            config: Some(WireConfig {
                user: text(&self.config.user),
                exposed_ports: set(&self.config.exposed_ports),
                env: list(&self.config.env),
                entrypoint: list(&self.config.entrypoint),
                cmd: list(&self.config.cmd),
                volumes: set(&self.config.volumes),
                working_dir: text(&self.config.working_dir),
                stop_signal: self.config.stop_signal.clone(),
            }),
            rootfs: WireRootfs { kind: "layers".to_owned(), diff_ids: self.diff_ids.clone() },
        };
        serde_json::to_vec(&wire).expect("strings and maps with string keys serialise")
    }

    /// What names a layer together with all below it, for every layer, base first (OCI image specification).
    pub(crate) fn chain_ids(&self) -> Vec<Digest> {
        let mut chain: Vec<Digest> = Vec::new();
        for diff_id in &self.diff_ids {
            let next = match chain.last() {
                None => *diff_id,
                Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
            };
            chain.push(next);
        }
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_docker_writes() {
        let layer = Digest::of(b"layer");
        let text = format!(
            r#"{{"architecture":"amd64","os":"linux","created":"2024-01-01T00:00:00Z","history":[{{}}],
            "config":{{"Hostname":"","User":"redis","ExposedPorts":{{"6379/tcp":{{}}}},"Env":["A=1"],"Cmd":["redis-server"],
            "Volumes":{{"/data":{{}}}},"WorkingDir":"/data","Entrypoint":null,"OnBuild":null,"Labels":null,"StopSignal":"SIGQUIT"}},
            "rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#
        );
        let document = Document::parse(text.as_bytes()).unwrap();
        assert_eq!(document.diff_ids, [layer]);
        assert_eq!(document.config.cmd, ["redis-server"]);
        assert_eq!(document.config.entrypoint, [""; 0]);
        assert_eq!(document.config.exposed_ports, ["6379/tcp"]);
        assert_eq!(document.config.stop_signal.as_deref(), Some("SIGQUIT"));
        let again = Document::parse(&document.to_json(&registry::Platform::host())).unwrap();
        assert_eq!(again, document);
    }

    #[test]
    fn an_empty_configuration_is_one() {
        assert_eq!(Document::parse(b"{}").unwrap().config, ImageConfig::default());
        assert_eq!(Document::parse(br#"{"config":null}"#).unwrap().config, ImageConfig::default());
    }

    #[test]
    fn chains_depend_on_what_is_below() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let document = |diff_ids: Vec<Digest>| Document { config: ImageConfig::default(), diff_ids };
        let chain = document(vec![a, b]).chain_ids();
        assert_eq!(chain[0], a);
        assert_eq!(chain[1], Digest::of(format!("{a} {b}").as_bytes()));
        assert_ne!(document(vec![b]).chain_ids()[0], chain[1]);
    }
}
