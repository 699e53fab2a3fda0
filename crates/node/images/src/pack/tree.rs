//! The files of an image that is being packed, by their place in it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use crate::PackError;

/// So that a C library knows root, nobody, and how to resolve names.
const MINIMUM: [(&str, &str); 3] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
];
const DEPTH: usize = 128;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Directory {
        mode: u32,
    },
    /// `load`: whether the libraries that it needs are wanted, too.
    File {
        source: PathBuf,
        mode: u32,
        load: bool,
    },
    Text {
        text: &'static str,
    },
    Symlink {
        target: PathBuf,
    },
}

/// Keys have no slash in front; parents are always there.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
}

fn read_error(path: &Path) -> impl FnOnce(std::io::Error) -> PackError + use<> {
    let path = path.to_owned();
    move |source| PackError::Read { path, source }
}

impl Tree {
    /// In the order of paths, so that directories precede what is in them.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }

    /// Files of this machine whose libraries are wanted: place → source.
    pub(super) fn files(&self) -> Vec<(PathBuf, PathBuf)> {
        let files = self.nodes.iter().filter_map(|(path, node)| match node {
            Node::File { source, load: true, .. } => Some((Path::new("/").join(path), source.clone())),
            _ => None,
        });
        files.collect()
    }

    /// Whether there is something at a path, links of directories resolved.
    pub(super) fn contains(&self, path: &Path) -> bool {
        self.nodes.contains_key(&self.resolve_parent(path))
    }

    /// Whether a library of this name is in any directory that loaders search by themselves.
    pub(super) fn has_library(&self, name: &str) -> bool {
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let dirs = ["/lib", "/usr/lib", "/lib64", "/usr/lib64"].map(PathBuf::from);
        let triplets = ["/lib", "/usr/lib"].map(|dir| Path::new(dir).join(&triplet));
        dirs.iter().chain(&triplets).any(|dir| self.contains(&dir.join(name)))
    }

    pub(super) fn add(&mut self, source: &Path, target: &Path, load: bool) -> Result<(), PackError> {
        let metadata = fs::metadata(source).map_err(read_error(source))?;
        if metadata.is_dir() {
            self.add_directory(source, target, load)
        } else {
            self.add_file(source, target, metadata.permissions().mode() & 0o7777, load)
        }
    }

    pub(super) fn add_program(&mut self, source: &Path, target: &Path) -> Result<(), PackError> {
        self.add_file(source, target, 0o755, true)
    }

    /// A regular file, whatever links lead to it.
    pub(super) fn add_file(
        &mut self,
        source: &Path,
        target: &Path,
        mode: u32,
        load: bool,
    ) -> Result<(), PackError> {
        let source = fs::canonicalize(source).map_err(read_error(source))?;
        if !fs::metadata(&source).map_err(read_error(&source))?.is_file() {
            return Err(PackError::Invalid(format!("{} is no regular file", source.display())));
        }
        self.insert(target, Node::File { source, mode, load });
        Ok(())
    }

    /// Everything beneath a directory, links as links.
    pub(super) fn add_directory(
        &mut self,
        source: &Path,
        target: &Path,
        load: bool,
    ) -> Result<(), PackError> {
        let metadata = fs::metadata(source).map_err(read_error(source))?;
        if !metadata.is_dir() {
            return Err(PackError::Invalid(format!("{} is no directory", source.display())));
        }
        if target.components().count() > DEPTH {
            return Err(PackError::Invalid(format!("{} is nested too deeply", source.display())));
        }
        if target != Path::new("/") {
            self.insert(target, Node::Directory { mode: metadata.permissions().mode() & 0o7777 });
        }
        let entries = fs::read_dir(source).map_err(read_error(source))?;
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(read_error(source))?;
        let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
        paths.sort();
        for path in paths {
            let place = target.join(path.file_name().expect("an entry has a name"));
            let metadata = fs::symlink_metadata(&path).map_err(read_error(&path))?;
            if metadata.is_symlink() {
                let link = fs::read_link(&path).map_err(read_error(&path))?;
                self.insert(&place, Node::Symlink { target: link });
            } else if metadata.is_dir() {
                self.add_directory(&path, &place, load)?;
            } else if metadata.is_file() {
                self.insert(
                    &place,
                    Node::File { source: path, mode: metadata.permissions().mode() & 0o7777, load },
                );
            } else {
                tracing::debug!(path = %path.display(), "leaving out what is no file, directory or link");
            }
        }
        Ok(())
    }

    /// Adds what is missing of the files that nearly every program wants.
    pub(super) fn add_minimum(&mut self) {
        for (path, text) in MINIMUM {
            if !self.contains(&Path::new("/").join(path)) {
                self.insert(&Path::new("/").join(path), Node::Text { text });
            }
        }
        if !self.contains(Path::new("/tmp")) {
            self.insert(Path::new("/tmp"), Node::Directory { mode: 0o1777 });
        }
        if !self.contains(Path::new("/root")) {
            self.insert(Path::new("/root"), Node::Directory { mode: 0o700 });
        }
    }

    fn insert(&mut self, path: &Path, node: Node) {
        let key = self.resolve_parent(path);
        for parent in key.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
            self.nodes.entry(parent.to_owned()).or_insert(Node::Directory { mode: 0o755 });
        }
        // A directory that is there already keeps what it holds.
        if !(matches!(node, Node::Directory { .. })
            && matches!(self.nodes.get(&key), Some(Node::Directory { .. })))
        {
            self.nodes.insert(key, node);
        }
    }

    /// The key for a path, where links to directories in the tree (such as `/lib` → `usr/lib`) have been followed.
    fn resolve_parent(&self, path: &Path) -> PathBuf {
        let mut waiting: Vec<PathBuf> =
            path.components().rev().map(|part| PathBuf::from(part.as_os_str())).collect();
        let mut walked = PathBuf::new();
        let mut links = 0;
        while let Some(part) = waiting.pop() {
            match part.components().next() {
                Some(Component::Normal(name)) => walked.push(name),
                Some(Component::ParentDir) => {
                    walked.pop();
                    continue;
                }
                _ => continue,
            }
            if let (Some(Node::Symlink { target }), false) = (self.nodes.get(&walked), waiting.is_empty())
                && links < 40
            {
                links += 1;
                walked.pop();
                if target.is_absolute() {
                    walked.clear();
                }
                waiting.extend(target.components().rev().map(|part| PathBuf::from(part.as_os_str())));
            }
        }
        walked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_directories_are_followed() {
        let mut tree = Tree::default();
        tree.insert(Path::new("/usr/lib"), Node::Directory { mode: 0o755 });
        tree.insert(Path::new("/lib"), Node::Symlink { target: "usr/lib".into() });
        tree.insert(Path::new("/lib/x/libc.so.6"), Node::Text { text: "c" });
        assert!(tree.nodes.contains_key(Path::new("usr/lib/x/libc.so.6")));
        assert!(tree.contains(Path::new("/lib/x/libc.so.6")));
        assert!(matches!(tree.nodes[Path::new("lib")], Node::Symlink { .. }));
    }
}
