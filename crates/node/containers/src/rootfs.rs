//! The container's file system before its process exists: overlay, resolved binds, files read and made inside it.
//!
//! Everything inside the root is reached through `openat2` with `RESOLVE_IN_ROOT`, so that symlinks of a hostile image
//! stay inside.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{MountFlags, MountPropagationFlags};

use crate::layout::Layout;
use crate::sys;

/// Files of an image that are read whole: `/etc/passwd` and `/etc/group`.
const FILE_LIMIT: u64 = 1 << 20;

/// Goes into a mount namespace of its own, where mounts of the host still arrive but nothing leaves.
pub(crate) fn enter_private_mounts() -> io::Result<()> {
    sys::unshare_mounts()?;
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM)?;
    Ok(())
}

/// Mounts the layers beneath a writable one at [`Layout::rootfs`].
///
/// Directories are named by descriptor: mount options end at one page, which forty long paths would fill.
pub(crate) fn mount_overlay(layout: &Layout, layers: &[PathBuf]) -> Result<(), String> {
    let open = |path: &Path| {
        open_dir(CWD, path, ResolveFlags::empty()).map_err(|e| format!("open {}: {e}", path.display()))
    };
    // The first layer of an image is the lowest, the first of the option is the highest.
    let lower: Vec<OwnedFd> = layers.iter().rev().map(|layer| open(layer)).collect::<Result<_, _>>()?;
    let (upper, work) = (open(&layout.upper())?, open(&layout.work())?);
    let by_fd = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let lower = lower.iter().map(by_fd).collect::<Vec<_>>().join(":");
    let options = format!("lowerdir={lower},upperdir={},workdir={}", by_fd(&upper), by_fd(&work));
    let mount = |options: &str| {
        let options = std::ffi::CString::new(options).expect("built from numbers");
        rustix::mount::mount("overlay", layout.rootfs(), "overlay", MountFlags::NODEV, &*options)
    };
    // Volatile: what a container writes dies with it, so unmounting need not flush the whole disk. Linux 5.10.
    match mount(&format!("{options},volatile")) {
        Err(rustix::io::Errno::INVAL) => mount(&options),
        result => result,
    }
    .map_err(|error| format!("mount overlay at {}: {error}", layout.rootfs().display()))
}

fn open_dir(at: impl AsFd, path: &Path, resolve: ResolveFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(at, path, flags, Mode::empty(), resolve)?)
}

/// A file of the container, empty when it is missing or no regular file.
pub(crate) fn read_inside(root: &Path, path: &str) -> io::Result<String> {
    let root = open_dir(CWD, root, ResolveFlags::empty())?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Opens a directory beneath a root, making what is missing on the way.
pub(crate) fn make_dir_inside(root: &Path, path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let root = open_dir(CWD, root, ResolveFlags::empty())?;
    let mut walked = PathBuf::from(".");
    let mut last = open_dir(&root, &walked, ResolveFlags::IN_ROOT)?;
    for component in path.components() {
        let name = match component {
            Component::Normal(name) => name,
            Component::CurDir | Component::RootDir => continue,
            Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        walked.push(name);
        last = match open_dir(&root, &walked, ResolveFlags::IN_ROOT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match rustix::fs::mkdirat(&last, name, Mode::from_raw_mode(mode)) {
                    Err(rustix::io::Errno::EXIST) => {
                        return Err(io::Error::other("it is a link that leads nowhere inside"));
                    }
                    result => result?,
                }
                open_dir(&root, &walked, ResolveFlags::IN_ROOT)?
            }
            result => result?,
        };
    }
    Ok(last)
}

/// A mount point that shows what `sub_path` beneath `source` is now; a directory is made if there is nothing.
pub(crate) fn bind_sub_path(
    layout: &Layout,
    index: usize,
    source: &Path,
    sub_path: &Path,
) -> io::Result<PathBuf> {
    if sub_path.is_absolute() || sub_path.components().any(|c| c == Component::ParentDir) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let root = open_dir(CWD, source, ResolveFlags::empty())?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = match rustix::fs::openat2(&root, sub_path, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Err(rustix::io::Errno::NOENT) => make_dir_inside(source, sub_path, 0o755)?,
        result => result?,
    };
    let target = layout.binds().join(index.to_string());
    if File::from(found.try_clone()?).metadata()?.is_dir() {
        fs::create_dir_all(&target)?;
    } else {
        fs::create_dir_all(layout.binds())?;
        File::create(&target)?;
    }
    rustix::mount::mount_bind_recursive(format!("/proc/self/fd/{}", found.as_raw_fd()), &target)?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symlinks_stay_inside() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("passwd"), "outside").unwrap();
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("real")).unwrap();
        fs::write(root.path().join("real/passwd"), "inside").unwrap();
        std::os::unix::fs::symlink("/real", root.path().join("etc")).unwrap();
        assert_eq!(read_inside(root.path(), "etc/passwd").unwrap(), "inside");
        std::os::unix::fs::symlink(outside.path(), root.path().join("out")).unwrap();
        assert_eq!(read_inside(root.path(), "out/passwd").unwrap(), "");

        make_dir_inside(root.path(), Path::new("/etc/a/b"), 0o755).unwrap();
        assert!(root.path().join("real/a/b").is_dir());
        assert!(make_dir_inside(root.path(), Path::new("/out/a"), 0o755).is_err());
        assert!(!outside.path().join("a").exists());
        assert!(make_dir_inside(root.path(), Path::new("../x"), 0o755).is_err());
    }
}
