//! Manifests and indexes.

use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};

use super::http_client::Session;
use super::{Cause, get, media_type};
use crate::{Digest, Reference};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The distribution specification asks registries to accept up to 4 MiB.
const LIMIT: usize = 4 << 20;
/// More layers than an overlay can stack.
const LAYER_LIMIT: usize = 256;

/// The platform an image is wanted for, in the terms of OCI image indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on the processor this program was built for.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", Some("v8")),
            other => (other, None),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }
}

/// A piece of content by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
}

/// An image manifest for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Of [`bytes`](Self::bytes).
    pub digest: Digest,
    pub media_type: String,
    pub bytes: Bytes,
    pub config: Descriptor,
    /// Base first.
    pub layers: Vec<Descriptor>,
}

impl Manifest {
    /// Reads the content of an image manifest.
    pub fn parse(bytes: Bytes) -> Result<Self, Cause> {
        let document: Document =
            serde_json::from_slice(&bytes).map_err(|e| Cause::Manifest(e.to_string()))?;
        let invalid = |reason: &str| Cause::Manifest(reason.to_owned());
        let config = document.config.ok_or_else(|| invalid("no config"))?;
        let layers = document.layers.ok_or_else(|| invalid("no layers"))?;
        if layers.len() > LAYER_LIMIT {
            return Err(Cause::Manifest(format!(
                "{} layers; at most {LAYER_LIMIT} are supported",
                layers.len()
            )));
        }
        let media_type = document.media_type.unwrap_or_else(|| OCI_MANIFEST.to_owned());
        Ok(Self { digest: Digest::of(&bytes), media_type, bytes, config, layers })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u32>,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<IndexEntry>>,
}

#[derive(Deserialize)]
struct IndexEntry {
    digest: Digest,
    platform: Option<IndexPlatform>,
}

#[derive(Deserialize)]
struct IndexPlatform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    variant: Option<String>,
}

pub(super) async fn resolve(
    session: &Session<'_>,
    reference: &Reference,
    platform: &Platform,
) -> Result<Manifest, Cause> {
    let mut version = reference.version();
    let mut wanted = reference.digest();
    // An index leads to a manifest; one that leads to another index is not followed further.
    for _ in 0..2 {
        let bytes = fetch(session, reference, &version).await?;
        let found = Digest::of(&bytes);
        if let Some(wanted) = wanted
            && wanted != found
        {
            return Err(Cause::Digest { wanted, found });
        }
        let document: Document =
            serde_json::from_slice(&bytes).map_err(|e| Cause::Manifest(e.to_string()))?;
        if document.schema_version == Some(1) {
            return Err(Cause::Manifest("schema version 1 is not supported".to_owned()));
        }
        match document.manifests {
            None => return Manifest::parse(bytes),
            Some(entries) => {
                let digest = choose(&entries, platform).ok_or_else(|| Cause::Platform(found.to_string()))?;
                version = digest.to_string();
                wanted = Some(digest);
            }
        }
    }
    Err(Cause::Manifest("an index of indexes is not supported".to_owned()))
}

async fn fetch(session: &Session<'_>, reference: &Reference, version: &str) -> Result<Bytes, Cause> {
    let accept = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX].join(", ");
    let path = format!("/v2/{}/manifests/{version}", reference.repository());
    let response = get(session, Method::GET, &path, &accept).await?;
    let kind = media_type(&response);
    if kind.contains("html") {
        return Err(Cause::Manifest(format!("the registry answered with {kind}")));
    }
    session.small_body(response, LIMIT).await
}

/// The exact variant if there is one, else the same processor without or with any variant.
fn choose(entries: &[IndexEntry], wanted: &Platform) -> Option<Digest> {
    let fitting = entries.iter().filter_map(|entry| {
        let platform = entry.platform.as_ref()?;
        let fits = platform.os == wanted.os && platform.architecture == wanted.architecture;
        let rank = match (&platform.variant, &wanted.variant) {
            (a, b) if a == b => 0,
            (None, _) => 1,
            _ => 2,
        };
        fits.then_some((rank, entry.digest))
    });
    fitting.min_by_key(|(rank, _)| *rank).map(|(_, digest)| digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(os: &str, architecture: &str, variant: Option<&str>) -> IndexEntry {
        let name = format!("{os}/{architecture}/{variant:?}");
        let platform = IndexPlatform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        };
        IndexEntry { digest: Digest::of(name.as_bytes()), platform: Some(platform) }
    }

    #[test]
    fn chooses_the_platform() {
        let entries = [
            entry("unknown", "unknown", None),
            entry("linux", "arm64", None),
            entry("linux", "arm64", Some("v8")),
            entry("linux", "amd64", None),
            entry("windows", "amd64", None),
        ];
        let wanted = |architecture: &str, variant: Option<&str>| Platform {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        };
        assert_eq!(choose(&entries, &wanted("amd64", None)), Some(entries[3].digest));
        assert_eq!(choose(&entries, &wanted("arm64", Some("v8"))), Some(entries[2].digest));
        assert_eq!(choose(&entries[..2], &wanted("arm64", Some("v8"))), Some(entries[1].digest));
        assert_eq!(choose(&entries, &wanted("s390x", None)), None);
    }

    #[test]
    fn refuses_what_is_no_manifest() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"config":1}"#,
            r#"{"config":{"mediaType":"x","digest":"../x","size":1},"layers":[]}"#,
        ] {
            assert!(Manifest::parse(Bytes::from_static(text.as_bytes())).is_err(), "{text}");
        }
    }
}
