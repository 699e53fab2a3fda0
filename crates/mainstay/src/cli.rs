//! What a person types: flags and arguments, checked only for their form.

mod admin;
mod app;
mod connect;
mod install;
mod notifications;
mod rbac;
mod render;
mod spec;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use admin::{
    AppSet, AppSetCommand, Cluster, ClusterAdd, ClusterCommand, Completion, KindRule, Project,
    ProjectCommand, ProjectFlags, Repo, RepoAdd, RepoCommand, RepoCreds, RepoType, RuleList, Why, WhyFormat,
};
pub(crate) use app::{
    ActionsCommand, ActionsList, ActionsRun, App, AppCommand, Create, Delete, DeleteResource, Diff, Get,
    GetFormat, History, HistoryFormat, List, Logs, ManifestSource, Manifests, OneResource, Patch,
    PatchResource, PatchType, PropagationPolicy, Refresh, Resources, Rollback, Set, Strategy, Sync, Unset,
    Wait,
};
pub(crate) use connect::{Connect, Filter, Format, Selected};
pub(crate) use install::{
    Controller, Install, ManifestFormat, Scope, Takeover, TakeoverCommand, TakeoverStatus, Uninstall,
};
pub(crate) use notifications::{Notifications, NotificationsCommand, PartCommand, PartFormat, PartGet};
pub(crate) use rbac::{Can, Rbac, RbacCommand, Validate};
pub(crate) use render::{Output as RenderOutput, Render};
pub(crate) use spec::{SpecFlags, SyncPolicy};

/// The whole platform of a GitOps repository in one process.
#[derive(Debug, Parser)]
#[command(name = "mainstay", version, about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring up what a repository describes and keep it so.
    Up(Up),
    /// Stop what a data directory still runs and leave nothing on the machine; its data stays.
    Down(Down),
    /// Work with Applications.
    App(App),
    /// Work with ApplicationSets.
    #[command(name = "appset")]
    AppSet(AppSet),
    /// Work with projects: what their Applications may use and where they may deploy.
    #[command(name = "project", visible_alias = "proj")]
    Project(Project),
    /// Work with repositories and their credentials.
    Repo(Repo),
    /// Work with the credentials of all repositories whose URLs begin alike.
    #[command(name = "repocreds")]
    RepoCreds(RepoCreds),
    /// Work with the clusters that Applications deploy to, and save and restore the embedded one.
    Cluster(Cluster),
    /// Say why an object is not well, down to the cause; exit with 1 if it is not, with 2 if it cannot be told.
    Why(Why),
    /// Print the script by which a shell completes commands and flags.
    Completion(Completion),
    /// Print what a chart, a kustomization, a directory or an Application becomes.
    #[command(disable_version_flag = true)]
    Render(Box<Render>),
    /// Work with the images of a data directory.
    Image(Image),
    /// Print (or apply) what runs the controllers on an existing cluster, or write it as a Helm chart.
    Install(Box<Install>),
    /// Print (or delete) what `install` put on a cluster; Applications stay.
    Uninstall(Uninstall),
    /// Move Applications between Argo CD and Mainstay, one by one, and back.
    Takeover(Takeover),
    /// Ask what the policy of argocd-rbac-cm permits, and what is wrong with it.
    Rbac(Rbac),
    /// Read argocd-notifications-cm, and say what is wrong with it.
    Notifications(Notifications),
    /// Run the controllers of Applications and ApplicationSets against an existing cluster; what `install` starts there.
    Controller(Box<Controller>),
    /// The HTTP service that the examples deploy, configured by its environment.
    #[command(hide = true)]
    DemoService,
}

/// What both `up` and whoever comes after it must agree on.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataDir {
    /// Where everything is kept, mode 0700: the cluster's objects, images, volumes and the kubeconfig
    /// [default: /var/lib/mainstay for root, otherwise ~/.local/share/mainstay].
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Up {
    /// The repository: a Git repository or directory on this machine, or a URL. Without it, the demo in
    /// examples/demo is brought up.
    #[arg(value_name = "PATH-OR-URL")]
    pub(crate) repository: Option<String>,
    /// The directory of the repository to start from: a chart, a kustomization or a directory of manifests.
    #[arg(long, default_value = ".", value_name = "DIR", requires = "repository")]
    pub(crate) path: String,
    /// The branch, tag or commit to follow [default: the files as saved for a working copy, otherwise HEAD].
    #[arg(long, value_name = "REV", requires = "repository")]
    pub(crate) revision: Option<String>,
    /// Manifests to apply before anything else: Secrets and namespaces that teams create by hand.
    #[arg(long, value_name = "DIR")]
    pub(crate) with: Option<PathBuf>,
    /// Answer a repository or chart URL from a local place (repeatable).
    #[arg(long = "source", value_name = "URL=PATH", value_parser = pair)]
    pub(crate) sources: Vec<(String, String)>,
    /// Fetch every repository from its URL, PATH's own included.
    #[arg(long)]
    pub(crate) remote: bool,
    /// Start the cluster with no repository.
    #[arg(long, conflicts_with_all = ["repository", "with"])]
    pub(crate) bare: bool,
    /// Leave the node out: no containers, and no root needed.
    #[arg(long)]
    pub(crate) no_node: bool,
    /// A namespace whose pods may be privileged, use host namespaces and mount host paths, or `all` (repeatable).
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) allow_privileged: Vec<String>,
    /// Ask this address first for a host's images and charts, as in docker.io=http://127.0.0.1:5000 (repeatable).
    #[arg(long = "mirror", value_name = "HOST=URL", value_parser = pair)]
    pub(crate) mirrors: Vec<(String, String)>,
    /// The port of the Kubernetes API [default: 6443].
    #[arg(long, value_name = "PORT")]
    pub(crate) api_port: Option<u16>,
    /// The port on which Ingresses are served over HTTP [default: 8080].
    #[arg(long, value_name = "PORT")]
    pub(crate) http_port: Option<u16>,
    /// The port on which Ingresses are served over HTTPS [default: 8443].
    #[arg(long, value_name = "PORT")]
    pub(crate) https_port: Option<u16>,
    /// The address to listen on [default: 127.0.0.1].
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<IpAddr>,
    /// Take webhooks of repositories at this address, as in 127.0.0.1:8090; they are sent to /api/webhook over plain HTTP
    /// [default: none are taken].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) webhooks: Option<SocketAddr>,
    /// A file with any of these settings; what is typed wins over it.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataDir,
}

#[derive(Debug, Args)]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) data: DataDir,
}

#[derive(Debug, Args)]
pub(crate) struct Image {
    #[command(subcommand)]
    pub(crate) command: ImageCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Make an image of a binary and the libraries it links, or of a directory, without a registry.
    Pack(Pack),
    /// List the images that are here.
    List(DataDir),
    /// Send an image to a registry.
    Push(Push),
}

#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// The binary or directory.
    pub(crate) source: PathBuf,
    /// The image's name, as in localhost/service:1.
    #[arg(long, value_name = "NAME")]
    pub(crate) tag: String,
    /// Further files or directories, as HOST-PATH or HOST-PATH:IMAGE-PATH (repeatable).
    #[arg(long, value_name = "PATH[:PATH]")]
    pub(crate) add: Vec<String>,
    /// What the image starts, a word each (repeatable) [default: the binary].
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(crate) entrypoint: Vec<String>,
    /// The arguments it starts with by default, a word each (repeatable).
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(crate) cmd: Vec<String>,
    /// An environment variable (repeatable).
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,
    /// The user it runs as, as a name or number with an optional group.
    #[arg(long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    #[command(flatten)]
    pub(crate) data: DataDir,
}

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The image's name here.
    pub(crate) image: String,
    /// The name to give it in the registry [default: the same].
    #[arg(long, value_name = "NAME")]
    pub(crate) to: Option<String>,
    /// Where a registry's name is answered, as in ghcr.io=http://127.0.0.1:5000 (repeatable).
    #[arg(long = "mirror", value_name = "HOST=URL", value_parser = pair)]
    pub(crate) mirrors: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) data: DataDir,
}

/// Splits `NAME=VALUE` at the first equals sign.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("expected two parts joined by =".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_repository_and_its_settings_parse() {
        let cli = Cli::try_parse_from([
            "mainstay",
            "up",
            "/src/platform",
            "--path",
            "applications/dev",
            "--source",
            "https://charts.example.com=/src/charts",
            "--allow-privileged",
            "runner",
            "--api-port",
            "0",
        ])
        .unwrap();
        let Command::Up(up) = cli.command else { panic!("not up") };
        assert_eq!(up.sources, [("https://charts.example.com".to_owned(), "/src/charts".to_owned())]);
        assert_eq!((up.path.as_str(), up.api_port), ("applications/dev", Some(0)));
    }

    #[test]
    fn a_path_needs_a_repository() {
        let error = Cli::try_parse_from(["mainstay", "up", "--revision", "main"]).unwrap_err();
        assert!(error.to_string().contains("PATH-OR-URL"), "{error}");
    }
}
