//! The shared data beside the checkout.

use std::path::{Path, PathBuf};

use tree::{MemoryTree, TreePath};

/// `../shared` seen from the root of the workspace.
pub(crate) fn path(below: &str) -> PathBuf {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = crate_root
        .ancestors()
        .find(|directory| directory.join("Cargo.lock").exists())
        .expect("the crate lies in a workspace");
    root.parent().expect("the workspace lies in a directory").join("shared").join(below)
}

pub(crate) fn text(below: &str) -> String {
    std::fs::read_to_string(path(below)).unwrap_or_else(|error| panic!("read shared/{below}: {error}"))
}

/// Everything below a directory, as a tree.
pub(crate) fn tree(directory: &Path) -> MemoryTree {
    let mut tree = MemoryTree::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(current) = pending.pop() {
        for entry in std::fs::read_dir(&current).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().to_str().unwrap();
                // A link may lead nowhere; then there is no such file.
                let Ok(data) = std::fs::read(&path) else { continue };
                tree.insert(TreePath::parse(name).unwrap(), data);
            }
        }
    }
    tree
}

/// The text of a release's manifest, as Helm stores it.
pub(crate) fn manifest(manifests: &[helm::Manifest]) -> String {
    manifests.iter().map(|one| format!("---\n# Source: {}\n{}\n", one.source, one.text)).collect()
}

/// Where two texts part, for a person to read.
pub(crate) fn difference(expected: &str, found: &str) -> String {
    let (mut left, mut right) = (expected.lines(), found.lines());
    let mut source = "";
    for line in 1.. {
        match (left.next(), right.next()) {
            (None, None) => break,
            (a, b) if a == b => {
                if let Some(name) = a.and_then(|a| a.strip_prefix("# Source: ")) {
                    source = name;
                }
            }
            (a, b) => return format!("{source} line {line}\n    expected {a:?}\n    found    {b:?}"),
        }
    }
    "differs only in line ends".to_owned()
}
