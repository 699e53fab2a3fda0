//! A layer over those below it, as overlay would show them.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, XattrFlags};

use super::{copy_attributes, is_opaque, make_directory};

pub(super) const OPAQUE: &str = "trusted.overlay.opaque";
/// As the kernel's own limit.
const LINKS: usize = 40;

#[derive(Debug)]
pub(super) struct Stack<'a> {
    /// The layer being written.
    root: &'a Path,
    /// Base first.
    below: &'a [PathBuf],
}

pub(super) fn is_whiteout(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

impl<'a> Stack<'a> {
    pub(super) fn new(root: &'a Path, below: &'a [PathBuf]) -> Self {
        Self { root, below }
    }

    pub(super) fn root(&self) -> &Path {
        self.root
    }

    /// The real directory in this layer for a path of the image, links resolved inside the image, made where it is
    /// missing with the attributes that it has below.
    pub(super) fn make_parent(&self, parts: &[&[u8]]) -> io::Result<PathBuf> {
        let mut waiting: Vec<Vec<u8>> = parts.iter().rev().map(|part| part.to_vec()).collect();
        let mut walked: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(part) = waiting.pop() {
            if part == b".." {
                // Only links bring these. What has been walked are real directories; above the root is the root.
                walked.pop();
                continue;
            }
            walked.push(part);
            let relative = join(&walked);
            let here = self.root.join(&relative);
            match fs::symlink_metadata(&here) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(metadata) if metadata.is_symlink() => {
                    links += 1;
                    follow(&fs::read_link(&here)?, &mut walked, &mut waiting, links)?;
                }
                Ok(metadata) if is_whiteout(&metadata) => {
                    // Something new beneath what this layer removed: a new directory that hides the old.
                    fs::remove_file(&here)?;
                    make_default(&here)?;
                    self.mark_opaque(&here)?;
                }
                Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => match self.find_below(&relative) {
                    Some((path, metadata)) if metadata.is_symlink() => {
                        links += 1;
                        follow(&fs::read_link(path)?, &mut walked, &mut waiting, links)?;
                    }
                    Some((_, metadata)) if metadata.is_dir() => {
                        make_directory(&here)?;
                        copy_attributes(&metadata, &here)?;
                    }
                    Some(_) => return Err(io::ErrorKind::NotADirectory.into()),
                    None => make_default(&here)?,
                },
                Err(error) => return Err(error),
            }
        }
        Ok(self.root.join(join(&walked)))
    }

    /// What the layers below show at a path whose parents are no links.
    fn find_below(&self, relative: &Path) -> Option<(PathBuf, Metadata)> {
        // This layer's own opaque directories hide everything below them.
        let hidden = relative.ancestors().skip(1).any(|dir| is_opaque(&self.root.join(dir)));
        if hidden {
            return None;
        }
        for layer in self.below.iter().rev() {
            let mut path = layer.clone();
            let mut opaque = false;
            let mut components = relative.components().peekable();
            while let Some(component) = components.next() {
                opaque |= is_opaque(&path);
                path.push(component);
                match fs::symlink_metadata(&path) {
                    Ok(metadata) if is_whiteout(&metadata) => return None,
                    Ok(metadata) if components.peek().is_none() => return Some((path, metadata)),
                    Ok(metadata) if metadata.is_dir() => {}
                    // A file here hides a directory further below.
                    Ok(_) => return None,
                    Err(_) => break,
                }
            }
            if opaque {
                return None;
            }
        }
        None
    }

    /// Makes room for a new entry; a directory stays if the new entry is one, too. True when the new entry is a directory in
    /// place of something removed, so that what is below must stay hidden.
    pub(super) fn clear(&self, target: &Path, for_directory: bool) -> io::Result<bool> {
        let metadata = match fs::symlink_metadata(target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            result => result?,
        };
        if metadata.is_dir() {
            if for_directory {
                return Ok(false);
            }
            fs::remove_dir_all(target)?;
            return Ok(false);
        }
        fs::remove_file(target)?;
        Ok(for_directory && is_whiteout(&metadata))
    }

    /// Hides what the layers below have under this name.
    pub(super) fn whiteout(&self, parent: &Path, name: &[u8]) -> io::Result<()> {
        let target = parent.join(OsStr::from_bytes(name));
        match fs::symlink_metadata(&target) {
            // Only what is below is meant; what this layer itself brings stays.
            Ok(metadata) if metadata.is_dir() => self.mark_opaque(&target),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(rustix::fs::mknodat(CWD, &target, FileType::CharacterDevice, Mode::empty(), 0)?)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn mark_opaque(&self, dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::lsetxattr(dir, OPAQUE, b"y", XattrFlags::empty())?)
    }

    /// Brings a file of a layer below into this one, at the same path.
    pub(super) fn copy_up(&self, path: &Path) -> io::Result<()> {
        let relative = path.strip_prefix(self.root).map_err(|_| io::ErrorKind::InvalidInput)?;
        let (source, metadata) = self.find_below(relative).ok_or(io::ErrorKind::NotFound)?;
        if metadata.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(source)?, path)?;
        } else if metadata.is_file() {
            fs::copy(source, path)?;
        } else {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        copy_attributes(&metadata, path)
    }
}

/// A directory that no layer mentions, as tools make it: root's, for all to read.
fn make_default(path: &Path) -> io::Result<()> {
    make_directory(path)?;
    Ok(rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(0o755), rustix::fs::AtFlags::empty())?)
}

fn join(parts: &[Vec<u8>]) -> PathBuf {
    parts.iter().map(|part| OsStr::from_bytes(part)).collect()
}

/// Replaces the link that was just walked onto by its target, relative to its directory or the image's root.
fn follow(
    target: &Path,
    walked: &mut Vec<Vec<u8>>,
    waiting: &mut Vec<Vec<u8>>,
    links: usize,
) -> io::Result<()> {
    if links > LINKS {
        return Err(rustix::io::Errno::LOOP.into());
    }
    walked.pop();
    for component in target.components().rev() {
        match component {
            Component::Normal(name) => waiting.push(name.as_bytes().to_vec()),
            Component::ParentDir => waiting.push(b"..".to_vec()),
            _ => {}
        }
    }
    if target.is_absolute() {
        walked.clear();
    }
    Ok(())
}
