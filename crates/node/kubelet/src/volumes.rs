//! A Pod's volumes on the machine: directories that containers bind-mount.
//!
//! What must hold: setting up twice changes nothing; readers of a ConfigMap or Secret volume see one whole version, never a
//! mixture; secret values lie on a memory file system; a path from an object never leaves its volume.

mod atomic;
mod claim;
mod host_path;
mod ownership;
mod payload;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};
use objects::quantity::Quantity;

use crate::env::{ConfigError, Reference, Sources};
use crate::pod::{self, PodId};
use crate::shared::Shared;
use crate::spec::{VolumeDir, Volumes};

pub(crate) use payload::references;

/// Where the volumes of one Pod lie.
#[derive(Clone, Debug)]
pub(crate) struct VolumePaths {
    /// On disk; removed with the Pod.
    pub(crate) disk: PathBuf,
    /// On the node's memory file system.
    pub(crate) memory: PathBuf,
}

/// Tokens handed out to a Pod, by audience and lifetime, with the time each is to be replaced.
pub(crate) type Tokens = BTreeMap<(String, i64), Token>;

/// A service account token.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) value: String,
    pub(crate) refresh_at: Timestamp,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("refresh_at", &self.refresh_at).finish_non_exhaustive()
    }
}

/// The volumes, ready to be mounted.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) volumes: Volumes,
    pub(crate) tokens: Tokens,
    /// When a token has to be replaced.
    pub(crate) refresh_at: Option<Timestamp>,
}

/// A volume that cannot be set up yet.
#[derive(Debug)]
pub(crate) struct VolumeFailure {
    pub(crate) volume: String,
    pub(crate) error: VolumeError,
}

impl VolumeFailure {
    /// As the kubelet words it.
    pub(crate) fn message(&self) -> String {
        let VolumeFailure { volume, error } = self;
        format!("MountVolume.SetUp failed for volume \"{volume}\" : {}", client::chain(error))
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error(transparent)]
    Missing(#[from] ConfigError),
    #[error("references non-existent {kind} key: {key}")]
    Key { kind: &'static str, key: String },
    #[error("path {0:?} leaves the volume")]
    Path(String),
    #[error("{0}")]
    Claim(String),
    #[error("{0}")]
    HostPath(String),
    #[error("failed to fetch token")]
    Token(#[source] client::Error),
    #[error("failed to read what the volume is made of")]
    Read(#[source] client::Error),
    #[error("cannot {action} {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Runtime(#[from] crate::runtime::RuntimeError),
}

impl VolumeError {
    fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VolumeError {
        let path = path.to_owned();
        move |source| VolumeError::File { action, path, source }
    }
}

/// What a set-up works with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) id: &'a PodId,
    pub(crate) pod: &'a Pod,
    /// For the downward API; empty before the network is attached.
    pub(crate) pod_ip: &'a str,
    pub(crate) paths: &'a VolumePaths,
    pub(crate) sources: &'a Sources,
}

/// Sets up every volume, or brings those that show objects up to date.
pub(crate) async fn set_up(job: Job<'_>, tokens: &Tokens) -> Result<Prepared, VolumeFailure> {
    let mut prepared = Prepared { volumes: Volumes::new(), tokens: Tokens::new(), refresh_at: None };
    for volume in pod::spec(job.pod).volumes.iter().flatten() {
        let dir = set_up_one(job, volume, tokens, &mut prepared)
            .await
            .map_err(|error| VolumeFailure { volume: volume.name.clone(), error })?;
        prepared.volumes.insert(volume.name.clone(), dir);
    }
    prepared.refresh_at = prepared.tokens.values().map(|token| token.refresh_at).min();
    Ok(prepared)
}

async fn set_up_one(
    job: Job<'_>,
    volume: &Volume,
    tokens: &Tokens,
    prepared: &mut Prepared,
) -> Result<VolumeDir, VolumeError> {
    let fs_group = ownership::fs_group(job.pod);
    if let Some(empty) = &volume.empty_dir {
        let memory = empty.medium.as_deref() == Some("Memory");
        let size = empty.size_limit.as_ref().and_then(|q| Quantity::parse(&q.0).ok()).map(|q| q.as_bytes());
        return empty_dir(job, &volume.name, memory, size).await;
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        let path = claim::path(job, &claim.claim_name).await?;
        ownership::apply(job.pod, &path).await?;
        return Ok(VolumeDir { path, read_only: claim.read_only == Some(true) });
    }
    if let Some(host_path) = &volume.host_path {
        let path = host_path::check(&host_path.path, host_path.type_.as_deref().unwrap_or_default()).await?;
        return Ok(VolumeDir { path, read_only: false });
    }
    for wanted in payload::tokens(volume) {
        let token = match tokens.get(&wanted).filter(|token| token.refresh_at > job.shared.now()) {
            Some(token) => token.clone(),
            None => {
                job.shared.token(job.id, job.pod, &wanted.0, wanted.1).await.map_err(VolumeError::Token)?
            }
        };
        prepared.tokens.insert(wanted, token);
    }
    let namespaced = job.shared.context(job.pod, job.pod_ip, job.sources, &[]);
    let files = payload::files(&namespaced, volume, &prepared.tokens)?;
    let root = if payload::is_secret(volume) { &job.paths.memory } else { &job.paths.disk };
    let path = root.join(&volume.name);
    let target = path.clone();
    blocking(move || atomic::write(&target, &files, fs_group)).await?;
    Ok(VolumeDir { path, read_only: true })
}

async fn empty_dir(
    job: Job<'_>,
    name: &str,
    memory: bool,
    size: Option<u64>,
) -> Result<VolumeDir, VolumeError> {
    let path = job.paths.disk.join(name);
    let dir = path.clone();
    blocking(move || std::fs::create_dir_all(&dir).map_err(VolumeError::file("create", &dir))).await?;
    if memory {
        job.shared.runtime().mount_memory(&path, size.filter(|size| *size > 0)).await?;
    }
    let dir = path.clone();
    blocking(move || ownership::open_to_all(&dir)).await?;
    ownership::apply(job.pod, &path).await?;
    Ok(VolumeDir { path, read_only: false })
}

/// Unmounts and removes everything [`set_up`] made; the contents of claims and host paths stay.
pub(crate) async fn tear_down(job: Job<'_>) -> Result<(), VolumeError> {
    for volume in pod::spec(job.pod).volumes.iter().flatten() {
        if volume.empty_dir.as_ref().is_some_and(|empty| empty.medium.as_deref() == Some("Memory")) {
            job.shared.runtime().unmount(&job.paths.disk.join(&volume.name)).await?;
        }
    }
    let VolumePaths { disk, memory } = job.paths.clone();
    blocking(move || {
        for dir in [disk, memory] {
            remove_dir(&dir)?;
        }
        Ok(())
    })
    .await
}

/// Removes a directory and what is in it, without following symlinks; it may be gone already.
pub(crate) fn remove_dir(dir: &Path) -> Result<(), VolumeError> {
    match std::fs::remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(VolumeError::file("remove", dir)(source))
        }
        _ => Ok(()),
    }
}

/// Runs file system work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VolumeError> + Send + 'static,
) -> Result<T, VolumeError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => Err(VolumeError::File {
            action: "work on",
            path: PathBuf::new(),
            source: io::Error::other(panic),
        }),
    }
}

/// Everything of the API that the Pod's volumes show or need.
pub(crate) fn all_references(pod: &Pod) -> BTreeSet<Reference> {
    pod::spec(pod).volumes.iter().flatten().flat_map(references).collect()
}

/// Reads what the volumes show.
pub(crate) async fn sources(
    shared: &Shared,
    namespace: &str,
    references: impl IntoIterator<Item = Reference>,
) -> Result<Sources, client::Error> {
    let mut sources = Sources::new();
    for reference in references {
        let contents = shared.contents(namespace, &reference).await?;
        sources.insert(reference, contents);
    }
    Ok(sources)
}
