//! Charts in OCI registries: one artifact a version, the tag being the version with `_` for `+`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use registry::{Credentials, Keyring, Platform, Reference, Registry, RegistryConfig};

use crate::repository::{hex, shown};
use crate::versions::{self, Wanted};
use crate::{Config, Error, Repository, names};

const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// What Helm pushed before its media types were registered.
const LEGACY_CHART: &str = "application/tar+gzip";

/// Clients by what they depend on, so that connections and tokens are used again.
#[derive(Debug)]
pub(crate) struct Registries {
    config: RegistryConfig,
    limit: u64,
    clients: Mutex<BTreeMap<(String, bool, String), Registry>>,
}

/// Clients kept for further requests.
const CLIENTS: usize = 64;

/// A chart's repository in a registry, and how to be let in.
pub(crate) struct Source<'a> {
    registry: Registry,
    keyring: Keyring,
    repository: &'a Repository,
    /// `ghcr.io/team/charts/web`
    name: String,
}

impl Registries {
    pub(crate) fn new(config: &Config) -> Self {
        let registry = RegistryConfig {
            connect_timeout: config.deadlines.connect,
            idle_timeout: config.deadlines.idle,
            total_timeout: config.deadlines.total,
            ..config.registry.clone()
        };
        Self { config: registry, limit: config.limits.archive, clients: Mutex::default() }
    }

    /// `place` is the repository's URL without a scheme.
    pub(crate) fn source<'a>(
        &self,
        repository: &'a Repository,
        place: &str,
        chart: &str,
    ) -> Result<Source<'a>, Error> {
        let host = place.split('/').next().unwrap_or_default().to_owned();
        let registry = self.client(repository, &host)?;
        let credentials = match repository.basic() {
            Some((username, password)) => Credentials::Basic { username, password },
            None => Credentials::Anonymous,
        };
        let keyring = Keyring::single(&host, credentials);
        let name = if chart.is_empty() { place.to_owned() } else { format!("{place}/{chart}") };
        Ok(Source { registry, keyring, repository, name })
    }

    fn client(&self, repository: &Repository, host: &str) -> Result<Registry, Error> {
        let key = (host.to_owned(), repository.plain_http, hex(&repository.tls.fingerprint()));
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let mut config = RegistryConfig { tls: repository.tls.clone(), ..self.config.clone() };
        if repository.plain_http {
            config.plain_http.push(host.to_owned());
        }
        let client = Registry::new(config)
            .map_err(|error| Error::Url { url: shown(&repository.url), reason: error.to_string() })?;
        if clients.len() >= CLIENTS {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }

    /// Fetches the archive of exactly this version.
    pub(crate) async fn archive(&self, source: &Source<'_>, version: &str) -> Result<Bytes, Error> {
        let reference = source.reference(&version.replace('+', "_"))?;
        let manifest = source.registry.resolve(&reference, &Platform::host(), &source.keyring).await;
        let manifest = manifest.map_err(|error| source.failed(&error, version))?;
        let archive = |reason: String| Error::Archive { url: format!("oci://{reference}"), reason };
        let layer = manifest.layers.iter().find(|layer| layer.media_type == CHART);
        let layer = layer.or_else(|| manifest.layers.iter().find(|layer| layer.media_type == LEGACY_CHART));
        let layer = layer
            .ok_or_else(|| archive(format!("manifest does not contain a layer with mediatype {CHART}")))?;
        if layer.size > self.limit {
            return Err(Error::TooLarge { url: format!("oci://{reference}"), limit: self.limit });
        }
        let directory = tempfile::tempdir().map_err(|error| archive(error.to_string()))?;
        let file = directory.path().join("chart");
        let fetched = source.registry.blob(&reference, layer, &source.keyring, &file).await;
        fetched.map_err(|error| source.failed(&error, version))?;
        let content = tokio::fs::read(&file).await.map_err(|error| archive(error.to_string()))?;
        Ok(content.into())
    }
}

impl Source<'_> {
    fn reference(&self, tag: &str) -> Result<Reference, Error> {
        Reference::parse(&format!("{}:{tag}", self.name))
            .map_err(|error| Error::Url { url: shown(&self.repository.url), reason: error.to_string() })
    }

    /// The versions that the registry has tags for, the highest first.
    pub(crate) async fn versions(&self) -> Result<Vec<String>, Error> {
        let reference = self.reference("latest")?;
        let tags = self.registry.tags(&reference, &self.keyring).await;
        let tags = tags.map_err(|error| self.failed(&error, ""))?;
        // Tags that are no full versions are others than the charts'.
        let versions = tags.into_iter().map(|tag| tag.replace('_', "+"));
        let mut versions: Vec<String> = versions.filter(|version| versions::is_strict(version)).collect();
        versions::sort(&mut versions, |version| version);
        Ok(versions)
    }

    pub(crate) fn choose(
        &self,
        versions: &[String],
        wanted: &Wanted<'_>,
        text: &str,
    ) -> Result<String, Error> {
        let chosen = wanted.choose(versions, |version| version).cloned();
        chosen.ok_or_else(|| Error::NotFound { what: self.what(text), url: shown(&self.repository.url) })
    }

    fn what(&self, version: &str) -> String {
        let chart = self.name.rsplit('/').next().unwrap_or_default();
        if version.is_empty() {
            format!("chart {chart:?}")
        } else {
            format!("chart {chart:?} version {version:?}")
        }
    }

    fn failed(&self, error: &registry::Error, version: &str) -> Error {
        let url = format!("oci://{}", self.name);
        if error.is_not_found() {
            return Error::NotFound { what: self.what(version), url: shown(&self.repository.url) };
        }
        if error.is_unreachable() {
            return Error::Unreachable { url, reason: error.to_string() };
        }
        Error::Fetch { url, reason: error.to_string() }
    }
}

/// A chart's name in a registry may hold directories.
pub(crate) fn check_name(chart: &str) -> Result<(), Error> {
    names::check_path(chart)
}
