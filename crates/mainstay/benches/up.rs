//! The figures of `mainstay up`: how soon the demo and CheckMate serve, and what that costs.
//!
//! `cargo xtask bench up` runs it and prints the table that benchmarks/up.md keeps. It needs root and the tests' tools.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints its figures")]
#![expect(dead_code, reason = "it uses a part of what the tests share")]

#[path = "../tests/it/checkmate/setup.rs"]
mod checkmate;
#[path = "../tests/it/images.rs"]
mod images;
#[path = "../tests/it/platform.rs"]
mod platform;

use std::fs;
use std::path::Path;
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
    let processes = processes(&platform.data_dir());
    let pss: u64 = processes.iter().map(|process| pss(*process)).sum();
    row(
        &format!("memory then: PSS of the process and its {} monitors", processes.len() - 1),
        &format!("{} MB", pss / 1024),
        "150 MB",
    );
    let before: u64 = processes.iter().map(|process| ticks(*process)).sum();
    #[expect(clippy::disallowed_methods, reason = "CPU time is measured over a span")]
    std::thread::sleep(IDLE);
    let after: u64 = processes.iter().map(|process| ticks(*process)).sum();
    // Ticks are hundredths of a second on every Linux this runs on.
    let share = 100.0 * (after - before) as f64 / 100.0 / IDLE.as_secs_f64();
    row("idle CPU, of one core", &format!("{share:.2} %"), "1 %");
}

fn ready(pod: &Value) -> bool {
    pod["status"]["conditions"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

/// Mainstay's own processes: the main one, which names the data directory in its command line, and its monitors. What
/// runs in containers is below the monitors, but was started by another command.
fn processes(data_dir: &Path) -> Vec<u32> {
    let directory = data_dir.to_string_lossy().into_owned();
    let all: Vec<u32> = fs::read_dir("/proc")
        .expect("the processes")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    let line = |process: u32| fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let names = |process: u32, text: &str| String::from_utf8_lossy(&line(process)).contains(text);
    let main =
        all.iter().copied().find(|process| names(*process, "mainstay\0up\0") && names(*process, &directory));
    let main = main.expect("the main process");
    let mut found: Vec<u32> = all
        .into_iter()
        .filter(|process| names(*process, "\0__monitor\0") && descends(*process, main))
        .collect();
    found.push(main);
    found
}

/// Whether a process is another one or below it.
fn descends(process: u32, from: u32) -> bool {
    let parent = |process: u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    std::iter::successors(Some(process), |process| parent(*process)).any(|process| process == from)
}

/// Kilobytes.
fn pss(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("Pss:")?.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

/// User and system time in clock ticks.
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let Some((_, rest)) = stat.rsplit_once(") ") else { return 0 };
    rest.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}
