//! Which cluster a command is about, and how it prints.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::DataDir;

/// The cluster: by `--kubeconfig`, else by `--data-dir`, else by `KUBECONFIG`, else the usual data directory's own.
#[derive(Debug, Clone, Args)]
pub(crate) struct Connect {
    /// The kubeconfig of the cluster [default: $KUBECONFIG, otherwise the data directory's own].
    #[arg(long, value_name = "FILE", global = true, help_heading = "Cluster")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig [default: its current one].
    #[arg(long, value_name = "NAME", global = true, help_heading = "Cluster")]
    pub(crate) context: Option<String>,
    /// The namespace that Argo CD's objects live in.
    #[arg(long, value_name = "NAMESPACE", default_value = why::NAMESPACE, global = true, help_heading = "Cluster")]
    pub(crate) argocd_namespace: String,
    #[command(flatten)]
    pub(crate) data: DataDir,
}

/// One object, or all of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table with everything.
    Wide,
    Name,
    Json,
    Yaml,
}

/// Names, or what selects them.
#[derive(Debug, Clone, Args)]
pub(crate) struct Selected {
    /// The Applications, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "APPNAME", required_unless_present_any = ["selector", "project"])]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

/// What selects Applications.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Filter {
    /// Those whose labels match, as in `team=web,tier!=test`.
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
    /// Those of a project (repeatable).
    #[arg(long, short = 'p', value_name = "PROJECT")]
    pub(crate) project: Vec<String>,
    /// Those in this namespace.
    #[arg(long, short = 'N', value_name = "NAMESPACE")]
    pub(crate) app_namespace: Option<String>,
}
