//! The data directory: where everything lies, and who holds it.
//!
//! It is 0700 and one process holds it at a time, by a lock that the kernel drops when the process ends, however
//! it ends. Nothing outside it is written, except what the node's network adds to the machine and removes again.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use crate::privilege::Caller;

/// The data directory used where none is named.
pub(crate) fn default_path(is_root: bool, home: Option<&Path>) -> Result<PathBuf> {
    if is_root {
        return Ok(PathBuf::from("/var/lib/mainstay"));
    }
    let home = home.context("HOME is not set; name a directory with --data-dir")?;
    Ok(home.join(".local/share/mainstay"))
}

/// An existing data directory, held by nobody or somebody else.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    path: PathBuf,
}

/// The right to change a data directory; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Held {
    _lock: Flock<File>,
}

impl DataDir {
    /// Creates the directory with mode 0700 if it is missing. It and the directories made on the way to it are the
    /// caller's, who could not reach their kubeconfig otherwise.
    pub(crate) fn create(path: &Path, caller: Option<Caller>) -> Result<Self> {
        let mut missing: Vec<&Path> = path
            .ancestors()
            .skip(1)
            .filter(|parent| !parent.as_os_str().is_empty() && !parent.exists())
            .collect();
        missing.reverse();
        for parent in missing {
            match fs::create_dir(parent) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error).with_context(|| format!("create {}", parent.display())),
            }
            if let Some(caller) = caller {
                caller.give(parent)?;
            }
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("create the data directory {}", path.display()))?;
        let data = Self::open(path)?;
        fs::set_permissions(&data.path, Permissions::from_mode(0o700))
            .with_context(|| format!("set the mode of {}", data.path.display()))?;
        if let Some(caller) = caller {
            caller.give(&data.path)?;
        }
        Ok(data)
    }

    /// # Errors
    /// If there is no such directory.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let path =
            fs::canonicalize(path).with_context(|| format!("open the data directory {}", path.display()))?;
        Ok(Self { path })
    }

    /// Takes the directory for this process.
    ///
    /// # Errors
    /// If another process holds it; the text names it.
    pub(crate) fn hold(&self) -> Result<Held> {
        let path = self.path.join("lock");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                lock.set_len(0).and_then(|()| lock.rewind()).context("clear the lock file")?;
                writeln!(lock, "{}", std::process::id()).context("write the lock file")?;
                Ok(Held { _lock: lock })
            }
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => match self.holder()? {
                Some(process) => bail!(
                    "{} is in use by process {process}; end it, or choose another --data-dir",
                    self.path.display()
                ),
                None => bail!("{} is in use by another process", self.path.display()),
            },
            Err((_, error)) => Err(error).with_context(|| format!("lock {}", path.display())),
        }
    }

    /// The process that holds the directory, if one does.
    pub(crate) fn holder(&self) -> Result<Option<i32>> {
        let path = self.path.join("lock");
        let file = match File::options().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("open {}", path.display())),
        };
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_free) => Ok(None),
            Err((mut file, _)) => {
                let mut text = String::new();
                file.read_to_string(&mut text).with_context(|| format!("read {}", path.display()))?;
                Ok(text.trim().parse().ok())
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A short name that differs for every data directory of a machine: it names what must be unique on it.
    pub(crate) fn id(&self) -> String {
        let digest = Sha256::digest(self.path.as_os_str().as_encoded_bytes());
        digest[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.path.join("pki")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.path.join("images")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.path.join("containers")
    }

    pub(crate) fn node(&self) -> PathBuf {
        self.path.join("node")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.path.join("volumes")
    }

    pub(crate) fn repositories(&self) -> PathBuf {
        self.path.join("repositories")
    }

    pub(crate) fn charts(&self) -> PathBuf {
        self.path.join("charts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_private_and_held_by_one() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDir::create(&parent.path().join("a/b"), None).unwrap();
        assert_eq!(fs::metadata(data.path()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(data.holder().unwrap(), None);

        let held = data.hold().unwrap();
        assert_eq!(data.holder().unwrap(), i32::try_from(std::process::id()).ok());
        let refused = data.hold().unwrap_err().to_string();
        assert!(refused.contains(&format!("in use by process {}", std::process::id())), "{refused}");
        drop(held);
        assert_eq!(data.holder().unwrap(), None);
        drop(data.hold().unwrap());
    }

    #[test]
    fn ids_differ_by_directory() {
        let parent = tempfile::tempdir().unwrap();
        let a = DataDir::create(&parent.path().join("a"), None).unwrap();
        let b = DataDir::create(&parent.path().join("b"), None).unwrap();
        assert_ne!(a.id(), b.id());
        assert_eq!(a.id(), DataDir::open(a.path()).unwrap().id());
    }

    #[test]
    fn the_way_to_the_kubeconfig_is_the_callers() {
        use std::os::unix::fs::MetadataExt as _;
        let parent = tempfile::tempdir().unwrap();
        let caller = Caller::from_sudo(Some("65534"), Some("65534"));
        let data = DataDir::create(&parent.path().join(".local/share/mainstay"), caller).unwrap();
        let owners: Vec<u32> =
            data.path().ancestors().take(4).map(|path| fs::metadata(path).unwrap().uid()).collect();
        assert_eq!(owners, [65534, 65534, 65534, 0], "this test needs root");
        let way = fs::metadata(parent.path().join(".local/share")).unwrap();
        assert_ne!(way.permissions().mode() & 0o005, 0, "what else lies there is not Mainstay's to hide");
    }
}
