//! The door to the disk: a directory of files, as far as the store needs one. Tests open theirs, which fails on purpose.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A directory of which the store is the only user.
pub trait Directory: fmt::Debug + Send + Sync + 'static {
    /// The names of all files.
    ///
    /// # Errors
    /// The disk's, here and below.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Opens a file that is there.
    ///
    /// # Errors
    /// `NotFound` if it is not.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Opens an empty file, emptying what had the name.
    ///
    /// # Errors
    /// The disk's.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// The disk's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// # Errors
    /// The disk's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names durable: creations, renamings and removals.
    ///
    /// # Errors
    /// The disk's. What is durable then is unknown.
    fn sync(&self) -> io::Result<()>;
}

/// An open file.
pub trait File: fmt::Debug + Send {
    /// # Errors
    /// The disk's.
    fn length(&self) -> io::Result<u64>;

    /// Reads up to the length of `out` from `offset`; fewer bytes only at the end of the file.
    ///
    /// # Errors
    /// The disk's.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// The disk's. A part may have been written.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// # Errors
    /// The disk's.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Makes content and length durable.
    ///
    /// # Errors
    /// The disk's. What is durable then is unknown, and a second try tells nothing.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Held for as long as the store is open; `None` for a reader beside it.
    lock: Option<fs::File>,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is just being started has it too, until it runs its program.
        if let Some(Err(error)) = self.lock.as_ref().map(fs::File::unlock) {
            tracing::warn!(error = %error, "could not unlock the store's directory");
        }
    }
}

/// Why a directory could not be had.
#[derive(Debug)]
pub(crate) enum Refused {
    InUse,
    Failed(io::Error),
}

impl Folder {
    /// Creates the directory (mode 0700) if needed and locks it.
    pub(crate) fn lock(path: &Path) -> Result<Folder, Refused> {
        let lock = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            options().create(true).truncate(false).open(path.join("lock"))
        };
        let lock = lock().map_err(Refused::Failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Folder { path: path.to_owned(), lock: Some(lock) }),
            Err(fs::TryLockError::WouldBlock) => Err(Refused::InUse),
            Err(fs::TryLockError::Error(source)) => Err(Refused::Failed(source)),
        }
    }

    /// The directory for reading only, whoever has it open.
    pub(crate) fn beside(path: &Path) -> Folder {
        Folder { path: path.to_owned(), lock: None }
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

impl Directory for Folder {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is no text is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(options().open(self.path.join(name))?))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(options().create(true).truncate(true).open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }
}

impl File for fs::File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < out.len() {
            match self.read_at(&mut out[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(more) => done += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_all_at(data, offset)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
