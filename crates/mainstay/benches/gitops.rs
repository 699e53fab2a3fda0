//! The figures of GitOps at scale: thousands of Applications in one repository, from nothing to Synced, and what they
//! cost when nothing or little changes.
//!
//! `cargo xtask bench gitops` runs it and prints the table that benchmarks/gitops.md keeps. It needs `kubectl` and git,
//! and neither root nor a node.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints its figures")]
#![expect(dead_code, reason = "it uses a part of what the tests share")]

mod measure;
#[path = "../tests/it/platform.rs"]
mod platform;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use platform::Platform;
use tempfile::TempDir;
use test_kit::eventually;

/// The repository's own address; it is answered from the directory that is made here.
const URL: &str = "https://git.example.com/platform.git";

/// How long the idle platform is watched.
const IDLE: Duration = Duration::from_secs(30);

/// A wait in a benchmark is bounded, not measured against its figure.
const PATIENCE: Duration = Duration::from_secs(900);

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("| figure | measured | must be |\n|---|---|---|");
    thousand();
    ten_thousand();
}

fn row(figure: &str, measured: &str, bound: &str) {
    println!("| {figure} | {measured} | {bound} |");
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// 1,000 Applications of 10 resources.
fn thousand() {
    let repository = Repository::make(1000, 10);
    let (platform, taken) = repository.up();
    row("1,000 Applications of 10 resources, all Synced from nothing", &seconds(taken), "30 s");
    verify(&platform, repository.all());
}

/// 10,000 Applications of one resource, of which one begins to fail.
fn ten_thousand() {
    let repository = Repository::make(10_000, 1);
    let (platform, taken) = repository.up();
    row("10,000 Applications of 1 resource, all Synced from nothing", &seconds(taken), "120 s");
    row(
        "memory then, resident at the most",
        &format!("{} MB", measure::peak(process(&platform)) / 1024),
        "600 MB",
    );
    verify(&platform, repository.all());
    row("idle CPU then, of one core", &idle(&platform), "1 %");
    row("`mainstay app list` of them", &format!("{:.2} s", list(&platform).as_secs_f64()), "1 s");

    let before = work(&platform);
    let start = Instant::now();
    repository.change(5000);
    eventually("the commit is live", PATIENCE, || {
        let value =
            platform.try_kubectl(&["get", "configmap", "app-05000-0", "--output", "jsonpath={.data.key}"])?;
        if value == "changed" { Ok(()) } else { Err(value) }
    });
    let live = start.elapsed();
    let after = settled(&platform);
    let more = |work: &str| after.get(work).unwrap_or(&0) - before.get(work).unwrap_or(&0);
    row("a commit that touches one of 10,000 is live", &seconds(live), "2 s");
    row("renders it cost", &more("render").to_string(), "1");
    row("objects it applied", &more("apply").to_string(), "1");

    repository.break_one(5001);
    eventually("the broken application is told", PATIENCE, || {
        let condition = "jsonpath={.status.conditions[*].type}";
        let told = platform.try_kubectl(&[
            "get",
            "--namespace",
            "argocd",
            "application",
            "app-05001",
            "--output",
            condition,
        ])?;
        if told.contains("ComparisonError") { Ok(()) } else { Err(told) }
    });
    settled(&platform);
    row("idle CPU with one of them failing", &idle(&platform), "1 %");
}

/// How long the command takes that prints a row for each Application.
fn list(platform: &Platform) -> Duration {
    let start = Instant::now();
    let listed = Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .args(["app", "list", "--data-dir"])
        .arg(platform.data_dir())
        .output()
        .expect("start mainstay app list");
    let taken = start.elapsed();
    let lines = listed.stdout.iter().filter(|byte| **byte == b'\n').count();
    assert!(listed.status.success() && lines > 10_000, "{}", String::from_utf8_lossy(&listed.stderr));
    taken
}

/// A working copy with Applications and what they deploy: an app of apps, with a level between where there are many,
/// since no API server keeps an object that lists ten thousand others.
struct Repository {
    directory: TempDir,
    applications: usize,
    groups: usize,
}

/// How many Applications one above them may make by itself.
const ONE_LEVEL: usize = 1000;
/// How many a group makes where there are more.
const PER_GROUP: usize = 100;

impl Repository {
    fn make(applications: usize, resources: usize) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let groups = if applications > ONE_LEVEL { applications / PER_GROUP } else { 0 };
        let this = Self { directory, applications, groups };
        for group in 0..groups {
            this.application("applications", &format!("group-{group:03}"), &format!("groups/{group:03}"));
        }
        for index in 0..applications {
            let name = name(index);
            let directory = match groups {
                0 => "applications".to_owned(),
                groups => format!("groups/{:03}", index % groups),
            };
            this.application(&directory, &name, &format!("services/{name}"));
            let documents: Vec<String> = (0..resources)
                .map(|resource| config_map(index, resource, &format!("{index}-{resource}")))
                .collect();
            this.write(index, &documents.join("---\n"));
        }
        this.git(&["init", "--quiet", "--initial-branch", "main"]);
        this.git(&["remote", "add", "origin", URL]);
        this.commit();
        this
    }

    /// Writes the manifest of an Application over a path.
    fn application(&self, directory: &str, name: &str, path: &str) {
        let manifest = format!(
            "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: {name}\n  namespace: argocd\n\
             spec:\n  project: default\n  source:\n    repoURL: {URL}\n    targetRevision: main\n    path: {path}\n  \
             destination:\n    server: https://kubernetes.default.svc\n    namespace: default\n  \
             syncPolicy:\n    automated:\n      prune: true\n      selfHeal: true\n"
        );
        let directory = self.path().join(directory);
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join(format!("{name}.yaml")), manifest).expect("a manifest");
    }

    /// How many Applications there are in the end: those above them are some too.
    fn all(&self) -> usize {
        self.applications + self.groups + 1
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, index: usize, text: &str) {
        let directory = self.path().join("services").join(name(index));
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("all.yaml"), text).expect("a manifest");
    }

    fn git(&self, arguments: &[&str]) {
        let identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.com"];
        let status = Command::new("git").current_dir(self.path()).args(identity).args(arguments).status();
        assert!(status.expect("start git").success(), "git {arguments:?}");
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "change"]);
    }

    fn change(&self, index: usize) {
        self.write(index, &config_map(index, 0, "changed"));
        self.commit();
    }

    fn break_one(&self, index: usize) {
        self.write(index, "apiVersion: v1\nkind: ConfigMap\nmetadata: [");
        self.commit();
    }

    /// Brings it up; how long until everything is Synced and Healthy.
    fn up(&self) -> (Platform, Duration) {
        let path = self.path().to_string_lossy().into_owned();
        let start = Instant::now();
        let platform = Platform::spawn(&[&path, "--path", "applications", "--revision", "main", "--no-node"]);
        // The metrics of so many are some megabytes: who asks all the time measures the asking.
        let pause = Duration::from_millis(self.all() as u64 / 5);
        loop {
            let synced = metrics(&platform).map(|metrics| synced(&metrics)).unwrap_or_default();
            if synced == self.all() {
                return (platform, start.elapsed());
            }
            assert!(start.elapsed() < PATIENCE, "{synced} of {} are Synced", self.all());
            std::thread::park_timeout(pause);
        }
    }
}

fn name(index: usize) -> String {
    format!("app-{index:05}")
}

fn config_map(index: usize, resource: usize, value: &str) -> String {
    let name = name(index);
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}-{resource}\ndata:\n  key: \"{value}\"\n"
    )
}

fn metrics(platform: &Platform) -> Result<String, String> {
    platform.try_kubectl(&["get", "--raw", "/metrics"])
}

fn synced(metrics: &str) -> usize {
    let good = r#"sync_status="Synced",health_status="Healthy""#;
    metrics.lines().filter(|line| line.starts_with("argocd_app_info{") && line.contains(good)).count()
}

/// What the API itself says must agree with the metrics.
fn verify(platform: &Platform, wanted: usize) {
    let path = "jsonpath={range .items[*]}{.status.sync.status}{\"\\n\"}{end}";
    let said = platform.kubectl(&["get", "--namespace", "argocd", "applications", "--output", path]);
    let synced = said.lines().filter(|line| *line == "Synced").count();
    assert_eq!(synced, wanted, "Applications that the API calls Synced");
}

/// The totals by kind of work.
fn work(platform: &Platform) -> BTreeMap<String, u64> {
    let text = metrics(platform).expect("the metrics");
    let totals = text.lines().filter_map(|line| line.strip_prefix("mainstay_gitops_work_total{work=\""));
    totals
        .filter_map(|line| {
            let (work, value) = line.split_once("\"} ")?;
            Some((work.to_owned(), value.parse().ok()?))
        })
        .collect()
}

/// The totals once they stay the same for a second.
fn settled(platform: &Platform) -> BTreeMap<String, u64> {
    let mut last = (work(platform), Instant::now());
    eventually("the work ends", PATIENCE, || {
        let now = work(platform);
        if now != last.0 {
            last = (now, Instant::now());
        }
        if last.1.elapsed() > Duration::from_secs(1) { Ok(()) } else { Err(format!("{:?}", last.0)) }
    });
    last.0
}

fn process(platform: &Platform) -> u32 {
    measure::main_process(&platform.data_dir())
}

fn idle(platform: &Platform) -> String {
    settled(platform);
    let process = process(platform);
    let before = measure::ticks(process);
    #[expect(clippy::disallowed_methods, reason = "CPU time is measured over a span")]
    std::thread::sleep(IDLE);
    let share = (measure::ticks(process) - before) as f64 / IDLE.as_secs_f64();
    format!("{share:.2} %")
}
