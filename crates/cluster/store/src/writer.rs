//! The one writer: checks, orders, groups and commits writes, then makes them visible.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{mpsc, oneshot};

use crate::frame::Change;
use crate::log::{Log, Unwritten};
use crate::memory::State;
use crate::{Draft, Error, Event, EventKind, Expected, Key, Object, Revision};

#[derive(Debug)]
pub(crate) enum Operation {
    Create { key: Key, draft: Draft },
    Update { key: Key, expected: Expected, draft: Draft },
    Delete { key: Key, expected: Expected, last: Draft },
}

impl Operation {
    fn len(&self) -> usize {
        match self {
            Operation::Create { draft, .. }
            | Operation::Update { draft, .. }
            | Operation::Delete { last: draft, .. } => draft.len(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) operation: Operation,
    pub(crate) reply: oneshot::Sender<Result<Object, Error>>,
}

/// A group is closed early when its objects reach this size, so that one commit stays short.
const GROUP_BYTES: usize = 8 << 20;

pub(crate) struct Writer {
    /// `None` for a store in memory.
    log: Option<Log>,
    state: Arc<RwLock<State>>,
    requests: mpsc::Receiver<Request>,
    group: usize,
    stopped: bool,
}

/// What a group has decided but not yet committed.
#[derive(Default)]
struct Group {
    events: Vec<Event>,
    /// The state of each key the group touches, as its last event leaves it.
    latest: HashMap<Key, Option<Object>>,
    answers: Vec<(oneshot::Sender<Result<Object, Error>>, Object)>,
}

impl Writer {
    pub(crate) fn new(
        log: Option<Log>,
        state: Arc<RwLock<State>>,
        requests: mpsc::Receiver<Request>,
        group: usize,
    ) -> Writer {
        Writer { log, state, requests, group, stopped: false }
    }

    /// Serves until every handle to the store is gone.
    pub(crate) fn run(mut self) {
        while let Some(first) = self.requests.blocking_recv() {
            let mut size = first.operation.len();
            let mut requests = vec![first];
            while requests.len() < self.group && size < GROUP_BYTES {
                let Ok(next) = self.requests.try_recv() else { break };
                size += next.operation.len();
                requests.push(next);
            }
            self.write(requests);
        }
    }

    fn write(&mut self, requests: Vec<Request>) {
        if self.stopped {
            for request in requests {
                answer(request.reply, Err(Error::Stopped));
            }
            return;
        }
        let group = self.decide(requests);
        let Some(last) = group.events.last() else { return };
        let written = match &mut self.log {
            Some(log) => log.append(group.events.iter().map(change), last.object.revision),
            None => Ok(()),
        };
        let error = match written {
            Ok(()) => {
                self.publish(group.events);
                for (reply, object) in group.answers {
                    answer(reply, Ok(object));
                }
                if let Some(log) = &mut self.log {
                    log.look_after(&self.state);
                }
                return;
            }
            Err(Unwritten::Refused(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the store could not write");
                error
            }
            Err(Unwritten::Broken(error)) => {
                // Whether the group reached the disk is unknown, so nothing may build on it in this life.
                self.stopped = true;
                tracing::error!(error = &error as &dyn std::error::Error, "the store stops writing");
                error
            }
        };
        for (reply, _) in group.answers {
            answer(reply, Err(error.clone()));
        }
    }

    /// Checks each request against the state that the requests before it leave, answers those that fail.
    fn decide(&self, requests: Vec<Request>) -> Group {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let mut revision = state.revision;
        let mut group = Group::default();
        for Request { operation, reply } in requests {
            match decide(&state, &group.latest, operation, revision + 1) {
                Ok(event) => {
                    revision += 1;
                    let left = (event.kind != EventKind::Deleted).then(|| event.object.clone());
                    group.latest.insert(event.key.clone(), left);
                    group.answers.push((reply, event.object.clone()));
                    group.events.push(event);
                }
                Err(error) => answer(reply, Err(error)),
            }
        }
        group
    }

    fn publish(&self, events: Vec<Event>) {
        let resources: BTreeSet<Arc<str>> = events.iter().map(|event| event.key.shared_resource()).collect();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            state.apply(event);
        }
        state.wake(resources.iter());
    }
}

fn change(event: &Event) -> Change<'_> {
    match event.kind {
        EventKind::Deleted => Change::Remove(&event.key, event.object.revision),
        EventKind::Created | EventKind::Updated => Change::Put(&event.key, &event.object),
    }
}

fn decide(
    state: &State,
    latest: &HashMap<Key, Option<Object>>,
    operation: Operation,
    revision: Revision,
) -> Result<Event, Error> {
    let current = |key: &Key| match latest.get(key) {
        Some(left) => left.clone(),
        None => state.get(key).cloned(),
    };
    let required = |key: &Key, expected: Expected| {
        let found = current(key).ok_or_else(|| Error::NotFound { key: key.clone() })?;
        match expected {
            Expected::At(expected) if expected != found.revision => {
                Err(Error::Conflict { key: key.clone(), expected, actual: found.revision })
            }
            Expected::At(_) | Expected::Any => Ok(found),
        }
    };
    match operation {
        Operation::Create { key, draft } => {
            if current(&key).is_some() {
                return Err(Error::AlreadyExists { key });
            }
            Ok(Event { kind: EventKind::Created, key, object: draft.seal(revision), previous: None })
        }
        Operation::Update { key, expected, draft } => {
            let previous = Some(required(&key, expected)?);
            Ok(Event { kind: EventKind::Updated, key, object: draft.seal(revision), previous })
        }
        Operation::Delete { key, expected, last } => {
            let previous = Some(required(&key, expected)?);
            Ok(Event { kind: EventKind::Deleted, key, object: last.seal(revision), previous })
        }
    }
}

/// A caller that stopped waiting does not need its answer.
fn answer(reply: oneshot::Sender<Result<Object, Error>>, result: Result<Object, Error>) {
    drop(reply.send(result));
}
