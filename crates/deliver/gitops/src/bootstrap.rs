//! From a path of a repository to the first Application.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use charts::Charts;
use client::{Api, Client, Key, resource};
use git::{Freshness, Mapping, Repositories, RepositoryUrl};
use objects::{Value, meta};
use serde_json::json;
use sync::{IgnoreRules, ResourceKey, SyncOptions};
use tree::TreePath;

use crate::application::Source;
use crate::apply::{self, Applying, NotApplied};
use crate::generate::{self, Request};
use crate::metrics::Work;
use crate::places::Places;

/// What to bring up.
#[derive(Debug, Clone)]
pub struct BootstrapRequest {
    /// A directory of this machine, or a URL.
    pub repository: String,
    /// The directory in it that holds the Applications, e.g. `applications/dev`.
    pub path: String,
    /// `None`: the files as saved, or a remote repository's HEAD.
    pub revision: Option<String>,
    /// Whether a local directory answers for its `origin` and for the URL of the root application.
    pub answer_own_urls: bool,
}

/// What was made of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bootstrap {
    /// URLs that are answered from the given directory from now on, in the order they were found.
    pub mappings: Vec<Mapping>,
    /// The Applications that were created, or were there already: `namespace/name`.
    pub created: Vec<String>,
    /// Whether that is an application of the repository that contains itself, and not one made up for the path.
    pub contains_itself: bool,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    #[error("use {place} as a repository")]
    Repository {
        place: String,
        #[source]
        source: git::Error,
    },
    /// With the reason in the words of the tool that rendered.
    #[error("render {path}: {reason}")]
    Render { path: String, reason: String },
    #[error("create application {name}: {reason}")]
    Create { name: String, reason: String },
    #[error("read the cluster")]
    Api(#[from] client::Error),
}

/// Where Applications live.
const NAMESPACE: &str = "argocd";
/// Longest wait for the Application kind and its namespace.
const READY: Duration = Duration::from_secs(30);

/// Creates the Application that brings up everything below a path. It is the one found there that contains itself;
/// if there is none, one named after the directory. Doing it again changes nothing.
///
/// # Errors
/// If the path cannot be rendered or the Application not be created.
pub async fn bootstrap(
    client: &Client,
    repositories: &Repositories,
    charts: &Charts,
    request: BootstrapRequest,
) -> Result<Bootstrap, BootstrapError> {
    let request = &request;
    let place = Place::of(repositories, request)?;
    let mut result = Bootstrap { mappings: place.mappings.clone(), ..Bootstrap::default() };
    let resources = client::Resources::new(client.clone());
    let places = Places {
        repositories: repositories.clone(),
        charts: charts.clone(),
        secrets: Some((client.clone(), NAMESPACE.to_owned())),
    };
    let rendered = render(client, &resources, &places, request, &place.url).await?;
    let found = rendered.manifests.iter().find(|manifest| is_root(manifest, request, &place));
    let root = match found {
        Some(root) => {
            result.contains_itself = true;
            if let Some(local) = &place.local
                && request.answer_own_urls
            {
                for source in sources(root).filter(|source| same_path(source.path(), &request.path)) {
                    let mapping = mapping(source.repo_url(), local, request);
                    place.map(repositories, &mut result.mappings, mapping)?;
                }
            }
            root.clone()
        }
        None => root_for(request, &place, rendered.recursive),
    };
    let name = create(client, &resources, root, NAMESPACE).await?;
    result.created.push(name);
    Ok(result)
}

/// Where the repository is.
struct Place {
    /// What the Application names as its repository where it has to be made up.
    url: String,
    local: Option<PathBuf>,
    mappings: Vec<Mapping>,
}

impl Place {
    fn of(repositories: &Repositories, request: &BootstrapRequest) -> Result<Self, BootstrapError> {
        let directory = Path::new(&request.repository);
        if !directory.is_dir() {
            return Ok(Self { url: request.repository.clone(), local: None, mappings: Vec::new() });
        }
        let failed = |source| BootstrapError::Repository { place: request.repository.clone(), source };
        let local = directory.canonicalize().map_err(|error| {
            failed(git::Error::Read { path: directory.to_owned(), reason: error.to_string() })
        })?;
        let own = format!("file://{}", local.display());
        let origin = git::origin(&local)
            .filter(|origin| request.answer_own_urls && RepositoryUrl::parse(origin).is_ok());
        let mut place = Self {
            url: origin.clone().unwrap_or_else(|| own.clone()),
            local: Some(local.clone()),
            mappings: Vec::new(),
        };
        let mut mappings = Vec::new();
        for url in [Some(own), origin].into_iter().flatten() {
            place.map(repositories, &mut mappings, mapping(&url, &local, request))?;
        }
        place.mappings = mappings;
        Ok(place)
    }

    fn map(
        &self,
        repositories: &Repositories,
        mappings: &mut Vec<Mapping>,
        mapping: Mapping,
    ) -> Result<(), BootstrapError> {
        if mappings.iter().any(|known| RepositoryUrl::same(&known.url, &mapping.url)) {
            return Ok(());
        }
        let failed = |source| BootstrapError::Repository { place: mapping.url.clone(), source };
        repositories.map(mapping.clone()).map_err(failed)?;
        mappings.push(mapping);
        Ok(())
    }
}

fn mapping(url: &str, local: &Path, request: &BootstrapRequest) -> Mapping {
    Mapping { url: url.to_owned(), path: local.to_owned(), revision: request.revision.clone() }
}

/// What lies below the path.
struct Rendered {
    manifests: Vec<Value>,
    /// Whether it lies in subdirectories only.
    recursive: bool,
}

async fn render(
    client: &Client,
    resources: &client::Resources,
    places: &Places,
    request: &BootstrapRequest,
    url: &str,
) -> Result<Rendered, BootstrapError> {
    let kube_version = crate::clusters::kube_version(client).await?;
    let api_versions = Arc::new(resources.catalog().await?.api_versions());
    let renderers = tokio::sync::Semaphore::new(1);
    let metrics = Arc::new(Work::default());
    let mut source = json!({
        "repoURL": url,
        "path": request.path,
        "targetRevision": request.revision.as_deref().unwrap_or_default(),
    });
    for recursive in [false, true] {
        if recursive {
            source["directory"] = json!({"recurse": true});
        }
        let wanted = Request {
            name: name_of(request),
            instance: name_of(request),
            project: "default".to_owned(),
            destination_namespace: NAMESPACE.to_owned(),
            sources: vec![Source(source.clone())],
            freshness: Freshness::Latest,
            refetch: false,
            kube_version: kube_version.clone(),
            api_versions: Arc::clone(&api_versions),
            seed: None,
            permitted: None,
        };
        let generated = generate::generate(places, &renderers, Arc::clone(&metrics), wanted, None).await;
        let generated = generated.map_err(|failure| {
            let reason = failure.message.split_once("source 1 of 1: ").map(|(_, reason)| reason.to_owned());
            BootstrapError::Render { path: request.path.clone(), reason: reason.unwrap_or(failure.message) }
        })?;
        let manifests = generated.manifests.unwrap_or_default();
        if !manifests.is_empty() {
            return Ok(Rendered { manifests, recursive });
        }
    }
    Err(BootstrapError::Render { path: request.path.clone(), reason: "there are no manifests".to_owned() })
}

fn sources(application: &Value) -> impl Iterator<Item = Source> {
    let spec = &application["spec"];
    let many = spec["sources"].as_array().into_iter().flatten();
    many.chain(Some(&spec["source"]).filter(|source| source.is_object())).map(|source| Source(source.clone()))
}

fn same_path(left: &str, right: &str) -> bool {
    matches!((TreePath::parse(left), TreePath::parse(right)), (Ok(left), Ok(right)) if left == right)
}

/// Whether this is an Application that renders the very path it was found in.
fn is_root(manifest: &Value, request: &BootstrapRequest, place: &Place) -> bool {
    manifest["apiVersion"].as_str().is_some_and(|version| version.starts_with("argoproj.io/"))
        && meta::kind(manifest) == "Application"
        && sources(manifest).any(|source| {
            let here = place.local.is_some() && request.answer_own_urls
                || RepositoryUrl::same(source.repo_url(), &place.url);
            here && !source.path().is_empty() && same_path(source.path(), &request.path)
        })
}

/// The directory's name, as a name that Kubernetes accepts.
fn name_of(request: &BootstrapRequest) -> String {
    let path = TreePath::parse(&request.path).unwrap_or_default();
    let mut name = path.file_name().to_owned();
    if name.is_empty() {
        let repository = request.repository.trim_end_matches('/');
        repository
            .rsplit(['/', ':'])
            .next()
            .unwrap_or_default()
            .trim_end_matches(".git")
            .clone_into(&mut name);
    }
    let valid = name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "-");
    let valid = valid.trim_matches('-');
    if valid.is_empty() { "applications".to_owned() } else { valid.to_owned() }
}

/// The Application for a path that brings none of its own.
fn root_for(request: &BootstrapRequest, place: &Place, recursive: bool) -> Value {
    let mut application = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": name_of(request), "namespace": NAMESPACE},
        "spec": {
            "project": "default",
            "source": {
                "repoURL": place.url,
                "path": request.path,
                "targetRevision": request.revision.clone().unwrap_or_else(|| "HEAD".to_owned()),
            },
            "destination": {"server": "https://kubernetes.default.svc", "namespace": NAMESPACE},
            "syncPolicy": {"automated": {"prune": true, "selfHeal": true}},
        },
    });
    if recursive {
        application["spec"]["source"]["directory"] = json!({"recurse": true});
    }
    application
}

async fn create(
    client: &Client,
    resources: &client::Resources,
    mut application: Value,
    namespace: &str,
) -> Result<String, BootstrapError> {
    if meta::namespace(&application).is_none() {
        meta::set(&mut application, "namespace", namespace.into());
    }
    let key = ResourceKey::of(&application);
    let name = format!("{}/{}", key.namespace, key.name);
    let failed = |reason: String| BootstrapError::Create { name: name.clone(), reason };
    let namespaces = Api::new(client, &resource::NAMESPACES);
    if namespaces.find(&Key::cluster(&key.namespace)).await?.is_none() {
        let manifest = sync::plan::namespace_manifest(&key.namespace, None);
        match namespaces.create(&manifest).await {
            Ok(_) => {}
            Err(error) if error.is_already_exists() => {}
            Err(error) => return Err(failed(error.message())),
        }
    }
    // Whether it manages itself only its own sync can tell; once it did, its mark stays.
    let there =
        Api::new(client, &resource::APPLICATIONS).find(&Key::namespaced(&key.namespace, &key.name)).await;
    if let Ok(Some(there)) = there
        && let Some(id) = meta::annotation(&there, sync::annotations::TRACKING_ID)
    {
        meta::set_annotation(&mut application, sync::annotations::TRACKING_ID, Some(id));
    }
    let (options, ignore) = (SyncOptions::default(), IgnoreRules::default());
    let applying =
        Applying { client, resources, options: &options, ignore: &ignore, force: false, dry_run: false };
    let deadline = tokio::time::Instant::now() + READY;
    loop {
        match apply::apply(applying, &key, &application).await {
            Ok(_) => return Ok(name),
            Err(NotApplied::Deferred(_)) if tokio::time::Instant::now() < deadline => {
                // The kind may be about to be served: discovery is asked again at its own pace.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(NotApplied::Deferred(missing)) => return Err(failed(missing.message)),
            Err(NotApplied::Failed(reason)) => return Err(failed(reason)),
        }
    }
}
