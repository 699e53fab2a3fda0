//! Where sources come from: Git repositories, chart repositories, and who to be there.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use charts::{Built, Charts, Lookup as _, Mode, Public, Pulled};
use client::Client;
use git::{Freshness, Repositories, Snapshot};
use tree::{MemoryTree, Tree, TreePath};

use crate::application::Source;
use crate::credentials::Credentials;
use crate::generate::Request;

/// Everything that a rendering may be made of.
#[derive(Clone)]
pub(crate) struct Places {
    pub(crate) repositories: Repositories,
    pub(crate) charts: Charts,
    /// Where credentials are kept: a namespace of a cluster.
    pub(crate) secrets: Option<(Client, String)>,
}

impl Places {
    /// Whether a source is a chart that is fetched, and not answered from a local place.
    pub(crate) fn is_fetched_chart(&self, source: &Source) -> bool {
        !source.chart().is_empty() && self.repositories.mapping(source.repo_url()).is_none()
    }

    /// The files of a source at its revision.
    pub(crate) async fn open(&self, source: &Source, request: &Request) -> Result<Snapshot, String> {
        let url = source.repo_url();
        if self.is_fetched_chart(source) {
            return self.pull(source, request).await;
        }
        // A local place that answers for a chart repository has no versions.
        let revision = if source.chart().is_empty() { source.target_revision() } else { "HEAD" };
        self.repositories.open(url, revision, request.freshness).await.map_err(|error| error.to_string())
    }

    async fn pull(&self, source: &Source, request: &Request) -> Result<Snapshot, String> {
        let mut repository = self.chart_repository(source.repo_url(), request).await?;
        repository.pass_credentials = source.0["helm"]["passCredentials"] == true;
        let pulled = self.chart(&repository, source.chart(), source.target_revision(), request).await?;
        let (chart, version, archive) = (source.chart().to_owned(), pulled.version, pulled.archive);
        let unpacked = tokio::task::spawn_blocking(move || unpack(&chart, &archive)).await;
        let tree = unpacked.map_err(|_| "the unpacking broke off".to_owned())??;
        Ok(Snapshot::new(version, Arc::new(tree)))
    }

    /// A chart repository with the credentials that are kept for it.
    pub(crate) async fn chart_repository(
        &self,
        url: &str,
        request: &Request,
    ) -> Result<charts::Repository, String> {
        Ok(match self.credentials(&request.project).await? {
            Some(credentials) => Permitted { credentials, request }.by_url(url),
            None => charts::Repository::new(url),
        })
    }

    /// The newest chart that suits `version`, which may be a range.
    pub(crate) async fn chart(
        &self,
        repository: &charts::Repository,
        name: &str,
        version: &str,
        request: &Request,
    ) -> Result<Pulled, String> {
        let freshness = freshness(request, charts::is_exact(version));
        let pulled = self.charts.pull(repository, name, version, freshness).await;
        pulled.map_err(|error| error.to_string())
    }

    /// A chart with the dependencies that it names and does not have.
    pub(crate) async fn build(
        &self,
        tree: Arc<dyn Tree>,
        path: &TreePath,
        request: &Request,
    ) -> Result<Built, String> {
        let credentials = self.credentials(&request.project).await?;
        let (path, freshness) = (path.as_str(), freshness(request, true));
        let built = match credentials {
            Some(credentials) => {
                let lookup = Permitted { credentials, request };
                self.charts.build(tree, path, &lookup, Mode::Build, freshness).await
            }
            None => self.charts.build(tree, path, &Public, Mode::Build, freshness).await,
        };
        built.map_err(|error| error.to_string())
    }

    /// Why a rendering may not take from a repository; `None` if it may. What is answered from a place of this machine,
    /// or needs credentials, is not everybody's.
    pub(crate) fn refuses(&self, url: &str, request: &Request) -> Option<String> {
        let everybodys = self.repositories.mapping(url).is_none() && !self.repositories.has_credentials(url);
        let message = || format!("repository {url} is not permitted in project '{}'", request.project);
        (!everybodys && !request.permits(url)).then(message)
    }

    /// A file of values by its URL.
    pub(crate) async fn values(&self, url: &str, request: &Request) -> Result<Bytes, String> {
        let values = self.charts.values(url, freshness(request, false)).await;
        values.map_err(|error| format!("value file: {error}"))
    }

    async fn credentials(&self, project: &str) -> Result<Option<Credentials>, String> {
        let Some((client, namespace)) = &self.secrets else { return Ok(None) };
        let credentials = Credentials::read(client, namespace, project).await;
        credentials
            .map(Some)
            .map_err(|error| format!("read the credentials of repositories: {}", error.message()))
    }
}

/// Credentials for what the Application's project permits; dependencies from elsewhere are fetched as anybody can.
struct Permitted<'a> {
    credentials: Credentials,
    request: &'a Request,
}

impl charts::Lookup for Permitted<'_> {
    fn by_url(&self, url: &str) -> charts::Repository {
        if self.request.permits(url) { self.credentials.by_url(url) } else { self.credentials.trusting(url) }
    }

    fn by_name(&self, name: &str) -> Option<charts::Repository> {
        self.credentials.by_name(name).filter(|repository| self.request.permits(&repository.url))
    }
}

/// A refresh looks for newer versions; what lasts is fetched again only on a hard one.
fn freshness(request: &Request, lasting: bool) -> charts::Freshness {
    if request.refetch || request.freshness == Freshness::Latest && !lasting {
        charts::Freshness::Latest
    } else {
        charts::Freshness::Recent
    }
}

/// The files of an archive below a directory of the chart's name.
fn unpack(chart: &str, archive: &[u8]) -> Result<MemoryTree, String> {
    let root = TreePath::parse(chart).map_err(|error| error.to_string())?;
    let files = helm::unpack(archive).map_err(|error| format!("chart {chart}: {error}"))?;
    let mut tree = BTreeMap::new();
    for file in files {
        let path = root.join(&file.name).map_err(|error| format!("chart {chart}: {error}"))?;
        tree.insert(path, file.data);
    }
    Ok(tree.into_iter().collect())
}
