//! The ApplicationSet controller: generates Applications, and keeps them as generated.

mod answers;
mod apply;
mod owned;
mod rollout;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use applicationsets::update::Policy;
use applicationsets::{Generated, Known, Outcome, Question, rolling, status};
use client::backoff::Backoff;
use client::controller::{Action, Controller};
use client::dynamic::{Patch, PatchOptions};
use client::watch::WatchOptions;
use client::{Api, Key, resource};
use jiff::Timestamp;
use objects::{Value, meta, patch};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use webhooks::{PullRequest, Push};

use crate::error::Error;
use crate::ownership::{self, Claim};
use crate::reconcile::Shared;
use answers::Answers;
use apply::Failed;
use owned::Index;
use rollout::Rolled;

/// Asks for generating anew, even what was found out a moment ago.
pub(crate) const REFRESH: &str = "argocd.argoproj.io/application-set-refresh";
/// A set that fails is tried again after this long, besides when something it depends on moves.
const RETRY: Duration = Duration::from_secs(180);
/// What may go well the next time is tried again after this long, then after twice as long each time, up to [`RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// A set whose host does not answer is tried again sooner.
const RETRY_ANSWER: Duration = Duration::from_secs(30);
/// Applications write their status often; a set looks at them no more often than this.
const SHORTEST: Duration = Duration::from_millis(250);
/// Questions may lead to further ones, as deep as generators are nested.
const ROUNDS: usize = 8;
/// When to look again at what is being listed.
const LISTING: Duration = Duration::from_millis(200);

/// All ApplicationSets.
pub(crate) struct Sets {
    pub(crate) shared: Arc<Shared>,
    answers: Answers,
    index: Index,
    triggers: mpsc::Sender<Key>,
    memories: Mutex<BTreeMap<Key, Memory>>,
    /// Which sets use a repository, by URL.
    users: Mutex<BTreeMap<String, BTreeSet<Key>>>,
    watched: Mutex<JoinSet<()>>,
    stop: CancellationToken,
}

#[derive(Debug, Default, Clone)]
struct Memory {
    looked: Option<Instant>,
    /// What the generators asked when they were last looked at.
    asked: BTreeSet<Question>,
    /// Since when the API failed in what may go well the next time; `None` if it did not the last time.
    failing: Option<Backoff>,
}

/// Whether the questions are all there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noted {
    More,
    Whole,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keys that may wait to be taken up; whoever has more waits.
const TRIGGERS: usize = 256;
/// Sets that are looked at at the same time.
const CONCURRENCY: usize = 4;
const RESYNC: Duration = Duration::from_secs(600);

/// Runs until shutdown.
pub(crate) async fn run(sets: Arc<Sets>, woken: mpsc::Receiver<Key>, shutdown: CancellationToken) {
    let shared = &sets.shared;
    let applications = tokio::spawn(Arc::clone(&sets).follow_applications());
    let beside = tokio::spawn(Arc::clone(&sets).follow_beside());
    let claims = tokio::spawn(Arc::clone(&sets).follow_claims());
    let namespace = Some(shared.settings.namespace.clone());
    let here = WatchOptions { namespace, ..WatchOptions::metadata() };
    let passes = Arc::clone(&sets);
    Controller::new("applicationsets", shared.client.clone())
        .primary_with(resource::APPLICATION_SETS, here, |object| vec![Key::of(object)])
        .triggers(woken)
        .resync(RESYNC)
        .concurrency(CONCURRENCY)
        .run(move |key| pass(Arc::clone(&passes), key), shutdown)
        .await;
    sets.stop.cancel();
    let _ = applications.await;
    let _ = beside.await;
    let _ = claims.await;
    let mut watched = std::mem::take(&mut *lock(&sets.watched));
    while watched.join_next().await.is_some() {}
}

async fn pass(sets: Arc<Sets>, key: Key) -> Result<Action, Error> {
    let api = Api::new(&sets.shared.client, &resource::APPLICATION_SETS);
    let Some(set) = api.find(&key).await? else {
        sets.forget(&key);
        return Ok(Action::Done);
    };
    // Argo CD has no way of leaving one ApplicationSet alone, so none can be taken from it.
    if sets.shared.settings.ownership.now() != Claim::All {
        sets.forget(&key);
        return Ok(Action::Done);
    }
    if !sets.index.is_whole() {
        return Ok(Action::RequeueAfter(LISTING));
    }
    if let Some(wait) = sets.too_soon(&key) {
        return Ok(Action::RequeueAfter(wait));
    }
    let pass = Pass { sets: &sets, api: &api, key: &key, set: &set, now: now() };
    if meta::is_deleting(&set) { pass.delete().await } else { pass.run().await }
}

/// Status fields have whole seconds.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// One look at one set.
struct Pass<'a> {
    sets: &'a Arc<Sets>,
    api: &'a Api,
    key: &'a Key,
    set: &'a Value,
    now: Timestamp,
}

impl Pass<'_> {
    async fn run(&self) -> Result<Action, Error> {
        let Some(beside) = self.sets.shared.beside.now() else { return Ok(Action::RequeueAfter(LISTING)) };
        let refresh = meta::annotation(self.set, REFRESH).is_some();
        let mut report =
            status::Report { rolling: rolling::is_rolling(self.set), ..status::Report::default() };
        let clusters = beside.clusters().map(|registered| registered.as_cluster()).collect();
        let generated = match self.generate(clusters, refresh).await {
            Ok(found) => found,
            Err((reason, message, retry)) => {
                report.error = Some((reason, message));
                self.write(&report, None).await?;
                self.clear_refresh(refresh).await?;
                return Ok(Action::RequeueAfter(retry));
            }
        };
        report.generated = true;
        let (valid, invalid) = self.validated(&beside, &generated.applications).await;
        if let Some(message) = invalid {
            report.error = Some(("ApplicationValidationError".to_owned(), message));
        }
        let policy = match Policy::of(self.set) {
            Ok(policy) => policy,
            Err(message) => {
                report.error = Some(("ApplicationSetUpToDate".to_owned(), message));
                self.write(&report, None).await?;
                return Ok(Action::RequeueAfter(RETRY));
            }
        };
        let mut owned = self.owned().await?;
        let settled = match self.roll_out(&mut report, &generated, &valid, &owned).await? {
            Rolled::Out(settled) => settled,
            Rolled::Wrong => return Ok(Action::RequeueAfter(RETRY)),
        };
        let valid: Vec<&Value> = if settled.is_empty() { valid } else { settled.iter().collect() };
        let failed = self.apply(&generated, &valid, &mut owned, policy).await.err();
        let soon = self.sets.retry_soon(self.key, failed.as_ref());
        if let Some(failed) = failed {
            report.error.get_or_insert((failed.reason.to_owned(), failed.message));
        }
        self.write(&report, Some(&owned)).await?;
        self.clear_refresh(refresh).await?;
        let retry = soon.or(report.error.is_some().then_some(RETRY));
        let told = generated.asked.iter().filter_map(|question| self.sets.answers.again(question)).min();
        Ok(match [generated.again, retry, told].into_iter().flatten().min() {
            Some(wait) => Action::RequeueAfter(wait),
            None => Action::Done,
        })
    }

    /// Finds out what the generators ask until they have everything.
    async fn generate(
        &self,
        clusters: Vec<applicationsets::Cluster>,
        refresh: bool,
    ) -> Result<Generated, (String, String, Duration)> {
        let mut known = Known { clusters, ..Known::default() };
        for _ in 0..ROUNDS {
            let outcome = applicationsets::generate(self.set, &known);
            let outcome = outcome.map_err(|failure| {
                let unanswered = known.answers.values().any(Result::is_err);
                let retry = if unanswered { RETRY_ANSWER } else { RETRY };
                (failure.reason.as_str().to_owned(), failure.message, retry)
            });
            match outcome {
                Ok(Outcome::Generated(generated)) => {
                    self.sets.note_asked(self.key, &generated.asked, Noted::Whole);
                    return Ok(generated);
                }
                Ok(Outcome::Asks(questions)) => {
                    self.sets.note_asked(self.key, &questions, Noted::More);
                    self.sets.follow_repositories(self.key, &questions);
                    for question in questions {
                        let answer = self.sets.answers.find_out(&question, refresh).await;
                        known.answers.insert(question, answer);
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        let message = "the generators ask for ever more".to_owned();
        Err(("ApplicationGenerationFromParamsError".to_owned(), message, RETRY))
    }

    async fn write(&self, report: &status::Report, owned: Option<&[Value]>) -> Result<(), Error> {
        let old = &self.set["status"];
        let new = status::build(old, report, owned, self.now);
        if new == *old {
            return Ok(());
        }
        // What is no longer said has to be taken away.
        let change = if old.is_object() { patch::merge_diff(old, &new) } else { new };
        match self.api.patch_status(self.key, change).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn clear_refresh(&self, asked: bool) -> Result<(), Error> {
        if !asked {
            return Ok(());
        }
        let change = Patch::Merge(json!({"metadata": {"annotations": {REFRESH: null}}}));
        match self.api.patch(self.key, &change, &PatchOptions::default()).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Sets {
    /// With the keys that it wakes.
    pub(crate) fn new(shared: &Arc<Shared>) -> (Arc<Self>, mpsc::Receiver<Key>) {
        let (triggers, woken) = mpsc::channel(TRIGGERS);
        let sets = Self {
            answers: Answers::new(shared),
            index: Index::default(),
            shared: Arc::clone(shared),
            triggers,
            memories: Mutex::default(),
            users: Mutex::default(),
            watched: Mutex::default(),
            stop: CancellationToken::new(),
        };
        (Arc::new(sets), woken)
    }

    fn note_asked(&self, key: &Key, questions: &BTreeSet<Question>, noted: Noted) {
        let mut memories = lock(&self.memories);
        let memory = memories.entry(key.clone()).or_default();
        if noted == Noted::Whole {
            memory.asked.clear();
        }
        memory.asked.extend(questions.iter().cloned());
    }

    /// The URLs of repositories that a push may have changed for some set.
    pub(crate) fn pushed(&self, push: &Push) -> BTreeSet<String> {
        let memories = lock(&self.memories);
        let asked = memories.values().flat_map(|memory| &memory.asked);
        let moved = asked.filter_map(|question| match question {
            Question::Repository { url, revision, .. } => {
                (push.moves(revision) && push.is_of(url)).then(|| url.clone())
            }
            Question::PullRequests { .. } => None,
        });
        moved.collect()
    }

    /// Has the sets that list the pull requests of a repository ask for them again; whether all could be told.
    pub(crate) fn pulled(&self, pull: &PullRequest) -> bool {
        let concerned: Vec<(Key, String)> = {
            let memories = lock(&self.memories);
            let asked = memories.iter().flat_map(|(key, memory)| memory.asked.iter().map(move |q| (key, q)));
            let concerned = asked.filter_map(|(key, question)| match question {
                Question::PullRequests { generator } => {
                    let block = serde_json::from_str(generator).unwrap_or_default();
                    pull.concerns(&block).then(|| (key.clone(), generator.clone()))
                }
                Question::Repository { .. } => None,
            });
            concerned.collect()
        };
        concerned.into_iter().fold(true, |told, (key, generator)| {
            self.answers.outdate(&generator);
            told & self.triggers.try_send(key).is_ok()
        })
    }

    /// How long to wait where a set was looked at just now.
    fn too_soon(&self, key: &Key) -> Option<Duration> {
        let mut memories = lock(&self.memories);
        let memory = memories.entry(key.clone()).or_default();
        let wait = memory.looked.map(|looked| SHORTEST.saturating_sub(looked.elapsed()));
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            return Some(wait);
        }
        memory.looked = Some(Instant::now());
        None
    }

    /// When to try again after a failure that may go well the next time.
    fn retry_soon(&self, key: &Key, failed: Option<&Failed>) -> Option<Duration> {
        let mut memories = lock(&self.memories);
        let memory = memories.entry(key.clone()).or_default();
        if !failed.is_some_and(|failed| failed.retryable) {
            memory.failing = None;
            return None;
        }
        let backoff = memory.failing.get_or_insert_with(|| Backoff::new(FIRST_RETRY, RETRY));
        Some(backoff.next_wait())
    }

    fn forget(&self, key: &Key) {
        lock(&self.memories).remove(key);
        for users in lock(&self.users).values_mut() {
            users.remove(key);
        }
    }

    /// Wakes a set when one of the repositories it asks for changes.
    fn follow_repositories(self: &Arc<Self>, key: &Key, questions: &BTreeSet<Question>) {
        for question in questions {
            let Question::Repository { url, .. } = question else { continue };
            let Ok(mut changes) = self.shared.places.repositories.watch(url) else { continue };
            changes.borrow_and_update();
            let new = {
                let mut users = lock(&self.users);
                let new = !users.contains_key(url);
                users.entry(url.clone()).or_default().insert(key.clone());
                new
            };
            if new && !self.stop.is_cancelled() {
                let (sets, url) = (Arc::clone(self), url.clone());
                lock(&self.watched).spawn(async move { sets.wake_users(&url, changes).await });
            }
        }
    }

    async fn wake_users(&self, url: &str, mut changes: tokio::sync::watch::Receiver<u64>) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
            let users: Vec<Key> = lock(&self.users).get(url).into_iter().flatten().cloned().collect();
            self.wake(users).await;
        }
    }

    /// Clusters and projects concern every set.
    async fn follow_beside(self: Arc<Self>) {
        let mut changes = self.shared.beside.changes();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
            let all: Vec<Key> = lock(&self.memories).keys().cloned().collect();
            self.wake(all).await;
        }
    }

    /// Looks at every set anew when it becomes, or is no longer, this controller's.
    async fn follow_claims(self: Arc<Self>) {
        let shared = &self.shared;
        let (kind, ownership) = (&resource::APPLICATION_SETS, &shared.settings.ownership);
        ownership::follow(
            &shared.client,
            kind,
            &shared.settings.namespace,
            ownership,
            &self.triggers,
            &self.stop,
        )
        .await;
    }

    async fn wake(&self, keys: Vec<Key>) {
        for key in keys {
            if self.triggers.send(key).await.is_err() {
                return;
            }
        }
    }
}
