//! Names, blobs and layers on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use registry::{Digest, Keyring, Reference, Registry};

use crate::{ImageConfig, ImageError, OpenError, PackError, PackRequest};

mod disk;
mod pull;

pub(crate) use disk::{Disk, Draft, Origin};
pub(crate) use pull::unpack_one;

/// All images of one directory. Cheap to clone. Several processes may have one directory open.
#[derive(Clone, Debug)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    disk: Disk,
    registry: Registry,
    /// Pulls that are under way, by name and credentials.
    pulls: Mutex<BTreeMap<Digest, Shared<Pull>>>,
}

type Pull = BoxFuture<'static, Result<Image, Arc<ImageError>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// An image ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Digest of the configuration: the `imageID` of container runtimes.
    pub id: Digest,
    /// Digest of the manifest; with the repository it makes the `imageID` that `kubectl` shows.
    pub manifest: Digest,
    pub config: ImageConfig,
    /// Unpacked layers in overlay form, base first. Read-only.
    pub layers: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    pub name: Reference,
    pub id: Digest,
    pub manifest: Digest,
    /// Size of all layers as they are transferred, bytes.
    pub size: u64,
}

impl ImageStore {
    /// Opens or makes a store; what a crash left half-written is removed.
    pub async fn open(dir: PathBuf, registry: Registry) -> Result<Self, OpenError> {
        let disk = blocking(move || Disk::open(dir)).await?;
        Ok(Self { inner: Arc::new(Inner { disk, registry, pulls: Mutex::default() }) })
    }

    /// The image under this name, pulled if the policy says so. Calls for one image at a time share one pull. An image
    /// that was packed here is taken as it is whatever the policy: no registry has it.
    pub async fn ensure(
        &self,
        name: &Reference,
        policy: PullPolicy,
        keyring: &Keyring,
    ) -> Result<Image, ImageError> {
        if let Some((image, origin)) = self.look_up(name).await?
            && (policy != PullPolicy::Always || origin == Origin::Local)
        {
            return Ok(image);
        }
        if policy == PullPolicy::Never {
            return Err(ImageError::Never(name.to_string()));
        }
        let key = Digest::of(format!("{name}\0{}", keyring.fingerprint(name)).as_bytes());
        let pull = self.shared_pull(key, name, keyring);
        let result = pull.await;
        self.inner.pulls.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        result.map_err(ImageError::Shared)
    }

    /// Joins the pull that is under way or begins one. It runs in a task of its own: whoever began it may go.
    fn shared_pull(&self, key: Digest, name: &Reference, keyring: &Keyring) -> Shared<Pull> {
        let mut pulls = self.inner.pulls.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = || {
            let (inner, name, keyring) = (Arc::clone(&self.inner), name.clone(), keyring.clone());
            let task = tokio::spawn(async move {
                let result = pull::pull(&inner.disk, &inner.registry, &name, &keyring).await;
                result.map_err(Arc::new)
            });
            let joined = async move {
                task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
            };
            joined.boxed().shared()
        };
        pulls.entry(key).or_insert_with(begin).clone()
    }

    /// The image under this name, if it is here.
    pub async fn get(&self, name: &Reference) -> Option<Image> {
        match self.look_up(name).await {
            Ok(found) => found.map(|(image, _)| image),
            Err(error) => {
                tracing::warn!(%name, %error, "an image in the store cannot be read");
                None
            }
        }
    }

    async fn look_up(&self, name: &Reference) -> Result<Option<(Image, Origin)>, ImageError> {
        let (inner, name) = (Arc::clone(&self.inner), name.clone());
        blocking(move || inner.disk.look_up(&name)).await
    }

    /// Every name and what it stands for, in the order of names.
    pub async fn list(&self) -> Result<Vec<ImageSummary>, ImageError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.disk.list()).await
    }

    /// Makes an image of local files and gives it its name.
    pub async fn pack(&self, request: PackRequest) -> Result<Image, PackError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || crate::pack::pack(&inner.disk, &request)).await
    }

    /// Gives an image a further name.
    pub async fn tag(&self, name: &Reference, new_name: &Reference) -> Result<(), ImageError> {
        let (inner, name, new_name) = (Arc::clone(&self.inner), name.clone(), new_name.clone());
        blocking(move || inner.disk.tag(&name, &new_name)).await
    }

    /// Uploads an image under the name `target` to the registry which that says.
    pub async fn push(
        &self,
        name: &Reference,
        target: &Reference,
        keyring: &Keyring,
    ) -> Result<Digest, ImageError> {
        let upload = {
            let (inner, name) = (Arc::clone(&self.inner), name.clone());
            blocking(move || inner.disk.export(&name)).await?
        };
        let pushed = self.inner.registry.push(target, &upload, keyring).await;
        pushed.map_err(|source| ImageError::Push { image: target.to_string(), source })
    }

    /// The manifest and the files of its blobs, as a registry would have them.
    pub async fn export(&self, name: &Reference) -> Result<registry::Upload, ImageError> {
        let (inner, name) = (Arc::clone(&self.inner), name.clone());
        blocking(move || inner.disk.export(&name)).await
    }

    /// Forgets a name; what it stood for goes with the next [`gc`](Self::gc).
    pub async fn remove(&self, name: &Reference) -> Result<(), ImageError> {
        let (inner, name) = (Arc::clone(&self.inner), name.clone());
        blocking(move || inner.disk.remove(&name)).await
    }

    /// Deletes what no name and none of the images `in_use` (by [`Image::id`]) needs; returns the bytes freed. While
    /// a pull is under way nothing is deleted.
    pub async fn gc(&self, in_use: &BTreeSet<Digest>) -> Result<u64, ImageError> {
        let (inner, in_use) = (Arc::clone(&self.inner), in_use.clone());
        blocking(move || inner.disk.gc(&in_use)).await
    }
}

/// Runs what blocks off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
