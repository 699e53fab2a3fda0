//! Argo CD's notifications, as `argocd admin notifications` asks about them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Connect;

#[derive(Debug, Args)]
pub(crate) struct Notifications {
    #[command(subcommand)]
    pub(crate) command: NotificationsCommand,
    /// A ConfigMap like argocd-notifications-cm, instead of the cluster's.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config_map: Option<PathBuf>,
    /// A Secret like argocd-notifications-secret, instead of the cluster's.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) secret: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NotificationsCommand {
    /// Say what is wrong with the configuration; exit with 1 if Argo CD would refuse it.
    Validate,
    /// Work with templates.
    Template(Part),
    /// Work with triggers.
    Trigger(Part),
}

#[derive(Debug, Args)]
pub(crate) struct Part {
    #[command(subcommand)]
    pub(crate) command: PartCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PartCommand {
    /// Print them, or one.
    Get(PartGet),
}

#[derive(Debug, Args)]
pub(crate) struct PartGet {
    /// The name of one.
    pub(crate) name: Option<String>,
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t = PartFormat::Wide)]
    pub(crate) output: PartFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PartFormat {
    /// A table.
    Wide,
    Name,
    Json,
    Yaml,
}
