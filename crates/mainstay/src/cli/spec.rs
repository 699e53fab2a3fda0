//! The flags that say what an Application's spec is to be, for `app create` and `app set`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SyncPolicy {
    #[value(aliases = ["auto", "automatic"])]
    Automated,
    /// Nobody but a person syncs it.
    #[value(alias = "manual")]
    None,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SpecFlags {
    /// Of several sources, the one to change, counted from 1.
    #[arg(long, value_name = "N")]
    pub(crate) source_position: Option<usize>,
    /// The repository.
    #[arg(long, value_name = "URL")]
    pub(crate) repo: Option<String>,
    /// The directory in the repository.
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// The chart in a chart repository.
    #[arg(long, value_name = "NAME")]
    pub(crate) helm_chart: Option<String>,
    /// The branch, tag, commit or chart version to track.
    #[arg(long, value_name = "REV")]
    pub(crate) revision: Option<String>,
    /// The name under which other sources refer to this one.
    #[arg(long = "ref", value_name = "NAME")]
    pub(crate) reference: Option<String>,
    /// The project.
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project: Option<String>,
    /// The cluster to deploy to, by URL.
    #[arg(long, value_name = "URL", conflicts_with = "dest_name")]
    pub(crate) dest_server: Option<String>,
    /// The cluster to deploy to, by name.
    #[arg(long, value_name = "NAME")]
    pub(crate) dest_name: Option<String>,
    /// The namespace to deploy to.
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) dest_namespace: Option<String>,
    /// How it is synced.
    #[arg(long, value_enum)]
    pub(crate) sync_policy: Option<SyncPolicy>,
    /// Prune by itself.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) auto_prune: Option<bool>,
    /// Put back by itself what somebody changed.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) self_heal: Option<bool>,
    /// Prune by itself even if that leaves nothing.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) allow_empty: Option<bool>,
    /// A sync option, as in CreateNamespace=true; with `!` before it, it is taken away (repeatable).
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) sync_option: Vec<String>,
    /// How often a failed automatic sync is tried again.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) sync_retry_limit: Option<i64>,
    /// How many entries of the history are kept.
    #[arg(long, value_name = "N")]
    pub(crate) revision_history_limit: Option<u64>,
    /// A file of values in the repository (repeatable).
    #[arg(long, value_name = "FILE")]
    pub(crate) values: Vec<String>,
    /// A file here whose values become a part of the Application.
    #[arg(long, value_name = "FILE")]
    pub(crate) values_literal_file: Option<PathBuf>,
    /// A Helm parameter (repeatable).
    #[arg(long, short = 'p', visible_alias = "parameter", value_name = "NAME=VALUE")]
    pub(crate) helm_set: Vec<String>,
    /// A Helm parameter that is a text (repeatable).
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) helm_set_string: Vec<String>,
    /// A Helm parameter from a file of the repository (repeatable).
    #[arg(long, value_name = "NAME=FILE")]
    pub(crate) helm_set_file: Vec<String>,
    /// The name of the Helm release.
    #[arg(long, value_name = "NAME")]
    pub(crate) release_name: Option<String>,
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) helm_skip_crds: Option<bool>,
    /// An image of a kustomization, as NAME=IMAGE or IMAGE (repeatable).
    #[arg(long, value_name = "IMAGE")]
    pub(crate) kustomize_image: Vec<String>,
    #[arg(long, value_name = "TEXT")]
    pub(crate) nameprefix: Option<String>,
    #[arg(long, value_name = "TEXT")]
    pub(crate) namesuffix: Option<String>,
    /// For a directory of manifests: read the directories below it too.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) directory_recurse: Option<bool>,
    #[arg(long, value_name = "GLOB")]
    pub(crate) directory_include: Option<String>,
    #[arg(long, value_name = "GLOB")]
    pub(crate) directory_exclude: Option<String>,
}
