//! Where things lie in a container's directory, and how they are written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The directory of one container (mode 0700).
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    dir: PathBuf,
}

impl Layout {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// [`Request`](crate::monitor::Request), written before the monitor is started.
    pub(crate) fn request(&self) -> PathBuf {
        self.dir.join("request.json")
    }

    /// [`Process`](crate::process::Process), for exec.
    pub(crate) fn process(&self) -> PathBuf {
        self.dir.join("process.json")
    }

    /// [`Record`](crate::monitor::Record): absent until the process runs.
    pub(crate) fn status(&self) -> PathBuf {
        self.dir.join("status.json")
    }

    /// Locked by the monitor for as long as it lives.
    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// What the monitor says on stderr: panics, nothing else.
    pub(crate) fn monitor_log(&self) -> PathBuf {
        self.dir.join("monitor.log")
    }

    /// The socket of those who attach, for a container that has an input or a terminal.
    pub(crate) fn attach(&self) -> PathBuf {
        self.dir.join("attach")
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// Where the overlay is mounted, in the set-up process's own mount namespace.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Mount points for resolved sub-paths.
    pub(crate) fn binds(&self) -> PathBuf {
        self.dir.join("binds")
    }

    /// `config.json` of the runtime specification, and libcontainer's own files beneath it.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.dir.join("oci")
    }

    pub(crate) fn termination_message(&self) -> PathBuf {
        self.dir.join("termination-message")
    }
}

/// Calls with a short name of a path: the address of a socket has room for some hundred bytes only.
pub(crate) fn with_short_name<T>(path: &Path, call: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let dir = File::open(dir)?;
    call(&Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Whole or absent for other processes.
    Atomic,
    /// And on disk when the call returns.
    Synced,
}

pub(crate) fn write_json(path: &Path, value: &impl Serialize, durability: Durability) -> io::Result<()> {
    let bytes = serde_json::to_vec(value)?;
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&bytes)?;
    if durability == Durability::Synced {
        file.sync_data()?;
    }
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(dir) if durability == Durability::Synced => File::open(dir)?.sync_all(),
        _ => Ok(()),
    }
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}
