//! What generators ask, found out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use applicationsets::{Answer, PullRequest, Question};
use base64::Engine as _;
use client::{Api, Key, resource};
use forge::{App, Identity, Repository, Tokens};
use git::Freshness;
use objects::Value;
use tokio::time::Instant;

use crate::reconcile::Shared;

/// A host is not asked again sooner: a set is looked at whenever one of its Applications moves. A little less than the
/// shortest period that people ask for.
const SHORTEST: Duration = Duration::from_secs(9);

/// Whoever tells that something changed is believed no more often: what a host answers is counted.
const SHORTEST_TOLD: Duration = Duration::from_secs(2);

/// Finds answers out.
pub(super) struct Answers {
    shared: Arc<Shared>,
    tokens: Arc<Tokens>,
    /// The newest answers of hosts, by generator.
    pulls: Mutex<BTreeMap<String, Pulls>>,
}

/// What a host answered.
struct Pulls {
    at: Instant,
    open: Vec<PullRequest>,
    /// Whether somebody told since that it changed.
    outdated: bool,
}

impl Pulls {
    /// How long it is good enough.
    fn left(&self) -> Duration {
        let shortest = if self.outdated { SHORTEST_TOLD } else { SHORTEST };
        shortest.saturating_sub(self.at.elapsed())
    }
}

impl Answers {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), tokens: Arc::default(), pulls: Mutex::default() }
    }

    /// The answer to a question, or why there is none.
    pub(super) async fn find_out(&self, question: &Question, refresh: bool) -> Result<Answer, String> {
        match question {
            Question::Repository { url, revision, .. } => {
                let freshness = if refresh { Freshness::Latest } else { Freshness::Recent };
                let opened = self.shared.places.repositories.open(url, revision, freshness).await;
                let snapshot = opened.map_err(|error| error.to_string())?;
                Ok(Answer::Repository(snapshot.tree))
            }
            Question::PullRequests { generator } => {
                let known = if refresh { None } else { self.known(generator) };
                let pulls = match known {
                    Some(pulls) => pulls,
                    None => self.pull_requests(generator).await?,
                };
                Ok(Answer::PullRequests(pulls))
            }
        }
    }

    fn known(&self, generator: &str) -> Option<Vec<PullRequest>> {
        let mut pulls = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
        pulls.retain(|_, pulls| !pulls.left().is_zero());
        pulls.get(generator).map(|pulls| pulls.open.clone())
    }

    /// Somebody tells that the pull requests of a generator changed.
    pub(super) fn outdate(&self, generator: &str) {
        let mut pulls = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pulls) = pulls.get_mut(generator) {
            pulls.outdated = true;
        }
    }

    /// When to ask again for what is outdated already.
    pub(super) fn again(&self, question: &Question) -> Option<Duration> {
        let Question::PullRequests { generator } = question else { return None };
        let pulls = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
        pulls.get(generator).filter(|pulls| pulls.outdated).map(Pulls::left)
    }

    async fn pull_requests(&self, generator: &str) -> Result<Vec<PullRequest>, String> {
        let block: Value = serde_json::from_str(generator).map_err(|error| error.to_string())?;
        let github = &block["github"];
        let text = |field: &str| github[field].as_str().unwrap_or_default().to_owned();
        let repository = Repository { api: text("api"), owner: text("owner"), name: text("repo") };
        let labels = github["labels"].as_array().into_iter().flatten();
        let labels: Vec<String> = labels.filter_map(|label| Some(label.as_str()?.to_owned())).collect();
        let identity = self.identity(github).await?;
        let found = forge::pulls(&repository, &identity, &labels, &self.tokens).await;
        let found = found.map_err(|error| {
            format!("error listing pull requests for {}/{}: {error}", repository.owner, repository.name)
        })?;
        let open: Vec<PullRequest> = found.into_iter().map(of).collect();
        let answered = Pulls { at: Instant::now(), open: open.clone(), outdated: false };
        self.pulls.lock().unwrap_or_else(PoisonError::into_inner).insert(generator.to_owned(), answered);
        Ok(open)
    }

    async fn identity(&self, github: &Value) -> Result<Identity, String> {
        let named = |value: &Value| value.as_str().filter(|name| !name.is_empty()).map(str::to_owned);
        if let Some(name) = named(&github["appSecretName"]) {
            let secret = self.secret(&name).await?;
            let field = |field: &str| secret_text(&secret, &name, field);
            let (id, installation) = (field("githubAppID")?, field("githubAppInstallationID")?);
            let private_key = field("githubAppPrivateKey")?;
            return Ok(Identity::App(App { id, installation, private_key }));
        }
        match (named(&github["tokenRef"]["secretName"]), named(&github["tokenRef"]["key"])) {
            (Some(name), Some(key)) => {
                let secret = self.secret(&name).await?;
                Ok(Identity::Token(secret_text(&secret, &name, &key)?))
            }
            (None, None) => Ok(Identity::Nobody),
            _ => Err("pullRequest.github.tokenRef: both secretName and key are required".to_owned()),
        }
    }

    async fn secret(&self, name: &str) -> Result<Value, String> {
        let namespace = &self.shared.settings.namespace;
        let api = Api::new(&self.shared.client, &resource::SECRETS);
        let found = api.find(&Key::namespaced(namespace, name)).await.map_err(|error| error.message())?;
        found.ok_or_else(|| format!("error fetching Secret token: Secret {namespace}/{name} not found"))
    }
}

/// The errors name no value.
fn secret_text(secret: &Value, name: &str, field: &str) -> Result<String, String> {
    let encoded = secret["data"][field].as_str();
    let encoded = encoded.ok_or_else(|| format!("key {field:?} in secret {name:?} not found"))?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(decoded.ok_or_else(|| format!("key {field:?} in secret {name:?} is no text"))?.trim().to_owned())
}

fn of(pull: forge::Pull) -> PullRequest {
    let forge::Pull { number, title, branch, target_branch, head_sha, author, labels } = pull;
    PullRequest { number, title, branch, target_branch, head_sha, author, labels }
}
