//! What kustomizations take from outside their repository: remote bases, files behind URLs, charts.

use std::sync::{Arc, Mutex, PoisonError};

use charts::Pulled;
use git::Freshness;
use kustomize::{ChartReference, FetchError, Remote, Repository};
use sha2::{Digest, Sha256};
use tree::Tree;

use super::Request;
use crate::places::Places;

/// Fetches for one rendering and remembers what it fetched. Its methods wait; they are called on the rendering's own
/// thread, where that is allowed.
pub(super) struct Outside {
    places: Places,
    request: Arc<Request>,
    runtime: tokio::runtime::Handle,
    reads: Mutex<Vec<Read>>,
}

/// Something that was fetched, by which a rendering still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Read {
    Repository {
        url: String,
        reference: String,
        revision: String,
    },
    File {
        url: String,
        digest: Option<[u8; 32]>,
    },
    /// A chart from a chart repository: what was asked for, and the archive that came.
    Pulled {
        repository: String,
        name: String,
        version: String,
        digest: String,
    },
    Chart,
    /// Fetching failed, so that the next try may give something else.
    Failed,
}

impl Outside {
    pub(super) fn new(places: Places, request: Arc<Request>) -> Self {
        let runtime = tokio::runtime::Handle::current();
        Self { places, request, runtime, reads: Mutex::default() }
    }

    /// What was fetched since the last call.
    pub(super) fn take(&self) -> Vec<Read> {
        std::mem::take(&mut *self.reads.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, read: Read) {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).push(read);
    }

    /// Whether everything is as it was. A file is asked for again only when the latest is wanted.
    pub(super) fn still_holds(&self, reads: &[Read]) -> bool {
        reads.iter().all(|read| match read {
            Read::Repository { url, reference, revision } => {
                let opened = self.runtime.block_on(self.places.repositories.open(
                    url,
                    reference,
                    self.request.freshness,
                ));
                opened.is_ok_and(|snapshot| snapshot.revision == *revision)
            }
            Read::File { .. } if self.request.freshness == Freshness::Recent => true,
            Read::File { url, digest } => {
                let found = self.runtime.block_on(self.places.repositories.file(url));
                found.is_ok_and(|content| content.map(|content| Sha256::digest(content).into()) == *digest)
            }
            Read::Pulled { repository, name, version, digest } => {
                self.pull(repository, name, version).is_ok_and(|pulled| pulled.digest == *digest)
            }
            Read::Chart => true,
            Read::Failed => false,
        })
    }

    fn pull(&self, url: &str, name: &str, version: &str) -> Result<Pulled, String> {
        self.runtime.block_on(async {
            let repository = self.places.chart_repository(url, &self.request).await?;
            self.places.chart(&repository, name, version, &self.request).await
        })
    }

    fn failed(&self, error: impl Into<FetchError>) -> FetchError {
        self.note(Read::Failed);
        error.into()
    }
}

impl Remote for Outside {
    fn repository(&self, repository: &Repository) -> Result<Arc<dyn Tree>, FetchError> {
        let Repository { url, reference, timeout, .. } = repository;
        if let Some(refused) = self.places.refuses(url, &self.request) {
            return Err(self.failed(refused));
        }
        let open = self.places.repositories.open(url, reference, self.request.freshness);
        let opened = self.runtime.block_on(async { tokio::time::timeout(*timeout, open).await });
        let snapshot = match opened {
            Ok(Ok(snapshot)) => snapshot,
            Ok(Err(error)) => return Err(self.failed(error)),
            Err(_elapsed) => {
                return Err(self.failed(format!("no result within {} s", timeout.as_secs())));
            }
        };
        let (url, reference, revision) = (url.clone(), reference.clone(), snapshot.revision.clone());
        self.note(Read::Repository { url, reference, revision });
        Ok(snapshot.tree)
    }

    fn file(&self, url: &str) -> Result<Option<bytes::Bytes>, FetchError> {
        if let Some(refused) = self.places.refuses(url, &self.request) {
            return Err(self.failed(refused));
        }
        let found = self.runtime.block_on(self.places.repositories.file(url));
        let content = found.map_err(|error| self.failed(error))?;
        let digest = content.as_ref().map(|content| Sha256::digest(content).into());
        self.note(Read::File { url: url.to_owned(), digest });
        Ok(content)
    }

    /// From the local place that answers the chart repository (a directory or archive of the chart's name in it), or
    /// from the repository itself.
    fn chart(&self, chart: &ChartReference) -> Result<helm::Chart, FetchError> {
        let ChartReference { repository, name, version, devel } = chart;
        let repositories = &self.places.repositories;
        if repositories.mapping(repository).is_some() {
            if let Some(refused) = self.places.refuses(repository, &self.request) {
                return Err(self.failed(refused));
            }
            let open = repositories.open(repository, "HEAD", self.request.freshness);
            let snapshot = self.runtime.block_on(open).map_err(|error| self.failed(error))?;
            let loaded = helm::load(&snapshot.tree, name).map_err(|error| self.failed(error))?;
            let (url, reference, revision) = (repository.clone(), "HEAD".to_owned(), snapshot.revision);
            self.note(Read::Repository { url, reference, revision });
            self.note(Read::Chart);
            return Ok(loaded);
        }
        // What `helm pull --devel` asks for.
        let version = if *devel && version.is_empty() { ">0.0.0-0" } else { version };
        let pulled = self.pull(repository, name, version).map_err(|error| self.failed(error))?;
        let loaded = helm::load_archive(&pulled.archive).map_err(|error| self.failed(error))?;
        self.note(Read::Pulled {
            repository: repository.clone(),
            name: name.clone(),
            version: version.to_owned(),
            digest: pulled.digest,
        });
        self.note(Read::Chart);
        Ok(loaded)
    }
}
