//! Loading and rendering beside Helm's own engine: the same file bytes, one core, both warm in their processes.
//!
//! `cargo xtask bench render` builds the peer, pins both to one core and prints the table that
//! benchmarks/render.md keeps. Every iteration starts from bytes: nothing that was read, parsed or rendered before
//! is used again.
#![allow(clippy::unwrap_used, reason = "it shares steps with the tests: one that fails ends it")]
#![expect(clippy::print_stdout, reason = "it prints its figures")]
#![expect(unsafe_code, reason = "jemalloc reads its settings from an exported symbol")]

#[path = "render/corpus.rs"]
mod corpus;
#[path = "../tests/it/peer.rs"]
#[allow(dead_code, reason = "comparing uses more of it")]
mod peer;
#[path = "../tests/it/shared.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod shared;

use std::time::Duration;

use corpus::Case;
use peer::Peer;

/// Rounds, in each of which every side renders a chart so many times, one after the other.
const ROUNDS: usize = 5;
const REPEAT: usize = 3;
/// As often as this for charts that draw keys: how long one takes to find is chance.
const REPEAT_RANDOM: usize = 8;

/// The binary's allocator with the binary's settings.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

// SAFETY: the name is the one under which jemalloc looks for a pointer to a C string, and this is one.
#[unsafe(export_name = "_rjem_malloc_conf")]
#[used]
static SETTINGS: &[u8; 47] = b"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0\0";

struct Row {
    name: String,
    ours: Duration,
    theirs: Duration,
    in_total: bool,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    // `cargo test --benches` only wants to know that it builds.
    let Some(first) = arguments.next().filter(|argument| argument != "--test") else { return };
    let cases = corpus::all();
    if first == "--ours" {
        let wanted = arguments.next().unwrap_or_default();
        let repeat = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1);
        ours_alone(&cases, &wanted, repeat);
        return;
    }
    let mut peer = Peer::start(&first);
    let mut rows = Vec::new();
    for case in &cases {
        rows.push(measure(case, &mut peer));
    }
    print_rows(&rows);
    let (ours, theirs) = (peak(std::process::id()), peak(peer.id()));
    let ratio = theirs / ours;
    println!("| peak memory, MiB | {ours:.0} | {theirs:.0} | {ratio:.1} |");
}

/// For profilers: our side alone, of one chart, of `shared` ones or of `all`; the best of so many.
fn ours_alone(cases: &[Case], wanted: &str, repeat: usize) {
    let mut total = Duration::ZERO;
    for case in cases
        .iter()
        .filter(|case| wanted == "all" || case.name == wanted || (wanted == "shared" && case.in_total))
    {
        let once = |seed| {
            let start = processor_time();
            std::hint::black_box(case.render(seed));
            processor_time() - start
        };
        let time = best((0..repeat).map(once).collect());
        println!("{} {time:?}", case.name);
        total += if case.in_total { time } else { Duration::ZERO };
    }
    println!("total of the shared charts {total:?}, peak {:.0} MiB", peak(std::process::id()));
}

fn measure(case: &Case, peer: &mut Peer) -> Row {
    let ours = case.render(0);
    let theirs = peer
        .render_files(&case.name, &case.files, &case.values, &[])
        .expect("Helm renders the chart")
        .manifest;
    if ours.nondeterministic {
        assert!(!theirs.is_empty(), "{}: the peer rendered nothing", case.name);
    } else {
        assert_eq!(shared::manifest(&ours.manifests), theirs, "{}: both render the same", case.name);
    }
    let random = ours.nondeterministic;
    let repeat = if random { REPEAT_RANDOM } else { REPEAT };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        theirs.extend(peer.times(&case.name, &case.values, repeat));
        for one in 0..repeat {
            let start = processor_time();
            std::hint::black_box(case.render(round * repeat + one));
            ours.push(processor_time() - start);
        }
    }
    let typical = if random { mean } else { best };
    Row { name: case.name.clone(), ours: typical(ours), theirs: typical(theirs), in_total: case.in_total }
}

/// What one takes that depends on chance: the best of a few would be the luckiest.
fn mean(times: Vec<Duration>) -> Duration {
    let count = u32::try_from(times.len()).expect("a few");
    times.into_iter().sum::<Duration>() / count
}

/// What the process has used so far, as the peer measures itself: other work on the machine does not count.
fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(now).expect("it grows from zero")
}

/// The least that other work on the machine disturbed.
fn best(times: Vec<Duration>) -> Duration {
    times.into_iter().min().expect("it was measured")
}

fn print_rows(rows: &[Row]) {
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let print = |name: &str, ours: f64, theirs: f64| {
        println!("| {name} | {ours:.2} | {theirs:.2} | {:.1} |", theirs / ours);
    };
    println!("| chart | ours, ms | Helm, ms | times faster |\n|---|--:|--:|--:|");
    for row in rows {
        print(&row.name, millis(row.ours), millis(row.theirs));
    }
    let total = |time: fn(&Row) -> Duration| millis(rows.iter().filter(|row| row.in_total).map(time).sum());
    print("total of the shared charts", total(|row| row.ours), total(|row| row.theirs));
}

/// The most memory a process had resident at once, in MiB.
fn peak(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kibibytes / 1024.0
}
