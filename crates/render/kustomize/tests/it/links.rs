//! Symbolic links, compared with what kubectl 1.34 makes of the same directories.

use std::os::unix::fs::symlink;
use std::path::Path;

use kustomize::{Options, build, to_yaml};

use crate::disk::Disk;

fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n")
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("the disk takes it");
    std::fs::write(path, text).expect("the disk takes it");
}

fn built(root: &Path, path: &str) -> Result<String, String> {
    build(&Disk(root.to_owned()), path, &Options::default()).map(|objects| to_yaml(&objects)).map_err(
        |error| {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            text
        },
    )
}

fn repository() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("the disk takes it");
    let root = directory.path();
    write(root, "base/kustomization.yaml", "resources: [b.yaml]\n");
    write(root, "base/b.yaml", &map("base"));
    write(root, "lib/one/kustomization.yaml", "resources: [../two]\n");
    write(root, "lib/two/kustomization.yaml", "resources: [t.yaml]\n");
    write(root, "lib/two/t.yaml", &map("two"));
    write(root, "app/own.yaml", &map("own"));
    for (target, link) in [
        ("../base", "app/linked"),
        ("../lib/one", "app/one"),
        ("../base/b.yaml", "app/elsewhere.yaml"),
        ("own.yaml", "app/alias.yaml"),
        ("/etc", "app/etc"),
        ("app", "also-app"),
    ] {
        symlink(target, root.join(link)).expect("the disk takes it");
    }
    directory
}

#[test]
fn a_directory_behind_a_link_is_where_it_really_lies() {
    let repository = repository();
    let root = repository.path();
    for (resource, expected) in [("linked", "base"), ("one", "two"), ("alias.yaml", "own")] {
        write(root, "app/kustomization.yaml", &format!("resources: [{resource}]\n"));
        assert_eq!(built(root, "app").expect("the disk takes it"), map(expected), "{resource}");
        assert_eq!(built(root, "also-app").expect("the disk takes it"), map(expected), "{resource}");
    }
}

#[test]
fn links_out_of_the_kustomization_are_refused() {
    let repository = repository();
    let root = repository.path();
    for (file, wanted) in [
        ("resources: [elsewhere.yaml]", "security; file '/app/elsewhere.yaml' is not in or below '/app'"),
        ("resources: [linked/b.yaml]", "security; file '/app/linked/b.yaml' is not in or below '/app'"),
        ("configMapGenerator: [{name: a, files: [elsewhere.yaml]}]", "is not in or below '/app'"),
        ("resources: [../also-app]", "cycle detected: candidate root '/app' contains visited root '/app'"),
        ("resources: [etc/passwd]", "symbolic link leaves the repository"),
    ] {
        write(root, "app/kustomization.yaml", file);
        let text = built(root, "app").unwrap_err();
        assert!(text.contains(wanted), "{file}: {text}");
    }
    std::fs::create_dir(root.join("deep")).expect("the disk takes it");
    symlink("../base/kustomization.yaml", root.join("deep/kustomization.yaml")).expect("the disk takes it");
    assert!(built(root, "deep").unwrap_err().contains("unable to find one of"));
}
