//! The environment, read once.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::cli;
use crate::data_dir;
use crate::privilege::Caller;

/// What the process finds around it.
#[derive(Debug)]
pub(crate) struct Environment {
    /// What to log, in the words of `tracing`'s filters: `MAINSTAY_LOG`.
    pub(crate) log: Option<String>,
    /// Whether this is root.
    pub(crate) root: bool,
    home: Option<PathBuf>,
    cache: Option<PathBuf>,
    /// The files that `KUBECONFIG` names.
    kubeconfig: Vec<PathBuf>,
    /// On whose behalf sudo runs this.
    pub(crate) caller: Option<Caller>,
    /// The Pod that this runs in, as far as it is told.
    pub(crate) pod: Pod,
    /// The arguments, without the program's name.
    pub(crate) arguments: Vec<OsString>,
}

/// What Kubernetes tells a process of where it runs.
#[derive(Debug, Default)]
pub(crate) struct Pod {
    pub(crate) name: Option<String>,
    pub(crate) namespace: Option<String>,
    /// Whether the cluster's API can be found from here.
    pub(crate) in_cluster: bool,
}

impl Environment {
    #[expect(clippy::disallowed_methods, reason = "this is the place where the environment is read")]
    pub(crate) fn read() -> Self {
        let variable = |name| env::var(name).ok();
        Self {
            log: variable("MAINSTAY_LOG"),
            root: nix::unistd::geteuid().is_root(),
            home: env::var_os("HOME").map(PathBuf::from),
            cache: env::var_os("XDG_CACHE_HOME").map(PathBuf::from),
            kubeconfig: env::var_os("KUBECONFIG")
                .map(|paths| env::split_paths(&paths).collect())
                .unwrap_or_default(),
            caller: Caller::from_sudo(variable("SUDO_UID").as_deref(), variable("SUDO_GID").as_deref()),
            pod: Pod {
                name: variable("POD_NAME"),
                namespace: variable("POD_NAMESPACE"),
                in_cluster: variable("KUBERNETES_SERVICE_HOST").is_some(),
            },
            arguments: env::args_os().skip(1).collect(),
        }
    }

    /// The data directory that a command is about, absolute.
    pub(crate) fn data_dir(&self, typed: &cli::DataDir) -> Result<PathBuf> {
        let path = match &typed.data_dir {
            Some(path) => path.clone(),
            None => data_dir::default_path(self.root, self.home.as_deref())?,
        };
        std::path::absolute(&path).with_context(|| format!("find {}", path.display()))
    }

    /// The kubeconfigs that a command reads, of which the earlier win.
    pub(crate) fn kubeconfigs(&self, typed: &cli::Connect) -> Result<Vec<PathBuf>> {
        if let Some(path) = &typed.kubeconfig {
            return Ok(vec![path.clone()]);
        }
        let named: Vec<PathBuf> = self
            .kubeconfig
            .iter()
            .filter(|path| !path.as_os_str().is_empty() && path.exists())
            .cloned()
            .collect();
        if typed.data.data_dir.is_none() && !named.is_empty() {
            return Ok(named);
        }
        let own = self.data_dir(&typed.data)?.join("kubeconfig");
        match std::fs::metadata(&own) {
            Ok(_) => Ok(vec![own]),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => bail!(
                "{} belongs to somebody else (`sudo`?); name a kubeconfig with --kubeconfig or KUBECONFIG",
                own.display()
            ),
            Err(_) => bail!(
                "no cluster: {} is not there, because `mainstay up` has not run with this data directory; \
                 name a kubeconfig with --kubeconfig or KUBECONFIG",
                own.display()
            ),
        }
    }

    /// Whether the Pod's own service account is meant: nobody named another way to a cluster.
    pub(crate) fn is_in_cluster(&self, typed: &cli::Connect) -> bool {
        self.pod.in_cluster
            && typed.kubeconfig.is_none()
            && typed.context.is_none()
            && self.kubeconfig.is_empty()
    }

    /// Where a command keeps what it fetched, apart from any data directory.
    pub(crate) fn cache_dir(&self) -> PathBuf {
        let own = self.cache.clone().filter(|path| path.is_absolute());
        let usual = || self.home.as_ref().map(|home| home.join(".cache"));
        own.or_else(usual).unwrap_or_else(env::temp_dir).join("mainstay")
    }

    /// This program.
    pub(crate) fn executable() -> Result<PathBuf> {
        env::current_exe().context("find this program")
    }

    /// Where the person stands.
    pub(crate) fn directory() -> Result<PathBuf> {
        env::current_dir().context("find the current directory")
    }
}
