//! What is remembered of an Application between two passes, and the task that renders it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use client::Key;
use client::discovery::Catalog;
use futures::FutureExt as _;
use git::Freshness;
use objects::Value;
use serde_json::json;
use sync::ResourceKey;
use sync::project::Project;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use webhooks::{Push, refresh_paths};

use super::Shared;
use super::follow::News;
use super::instead::Instead;
use crate::application::{Application, Source};
use crate::beside::{ArgoSettings, Changes};
use crate::clusters::Cluster;
use crate::comparison::Comparisons;
use crate::generate::{self, Earlier, Failure, Generated, Request, SourceType};
use crate::operation::{Deferred, Operation, OperationPhase};
use crate::targets::{self, Managed, Targets};

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Of the Application; another one may have its name later.
    pub(super) uid: String,
    /// What the last rendering was made for.
    rendered: Option<Wanted>,
    rendering: Option<Rendering>,
    /// How the last rendering that read files went.
    earlier: Option<Earlier>,
    failure: Option<Failed>,
    /// When a newer version in a chart's range is looked for.
    poll_at: Option<Instant>,
    /// How often, if a source is such a chart.
    polling: Option<Duration>,
    /// Manifests that are not made ready yet.
    manifests: Option<Vec<Value>>,
    prepared_with: Option<Arc<Catalog>>,
    pub(super) revisions: Vec<String>,
    pub(super) types: Vec<SourceType>,
    pub(super) targets: Arc<Targets>,
    pub(super) comparisons: Comparisons,
    /// Where the Application goes, and by which project; `None` while its spec is invalid.
    uses: Option<(String, Arc<Cluster>)>,
    settings: Option<Arc<ArgoSettings>>,
    pub(super) interests: BTreeSet<ResourceKey>,
    /// When hooks around the deletion that failed may run again, and after how long a wait.
    pub(super) hooks_again: Option<(Instant, Duration)>,
    /// What `argocd.argoproj.io/manifest-generate-paths` says.
    pub(super) generate_paths: String,
    pub(super) operation: Option<Operation>,
    /// What the operation deploys, or is to, if that is not what the spec tracks.
    pub(super) instead: Option<Instead>,
    /// What the last operation could not apply for lack of a namespace or kind.
    pub(super) deferred: Vec<Deferred>,
    /// Whether any of that is there now.
    pub(super) unblocked: bool,
    /// The newest `operationState` of this process.
    pub(super) state: Option<Value>,
    /// The manifests of the last whole operation.
    pub(super) synced: Option<[u8; 32]>,
    /// The request of a person that was taken up.
    taken: Option<Value>,
    /// The state of an operation that an earlier process did not bring to its end.
    pub(super) interrupted: Option<Value>,
    /// The operation that ended and that no Event told of yet: how, why, and its revisions.
    pub(super) ended: Option<(OperationPhase, String, String)>,
    pub(super) unwritten: Unwritten,
    /// What a status was to bring and the server kept nothing of: a definition of Applications that is older than a field
    /// prunes it, and to say it again would change nothing but the time.
    pub(super) unkept: Option<Value>,
}

/// What operations came to and no status says yet. It is kept here from the moment it is known: whatever fails between that
/// and the write, the next pass writes it.
#[derive(Debug, Clone, Default)]
pub(super) struct Unwritten {
    pub(super) operation: Option<Value>,
    /// Entries for `history`.
    pub(super) deployed: Vec<Value>,
    /// How many of them a write was to bring whose answer was an error.
    pub(super) tried: usize,
}

/// A rendering that failed, and when to try it again.
#[derive(Debug)]
struct Failed {
    message: String,
    at: Instant,
    wait: Duration,
}

/// A failed rendering is tried again after ever longer waits up to this one.
const LONGEST_RETRY: Duration = Duration::from_secs(600);

/// What a rendering depends on besides an Application's own spec.
pub(super) struct Around {
    /// State of each repository.
    pub(super) counters: Vec<u64>,
    pub(super) api_versions: Arc<Vec<String>>,
    pub(super) project: Arc<Project>,
}

/// What a rendering is made for; if it is the same, so is the rendering.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    spec: Value,
    /// State of each repository.
    counters: Vec<u64>,
    api_versions: Arc<Vec<String>>,
}

#[derive(Debug)]
struct Rendering {
    wanted: Wanted,
    task: JoinHandle<Result<Generated, Failure>>,
    watched: Arc<Watched>,
    refresh: bool,
}

impl Drop for Rendering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Who hears of the end of a rendering: the pass that waits for it, or the queue if that has gone on. One atomic step on
/// each side decides it, so that an end at the very moment at which the pass loses its patience is not lost.
#[derive(Debug, Default)]
struct Watched(AtomicU8);

impl Watched {
    const AWAITED: u8 = 0;
    const LEFT: u8 = 1;
    const ENDED: u8 = 2;

    /// A pass waits for the end.
    fn await_it(&self) {
        let _ = self.0.compare_exchange(Self::LEFT, Self::AWAITED, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The pass waits no more; whether the end will wake another one. If not, it is here.
    fn leave(&self) -> bool {
        self.0.compare_exchange(Self::AWAITED, Self::LEFT, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// It has ended; whether another pass is to be woken.
    fn end(&self) -> bool {
        self.0.swap(Self::ENDED, Ordering::AcqRel) == Self::LEFT
    }
}

/// What a pass knows of the manifests.
#[derive(Debug)]
pub(super) enum Known {
    NotYet,
    Failed { message: String, retry: Duration },
    Ready,
}

/// How long a pass waits for a rendering before it lets the task wake the next one.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

impl Memory {
    /// Takes note of the project and of the cluster that the Application uses now.
    pub(super) fn using(&mut self, key: &Key, project: &str, cluster: &Arc<Cluster>) {
        if !self.is_on(cluster) {
            self.leave(key);
            self.comparisons = Comparisons::default();
            self.prepared_with = None;
            self.manifests.get_or_insert_with(|| self.targets.manifests());
        }
        self.uses = Some((project.to_owned(), Arc::clone(cluster)));
    }

    /// Renders anew where the settings manage other kinds than before, or mark objects otherwise: what was left out, or
    /// was there before the marks, is not remembered. Which live objects count changes as well.
    pub(super) fn managing(&mut self, settings: &Arc<ArgoSettings>) {
        if let Some(before) = &self.settings {
            let marked = before.tracking == settings.tracking;
            if before.kinds != settings.kinds || !marked {
                self.rendered = None;
                self.earlier = None;
            }
            if before.kinds != settings.kinds || !marked || before.checks != settings.checks {
                self.comparisons = Comparisons::default();
            }
        }
        self.settings = Some(Arc::clone(settings));
    }

    /// Forgets the cluster that the Application used.
    pub(super) fn leave(&mut self, key: &Key) {
        if let Some((_, cluster)) = self.uses.take() {
            cluster.live.interest(key, &self.interests, &BTreeSet::new());
            cluster.neighbours.leave(key);
            self.interests.clear();
        }
    }

    pub(super) fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.uses.as_ref().map(|(_, cluster)| cluster)
    }

    pub(super) fn is_on(&self, cluster: &Arc<Cluster>) -> bool {
        self.cluster().is_some_and(|used| Arc::ptr_eq(used, cluster))
    }

    /// Whether what moved beside the Applications matters to this one.
    pub(super) fn concerned_by(&self, moved: &Changes) -> bool {
        let Some((project, cluster)) = &self.uses else { return true };
        moved.settings || moved.projects.contains(project) || moved.servers.contains(cluster.server())
    }

    /// Whether a change of the served types concerns this Application.
    pub(super) fn depends_on_types(&self) -> bool {
        self.targets.has_unknown_kinds()
            || !self.deferred.is_empty()
            || self.types.contains(&SourceType::Helm)
            || self.failure.is_some()
    }

    /// The positions of the sources in a repository that the last rendering was made of, what each tracks, and the
    /// revision that was then.
    pub(super) fn tracked<'m>(&'m self, url: &'m str) -> impl Iterator<Item = (usize, &'m str, &'m str)> {
        let sources = self.rendered.as_ref().and_then(|rendered| rendered.spec[0].as_array());
        let sources = sources.into_iter().flatten().enumerate();
        let text = |source: &'m Value, field: &str| source[field].as_str().unwrap_or_default();
        sources.filter(move |(_, source)| text(source, "repoURL") == url).map(move |(index, source)| {
            let rendered = self.revisions.get(index).map_or("", String::as_str);
            (index, text(source, "targetRevision"), rendered)
        })
    }

    /// Whether the news of a repository change nothing that the last rendering was made of. One that failed, or is
    /// under way, is better looked at.
    pub(super) fn untouched(&self, url: &str, news: &News) -> bool {
        let Some(Earlier { record, .. }) = &self.earlier else { return false };
        if self.rendering.is_some() || self.failure.is_some() {
            return false;
        }
        let mut changes = BTreeMap::new();
        for (index, tracked, rendered) in self.tracked(url) {
            let Some(moved) = news.of(tracked, rendered) else { return false };
            changes.insert(index, moved);
        }
        record.untouched(|source| changes.get(&source).copied())
    }

    /// Whether a push to a repository may change what this Application is made of, as far as its host tells. What was
    /// not rendered yet is made of whatever comes.
    pub(super) fn concerned_by_push(&self, url: &str, push: &Push) -> bool {
        let Some(rendered) = &self.rendered else { return true };
        let sources = rendered.spec[0].as_array();
        let mut sources = sources.into_iter().flatten().filter(|source| source["repoURL"] == url);
        sources.any(|source| {
            let text = |field: &str| source[field].as_str().unwrap_or_default();
            let paths = refresh_paths(&self.generate_paths, text("path"));
            push.moves(text("targetRevision")) && push.touches(&paths)
        })
    }

    /// Takes note of what an operation came to.
    pub(super) fn came_to(&mut self, state: Value) {
        self.unwritten.operation = Some(state.clone());
        self.state = Some(state);
    }

    pub(super) fn taken(&self, request: &Value) -> bool {
        self.taken.as_ref() == Some(request)
    }

    pub(super) fn take(&mut self, request: &Value) {
        self.taken = Some(request.clone());
    }

    /// Forgets a request that is no longer there, so that the same one can be made again.
    pub(super) fn forget_request(&mut self) {
        self.taken = None;
    }

    /// The manifests for what is wanted now, rendering them if need be.
    pub(super) async fn generation(
        &mut self,
        shared: &Arc<Shared>,
        key: &Key,
        application: &Application,
        around: Around,
        refresh: Option<&str>,
    ) -> Result<Known, client::Error> {
        let Around { counters, api_versions, project } = around;
        let spec = json!([
            application.sources.iter().map(|source| &source.0).collect::<Vec<_>>(),
            application.destination,
            application.project,
            application.instance,
            project.source_rules(),
        ]);
        let wanted = Wanted { spec, counters, api_versions };
        let ranged = |source: &Source| {
            shared.places.is_fetched_chart(source) && !charts::is_exact(source.target_revision())
        };
        self.polling = application.sources.iter().any(ranged).then_some(shared.settings.chart_polling);
        let running = self
            .rendering
            .as_ref()
            .is_some_and(|rendering| rendering.wanted == wanted && (rendering.refresh || refresh.is_none()));
        if !running {
            let retry_due = self.failure.as_ref().is_some_and(|failed| failed.at.elapsed() >= failed.wait);
            let poll_due = self.poll_at.is_some_and(|at| at <= Instant::now());
            if refresh.is_none() && !retry_due && !poll_due && self.rendered.as_ref() == Some(&wanted) {
                return Ok(self.known());
            }
            let cluster = self.cluster().map(Arc::clone).expect("a valid spec has a cluster");
            let kube_version = cluster.kube_version().await?;
            if refresh == Some("hard") {
                self.earlier = None;
            }
            let seed = shared.seed().await?;
            let mut request = Request::of(application, kube_version, Arc::clone(&wanted.api_versions), seed);
            request.permitted = Some(project);
            if refresh.is_some() {
                request.freshness = Freshness::Latest;
                request.refetch = refresh == Some("hard");
            }
            self.rendering = Some(self.start(shared, key, request, wanted, refresh.is_some()));
        }
        let Some(rendering) = &mut self.rendering else { return Ok(self.known()) };
        rendering.watched.await_it();
        let outcome = match tokio::time::timeout(PATIENCE, &mut rendering.task).await {
            Ok(outcome) => outcome,
            Err(_) if rendering.watched.leave() => return Ok(Known::NotYet),
            Err(_) => (&mut rendering.task).await,
        };
        self.finished(shared, outcome);
        Ok(self.known())
    }

    fn start(
        &self,
        shared: &Arc<Shared>,
        key: &Key,
        request: Request,
        wanted: Wanted,
        refresh: bool,
    ) -> Rendering {
        let watched = Arc::new(Watched::default());
        let earlier = self.earlier.clone();
        let (shared, key, seen) = (Arc::clone(shared), key.clone(), Arc::clone(&watched));
        let work = shared.metrics.of(&key);
        let task = tokio::spawn(async move {
            let generating = generate::generate(&shared.places, &shared.renderers, work, request, earlier);
            // Whoever waits hears of a panic too.
            let outcome = AssertUnwindSafe(generating).catch_unwind().await;
            if seen.end() {
                // The pass that this wakes waits for the task, which returns at once.
                let _ = shared.triggers.send(key).await;
            }
            outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        Rendering { wanted, task, watched, refresh }
    }

    fn finished(
        &mut self,
        shared: &Shared,
        outcome: Result<Result<Generated, Failure>, tokio::task::JoinError>,
    ) {
        let Some(rendering) = self.rendering.take() else { return };
        let same = self.rendered.as_ref() == Some(&rendering.wanted);
        self.poll_at = self.polling.map(|period| Instant::now() + period);
        self.rendered = Some(rendering.wanted.clone());
        let message = match outcome {
            Ok(Ok(generated)) => {
                self.failure = None;
                self.revisions = generated.revisions;
                self.types.clone_from(&generated.types);
                self.earlier = Some(Earlier { record: generated.record, outcome: Ok(generated.types) });
                if let Some(manifests) = generated.manifests {
                    self.manifests = Some(manifests);
                }
                return;
            }
            Ok(Err(failure)) => {
                // A repository that could not be opened says nothing about the rendering before.
                if let Some(record) = failure.record {
                    self.earlier = Some(Earlier { record, outcome: Err(failure.message.clone()) });
                }
                failure.message
            }
            Err(_) => "Failed to load target state: the rendering broke off".to_owned(),
        };
        let first = shared.settings.generation_retry;
        let wait = match &self.failure {
            Some(before) if same => (before.wait * 2).min(LONGEST_RETRY.max(first)),
            _ => first,
        };
        self.failure = Some(Failed { message, at: Instant::now(), wait });
    }

    /// How long until a newer version of a chart is looked for.
    pub(super) fn until_poll(&self) -> Option<Duration> {
        let at = self.poll_at.filter(|_| self.rendering.is_none())?;
        Some(at.saturating_duration_since(Instant::now()).max(Duration::from_millis(100)))
    }

    fn known(&self) -> Known {
        match &self.failure {
            Some(failed) => {
                let retry = failed.wait.saturating_sub(failed.at.elapsed());
                Known::Failed {
                    message: failed.message.clone(),
                    retry: retry.max(Duration::from_millis(100)),
                }
            }
            None => Known::Ready,
        }
    }

    /// Makes new manifests ready, or old ones of kinds that were not served then.
    pub(super) fn prepare(
        &mut self,
        application: &Application,
        catalog: &Arc<Catalog>,
        managed: &Managed<'_>,
    ) {
        let known_before = self.prepared_with.as_ref().is_some_and(|before| Arc::ptr_eq(before, catalog));
        let manifests = match self.manifests.take() {
            Some(manifests) => manifests,
            None if !known_before && self.targets.has_unknown_kinds() => self.targets.manifests(),
            None => return,
        };
        self.targets = Arc::new(targets::prepare(manifests, application, catalog, managed));
        self.prepared_with = Some(Arc::clone(catalog));
    }
}
