//! One look at one Application: read everything, decide, act a little, write what is new.

mod decide;
mod ending;
mod follow;
mod instead;
mod memory;
mod orphans;
mod seed;
mod shared;
mod site;
mod tell;

use std::sync::Arc;
use std::time::Duration;

use client::controller::Action;
use client::{Api, Key, resource};
use jiff::Timestamp;
use objects::{Value, meta};
use sync::{ResourceKey, annotations, takeover};

use crate::application::Application;
use crate::apply::Absent;
use crate::clusters::{Cluster, Connection};
use crate::comparison::{Comparing, Resource};
use crate::error::Error;
use crate::metrics::{Count, Work};
use crate::operation::{Operation, Progress, Syncing};
use crate::status::{Compared, Condition, Findings};
use crate::targets::{Managed, Targets};
use decide::Found;
use memory::{Around, Known, Memory};
pub(crate) use seed::read_or_make as read_or_make_seed;
pub(crate) use shared::Shared;
pub(crate) use site::{NoSite, Site, Window};

/// A pass: never waits for a host, a hook or health.
pub(crate) async fn pass(shared: Arc<Shared>, key: Key) -> Result<Action, Error> {
    let work = shared.metrics.of(&key);
    work.add(Count::Pass);
    client::requests::counted(work.requests(), counted(shared, key, work)).await
}

async fn counted(shared: Arc<Shared>, key: Key, work: Arc<Work>) -> Result<Action, Error> {
    let api = Api::new(&shared.client, &resource::APPLICATIONS);
    let Some(object) = api.find(&key).await? else {
        shared.forget(&key);
        return Ok(Action::Done);
    };
    if !shared.settings.ownership.covers(&object) {
        shared.forget(&key);
        return Ok(Action::Done);
    }
    // Of what was taken from Argo CD, that one alone is told so.
    if takeover::skips(&object) && takeover::stage(&object) != takeover::Stage::Taken {
        return Ok(Action::Done);
    }
    let mut memory = shared.take_memory(&key, meta::uid(&object));
    let result = {
        let mut pass = Pass {
            shared: &shared,
            api: &api,
            key: &key,
            object: &object,
            memory: &mut memory,
            work: &work,
            now: now(),
            site: None,
        };
        if meta::is_deleting(&object) { pass.end().await } else { pass.run().await }
    };
    if let (
        Err(Error::Api(client::Error::Transport { .. } | client::Error::Deadline { .. })),
        Some(cluster),
    ) = (&result, memory.cluster())
    {
        cluster.doubt();
    }
    shared.keep_memory(key, memory);
    result
}

/// Status fields have whole seconds.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

struct Pass<'a> {
    shared: &'a Arc<Shared>,
    api: &'a Api,
    key: &'a Key,
    object: &'a Value,
    memory: &'a mut Memory,
    work: &'a Arc<Work>,
    now: Timestamp,
    /// Set as soon as the spec was found to be valid.
    site: Option<Site>,
}

/// When to look again at what is being listed.
const LISTING: Duration = Duration::from_millis(200);

/// When to look again at kinds that could not be listed in time.
const LATE_LIST: Duration = Duration::from_secs(2);

/// When to look again at what a sync waits for and has moved. Its event may be on its way.
const MOVED: Duration = Duration::from_millis(10);

impl Pass<'_> {
    async fn run(&mut self) -> Result<Action, Error> {
        let refresh = meta::annotation(self.object, annotations::REFRESH).map(str::to_owned);
        let (application, site) = match self.read().await {
            Ok(found) => found,
            Err(NoSite::NotYet) => return Ok(Action::RequeueAfter(LISTING)),
            Err(NoSite::Invalid(conditions)) => {
                self.memory.leave(self.key);
                let findings = Findings { conditions, ..Findings::default() };
                self.write(None, findings).await?;
                self.clear_refresh(refresh.as_deref()).await?;
                return Ok(Action::Done);
            }
        };
        let paths = meta::annotation(self.object, annotations::MANIFEST_GENERATE_PATHS);
        paths.unwrap_or_default().clone_into(&mut self.memory.generate_paths);
        let cluster = self.settle(&application, site);
        cluster.live.track(&self.site().settings.tracking);
        match cluster.connection() {
            Connection::Up => {}
            // Whoever finds it out wakes us.
            Connection::Unknown => return Ok(Action::Done),
            Connection::Down(reason) => return self.without_cluster(&application, &cluster, &reason).await,
        }
        if self.object["operation"].is_null() {
            self.memory.forget_request();
        }
        let action = match self.rendered(&application, &cluster, refresh.as_deref()).await? {
            // The task that renders wakes us.
            Known::NotYet => return Ok(Action::Done),
            Known::Failed { message, retry } => {
                self.without_manifests(&application, message, retry, refresh.is_some()).await?
            }
            Known::Ready => self.with_manifests(&application, refresh.is_some()).await?,
        };
        self.clear_refresh(refresh.as_deref()).await?;
        Ok(match (action, self.memory.until_poll()) {
            (Action::RequeueAfter(wait), Some(poll)) => Action::RequeueAfter(wait.min(poll)),
            (Action::Done, Some(poll)) => Action::RequeueAfter(poll),
            (action, None) => action,
        })
    }

    async fn read(&self) -> Result<(Application, Site), NoSite> {
        let application = Application::read(self.object, &self.shared.settings.namespace);
        let mut application = application
            .map_err(|message| NoSite::Invalid(vec![Condition::new("InvalidSpecError", message)]))?;
        let site = self.shared.site(&application).await?;
        application.also_ignoring(&site.settings.ignore);
        Ok((application, site))
    }

    /// From now on the Application is known to be valid, and where it goes.
    fn settle(&mut self, application: &Application, site: Site) -> Arc<Cluster> {
        let cluster = Arc::clone(&site.place.cluster);
        self.memory.using(self.key, &application.project, &cluster);
        self.memory.managing(&site.settings);
        self.site = Some(site);
        cluster
    }

    /// Whether it is known what Git describes; if so, the memory has the targets.
    async fn rendered(
        &mut self,
        application: &Application,
        cluster: &Cluster,
        refresh: Option<&str>,
    ) -> Result<Known, Error> {
        let watched =
            application.sources.iter().filter(|source| !self.shared.places.is_fetched_chart(source));
        let urls = watched.map(|source| source.repo_url().to_owned()).collect();
        let counters = self.shared.follow_repositories(self.key, &urls);
        let catalog = cluster.resources.catalog().await?;
        let api_versions = cluster.api_versions(&catalog);
        let around = Around { counters, api_versions, project: Arc::clone(&self.site().project) };
        let known = self.memory.generation(self.shared, self.key, application, around, refresh).await?;
        if matches!(known, Known::Ready) {
            let settings = Arc::clone(&self.site().settings);
            let managed =
                Managed { tracking: &settings.tracking, kinds: &settings.kinds, server: cluster.server() };
            self.memory.prepare(application, &catalog, &managed);
        }
        Ok(known)
    }

    fn site(&self) -> &Site {
        self.site.as_ref().expect("a valid spec comes before everything else")
    }

    fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(&self.site().place.cluster)
    }

    /// The cluster does not answer: the status says so and keeps what was known.
    async fn without_cluster(
        &mut self,
        application: &Application,
        cluster: &Cluster,
        reason: &str,
    ) -> Result<Action, Error> {
        let message = format!(
            "Failed to load live state: failed to get cluster info for {:?}: error synchronizing cache state : {reason}",
            cluster.server()
        );
        let conditions = vec![Condition::new("ComparisonError", message)];
        self.write(Some(application), Findings { conditions, ..Findings::default() }).await?;
        Ok(Action::Done)
    }

    /// The status says why there are no manifests; a sync under way goes on with those it has.
    async fn without_manifests(
        &mut self,
        application: &Application,
        message: String,
        retry: Duration,
        refreshed: bool,
    ) -> Result<Action, Error> {
        let targets = Arc::clone(&self.memory.targets);
        let cluster = self.cluster();
        let followed = cluster.live.follow(&Shared::kinds_in_status(&cluster, self.object).await?).await;
        let resources = self.compare(application, &targets).await?;
        let failed = Some(message.clone());
        let compared = Compared { failed, complete: followed, ..self.compared(application, resources) };
        let mut findings = Findings {
            conditions: vec![Condition::new("ComparisonError", message.clone())],
            refreshed,
            ..Findings::default()
        };
        let outcome = match self.memory.operation.take() {
            Some(mut operation) => match self.go_on_without(&mut operation, application).await {
                Ok(progress) => self.took(operation, progress),
                Err(error) => {
                    self.memory.operation = Some(operation);
                    return Err(error);
                }
            },
            None => {
                let found = Found { application, targets: &targets, compared: &compared };
                self.begin(found).await?
            }
        };
        findings.compared = Some(compared);
        self.write(Some(application), findings).await?;
        self.tell().await;
        Ok(Action::RequeueAfter(retry.min(outcome.wait)))
    }

    /// Lets an operation go on with the manifests that it has.
    async fn go_on_without(
        &mut self,
        operation: &mut Operation,
        application: &Application,
    ) -> Result<Progress, Error> {
        let resources = self.compare_instead(application, operation.targets()).await?;
        let context = self.syncing(application);
        if self.is_terminating() {
            return Ok(operation.terminate(&context, self.now).await);
        }
        operation.advance(&context, application, &resources, self.now).await
    }

    fn syncing<'s>(&'s self, application: &'s Application) -> Syncing<'s> {
        Syncing {
            application: self.key,
            client: &self.site().place.cluster.client,
            resources: &self.site().place.cluster.resources,
            live: &self.site().place.cluster.live,
            work: self.work,
            settings: &self.shared.settings,
            ignore: &application.ignore,
            site: self.site(),
        }
    }

    async fn with_manifests(&mut self, application: &Application, refreshed: bool) -> Result<Action, Error> {
        let targets = Arc::clone(&self.memory.targets);
        self.settle_finalizers(&targets).await?;
        self.follow_objects(application, &targets);
        let mut kinds = targets.kinds();
        let cluster = self.cluster();
        kinds.extend(Shared::kinds_in_status(&cluster, self.object).await?);
        kinds.push(resource::NAMESPACES);
        let followed = cluster.live.follow(&kinds).await;
        let mut findings = Findings { refreshed, ..Findings::default() };
        let mut resources = self.compare(application, &targets).await?;
        // What a late list brings to prune wakes nobody if it is nothing: look again.
        let mut wait = if followed { Duration::MAX } else { LATE_LIST };
        // Starting, ending and following up may all happen in one pass.
        for _ in 0..3 {
            let before = self.memory.operation.is_some();
            let mut compared = self.compared(application, resources);
            let found = Found { application, targets: &targets, compared: &compared };
            let outcome = self.operate(found).await?;
            wait = wait.min(outcome.wait);
            findings.conditions = self.conditions(&targets, &compared, outcome.sync_error);
            findings.conditions.extend(self.orphaned(application, &compared));
            if outcome.acted {
                resources = self.compare(application, &targets).await?;
                compared = self.compared(application, resources);
                let operation = self.memory.operation.as_mut();
                if operation.is_some_and(|operation| operation.missed_a_move(&cluster.live)) {
                    wait = wait.min(MOVED);
                }
                findings.conditions.retain(|condition| condition.kind != "SyncError");
            }
            let ended = before && self.memory.operation.is_none();
            resources = compared.resources.clone();
            compared.complete = followed;
            findings.compared = Some(compared);
            if !(outcome.acted && (ended || outcome.ended)) {
                break;
            }
        }
        self.write(Some(application), findings).await?;
        self.tell().await;
        Ok(if wait == Duration::MAX { Action::Done } else { Action::RequeueAfter(wait) })
    }

    /// Wakes this Application when an object it describes, or a namespace it waits for, moves.
    fn follow_objects(&mut self, application: &Application, targets: &Targets) {
        let mut interests = targets.keys();
        if !application.destination_namespace.is_empty() {
            interests.insert(ResourceKey::new("", "Namespace", "", &application.destination_namespace));
        }
        if let Some(operation) = &self.memory.operation {
            interests.extend(operation.targets().keys());
        }
        for deferred in &self.memory.deferred {
            if let Absent::Namespace(name) = &deferred.missing.what {
                interests.insert(ResourceKey::new("", "Namespace", "", name));
            }
        }
        if interests != self.memory.interests {
            self.cluster().live.interest(self.key, &self.memory.interests, &interests);
            self.memory.interests = interests;
        }
    }

    async fn compare(
        &mut self,
        application: &Application,
        targets: &Targets,
    ) -> Result<Vec<Arc<Resource>>, Error> {
        let mut comparisons = std::mem::take(&mut self.memory.comparisons);
        let resources = comparisons.update(&self.comparing(application), targets).await;
        self.memory.comparisons = comparisons;
        resources
    }

    fn comparing<'s>(&'s self, application: &'s Application) -> Comparing<'s> {
        let site = self.site();
        Comparing {
            client: &site.place.cluster.client,
            resources: &site.place.cluster.resources,
            live: &site.place.cluster.live,
            work: self.work,
            site,
            application,
        }
    }

    fn compared(&self, application: &Application, resources: Vec<Arc<Resource>>) -> Compared {
        let wanted = &application.sync_policy["managedNamespaceMetadata"];
        let state = self.state();
        let applied = &state["syncResult"]["managedNamespaceMetadata"];
        Compared {
            resources,
            revisions: self.memory.revisions.clone(),
            types: self.memory.types.clone(),
            failed: None,
            complete: true,
            namespace_drifted: application.options.create_namespace()
                && !wanted.is_null()
                && wanted != applied,
        }
    }

    fn conditions(
        &self,
        targets: &Targets,
        compared: &Compared,
        sync_error: Option<String>,
    ) -> Vec<Condition> {
        let mut conditions: Vec<Condition> =
            targets.warnings.iter().map(|(kind, message)| Condition::new(kind, message.clone())).collect();
        for resource in &compared.resources {
            if let Some(other) = &resource.shared_with {
                let ResourceKey { kind, name, .. } = &resource.key;
                let message = format!("{kind}/{name} is part of applications {} and {other}", self.key);
                conditions.push(Condition::new("SharedResourceWarning", message));
            }
        }
        for setting in &self.site().settings.unfollowed {
            let message = format!("argocd-cm: {setting} is not followed");
            conditions.push(Condition::new("UnfollowedSettingWarning", message));
        }
        conditions.extend(sync_error.map(|message| Condition::new("SyncError", message)));
        conditions
    }
}
