//! From sources to manifests: opens the repositories, decides the tool, renders, and remembers what was read.

mod directory;
mod environment;
mod helm_source;
mod kustomize_source;
mod outside;
mod overrides;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use charts::Built;
use git::{Changes, Freshness, Snapshot};
use objects::Value;
use serde_json::json;
use sha2::{Digest, Sha256};
use sync::project::Project;
use tokio::sync::Semaphore;
use tree::{Read, Recorder, Tree, TreePath};

use crate::application::{Application, Source};
use crate::metrics::{Count, Work};
use crate::places::Places;
use environment::Environment;
use outside::Outside;

/// The tool that renders a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceType {
    Helm,
    Kustomize,
    Directory,
}

impl SourceType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Helm => "Helm",
            Self::Kustomize => "Kustomize",
            Self::Directory => "Directory",
        }
    }
}

/// What is to be rendered, independent of the Application object.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The application's own name: the default release name.
    pub(crate) name: String,
    pub(crate) instance: String,
    pub(crate) project: String,
    pub(crate) destination_namespace: String,
    pub(crate) sources: Vec<Source>,
    pub(crate) freshness: Freshness,
    /// Whether even a chart's exact version is fetched again: somebody says that what is here is wrong.
    pub(crate) refetch: bool,
    /// `v1.34.0`.
    pub(crate) kube_version: String,
    /// `apps/v1` and `apps/v1/Deployment`, sorted.
    pub(crate) api_versions: Arc<Vec<String>>,
    /// Where random functions of charts draw from, so that rendering again gives the same.
    pub(crate) seed: Option<[u8; 32]>,
    /// What limits where a rendering may get things from with credentials, or from places of this machine; `None` for
    /// a person's own command.
    pub(crate) permitted: Option<Arc<Project>>,
}

impl Request {
    pub(crate) fn of(
        application: &Application,
        kube_version: String,
        api_versions: Arc<Vec<String>>,
        seed: [u8; 32],
    ) -> Self {
        let mut own = Sha256::new();
        own.update(seed);
        own.update(&application.instance);
        Self {
            name: application.name.clone(),
            instance: application.instance.clone(),
            project: application.project.clone(),
            destination_namespace: application.destination_namespace.clone(),
            sources: application.sources.clone(),
            freshness: Freshness::Recent,
            refetch: false,
            kube_version,
            api_versions,
            seed: Some(own.finalize().into()),
            permitted: None,
        }
    }

    /// Whether more than what everybody can have may be had from a repository.
    pub(crate) fn permits(&self, url: &str) -> bool {
        self.permitted.as_ref().is_none_or(|project| project.permits_source(url))
    }

    /// What the output depends on apart from files. Types matter only to charts.
    fn fingerprint(&self, revisions: &[String], charts: bool) -> [u8; 32] {
        let sources: Vec<&Value> = self.sources.iter().map(|source| &source.0).collect();
        let mut hash = Sha256::new();
        let permitted = self.permitted.as_ref().map(|project| project.source_rules());
        let fixed =
            json!([self.name, self.instance, self.project, self.destination_namespace, sources, permitted]);
        hash.update(fixed.to_string());
        if fixed.to_string().contains("ARGOCD_APP_REVISION") {
            hash.update(revisions.join(" "));
        }
        if charts {
            hash.update(&self.kube_version);
            for version in self.api_versions.iter() {
                hash.update(version);
                hash.update([0]);
            }
        }
        hash.finalize().into()
    }
}

/// What a rendering depended on; if none of it changed, its manifests still hold.
#[derive(Debug)]
pub(crate) struct Record {
    fingerprint: [u8; 32],
    charts: bool,
    /// Of what was fetched besides the sources.
    fetched: [u8; 32],
    /// By position of the source whose repository was read.
    reads: Vec<(usize, Vec<(TreePath, Read)>)>,
    /// Whether something was read through a symbolic link: then the paths do not tell all.
    follows_links: bool,
    /// What kustomizations took from elsewhere.
    outside: Vec<outside::Read>,
}

impl Record {
    /// Whether changes of the repositories of some sources leave this rendering as it is. `changes` answers by the
    /// position of a source.
    pub(crate) fn untouched<'c>(&self, changes: impl Fn(usize) -> Option<&'c Changes>) -> bool {
        let touched = |(index, reads): &(usize, Vec<(TreePath, Read)>)| {
            changes(*index)
                .is_some_and(|changes| reads.iter().any(|(path, read)| changes.touches(path, read)))
        };
        !self.follows_links && self.outside.is_empty() && !self.reads.iter().any(touched)
    }
}

/// A finished generation.
#[derive(Debug)]
pub(crate) struct Generated {
    /// One per source; empty for a source that only has a `ref`.
    pub(crate) revisions: Vec<String>,
    pub(crate) types: Vec<SourceType>,
    /// `None`: nothing that the earlier rendering depended on changed.
    pub(crate) manifests: Option<Vec<Value>>,
    pub(crate) record: Arc<Record>,
}

/// Why there are no manifests.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// The text of a ComparisonError condition.
    pub(crate) message: String,
    /// What a rendering that failed had read; `None` where it did not come to that.
    pub(crate) record: Option<Arc<Record>>,
}

impl Failure {
    fn unread(message: String) -> Self {
        Self { message, record: None }
    }
}

/// How an earlier rendering went, and what it depended on.
#[derive(Debug, Clone)]
pub(crate) struct Earlier {
    pub(crate) record: Arc<Record>,
    /// The tools, or why it failed.
    pub(crate) outcome: Result<Vec<SourceType>, String>,
}

/// Opens, and renders unless `earlier` still holds. Takes as long as the repositories' deadlines allow.
pub(crate) async fn generate(
    places: &Places,
    renderers: &Semaphore,
    work: Arc<Work>,
    request: Request,
    earlier: Option<Earlier>,
) -> Result<Generated, Failure> {
    let mut snapshots: Vec<Snapshot> = Vec::new();
    for (index, source) in request.sources.iter().enumerate() {
        let snapshot = places.open(source, &request).await;
        snapshots.push(snapshot.map_err(|reason| Failure::unread(failed(&request, index, &reason)))?);
    }
    let (request, snapshots) = (Arc::new(request), Arc::new(snapshots));
    let outside = Arc::new(Outside::new(places.clone(), Arc::clone(&request)));
    let mut fetched = Fetched { built: vec![None; request.sources.len()], files: BTreeMap::new() };
    loop {
        let rendering = Rendering {
            request: Arc::clone(&request),
            snapshots: Arc::clone(&snapshots),
            fetched: fetched.clone(),
            work: Arc::clone(&work),
            outside: Arc::clone(&outside),
            need: Cell::new(None),
        };
        let earlier = earlier.clone();
        let permit = renderers.acquire().await.expect("the semaphore is never closed");
        let ended = tokio::task::spawn_blocking(move || rendering.run(earlier)).await;
        // Nobody waits to render while a host is waited for.
        drop(permit);
        let (outcome, need) = ended.unwrap_or_else(|_| {
            let message = "Failed to load target state: the rendering broke off".to_owned();
            (Err(Failure::unread(message)), None)
        });
        let Some(need) = need.filter(|need| !fetched.has(need)) else { return outcome };
        let index = need.source;
        let failed = |reason: String| Failure::unread(failed(&request, index, &reason));
        match need.what {
            Needed::Dependencies(path) => {
                let tree = Arc::clone(&snapshots[index].tree);
                let built = places.build(tree, &path, &request).await.map_err(failed)?;
                fetched.built[index] = Some(built);
            }
            Needed::Values(url) => {
                let content = places.values(&url, &request).await.map_err(failed)?;
                fetched.files.insert(url, content);
            }
        }
    }
}

fn failed(request: &Request, index: usize, reason: &str) -> String {
    format!(
        "Failed to load target state: failed to generate manifest for source {} of {}: {reason}",
        index + 1,
        request.sources.len()
    )
}

/// What a rendering turned out to need that is in no source.
#[derive(Debug, Clone, Default)]
struct Fetched {
    /// Charts with their dependencies, by position of the source.
    built: Vec<Option<Built>>,
    /// Files of values by URL.
    files: BTreeMap<String, Bytes>,
}

/// Something that a rendering cannot go on without.
#[derive(Debug)]
struct Need {
    /// The position of the source.
    source: usize,
    what: Needed,
}

#[derive(Debug)]
enum Needed {
    /// Those of the chart at this path.
    Dependencies(TreePath),
    /// The file of values at this URL.
    Values(String),
}

impl Fetched {
    fn has(&self, need: &Need) -> bool {
        match &need.what {
            Needed::Dependencies(_) => self.built[need.source].is_some(),
            Needed::Values(url) => self.files.contains_key(url),
        }
    }

    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.built.iter().all(Option::is_none)
    }

    /// The same as long as the same was fetched.
    fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (index, built) in self.built.iter().enumerate() {
            if let Some(built) = built {
                hash.update((index as u64).to_le_bytes());
                hash.update(built.fingerprint);
            }
        }
        for (url, content) in &self.files {
            hash.update((url.len() as u64).to_le_bytes());
            hash.update(url);
            hash.update(Sha256::digest(content));
        }
        hash.finalize().into()
    }
}

/// One rendering, on the thread that does it.
struct Rendering {
    request: Arc<Request>,
    snapshots: Arc<Vec<Snapshot>>,
    fetched: Fetched,
    work: Arc<Work>,
    outside: Arc<Outside>,
    need: Cell<Option<Need>>,
}

impl Rendering {
    /// How it went, and what must be fetched for it to go on.
    fn run(&self, earlier: Option<Earlier>) -> (Result<Generated, Failure>, Option<Need>) {
        let outcome = self.outcome(earlier);
        (outcome, self.need.take())
    }

    fn outcome(&self, earlier: Option<Earlier>) -> Result<Generated, Failure> {
        let revisions: Vec<String> =
            self.snapshots.iter().map(|snapshot| snapshot.revision.clone()).collect();
        if let Some(Earlier { record, outcome }) = earlier
            && self.still_holds(&record, &revisions)
        {
            self.work.add(Count::RenderCacheHit);
            return match outcome {
                Ok(types) => Ok(Generated { revisions, types, manifests: None, record }),
                Err(message) => Err(Failure { message, record: Some(record) }),
            };
        }
        let recorders: Vec<_> = self.snapshots.iter().map(|snapshot| Recorder::new(&snapshot.tree)).collect();
        let rendered = self.render(&recorders, &revisions);
        self.work.add(Count::Render);
        let follows_links = recorders.iter().any(Recorder::follows_links);
        let reads: Vec<_> = recorders.into_iter().map(Recorder::into_reads).enumerate().collect();
        let outside = self.outside.take();
        // A kustomization may have charts among its resources.
        let inner = || {
            let chart = |(path, _): &(TreePath, Read)| path.file_name() == "Chart.yaml";
            outside.contains(&outside::Read::Chart) || reads.iter().any(|(_, reads)| reads.iter().any(chart))
        };
        // What failed may be a chart that served types would let pass.
        let charts =
            rendered.as_ref().map_or(true, |(types, _)| types.contains(&SourceType::Helm) || inner());
        let fingerprint = self.request.fingerprint(&revisions, charts);
        let fetched = self.fetched.fingerprint();
        let record = Arc::new(Record { fingerprint, charts, fetched, reads, follows_links, outside });
        match rendered {
            Ok((types, manifests)) => Ok(Generated { revisions, types, manifests: Some(manifests), record }),
            Err(message) => Err(Failure { message, record: Some(record) }),
        }
    }

    fn render(
        &self,
        recorders: &[Recorder<'_>],
        revisions: &[String],
    ) -> Result<(Vec<SourceType>, Vec<Value>), String> {
        let references = self.references(recorders)?;
        let (mut manifests, mut types) = (Vec::new(), Vec::new());
        for (index, source) in self.request.sources.iter().enumerate() {
            if !source.reference().is_empty() && source.path().is_empty() && source.chart().is_empty() {
                types.push(SourceType::Directory);
                continue;
            }
            let one = One {
                request: &self.request,
                index,
                rendering: self,
                source,
                tree: &recorders[index],
                revision: &revisions[index],
                references: &references,
                outside: &self.outside,
            };
            let (kind, rendered) = one.render().map_err(|reason| failed(&self.request, index, &reason))?;
            types.push(kind);
            manifests.extend(rendered);
        }
        Ok((types, manifests))
    }

    fn still_holds(&self, record: &Record, revisions: &[String]) -> bool {
        // What was fetched for files that did not change is looked for again only when somebody asks.
        let untried = self.fetched.is_empty() && self.request.freshness == Freshness::Recent;
        if !untried && record.fetched != self.fetched.fingerprint() {
            return false;
        }
        record.fingerprint == self.request.fingerprint(revisions, record.charts)
            && record.reads.iter().all(|(index, reads)| {
                let snapshot = self.snapshots.get(*index);
                snapshot.is_some_and(|snapshot| tree::unchanged(&snapshot.tree, reads).unwrap_or(false))
            })
            && self.outside.still_holds(&record.outside)
    }

    /// The trees that `$ref` value files name.
    fn references<'t>(
        &self,
        recorders: &'t [Recorder<'t>],
    ) -> Result<BTreeMap<String, &'t dyn Tree>, String> {
        let mut references: BTreeMap<String, &dyn Tree> = BTreeMap::new();
        for (source, recorder) in self.request.sources.iter().zip(recorders) {
            let name = source.reference();
            if name.is_empty() {
                continue;
            }
            if !source.chart().is_empty() {
                return Err(format!("ref {name:?}: only Git repositories can be referenced"));
            }
            if references.insert(name.to_owned(), recorder).is_some() {
                return Err(format!("ref {name:?} is used by two sources"));
            }
        }
        Ok(references)
    }
}

/// One source being rendered.
struct One<'a> {
    request: &'a Request,
    index: usize,
    rendering: &'a Rendering,
    source: &'a Source,
    tree: &'a dyn Tree,
    revision: &'a str,
    references: &'a BTreeMap<String, &'a dyn Tree>,
    outside: &'a Outside,
}

impl One<'_> {
    /// Says what is needed; the rendering ends, and begins again with it.
    fn need(&self, what: Needed) {
        self.rendering.need.set(Some(Need { source: self.index, what }));
    }

    /// The chart at a path, with its dependencies.
    fn chart(&self, path: &TreePath) -> Result<helm::Chart, String> {
        // Read even where it was built from the same files, so that it is known what the rendering depends on.
        let mut files = helm::read(self.tree, path.as_str()).map_err(|error| text(&error))?;
        if let Some(built) = &self.rendering.fetched.built[self.index] {
            files.clone_from(&built.files);
        }
        let chart = helm::Chart::from_files(files).map_err(|error| text(&error))?;
        let missing = chart.missing_dependencies();
        if missing.is_empty() {
            return Ok(chart);
        }
        self.need(Needed::Dependencies(path.clone()));
        Err(format!(
            "an error occurred while checking for chart dependencies. You may need to run `helm dependency build` to fetch missing dependencies: found in Chart.yaml, but missing in charts/ directory: {}",
            missing.join(", ")
        ))
    }

    fn render(&self) -> Result<(SourceType, Vec<Value>), String> {
        let path = self.path()?;
        if self.tree.list(&path).map_err(|error| text(&error))?.is_none() {
            return Err(format!("{}: app path does not exist", self.source.path()));
        }
        let source = overrides::apply(self.tree, &path, self.source, &self.request.instance)?;
        let kind = self.kind(&source, &path)?;
        let environment = Environment::new(self.request, &source, self.revision);
        let manifests = match kind {
            SourceType::Helm => helm_source::render(self, &source, &path, &environment)?,
            SourceType::Kustomize => kustomize_source::render(self, &source, &path, &environment)?,
            SourceType::Directory => directory::render(self.tree, &path, &source)?,
        };
        Ok((kind, manifests))
    }

    /// The directory to render. In a local place that answers for a chart repository a chart lies in a directory of
    /// its name, or is the place itself.
    fn path(&self) -> Result<TreePath, String> {
        if self.source.chart().is_empty() {
            return TreePath::parse(self.source.path()).map_err(|error| error.to_string());
        }
        let chart = TreePath::parse(self.source.chart()).map_err(|error| error.to_string())?;
        for candidate in [chart.clone(), TreePath::root()] {
            let file = candidate.join("Chart.yaml").map_err(|error| error.to_string())?;
            if self.tree.read(&file).map_err(|error| text(&error))?.is_some() {
                return Ok(candidate);
            }
        }
        Err(format!("chart {chart} is not in the local place that answers {}", self.source.repo_url()))
    }

    fn kind(&self, source: &Source, path: &TreePath) -> Result<SourceType, String> {
        let given = |field: &str| source.0[field].is_object();
        if given("kustomize") {
            return Ok(SourceType::Kustomize);
        }
        if given("helm") || !self.source.chart().is_empty() {
            return Ok(SourceType::Helm);
        }
        if given("directory") {
            return Ok(SourceType::Directory);
        }
        let entries = self.tree.list(path).map_err(|error| text(&error))?.unwrap_or_default();
        let has = |name: &str| entries.iter().any(|entry| entry.name == name);
        if has("kustomization.yaml") || has("kustomization.yml") || has("Kustomization") {
            return Ok(SourceType::Kustomize);
        }
        Ok(if has("Chart.yaml") { SourceType::Helm } else { SourceType::Directory })
    }
}

/// An error with its causes on one line.
fn text(error: &(dyn std::error::Error + 'static)) -> String {
    client::chain(error)
}

/// The objects of a document: itself, or the items of a List.
fn expanded(document: Value) -> Vec<Value> {
    let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match document {
        Value::Object(mut map) if is_list && map.get("items").is_some_and(Value::is_array) => {
            match map.remove("items") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            }
        }
        document => vec![document],
    }
}

#[cfg(test)]
mod tests;
