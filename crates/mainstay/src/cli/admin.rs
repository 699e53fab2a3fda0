//! The flags of `mainstay appset`, `project`, `repo`, `repocreds`, `cluster`, `why` and `completion`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::connect::{Connect, Format};

#[derive(Debug, Clone, Args)]
pub(crate) struct AppSet {
    #[command(flatten)]
    pub(crate) connect: Connect,
    #[command(subcommand)]
    pub(crate) command: AppSetCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AppSetCommand {
    /// List ApplicationSets.
    #[command(visible_alias = "ls")]
    List {
        /// Those whose labels match.
        #[arg(long, short = 'l', value_name = "SELECTOR")]
        selector: Option<String>,
        /// Those of a project (repeatable).
        #[arg(long, short = 'p', value_name = "PROJECT")]
        project: Vec<String>,
        #[arg(long, short, value_enum, default_value = "wide")]
        output: Format,
    },
    /// Show one ApplicationSet.
    Get {
        #[arg(value_name = "APPSETNAME")]
        name: String,
        #[arg(long, short, value_enum, default_value = "wide")]
        output: Format,
    },
    /// Create the ApplicationSets of files.
    Create {
        /// Files, `-` for standard input.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// Change those that are there already.
        #[arg(long)]
        upsert: bool,
        /// Have the API check them without storing anything.
        #[arg(long)]
        dry_run: bool,
        #[arg(long, short, value_enum)]
        output: Option<Format>,
    },
    /// Delete ApplicationSets and their Applications.
    #[command(visible_alias = "rm")]
    Delete {
        #[arg(value_name = "APPSETNAME", required = true)]
        names: Vec<String>,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Project {
    #[command(flatten)]
    pub(crate) connect: Connect,
    #[command(subcommand)]
    pub(crate) command: ProjectCommand,
}

/// A kind that a project allows or denies.
#[derive(Debug, Clone, Args)]
pub(crate) struct KindRule {
    #[arg(value_name = "PROJECT")]
    pub(crate) project: String,
    /// The API group; an empty text for the core group.
    #[arg(value_name = "GROUP")]
    pub(crate) group: String,
    #[arg(value_name = "KIND")]
    pub(crate) kind: String,
    /// The list to change [default: `deny` for namespaced kinds, `allow` for cluster-wide ones].
    #[arg(long, value_enum, value_name = "LIST")]
    pub(crate) list: Option<RuleList>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuleList {
    Allow,
    Deny,
}

/// What a new project may do.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ProjectFlags {
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// A repository it may use; `*` for all (repeatable).
    #[arg(long = "src", short = 's', value_name = "URL")]
    pub(crate) sources: Vec<String>,
    /// A destination it may deploy to, as SERVER,NAMESPACE (repeatable).
    #[arg(long = "dest", short = 'd', value_name = "SERVER,NAMESPACE")]
    pub(crate) destinations: Vec<String>,
    /// A namespace in which its Applications may live (repeatable).
    #[arg(long = "source-namespaces", value_name = "NAMESPACE")]
    pub(crate) source_namespaces: Vec<String>,
    /// A cluster-wide kind it may deploy, as GROUP/KIND (repeatable).
    #[arg(long = "allow-cluster-resource", value_name = "GROUP/KIND")]
    pub(crate) allow_cluster: Vec<String>,
    /// A namespaced kind it may deploy, as GROUP/KIND (repeatable).
    #[arg(long = "allow-namespaced-resource", value_name = "GROUP/KIND")]
    pub(crate) allow_namespaced: Vec<String>,
    /// A cluster-wide kind it may not deploy, as GROUP/KIND (repeatable).
    #[arg(long = "deny-cluster-resource", value_name = "GROUP/KIND")]
    pub(crate) deny_cluster: Vec<String>,
    /// A namespaced kind it may not deploy, as GROUP/KIND (repeatable).
    #[arg(long = "deny-namespaced-resource", value_name = "GROUP/KIND")]
    pub(crate) deny_namespaced: Vec<String>,
    /// Whether objects that no Application manages are reported.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) orphaned_resources: Option<bool>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ProjectCommand {
    /// List projects.
    #[command(visible_alias = "ls")]
    List {
        #[arg(long, short, value_enum, default_value = "wide")]
        output: Format,
    },
    /// Show one project.
    Get {
        #[arg(value_name = "PROJECT")]
        project: String,
        #[arg(long, short, value_enum, default_value = "wide")]
        output: Format,
    },
    /// Create a project.
    Create {
        #[arg(value_name = "PROJECT", required_unless_present = "file")]
        project: Option<String>,
        /// A file with an AppProject, `-` for standard input; flags change it.
        #[arg(long, short, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Change it if it is there already.
        #[arg(long)]
        upsert: bool,
        #[command(flatten)]
        flags: ProjectFlags,
    },
    /// Change what a project may do: what is given replaces what was.
    Set {
        #[arg(value_name = "PROJECT")]
        project: String,
        #[command(flatten)]
        flags: ProjectFlags,
    },
    /// Delete a project.
    #[command(visible_alias = "rm")]
    Delete {
        #[arg(value_name = "PROJECT")]
        project: String,
    },
    /// Let a project use a repository.
    AddSource {
        #[arg(value_name = "PROJECT")]
        project: String,
        #[arg(value_name = "URL")]
        url: String,
    },
    /// Take a repository from a project.
    RemoveSource {
        #[arg(value_name = "PROJECT")]
        project: String,
        #[arg(value_name = "URL")]
        url: String,
    },
    /// Let a project deploy to a namespace of a cluster.
    AddDestination {
        #[arg(value_name = "PROJECT")]
        project: String,
        /// The cluster's URL; with --name its name.
        #[arg(value_name = "SERVER")]
        server: String,
        #[arg(value_name = "NAMESPACE")]
        namespace: String,
        /// SERVER is the cluster's name.
        #[arg(long)]
        name: bool,
    },
    /// Take a destination from a project.
    RemoveDestination {
        #[arg(value_name = "PROJECT")]
        project: String,
        /// The cluster's URL or name.
        #[arg(value_name = "SERVER")]
        server: String,
        #[arg(value_name = "NAMESPACE")]
        namespace: String,
    },
    /// Let the Applications of a project live in a namespace.
    AddSourceNamespace {
        #[arg(value_name = "PROJECT")]
        project: String,
        #[arg(value_name = "NAMESPACE")]
        namespace: String,
    },
    /// Take such a namespace from a project.
    RemoveSourceNamespace {
        #[arg(value_name = "PROJECT")]
        project: String,
        #[arg(value_name = "NAMESPACE")]
        namespace: String,
    },
    /// Let a project deploy a cluster-wide kind.
    AllowClusterResource(KindRule),
    /// Keep a project from deploying a cluster-wide kind.
    DenyClusterResource(KindRule),
    /// Let a project deploy a namespaced kind.
    AllowNamespaceResource(KindRule),
    /// Keep a project from deploying a namespaced kind.
    DenyNamespaceResource(KindRule),
    /// Leave orphaned objects of a kind unreported.
    AddOrphanedIgnore {
        #[arg(value_name = "PROJECT")]
        project: String,
        #[arg(value_name = "GROUP")]
        group: String,
        #[arg(value_name = "KIND")]
        kind: String,
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Report them again.
    RemoveOrphanedIgnore {
        #[arg(value_name = "PROJECT")]
        project: String,
        #[arg(value_name = "GROUP")]
        group: String,
        #[arg(value_name = "KIND")]
        kind: String,
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Repo {
    #[command(flatten)]
    pub(crate) connect: Connect,
    #[command(subcommand)]
    pub(crate) command: RepoCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RepoCommand {
    /// List repositories with their credentials' kind.
    #[command(visible_alias = "ls")]
    List {
        #[arg(long, short, value_enum, default_value = "wide")]
        output: Format,
    },
    /// Show one repository.
    Get {
        #[arg(value_name = "URL")]
        url: String,
        #[arg(long, value_name = "PROJECT")]
        project: Option<String>,
        #[arg(long, short, value_enum, default_value = "wide")]
        output: Format,
    },
    /// Note a repository and the credentials for it, as Argo CD's Secret.
    Add(Box<RepoAdd>),
    /// Forget repositories.
    Rm {
        #[arg(value_name = "URL", required = true)]
        urls: Vec<String>,
        #[arg(long, value_name = "PROJECT")]
        project: Option<String>,
    },
}

/// The same for all repositories whose URLs begin alike.
#[derive(Debug, Clone, Args)]
pub(crate) struct RepoCreds {
    #[command(flatten)]
    pub(crate) connect: Connect,
    #[command(subcommand)]
    pub(crate) command: RepoCommand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RepoType {
    Git,
    Helm,
    Oci,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RepoAdd {
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    #[arg(long = "type", value_enum, default_value = "git")]
    pub(crate) kind: RepoType,
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The only project that may use it.
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project: Option<String>,
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// The password; others can see it in the list of processes.
    #[arg(long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    pub(crate) password: Option<String>,
    /// Read the password from standard input.
    #[arg(long)]
    pub(crate) password_stdin: bool,
    #[arg(long, value_name = "TOKEN")]
    pub(crate) bearer_token: Option<String>,
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_private_key_path: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_client_cert_path: Option<PathBuf>,
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_client_cert_key_path: Option<PathBuf>,
    #[arg(long, value_name = "ID")]
    pub(crate) github_app_id: Option<u64>,
    #[arg(long, value_name = "ID")]
    pub(crate) github_app_installation_id: Option<u64>,
    #[arg(long, value_name = "FILE")]
    pub(crate) github_app_private_key_path: Option<PathBuf>,
    /// Take whoever answers for the repository.
    #[arg(long, visible_alias = "insecure-ignore-host-key")]
    pub(crate) insecure_skip_server_verification: bool,
    #[arg(long)]
    pub(crate) enable_lfs: bool,
    #[arg(long)]
    pub(crate) enable_oci: bool,
    #[arg(long)]
    pub(crate) insecure_oci_force_http: bool,
    #[arg(long)]
    pub(crate) force_http_basic_auth: bool,
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// Change it if it is there already.
    #[arg(long)]
    pub(crate) upsert: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Cluster {
    #[command(flatten)]
    pub(crate) connect: Connect,
    #[command(subcommand)]
    pub(crate) command: ClusterCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ClusterCommand {
    /// List the clusters that Applications may name.
    #[command(visible_alias = "ls")]
    List {
        #[arg(long, short, value_enum, default_value = "wide")]
        output: Format,
    },
    /// Show one cluster.
    Get {
        /// Its name or URL.
        #[arg(value_name = "CLUSTER")]
        cluster: String,
        #[arg(long, short, value_enum, default_value = "wide")]
        output: Format,
    },
    /// Let Applications deploy to the cluster of a kubeconfig's context.
    ///
    /// A service account is made there, with the rights to manage everything, and its token is kept here as Argo CD's
    /// Secret.
    Add(Box<ClusterAdd>),
    /// Forget clusters; what was deployed to them stays.
    Rm {
        /// Names or URLs.
        #[arg(value_name = "CLUSTER", required = true)]
        clusters: Vec<String>,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Write all objects of the embedded cluster, Secrets among them, to a file with mode 0600, as of one moment; the
    /// cluster may be running.
    Backup {
        /// The backup.
        file: PathBuf,
    },
    /// Check a backup and put its objects into a data directory that has none yet.
    Restore {
        /// The backup.
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterAdd {
    /// The context of the cluster to add.
    #[arg(value_name = "CONTEXT")]
    pub(crate) target: String,
    /// The kubeconfig that has the context [default: the one this command uses].
    #[arg(long, value_name = "FILE")]
    pub(crate) target_kubeconfig: Option<PathBuf>,
    /// How Applications name it [default: the context].
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The address by which it is reached from here, where that is not the kubeconfig's.
    #[arg(long, value_name = "URL")]
    pub(crate) cluster_endpoint: Option<String>,
    /// A service account that is there already.
    #[arg(long, value_name = "NAME")]
    pub(crate) service_account: Option<String>,
    /// The namespace of the service account.
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    pub(crate) system_namespace: String,
    /// A namespace to keep to (repeatable) [default: all].
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) namespace: Vec<String>,
    /// With --namespace: manage cluster-wide objects too.
    #[arg(long)]
    pub(crate) cluster_resources: bool,
    /// The only project that may use it.
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project: Option<String>,
    /// Labels, which the cluster generator of ApplicationSets selects by (repeatable).
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::pair)]
    pub(crate) label: Vec<(String, String)>,
    /// Annotations (repeatable).
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::pair)]
    pub(crate) annotation: Vec<(String, String)>,
    /// Change it if it is there already.
    #[arg(long)]
    pub(crate) upsert: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhyFormat {
    Tree,
    Json,
    Yaml,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Why {
    #[command(flatten)]
    pub(crate) connect: Connect,
    /// The object, as KIND/NAME: app/gateway, deploy/web, pod/web-1, ingress/web, pvc/data, svc/web, job/migrate.
    #[arg(value_name = "KIND/NAME")]
    pub(crate) object: String,
    /// Its namespace [default: argocd for Applications, otherwise default].
    #[arg(long, short, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Show what is healthy too.
    #[arg(long, short)]
    pub(crate) all: bool,
    #[arg(long, short, value_enum, default_value = "tree")]
    pub(crate) output: WhyFormat,
    /// How many lines of a container's log are shown.
    #[arg(long, value_name = "LINES", default_value_t = 5)]
    pub(crate) tail: u32,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) timeout: u64,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Completion {
    /// The shell to complete for.
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}
