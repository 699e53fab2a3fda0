//! Cases beside Helm's own engine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use helm::{Chart, Options, Rendered};

use crate::peer::{Answer, ENDED, Peer};
use crate::{Outcome, Report, cases, generate, shared, variants};

/// The cases of the shared charts.
pub(crate) fn recorded(peer: &mut Peer, report: &mut Report) {
    for case in cases::cases() {
        let directory = shared::path(&format!("charts/charts/{}", case.chart));
        let texts: Vec<String> =
            case.files.iter().map(|file| shared::text(&format!("charts/{file}"))).collect();
        report.add(&case.chart, &case.name, compare(peer, &directory, &texts));
    }
}

/// Every chart below the directories.
pub(crate) fn charts(peer: &mut Peer, directories: &[PathBuf], report: &mut Report) {
    let mut found = Vec::new();
    directories.iter().for_each(|directory| find(directory, &mut found));
    for chart in found {
        let name = chart.strip_prefix(&directories[0]).unwrap_or(&chart).to_string_lossy().into_owned();
        for (case, text) in variants::of(&chart) {
            report.add(&name, &case, compare(peer, &chart, &text));
        }
    }
}

/// Charts lie where `Chart.yaml` lies; those inside a chart are parts of it.
fn find(directory: &Path, found: &mut Vec<PathBuf>) {
    if directory.join("Chart.yaml").is_file() {
        found.push(directory.to_owned());
        return;
    }
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut below: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    below.sort();
    below.iter().filter(|path| path.is_dir()).for_each(|path| find(path, found));
}

fn ours(directory: &Path, values: &[String], seed: u8) -> Result<Rendered, String> {
    let chart: Chart = helm::load(&shared::tree(directory), "").map_err(|error| error.to_string())?;
    let mut documents = Vec::new();
    for text in values {
        documents.push(helm::read_values(text).map_err(|error| error.to_string())?);
    }
    let options = Options {
        release_name: "demo".to_owned(),
        namespace: "demo".to_owned(),
        kube_version: "v1.36.0".to_owned(),
        values: documents,
        seed: Some([seed; 32]),
        now: format!("2026-{seed:02}-{seed:02}T{seed:02}:{seed:02}:{seed:02}Z").parse().expect("a time"),
        ..Options::default()
    };
    helm::render(&chart, &options).map_err(|error| error.to_string())
}

/// One chart with values through both.
pub(crate) fn compare(peer: &mut Peer, directory: &Path, values: &[String]) -> Outcome {
    let theirs = peer.render_directory(directory, values);
    match (ours(directory, values, 7), theirs) {
        (Ok(ours), Ok(theirs)) if !ours.nondeterministic => compare_fixed(&ours, &theirs),
        (Ok(first), Ok(theirs)) => match ours(directory, values, 8) {
            Ok(second) => compare_random(&first, &second, &theirs),
            Err(error) => Outcome::Different(format!("refused with another seed: {error:?}")),
        },
        (ours, theirs) => compare_refusals(ours, theirs),
    }
}

fn compare_refusals(ours: Result<Rendered, String>, theirs: Result<Answer, String>) -> Outcome {
    match (ours, theirs) {
        (Err(ours), Err(theirs)) if ours.trim() == theirs.trim() || words(&ours) == words(&theirs) => {
            Outcome::Refused
        }
        (Err(ours), Err(theirs)) => {
            Outcome::Different(format!("refused otherwise:\n    expected {theirs:?}\n    found    {ours:?}"))
        }
        (Err(ours), Ok(_)) => Outcome::Different(format!("refused: {ours:?}")),
        (Ok(_), Err(theirs)) => Outcome::Different(format!("rendered, but Helm refuses: {theirs:?}")),
        (Ok(_), Ok(_)) => Outcome::Same,
    }
}

/// Go goes through the properties of an object in no particular order, so those words may be in any.
fn words(error: &str) -> Vec<&str> {
    let mut words: Vec<&str> = error.split([' ', ',', '\n']).filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    words
}

fn parts<'t>(ours: &Rendered, theirs: &'t Answer) -> [(&'static str, String, &'t str); 3] {
    [
        ("manifest", shared::manifest(&ours.manifests), &theirs.manifest),
        ("hooks", shared::manifest(&ours.hooks), &theirs.hooks),
        ("notes", ours.notes.clone().unwrap_or_default(), &theirs.notes),
    ]
}

fn compare_fixed(ours: &Rendered, theirs: &Answer) -> Outcome {
    for (part, found, expected) in parts(ours, theirs) {
        if found != expected {
            return Outcome::Different(format!("{part}: {}", shared::difference(expected, &found)));
        }
    }
    Outcome::Same
}

/// Lines that differ between two of our own renderings are random, and are not compared.
fn compare_random(first: &Rendered, second: &Rendered, theirs: &Answer) -> Outcome {
    for ((part, found, expected), (_, again, _)) in
        parts(first, theirs).into_iter().zip(parts(second, theirs))
    {
        let again: Vec<&str> = again.lines().collect();
        let kept = |text: &str| -> String {
            let lines = text.lines().enumerate();
            let fixed = found.lines().zip(&again).map(|(found, again)| found == *again).collect::<Vec<_>>();
            lines
                .map(
                    |(at, line)| {
                        if fixed.get(at) == Some(&true) { format!("{line}\n") } else { "~\n".to_owned() }
                    },
                )
                .collect()
        };
        let (found, expected) = (kept(&found), kept(expected));
        if found != expected {
            return Outcome::Different(format!("random {part}: {}", shared::difference(&expected, &found)));
        }
    }
    Outcome::Masked
}

/// Charts made from seeds.
pub(crate) fn generated(peer: &mut Peer, count: u64, first: u64, report: &mut Report) {
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for seed in first..first + count {
        let made = generate::chart(seed);
        let files: Vec<helm::File> = made
            .files
            .iter()
            .map(|(name, text)| helm::File { name: (*name).to_owned(), data: text.clone().into() })
            .collect();
        let sets: Vec<(&str, &str)> =
            made.sets.iter().map(|set| (generate::name_of(set.kind), set.expr.as_str())).collect();
        let theirs = peer.render_files("made", &files, &made.values, &sets);
        if theirs.as_ref().is_err_and(|error| error == ENDED) {
            println!("seed {seed} ended Helm, and is not compared");
            peer.restart();
            continue;
        }
        if let Err(error) = &theirs {
            let reason = error.trim().rsplit(": ").next().unwrap_or_default().chars().take(60).collect();
            *reasons.entry(reason).or_default() += 1;
        }
        let outcome = match (ours_of(files, &made), theirs) {
            // What reads the clock got in by another way.
            (Ok(ours), Ok(_)) if ours.nondeterministic => Outcome::Masked,
            (Ok(ours), Ok(theirs)) => compare_fixed(&ours, &theirs),
            (ours, theirs) => compare_refusals(ours, theirs.map_err(|error| without_path(&error))),
        };
        let outcome = match outcome {
            Outcome::Different(problem) => Outcome::Different(format!("{problem}\n{}", made.describe())),
            other => other,
        };
        report.add("generated", &seed.to_string(), outcome);
    }
    let mut reasons: Vec<(u64, String)> =
        reasons.into_iter().map(|(reason, count)| (count, reason)).collect();
    reasons.sort_by(|a, b| b.cmp(a));
    for (count, reason) in reasons.iter().take(20) {
        println!("{count:>7} refused: {reason}");
    }
}

/// Helm names the values file, which is another one every time.
fn without_path(error: &str) -> String {
    match error.strip_prefix("failed to parse /").and_then(|rest| rest.split_once(": ")) {
        Some((_, rest)) => format!("failed to parse values: {rest}"),
        None => error.to_owned(),
    }
}

fn ours_of(files: Vec<helm::File>, made: &generate::Generated) -> Result<Rendered, String> {
    let chart = Chart::from_files(files).map_err(|error| error.to_string())?;
    let mut values = Vec::new();
    for text in &made.values {
        values.push(helm::read_values(text).map_err(|error| format!("failed to parse values: {error}"))?);
    }
    let options = Options {
        release_name: "demo".to_owned(),
        namespace: "demo".to_owned(),
        kube_version: "v1.36.0".to_owned(),
        values,
        set: made.sets.clone(),
        ..Options::default()
    };
    helm::render(&chart, &options).map_err(|error| error.to_string())
}
