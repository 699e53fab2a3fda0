//! Network namespaces that outlive their maker: bind mounts of nsfs on files under the data directory.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use tokio::sync::oneshot;

use crate::Error;

/// The calling thread's namespace; `/proc/self` would be the process's first thread.
pub(crate) const CURRENT: &str = "/proc/thread-self/ns/net";

/// A namespace that is mounted at a path.
#[derive(Debug, Clone)]
pub(crate) struct Namespace {
    path: PathBuf,
    file: Arc<File>,
}

impl Namespace {
    /// The namespace mounted at `path`; `None` when nothing is (never made, or the machine was restarted).
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, Error> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed("open network namespace", path, source)),
        };
        let stat = nix::sys::statfs::fstatfs(&file)
            .map_err(|errno| failed("inspect network namespace", path, errno.into()))?;
        let is_namespace = stat.filesystem_type() == nix::sys::statfs::NSFS_MAGIC;
        Ok(is_namespace.then(|| Self { path: path.to_owned(), file: Arc::new(file) }))
    }

    /// Makes a new namespace, runs `prepare` inside, and mounts it at `path`, over whatever was mounted there.
    pub(crate) async fn create(
        path: &Path,
        prepare: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<Self, Error> {
        unmount(path)?;
        let owned = path.to_owned();
        on_thread(move || {
            let path = owned.as_path();
            File::create(path).map_err(|source| failed("create mount point", path, source))?;
            nix::sched::unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|errno| failed("create network namespace", path, errno.into()))?;
            prepare()?;
            nix::mount::mount(Some(CURRENT), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .map_err(|errno| failed("mount network namespace", path, errno.into()))
        })
        .await?;
        Self::open(path)?
            .ok_or_else(|| failed("open network namespace", path, io::ErrorKind::NotFound.into()))
    }

    /// Runs `work` on a thread of its own inside the namespace. Sockets and files of `/proc/sys/net` opened there
    /// belong to the namespace for good.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let namespace = self.clone();
        on_thread(move || {
            nix::sched::setns(namespace.file.as_fd(), CloneFlags::CLONE_NEWNET)
                .map_err(|errno| failed("enter network namespace", &namespace.path, errno.into()))?;
            work()
        })
        .await
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Takes the namespace off `path` and removes the file. A process inside keeps the namespace alive, without a name.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    unmount(path)?;
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove mount point", path, source))
        }
        _ => Ok(()),
    }
}

/// Namespaces may be stacked on one file when two makers were killed at the same place.
fn unmount(path: &Path) -> Result<(), Error> {
    while let Some(namespace) = Namespace::open(path)? {
        drop(namespace);
        nix::mount::umount2(path, MntFlags::MNT_DETACH)
            .map_err(|errno| failed("unmount network namespace", path, errno.into()))?;
    }
    Ok(())
}

/// A thread that changed its namespace must not serve anybody else, so each piece of work gets one and ends it.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("netns".to_owned())
        .spawn(move || {
            // The receiver is gone only when the caller was cancelled, and then nobody wants the result.
            let _ = sender.send(work());
        })
        .map_err(|source| Error::Thread { source })?;
    receiver.await.map_err(|_| Error::Thread { source: io::Error::other("the thread panicked") })?
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { action, path: path.to_owned(), source }
}
