//! Argo CD's own permissions, as `argocd admin settings rbac` asks about them.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};

use super::Connect;

#[derive(Debug, Args)]
pub(crate) struct Rbac {
    #[command(subcommand)]
    pub(crate) command: RbacCommand,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RbacCommand {
    /// Say whether a role, user or group may do something; exit with 1 if not.
    Can(Can),
    /// Say what is wrong with the policy; exit with 1 if it cannot be used.
    Validate(Validate),
}

#[derive(Debug, Args)]
pub(crate) struct Can {
    /// A role, user or group, as in role:readonly.
    #[arg(value_name = "ROLE/SUBJECT")]
    pub(crate) subject: String,
    /// What it would do, as in sync.
    pub(crate) action: String,
    /// With what, as in applications or app.
    pub(crate) resource: String,
    /// With which of them, as in PROJECT/NAME [default: any].
    #[arg(value_name = "SUB-RESOURCE", default_value = "")]
    pub(crate) object: String,
    /// A policy, or a ConfigMap like argocd-rbac-cm, instead of the cluster's.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy_file: Option<PathBuf>,
    /// The role that everybody has, instead of the policy's own.
    #[arg(long, value_name = "ROLE")]
    pub(crate) default_role: Option<String>,
    /// Whether the built-in roles are there.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) use_builtin_policy: bool,
    /// Whether words that no request has are errors.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true",
        default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) strict: bool,
    /// Print nothing; the exit code answers.
    #[arg(long, short = 'q')]
    pub(crate) quiet: bool,
    /// Print the line that decides, too.
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) explain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Validate {
    /// A policy, or a ConfigMap like argocd-rbac-cm, instead of the cluster's.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy_file: Option<PathBuf>,
}
