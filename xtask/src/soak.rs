//! Long runs: what is tested for minutes in `test` is tried for hours here, generated cases go beside the real tools, and
//! parsers get spoiled input. The result is kept with its revision.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{parity, process, tools};

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

const SOAKS: [Soak; 5] = [
    Soak {
        name: "faults",
        unit: "seeds",
        package: "gitops",
        test: "faults::",
        variable: "MAINSTAY_SOAK_FAULTS",
        usual: 2_000,
    },
    Soak {
        name: "kills",
        unit: "kills",
        package: "mainstay",
        test: "crash::kills_at_any_moment_lose_nothing",
        variable: "MAINSTAY_SOAK_KILLS",
        usual: 1_000,
    },
    Soak {
        name: "quiet",
        unit: "s",
        package: "mainstay",
        test: "quiet::",
        variable: "MAINSTAY_SOAK_QUIET_SECONDS",
        usual: 20 * 60,
    },
    Soak {
        name: "store",
        unit: "kills",
        package: "store",
        test: "kill::acknowledged_writes_survive_a_kill",
        variable: "MAINSTAY_SOAK_STORE_KILLS",
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

/// The parsers that are fed.
const FUZZED: [&str; 6] = ["yaml", "gotmpl", "archive", "strvals", "semver", "spdy"];

/// Runs what the first argument names, and records how it went.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let Some((name, rest)) = arguments.split_first() else { bail!("name what to soak: {}", names()) };
    match name.as_str() {
        "helm" | "kustomize" => generated(root, name, rest),
        "fuzz" => {
            let seconds = option(rest, "--seconds", 600)?;
            let one = rest.first().filter(|name| !name.starts_with("--"));
            let targets = one.map_or(FUZZED.to_vec(), |name| vec![name.as_str()]);
            targets.into_iter().try_for_each(|target| fuzz(root, target, seconds))
        }
        name => match SOAKS.iter().find(|soak| soak.name == name) {
            Some(soak) => test(root, soak, rest.first()),
            None => bail!("nothing to soak is called {name:?}; there are: {}", names()),
        },
    }
}

fn names() -> String {
    let tests = SOAKS.map(|soak| soak.name).join(", ");
    format!("{tests}, fuzz, helm, kustomize")
}

fn option(arguments: &[String], name: &str, default: u64) -> Result<u64> {
    let Some(at) = arguments.iter().position(|argument| argument == name) else { return Ok(default) };
    let text = arguments.get(at + 1).with_context(|| format!("{name} takes a number"))?;
    text.parse().with_context(|| format!("read the number of {name} {text:?}"))
}

/// Generated cases, rendered by the real tool and by ours.
fn generated(root: &Path, tool: &str, arguments: &[String]) -> Result<()> {
    let (cases, seed) = (option(arguments, "--cases", 10_000)?, option(arguments, "--seed", 1)?);
    recorded(root, tool, &format!("{cases} cases from seed {seed}"), || {
        if tool == "kustomize" {
            return parity::kustomize::soak(root, cases, seed);
        }
        let flags = ["--live", "--generated", &cases.to_string(), &seed.to_string()];
        parity::helm::run(root, &flags.map(str::to_owned))
    })
}

fn fuzz(root: &Path, target: &str, seconds: u64) -> Result<()> {
    let seconds = seconds.to_string();
    let package = if target == "spdy" { "spdy" } else { "helm" };
    // Examples of the whole workspace are built into one directory.
    let example = format!("fuzz_{package}");
    let cargo =
        ["run", "--quiet", "--release", "--package", package, "--example", &example, "--", target, &seconds];
    recorded(root, &format!("fuzz {target}"), &format!("{seconds} s"), || {
        process::run(Command::new("cargo").current_dir(root).args(cargo))
    })
}

fn test(root: &Path, soak: &Soak, number: Option<&String>) -> Result<()> {
    let number = match number {
        Some(number) => {
            number.parse().with_context(|| format!("read the number of {} {number:?}", soak.unit))?
        }
        None => soak.usual,
    };
    let mut command = Command::new("cargo");
    command.current_dir(root).env("PATH", tools::path(root)?).env(soak.variable, number.to_string());
    // What is watched for minutes is watched at the same time, however few cores there are.
    let filter = ["--test", "it", "--", "--nocapture", "--test-threads=4", soak.test];
    command.args(["test", "--package", soak.package]).args(filter);
    recorded(root, soak.name, &format!("{number} {}", soak.unit), || process::run(&mut command))
}

/// Runs `work` and appends a line about it to the results.
fn recorded(root: &Path, name: &str, amount: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let revision = revision(root)?;
    let start = Instant::now();
    let result = work();
    let minutes = start.elapsed().as_secs().div_ceil(60);
    let outcome = if result.is_ok() { "passed" } else { "failed" };
    let mut file =
        File::options().append(true).open(root.join(RESULTS)).with_context(|| format!("open {RESULTS}"))?;
    writeln!(file, "| {name} | {amount} | {revision} | {minutes} min | {outcome} |")
        .with_context(|| format!("write {RESULTS}"))?;
    println!("{outcome} after {minutes} min; {RESULTS} has the line");
    result
}

/// The commit that is checked out, marked if files differ from it.
fn revision(root: &Path) -> Result<String> {
    let git = |arguments: &[&str]| process::output(Command::new("git").current_dir(root).args(arguments));
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no", "--", ".", &format!(":!{RESULTS}")])?;
    let mark = if changed.trim().is_empty() { "" } else { " with changes" };
    Ok(format!("{}{mark}", commit.trim()))
}
