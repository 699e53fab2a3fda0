//! The embedded API beside the real kube-apiserver with etcd: the same client, the same requests, in turns.
//!
//! `cargo xtask bench api` starts the reference, runs this and prints the table that benchmarks/api.md keeps. Both servers
//! are processes of their own, speak HTTP/2 over TLS with client certificates, and sync to disk before they acknowledge.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints its figures")]

#[path = "api/allocator.rs"]
mod allocator;
#[path = "api/load.rs"]
mod load;
#[path = "api/measure.rs"]
mod measure;
#[path = "api/serve.rs"]
mod serve;
#[path = "api/work.rs"]
mod work;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use measure::{Sizes, Table};
use serve::{Process, Reference};
use work::Work;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches` only wants to know that it builds.
    if arguments.iter().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime.context("start the runtime").and_then(|runtime| {
        runtime.block_on(async {
            match arguments.iter().position(|argument| argument == serve::ARGUMENT) {
                Some(at) => serve::serve(Path::new(&arguments[at + 1])).await,
                None => compare(Sizes::of(&arguments)).await,
            }
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench api: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn compare(sizes: Sizes) -> Result<()> {
    let reference = Reference::from_environment()?;
    let mut table = Table::new(reference.is_some());
    let directory = tempfile::tempdir_in(serve::scratch()?).context("make a directory for the server")?;
    let ours = Process::start(directory.path()).await?;
    let started = ours.started;
    table.row(
        "start to first served request",
        &format!("{} ms", started.as_millis()),
        reference.as_ref().map(|peer| format!("{} ms", peer.started.as_millis())),
        ratio(reference.as_ref().map(|peer| peer.started.as_secs_f64()), started.as_secs_f64()),
        "≤ 300 ms",
    );
    let memory = ours.memory()?;
    let peer_memory = reference.as_ref().map(Reference::memory).transpose()?;
    table.memory("resident memory, empty", memory, peer_memory, "≤ 40 MB");

    let our_work = Work::connect(&ours.target, &sizes).await?;
    let peer_work = match &reference {
        Some(peer) => Some(Work::connect(&peer.target, &sizes).await?),
        None => None,
    };
    for operation in work::OPERATIONS {
        eprintln!("{}", operation.name);
        let mine =
            our_work.run(operation.kind).await.with_context(|| format!("{} on ours", operation.name))?;
        let theirs = match &peer_work {
            Some(work) => Some(
                work.run(operation.kind)
                    .await
                    .with_context(|| format!("{} on the reference", operation.name))?,
            ),
            None => None,
        };
        table.speed(operation.name, operation.unit, &mine, theirs.as_ref());
    }
    let objects = sizes.crowd;
    let memory = ours.memory()?;
    let peer_memory = reference.as_ref().map(Reference::memory).transpose()?;
    table.memory(&format!("resident memory, with {objects} more objects"), memory, peer_memory, "≤ ⅓ of its");
    drop((our_work, peer_work));
    drop(ours);
    reopened(&sizes, &mut table).await
}

/// Fills a store through the API, kills its server, and times the next start.
async fn reopened(sizes: &Sizes, table: &mut Table) -> Result<()> {
    let directory = tempfile::tempdir_in(serve::scratch()?).context("make a directory for the server")?;
    let mut process = Process::start(directory.path()).await?;
    eprintln!("fill");
    let work = Work::connect(&process.target, sizes).await?;
    work.fill(sizes.fill_bytes).await?;
    let filled = work.count_filled().await?;
    process.kill()?;
    let size = serve::size(directory.path())?;
    let process = Process::start(directory.path()).await?;
    let count = Work::connect(&process.target, sizes).await?.count_filled().await?;
    anyhow::ensure!(count == filled, "there were {filled} objects before the kill and {count} after it");
    table.row(
        &format!(
            "reopening after a kill, {filled} objects, {} MB of them, {} MB on disk",
            sizes.fill_bytes >> 20,
            size >> 20
        ),
        &format!("{} ms", process.started.as_millis()),
        None,
        String::new(),
        "≤ 1 s",
    );
    Ok(())
}

fn ratio(theirs: Option<f64>, ours: f64) -> String {
    theirs.map_or(String::new(), |theirs| format!("{:.1}", theirs / ours))
}
