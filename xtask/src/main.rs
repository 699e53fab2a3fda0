//! Every job that cargo alone cannot do: installing what the tests need, running them, and checking the tree.
//!
//! `cargo xtask help` lists the commands. Each one installs what it needs first, so that a fresh machine and CI
//! do the same as a developer does.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks to its user")]

mod bench;
mod parity;
mod process;
mod soak;
mod test;
mod tidy;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const HELP: &str = "\
cargo xtask COMMAND

  test [FILTER…]   install what the tests need, then run every test of the workspace
                   (arguments go to `cargo test`: a crate is `-p NAME`)
  bench NAME       measure: `up`
  soak NAME [N]    long runs, recorded in benchmarks/soak.md: `kills`, `watches`
  parity kustomize [--record] [FILTER]
                   build our cases with real kustomize (needs Go) and with ours, print a table
  tidy             check layers, sizes, module headers and texts
  tools            install what the tests need, print where it is
  help             this text
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_else(|| "help".to_owned());
    let rest: Vec<String> = arguments.collect();
    match command.as_str() {
        "soak" if rest.first().is_some_and(|name| name == "kustomize") => soak(&rest[1..]),
        "test" => test::run(&root(), &rest),
        "bench" => bench::run(&root(), &rest),
        "soak" => soak::run(&root(), &rest),
        "parity" => parity::run(&root(), &rest),
        "tidy" => tidy::run(&root()),
        "tools" => tools::run(&root()),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("no command {other:?}; `cargo xtask help` lists them"),
    }
}

/// `soak kustomize [--cases N] [--seed N]`
fn soak(arguments: &[String]) -> Result<()> {
    let number = |name: &str, default: u64| -> Result<u64> {
        match arguments.iter().position(|argument| argument == name) {
            Some(at) => {
                let text = arguments.get(at + 1).with_context(|| format!("{name} needs a number"))?;
                text.parse().with_context(|| format!("{name} {text}"))
            }
            None => Ok(default),
        }
    };
    parity::kustomize::soak(&root(), number("--cases", 10_000)?, number("--seed", 1)?)
}

/// The workspace root: xtask's manifest lies one directory below it.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}
