//! CheckMate's repository, brought up unchanged with what its team creates by hand.

use std::path::Path;

use tempfile::TempDir;
use test_kit::{ImageRegistry, Repository, shared};

use crate::images::{self, SERVICES};
use crate::platform::Platform;

/// What bringing it up needs.
pub(crate) struct Prepared {
    repository: Repository,
    registry: ImageRegistry,
    with: TempDir,
}

pub(crate) struct CheckMate {
    pub(crate) platform: Platform,
    pub(crate) repository: Repository,
    _registry: ImageRegistry,
    _with: TempDir,
}

/// Makes a Git repository of it, a registry with the images, and the Secrets that its team creates by hand.
pub(crate) fn prepare() -> Prepared {
    let registry = images::checkmate();
    let repository = Repository::of(&shared("repos/checkmate-kubernetes"));
    let with = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(with.path().join("secrets.yaml"), secrets()).expect("write the prerequisites");
    Prepared { repository, registry, with }
}

impl Prepared {
    /// Starts `mainstay up` and waits for its API.
    pub(crate) fn up(self) -> CheckMate {
        let Self { repository, registry, with } = self;
        let (ghcr, docker) = (format!("ghcr.io={}", registry.url()), format!("docker.io={}", registry.url()));
        let path = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        let platform = Platform::up(&[
            &path(repository.path()),
            "--path",
            "applications/dev",
            "--with",
            &path(with.path()),
            "--mirror",
            &ghcr,
            "--mirror",
            &docker,
        ]);
        CheckMate { platform, repository, _registry: registry, _with: with }
    }
}

fn secrets() -> String {
    let mut text = String::new();
    for (namespace, ..) in SERVICES {
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: app-secrets, namespace: {namespace}}}\nstringData:\n"
        ));
        if namespace == "user" {
            text.push_str("  DATABASE_URL: postgres://user:password@sample-postgres.data.svc.cluster.local:5432/sample\n");
        } else {
            text.push_str("  TOKEN: none\n");
        }
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: ghcr-creds, namespace: {namespace}}}\n\
             type: kubernetes.io/dockerconfigjson\nstringData:\n  .dockerconfigjson: '{{\"auths\":{{}}}}'\n"
        ));
    }
    text
}
