//! Operations that deploy something else than what the spec tracks: a rollback, a sync to a revision, manifests that
//! were sent along.

use std::sync::Arc;

use objects::{Value, meta};
use serde_json::json;
use tokio::task::JoinHandle;

use super::{Pass, memory::PATIENCE};
use crate::application::{self, Application, Source};
use crate::comparison::{Comparisons, Resource};
use crate::error::Error;
use crate::generate::{self, Failure, Generated, Request};
use crate::operation::Deployment;
use crate::secrets;
use crate::status::Compared;
use crate::targets::{self, Managed, Targets};

/// What an operation deploys.
#[derive(Debug, Clone, PartialEq)]
struct Wish {
    /// As the operation's result names them.
    sources: Vec<Source>,
    multi_source: bool,
    /// One per source; empty for what the source tracks.
    revisions: Vec<String>,
    /// Sent along: nothing is rendered then.
    manifests: Vec<Value>,
}

impl Wish {
    /// # Errors
    /// What is wrong with the request.
    fn of(request: &Value, application: &Application) -> Result<Self, String> {
        let wanted = &request["sync"];
        let list = wanted["sources"].as_array().filter(|sources| !sources.is_empty());
        let (sources, multi_source) = match list {
            Some(sources) => (sources.iter().map(Source::normalised).collect(), true),
            None if wanted["source"].is_object() => (vec![Source::normalised(&wanted["source"])], false),
            None => (application.sources.clone(), application.multi_source),
        };
        for source in &sources {
            application::check(source, multi_source)?;
        }
        let mut revisions: Vec<String> = if multi_source {
            let given = wanted["revisions"].as_array().into_iter().flatten();
            given.map(|revision| revision.as_str().unwrap_or_default().to_owned()).collect()
        } else {
            vec![wanted["revision"].as_str().unwrap_or_default().to_owned()]
        };
        revisions.resize(sources.len(), String::new());
        let manifests = wanted["manifests"].as_array().into_iter().flatten();
        let manifests = manifests.enumerate().map(|(index, manifest)| {
            let text = manifest.as_str().unwrap_or_default();
            serde_json::from_str(text)
                .map_err(|error| format!("operation.sync.manifests[{index}] is no JSON: {error}"))
        });
        Ok(Self { sources, multi_source, revisions, manifests: manifests.collect::<Result<_, _>>()? })
    }

    /// Whether it is what the spec tracks, as it was resolved to.
    fn is_tracked(&self, application: &Application, resolved: &[String]) -> bool {
        let same = |(index, revision): (usize, &String)| {
            let tracked = application.sources[index].target_revision();
            revision.is_empty()
                || revision == tracked
                || (revision == "HEAD" && tracked.is_empty())
                || resolved.get(index) == Some(revision)
        };
        self.manifests.is_empty()
            && self.multi_source == application.multi_source
            && self.sources == application.sources
            && self.revisions.iter().enumerate().all(same)
    }

    /// The sources at the revisions that are asked for.
    fn pinned(&self) -> Vec<Source> {
        let pinned = self.sources.iter().zip(&self.revisions).map(|(source, revision)| {
            let mut source = source.clone();
            if !revision.is_empty() {
                source.0["targetRevision"] = revision.as_str().into();
            }
            source
        });
        pinned.collect()
    }
}

/// An operation that deploys something else, from its request to its end.
#[derive(Debug)]
pub(super) struct Instead {
    request: Value,
    wish: Wish,
    started: String,
    rendering: Option<JoinHandle<Result<Generated, Failure>>>,
    /// What it renders to, and its revisions, as soon as that is known.
    rendered: Option<(Vec<Value>, Vec<String>)>,
    comparisons: Comparisons,
}

impl Drop for Instead {
    fn drop(&mut self) {
        if let Some(rendering) = &self.rendering {
            rendering.abort();
        }
    }
}

/// What a requested operation deploys.
pub(super) enum Subject {
    Tracked,
    /// Being rendered; the task wakes us. The state of the operation meanwhile.
    NotYet(Value),
    Refused(String),
    Ready(Deployment, Vec<Arc<Resource>>),
}

impl Pass<'_> {
    /// The request that is being rendered for.
    pub(super) fn awaited_request(&self) -> Option<Value> {
        self.memory.instead.as_ref().map(|instead| instead.request.clone())
    }

    /// Finds out what a requested operation deploys, rendering it if need be.
    pub(super) async fn subject(
        &mut self,
        application: &Application,
        compared: &Compared,
        request: &Value,
    ) -> Result<Subject, Error> {
        if self.memory.instead.as_ref().is_none_or(|instead| instead.request != *request) {
            // An automated sync that was cut off goes on with what is tracked by now.
            if request["initiatedBy"]["automated"] == true {
                return Ok(Subject::Tracked);
            }
            let wish = match Wish::of(request, application) {
                Ok(wish) if wish.is_tracked(application, &compared.revisions) => return Ok(Subject::Tracked),
                Ok(wish) => wish,
                Err(message) => return Ok(Subject::Refused(message)),
            };
            let project = &self.site().project;
            let refused = wish.sources.iter().find(|source| !project.permits_source(source.repo_url()));
            if let Some(source) = refused {
                let (url, name) = (source.repo_url(), &application.project);
                let message = format!("application repo {url} is not permitted in project '{name}'");
                return Ok(Subject::Refused(message));
            }
            let (rendering, rendered) = if wish.manifests.is_empty() {
                (Some(self.render_instead(application, &wish).await?), None)
            } else {
                (None, Some((wish.manifests.clone(), vec![String::new(); wish.sources.len()])))
            };
            let (request, started) = (request.clone(), meta::format_time(self.now));
            let comparisons = Comparisons::default();
            self.memory.instead = Some(Instead { request, wish, started, rendering, rendered, comparisons });
        }
        self.rendered_instead(application).await
    }

    async fn render_instead(
        &self,
        application: &Application,
        wish: &Wish,
    ) -> Result<JoinHandle<Result<Generated, Failure>>, Error> {
        let cluster = self.cluster();
        let catalog = cluster.resources.catalog().await?;
        let (version, types) = (cluster.kube_version().await?, cluster.api_versions(&catalog));
        let mut request = Request::of(application, version, types, self.shared.seed().await?);
        request.sources = wish.pinned();
        request.permitted = Some(Arc::clone(&self.site().project));
        let (shared, work, key) = (Arc::clone(self.shared), Arc::clone(self.work), self.key.clone());
        Ok(tokio::spawn(async move {
            let outcome = generate::generate(&shared.places, &shared.renderers, work, request, None).await;
            let _ = shared.triggers.send(key).await;
            outcome
        }))
    }

    async fn rendered_instead(&mut self, application: &Application) -> Result<Subject, Error> {
        let instead = self.memory.instead.as_mut().expect("its caller put it there");
        if let Some(rendering) = &mut instead.rendering {
            let Ok(outcome) = tokio::time::timeout(PATIENCE, rendering).await else {
                let state = json!({"operation": secrets::shown(&instead.request), "phase": "Running", "message": "",
                    "startedAt": instead.started, "syncResult": {"revision": ""}});
                return Ok(Subject::NotYet(state));
            };
            instead.rendering = None;
            match outcome {
                Ok(Ok(generated)) => {
                    instead.rendered = Some((generated.manifests.unwrap_or_default(), generated.revisions));
                }
                Ok(Err(failure)) => return Ok(Subject::Refused(failure.message)),
                Err(_) => return Ok(Subject::Refused("the rendering broke off".to_owned())),
            }
        }
        // A pass that fails after this comes here again, and must not take nothing for what is to be deployed.
        let Some((manifests, revisions)) = instead.rendered.clone() else {
            return Ok(Subject::Refused("the rendering broke off".to_owned()));
        };
        let (sources, multi_source) = (instead.wish.sources.clone(), instead.wish.multi_source);
        let cluster = self.cluster();
        let catalog = cluster.resources.catalog().await?;
        let settings = Arc::clone(&self.site().settings);
        let managed =
            Managed { tracking: &settings.tracking, kinds: &settings.kinds, server: cluster.server() };
        let targets = Arc::new(targets::prepare(manifests, application, &catalog, &managed));
        cluster.live.follow(&targets.kinds()).await;
        let resources = self.compare_instead(application, &targets).await?;
        Ok(Subject::Ready(Deployment { targets, revisions, sources, multi_source }, resources))
    }

    /// What an operation deploys, compared with the cluster; nothing if that is what the spec tracks.
    pub(super) async fn compare_instead(
        &mut self,
        application: &Application,
        targets: &Targets,
    ) -> Result<Vec<Arc<Resource>>, Error> {
        let Some(mut instead) = self.memory.instead.take() else { return Ok(Vec::new()) };
        let resources = instead.comparisons.update(&self.comparing(application), targets).await;
        self.memory.instead = Some(instead);
        resources
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(spec: &Value) -> Application {
        let object = json!({"metadata": {"name": "shop", "namespace": "argocd"}, "spec": {"source": spec}});
        Application::read(&object, "argocd").unwrap()
    }

    fn wish(sync: Value, application: &Application) -> Result<Wish, String> {
        Wish::of(&json!({"sync": sync}), application)
    }

    #[test]
    fn what_the_spec_tracks_is_told_from_the_rest() {
        let tracked = json!({"repoURL": "https://e.org/r", "path": "p", "targetRevision": "main"});
        let application = application(&tracked);
        let resolved = ["abc".to_owned()];
        let cases = [
            (json!({}), true),
            (json!({"revision": "main"}), true),
            (json!({"revision": "abc"}), true),
            (json!({"revision": "def"}), false),
            (json!({"revision": "abc", "source": tracked}), true),
            (json!({"source": {"repoURL": "https://e.org/r", "path": "q"}}), false),
            (json!({"sources": [tracked]}), false),
            (json!({"manifests": ["{}"]}), false),
        ];
        for (sync, same) in cases {
            let wish = wish(sync.clone(), &application).unwrap();
            assert_eq!(wish.is_tracked(&application, &resolved), same, "{sync}");
        }
        let pinned = wish(json!({"revision": "def"}), &application).unwrap().pinned();
        assert_eq!(pinned[0].target_revision(), "def");
        let wrong = wish(json!({"manifests": ["{}", "a: b"]}), &application).unwrap_err();
        assert!(wrong.contains("manifests[1] is no JSON"), "{wrong}");
        assert!(wish(json!({"source": {"path": "q"}}), &application).unwrap_err().contains("repoURL"));
    }
}
