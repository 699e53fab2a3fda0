//! What is known of the cluster, and what is still to be asked.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use objects::Value;

use crate::Target;

/// Something to read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// One object, answered by [`Answer::Object`] or [`Answer::Absent`].
    Object(Target),
    /// Every object of a kind, answered by [`Answer::List`].
    List {
        group: &'static str,
        kind: &'static str,
        /// Empty: of the whole cluster.
        namespace: String,
    },
    /// The Events about an object, answered by [`Answer::List`].
    Events { kind: String, namespace: String, name: String },
    /// The last lines of a container's log, answered by [`Answer::Text`].
    Log {
        namespace: String,
        pod: String,
        container: String,
        /// Of the run before this one.
        previous: bool,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Object(Value),
    List(Vec<Value>),
    Text(String),
    /// There is no such object (or log).
    Absent,
    /// The server serves no such kind.
    UnknownKind,
    /// It could not be read, with the reason.
    Failed(String),
}

/// Everything that was read so far.
#[derive(Debug, Default)]
pub struct Facts {
    answers: BTreeMap<Question, Answer>,
    open: RefCell<BTreeSet<Question>>,
}

pub(crate) enum Found<'a> {
    There(&'a Value),
    Absent,
    UnknownKind,
    Failed(&'a str),
    /// It has been asked for.
    NotYet,
}

impl Facts {
    /// Takes note of an answer.
    pub fn add(&mut self, question: Question, answer: Answer) {
        self.open.get_mut().remove(&question);
        self.answers.insert(question, answer);
    }

    /// What an analysis wanted to know and did not find here.
    pub fn take_questions(&mut self) -> Vec<Question> {
        std::mem::take(self.open.get_mut()).into_iter().collect()
    }

    fn ask(&self, question: Question) -> Option<&Answer> {
        let answer = self.answers.get(&question);
        if answer.is_none() {
            self.open.borrow_mut().insert(question);
        }
        answer
    }

    pub(crate) fn object(&self, target: &Target) -> Found<'_> {
        match self.ask(Question::Object(target.clone())) {
            Some(Answer::Object(object)) => Found::There(object),
            Some(Answer::Absent) => Found::Absent,
            Some(Answer::UnknownKind) => Found::UnknownKind,
            Some(Answer::Failed(reason)) => Found::Failed(reason),
            Some(Answer::List(_) | Answer::Text(_)) => Found::Failed("the answer is no object"),
            None => Found::NotYet,
        }
    }

    /// Objects of a kind; none where they cannot be read (the caller has other signs of trouble).
    pub(crate) fn list(&self, group: &'static str, kind: &'static str, namespace: &str) -> Listed<'_> {
        match self.ask(Question::List { group, kind, namespace: namespace.to_owned() }) {
            Some(Answer::List(items)) => Listed { items, known: true, failed: None },
            Some(Answer::Absent | Answer::UnknownKind) => Listed { items: &[], known: true, failed: None },
            Some(Answer::Failed(reason)) => Listed { items: &[], known: false, failed: Some(reason) },
            Some(Answer::Object(_) | Answer::Text(_)) | None => {
                Listed { items: &[], known: false, failed: None }
            }
        }
    }

    /// The Events about an object that warn, the newest last, each text once.
    pub(crate) fn warnings(&self, target: &Target) -> Vec<Warning> {
        let question = Question::Events {
            kind: target.kind.clone(),
            namespace: target.namespace.clone(),
            name: target.name.clone(),
        };
        let Some(Answer::List(events)) = self.ask(question) else { return Vec::new() };
        let mut found: Vec<(String, Warning)> = events
            .iter()
            .filter(|event| event["type"] == "Warning")
            .map(|event| (last_seen(event), Warning::of(event)))
            .collect();
        found.sort_by(|left, right| left.0.cmp(&right.0));
        let mut warnings: Vec<Warning> = Vec::new();
        for (_, warning) in found {
            warnings
                .retain(|before| (&before.reason, &before.message) != (&warning.reason, &warning.message));
            warnings.push(warning);
        }
        warnings
    }

    /// The last lines that a container printed; none if there are none or they cannot be had.
    pub(crate) fn log(&self, pod: &Target, container: &str, previous: bool) -> Vec<String> {
        let question = Question::Log {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            container: container.to_owned(),
            previous,
        };
        match self.ask(question) {
            Some(Answer::Text(text)) => text.lines().map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }
}

/// The objects of a list.
pub(crate) struct Listed<'a> {
    pub(crate) items: &'a [Value],
    /// Whether these are all there are, and not what is missing for lack of an answer.
    pub(crate) known: bool,
    pub(crate) failed: Option<&'a str>,
}

/// An Event of type Warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) reason: String,
    pub(crate) message: String,
    /// `spec.containers{web}`; empty if it is about the whole object.
    pub(crate) field: String,
}

impl Warning {
    fn of(event: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            reason: text(&event["reason"]),
            message: text(&event["message"]),
            field: text(&event["involvedObject"]["fieldPath"]),
        }
    }

    pub(crate) fn text(&self) -> String {
        format!("{}: {}", self.reason, self.message)
    }
}

fn last_seen(event: &Value) -> String {
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    times.into_iter().find_map(Value::as_str).unwrap_or_default().to_owned()
}
