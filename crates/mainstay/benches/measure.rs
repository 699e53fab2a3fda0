//! What benchmarks ask the kernel about processes.

use std::fs;
use std::path::Path;

/// The process of the instance with this data directory, which its command line names.
pub(crate) fn main_process(data_dir: &Path) -> u32 {
    let directory = data_dir.to_string_lossy().into_owned();
    let found =
        all().into_iter().find(|process| runs(*process, "mainstay\0up\0") && runs(*process, &directory));
    found.expect("the main process")
}

/// Mainstay's own processes: the main one and its monitors. What runs in containers is below the monitors, but was
/// started by another command.
pub(crate) fn processes(data_dir: &Path) -> Vec<u32> {
    let main = main_process(data_dir);
    let mut found: Vec<u32> = all()
        .into_iter()
        .filter(|process| runs(*process, "\0__monitor\0") && descends(*process, main))
        .collect();
    found.push(main);
    found
}

fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("the processes");
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether a process's command line has this text.
fn runs(process: u32, text: &str) -> bool {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains(text)
}

/// Whether a process is another one or below it.
fn descends(process: u32, from: u32) -> bool {
    let parent = |process: u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    std::iter::successors(Some(process), |process| parent(*process)).any(|process| process == from)
}

/// The proportional share of memory now, in kilobytes.
pub(crate) fn pss(process: u32) -> u64 {
    field(process, "smaps_rollup", "Pss:").unwrap_or(0)
}

/// The most memory that was ever resident, in kilobytes.
pub(crate) fn peak(process: u32) -> u64 {
    field(process, "status", "VmHWM:").expect("the process's peak")
}

/// A line `Name: 123 kB` of one of a process's files.
fn field(process: u32, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/{file}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().trim_end_matches(" kB").parse().ok())
}

/// User and system time so far in hundredths of a second, which a clock tick is on every Linux this runs on.
pub(crate) fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let Some((_, rest)) = stat.rsplit_once(") ") else { return 0 };
    rest.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}
