//! Webhooks: what a host tells is looked at now instead of at the next poll.
//!
//! A push only makes a repository be fetched, once however often it is told: what moved wakes its Applications and
//! ApplicationSets as polling would. So a payload that lies, or is sent again, costs one fetch and changes nothing.

mod secrets;
mod server;
mod standby;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use client::Client;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use webhooks::{Event, Host, Refusal};

use crate::GitOps;
use crate::beside::Snapshot;
use crate::reconcile::Shared;
use crate::sets::Sets;

/// Where hosts send to, as with Argo CD.
pub const WEBHOOK_PATH: &str = "/api/webhook";
/// Repositories that may wait to be fetched; more events are turned away.
const WAITING: usize = 1024;
/// Bodies that are read and checked at the same time: those that say that they are small, and those that may be large.
/// Whoever sends a large one slowly does not keep usual ones waiting.
const SMALL_BODIES: usize = 64;
const LARGE_BODIES: usize = 4;
/// The largest of the small ones, in bytes.
const SMALL: usize = 1 << 20;
/// The least time between two fetches of one repository that webhooks ask for.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a request may take to arrive, and to wait for its turn.
const ARRIVAL: Duration = Duration::from_secs(30);

/// Where webhooks are handed in. Clones are the same place.
#[derive(Clone)]
pub struct Webhooks(Arc<Inner>);

struct Inner {
    client: Client,
    /// Where Applications live.
    namespace: String,
    leader: RwLock<Option<Leader>>,
    small: Semaphore,
    large: Semaphore,
}

/// The controller of this process. It is not kept alive by whoever takes webhooks.
#[derive(Clone)]
struct Leader {
    shared: Weak<Shared>,
    sets: Weak<Sets>,
    /// The URLs of repositories that are to be fetched.
    told: mpsc::Sender<String>,
}

/// A controller that runs.
struct Leading {
    shared: Arc<Shared>,
    sets: Arc<Sets>,
    told: mpsc::Sender<String>,
}

impl Leader {
    /// `None` once it ended, and as long as it does not know yet what stands beside its Applications.
    fn leading(self) -> Option<Leading> {
        if self.told.is_closed() {
            return None;
        }
        let (shared, sets) = (self.shared.upgrade()?, self.sets.upgrade()?);
        shared.beside.now()?;
        Some(Leading { shared, sets, told: self.told })
    }
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhooks").finish_non_exhaustive()
    }
}

/// What goes back: a status and a line for whoever looks into the host's log of deliveries.
type Answer = (StatusCode, String);

impl Webhooks {
    /// With the URLs of the repositories that are to be fetched.
    pub(crate) fn new(shared: &Arc<Shared>, sets: &Arc<Sets>) -> (Self, mpsc::Receiver<String>) {
        let (told, urls) = mpsc::channel(WAITING);
        let webhooks = Self::standby(shared.client.clone(), &shared.settings.namespace);
        webhooks.lead_by(Leader { shared: Arc::downgrade(shared), sets: Arc::downgrade(sets), told });
        (webhooks, urls)
    }

    /// For a replica whose controller does not run: whoever leads is told through the API, by the annotations that ask
    /// for a refresh.
    #[must_use]
    pub fn standby(client: Client, namespace: &str) -> Self {
        let (small, large) = (Semaphore::new(SMALL_BODIES), Semaphore::new(LARGE_BODIES));
        let (namespace, leader) = (namespace.to_owned(), RwLock::default());
        Self(Arc::new(Inner { client, namespace, leader, small, large }))
    }

    /// From now on what is taken is for this controller, until it ends; then whoever leads is told through the API again.
    ///
    /// The client stays the one that these webhooks began with, so that nothing here depends on the controller's
    /// connections, which may be cut off.
    pub fn lead(&self, controller: &GitOps) {
        let leader = controller.webhooks.0.leader.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(leader) = leader {
            self.lead_by(leader);
        }
    }

    fn lead_by(&self, leader: Leader) {
        *self.0.leader.write().unwrap_or_else(PoisonError::into_inner) = Some(leader);
    }

    fn leading(&self) -> Option<Leading> {
        let leader = self.0.leader.read().unwrap_or_else(PoisonError::into_inner).clone();
        leader.and_then(Leader::leading)
    }

    /// Serves until shutdown over plain HTTP; whoever offers it to the outside puts TLS before it.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        server::serve(self, listener, shutdown).await;
    }

    /// Answers one request, within a minute whatever its sender does. Only [`WEBHOOK_PATH`] is there.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let host = Host::of(request.headers());
        let (status, mut text) = match self.receive(request).await {
            Ok(()) => (StatusCode::OK, String::new()),
            Err(refused) => refused,
        };
        if let Some(leading) = self.leading() {
            leading.shared.metrics.webhook(host, status.as_u16());
        }
        if !text.is_empty() {
            text.push('\n');
        }
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, header::HeaderValue::from_static("POST"));
        }
        response
    }

    async fn receive<B>(&self, request: Request<B>) -> Result<(), Answer>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        if head.uri.path() != WEBHOOK_PATH {
            return Err((StatusCode::NOT_FOUND, format!("webhooks are sent to {WEBHOOK_PATH}")));
        }
        if head.method != Method::POST {
            return Err(failed(StatusCode::METHOD_NOT_ALLOWED, "only POST is understood"));
        }
        let host =
            Host::of(&head.headers).ok_or_else(|| (StatusCode::BAD_REQUEST, Refusal::Unknown.to_string()))?;
        let (body, _turn) = self.arrival(body, self.limit().await?).await?;
        let secrets = secrets::read(&self.0.client, &self.0.namespace).await.map_err(|error| {
            tracing::warn!(error, "webhooks cannot be checked");
            failed(StatusCode::SERVICE_UNAVAILABLE, "the secrets of webhooks cannot be read")
        })?;
        let event = webhooks::receive(&head.headers, &body, &secrets).map_err(|refusal| {
            tracing::info!(%host, reason = %refusal, "a webhook was refused");
            match refusal {
                Refusal::Unknown => (StatusCode::BAD_REQUEST, refusal.to_string()),
                refusal => failed(StatusCode::BAD_REQUEST, &refusal.to_string()),
            }
        })?;
        self.tell(host, &event).await
    }

    /// The largest body, in bytes.
    async fn limit(&self) -> Result<usize, Answer> {
        if let Some(beside) = self.leading().and_then(|leading| leading.shared.beside.now()) {
            return Ok(beside.settings().webhook_limit.0);
        }
        let settings = Snapshot::settings_of(&self.0.client, &self.0.namespace).await;
        let unreadable = |_| failed(StatusCode::SERVICE_UNAVAILABLE, "argocd-cm cannot be read");
        Ok(settings.map_err(unreadable)?.webhook_limit.0)
    }

    /// The body, if it is no larger than it may be and comes in time, and the turn that its memory takes.
    async fn arrival<B>(&self, body: B, limit: usize) -> Result<(Bytes, SemaphorePermit<'_>), Answer>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let too_large = || {
            // As upstream, which tells a body that is too large from none of the others.
            failed(StatusCode::BAD_REQUEST, &format!("payload must be valid JSON under {} MB", limit >> 20))
        };
        let length = body.size_hint();
        if length.lower() > limit as u64 {
            return Err(too_large());
        }
        let (turns, most) = match length.upper() {
            Some(length) if length <= SMALL as u64 => (&self.0.small, limit.min(SMALL)),
            _ => (&self.0.large, limit),
        };
        let arrived = tokio::time::timeout(ARRIVAL, async {
            let turn = turns.acquire().await.expect("the semaphore is never closed");
            Limited::new(body, most).collect().await.map(|body| (body.to_bytes(), turn))
        });
        match arrived.await {
            Ok(Ok(arrived)) => Ok(arrived),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(failed(StatusCode::BAD_REQUEST, "the request broke off")),
            Err(_) => {
                let late = format!("it did not arrive within {} s", ARRIVAL.as_secs());
                Err(failed(StatusCode::REQUEST_TIMEOUT, &late))
            }
        }
    }

    /// Has everybody concerned look.
    async fn tell(&self, host: Host, event: &Event) -> Result<(), Answer> {
        let repository = match event {
            Event::Push(push) => push.repositories().next().unwrap_or_default(),
            Event::Ping | Event::PullRequest(_) => "",
        };
        tracing::info!(%host, repository, "a webhook was taken");
        let told = match (self.leading(), event) {
            (_, Event::Ping) => true,
            (Some(Leading { shared, sets, told }), Event::Push(push)) => {
                let mut urls = shared.pushed(push);
                urls.extend(sets.pushed(push));
                urls.into_iter().fold(true, |all, url| all & told.try_send(url).is_ok())
            }
            (Some(Leading { sets, .. }), Event::PullRequest(pull)) => sets.pulled(pull),
            (None, event) => {
                let telling = standby::tell(&self.0.client, &self.0.namespace, event);
                let told = tokio::time::timeout(ARRIVAL, telling).await;
                let told = told.map_err(|_| "it took too long".to_owned());
                told.and_then(|told| told.map_err(|error| error.message())).map_err(|error| {
                    tracing::warn!(%host, error, "the replica that leads cannot be told of a webhook");
                    failed(StatusCode::SERVICE_UNAVAILABLE, "the replica that leads cannot be told")
                })?;
                true
            }
        };
        if told {
            return Ok(());
        }
        tracing::warn!(%host, "too many webhooks wait: one was turned away");
        Err((StatusCode::SERVICE_UNAVAILABLE, "Queue is full, discarding webhook payload".to_owned()))
    }
}

fn failed(status: StatusCode, text: &str) -> Answer {
    (status, format!("Webhook processing failed: {text}"))
}

/// Fetches the repositories that webhooks tell of, each once at a time: what is told meanwhile is one fetch after it.
pub(crate) async fn fetch(shared: Arc<Shared>, mut told: mpsc::Receiver<String>, stop: CancellationToken) {
    let mut fetches: JoinSet<String> = JoinSet::new();
    // Whether it is to be fetched again, by URL.
    let mut under_way: BTreeMap<String, bool> = BTreeMap::new();
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => return,
            url = told.recv() => match url {
                Some(url) => match under_way.get_mut(&url) {
                    Some(again) => {
                        *again = true;
                        None
                    }
                    None => Some(url),
                },
                None => return,
            },
            Some(ended) = fetches.join_next() => match ended {
                Ok(url) => under_way.remove(&url).unwrap_or_default().then_some(url),
                Err(_) => {
                    // Which one broke down is not known; a fetch beside another waits for it.
                    under_way.clear();
                    None
                }
            },
        };
        if let Some(url) = next {
            under_way.insert(url.clone(), false);
            let repositories = shared.places.repositories.clone();
            fetches.spawn(async move {
                if let Err(error) = repositories.fetch(&url).await {
                    tracing::warn!(%error, "a repository that a webhook told of cannot be fetched");
                }
                tokio::time::sleep(PAUSE).await;
                url
            });
        }
    }
}
