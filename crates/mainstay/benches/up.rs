//! The figures of `mainstay up`: how soon the demo and CheckMate serve, and what that costs.
//!
//! `cargo xtask bench up` runs it and prints the table that benchmarks/up.md keeps. It needs root and the tests' tools.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints its figures")]
#![expect(dead_code, reason = "it uses a part of what the tests share")]

#[path = "../tests/it/checkmate/setup.rs"]
mod checkmate;
#[path = "../tests/it/images.rs"]
mod images;
mod measure;
#[path = "../tests/it/platform.rs"]
mod platform;

use std::time::{Duration, Instant};

use platform::Platform;
use serde_json::Value;
use test_kit::eventually;

/// The longest initial delay of the readiness probes in CheckMate's charts.
const PROBE_DELAY: Duration = Duration::from_secs(20);

/// How long the idle platform is watched.
const IDLE: Duration = Duration::from_secs(30);

/// A wait in a benchmark is bounded, not measured against its figure.
const PATIENCE: Duration = Duration::from_secs(180);

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("| figure | measured | must be |\n|---|---|---|");
    demo();
    checkmate_ready();
}

fn row(figure: &str, measured: &str, bound: &str) {
    println!("| {figure} | {measured} | {bound} |");
}

fn demo() {
    let mut times: Vec<Duration> = (0..5).map(|_| demo_once()).collect();
    times.sort();
    row(
        "demo answers after `up` on an empty data directory (median of 5)",
        &format!(
            "{:.2} s ({:.2} to {:.2})",
            times[2].as_secs_f64(),
            times[0].as_secs_f64(),
            times[4].as_secs_f64()
        ),
        "2 s",
    );
}

fn demo_once() -> Duration {
    let start = Instant::now();
    let platform = Platform::spawn(&[]);
    eventually("the demo answers", PATIENCE, || match platform.http("GET", "localhost", "/", "") {
        Ok((200, _)) => Ok(()),
        other => Err(other),
    });
    start.elapsed()
}

fn checkmate_ready() {
    let prepared = checkmate::prepare();
    let start = Instant::now();
    let checkmate = prepared.up();
    let platform = &checkmate.platform;
    eventually("every service is ready", PATIENCE, || {
        let pods = platform.get(&["pods", "--all-namespaces"])?;
        let waiting: Vec<String> = pods["items"]
            .as_array()
            .into_iter()
            .flatten()
            // The monitoring stack's images are not among the stand-ins.
            .filter(|pod| pod["metadata"]["namespace"] != "monitoring" && !ready(pod))
            .map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned())
            .collect();
        let enough = pods["items"].as_array().is_some_and(|pods| pods.len() >= images::SERVICES.len() + 2);
        if enough && waiting.is_empty() { Ok(()) } else { Err(format!("waiting for {waiting:?}")) }
    });
    let ready = start.elapsed();
    row(
        "CheckMate's services ready after the charts' probe delays (20 s)",
        &format!("{:.1} s", ready.saturating_sub(PROBE_DELAY).as_secs_f64()),
        "15 s",
    );
    let processes = measure::processes(&platform.data_dir());
    let pss: u64 = processes.iter().map(|process| measure::pss(*process)).sum();
    row(
        &format!("memory then: PSS of the process and its {} monitors", processes.len() - 1),
        &format!("{} MB", pss / 1024),
        "150 MB",
    );
    let before: u64 = processes.iter().map(|process| measure::ticks(*process)).sum();
    #[expect(clippy::disallowed_methods, reason = "CPU time is measured over a span")]
    std::thread::sleep(IDLE);
    let after: u64 = processes.iter().map(|process| measure::ticks(*process)).sum();
    let share = 100.0 * (after - before) as f64 / 100.0 / IDLE.as_secs_f64();
    row("idle CPU, of one core", &format!("{share:.2} %"), "1 %");
}

fn ready(pod: &Value) -> bool {
    pod["status"]["conditions"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}
