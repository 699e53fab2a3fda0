//! Feeds the parsers with spoiled real charts for a time: none may panic, and none may take long.
//!
//! `cargo xtask soak fuzz` runs every target. Inputs are templates, values and charts of `shared/charts` cut, spliced
//! and sprinkled with what means something to the parser. A target that is guided by coverage needs a nightly
//! compiler and a sanitizer; this runs with the compiler that builds the rest, and an input is known by its number.
#![allow(clippy::unwrap_used, reason = "it shares steps with the tests: one that fails ends it")]
#![expect(clippy::print_stdout, reason = "it prints what it finds")]

#[path = "parity/choices.rs"]
mod choices;
#[path = "../tests/it/shared.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod shared;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use choices::Choices;
use gotmpl::{Functions, Limits, Machine, Offline, Templates, Value};
use helm::{Chart, File, Options, Set, SetKind};

const TARGETS: [&str; 5] = ["yaml", "gotmpl", "archive", "strvals", "semver"];

/// What takes longer hangs. A loaded machine may stop a process for seconds.
const LONGEST: Duration = Duration::from_secs(20);

/// How long an input may be; real ones are cut.
const MAX_INPUT: usize = 8 << 10;

const WORDS: &[&str] = &[
    "{{",
    "}}",
    "{{- ",
    " -}}",
    "{{ end }}",
    "{{ else }}",
    "{{ range . }}",
    "{{ define \"x\" }}",
    "{{ template \"x\" . }}",
    "{{ include \"x\" . }}",
    "{{ tpl \"{{ . }}\" . }}",
    "$",
    ".",
    "|",
    "(",
    ")",
    "\"",
    "`",
    ":=",
    "nil",
    "1e999",
    "0x",
    ": ",
    "- ",
    "\n",
    "  ",
    "\t",
    "&a ",
    "*a",
    "<<: *a",
    "|-\n",
    ">+2\n",
    "? ",
    "!!int ",
    "!t ",
    "%YAML 1.1\n",
    "---\n",
    "...\n",
    "'",
    "#",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\u{feff}",
    "\u{2028}",
    "é",
    "\0",
    "\r\n",
    "a=b",
    "a[0]=1",
    "a[99999]=1",
    "{1,2}",
    "\\,",
    "a.b.c=",
    "null",
    ">=1.2.3-0",
    "^1.x",
    "~1",
    "||",
    "1.2.3-rc.1+b",
    "18446744073709551616",
    "../",
    "/etc/passwd",
    "charts/x/Chart.yaml",
    "templates/",
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let target = arguments.next().unwrap_or_default();
    let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok());
    let (seconds, first) = (number().unwrap_or(10), number().unwrap_or(1));
    if !TARGETS.contains(&target.as_str()) {
        println!("usage: fuzz TARGET [SECONDS [FIRST]]; targets: {}", TARGETS.join(", "));
        return ExitCode::from(2);
    }
    let seeds = seeds(&target);
    let started = Instant::now();
    let (mut count, mut slowest) = (0, (Duration::ZERO, first));
    while started.elapsed() < Duration::from_secs(seconds) {
        let number = first + count;
        let input = mutated(&seeds, number);
        let begun = Instant::now();
        if catch_unwind(AssertUnwindSafe(|| run(&target, &input))).is_err() {
            println!("{target}: input {number} panics: {:?}", String::from_utf8_lossy(&input));
            return ExitCode::FAILURE;
        }
        let taken = begun.elapsed();
        slowest = slowest.max((taken, number));
        if taken > LONGEST {
            println!("{target}: input {number} takes {taken:?}: {:?}", String::from_utf8_lossy(&input));
            return ExitCode::FAILURE;
        }
        count += 1;
    }
    println!(
        "{target}: {count} inputs in {seconds} s, none panics; the slowest ({}) took {:?}",
        slowest.1, slowest.0
    );
    ExitCode::SUCCESS
}

/// Real inputs of a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let charts = shared::tree(&shared::path("charts/charts"));
    let files = helm::read(&charts, "").expect("the shared charts");
    let wanted: &[&str] = match target {
        "yaml" => &["values.yaml", "Chart.yaml", ".yml"],
        "gotmpl" => &[".tpl", ".yaml", "NOTES.txt"],
        "archive" => return archives(&files),
        "strvals" => {
            return ["a=1", "a.b[0].c=x,d={1,2,3}", "a={}", "x\\.y=\"z\"", "a[1]=null,b=true"]
                .map(Vec::from)
                .to_vec();
        }
        _ => {
            return [">=1.2.3 <2.0.0 || ^3.1", "1.2.3-alpha.1+build", "~1.2", "*", "1.2 - 1.4", "v1.34.0"]
                .map(Vec::from)
                .to_vec();
        }
    };
    let fits = |file: &&File| wanted.iter().any(|end| file.name.ends_with(end));
    files.iter().filter(fits).map(|file| file.data[..file.data.len().min(MAX_INPUT)].to_vec()).collect()
}

/// Small charts as archives, before they are compressed.
fn archives(files: &[File]) -> Vec<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for file in files.iter().filter(|file| file.name.starts_with("podinfo/") && file.data.len() < 1000) {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.data.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, &file.name, &*file.data).expect("memory takes it");
    }
    vec![builder.into_inner().expect("memory takes it")]
}

fn mutated(seeds: &[Vec<u8>], number: u64) -> Vec<u8> {
    let mut choices = Choices::new(number);
    let mut input = seeds[choices.below(seeds.len())].clone();
    for _ in 0..=choices.below(8) {
        let at = choices.below(input.len() + 1);
        let to = (at + choices.below(60)).min(input.len());
        match choices.below(6) {
            0 => drop(input.drain(at..to)),
            1 => input.truncate(at.max(1)),
            2 => {
                let part = input[at..to].to_vec();
                let place = choices.below(input.len() + 1);
                input.splice(place..place, part);
            }
            3 => {
                let other = &seeds[choices.below(seeds.len())];
                let from = choices.below(other.len() + 1);
                let part = other[from..(from + 200).min(other.len())].to_vec();
                input.splice(at..to, part);
            }
            4 if at < input.len() => input[at] ^= 1 << choices.below(8),
            _ => {
                let word = choices.pick(WORDS).as_bytes();
                let times = if choices.one_in(20) { 3000 } else { 1 };
                input.splice(at..at, word.repeat(times));
            }
        }
    }
    input
}

fn run(target: &str, input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match target {
        "yaml" => {
            let _ = yaml::nodes(&text);
            let _ = yaml::documents(&text);
            if let Ok(value) = yaml::from_str(&text) {
                let _ = yaml::to_string(&value);
            }
        }
        "gotmpl" => {
            let mut templates = Templates::new(Functions::helm());
            if templates.parse("t", &text).is_ok() {
                let data: Value =
                    [("Values", [("a", Value::from("b"))].into_iter().collect())].into_iter().collect();
                let limits = Limits { steps: 20_000, output: 1 << 20, ..Limits::default() };
                let _ = Machine::new(&templates, &Offline, limits).execute("t", &data);
            }
        }
        "archive" => {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(input).expect("memory takes it");
            if let Ok(chart) = helm::load_archive(&packed.finish().expect("memory takes it")) {
                let _ = helm::render(&chart, &Options::default());
            }
        }
        "strvals" => {
            let file = |name: &str, text: &'static str| File { name: name.to_owned(), data: text.into() };
            let files = vec![file("Chart.yaml", "apiVersion: v2\nname: a\nversion: 1.0.0\n")];
            let chart = Chart::from_files(files).expect("a chart");
            for kind in [SetKind::Value, SetKind::String, SetKind::Json, SetKind::Literal] {
                let set = vec![Set { kind, expr: text.clone().into_owned() }];
                let _ = helm::render(&chart, &Options { set, ..Options::default() });
            }
        }
        _ => {
            let version = gotmpl::semver::Version::parse(&text);
            let constraints = gotmpl::semver::Constraints::parse(&text);
            if let (Ok(version), Ok(constraints)) = (version, constraints) {
                let _ = constraints.check(&version);
            }
        }
    }
}
