//! The environment, read once.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result};

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
    /// On whose behalf sudo runs this.
    pub(crate) caller: Option<Caller>,
    /// The arguments, without the program's name.
    pub(crate) arguments: Vec<OsString>,
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
            caller: Caller::from_sudo(variable("SUDO_UID").as_deref(), variable("SUDO_GID").as_deref()),
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
