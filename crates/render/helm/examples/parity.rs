//! Compares rendering with Helm's: the recorded cases, or any charts beside Helm itself.
//!
//! `cargo xtask parity helm` runs it. Without arguments it compares with what is recorded in `shared/charts`; with
//! `--live PEER` with Helm's own engine (xtask/helm-peer) on the same cases; with `--live PEER --charts DIR…` on every
//! chart below the directories, each with its defaults, the values files it is tested with, and values made from its
//! defaults. With `--live PEER --generated COUNT` it compares charts made from seeds. The exit code is 1 if anything differs.
#![allow(clippy::unwrap_used, reason = "it shares steps with the tests: one that fails ends it")]
#![expect(clippy::print_stdout, reason = "it prints what it finds")]

#[path = "../tests/it/cases.rs"]
mod cases;
#[path = "parity/choices.rs"]
mod choices;
#[path = "parity/generate.rs"]
mod generate;
#[path = "parity/live.rs"]
mod live;
#[path = "../tests/it/peer.rs"]
#[allow(dead_code, reason = "the benchmark uses more of it")]
mod peer;
#[path = "../tests/it/shared.rs"]
mod shared;
#[path = "parity/variants.rs"]
mod variants;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// What became of one case.
pub(crate) enum Outcome {
    Same,
    /// Both refuse, with the same words.
    Refused,
    /// Same but for random values and times.
    Masked,
    Different(String),
}

/// Counts by chart.
#[derive(Default)]
pub(crate) struct Report {
    charts: BTreeMap<String, [usize; 4]>,
}

impl Report {
    pub(crate) fn add(&mut self, chart: &str, case: &str, outcome: Outcome) {
        let counts = self.charts.entry(chart.to_owned()).or_default();
        counts[match outcome {
            Outcome::Same => 0,
            Outcome::Refused => 1,
            Outcome::Masked => 2,
            Outcome::Different(problem) => {
                println!("{chart}/{case}: {problem}");
                3
            }
        }] += 1;
    }

    fn print(&self) -> bool {
        println!("chart: cases, equal, refused alike, equal but for random values, different");
        let mut total = [0; 4];
        for (chart, counts) in &self.charts {
            line(chart, counts);
            total.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        }
        line("total", &total);
        total[3] == 0
    }
}

fn line(name: &str, counts: &[usize; 4]) {
    let [same, refused, masked, different] = counts;
    println!("{name}: {} {same} {refused} {masked} {different}", counts.iter().sum::<usize>());
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut report = Report::default();
    match (arguments.next().as_deref(), arguments.next(), arguments.next().as_deref()) {
        (Some("--live"), Some(peer), Some("--charts")) => {
            let directories: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
            live::charts(&mut peer::Peer::start(&peer), &directories, &mut report);
        }
        (Some("--live"), Some(peer), Some("--generated")) => {
            let mut number = || arguments.next().and_then(|text| text.parse().ok());
            let (count, first) = (number().unwrap_or(1000), number().unwrap_or(1));
            live::generated(&mut peer::Peer::start(&peer), count, first, &mut report);
        }
        (Some("--live"), Some(peer), None) => live::recorded(&mut peer::Peer::start(&peer), &mut report),
        (None, ..) => recorded(&mut report),
        _ => {
            println!("usage: parity [--live PEER [--charts DIR… | --generated COUNT [SEED]]]");
            return ExitCode::from(2);
        }
    }
    if report.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every recorded case with what was recorded.
fn recorded(report: &mut Report) {
    for case in cases::cases() {
        let files = shared::tree(&shared::path(&format!("charts/charts/{}", case.chart)));
        let result = helm::load(&files, "").and_then(|chart| helm::render(&chart, &cases::options(&case)));
        let refused = result.is_err();
        let outcome = match cases::compare(&case, result) {
            Some(problem) => Outcome::Different(problem),
            None if refused => Outcome::Refused,
            None if case.deterministic => Outcome::Same,
            None => Outcome::Masked,
        };
        report.add(&case.chart, &case.name, outcome);
    }
}
