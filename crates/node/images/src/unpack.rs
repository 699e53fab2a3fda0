//! A layer archive into a directory that overlay can mount.
//!
//! The archive is hostile. Nothing it names is followed by the kernel: every path is walked here, component by component,
//! through what this layer and those below it hold, so that links lead nowhere but into the image. Whiteouts become
//! character devices 0:0 and opaque markers the attribute that overlay reads. Device nodes are left out: `/dev` of a
//! container is made at its start, and others would reach the host's devices.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use registry::Digest;
use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use sha2::Digest as _;
use tar::EntryType;

mod stack;

use stack::{OPAQUE, Stack};

const WHITEOUT_PREFIX: &[u8] = b".wh.";
const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";

/// Bounds on what one layer may unpack to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of the uncompressed archive.
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    /// Components of a path.
    pub(crate) depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 32 << 30, entries: 2_000_000, depth: 256 }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("unpacking of layers of the type {0:?} is not supported")]
    MediaType(String),
    #[error("cannot read the layer's archive")]
    Archive(#[source] io::Error),
    #[error("the layer's content is {found}, its image says {wanted}")]
    Digest { wanted: Digest, found: Digest },
    #[error("the layer has {0}")]
    Limit(&'static str),
    #[error("the layer's entry {path:?} {reason}")]
    Entry { path: String, reason: &'static str },
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Unpacks a layer into the empty directory `target`, on top of the unpacked layers `below` (base first), and checks the
/// content against `diff_id`.
pub(crate) fn unpack(
    archive: File,
    media_type: &str,
    diff_id: Digest,
    target: &Path,
    below: &[PathBuf],
    limits: Limits,
) -> Result<(), UnpackError> {
    let archive = io::BufReader::with_capacity(256 << 10, archive);
    let plain: Box<dyn Read> = match compression(media_type)? {
        Compression::None => Box::new(archive),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(archive)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(archive).map_err(UnpackError::Archive)?),
    };
    let mut reader = Hashing { inner: plain, hash: sha2::Sha256::new(), left: limits.bytes };
    let mut layer = Layer { stack: Stack::new(target, below), times: Vec::new(), limits };
    let mut entries = 0;
    let mut archive = tar::Archive::new(&mut reader);
    for entry in archive.entries().map_err(read_error)? {
        entries += 1;
        if entries > limits.entries {
            return Err(UnpackError::Limit("too many entries"));
        }
        layer.add(entry.map_err(read_error)?)?;
    }
    // What follows the end of the archive belongs to its digest, too.
    io::copy(&mut reader, &mut io::sink()).map_err(read_error)?;
    layer.set_directory_times()?;
    let found = Digest::from_sha256(reader.hash);
    if found == diff_id { Ok(()) } else { Err(UnpackError::Digest { wanted: diff_id, found }) }
}

fn read_error(error: io::Error) -> UnpackError {
    if error.kind() == io::ErrorKind::FileTooLarge {
        return UnpackError::Limit("too much content");
    }
    UnpackError::Archive(error)
}

enum Compression {
    None,
    Gzip,
    Zstd,
}

fn compression(media_type: &str) -> Result<Compression, UnpackError> {
    match media_type {
        "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
            Ok(Compression::None)
        }
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Ok(Compression::Gzip),
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(Compression::Zstd),
        other => Err(UnpackError::MediaType(other.to_owned())),
    }
}

struct Hashing<R> {
    inner: R,
    hash: sha2::Sha256,
    left: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// A layer being written.
struct Layer<'a> {
    stack: Stack<'a>,
    /// Directories whose time is set last, because every new entry in them changes it.
    times: Vec<(PathBuf, i64)>,
    limits: Limits,
}

/// What an entry says about itself.
struct Attributes {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: i64,
}

impl Layer<'_> {
    fn add(&mut self, mut entry: tar::Entry<'_, impl Read>) -> Result<(), UnpackError> {
        let raw = entry.path_bytes().into_owned();
        let Some(parts) = self.parts(&raw)? else {
            return self.add_root(&entry);
        };
        let (name, parent_parts) = parts.split_last().expect("a path that is not the root has a name");
        let bad = |reason| UnpackError::Entry { path: shown(&raw), reason };
        let parent = self.stack.make_parent(parent_parts).map_err(|e| self.located(e, &raw))?;
        if *name == OPAQUE_MARKER {
            return self.stack.mark_opaque(&parent).map_err(|e| self.located(e, &raw));
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX) {
            // Names that begin with the prefix twice are housekeeping of an old storage driver.
            if hidden.starts_with(WHITEOUT_PREFIX) {
                return Ok(());
            }
            if hidden.is_empty() || hidden == b"." || hidden == b".." {
                return Err(bad("is no valid whiteout"));
            }
            return self.stack.whiteout(&parent, hidden).map_err(|e| self.located(e, &raw));
        }
        let target = parent.join(std::ffi::OsStr::from_bytes(name));
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::Char | EntryType::Block) {
            tracing::debug!(path = shown(&raw), "leaving out a device node");
            return Ok(());
        }
        let attributes = attributes(&entry).map_err(UnpackError::Archive)?;
        let write = |source| UnpackError::Write { path: target.clone(), source };
        let hides_directory = self.stack.clear(&target, kind == EntryType::Directory).map_err(write)?;
        match kind {
            EntryType::Directory => {
                make_directory(&target).map_err(write)?;
                if hides_directory {
                    self.stack.mark_opaque(&target).map_err(write)?;
                }
                self.times.push((target.clone(), attributes.mtime));
            }
            EntryType::Symlink => {
                let link = entry.link_name_bytes().ok_or_else(|| bad("is a link to nowhere"))?;
                std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(&link), &target).map_err(write)?;
            }
            EntryType::Link => {
                let link = entry.link_name_bytes().ok_or_else(|| bad("is a link to nowhere"))?.into_owned();
                // A hard link is the same file; its own attributes say nothing.
                return self.hard_link(&raw, &link, &target);
            }
            EntryType::Fifo => {
                rustix::fs::mknodat(CWD, &target, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0)
                    .map_err(|e| write(e.into()))?;
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&target)
                    .map_err(write)?;
                copy(&mut entry, &mut file, &target)?;
            }
            _ => return Err(bad("has a type that is not supported")),
        }
        set_attributes(&target, &attributes, kind).map_err(write)?;
        set_xattrs(&mut entry, &target).map_err(write)
    }

    /// The archive's own root entry sets the attributes of the image's `/`.
    fn add_root(&mut self, entry: &tar::Entry<'_, impl Read>) -> Result<(), UnpackError> {
        if entry.header().entry_type() != EntryType::Directory {
            return Ok(());
        }
        let attributes = attributes(entry).map_err(UnpackError::Archive)?;
        let root = self.stack.root().to_owned();
        set_attributes(&root, &attributes, EntryType::Directory)
            .map_err(|source| UnpackError::Write { path: root.clone(), source })?;
        self.times.push((root, attributes.mtime));
        Ok(())
    }

    /// The components of a path; `None` for the root. Leading slashes mean the image's root; `..` is refused.
    fn parts<'p>(&self, raw: &'p [u8]) -> Result<Option<Vec<&'p [u8]>>, UnpackError> {
        let bad = |reason| UnpackError::Entry { path: shown(raw), reason };
        let parts: Vec<&[u8]> =
            raw.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
        if parts.contains(&&b".."[..]) {
            return Err(bad("leaves its directory"));
        }
        if raw.contains(&0) {
            return Err(bad("holds a NUL byte"));
        }
        if parts.len() > self.limits.depth {
            return Err(bad("is nested too deeply"));
        }
        Ok((!parts.is_empty()).then_some(parts))
    }

    fn hard_link(&mut self, raw: &[u8], link: &[u8], target: &Path) -> Result<(), UnpackError> {
        let bad = |reason| UnpackError::Entry { path: shown(raw), reason };
        let parts = self.parts(link)?.ok_or_else(|| bad("is a hard link to a directory"))?;
        let (name, parent) = parts.split_last().expect("a path that is not the root has a name");
        let located = |error: io::Error| UnpackError::Write { path: target.to_owned(), source: error };
        let parent = self.stack.make_parent(parent).map_err(located)?;
        let source = parent.join(std::ffi::OsStr::from_bytes(name));
        match fs::symlink_metadata(&source) {
            Ok(metadata) if metadata.is_dir() => return Err(bad("is a hard link to a directory")),
            Ok(metadata) if stack::is_whiteout(&metadata) => {
                return Err(bad("is a hard link to a removed file"));
            }
            Ok(_) => {}
            // The file lies in a layer below: it comes up first, as overlay does it.
            Err(_) => self.stack.copy_up(&source).map_err(|_| bad("is a hard link to nothing"))?,
        }
        fs::hard_link(&source, target).map_err(located)
    }

    fn set_directory_times(&self) -> Result<(), UnpackError> {
        for (path, mtime) in self.times.iter().rev() {
            // A later entry may have replaced the directory.
            if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                set_time(path, *mtime).map_err(|source| UnpackError::Write { path: path.clone(), source })?;
            }
        }
        Ok(())
    }

    fn located(&self, error: io::Error, raw: &[u8]) -> UnpackError {
        let reason = match rustix::io::Errno::from_io_error(&error) {
            Some(rustix::io::Errno::LOOP) => "goes through too many links",
            _ if error.kind() == io::ErrorKind::NotADirectory => {
                "lies beneath something that is no directory"
            }
            _ => return UnpackError::Write { path: self.stack.root().join(shown(raw)), source: error },
        };
        UnpackError::Entry { path: shown(raw), reason }
    }
}

fn shown(raw: &[u8]) -> String {
    String::from_utf8_lossy(&raw[..raw.len().min(300)]).into_owned()
}

fn copy(from: &mut impl Read, to: &mut File, path: &Path) -> Result<(), UnpackError> {
    let mut buffer = vec![0; 128 << 10];
    loop {
        let read = from.read(&mut buffer).map_err(read_error)?;
        if read == 0 {
            return Ok(());
        }
        io::Write::write_all(to, &buffer[..read])
            .map_err(|source| UnpackError::Write { path: path.to_owned(), source })?;
    }
}

fn attributes(entry: &tar::Entry<'_, impl Read>) -> io::Result<Attributes> {
    let header = entry.header();
    let id = |id: io::Result<u64>| id.map(|id| u32::try_from(id).unwrap_or(u32::MAX - 1));
    Ok(Attributes {
        mode: header.mode()? & 0o7777,
        uid: id(header.uid())?,
        gid: id(header.gid())?,
        mtime: header.mtime().map(|time| i64::try_from(time).unwrap_or(0))?,
    })
}

fn make_directory(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Owner before mode: a change of owner takes the set-user-id bits away.
fn set_attributes(path: &Path, attributes: &Attributes, kind: EntryType) -> io::Result<()> {
    let owner = (Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)));
    rustix::fs::chownat(CWD, path, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    if kind != EntryType::Symlink {
        rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(attributes.mode), AtFlags::empty())?;
    }
    if kind != EntryType::Directory {
        set_time(path, attributes.mtime)?;
    }
    Ok(())
}

fn set_time(path: &Path, mtime: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// File capabilities and user attributes. Others (`trusted.overlay.*` above all) are for the host to set.
fn set_xattrs(entry: &mut tar::Entry<'_, impl Read>, path: &Path) -> io::Result<()> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(()) };
    for extension in extensions {
        let extension = extension?;
        let Some(name) = extension.key_bytes().strip_prefix(b"SCHILY.xattr.") else { continue };
        let allowed = name == b"security.capability" || name.starts_with(b"user.");
        if allowed && name.len() < 256 {
            match rustix::fs::lsetxattr(path, name, extension.value_bytes(), XattrFlags::empty()) {
                Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::PERM) => {
                    tracing::debug!(path = %path.display(), "the file system takes no such attribute");
                }
                result => result?,
            }
        }
    }
    Ok(())
}

/// Copies what makes a file what it is, from a layer below.
fn copy_attributes(from: &fs::Metadata, to: &Path) -> io::Result<()> {
    let kind = if from.is_dir() {
        EntryType::Directory
    } else if from.is_symlink() {
        EntryType::Symlink
    } else {
        EntryType::Regular
    };
    let attributes =
        Attributes { mode: from.mode() & 0o7777, uid: from.uid(), gid: from.gid(), mtime: from.mtime() };
    set_attributes(to, &attributes, kind)
}

/// Whether overlay hides what lies below this directory.
fn is_opaque(dir: &Path) -> bool {
    let mut value = [0; 1];
    rustix::fs::lgetxattr(dir, OPAQUE, &mut value).is_ok() && value == *b"y"
}

#[cfg(test)]
mod tests;
