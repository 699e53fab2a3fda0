//! An Application as Argo CD would render it, and a directory of plain manifests.

use std::path::Path;

use anyhow::{Context, Result, bail};
use git::{Mapping, Repositories};
use serde_json::{Value, json};

use super::Renderer;
use super::place::Place;

/// The manifests of a file: of the Application that it holds, or its own.
pub(super) async fn file(
    renderer: &Renderer<'_>,
    place: &Place,
    revision: Option<&str>,
) -> Result<Vec<Value>> {
    let path = &renderer.args.path;
    let content = place.tree.read(&place.path)?.with_context(|| format!("{path} is not there"))?;
    let text = String::from_utf8_lossy(&content);
    let documents = yaml::documents(&text).with_context(|| format!("read {path}"))?;
    let is_application = |document: &&Value| {
        document["kind"] == "Application"
            && document["apiVersion"].as_str().is_some_and(|version| version.starts_with("argoproj.io/"))
    };
    let name = |application: &Value| application["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let applications: Vec<&Value> = documents.iter().filter(is_application).collect();
    let wanted = renderer.args.application.as_deref();
    let fitting: Vec<&Value> =
        applications.iter().copied().filter(|one| wanted.is_none_or(|wanted| name(one) == wanted)).collect();
    match (fitting.as_slice(), applications.is_empty()) {
        (_, true) if wanted.is_none() => manifests(path, documents),
        ([application], _) => render(renderer, place, revision, (*application).clone()).await,
        ([], _) => bail!("{path} holds no Application {}", wanted.unwrap_or_default()),
        _ => {
            let names: Vec<String> = applications.iter().map(|one| name(one)).collect();
            bail!(
                "{} holds several Applications; choose one with --application: {}",
                place.path,
                names.join(", ")
            )
        }
    }
}

fn manifests(path: &str, documents: Vec<Value>) -> Result<Vec<Value>> {
    let manifests: Vec<Value> = documents.into_iter().filter(|document| !document.is_null()).collect();
    let is_manifest = |document: &Value| document["kind"].is_string() && document["apiVersion"].is_string();
    if manifests.is_empty() || !manifests.iter().all(is_manifest) {
        bail!(
            "{path} is neither a chart, a kustomization, a directory nor a file with an Application or manifests"
        );
    }
    Ok(manifests)
}

/// The manifests below a directory.
pub(super) async fn directory(
    renderer: &Renderer<'_>,
    place: &Place,
    revision: Option<&str>,
) -> Result<Vec<Value>> {
    let directory = place.root.join(place.path.as_str());
    // Without a repository around it, the directory itself is one.
    let (root, path) = if place.in_git {
        (place.root.as_path(), place.path.to_string())
    } else {
        (directory.as_path(), ".".to_owned())
    };
    let application = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": "directory"},
        "spec": {
            "source": {
                "repoURL": format!("file://{}", root.display()),
                "path": path,
                "directory": {"recurse": renderer.args.recurse},
            },
            "destination": {"server": "https://kubernetes.default.svc"},
        },
    });
    render_in(renderer, root, place.in_git, revision, application).await
}

async fn render(
    renderer: &Renderer<'_>,
    place: &Place,
    revision: Option<&str>,
    application: Value,
) -> Result<Vec<Value>> {
    render_in(renderer, &place.root, place.in_git, revision, application).await
}

async fn render_in(
    renderer: &Renderer<'_>,
    root: &Path,
    own: bool,
    revision: Option<&str>,
    application: Value,
) -> Result<Vec<Value>> {
    let repositories = Repositories::new(git::Config::new(renderer.cache.join("repositories")))
        .context("open the repositories")?;
    // A hash, because mappings know fewer ways to name a revision than people do.
    let pinned = revision.map(|name| git::revision(root, name)).transpose().context("find the revision")?;
    let map = |url: String, path: &Path, pinned: Option<String>| {
        let mapping = Mapping { revision: pinned, ..Mapping::new(url.clone(), path) };
        repositories.map(mapping).with_context(|| format!("answer {url} from {}", path.display()))
    };
    let pinned = pinned.map(|snapshot| snapshot.revision);
    if root != Path::new("/") {
        map(format!("file://{}", root.display()), root, pinned.clone())?;
    }
    if own && let Some(origin) = git::origin(root) {
        map(origin, root, pinned.clone())?;
    }
    for (url, path) in &renderer.args.sources {
        let path = std::fs::canonicalize(path).with_context(|| format!("find {path}"))?;
        let pinned = pinned.clone().filter(|_| path == root);
        map(url.clone(), &path, pinned)?;
    }
    let release = &renderer.args.release;
    let request = gitops::RenderRequest {
        application,
        repositories,
        charts: renderer.charts(),
        kube_version: release.kube_version.clone().unwrap_or_else(|| super::chart::KUBE_VERSION.to_owned()),
        api_versions: served_types(&release.api_versions).await?,
        seed: renderer.world.seed,
    };
    Ok(gitops::render(request).await?)
}

/// The types that a cluster of ours serves before anything is installed, and those that the flags name.
async fn served_types(more: &[String]) -> Result<Vec<String>> {
    let store = store::Store::in_memory(&store::Config::default()).context("open a store in memory")?;
    let pki = apiserver::pki::Pki::ephemeral().context("make a certificate authority")?;
    let server =
        apiserver::ApiServer::start(apiserver::Config::new(store, &pki)).await.context("start an API")?;
    let client = client::Client::new(server.service(apiserver::User::admin()), "default");
    let catalog = client::Resources::new(client).catalog().await.context("ask for the served types")?;
    let mut versions = catalog.api_versions();
    versions.extend(more.iter().cloned());
    versions.sort();
    versions.dedup();
    server.stop().await;
    Ok(versions)
}
