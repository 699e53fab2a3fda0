//! A repository made by the real `helm`, and a cache of the test's own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use charts::{Charts, Config};
use tempfile::TempDir;
use test_kit::find_program;

/// Charts being made, and the directory that a server gives out.
pub(crate) struct World {
    pub(crate) directory: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["served", "sources", "helm"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self { directory }
    }

    pub(crate) fn served(&self) -> PathBuf {
        self.directory.path().join("served")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Writes a chart of one ConfigMap to `sources/NAME` and packs it into what is served.
    pub(crate) fn chart(&self, name: &str, version: &str) -> PathBuf {
        self.source(name, version, "");
        self.helm(&["package", &format!("sources/{name}"), "--destination", "served"]);
        self.served().join(format!("{name}-{version}.tgz"))
    }

    /// A chart's directory; `more` is the end of its `Chart.yaml`.
    pub(crate) fn source(&self, name: &str, version: &str, more: &str) {
        let metadata = format!("apiVersion: v2\nname: {name}\nversion: {version}\n{more}");
        self.write(&format!("sources/{name}/Chart.yaml"), &metadata);
        self.write(&format!("sources/{name}/values.yaml"), "key: value\n");
        let template = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Chart.Name }}\ndata:\n  version: {{ .Chart.Version | quote }}\n  key: {{ .Values.key | quote }}\n";
        self.write(&format!("sources/{name}/templates/map.yaml"), template);
    }

    /// Makes `index.yaml` of what is served.
    pub(crate) fn index(&self) {
        self.helm(&["repo", "index", "served"]);
    }

    /// Runs the real `helm` in this directory, with no configuration but the test's.
    pub(crate) fn helm(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "helm {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What `helm` says where it refuses.
    pub(crate) fn helm_refuses(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "helm {arguments:?} succeeds");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        text.trim().trim_start_matches("Error: ").to_owned()
    }

    fn run(&self, arguments: &[&str]) -> std::process::Output {
        let home = self.path("helm");
        Command::new(find_program("helm"))
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", &home)
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data"))
            .args(arguments)
            .output()
            .unwrap()
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new(self.path("cache"));
        config.deadlines.connect = Duration::from_secs(2);
        config.deadlines.idle = Duration::from_secs(2);
        config
    }

    pub(crate) fn charts(&self) -> Charts {
        Charts::new(self.config())
    }

    pub(crate) fn tree(&self) -> std::sync::Arc<dyn tree::Tree> {
        std::sync::Arc::new(Disk(self.directory.path().to_owned()))
    }
}

/// What `helm template` prints of a directory or archive, and what the given files make.
pub(crate) fn rendered(chart: &helm::Chart) -> String {
    let options = helm::Options { kube_version: "v1.34.0".to_owned(), ..helm::Options::default() };
    let rendered = helm::render(chart, &options).unwrap();
    let one = |manifest: &helm::Manifest| {
        format!("---\n# Source: {}\n{}\n", manifest.source, manifest.text.trim_end())
    };
    rendered.manifests.iter().map(one).collect()
}

/// The directory of a test as a tree.
struct Disk(PathBuf);

impl tree::Tree for Disk {
    fn read(&self, path: &tree::TreePath) -> Result<Option<bytes::Bytes>, tree::Error> {
        let full = self.0.join(path.as_str());
        Ok(if full.is_file() { std::fs::read(full).ok().map(Into::into) } else { None })
    }

    fn list(&self, path: &tree::TreePath) -> Result<Option<Vec<tree::Entry>>, tree::Error> {
        let Ok(entries) = std::fs::read_dir(self.0.join(path.as_str())) else { return Ok(None) };
        let kind = |path: &Path| {
            if path.is_dir() { tree::EntryKind::Directory } else { tree::EntryKind::File }
        };
        let mut found: Vec<tree::Entry> = entries
            .flatten()
            .map(|entry| tree::Entry {
                name: entry.file_name().to_string_lossy().into_owned(),
                kind: kind(&entry.path()),
            })
            .collect();
        found.sort();
        Ok(Some(found))
    }
}
