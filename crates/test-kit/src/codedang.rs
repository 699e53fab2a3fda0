//! The Codedang repository with its two branches, and those of its charts that are here.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::{FileServer, Repository, find_program, shared};

/// Where its Applications say it is.
pub const URL: &str = "https://github.com/skkuding/codedang";
/// The hosts of Helm repositories for which [`Codedang::charts`] answers.
pub const HOSTS: [&str; 2] = ["argoproj.github.io", "charts.jetstack.io"];
/// Path of the repository, chart, and the version that Codedang asks for.
const CHARTS: [(&str, &str, &str); 2] = [("argo-helm", "argo-cd", "9.4.2"), ("", "cert-manager", "v1.18.2")];

/// What Codedang comes up from.
#[derive(Debug)]
pub struct Codedang {
    /// The branches `main`, which is checked out, and `release`.
    pub repository: Repository,
    /// Helm repositories, each chart under the version that is asked for.
    pub charts: FileServer,
    _directory: TempDir,
}

impl Codedang {
    /// # Panics
    /// If `git` or `helm` is not installed or fails.
    #[must_use]
    pub fn new() -> Self {
        let repository = Repository::of(&shared("repos/codedang"));
        repository.git(&["checkout", "--quiet", "-b", "release"]);
        repository.git(&["rm", "--quiet", "-r", "."]);
        crate::repository::copy(&shared("repos/codedang-release"), repository.path());
        repository.commit("release");
        repository.git(&["checkout", "--quiet", "main"]);
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (path, chart, version) in CHARTS {
            let served = directory.path().join(path);
            std::fs::create_dir_all(&served).expect("a directory for the charts");
            let source = shared(&format!("charts/charts/{chart}"));
            helm(&served, &["package", &source.display().to_string(), "--version", version]);
            helm(&served, &["repo", "index", "."]);
        }
        let charts = FileServer::start(directory.path());
        Self { repository, charts, _directory: directory }
    }
}

impl Default for Codedang {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a chart is among those that are here.
#[must_use]
pub fn has_chart(name: &str) -> bool {
    CHARTS.iter().any(|(_, chart, _)| *chart == name)
}

fn helm(directory: &Path, arguments: &[&str]) {
    let output = Command::new(find_program("helm"))
        .current_dir(directory)
        .env_clear()
        .env("HOME", directory)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("start helm: {error}"));
    assert!(output.status.success(), "helm {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
