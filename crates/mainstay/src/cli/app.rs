//! The flags of `mainstay app`: those of `argocd app` where it has one.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::connect::{Connect, Filter, Format, Selected};
use super::spec::SpecFlags;

#[derive(Debug, Clone, Args)]
pub(crate) struct App {
    #[command(flatten)]
    pub(crate) connect: Connect,
    #[command(subcommand)]
    pub(crate) command: AppCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AppCommand {
    /// List Applications.
    #[command(visible_alias = "ls")]
    List(List),
    /// Show one Application and its resources.
    Get(Get),
    /// Create an Application.
    Create(Box<Create>),
    /// Change the spec of an Application.
    Set(Box<Set>),
    /// Take parameters of an Application back.
    Unset(Unset),
    /// Show what a sync would change; exit with 1 if anything, with 2 if it cannot be told.
    Diff(Diff),
    /// Make the cluster what Git describes.
    Sync(Sync),
    /// Wait until Applications are what they should be; exit with 1 if they are not in time.
    Wait(Wait),
    /// Show what was deployed when.
    History(History),
    /// Deploy again what an entry of the history describes.
    Rollback(Rollback),
    /// Print the logs of an Application's Pods.
    Logs(Logs),
    /// Print the manifests of an Application.
    Manifests(Manifests),
    /// List the resources of an Application.
    Resources(Resources),
    /// Patch an Application.
    Patch(Patch),
    /// Patch a resource of an Application.
    PatchResource(PatchResource),
    /// Delete Applications, and what they deployed.
    #[command(visible_alias = "rm")]
    Delete(Delete),
    /// Delete a resource of an Application.
    DeleteResource(DeleteResource),
    /// Have Git looked at now, and what there is compared with it.
    Refresh(Refresh),
    /// End the sync that runs.
    TerminateOp {
        #[arg(value_name = "APPNAME")]
        name: String,
    },
    /// What can be done with the resources of an Application.
    Actions(Actions),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Those with a source of this repository.
    #[arg(long, short, value_name = "URL")]
    pub(crate) repo: Option<String>,
    /// Those with a source at this path.
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// Those for a cluster, by name or URL.
    #[arg(long, short, value_name = "CLUSTER")]
    pub(crate) cluster: Option<String>,
    #[arg(long, short, value_enum, default_value = "wide")]
    pub(crate) output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GetFormat {
    Wide,
    Json,
    Yaml,
    /// Resources with what they own.
    Tree,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Get {
    #[arg(value_name = "APPNAME")]
    pub(crate) name: String,
    /// Have it compared before.
    #[arg(long)]
    pub(crate) refresh: bool,
    /// As --refresh, and rendered anew whatever is cached.
    #[arg(long)]
    pub(crate) hard_refresh: bool,
    /// Show how the running or last operation went.
    #[arg(long)]
    pub(crate) show_operation: bool,
    /// Show the parameters of its sources.
    #[arg(long)]
    pub(crate) show_params: bool,
    #[arg(long, short, value_enum, default_value = "wide")]
    pub(crate) output: GetFormat,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Create {
    /// The name; it may come from --file.
    #[arg(value_name = "APPNAME", required_unless_present = "file")]
    pub(crate) name: Option<String>,
    /// A file with an Application, `-` for standard input; flags change it.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Change it if it is there already.
    #[arg(long)]
    pub(crate) upsert: bool,
    /// Labels (repeatable).
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = super::pair)]
    pub(crate) label: Vec<(String, String)>,
    /// Annotations (repeatable).
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::pair)]
    pub(crate) annotations: Vec<(String, String)>,
    /// Have deleting it delete what it deployed.
    #[arg(long)]
    pub(crate) set_finalizer: bool,
    /// The namespace of the Application itself.
    #[arg(long, short = 'N', value_name = "NAMESPACE")]
    pub(crate) app_namespace: Option<String>,
    #[command(flatten)]
    pub(crate) spec: SpecFlags,
    #[arg(long, short, value_enum)]
    pub(crate) output: Option<Format>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Set {
    #[arg(value_name = "APPNAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) spec: SpecFlags,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Unset {
    #[arg(value_name = "APPNAME")]
    pub(crate) name: String,
    /// Of several sources, the one to change, counted from 1.
    #[arg(long, value_name = "N")]
    pub(crate) source_position: Option<usize>,
    /// A Helm parameter (repeatable).
    #[arg(long, short, value_name = "NAME")]
    pub(crate) parameter: Vec<String>,
    /// A file of values (repeatable).
    #[arg(long, value_name = "FILE")]
    pub(crate) values: Vec<String>,
    /// The values given in the Application itself.
    #[arg(long)]
    pub(crate) values_literal: bool,
    /// An image of a kustomization (repeatable).
    #[arg(long, value_name = "IMAGE")]
    pub(crate) kustomize_image: Vec<String>,
    #[arg(long)]
    pub(crate) nameprefix: bool,
    #[arg(long)]
    pub(crate) namesuffix: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Diff {
    #[arg(value_name = "APPNAME")]
    pub(crate) name: String,
    /// Compare with this revision instead of the tracked one.
    #[arg(long, value_name = "REV")]
    pub(crate) revision: Option<String>,
    /// Have Git asked again.
    #[arg(long)]
    pub(crate) refresh: bool,
    /// As --refresh, and everything fetched anew.
    #[arg(long)]
    pub(crate) hard_refresh: bool,
    /// Whether a difference makes the exit code 1.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true",
        action = clap::ArgAction::Set)]
    pub(crate) exit_code: bool,
    /// The exit code of a difference.
    #[arg(long, value_name = "CODE", default_value_t = 1)]
    pub(crate) diff_exit_code: u8,
    /// Compare with the files of this directory, in place of the first source's repository.
    #[arg(long, value_name = "DIR")]
    pub(crate) local: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    Apply,
    Hook,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Sync {
    #[command(flatten)]
    pub(crate) apps: Selected,
    /// Sync to this revision instead of the tracked one.
    #[arg(long, value_name = "REV")]
    pub(crate) revision: Option<String>,
    /// Delete what is no longer in Git.
    #[arg(long)]
    pub(crate) prune: bool,
    /// Show what would be done, and have the API check it, without doing it.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only these resources, as GROUP:KIND:NAME or GROUP:KIND:NAMESPACE/NAME; `*` matches anything, `!` before it
    /// leaves them out (repeatable).
    #[arg(long, value_name = "GROUP:KIND:NAME")]
    pub(crate) resource: Vec<String>,
    /// Delete and make again what cannot be changed.
    #[arg(long)]
    pub(crate) force: bool,
    /// Apply by server-side apply.
    #[arg(long)]
    pub(crate) server_side: bool,
    /// Replace instead of patching.
    #[arg(long)]
    pub(crate) replace: bool,
    /// Apply only what differs.
    #[arg(long)]
    pub(crate) apply_out_of_sync_only: bool,
    /// `apply` leaves hooks out.
    #[arg(long, value_enum)]
    pub(crate) strategy: Option<Strategy>,
    /// Do not wait for it to end.
    #[arg(long = "async")]
    pub(crate) asynchronous: bool,
    /// Wait for this many seconds at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    pub(crate) timeout: u64,
    /// How often a sync that fails is tried again; -1 for ever.
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) retry_limit: i64,
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub(crate) retry_backoff_duration: String,
    #[arg(long, value_name = "DURATION", default_value = "3m0s")]
    pub(crate) retry_backoff_max_duration: String,
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) retry_backoff_factor: i64,
    /// Something to note with the operation (repeatable).
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::pair)]
    pub(crate) info: Vec<(String, String)>,
    #[arg(long, short, value_enum, default_value = "wide")]
    pub(crate) output: GetFormat,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    pub(crate) apps: Selected,
    /// Wait until they are synced.
    #[arg(long)]
    pub(crate) sync: bool,
    /// Wait until they are healthy.
    #[arg(long)]
    pub(crate) health: bool,
    /// Wait until no operation runs.
    #[arg(long)]
    pub(crate) operation: bool,
    /// Being suspended will do.
    #[arg(long)]
    pub(crate) suspended: bool,
    /// Being degraded will do.
    #[arg(long)]
    pub(crate) degraded: bool,
    /// Wait until they are gone.
    #[arg(long)]
    pub(crate) delete: bool,
    /// Only these resources, as GROUP:KIND:NAME or GROUP:KIND:NAMESPACE/NAME (repeatable).
    #[arg(long, value_name = "GROUP:KIND:NAME")]
    pub(crate) resource: Vec<String>,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    pub(crate) timeout: u64,
    #[arg(long, short, value_enum, default_value = "wide")]
    pub(crate) output: GetFormat,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct History {
    #[arg(value_name = "APPNAME")]
    pub(crate) name: String,
    #[arg(long, short, value_enum, default_value = "wide")]
    pub(crate) output: HistoryFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HistoryFormat {
    Wide,
    /// Only the numbers.
    Id,
    Json,
    Yaml,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Rollback {
    #[arg(value_name = "APPNAME")]
    pub(crate) name: String,
    /// The entry of the history [default: the one before the last].
    #[arg(value_name = "ID")]
    pub(crate) id: Option<i64>,
    /// Delete what that revision does not have.
    #[arg(long)]
    pub(crate) prune: bool,
    /// Wait for this many seconds at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    pub(crate) timeout: u64,
    #[arg(long, short, value_enum, default_value = "wide")]
    pub(crate) output: GetFormat,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Logs {
    #[arg(value_name = "APPNAME")]
    pub(crate) name: String,
    /// Go on with what is printed from now on.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// The last lines of each container.
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u32>,
    #[arg(long, short, value_name = "CONTAINER")]
    pub(crate) container: Option<String>,
    /// Only what was printed in the last seconds.
    #[arg(long, short, value_name = "SECONDS")]
    pub(crate) since_seconds: Option<u64>,
    /// Of the runs before these.
    #[arg(long, short)]
    pub(crate) previous: bool,
    /// Only lines that contain this text.
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// Only Pods of resources of this group.
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Only Pods of resources of this kind.
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Only Pods of the resource of this name.
    #[arg(long = "name", value_name = "NAME")]
    pub(crate) resource: Option<String>,
    /// Only Pods in this namespace.
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ManifestSource {
    /// As Git describes them.
    Git,
    /// As they are in the cluster.
    Live,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Manifests {
    #[arg(value_name = "APPNAME")]
    pub(crate) name: String,
    #[arg(long, value_enum, default_value = "git")]
    pub(crate) source: ManifestSource,
    /// Of this revision instead of the tracked one.
    #[arg(long, value_name = "REV")]
    pub(crate) revision: Option<String>,
    /// With the files of this directory, in place of the first source's repository.
    #[arg(long, value_name = "DIR")]
    pub(crate) local: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Resources {
    #[arg(value_name = "APPNAME")]
    pub(crate) name: String,
    /// What is in the Application's namespace instead, and no Application manages.
    #[arg(long)]
    pub(crate) orphaned: bool,
    #[arg(long, short, value_enum, default_value = "wide")]
    pub(crate) output: GetFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PatchType {
    Json,
    Merge,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Patch {
    #[arg(value_name = "APPNAME")]
    pub(crate) name: String,
    #[arg(long, value_name = "JSON")]
    pub(crate) patch: String,
    #[arg(long = "type", value_enum, default_value = "merge")]
    pub(crate) kind: PatchType,
}

/// A resource of an Application.
#[derive(Debug, Clone, Args)]
pub(crate) struct OneResource {
    #[arg(value_name = "APPNAME")]
    pub(crate) name: String,
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: String,
    #[arg(long, value_name = "NAME")]
    pub(crate) resource_name: Option<String>,
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// All that match, and not exactly one.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct PatchResource {
    #[command(flatten)]
    pub(crate) resource: OneResource,
    #[arg(long, value_name = "JSON")]
    pub(crate) patch: String,
    #[arg(long, value_enum, default_value = "merge")]
    pub(crate) patch_type: PatchType,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DeleteResource {
    #[command(flatten)]
    pub(crate) resource: OneResource,
    /// Leave what it owns.
    #[arg(long)]
    pub(crate) orphan: bool,
    /// Do not wait for Pods to end gracefully.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PropagationPolicy {
    Foreground,
    Background,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) apps: Selected,
    /// Whether what they deployed goes too.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true",
        action = clap::ArgAction::Set)]
    pub(crate) cascade: bool,
    #[arg(long, short = 'P', value_enum, default_value = "foreground")]
    pub(crate) propagation_policy: PropagationPolicy,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Wait until they are gone.
    #[arg(long)]
    pub(crate) wait: bool,
    /// With --wait: give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Refresh {
    #[command(flatten)]
    pub(crate) apps: Selected,
    /// Render anew, whatever is cached.
    #[arg(long)]
    pub(crate) hard: bool,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Actions {
    #[command(subcommand)]
    pub(crate) command: ActionsCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ActionsCommand {
    /// List what can be done.
    List(ActionsList),
    /// Do it.
    Run(ActionsRun),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ActionsList {
    #[arg(value_name = "APPNAME")]
    pub(crate) name: String,
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    #[arg(long, value_name = "NAME")]
    pub(crate) resource_name: Option<String>,
    #[arg(long, short, value_enum, default_value = "wide")]
    pub(crate) output: Format,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ActionsRun {
    #[command(flatten)]
    pub(crate) resource: OneResource,
    /// What to do: one that `actions list` names.
    #[arg(value_name = "ACTION")]
    pub(crate) action: String,
    /// Parameters of the action (repeatable).
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::pair)]
    pub(crate) param: Vec<(String, String)>,
}
