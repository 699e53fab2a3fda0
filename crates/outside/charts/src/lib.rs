//! Charts from where teams publish them: Helm repositories over HTTP, OCI registries, and directories beside a chart.
//!
//! Owns reading an index, resolving a version range as Helm does, fetching an archive, the cache of both, and which
//! charts [`Charts::build`] must fetch for a chart whose dependencies are not under its `charts/` (`helm dependency
//! build`). What it gives out are bytes of archives and files for [`helm::Chart::from_files`].
//!
//! What must hold: an archive is used only if it has the digest that the index or registry announced, and kept only if it
//! can be unpacked; an index that breaks off does not take the place of the one before; nothing is written
//! under a name that a repository chose; every request has a deadline and a limit of size, and its failure names the
//! URL without credentials, which go to their own host only (unless told otherwise, as with Helm's
//! `--pass-credentials`). A failure is remembered for a while, so that asking again costs nothing. The cache may be
//! shared by processes. Keeps out what a chart renders to, and where credentials are kept.

#![forbid(unsafe_code)]

mod cache;
mod dependencies;
mod error;
mod flights;
mod http;
mod index;
mod names;
mod oci;
mod proxies;
mod pull;
mod repository;
mod versions;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use registry::RegistryConfig;

pub use dependencies::{Built, Lookup, Mode, Public};
pub use error::Error;
pub use registry::{ClientCertificate, Tls, Verification};
pub use repository::Repository;
pub use versions::is_exact;

use cache::Cache;
use flights::Flights;
use http::Http;
use oci::Registries;
use pull::{CachedIndex, Known};

/// How charts are fetched and kept.
#[derive(Debug, Clone)]
pub struct Config {
    /// Created when first needed, readable by its owner alone.
    pub cache_dir: PathBuf,
    pub deadlines: Deadlines,
    pub limits: Limits,
    /// How long an index or list of tags is taken for current without asking.
    pub index_age: Duration,
    /// Mirrors, of Helm repositories' hosts too, and certificate authorities of OCI registries; its deadlines are not
    /// used.
    pub registry: RegistryConfig,
}

/// How long a host may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// To accept a connection.
    pub connect: Duration,
    /// To send the next bytes.
    pub idle: Duration,
    /// For one file in all.
    pub total: Duration,
}

/// Bytes above which something is refused.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// An index.
    pub index: u64,
    /// A packed chart; unpacked, Helm's own limits hold.
    pub archive: u64,
    /// All archives in the cache; those unused longest go first.
    pub cache: u64,
}

impl Config {
    /// The usual settings: 10 s to connect, 2 min a file, indexes asked for again after 2 min.
    #[must_use]
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            deadlines: Deadlines {
                connect: Duration::from_secs(10),
                idle: Duration::from_secs(30),
                total: Duration::from_secs(120),
            },
            limits: Limits { index: 64 << 20, archive: 100 << 20, cache: 2 << 30 },
            index_age: Duration::from_secs(120),
            registry: RegistryConfig::default(),
        }
    }
}

/// Whether what was fetched before is good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// An index of the last minutes is; and a version that was fetched once stays what it is.
    Recent,
    /// Ask again, even if it failed a moment ago.
    Latest,
}

/// A chart that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The exact version.
    pub version: String,
    /// Of the archive: 64 hex digits of its SHA-256.
    pub digest: String,
    /// A `.tgz` for [`helm::load_archive`] or [`helm::unpack`].
    pub archive: Bytes,
}

/// All chart repositories of one process. Clones share the cache and what is under way.
#[derive(Debug, Clone)]
pub struct Charts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    cache: Arc<Cache>,
    http: Arc<Http>,
    registries: Registries,
    indexes: Flights<CachedIndex>,
    tags: Flights<Arc<Vec<String>>>,
    archives: Flights<Known>,
    files: Flights<Bytes>,
    /// Downloads at the same time; a host that does not answer occupies one until its deadline.
    downloads: Arc<tokio::sync::Semaphore>,
}

const PARALLEL: usize = 16;

impl Charts {
    /// Touches nothing and connects nowhere yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let inner = Inner {
            cache: Arc::new(Cache::new(config.cache_dir.clone(), config.limits.cache)),
            http: Arc::new(Http::new(config.deadlines)),
            registries: Registries::new(&config),
            indexes: Flights::new(),
            tags: Flights::new(),
            archives: Flights::new(),
            files: Flights::new(),
            downloads: Arc::new(tokio::sync::Semaphore::new(PARALLEL)),
            config,
        };
        Self(Arc::new(inner))
    }
}
