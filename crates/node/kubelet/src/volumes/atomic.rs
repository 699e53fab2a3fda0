//! Files that change all at once: readers go through a symlink (`..data`) that is replaced in one rename.
//!
//! Layout, as the kubelet's writer leaves it: `key -> ..data/key`, `..data -> ..<version>`, `..<version>/key`.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::VolumeError;
use super::payload::Files;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// Makes `dir` show exactly `files`. `group` is the Pod's fsGroup.
pub(super) fn write(dir: &Path, files: &Files, group: Option<u32>) -> Result<(), VolumeError> {
    fs::create_dir_all(dir).map_err(VolumeError::file("create", dir))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(VolumeError::file("open up", dir))?;
    if let Some(group) = group {
        chown(dir, None, Some(group)).map_err(VolumeError::file("give to the Pod's group", dir))?;
    }
    let version = version(files, group);
    let current = fs::read_link(dir.join(DATA)).ok();
    if current.as_deref() != Some(Path::new(&version)) {
        let new = dir.join(&version);
        remove(&new)?;
        fill(&new, files, group)?;
        swap(dir, &version)?;
    }
    link(dir, files)?;
    sweep(dir, &version, files)
}

/// A name that follows from the content: the same content is never written again.
fn version(files: &Files, group: Option<u32>) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{group:?}"));
    for (path, file) in files {
        hash.update(format!(
            "{}:{path}:{:o}:{:?}:{}:",
            path.len(),
            file.mode,
            file.owner,
            file.content.len()
        ));
        hash.update(&file.content);
    }
    let digest = hash.finalize();
    let hex: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("..{hex}")
}

fn fill(dir: &Path, files: &Files, group: Option<u32>) -> Result<(), VolumeError> {
    make_dir(dir, group)?;
    for (path, file) in files {
        let target = dir.join(path);
        let mut parent = dir.to_owned();
        for part in Path::new(path).parent().into_iter().flat_map(Path::components) {
            parent.push(part);
            make_dir(&parent, group)?;
        }
        let mode = if group.is_some() { file.mode | 0o440 } else { file.mode };
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut out = options.open(&target).map_err(VolumeError::file("create", &target))?;
        out.write_all(&file.content).map_err(VolumeError::file("write", &target))?;
        if file.owner.is_some() || group.is_some() {
            chown(&target, file.owner, group).map_err(VolumeError::file("change the owner of", &target))?;
        }
        out.set_permissions(fs::Permissions::from_mode(mode))
            .map_err(VolumeError::file("set the mode of", &target))?;
    }
    Ok(())
}

fn make_dir(dir: &Path, group: Option<u32>) -> Result<(), VolumeError> {
    match fs::create_dir(dir) {
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        result => result.map_err(VolumeError::file("create", dir))?,
    }
    if let Some(group) = group {
        chown(dir, None, Some(group)).map_err(VolumeError::file("give to the Pod's group", dir))?;
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(VolumeError::file("open up", dir))
}

fn swap(dir: &Path, version: &str) -> Result<(), VolumeError> {
    let new = dir.join(NEW_DATA);
    remove(&new)?;
    symlink(version, &new).map_err(VolumeError::file("link", &new))?;
    fs::rename(&new, dir.join(DATA)).map_err(VolumeError::file("swap", &new))
}

/// The first component of every path gets a link of its own.
fn link(dir: &Path, files: &Files) -> Result<(), VolumeError> {
    for first in firsts(files) {
        let target = Path::new(DATA).join(first);
        let link = dir.join(first);
        if fs::read_link(&link).ok().as_deref() != Some(&target) {
            remove(&link)?;
            symlink(&target, &link).map_err(VolumeError::file("link", &link))?;
        }
    }
    Ok(())
}

fn firsts(files: &Files) -> impl Iterator<Item = &str> {
    files.keys().filter_map(|path| path.split('/').next())
}

/// Removes old versions and links to what is gone.
fn sweep(dir: &Path, version: &str, files: &Files) -> Result<(), VolumeError> {
    let keep: std::collections::BTreeSet<&str> = firsts(files).chain([DATA, version]).collect();
    for entry in fs::read_dir(dir).map_err(VolumeError::file("list", dir))? {
        let entry = entry.map_err(VolumeError::file("list", dir))?;
        if !entry.file_name().to_str().is_some_and(|name| keep.contains(name)) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes whatever is there, a symlink itself and not what it points to.
fn remove(path: &PathBuf) -> Result<(), VolumeError> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(meta) => {
            debug_assert!(meta.nlink() > 0);
            fs::remove_file(path)
        }
    };
    removed.map_err(VolumeError::file("remove", path))
}

#[cfg(test)]
mod tests {
    use super::super::payload::File;
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Files {
        let file = |text: &str| File { content: text.as_bytes().to_vec(), mode: 0o640, owner: None };
        pairs.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect()
    }

    fn read(dir: &Path, path: &str) -> Option<String> {
        fs::read_to_string(dir.join(path)).ok()
    }

    #[test]
    fn shows_exactly_what_was_written_last() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("v");
        write(&dir, &files(&[("a", "1"), ("sub/dir/b", "2")]), None).unwrap();
        assert_eq!(read(&dir, "a").as_deref(), Some("1"));
        assert_eq!(read(&dir, "sub/dir/b").as_deref(), Some("2"));
        assert_eq!(fs::metadata(dir.join("a")).unwrap().permissions().mode() & 0o777, 0o640);

        write(&dir, &files(&[("a", "3")]), None).unwrap();
        assert_eq!((read(&dir, "a").as_deref(), read(&dir, "sub/dir/b")), (Some("3"), None));
        let mut names: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 3, "one version, ..data and one link: {names:?}");
    }

    #[test]
    fn a_reader_never_sees_a_mixture_and_the_same_content_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("v");
        write(&dir, &files(&[("a", "1"), ("b", "1")]), None).unwrap();
        let version = fs::read_link(dir.join(DATA)).unwrap();
        let opened = fs::File::open(dir.join(&version)).unwrap();
        write(&dir, &files(&[("a", "1"), ("b", "1")]), None).unwrap();
        assert_eq!(fs::read_link(dir.join(DATA)).unwrap(), version);
        assert_eq!(opened.metadata().unwrap().ino(), fs::metadata(dir.join(&version)).unwrap().ino());
    }

    #[test]
    fn an_interrupted_write_is_made_good() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("v");
        let wanted = files(&[("a", "1")]);
        let half = dir.join(version(&wanted, None));
        fs::create_dir_all(&half).unwrap();
        fs::write(half.join("a"), "half").unwrap();
        symlink("nowhere", dir.join(NEW_DATA)).unwrap();
        write(&dir, &wanted, None).unwrap();
        assert_eq!(read(&dir, "a").as_deref(), Some("1"));
    }
}
