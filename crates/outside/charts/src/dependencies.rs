//! What `helm dependency build` does: the charts that a chart names and does not have under `charts/`.
//!
//! Nothing is written: the fetched charts become files of the chart in memory. Neither a chart's name nor a lock file
//! (which may be a symbolic link in a hostile repository) can therefore lead anywhere.

mod lock;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use gotmpl::semver::{Constraints, Version};
use helm::{Chart, Dependency, File};
use sha2::{Digest as _, Sha256};
use tree::{Tree, TreePath};

use crate::pull::blocking;
use crate::{Charts, Error, Freshness, Repository, names};
use lock::Lock;

/// Who to be at the repositories that a chart names.
pub trait Lookup: Send + Sync {
    /// The repository at a URL.
    fn by_url(&self, url: &str) -> Repository;
    /// The repository that `@name` and `alias:name` mean.
    fn by_name(&self, name: &str) -> Option<Repository>;
}

/// Nobody in particular.
#[derive(Debug, Clone, Copy, Default)]
pub struct Public;

impl Lookup for Public {
    fn by_url(&self, url: &str) -> Repository {
        Repository::new(url)
    }

    fn by_name(&self, _: &str) -> Option<Repository> {
        None
    }
}

/// Whether a lock file counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `helm dependency build`: the versions of the lock file if there is one.
    Build,
    /// `helm dependency update`: the newest in each range.
    Update,
}

/// A chart's files with its dependencies among them, for [`helm::Chart::from_files`].
#[derive(Debug, Clone)]
pub struct Built {
    pub files: Vec<File>,
    /// Of what was added: the same as long as the same charts were fetched.
    pub fingerprint: [u8; 32],
}

/// Fetches at the same time for one chart.
const PARALLEL: usize = 8;

impl Charts {
    /// The files of the chart at `path` of a tree, with all dependencies fetched. A dependency on `file://…` is taken
    /// from the tree, and nothing outside it can be named.
    ///
    /// # Errors
    /// If the lock file does not belong to the chart, or a dependency cannot be had.
    pub async fn build(
        &self,
        tree: Arc<dyn Tree>,
        path: &str,
        lookup: &dyn Lookup,
        mode: Mode,
        freshness: Freshness,
    ) -> Result<Built, Error> {
        let (read, place) = (Arc::clone(&tree), path.to_owned());
        let (files, chart) = blocking(move || load(&*read, &place)).await??;
        let wanted = wanted(&files, &chart, lookup, mode)?;
        // Each owns its dependency: futures that borrow from an iterator cannot be sent to another thread.
        let fetches: Vec<_> = wanted
            .iter()
            .cloned()
            .map(|dependency| {
                let (tree, chart) = (Arc::clone(&tree), chart.clone());
                async move { self.dependency(tree, path, &chart, &dependency, lookup, freshness).await }
            })
            .collect();
        let added: Vec<Vec<File>> = futures::stream::iter(fetches).buffered(PARALLEL).try_collect().await?;
        blocking(move || assemble(files, added.into_iter().flatten().collect(), &wanted)).await
    }

    async fn dependency(
        &self,
        tree: Arc<dyn Tree>,
        path: &str,
        chart: &Chart,
        dependency: &Dependency,
        lookup: &dyn Lookup,
        freshness: Freshness,
    ) -> Result<Vec<File>, Error> {
        let name = &dependency.name;
        let url = &dependency.repository;
        if url.is_empty() {
            return check_vendored(chart, dependency).map(|()| Vec::new());
        }
        if let Some(local) = url.strip_prefix("file://") {
            let (path, local, dependency) = (path.to_owned(), local.to_owned(), dependency.clone());
            return blocking(move || from_tree(&*tree, &path, &local, &dependency)).await?;
        }
        names::check(name)?;
        let pulled = self.pull(&lookup.by_url(url), name, &dependency.version, freshness).await;
        let pulled = pulled.map_err(|error| match error {
            Error::NotFound { .. } if !crate::is_exact(&dependency.version) => no_version(dependency),
            error => Error::Dependencies(format!("could not download dependency {name:?}: {error}")),
        })?;
        let file = format!("charts/{name}-{}.tgz", pulled.version);
        Ok(vec![File { name: file, data: pulled.archive }])
    }
}

fn problem(error: helm::Error) -> Error {
    let text = match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    Error::Dependencies(text)
}

fn load(tree: &dyn Tree, path: &str) -> Result<(Vec<File>, Chart), Error> {
    let files = helm::read(tree, path).map_err(problem)?;
    let chart = helm::Chart::from_files(files.clone()).map_err(problem)?;
    Ok((files, chart))
}

fn no_version(dependency: &Dependency) -> Error {
    let Dependency { name, repository, version, .. } = dependency;
    Error::Dependencies(format!(
        "can't get a valid version for 1 subchart(s): {name:?} (repository {repository:?}, version {version:?}). \
         Make sure a matching chart version exists in the repo, or change the version constraint in Chart.yaml"
    ))
}

/// The dependencies to fetch: those of the lock file at their exact versions, or the chart's own ranges.
fn wanted(files: &[File], chart: &Chart, lookup: &dyn Lookup, mode: Mode) -> Result<Vec<Dependency>, Error> {
    let metadata = chart.metadata();
    let own = metadata.dependencies.clone();
    let named = with_repositories(&own, lookup)?;
    let lock = match mode {
        Mode::Build => Lock::find(files)?,
        Mode::Update => None,
    };
    let Some((file, lock)) = lock else {
        for dependency in &named {
            Constraints::parse(&dependency.version).map_err(|error| {
                Error::Dependencies(format!(
                    "dependency {:?} has an invalid version/constraint format: {error}",
                    dependency.name
                ))
            })?;
        }
        return Ok(named);
    };
    let of_helm_2 = metadata.api_version == "v1" && lock.digest == lock::digest_v2(&own);
    if lock.digest != lock::digest(&named, &lock.dependencies) && !of_helm_2 {
        let of = if metadata.api_version == "v1" {
            "the lock file (requirements.lock) is out of sync with the dependencies file (requirements.yaml)"
        } else {
            "the lock file (Chart.lock) is out of sync with the dependencies file (Chart.yaml)"
        };
        tracing::debug!(file, "a lock file was made for other dependencies");
        return Err(Error::Dependencies(format!("{of}. Please update the dependencies")));
    }
    with_repositories(&lock.dependencies, lookup)
}

/// `@name` and `alias:name` replaced by the URLs that they mean.
fn with_repositories(dependencies: &[Dependency], lookup: &dyn Lookup) -> Result<Vec<Dependency>, Error> {
    let mut named = dependencies.to_vec();
    let mut missing = Vec::new();
    for dependency in &mut named {
        let repository = &dependency.repository;
        if repository.is_empty() || repository.contains("://") {
            continue;
        }
        let alias = repository.strip_prefix('@').or_else(|| repository.strip_prefix("alias:"));
        match alias.and_then(|name| lookup.by_name(name)) {
            Some(found) => dependency.repository = found.url,
            None => missing.push(repository.clone()),
        }
    }
    if missing.is_empty() {
        return Ok(named);
    }
    Err(Error::Dependencies(format!(
        "no repository definition for {}. Repositories must be URLs, or names of known ones: \"https://charts.example.com/\" or \"@example\"",
        missing.join(", ")
    )))
}

/// A dependency without a repository must lie under `charts/` and fit.
fn check_vendored(chart: &Chart, dependency: &Dependency) -> Result<(), Error> {
    let Dependency { name, version, .. } = dependency;
    let there = chart.dependencies().iter().find(|child| child.metadata().name == *name);
    let there = there.ok_or_else(|| {
        Error::Dependencies(format!(
            "dependency {name:?} names no repository and is not in the charts/ directory"
        ))
    })?;
    let found = &there.metadata().version;
    if fits(version, found) {
        return Ok(());
    }
    Err(Error::Dependencies(format!(
        "dependency {name} at version {found} does not satisfy the constraint {version}"
    )))
}

fn fits(constraint: &str, version: &str) -> bool {
    match (Constraints::parse(constraint), Version::parse(version)) {
        (Ok(constraint), Ok(version)) => constraint.check(&version),
        _ => false,
    }
}

/// A chart of the same tree, named relative to the one that needs it.
fn from_tree(tree: &dyn Tree, path: &str, local: &str, dependency: &Dependency) -> Result<Vec<File>, Error> {
    let name = &dependency.name;
    let failed = |reason: String| Error::Dependencies(format!("dependency {name:?}: {reason}"));
    let base = TreePath::parse(path).map_err(|error| failed(error.to_string()))?;
    let place = base.join(local).map_err(|error| failed(format!("file://{local}: {error}")))?;
    let is_there = tree.list(&place).map_err(|error| failed(error.to_string()))?.is_some();
    if !is_there {
        return Err(failed(format!("directory {place} not found")));
    }
    let (files, chart) = load(tree, place.as_str()).map_err(|error| failed(error.to_string()))?;
    let metadata = chart.metadata();
    if !fits(&dependency.version, &metadata.version) {
        return Err(no_version(dependency));
    }
    let directory = format!("charts/{}-{}", metadata.name, metadata.version);
    Ok(files
        .into_iter()
        .map(|file| File { name: format!("{directory}/{}", file.name), data: file.data })
        .collect())
}

/// The chart's files with the fetched ones. As in Helm, archives under `charts/` that were not fetched give way, unless
/// they are dependencies without a repository; directories stay.
fn assemble(files: Vec<File>, added: Vec<File>, wanted: &[Dependency]) -> Built {
    let local: Vec<&str> = wanted
        .iter()
        .filter(|dependency| dependency.repository.is_empty())
        .map(|dependency| dependency.name.as_str())
        .collect();
    let added: BTreeMap<String, File> = added.into_iter().map(|file| (file.name.clone(), file)).collect();
    let mut hash = Sha256::new();
    for file in added.values() {
        hash.update((file.name.len() as u64).to_le_bytes());
        hash.update(&file.name);
        hash.update(Sha256::digest(&file.data));
    }
    let stays = |file: &File| {
        let Some(name) = file.name.strip_prefix("charts/") else { return true };
        if added.contains_key(&file.name) {
            return false;
        }
        if name.contains('/') {
            return true;
        }
        match helm::load_archive(&file.data) {
            Ok(chart) => local.contains(&chart.metadata().name.as_str()),
            // Helm leaves what it cannot read where it is.
            Err(_) => true,
        }
    };
    let mut files: Vec<File> = files.into_iter().filter(stays).collect();
    files.extend(added.into_values());
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Built { files, fingerprint: hash.finalize().into() }
}
