//! The directory of a store.
//!
//! - `blobs/sha256/<hex>`: configurations and layer archives
//! - `manifests/<hex>`: image manifests
//! - `layers/<hex of the chain id>`: unpacked layers
//! - `names/<hash of the name>.json`: what a name stands for
//! - `tmp/`: what is being made, moved to its place when it is complete and on disk
//! - `lock`: held shared by whoever adds, exclusively by whoever deletes

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use registry::{Descriptor, Digest, Manifest, Reference, Upload};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::{Image, ImageSummary};
use crate::config::Document;
use crate::{ImageError, OpenError};

#[derive(Clone, Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
}

/// Where an image came from, which decides what `Always` means for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Origin {
    Registry,
    Local,
}

#[derive(Debug, Serialize, Deserialize)]
struct Name {
    name: String,
    manifest: Digest,
    origin: Origin,
}

/// Held while something is added or deleted.
#[derive(Debug)]
pub(crate) struct Guard {
    _file: File,
}

/// What an image will be made of, ready to be moved into place: temporary path → final path.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) moves: Vec<(PathBuf, PathBuf)>,
}

impl Disk {
    pub(crate) fn open(dir: PathBuf) -> Result<Self, OpenError> {
        let make = || -> io::Result<Self> {
            let mut private = fs::DirBuilder::new();
            private.recursive(true).mode(0o700);
            for part in ["blobs/sha256", "manifests", "layers", "names", "tmp"] {
                private.create(dir.join(part))?;
            }
            let disk = Self { dir: dir.canonicalize()? };
            // What another process is adding right now is no leftover.
            if let Some(_guard) = disk.try_lock_for_deleting()? {
                for entry in fs::read_dir(disk.dir.join("tmp"))? {
                    remove(&entry?.path())?;
                }
            }
            Ok(disk)
        };
        make().map_err(|source| OpenError::Directory { path: dir.clone(), source })
    }

    fn error(&self, action: &'static str) -> impl FnOnce(io::Error) -> ImageError + use<> {
        let path = self.dir.clone();
        move |source| ImageError::Io { action, path, source }
    }

    fn open_lock(&self) -> io::Result<File> {
        OpenOptions::new().create(true).truncate(false).write(true).open(self.dir.join("lock"))
    }

    /// `None` while something is being added.
    fn try_lock_for_deleting(&self) -> io::Result<Option<Guard>> {
        let file = self.open_lock()?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Guard { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for a deletion to end, which takes moments, and keeps the next from beginning.
    pub(crate) fn lock_for_adding(&self) -> Result<Guard, ImageError> {
        let lock = || {
            let file = self.open_lock()?;
            rustix::fs::flock(&file, FlockOperation::LockShared)?;
            Ok(Guard { _file: file })
        };
        lock().map_err(self.error("lock"))
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest.hex())
    }

    pub(crate) fn manifest(&self, digest: &Digest) -> PathBuf {
        self.dir.join("manifests").join(digest.hex())
    }

    pub(crate) fn layer(&self, chain_id: &Digest) -> PathBuf {
        self.dir.join("layers").join(chain_id.hex())
    }

    fn name(&self, name: &Reference) -> PathBuf {
        self.dir.join("names").join(format!("{}.json", Digest::of(name.to_string().as_bytes()).hex()))
    }

    /// A directory for what is being made; it goes with the value.
    pub(crate) fn temporary(&self) -> Result<tempfile::TempDir, ImageError> {
        tempfile::Builder::new()
            .prefix("add-")
            .tempdir_in(self.dir.join("tmp"))
            .map_err(self.error("make a temporary directory"))
    }

    /// Puts an image in its place: one flush for all of its parts, then the parts, then the name.
    pub(crate) fn commit(
        &self,
        draft: Draft,
        name: &Reference,
        manifest: Digest,
        origin: Origin,
    ) -> Result<(), ImageError> {
        let commit = || -> io::Result<()> {
            let root = File::open(&self.dir)?;
            if !draft.moves.is_empty() {
                rustix::fs::syncfs(&root)?;
            }
            let mut parents = BTreeSet::new();
            for (from, to) in draft.moves {
                parents.extend(to.parent().map(Path::to_owned));
                match fs::rename(&from, &to) {
                    // Somebody else brought the same content first; a directory does not replace a full one.
                    Err(_) if to.exists() => remove(&from)?,
                    result => result?,
                }
            }
            for parent in parents {
                File::open(parent)?.sync_all()?;
            }
            self.write_name(name, manifest, origin)
        };
        commit().map_err(self.error("add an image"))
    }

    fn write_name(&self, name: &Reference, manifest: Digest, origin: Origin) -> io::Result<()> {
        let path = self.name(name);
        let content = serde_json::to_vec(&Name { name: name.to_string(), manifest, origin })?;
        if fs::read(&path).is_ok_and(|present| present == content) {
            return Ok(());
        }
        let mut file = tempfile::NamedTempFile::new_in(self.dir.join("tmp"))?;
        io::Write::write_all(&mut file, &content)?;
        file.as_file().sync_data()?;
        file.persist(&path)?;
        File::open(self.dir.join("names"))?.sync_all()
    }

    fn read_name(&self, path: &Path) -> io::Result<Option<Name>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The image a name stands for; `None` if there is no such name or a part of it is gone.
    pub(crate) fn look_up(&self, name: &Reference) -> Result<Option<(Image, Origin)>, ImageError> {
        let look = || -> io::Result<Option<(Image, Origin)>> {
            let Some(found) = self.read_name(&self.name(name))? else { return Ok(None) };
            Ok(self.image(&found.manifest)?.map(|image| (image, found.origin)))
        };
        look().map_err(self.error("look up an image"))
    }

    /// An image by its manifest, if it is complete.
    pub(crate) fn image(&self, manifest: &Digest) -> io::Result<Option<Image>> {
        let Some(parsed) = self.read_manifest(manifest)? else { return Ok(None) };
        let Some(document) = self.read_config(&parsed)? else { return Ok(None) };
        let layers: Vec<PathBuf> = document.chain_ids().iter().map(|id| self.layer(id)).collect();
        if !layers.iter().all(|layer| layer.is_dir()) {
            return Ok(None);
        }
        Ok(Some(Image { id: parsed.config.digest, manifest: *manifest, config: document.config, layers }))
    }

    fn read_manifest(&self, digest: &Digest) -> io::Result<Option<Manifest>> {
        match fs::read(self.manifest(digest)) {
            Ok(bytes) => Manifest::parse(Bytes::from(bytes)).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_config(&self, manifest: &Manifest) -> io::Result<Option<Document>> {
        match fs::read(self.blob(&manifest.config.digest)) {
            Ok(bytes) => Ok(Some(Document::parse(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn names(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.dir.join("names"))? {
            names.extend(self.read_name(&entry?.path())?);
        }
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    }

    pub(crate) fn list(&self) -> Result<Vec<ImageSummary>, ImageError> {
        let list = || -> io::Result<Vec<ImageSummary>> {
            let mut all = Vec::new();
            for Name { name, manifest, .. } in self.names()? {
                let (Ok(name), Some(parsed)) = (Reference::parse(&name), self.read_manifest(&manifest)?)
                else {
                    continue;
                };
                let size = parsed.layers.iter().map(|layer| layer.size).sum();
                all.push(ImageSummary { name, id: parsed.config.digest, manifest, size });
            }
            Ok(all)
        };
        list().map_err(self.error("list images"))
    }

    pub(crate) fn tag(&self, name: &Reference, new_name: &Reference) -> Result<(), ImageError> {
        let _guard = self.lock_for_adding()?;
        let tag = || -> io::Result<bool> {
            let Some(found) = self.read_name(&self.name(name))? else { return Ok(false) };
            self.write_name(new_name, found.manifest, found.origin)?;
            Ok(true)
        };
        match tag().map_err(self.error("name an image"))? {
            true => Ok(()),
            false => Err(ImageError::NotFound(name.to_string())),
        }
    }

    pub(crate) fn export(&self, name: &Reference) -> Result<Upload, ImageError> {
        let export = || -> io::Result<Option<Upload>> {
            let Some(found) = self.read_name(&self.name(name))? else { return Ok(None) };
            let Some(manifest) = self.read_manifest(&found.manifest)? else { return Ok(None) };
            let parts = manifest.layers.iter().chain([&manifest.config]);
            let blobs: Vec<(Descriptor, PathBuf)> =
                parts.map(|part| (part.clone(), self.blob(&part.digest))).collect();
            Ok(Some(Upload { manifest, blobs }))
        };
        export().map_err(self.error("export an image"))?.ok_or_else(|| ImageError::NotFound(name.to_string()))
    }

    pub(crate) fn remove(&self, name: &Reference) -> Result<(), ImageError> {
        match fs::remove_file(self.name(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ImageError::NotFound(name.to_string()))
            }
            result => result.map_err(self.error("remove a name")),
        }
    }

    pub(crate) fn gc(&self, in_use: &BTreeSet<Digest>) -> Result<u64, ImageError> {
        let gc = || -> io::Result<u64> {
            let Some(_guard) = self.try_lock_for_deleting()? else { return Ok(0) };
            let named: BTreeSet<Digest> = self.names()?.into_iter().map(|name| name.manifest).collect();
            let mut keep = BTreeSet::new();
            for entry in fs::read_dir(self.dir.join("manifests"))? {
                let path = entry?.path();
                let Ok(manifest) = Manifest::parse(Bytes::from(fs::read(&path)?)) else { continue };
                if !named.contains(&manifest.digest) && !in_use.contains(&manifest.config.digest) {
                    continue;
                }
                let document = self.read_config(&manifest)?;
                let chain = document.map(|document| document.chain_ids()).unwrap_or_default();
                keep.extend(chain.iter().map(|id| self.layer(id)));
                keep.extend(manifest.layers.iter().map(|layer| self.blob(&layer.digest)));
                keep.extend([path, self.blob(&manifest.config.digest)]);
            }
            // Manifests first: what is left without its parts after a crash would look like an image.
            let mut freed = 0;
            for part in ["manifests", "blobs/sha256", "layers"] {
                for entry in fs::read_dir(self.dir.join(part))? {
                    let path = entry?.path();
                    if !keep.contains(&path) {
                        freed += size(&path)?;
                        // Out of sight at once, then gone; a crash between leaves it to the next opening.
                        let doomed = self.dir.join("tmp").join(path.file_name().unwrap_or_default());
                        fs::rename(&path, &doomed)?;
                        remove(&doomed)?;
                    }
                }
            }
            Ok(freed)
        };
        gc().map_err(self.error("collect garbage"))
    }
}

fn size(path: &Path) -> io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    fs::read_dir(path)?.try_fold(0, |sum, entry| Ok(sum + size(&entry?.path())?))
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
