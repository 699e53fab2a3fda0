//! Long runs: what is tested for minutes in `test` is tried for hours here, and the result is kept with its revision.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{process, tools};

/// Where results are kept, a line each.
const RESULTS: &str = "benchmarks/soak.md";

/// One long run: a test of the workspace that reads from its environment how much to do.
struct Soak {
    name: &'static str,
    /// What the number counts.
    unit: &'static str,
    package: &'static str,
    test: &'static str,
    variable: &'static str,
    usual: u64,
}

const SOAKS: [Soak; 2] = [
    Soak {
        name: "kills",
        unit: "kills",
        package: "mainstay",
        test: "crash::kills_at_any_moment_lose_nothing",
        variable: "MAINSTAY_SOAK_KILLS",
        usual: 1_000,
    },
    Soak {
        name: "watches",
        unit: "writes",
        package: "store",
        test: "watches::concurrent_watchers_see_all_events_in_one_order",
        variable: "MAINSTAY_SOAK_WRITES",
        usual: 200_000,
    },
];

/// `soak NAME [NUMBER]`
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let names = SOAKS.map(|soak| soak.name).join(", ");
    let Some(wanted) = arguments.first() else { bail!("name what to soak: {names}") };
    let Some(soak) = SOAKS.iter().find(|soak| soak.name == wanted) else {
        bail!("nothing to soak is called {wanted:?}; there are: {names}");
    };
    let number = match arguments.get(1) {
        Some(number) => {
            number.parse().with_context(|| format!("read the number of {} {number:?}", soak.unit))?
        }
        None => soak.usual,
    };
    let revision = revision(root)?;
    let path = tools::path(root)?;
    let mut command = Command::new("cargo");
    command.current_dir(root).env("PATH", path).env(soak.variable, number.to_string());
    command.args([
        "test",
        "--package",
        soak.package,
        "--test",
        "it",
        "--",
        "--exact",
        "--nocapture",
        soak.test,
    ]);
    let start = Instant::now();
    let result = process::run(&mut command);
    record(root, soak, number, &revision, start.elapsed(), result.is_ok())?;
    result
}

/// The commit that is checked out, marked if files differ from it.
fn revision(root: &Path) -> Result<String> {
    let git = |arguments: &[&str]| process::output(Command::new("git").current_dir(root).args(arguments));
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let mark = if changed.trim().is_empty() { "" } else { " with changes" };
    Ok(format!("{}{mark}", commit.trim()))
}

fn record(root: &Path, soak: &Soak, number: u64, revision: &str, took: Duration, passed: bool) -> Result<()> {
    let path = root.join(RESULTS);
    let mut file = File::options().append(true).open(&path).with_context(|| format!("open {RESULTS}"))?;
    let result = if passed { "passed" } else { "failed" };
    let minutes = took.as_secs().div_ceil(60);
    writeln!(file, "| {} | {number} {} | {revision} | {minutes} min | {result} |", soak.name, soak.unit)
        .with_context(|| format!("write {RESULTS}"))?;
    println!("{result} after {minutes} min; {RESULTS} has the line");
    Ok(())
}
