//! The flags of `mainstay render`: those of `helm template` where it has one.

use std::path::PathBuf;

use clap::Args;

use super::pair;

/// The name of the release where none is given, as Helm has it.
const RELEASE: &str = "release-name";

#[derive(Debug, Clone, Args)]
pub(crate) struct Render {
    /// A chart (a directory, a .tgz archive, oci://… or, with --repo, its name), a kustomization, a directory of
    /// manifests, or a file with an Application.
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
    /// Print what differs between the rendering at this revision of the Git repository around PATH and the files as
    /// saved; exit with 1 if anything does, with 2 if it cannot be told.
    #[arg(long, value_name = "REV", conflicts_with_all = ["output_dir", "show_only"])]
    pub(crate) against: Option<String>,
    #[command(flatten)]
    pub(crate) release: Release,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) source: ChartSource,
    /// Of a file with several Applications, the one to render.
    #[arg(long, value_name = "NAME")]
    pub(crate) application: Option<String>,
    /// For an Application: answer a repository URL from a local place (repeatable).
    #[arg(long = "source", value_name = "URL=PATH", value_parser = pair)]
    pub(crate) sources: Vec<(String, String)>,
    /// For a directory of manifests: read the directories below it too.
    #[arg(long)]
    pub(crate) recurse: bool,
}

/// What a chart is rendered with.
#[derive(Debug, Clone, Args)]
pub(crate) struct Release {
    /// The name of the release.
    #[arg(long, value_name = "NAME", default_value = RELEASE)]
    pub(crate) release_name: String,
    /// The namespace of the release.
    #[arg(long, short, value_name = "NAME", default_value = "default")]
    pub(crate) namespace: String,
    /// Values from a YAML file, `-` being standard input, or a URL (repeatable; later ones win).
    #[arg(long, short = 'f', value_name = "FILE", value_delimiter = ',')]
    pub(crate) values: Vec<String>,
    /// Set values, as in key1=val1,key2=val2 (repeatable).
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Set text values (repeatable).
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set_string: Vec<String>,
    /// Set JSON values, as in key=[1,2] or {"key": …} (repeatable).
    #[arg(long, value_name = "KEY=JSON")]
    pub(crate) set_json: Vec<String>,
    /// Set values to what files hold, as in key1=path1,key2=path2 (repeatable).
    #[arg(long, value_name = "KEY=FILE")]
    pub(crate) set_file: Vec<String>,
    /// Set a value to a text as it is (repeatable).
    #[arg(long, value_name = "KEY=TEXT")]
    pub(crate) set_literal: Vec<String>,
    /// The Kubernetes version that charts see [default: the embedded cluster's].
    #[arg(long, value_name = "VERSION")]
    pub(crate) kube_version: Option<String>,
    /// API versions that charts see besides the usual ones (repeatable, or separated by commas).
    #[arg(long, short, value_name = "VERSION", value_delimiter = ',')]
    pub(crate) api_versions: Vec<String>,
    /// Set .Release.IsUpgrade instead of .Release.IsInstall.
    #[arg(long)]
    pub(crate) is_upgrade: bool,
    /// Do not check values against the chart's schema.
    #[arg(long)]
    pub(crate) skip_schema_validation: bool,
}

/// What is printed.
#[derive(Debug, Clone, Args)]
pub(crate) struct Output {
    /// Print the custom resource definitions under crds/ too.
    #[arg(long)]
    pub(crate) include_crds: bool,
    /// Leave hooks out.
    #[arg(long)]
    pub(crate) no_hooks: bool,
    /// Leave tests out.
    #[arg(long)]
    pub(crate) skip_tests: bool,
    /// Print only what these templates make, as in templates/service.yaml (repeatable).
    #[arg(long, short, value_name = "TEMPLATE")]
    pub(crate) show_only: Vec<String>,
    /// Write each template's manifests to a file below this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,
}

/// Where a chart comes from that is not here.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChartSource {
    /// The chart repository in which PATH is a chart's name.
    #[arg(long, value_name = "URL")]
    pub(crate) repo: Option<String>,
    /// The chart's version or a range [default: the newest].
    #[arg(long, value_name = "RANGE")]
    pub(crate) version: Option<String>,
    /// Fetch dependencies that are not in the chart, in memory.
    #[arg(long)]
    pub(crate) dependency_update: bool,
    /// Who to be at the chart repository.
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    #[arg(long, value_name = "PASSWORD")]
    pub(crate) password: Option<String>,
    /// Send the credentials to other hosts that the repository names too.
    #[arg(long)]
    pub(crate) pass_credentials: bool,
    /// Certificate authorities to trust besides the system's.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The certificate to show to the repository.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub(crate) cert_file: Option<PathBuf>,
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub(crate) key_file: Option<PathBuf>,
    /// Take whoever answers for the repository.
    #[arg(long)]
    pub(crate) insecure_skip_tls_verify: bool,
    /// Speak to an OCI registry without TLS.
    #[arg(long)]
    pub(crate) plain_http: bool,
}
