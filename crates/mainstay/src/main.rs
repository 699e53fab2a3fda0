//! The command line: reads what a person typed and calls the part that answers.
//!
//! This crate wires the others together and owns nothing else than flags, configuration and the data directory. The same
//! program is also the monitor that holds a container ([`containers::monitor_main`]) and the demo's service.
#![expect(clippy::print_stderr, reason = "a command-line tool speaks to its user")]

mod allocator;
mod app;
mod applicationsets;
mod cli;
mod clusters;
mod controller;
mod data_dir;
mod down;
mod environment;
mod image;
mod installation;
mod notices;
mod preflight;
mod privilege;
mod projects;
mod rbac;
mod remote;
mod render;
mod repositories;
mod settings;
mod sources;
mod takeover;
mod up;
mod why_command;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory as _, Parser as _};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command, ImageCommand};
use crate::data_dir::DataDir;
use crate::environment::Environment;
use crate::remote::ended;

/// What is logged if `MAINSTAY_LOG` does not say. The network asks the kernel for things that may not be there, which nlink
/// takes for failures.
const DEFAULT_LOG: &str = "warn,nlink=error";

/// The first argument of the re-executed process that holds a container.
pub(crate) const MONITOR: &str = "__monitor";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(MONITOR) {
        // Before anything else: the monitor must have one thread, and neither logging nor a runtime.
        return containers::monitor_main(arguments.collect());
    }
    let cli = Cli::parse();
    let environment = Environment::read();
    allocator::return_memory_in_the_background();
    let log = match cli.command {
        Command::DemoService | Command::Controller(_) => "info",
        _ => DEFAULT_LOG,
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(EnvFilter::new(environment.log.as_deref().unwrap_or(log)))
        .init();
    match run(cli, &environment) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mainstay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli, environment: &Environment) -> Result<ExitCode> {
    if matches!(cli.command, Command::DemoService) {
        return demo_service().map(|()| ExitCode::SUCCESS);
    }
    if let Command::Completion(completion) = cli.command {
        // Into memory first: a reader that reads no further is no reason to panic.
        let mut script = Vec::new();
        clap_complete::generate(completion.shell, &mut Cli::command(), "mainstay", &mut script);
        return remote::output::say(&String::from_utf8_lossy(&script)).map(|()| ExitCode::SUCCESS);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        match cli.command {
            Command::Render(render) => return render::run(&render, environment).await,
            Command::App(app) => return Ok(ended(app::run(app, environment).await)),
            Command::AppSet(sets) => return Ok(ended(applicationsets::run(sets, environment).await)),
            Command::Project(project) => return Ok(ended(projects::run(project, environment).await)),
            Command::Repo(repo) => return Ok(ended(repositories::run(repo, environment).await)),
            Command::RepoCreds(creds) => return Ok(ended(repositories::templates(creds, environment).await)),
            Command::Cluster(cluster) => return Ok(ended(clusters::run(cluster, environment).await)),
            Command::Why(why) => return Ok(ended(why_command::run(why, environment).await)),
            Command::Install(install) => {
                return Ok(ended(installation::install(&install, environment).await));
            }
            Command::Uninstall(typed) => {
                return Ok(ended(installation::uninstall(&typed, environment).await));
            }
            Command::Notifications(typed) => return Ok(ended(notices::run(typed, environment).await)),
            Command::Rbac(rbac) => return Ok(ended(rbac::run(rbac, environment).await)),
            Command::Takeover(takeover) => return Ok(ended(takeover::run(takeover, environment).await)),
            Command::Controller(controller) => controller::run(&controller, environment).await,
            Command::Up(up) => up::run(&up, environment).await,
            Command::Down(down) => down::run(&down, environment).await,
            Command::Image(image) => match image.command {
                ImageCommand::Pack(pack) => image::pack(&create(&pack.data, environment)?, &pack).await,
                ImageCommand::List(data) => image::list(&create(&data, environment)?).await,
                ImageCommand::Push(push) => image::push(&create(&push.data, environment)?, &push).await,
            },
            Command::Completion(_) | Command::DemoService => unreachable!("answered above"),
        }?;
        Ok(ExitCode::SUCCESS)
    })
}

fn create(data: &cli::DataDir, environment: &Environment) -> Result<DataDir> {
    DataDir::create(&environment.data_dir(data)?, environment.caller)
}

/// One thread is enough for it, and a tenant of a small machine keeps to what it needs.
fn demo_service() -> Result<()> {
    let config = demo_service::Config::from_variables(std::env::vars())?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut signals = up::signals::Signals::listen()?;
        let told = stop.clone();
        tokio::spawn(async move {
            signals.next().await;
            told.cancel();
        });
        demo_service::run(config, stop).await
    })
}
