//! A real image registry.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::{Process, find_program, free_port};

/// The reference registry (Debian's `docker-registry`) on a loopback port, with its data in a temporary directory.
#[derive(Debug)]
pub struct ImageRegistry {
    port: u16,
    _process: Process,
    _data: TempDir,
}

impl ImageRegistry {
    /// # Panics
    /// If it is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::configured("", "")
    }

    /// One that speaks TLS with a certificate and key (files in PEM) and lets in whom an `htpasswd` file names.
    ///
    /// # Panics
    /// If it is not installed or does not start.
    #[must_use]
    pub fn secured(certificate: &Path, key: &Path, htpasswd: &Path) -> Self {
        let tls = format!("  tls:\n    certificate: {}\n    key: {}\n", certificate.display(), key.display());
        let auth = format!("auth:\n  htpasswd:\n    realm: charts\n    path: {}\n", htpasswd.display());
        Self::configured(&tls, &auth)
    }

    fn configured(http: &str, more: &str) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let config = data.path().join("config.yml");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{http}{more}",
            data.path().join("data").display()
        );
        std::fs::write(&config, text).expect("write the registry's configuration");
        let mut command = Command::new(find_program("docker-registry"));
        command.arg("serve").arg(&config);
        let process = Process::serving(&mut command, port, &data.path().join("log"));
        Self { port, _process: process, _data: data }
    }

    /// Host and port.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The registry's base URL, as a mirror setting takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}
