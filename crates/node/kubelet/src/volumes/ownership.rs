//! `fsGroup`: volumes a Pod can write although it does not run as root.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

use super::{VolumeError, blocking};
use crate::pod;

pub(super) fn fs_group(pod: &Pod) -> Option<u32> {
    pod::spec(pod).security_context.as_ref()?.fs_group.and_then(|group| u32::try_from(group).ok())
}

/// Lets every user write, as a fresh emptyDir does.
pub(super) fn open_to_all(dir: &Path) -> Result<(), VolumeError> {
    let mode = fs::metadata(dir).map_err(VolumeError::file("look at", dir))?.mode();
    if mode & 0o777 != 0o777 {
        let open = fs::Permissions::from_mode((mode & 0o7000) | 0o777);
        fs::set_permissions(dir, open).map_err(VolumeError::file("open up", dir))?;
    }
    Ok(())
}

/// The same for a new persistent volume; once something is in it, its mode is the owner's business.
pub(super) fn open_to_all_once(dir: &Path) -> Result<(), VolumeError> {
    let mut entries = fs::read_dir(dir).map_err(VolumeError::file("list", dir))?;
    if entries.next().is_none() { open_to_all(dir) } else { Ok(()) }
}

/// Gives the volume to the Pod's fsGroup, if it has one, as the kubelet's `SetVolumeOwnership` does: group read and write
/// on files, set-group-id on directories.
pub(super) async fn apply(pod: &Pod, dir: &Path) -> Result<(), VolumeError> {
    let Some(group) = fs_group(pod) else { return Ok(()) };
    let on_mismatch = pod::spec(pod)
        .security_context
        .as_ref()
        .and_then(|security| security.fs_group_change_policy.as_deref())
        == Some("OnRootMismatch");
    let dir = dir.to_owned();
    blocking(move || {
        let meta = fs::metadata(&dir).map_err(VolumeError::file("look at", &dir))?;
        if on_mismatch && meta.gid() == group && meta.mode() & 0o2770 == 0o2770 {
            return Ok(());
        }
        give(&dir, group).map_err(VolumeError::file("give to the Pod's group", &dir))
    })
    .await
}

/// Deeper trees are refused: a Pod that nests its directories further wants to exhaust the node.
const MAX_DEPTH: usize = 512;

/// Walks with descriptors and never by path: a container may swap directories for symlinks while this runs.
fn give(path: &Path, group: u32) -> io::Result<()> {
    give_file(&pin(path)?, group, 0)
}

/// Opens whatever the path names, itself and not what it points to, without reading it.
fn pin(path: &Path) -> io::Result<fs::File> {
    let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_NOFOLLOW;
    fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

fn give_file(file: &fs::File, group: u32, depth: usize) -> io::Result<()> {
    let meta = file.metadata()?;
    if !meta.is_dir() && !meta.is_file() {
        return Ok(());
    }
    if depth > MAX_DEPTH {
        return Err(io::Error::other("directories are nested too deeply"));
    }
    let pinned = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    chown(&pinned, None, Some(group))?;
    let wanted = if meta.is_dir() { meta.mode() | 0o2770 } else { meta.mode() | 0o660 };
    if wanted != meta.mode() {
        fs::set_permissions(&pinned, fs::Permissions::from_mode(wanted & 0o7777))?;
    }
    if meta.is_dir() {
        for entry in fs::read_dir(&pinned)? {
            match pin(&pinned.join(entry?.file_name())) {
                Ok(child) => give_file(&child, group, depth + 1)?,
                // Gone while we walked.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn gives_files_and_directories_and_leaves_what_symlinks_point_to() {
        let root = tempfile::tempdir().unwrap();
        let outside = root.path().join("outside");
        fs::write(&outside, "x").unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o600)).unwrap();
        let volume = root.path().join("volume");
        fs::create_dir_all(volume.join("sub")).unwrap();
        fs::write(volume.join("sub/file"), "x").unwrap();
        fs::set_permissions(volume.join("sub/file"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&outside, volume.join("sub/link")).unwrap();
        let group = fs::metadata(&volume).unwrap().gid();
        give(&volume, group).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&volume.join("sub/file")), 0o660);
        assert_eq!(mode(&volume.join("sub")) & 0o2770, 0o2770);
        assert_eq!(mode(&outside), 0o600, "a symlink is not followed");
    }
}
