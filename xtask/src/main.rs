//! Every job that cargo alone cannot do: installing what the tests need, running them, and checking the tree.
//!
//! `cargo xtask help` lists the commands. Each one installs what it needs first, so that a fresh machine and CI
//! do the same as a developer does.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool speaks to its user")]

mod bench;
mod conformance;
mod kube;
mod parity;
mod process;
mod soak;
mod test;
mod tidy;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask COMMAND

  test [FILTER…]   install what the tests need, then run every test of the workspace
                   (arguments go to `cargo test`: a crate is `-p NAME`)
  bench NAME       measure: `render`, `up`, `api` (beside the real kube-apiserver; `--quick`)
  parity helm      compare with recorded renderings of Helm; with Helm itself (needs Go): `--live`, on other
                   charts: `--live --charts DIR…`
  parity kustomize [--record] [FILTER]
                   build our cases with real kustomize (needs Go) and with ours, print a table
  soak NAME        long runs, recorded in benchmarks/soak.md: `kills [N]`, `faults [N]`, `quiet [S]`, `store [N]`,
                   `watches [N]`,
                   `fuzz [TARGET] [--seconds S]`; generated cases beside the real tool: `helm` and `kustomize`
                   `[--cases N] [--seed N]`
  conformance NAME [--record] [FILE]
                   one suite against the real kube-apiserver and ours (`--record`: write its answers down):
                   `api` (requests), `kubectl` and `helm` (tours of commands), `gitops` and `install` (the
                   controllers, and the processes that an installation runs);
                   `clients`: the Python and the JavaScript client against ours
  kube [build]     build the real kube-apiserver and etcd into target/tools and run them
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
        "test" => test::run(&root(), &rest),
        "bench" => bench::run(&root(), &rest),
        "parity" => parity::run(&root(), &rest),
        "soak" => soak::run(&root(), &rest),
        "conformance" => conformance::run(&root(), &rest),
        "kube" => kube::run(&root(), &rest),
        "tidy" => tidy::run(&root()),
        "tools" => tools::run(&root()),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("no command {other:?}; `cargo xtask help` lists them"),
    }
}

/// The workspace root: xtask's manifest lies one directory below it.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}
