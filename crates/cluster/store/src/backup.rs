//! A store as one file, and back.
//!
//! The file is a snapshot as the store itself keeps it: frames with checksums, and an end that counts them.

use std::path::Path;
use std::sync::Arc;

use crate::contents::Contents;
use crate::directory::{Folder, Refused};
use crate::recovery::{Files, load, read_snapshot};
use crate::{Error, Revision, failed, log};

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// The revision of which it is.
    pub revision: Revision,
    pub objects: u64,
}

/// Tries to read the files of a store that replaces them meanwhile.
const TRIES: usize = 5;

fn split(path: &Path) -> Result<(Folder, String), Error> {
    let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let name = name.ok_or_else(|| failed("name the backup", std::io::ErrorKind::InvalidInput.into()))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((Folder::beside(parent), name))
}

/// Writes what the store in `directory` holds to the file at `to` (mode 0600), as of one revision. The store may be open,
/// in this process or another: everything acknowledged before the call is in the backup.
///
/// # Errors
/// [`Error::Empty`] if there is no store, [`Error::Corrupt`], [`Error::Format`] and [`Error::Disk`].
pub fn backup(directory: &Path, to: &Path) -> Result<Backup, Error> {
    let folder = Folder::beside(directory);
    let mut tries = 0;
    let found = loop {
        tries += 1;
        match load(&folder) {
            // A snapshot was finished while this read, and the files before it went.
            Err(Error::Disk { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound && tries < TRIES => {}
            Err(Error::Corrupt { .. }) if tries < TRIES => {}
            other => break other?,
        }
    };
    if found.number == 0 {
        return Err(Error::Empty { path: directory.to_owned() });
    }
    let (target, name) = split(to)?;
    log::write_snapshot(&target, &name, &found.contents)
        .map_err(|source| failed("write the backup", source))?;
    Ok(Backup { revision: found.contents.revision, objects: found.contents.count() })
}

/// Checks a backup and makes a store of it in `directory`, which must not hold one.
///
/// # Errors
/// [`Error::Occupied`] and [`Error::InUse`], [`Error::Corrupt`] if the backup is not whole, [`Error::Format`],
/// [`Error::Disk`].
pub fn restore(from: &Path, directory: &Path) -> Result<Backup, Error> {
    let (source, name) = split(from)?;
    let file = crate::Directory::open(&source, &name).map_err(|source| failed("open the backup", source))?;
    let mut contents = Contents::default();
    read_snapshot(&name, file, &mut contents)?;
    let folder = Folder::lock(directory).map_err(|refused| match refused {
        Refused::InUse => Error::InUse,
        Refused::Failed(source) => failed("open the store's directory", source),
    })?;
    let folder: Arc<dyn crate::Directory> = Arc::new(folder);
    let old = directory.join(crate::migrate::FILE).exists();
    if old || !Files::list(&*folder)?.is_empty() {
        return Err(Error::Occupied { path: directory.to_owned() });
    }
    log::found(&*folder, &contents).map_err(|source| failed("write the restored store", source))?;
    Ok(Backup { revision: contents.revision, objects: contents.count() })
}
