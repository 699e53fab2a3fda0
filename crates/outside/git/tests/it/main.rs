//! Repositories as a person has them: made by libgit2, served by Git's own HTTP backend, changed while watched.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod files;
mod local;
mod remote;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use git::{Config, Mapping, PlainHttp, Repositories};
use tree::{Tree, TreePath};

/// A repository in a temporary directory.
struct Sample {
    directory: tempfile::TempDir,
    repository: git2::Repository,
}

impl Sample {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = git2::RepositoryInitOptions::new();
        options.initial_head("main");
        let repository = git2::Repository::init_opts(directory.path(), &options).unwrap();
        Self { directory, repository }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    fn write(&self, path: &str, content: &str) {
        write(self.directory.path(), path, content);
    }

    fn commit(&self, message: &str) -> String {
        let mut index = self.repository.index().unwrap();
        index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
        index.update_all(["*"], None).unwrap();
        index.write().unwrap();
        let tree = self.repository.find_tree(index.write_tree().unwrap()).unwrap();
        let author = git2::Signature::now("A Person", "person@example.org").unwrap();
        let parent = self.repository.head().ok().map(|head| head.peel_to_commit().unwrap());
        let parents: Vec<_> = parent.iter().collect();
        let commit =
            self.repository.commit(Some("HEAD"), &author, &author, message, &tree, &parents).unwrap();
        commit.to_string()
    }

    fn tag(&self, name: &str) {
        let head = self.repository.head().unwrap().peel_to_commit().unwrap();
        self.repository.tag_lightweight(name, head.as_object(), true).unwrap();
    }
}

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn read(tree: &Arc<dyn Tree>, path: &str) -> Option<String> {
    let content = tree.read(&TreePath::parse(path).unwrap()).unwrap()?;
    Some(String::from_utf8(content.to_vec()).unwrap())
}

fn names(tree: &Arc<dyn Tree>, path: &str) -> Vec<String> {
    let entries = tree.list(&TreePath::parse(path).unwrap()).unwrap().unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

const URL: &str = "https://example.org/Team/Platform.git";

fn mapped(path: &Path, revision: Option<&str>) -> (Repositories, tempfile::TempDir) {
    let cache = tempfile::tempdir().unwrap();
    let mapping =
        Mapping { url: URL.to_owned(), path: path.to_owned(), revision: revision.map(str::to_owned) };
    let config = Config { mappings: vec![mapping], ..Config::new(cache.path()) };
    (Repositories::new(config).unwrap(), cache)
}

/// Fetches by plain http from this machine, polls often, gives up soon.
fn remote() -> (Repositories, tempfile::TempDir) {
    let cache = tempfile::tempdir().unwrap();
    let config = Config {
        polling_period: Duration::from_millis(100),
        stall_deadline: Duration::from_secs(5),
        fetch_deadline: Duration::from_secs(20),
        plain_http: PlainHttp::Loopback,
        ..Config::new(cache.path())
    };
    (Repositories::new(config).unwrap(), cache)
}
