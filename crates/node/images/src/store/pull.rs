//! From a registry into the store.

use std::fs::File;
use std::path::{Path, PathBuf};

use futures::stream;
use futures::{FutureExt as _, StreamExt as _};
use registry::{Digest, Keyring, Manifest, Platform, Reference, Registry};

use super::disk::{Disk, Draft, Origin};
use super::{Image, blocking};
use crate::ImageError;
use crate::config::Document;
use crate::unpack::{self, Limits};

/// Blobs fetched at a time, as container runtimes do.
const PARALLEL: usize = 3;
/// A configuration is a small document.
const CONFIG_LIMIT: u64 = 16 << 20;

pub(super) async fn pull(
    disk: &Disk,
    registry: &Registry,
    name: &Reference,
    keyring: &Keyring,
) -> Result<Image, ImageError> {
    let failed = |source| ImageError::Pull { image: name.to_string(), source };
    let manifest = registry.resolve(name, &Platform::host(), keyring).await.map_err(failed)?;
    let guard = {
        let disk = disk.clone();
        blocking(move || disk.lock_for_adding()).await?
    };
    let pull = Pulling { disk, registry, name, keyring, manifest };
    let image = pull.run().await;
    drop(guard);
    image
}

struct Pulling<'a> {
    disk: &'a Disk,
    registry: &'a Registry,
    name: &'a Reference,
    keyring: &'a Keyring,
    manifest: Manifest,
}

impl Pulling<'_> {
    async fn run(self) -> Result<Image, ImageError> {
        if let Some(image) = self.present().await? {
            self.commit(Draft::default()).await?;
            return Ok(image);
        }
        if self.manifest.config.size > CONFIG_LIMIT {
            return Err(self.unpack_error("its configuration is too large".to_owned()));
        }
        let temporary = self.disk.temporary()?;
        let mut draft = Draft::default();
        self.fetch_blobs(temporary.path(), &mut draft).await?;
        let document = self.read_config(temporary.path()).await?;
        self.unpack_layers(temporary.path(), &document, &mut draft).await?;
        let manifest = temporary.path().join("manifest");
        let written = tokio::fs::write(&manifest, &self.manifest.bytes).await;
        written.map_err(|source| self.io("write a manifest", &manifest, source))?;
        draft.moves.push((manifest, self.disk.manifest(&self.manifest.digest)));
        self.commit(draft).await?;
        match self.present().await? {
            Some(image) => Ok(image),
            None => Err(self.unpack_error("it vanished right after it was complete".to_owned())),
        }
    }

    async fn present(&self) -> Result<Option<Image>, ImageError> {
        let (disk, digest) = (self.disk.clone(), self.manifest.digest);
        let found = blocking(move || disk.image(&digest)).await;
        found.map_err(|source| self.io("look for an image", Path::new(""), source))
    }

    async fn commit(&self, draft: Draft) -> Result<(), ImageError> {
        let (disk, name, digest) = (self.disk.clone(), self.name.clone(), self.manifest.digest);
        blocking(move || disk.commit(draft, &name, digest, Origin::Registry)).await
    }

    async fn fetch_blobs(&self, temporary: &Path, draft: &mut Draft) -> Result<(), ImageError> {
        let mut wanted: Vec<_> = self.manifest.layers.iter().chain([&self.manifest.config]).collect();
        wanted.sort_by_key(|blob| blob.digest);
        wanted.dedup_by_key(|blob| blob.digest);
        wanted.retain(|blob| !self.disk.blob(&blob.digest).exists());
        let fetches: Vec<_> = wanted
            .into_iter()
            .map(|blob| {
                let (registry, name, keyring) =
                    (self.registry.clone(), self.name.clone(), self.keyring.clone());
                let (blob, from, to) =
                    (blob.clone(), temporary.join(blob.digest.hex()), self.disk.blob(&blob.digest));
                async move {
                    let fetched = registry.blob(&name, &blob, &keyring, &from).await;
                    fetched.map_err(|source| ImageError::Pull { image: name.to_string(), source })?;
                    Ok((from, to))
                }
                .boxed()
            })
            .collect();
        let mut fetches = stream::iter(fetches).buffer_unordered(PARALLEL);
        while let Some(fetched) = fetches.next().await {
            draft.moves.push(fetched?);
        }
        Ok(())
    }

    /// Where a blob lies now.
    fn blob(&self, temporary: &Path, digest: &Digest) -> PathBuf {
        let fetched = temporary.join(digest.hex());
        if fetched.exists() { fetched } else { self.disk.blob(digest) }
    }

    async fn read_config(&self, temporary: &Path) -> Result<Document, ImageError> {
        let path = self.blob(temporary, &self.manifest.config.digest);
        let bytes =
            tokio::fs::read(&path).await.map_err(|source| self.io("read a configuration", &path, source))?;
        let document = Document::parse(&bytes);
        let document =
            document.map_err(|e| self.unpack_error(format!("its configuration is invalid: {e}")))?;
        let (layers, ids) = (self.manifest.layers.len(), document.diff_ids.len());
        if layers != ids {
            return Err(
                self.unpack_error(format!("its manifest has {layers} layers, its configuration {ids}"))
            );
        }
        if layers == 0 {
            return Err(self.unpack_error("it has no layers".to_owned()));
        }
        Ok(document)
    }

    async fn unpack_layers(
        &self,
        temporary: &Path,
        document: &Document,
        draft: &mut Draft,
    ) -> Result<(), ImageError> {
        let mut below = Vec::new();
        let layers = self.manifest.layers.iter().zip(&document.diff_ids).zip(document.chain_ids());
        for (index, ((layer, diff_id), chain_id)) in layers.enumerate() {
            let place = self.disk.layer(&chain_id);
            if place.is_dir() {
                below.push(place);
                continue;
            }
            let target = temporary.join(format!("layer-{index}"));
            let archive = self.blob(temporary, &layer.digest);
            let (kind, diff_id) = (layer.media_type.clone(), *diff_id);
            let unpacked = {
                let (target, below) = (target.clone(), below.clone());
                blocking(move || unpack_one(&archive, &kind, diff_id, &target, &below)).await
            };
            unpacked.map_err(|reason| self.unpack_error(reason))?;
            below.push(target.clone());
            draft.moves.push((target, place));
        }
        Ok(())
    }

    fn unpack_error(&self, reason: String) -> ImageError {
        ImageError::Unpack { image: self.name.to_string(), reason }
    }

    fn io(&self, action: &'static str, path: &Path, source: std::io::Error) -> ImageError {
        ImageError::Io { action, path: path.to_owned(), source }
    }
}

/// Makes the directory, too: root's, for all to read, unless the archive says otherwise.
pub(crate) fn unpack_one(
    archive: &Path,
    media_type: &str,
    diff_id: Digest,
    target: &Path,
    below: &[PathBuf],
) -> Result<(), String> {
    use std::os::unix::fs::DirBuilderExt as _;
    let prepared = std::fs::DirBuilder::new().mode(0o755).create(target).and_then(|()| File::open(archive));
    let archive = prepared.map_err(|e| e.to_string())?;
    unpack::unpack(archive, media_type, diff_id, target, below, Limits::default()).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}")
    })
}
