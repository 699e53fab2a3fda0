//! What the process needs to know: what was typed, laid over the configuration file, validated once.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::cli;

/// The configuration file: YAML, every key optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct File {
    sources: BTreeMap<String, String>,
    mirrors: BTreeMap<String, Vec<String>>,
    allow_privileged: Vec<String>,
    listen: Option<IpAddr>,
    api_port: Option<u16>,
    http_port: Option<u16>,
    https_port: Option<u16>,
    webhooks: Option<SocketAddr>,
}

/// Everything `up` decides by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) repository: Repository,
    /// Manifests to apply first.
    pub(crate) with: Option<PathBuf>,
    /// Repository and chart URLs answered from a local place.
    pub(crate) sources: BTreeMap<String, PathBuf>,
    /// Whether PATH answers for its own URLs.
    pub(crate) answer_own_urls: bool,
    /// Whether containers are run.
    pub(crate) node: bool,
    /// Namespaces whose pods may be privileged; `all` stands for every one.
    pub(crate) allow_privileged: Vec<String>,
    /// Where to ask first for a registry's images, by the registry's host.
    pub(crate) mirrors: BTreeMap<String, Vec<String>>,
    pub(crate) listen: IpAddr,
    pub(crate) api_port: u16,
    pub(crate) http_port: u16,
    pub(crate) https_port: u16,
    /// Where webhooks are taken, if anywhere.
    pub(crate) webhooks: Option<SocketAddr>,
}

/// What to bring up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Repository {
    /// Nothing: the bare cluster.
    None,
    /// The demo of the checkout this is run from.
    Demo { path: PathBuf },
    /// A directory or repository on this machine.
    Local { path: PathBuf, start: String, revision: Option<String> },
    /// A repository behind a URL.
    Remote { url: String, start: String, revision: Option<String> },
}

impl Settings {
    /// Lays what was typed over the configuration file. `directory` is where the person stands.
    ///
    /// # Errors
    /// If the file does not parse or there is no such repository.
    pub(crate) fn new(typed: &cli::Up, directory: &Path) -> Result<Self> {
        let file = typed.config.as_deref().map(read).transpose()?.unwrap_or_default();
        let mut sources: BTreeMap<String, PathBuf> =
            file.sources.into_iter().map(|(url, path)| (url, directory.join(path))).collect();
        sources.extend(typed.sources.iter().map(|(url, path)| (url.clone(), directory.join(path))));
        let mut mirrors = file.mirrors;
        for (host, urls) in self::mirrors(&typed.mirrors) {
            mirrors.entry(host).or_default().splice(0..0, urls);
        }
        let mut allow_privileged = file.allow_privileged;
        allow_privileged.extend(typed.allow_privileged.iter().cloned());
        Ok(Self {
            repository: repository(typed, directory)?,
            with: typed.with.as_ref().map(|path| directory.join(path)),
            sources,
            answer_own_urls: !typed.remote,
            node: !typed.no_node,
            allow_privileged,
            mirrors,
            listen: typed.listen.or(file.listen).unwrap_or(Ipv4Addr::LOCALHOST.into()),
            api_port: typed.api_port.or(file.api_port).unwrap_or(6443),
            http_port: typed.http_port.or(file.http_port).unwrap_or(8080),
            https_port: typed.https_port.or(file.https_port).unwrap_or(8443),
            webhooks: typed.webhooks.or(file.webhooks),
        })
    }
}

/// Mirrors by host; what is named last is asked first.
pub(crate) fn mirrors(typed: &[(String, String)]) -> BTreeMap<String, Vec<String>> {
    let mut mirrors: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (host, url) in typed {
        mirrors.entry(host.clone()).or_default().insert(0, url.clone());
    }
    mirrors
}

fn read(path: &Path) -> Result<File> {
    let text =
        fs::read_to_string(path).with_context(|| format!("read the configuration {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("parse the configuration {}", path.display()))
}

fn repository(typed: &cli::Up, directory: &Path) -> Result<Repository> {
    if typed.bare {
        return Ok(Repository::None);
    }
    let Some(place) = &typed.repository else {
        return demo(directory);
    };
    let (start, revision) = (typed.path.clone(), typed.revision.clone());
    if is_url(place) {
        return Ok(Repository::Remote { url: place.clone(), start, revision });
    }
    let path = directory.join(place);
    let path = fs::canonicalize(&path).with_context(|| format!("open the repository {}", path.display()))?;
    Ok(Repository::Local { path, start, revision })
}

/// A URL has a scheme, or is Git's short form of SSH (user@host:path).
fn is_url(place: &str) -> bool {
    place.contains("://")
        || place.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/'))
}

/// The demo lies in the checkout: the nearest directory above that has one.
fn demo(directory: &Path) -> Result<Repository> {
    let path = directory
        .ancestors()
        .map(|ancestor| ancestor.join("examples/demo"))
        .find(|demo| demo.join("applications/root.yaml").is_file())
        .context(
            "name a repository, as in `mainstay up PATH --path applications`; the demo runs from a checkout",
        )?;
    Ok(Repository::Demo { path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn settings(arguments: &[&str], directory: &Path) -> Result<Settings> {
        let cli = cli::Cli::try_parse_from(["mainstay", "up"].iter().chain(arguments)).unwrap();
        let cli::Command::Up(up) = cli.command else { panic!("not up") };
        Settings::new(&up, directory)
    }

    #[test]
    fn what_is_typed_wins_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(
            directory.path().join("mainstay.yaml"),
            "apiPort: 7000\nhttpPort: 7001\nwebhooks: 127.0.0.1:7002\nmirrors: {docker.io: [http://127.0.0.1:1]}\nsources: {https://a: charts}\n",
        )
        .unwrap();
        let file = directory.path().join("mainstay.yaml");
        let settings = settings(
            &[
                "--bare",
                "--config",
                file.to_str().unwrap(),
                "--api-port",
                "8",
                "--mirror",
                "docker.io=http://127.0.0.1:2",
            ],
            directory.path(),
        )
        .unwrap();
        assert_eq!((settings.api_port, settings.http_port, settings.https_port), (8, 7001, 8443));
        assert_eq!(settings.mirrors["docker.io"], ["http://127.0.0.1:2", "http://127.0.0.1:1"]);
        assert_eq!(settings.sources["https://a"], directory.path().join("charts"));
        assert_eq!(settings.listen, Ipv4Addr::LOCALHOST);
        assert_eq!(settings.webhooks.unwrap().port(), 7002);
    }

    #[test]
    fn a_misspelt_key_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("mainstay.yaml");
        fs::write(&file, "apiprot: 7000\n").unwrap();
        let error = settings(&["--bare", "--config", file.to_str().unwrap()], directory.path()).unwrap_err();
        assert!(format!("{error:#}").contains("apiprot"), "{error:#}");
    }

    #[test]
    fn tells_urls_from_paths() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("platform")).unwrap();
        let local = settings(&["platform", "--path", "apps"], directory.path()).unwrap().repository;
        assert!(
            matches!(local, Repository::Local { ref path, ref start, .. } if path.ends_with("platform") && start == "apps")
        );
        for url in ["https://example.com/a.git", "git@example.com:a/b.git"] {
            let remote = settings(&[url], directory.path()).unwrap().repository;
            assert!(matches!(remote, Repository::Remote { url: found, .. } if found == url));
        }
        let missing = settings(&["nowhere"], directory.path()).unwrap_err();
        assert!(format!("{missing:#}").contains("nowhere"), "{missing:#}");
    }

    #[test]
    fn without_a_repository_the_demo_is_looked_for() {
        let directory = tempfile::tempdir().unwrap();
        let error = settings(&[], directory.path()).unwrap_err();
        assert!(error.to_string().contains("mainstay up PATH"), "{error}");
        let demo = directory.path().join("examples/demo");
        fs::create_dir_all(demo.join("applications")).unwrap();
        fs::write(demo.join("applications/root.yaml"), "").unwrap();
        assert_eq!(settings(&[], directory.path()).unwrap().repository, Repository::Demo { path: demo });
    }
}
