//! Mainstay on an existing cluster: running the controllers, installing them, and taking Applications over.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand, ValueEnum};

use super::{Connect, pair};

#[derive(Debug, Args)]
pub(crate) struct Controller {
    /// The address of /healthz, /readyz and /metrics.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8082")]
    pub(crate) listen: SocketAddr,
    /// Take webhooks of repositories at this address; they are sent to /api/webhook over plain HTTP
    /// [default: none are taken].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) webhooks: Option<SocketAddr>,
    /// The Lease by which one of several processes leads.
    #[arg(long, value_name = "NAME", default_value = install::NAME)]
    pub(crate) lease: String,
    /// The namespace of the Lease [default: $POD_NAMESPACE, otherwise that of the Applications].
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) lease_namespace: Option<String>,
    /// The only namespaces that are watched and deployed to, by commas [default: the whole cluster].
    #[arg(long, value_name = "NAMESPACE,…", value_delimiter = ',')]
    pub(crate) namespaces: Vec<String>,
    /// Run Rollouts too. Not beside an Argo Rollouts.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
        default_missing_value = "true", action = ArgAction::Set)]
    pub(crate) rollouts: bool,
    /// Answer a repository or chart URL from a local place (repeatable).
    #[arg(long = "source", value_name = "URL=PATH", value_parser = pair)]
    pub(crate) sources: Vec<(String, String)>,
    /// Ask this address first for a host's charts, as in docker.io=http://127.0.0.1:5000 (repeatable).
    #[arg(long = "mirror", value_name = "HOST=URL", value_parser = pair)]
    pub(crate) mirrors: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

/// In which form manifests are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ManifestFormat {
    Yaml,
    Json,
}

/// What repositories may deploy to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    Cluster,
    Namespaces(Vec<String>),
}

fn scope(text: &str) -> Result<Scope, String> {
    if text == "cluster" {
        return Ok(Scope::Cluster);
    }
    let names =
        text.strip_prefix("namespaces=").map(|names| names.split(',').map(str::trim).map(str::to_owned));
    let names: Vec<String> = names.ok_or("expected `cluster` or `namespaces=NAME,…`")?.collect();
    match names.iter().find(|name| !is_label(name)) {
        Some(name) => Err(format!("{name:?} is no name of a namespace")),
        None => Ok(Scope::Namespaces(names)),
    }
}

/// Whether a text is a DNS label, as names of namespaces are.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|byte| inner(byte) || byte == b'-')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
}

fn label(text: &str) -> Result<String, String> {
    if is_label(text) { Ok(text.to_owned()) } else { Err("expected the name of a namespace".to_owned()) }
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// The image to run, as in registry.example.org/mainstay:0.1.0. None is published yet: `mainstay image pack` makes one.
    #[arg(long, value_name = "IMAGE", required_unless_present = "chart")]
    pub(crate) image: Option<String>,
    /// The namespace to install into.
    #[arg(long, value_name = "NAMESPACE", default_value = install::NAME, value_parser = label)]
    pub(crate) namespace: String,
    /// How many run. One of them leads; the others take over when it is gone.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    pub(crate) replicas: u32,
    /// What repositories may deploy to: `cluster`, or `namespaces=NAME,…`.
    #[arg(long, value_name = "SCOPE", default_value = "cluster", value_parser = scope)]
    pub(crate) scope: Scope,
    /// The ClusterRole that says what repositories may deploy there [default: one of our own that permits everything].
    #[arg(long, value_name = "NAME")]
    pub(crate) deploy_role: Option<String>,
    /// Run Rollouts too, and define them. Not beside an Argo Rollouts.
    #[arg(long)]
    pub(crate) rollouts: bool,
    /// A Secret for pulling the image (repeatable).
    #[arg(long = "pull-secret", value_name = "NAME")]
    pub(crate) pull_secrets: Vec<String>,
    /// Take no webhooks of repositories.
    #[arg(long)]
    pub(crate) no_webhooks: bool,
    /// Leave connections from outside unlimited.
    #[arg(long)]
    pub(crate) no_network_policy: bool,
    /// What is logged, in the words of MAINSTAY_LOG.
    #[arg(long, value_name = "LEVELS", default_value = "info")]
    pub(crate) log: String,
    /// Write a Helm chart of the same into a new directory instead.
    #[arg(long, value_name = "DIR", conflicts_with = "apply")]
    pub(crate) chart: Option<PathBuf>,
    /// Apply it to the cluster instead of printing it.
    #[arg(long)]
    pub(crate) apply: bool,
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum, default_value_t = ManifestFormat::Yaml)]
    pub(crate) output: ManifestFormat,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    /// Delete it instead of printing what would be deleted.
    #[arg(long)]
    pub(crate) apply: bool,
    /// Delete the definitions that it brought too, and with them every Application there is.
    #[arg(long)]
    pub(crate) with_definitions: bool,
    /// Do not ask.
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Debug, Args)]
pub(crate) struct Takeover {
    #[command(subcommand)]
    pub(crate) command: TakeoverCommand,
    #[command(flatten)]
    pub(crate) connect: Connect,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TakeoverCommand {
    /// Show the Argo CD that is there, and whose each Application is.
    Status(TakeoverStatus),
    /// Take Applications over from Argo CD: it is told to leave them alone, then Mainstay begins.
    Take(TakeoverMove),
    /// Give Applications back to Argo CD, as they were.
    Return(TakeoverReturn),
    /// After Argo CD is gone: make everything Mainstay's, ApplicationSets too.
    Finish(TakeoverFinish),
}

#[derive(Debug, Args)]
pub(crate) struct TakeoverStatus {
    #[arg(long, short = 'o', value_name = "FORMAT", value_enum)]
    pub(crate) output: Option<ManifestFormat>,
}

#[derive(Debug, Args)]
pub(crate) struct TakeoverMove {
    /// The Applications, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "APPNAME", required = true)]
    pub(crate) names: Vec<String>,
    /// For how many seconds nothing may have written an Application before it changes hands.
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    pub(crate) settle: u64,
    /// How many seconds each may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct TakeoverReturn {
    /// The Applications, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "APPNAME", required_unless_present = "all")]
    pub(crate) names: Vec<String>,
    /// All that were taken.
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,
    /// For how many seconds nothing may have written an Application before it changes hands.
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    pub(crate) settle: u64,
    /// How many seconds each may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Args)]
pub(crate) struct TakeoverFinish {
    /// Do not ask.
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read() {
        assert_eq!(scope("cluster"), Ok(Scope::Cluster));
        assert_eq!(scope("namespaces=a, b-1"), Ok(Scope::Namespaces(vec!["a".to_owned(), "b-1".to_owned()])));
        for bad in ["", "namespaces=", "namespaces=a,,b", "namespaces=A", "namespaces=-a", "a,b"] {
            assert!(scope(bad).is_err(), "{bad}");
        }
    }
}
