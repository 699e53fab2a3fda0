//! Runs the commands of a case and takes down what they print.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use regex::Regex;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_kit::{eventually, find_program, shared};

use super::mask::Mask;
use super::script::{Case, Step};

/// Time for a command in the background to print what it has to.
const PATIENCE: Duration = Duration::from_secs(10);

/// The answers to all cases from the server of a kubeconfig. Cases have nothing in common, so they run beside each other.
pub(super) fn all(kubeconfig: &Path, cases: &[Case]) -> super::Answers {
    std::thread::scope(|scope| {
        let start = |case| (case, scope.spawn(move || Tour::new(kubeconfig, case).run(case)));
        let running: Vec<(&Case, _)> = cases.iter().map(start).collect();
        running.into_iter().map(|(case, tour)| (case.name.clone(), tour.join().unwrap())).collect()
    })
}

/// A case on its way.
struct Tour {
    directory: TempDir,
    namespace: String,
    kept: BTreeMap<String, String>,
}

impl Tour {
    fn new(kubeconfig: &Path, case: &Case) -> Tour {
        let slug: String = case
            .name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        let tour = Tour {
            directory: tempfile::tempdir().unwrap(),
            namespace: format!("t-{}", slug.chars().take(50).collect::<String>().trim_end_matches('-')),
            kept: BTreeMap::new(),
        };
        tour.configure(kubeconfig);
        for (name, text) in &case.files {
            let path = tour.directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        for arguments in [["create", "namespace", &tour.namespace], ["create", "serviceaccount", "default"]] {
            // They may be there already, where a controller was faster.
            drop(tour.command("kubectl").args(arguments).output().unwrap());
        }
        tour
    }

    /// A kubeconfig with the same names everywhere and the namespace of the case.
    fn configure(&self, given: &Path) {
        let text = std::fs::read_to_string(given).unwrap();
        let mut config: Value = yaml::from_str(&text).unwrap();
        for list in ["clusters", "users", "contexts"] {
            config[list][0]["name"] = "tour".into();
        }
        config["contexts"][0]["context"] =
            json!({"cluster": "tour", "user": "tour", "namespace": self.namespace});
        config["current-context"] = "tour".into();
        std::fs::write(self.directory.path().join("kubeconfig"), config.to_string()).unwrap();
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(find_program(program));
        let home = self.directory.path();
        command
            .env("KUBECONFIG", home.join("kubeconfig"))
            .env("HOME", home)
            .env("KUBE_EDITOR", home.join("editor"))
            .env("TZ", "UTC")
            .current_dir(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn fill(&self, text: &str) -> String {
        let charts: PathBuf = shared("charts");
        let mut filled = text.replace("$NS", &self.namespace).replace("$CHARTS", &charts.to_string_lossy());
        let mut names: Vec<_> = self.kept.iter().collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        for (name, value) in names {
            filled = filled.replace(&format!("${name}"), value);
        }
        filled
    }

    fn run(mut self, case: &Case) -> Vec<Value> {
        let mut answers = Vec::new();
        let mut running = Vec::new();
        for (at, step) in case.steps.iter().enumerate() {
            let words: Vec<String> = step.words.iter().map(|word| self.fill(word)).collect();
            let (program, arguments) = words.split_first().expect("a command has a program");
            let mut command = self.command(program);
            command.args(arguments);
            if let Some(lines) = step.background {
                running.push((at, lines, Background::start(command)));
                answers.push(Value::Null);
                continue;
            }
            let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", step.line));
            let input = self.fill(&step.input);
            // A command that fails early may not read it.
            drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
            let output = child.wait_with_output().unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            if let Some(name) = &step.keep {
                self.kept.insert(name.clone(), text(&output.stdout).trim().to_owned());
            }
            answers.push(self.shown(
                step,
                output.status.code(),
                &text(&output.stdout),
                &text(&output.stderr),
            ));
        }
        for (at, lines, background) in running {
            let out = background.end(&case.steps[at].line, lines);
            answers[at] = self.shown(&case.steps[at], Some(0), &out, "");
        }
        answers
    }

    fn shown(&self, step: &Step, code: Option<i32>, out: &str, err: &str) -> Value {
        if step.quiet {
            return json!({"code": code, "failed": if code == Some(0) { "" } else { err }});
        }
        let mask = Mask::new(&self.kept, self.directory.path());
        let only = step.only.as_ref().map(|pattern| Regex::new(pattern).unwrap());
        let lines = |text: &str| -> Vec<String> {
            let wanted = text.lines().filter(|line| only.as_ref().is_none_or(|only| only.is_match(line)));
            wanted.map(|line| mask.line(line)).collect()
        };
        json!({"code": code, "out": lines(out), "err": lines(err)})
    }
}

/// A command that runs beside the others.
struct Background {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Background {
    /// Starts it and waits for its first line, so that what follows happens after it has begun.
    fn start(mut command: Command) -> Background {
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (out, shared) = (BufReader::new(child.stdout.take().unwrap()), said.clone());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                shared.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let background = Background { child, said };
        background.wait("a command in the background begins", 1);
        background
    }

    fn wait(&self, what: &str, lines: usize) {
        eventually(what, PATIENCE, || {
            let said = self.said.lock().unwrap();
            if said.lines().count() >= lines { Ok(()) } else { Err(said.clone()) }
        });
    }

    fn end(mut self, line: &str, lines: usize) -> String {
        self.wait(line, lines);
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let said = self.said.lock().unwrap();
        said.lines().take(lines).map(|line| format!("{line}\n")).collect()
    }
}
