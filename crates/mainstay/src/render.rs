//! `mainstay render`: what a chart, a kustomization, a directory or an Application becomes, printed and not applied.
//!
//! Needs neither root nor a data directory; what is fetched is kept in the caller's cache directory.

mod application;
mod chart;
mod diff;
mod place;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use charts::{Charts, ClientCertificate, Freshness, Mode, Public, Repository, Tls, Verification};

use crate::cli;
use crate::environment::Environment;
use chart::World;
use place::{Kind, Place};

/// With `--against`, what the exit code says.
const DIFFERENT: u8 = 1;
const FAILED: u8 = 2;

/// Renders and prints; the exit code says whether there was a difference, or that it could not be told.
pub(crate) async fn run(args: &cli::Render, environment: &Environment) -> Result<ExitCode> {
    match answer(args, environment).await {
        // Whoever reads no further has what it wanted.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) if args.against.is_some() => {
            eprintln!("mainstay: {error:#}");
            Ok(ExitCode::from(FAILED))
        }
        result => result,
    }
}

async fn answer(args: &cli::Render, environment: &Environment) -> Result<ExitCode> {
    let mut renderer = Renderer {
        args,
        cache: environment.cache_dir(),
        elsewhere: chart::Elsewhere::new(),
        world: World { now: jiff::Timestamp::now(), seed: seed() },
    };
    renderer.elsewhere = chart::elsewhere(args, &renderer.charts()).await?;
    match &args.against {
        None => renderer.print().await,
        Some(revision) => renderer.compare(revision).await,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Of 244 random bits.
fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    seed[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    seed
}

fn say(text: &str) -> Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes()).context("write to standard output")
}

struct Renderer<'a> {
    args: &'a cli::Render,
    cache: PathBuf,
    elsewhere: chart::Elsewhere,
    world: World,
}

/// What came out: to be printed whole, or compared document by document.
struct Outcome {
    text: String,
    documents: Vec<String>,
}

impl Renderer<'_> {
    async fn print(&self) -> Result<ExitCode> {
        let output = &self.args.output;
        if let Some(rendered) = self.chart(None).await? {
            match &output.output_dir {
                Some(directory) => {
                    chart::write(&rendered, output, directory, say)?;
                    say("\n")?;
                }
                None if output.show_only.is_empty() => say(&chart::text(&rendered, output))?,
                None => say(&chart::only(&chart::text(&rendered, output), &output.show_only)?)?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        if output.output_dir.is_some() || !output.show_only.is_empty() {
            bail!("--output-dir and --show-only are for charts");
        }
        say(&self.other(&Place::find(&self.args.path)?, None).await?.text)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn compare(&self, revision: &str) -> Result<ExitCode> {
        if self.is_remote() {
            bail!("--against compares files of a Git repository; {} comes from elsewhere", self.args.path);
        }
        let now = Place::find(&self.args.path)?;
        let then = now.at(revision)?;
        let (old, new) = (self.documents(&then, Some(revision)).await?, self.documents(&now, None).await?);
        let text = diff::diff(revision, &old, "saved", &new);
        say(&text)?;
        Ok(if text.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
    }

    /// The documents of a place; nothing where it did not exist at that revision.
    async fn documents(&self, place: &Place, revision: Option<&str>) -> Result<Vec<String>> {
        if revision.is_some()
            && place.tree.list(&place.path)?.is_none()
            && place.tree.read(&place.path)?.is_none()
        {
            return Ok(Vec::new());
        }
        let failed = || format!("render {} at {}", self.args.path, revision.unwrap_or("the files as saved"));
        match self.chart(Some(place)).await.with_context(failed)? {
            Some(rendered) => Ok(chart::documents(&rendered, &self.args.output)),
            None => Ok(self.other(place, revision).await.with_context(failed)?.documents),
        }
    }

    /// Whether the chart comes from a repository.
    fn is_remote(&self) -> bool {
        self.args.source.repo.is_some() || self.args.path.contains("://")
    }

    /// The chart rendered, if it is one.
    async fn chart(&self, place: Option<&Place>) -> Result<Option<helm::Rendered>> {
        if self.is_remote() {
            let chart = self.fetch().await?;
            let options = chart::options(self.args, None, &self.elsewhere, self.world)?;
            return chart::render(&chart, &options).map(Some);
        }
        let place = match place {
            Some(place) => place.clone(),
            None => Place::find(&self.args.path)?,
        };
        if place.kind()? != Kind::Chart {
            return Ok(None);
        }
        if self.args.source.version.is_some() {
            bail!("--version is for charts from a repository; {} is here", self.args.path);
        }
        let mut chart = helm::load(&*place.tree, place.path.as_str())?;
        if self.args.source.dependency_update && !chart.missing_dependencies().is_empty() {
            let (charts, tree) = (self.charts(), Arc::clone(&place.tree));
            let path = place.path.as_str();
            let built = charts.build(tree, path, &Public, Mode::Update, Freshness::Recent).await?;
            chart = helm::Chart::from_files(built.files)?;
        }
        let options = chart::options(self.args, Some(&place), &self.elsewhere, self.world)?;
        chart::render(&chart, &options).map(Some)
    }

    fn charts(&self) -> Charts {
        Charts::new(charts::Config::new(self.cache.join("charts")))
    }

    /// The chart from its repository.
    async fn fetch(&self) -> Result<helm::Chart> {
        let (path, charts) = (&self.args.path, self.charts());
        let version = self.args.source.version.as_deref().unwrap_or_default();
        let pulled = match &self.args.source.repo {
            Some(url) => charts.pull(&self.repository(url)?, path, version, Freshness::Recent).await?,
            None if path.starts_with("oci://") => {
                let (above, name) =
                    path.rsplit_once('/').context("an OCI chart is named oci://host/path/chart")?;
                let (name, tag) = name.split_once(':').unwrap_or((name, version));
                charts.pull(&self.repository(above)?, name, tag, Freshness::Recent).await?
            }
            None => charts.fetch(&self.repository(path)?, path).await?,
        };
        Ok(helm::load_archive(&pulled.archive)?)
    }

    fn repository(&self, url: &str) -> Result<Repository> {
        let source = &self.args.source;
        let read = |file: &PathBuf| {
            std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))
        };
        let client = match (&source.cert_file, &source.key_file) {
            (Some(certificate), Some(key)) => {
                Some(ClientCertificate { certificate: read(certificate)?, key: read(key)? })
            }
            _ => None,
        };
        let verification =
            if source.insecure_skip_tls_verify { Verification::Skipped } else { Verification::Full };
        let authorities = source.ca_file.as_ref().map(read).transpose()?.unwrap_or_default();
        Ok(Repository {
            username: source.username.clone().unwrap_or_default(),
            password: source.password.clone().unwrap_or_default(),
            pass_credentials: source.pass_credentials,
            plain_http: source.plain_http,
            tls: Tls { authorities, client, verification },
            ..Repository::new(url)
        })
    }

    /// What is no chart.
    async fn other(&self, place: &Place, revision: Option<&str>) -> Result<Outcome> {
        let objects = match place.kind()? {
            Kind::Chart => bail!("{} is a chart", place.path),
            Kind::Kustomization => {
                let options = kustomize::Options::default();
                kustomize::build(&*place.tree, place.path.as_str(), &options)?
            }
            Kind::Directory => application::directory(self, place, revision).await?,
            Kind::File => application::file(self, place, revision).await?,
        };
        let documents = objects.iter().map(yaml::to_string).collect();
        Ok(Outcome { text: kustomize::to_yaml(&objects), documents })
    }
}
