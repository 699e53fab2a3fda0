//! A transport to the API that goes wrong: errors, lost answers and torn watches by a seed, or the death of whoever
//! uses it at one certain call.
//!
//! It stands where production code gets its client, so that nothing but the transport is another one than usual. The
//! requests themselves run where the transport was made: what was sent before a death takes effect, as it would on a
//! server that runs elsewhere.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use client::Client;
use futures::stream;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use kube::client::Body;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::watch;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, Failure>>;

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// 500, and nothing was done.
    ServerError,
    /// 429 with `Retry-After: 1`, and nothing was done.
    Throttled,
    /// 409 of a write that met another one.
    Conflict,
    /// 504, and nothing was done.
    TimeoutBefore,
    /// 504, though it was done.
    TimeoutAfter,
    /// The connection broke before the server had the request.
    ResetBefore,
    /// The connection broke when the server had done it.
    ResetAfter,
    /// The answer comes late.
    Slow,
    /// The answer never comes, and nothing was done.
    Hangs,
    /// A watch ends after a few events.
    WatchEnds,
    /// A watch breaks after a few events, within a line perhaps.
    WatchBreaks,
    /// A watch says that its place is too old.
    WatchExpires,
}

/// Troubles of every call.
const ANY: [Trouble; 5] =
    [Trouble::ServerError, Trouble::Throttled, Trouble::TimeoutBefore, Trouble::ResetBefore, Trouble::Slow];
/// Further ones of calls that change something.
const WRITES: [Trouble; 3] = [Trouble::Conflict, Trouble::TimeoutAfter, Trouble::ResetAfter];
const WATCHES: [Trouble; 4] =
    [Trouble::ServerError, Trouble::WatchEnds, Trouble::WatchBreaks, Trouble::WatchExpires];

/// One call in so many goes wrong while there is trouble left.
const ONE_IN: u32 = 8;
/// How late a late answer is, at most, in milliseconds.
const LATE: u64 = 250;
/// How long a watch lasts at most that is going to be torn, in milliseconds.
const WATCH_LASTS: u64 = 400;

/// When a death comes: before its call takes effect, or after that and before the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    Before,
    After,
}

/// Which calls are counted until a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Watches apart.
    All,
    /// Those that change something.
    Writes,
}

/// The plan of what goes wrong, shared by all transports made of it.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    dead: watch::Sender<bool>,
    home: Handle,
}

#[derive(Debug)]
struct State {
    random: fastrand::Rng,
    left: u32,
    /// What goes wrong with certain calls: by their beginning (`PATCH /api`), each once.
    planned: Vec<(String, Trouble)>,
    /// What is planned once a certain call was made.
    later: Vec<(String, String, Trouble)>,
    dies: Option<(Calls, usize, Death)>,
    calls: Vec<String>,
    writes: usize,
    troubles: BTreeMap<Trouble, u32>,
}

impl Faults {
    /// Nothing goes wrong; calls are counted. Must be made where requests are to run.
    #[must_use]
    pub fn none() -> Self {
        Self::seeded(0, 0)
    }

    /// So many calls go wrong, which ones and how being the seed's to say.
    #[must_use]
    pub fn seeded(seed: u64, troubles: u32) -> Self {
        let state = State {
            random: fastrand::Rng::with_seed(seed),
            left: troubles,
            planned: Vec::new(),
            later: Vec::new(),
            dies: None,
            calls: Vec::new(),
            writes: 0,
            troubles: BTreeMap::new(),
        };
        let (dead, _) = watch::channel(false);
        Self(Arc::new(Inner { state: Mutex::new(state), dead, home: Handle::current() }))
    }

    /// The next call that begins with this method and path goes wrong in this way.
    pub fn plan(&self, call: &str, trouble: Trouble) {
        self.0.state().planned.push((call.to_owned(), trouble));
    }

    /// As [`plan`](Self::plan), once a call that begins with `first` was made.
    pub fn plan_after(&self, first: &str, call: &str, trouble: Trouble) {
        self.0.state().later.push((first.to_owned(), call.to_owned(), trouble));
    }

    /// Whoever uses the transports dies at the call with this number, from 0: nothing is answered any more.
    #[must_use]
    pub fn dying(self, calls: Calls, number: usize, death: Death) -> Self {
        self.0.state().dies = Some((calls, number, death));
        self
    }

    /// From now on nothing goes wrong.
    pub fn end(&self) {
        self.0.state().left = 0;
    }

    /// Returns when the death has come.
    pub async fn died(&self) {
        let mut dead = self.0.dead.subscribe();
        // The sender lives as long as this does.
        let _ = dead.wait_for(|dead| *dead).await;
    }

    /// Whether the death has come.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        *self.0.dead.borrow()
    }

    /// The calls that were made, watches apart: `PATCH /api/v1/namespaces/shop/configmaps/one`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.0.state().calls.clone()
    }

    /// What went wrong so far, and how often.
    #[must_use]
    pub fn troubles(&self) -> BTreeMap<Trouble, u32> {
        self.0.state().troubles.clone()
    }

    /// A client whose requests go the way of another one's, as far as nothing goes wrong. Its own task runs where this
    /// is called.
    #[must_use]
    pub fn client(&self, through: &Client) -> Client {
        let (inner, through) = (Arc::clone(&self.0), through.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            Arc::clone(&inner).call(through.clone(), request)
        });
        Client::new(service, "default")
    }
}

/// What is done with one call.
enum Course {
    Well,
    Wrong(Trouble),
    Dies(Death),
    Dead,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(self: Arc<Self>, through: Client, request: Request<Body>) -> Result<Answer, Failure> {
        let watched = request.uri().query().is_some_and(|query| query.contains("watch="));
        let course = self.course(&request, watched);
        let sent = async {
            let answer = self.home.spawn(async move { through.send(request).await });
            let answer = answer.await.map_err(Failure::from)?.map_err(Failure::from)?;
            Ok(answer.map(|body| body.map_err(Failure::from).boxed_unsync()))
        };
        let trouble = match course {
            Course::Well => return sent.await,
            Course::Dead => return std::future::pending().await,
            Course::Dies(death) => {
                if death == Death::After {
                    // What it says, nobody hears.
                    let _: Result<Answer, Failure> = sent.await;
                }
                self.dead.send_replace(true);
                return std::future::pending().await;
            }
            Course::Wrong(trouble) => trouble,
        };
        match trouble {
            Trouble::ServerError => Ok(refused(500, "InternalError", "the storage is being looked for")),
            Trouble::Throttled => {
                Ok(refused(429, "TooManyRequests", "too many requests, please try again later"))
            }
            Trouble::Conflict => Ok(refused(
                409,
                "Conflict",
                "the object has been modified; please apply your changes to the latest version",
            )),
            Trouble::TimeoutBefore => Ok(refused(504, "Timeout", "request did not complete in time")),
            Trouble::TimeoutAfter => {
                let _: Answer = sent.await?;
                Ok(refused(504, "Timeout", "request did not complete in time"))
            }
            Trouble::ResetBefore => Err(reset()),
            Trouble::ResetAfter => {
                let _: Answer = sent.await?;
                Err(reset())
            }
            Trouble::Slow => {
                let wait = self.state().random.u64(0..LATE);
                tokio::time::sleep(Duration::from_millis(wait)).await;
                sent.await
            }
            Trouble::Hangs => std::future::pending().await,
            Trouble::WatchEnds | Trouble::WatchBreaks | Trouble::WatchExpires => {
                let (events, lasts) = {
                    let mut state = self.state();
                    (state.random.usize(0..6), Duration::from_millis(state.random.u64(0..WATCH_LASTS)))
                };
                let answer: Answer = sent.await?;
                Ok(answer.map(|body| torn(body, trouble, events, lasts)))
            }
        }
    }

    fn course(&self, request: &Request<Body>, watched: bool) -> Course {
        let mut state = self.state();
        if *self.dead.borrow() {
            return Course::Dead;
        }
        let call = format!("{} {}", request.method(), request.uri().path());
        let changes = *request.method() != Method::GET;
        if !watched {
            let (number, writes) = (state.calls.len(), state.writes);
            state.calls.push(call.clone());
            state.writes += usize::from(changes);
            let now = |calls| match calls {
                Calls::All => number,
                Calls::Writes if changes => writes,
                Calls::Writes => usize::MAX,
            };
            if let Some((calls, dies, death)) = state.dies
                && dies == now(calls)
            {
                return Course::Dies(death);
            }
        }
        let planned = state.planned.iter().position(|(beginning, _)| !watched && call.starts_with(beginning));
        if let Some(at) = planned {
            let (_, trouble) = state.planned.remove(at);
            return state.goes_wrong(trouble);
        }
        let made: Vec<_> =
            state.later.extract_if(.., |(first, ..)| !watched && call.starts_with(&*first)).collect();
        state.planned.extend(made.into_iter().map(|(_, call, trouble)| (call, trouble)));
        if state.left == 0 || state.random.u32(0..ONE_IN) != 0 {
            return Course::Well;
        }
        state.left -= 1;
        let kinds: Vec<Trouble> = match (watched, changes) {
            (true, _) => WATCHES.to_vec(),
            (false, false) => ANY.to_vec(),
            // Half of them lose the answer of what was done.
            (false, true) => ANY.into_iter().chain(WRITES).chain([Trouble::ResetAfter]).collect(),
        };
        let at = state.random.usize(0..kinds.len());
        state.goes_wrong(kinds[at])
    }
}

impl State {
    fn goes_wrong(&mut self, trouble: Trouble) -> Course {
        *self.troubles.entry(trouble).or_default() += 1;
        Course::Wrong(trouble)
    }
}

fn reset() -> Failure {
    io::Error::from(io::ErrorKind::ConnectionReset).into()
}

fn refused(code: u16, reason: &str, message: &str) -> Answer {
    let throttled = code == 429;
    let mut details = json!({});
    if throttled {
        details["retryAfterSeconds"] = 1.into();
    }
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": message, "details": details});
    let body = Full::new(Bytes::from(status.to_string())).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::builder().status(code).header("content-type", "application/json");
    if throttled {
        answer = answer.header("retry-after", "1");
    }
    answer.body(body).expect("its parts are constant")
}

/// A watch's body that ends badly after so many pieces, or so long.
fn torn(
    body: UnsyncBoxBody<Bytes, Failure>,
    trouble: Trouble,
    events: usize,
    lasts: Duration,
) -> UnsyncBoxBody<Bytes, Failure> {
    let end = tokio::time::Instant::now() + lasts;
    let pieces = stream::unfold(Some((body, events)), move |state| async move {
        let (mut body, left) = state?;
        if left > 0
            && let Ok(Some(piece)) = tokio::time::timeout_at(end, body.frame()).await
        {
            return Some((piece, Some((body, left - 1))));
        }
        match trouble {
            Trouble::WatchBreaks => Some((Err(reset()), None)),
            Trouble::WatchExpires => {
                let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
                    "reason": "Expired", "message": "too old resource version"});
                let line = format!("{}\n", json!({"type": "ERROR", "object": status}));
                Some((Ok(Frame::data(Bytes::from(line))), None))
            }
            _ => None,
        }
    });
    StreamBody::new(pieces).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use client::resource::CONFIG_MAPS;
    use client::{Api, Key};

    use super::*;
    use crate::Cluster;

    fn map(name: &str) -> serde_json::Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}})
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_answer_may_be_lost_before_and_after_its_effect() {
        let cluster = Cluster::start().await;
        let faults = Faults::none();
        let api = Api::new(&faults.client(&cluster.admin()), &CONFIG_MAPS);
        for (name, trouble, there) in [
            ("before", Trouble::ResetBefore, false),
            ("after", Trouble::ResetAfter, true),
            ("late", Trouble::TimeoutAfter, true),
            ("early", Trouble::TimeoutBefore, false),
            ("slow", Trouble::Slow, true),
        ] {
            faults.plan("POST ", trouble);
            let created = api.create(&map(name)).await;
            assert_eq!(created.is_ok(), trouble == Trouble::Slow, "{name}: {created:?}");
            let found = api.find(&Key::namespaced("default", name)).await.unwrap();
            assert_eq!(found.is_some(), there, "{name}");
        }
        assert_eq!(faults.troubles().values().sum::<u32>(), 5);
        assert!(faults.calls().iter().any(|call| call == "GET /api/v1/namespaces/default/configmaps/late"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn after_a_death_nothing_is_answered() {
        let cluster = Cluster::start().await;
        for (death, there) in [(Death::Before, false), (Death::After, true)] {
            let faults = Faults::none().dying(Calls::Writes, 0, death);
            let api = Api::new(&faults.client(&cluster.admin()), &CONFIG_MAPS);
            let key = Key::namespaced("default", "one");
            api.find(&key).await.unwrap();
            let task = tokio::spawn(async move { api.create(&map("one")).await });
            faults.died().await;
            assert!(!task.is_finished() && faults.is_dead());
            task.abort();
            let found = Api::new(&cluster.admin(), &CONFIG_MAPS).find(&key).await.unwrap();
            assert_eq!(found.is_some(), there);
        }
    }
}
