//! Helm's engine in its own process, as xtask/helm-peer serves it: a line of JSON for each request and answer.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use helm::File;
use serde_json::{Value, json};

/// How much memory the peer may reserve, in KiB.
const MEMORY: u64 = 8 << 20;

pub(crate) struct Peer {
    program: String,
    child: Child,
    requests: ChildStdin,
    answers: Receiver<String>,
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is said of a request that ended the peer, or that it did not answer in time; another one has to be started.
pub(crate) const ENDED: &str = "the peer ended";

/// What Helm made of a chart.
pub(crate) struct Answer {
    pub(crate) manifest: String,
    /// Hooks with the templates they came from.
    pub(crate) hooks: String,
    pub(crate) notes: String,
}

impl Peer {
    pub(crate) fn start(program: &str) -> Self {
        // Some templates take all the memory there is.
        let limited = format!("ulimit -v {MEMORY}; exec \"$0\"");
        let mut child = Command::new("sh")
            .args(["-c", &limited, program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("xtask builds the peer");
        let requests = child.stdin.take().expect("its input is a pipe");
        let lines = BufReader::new(child.stdout.take().expect("its output is a pipe")).lines();
        let (sender, answers) = sync_channel(1);
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { program: program.to_owned(), child, requests, answers }
    }

    /// Starts another one in place of one that ended.
    pub(crate) fn restart(&mut self) {
        let program = self.program.clone();
        *self = Self::start(&program);
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn ask(&mut self, request: &Value) -> Result<Value, String> {
        if writeln!(self.requests, "{request}").is_err() {
            return Err(ENDED.to_owned());
        }
        let Ok(line) = self.answers.recv_timeout(PATIENCE) else { return Err(ENDED.to_owned()) };
        let mut answer: Value = serde_json::from_str(&line).expect("the peer answers in JSON");
        match answer["error"].take() {
            Value::String(error) if !error.is_empty() => Err(error),
            _ => Ok(answer),
        }
    }

    fn request(key: &str, values: &[String]) -> Value {
        json!({"key": key, "values": values, "kubeVersion": "v1.36.0"})
    }

    fn rendered(answer: &Value) -> Answer {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let hooks = answer["hooks"].as_array().into_iter().flatten();
        let hooks =
            hooks.map(|hook| format!("---\n# Source: {}\n{}\n", text(&hook["source"]), text(&hook["text"])));
        Answer { manifest: text(&answer["manifest"]), hooks: hooks.collect(), notes: text(&answer["notes"]) }
    }

    /// Renders a chart from its files, which the peer keeps under the key. Parameters come with the names of their flags.
    pub(crate) fn render_files(
        &mut self,
        key: &str,
        files: &[File],
        values: &[String],
        sets: &[(&str, &str)],
    ) -> Result<Answer, String> {
        let mut request = Self::request(key, values);
        request["files"] = files
            .iter()
            .map(|file| json!({"name": file.name, "data": STANDARD.encode(&file.data)}))
            .collect();
        request["sets"] = sets.iter().map(|(kind, expr)| json!({"kind": kind, "expr": expr})).collect();
        self.ask(&request).map(|answer| Self::rendered(&answer))
    }

    /// Renders a chart as it lies on disk.
    pub(crate) fn render_directory(&mut self, chart: &Path, values: &[String]) -> Result<Answer, String> {
        let mut request = Self::request("directory", values);
        request["path"] = chart.to_string_lossy().into();
        self.ask(&request).map(|answer| Self::rendered(&answer))
    }

    /// Renders a chart it knows so many times; how long each took.
    pub(crate) fn times(&mut self, key: &str, values: &[String], repeat: usize) -> Vec<Duration> {
        let mut request = Self::request(key, values);
        request["repeat"] = repeat.into();
        let answer = self.ask(&request).expect("what rendered once renders again");
        let times = answer["times"].as_array().expect("as many times as asked for");
        times.iter().map(|time| Duration::from_nanos(time.as_u64().expect("nanoseconds"))).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
