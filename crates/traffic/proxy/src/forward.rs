//! Passing one request to an endpoint: attempts, deadlines, and what becomes of failures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use routing::{Backend, InFlight, Route};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::body::SharedBody;
use crate::budget::Budget;
use crate::headers;
use crate::respond::{Body, Refusal};
use crate::upgrade;

/// How many endpoints one request may be offered to.
const MOST_ATTEMPTS: usize = 4;

/// How long the parts of an exchange with an endpoint may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// To open a connection. Endpoints are one hop away.
    pub connect: Duration,
    /// From the request to the head of the answer; the body may take longer.
    pub answer: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            answer: Duration::from_secs(300),
            idle: Duration::from_secs(30),
        }
    }
}

/// The forwarding side: connections to endpoints, kept by address.
#[derive(Debug)]
pub(crate) struct Forwarder {
    client: Client<HttpConnector, SharedBody>,
    timeouts: Timeouts,
    budget: Budget,
}

/// A request on its way: its head as the endpoint shall see it, and its body.
pub(crate) struct Outgoing {
    pub(crate) head: http::request::Parts,
    pub(crate) body: SharedBody,
    /// The client's side of an upgrade, if it asked for one.
    pub(crate) upgrade: Option<hyper::upgrade::OnUpgrade>,
}

impl Forwarder {
    pub(crate) fn new(timeouts: Timeouts) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(timeouts.connect));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(timeouts.idle)
            .pool_max_idle_per_host(128)
            .set_host(false)
            .build(connector);
        Self { client, timeouts, budget: Budget::new(Instant::now()) }
    }

    /// Offers the request to endpoints of the route until one answers or it must not be tried again.
    pub(crate) async fn forward(
        &self,
        route: &Arc<Route>,
        mut outgoing: Outgoing,
        stop: &CancellationToken,
    ) -> Result<Response<Body>, Refusal> {
        self.budget.deposit();
        let backend = route.backend(rand::random).ok_or(Refusal::NoEndpoint)?;
        let deadline = Instant::now() + self.timeouts.answer;
        let mut tried: Vec<SocketAddr> = Vec::new();
        loop {
            let in_hand = self.choose(backend, &tried)?;
            let address = in_hand.address();
            let request = attempt(&outgoing, address);
            let error = match tokio::time::timeout_at(deadline, self.client.request(request)).await {
                Ok(Ok(response)) => return Ok(self.answer(response, &mut outgoing, in_hand, stop)),
                Ok(Err(error)) => error,
                Err(_) => {
                    tracing::debug!(route = route.name, %address, "endpoint did not answer in time");
                    return Err(Refusal::TooSlow);
                }
            };
            drop(in_hand);
            tried.push(address);
            if tried.len() == MOST_ATTEMPTS || !self.may_retry(&error, &outgoing) {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::debug!(route = route.name, %address, %error, cause, "endpoint did not answer");
                return Err(Refusal::Unreachable);
            }
            route.stats.retried();
        }
    }

    fn choose(&self, backend: &Backend, tried: &[SocketAddr]) -> Result<InFlight, Refusal> {
        backend.choose(tried, rand::random).cloned().map(InFlight::new).ok_or(Refusal::NoEndpoint)
    }

    /// A request that never left is always sent again. One that a closing connection swallowed may have been acted
    /// upon, so it is sent again only if doing it twice is the same as once (RFC 9110 §9.2.2), and within the budget.
    fn may_retry(&self, error: &Error, outgoing: &Outgoing) -> bool {
        if !outgoing.body.whole() {
            return false;
        }
        error.is_connect() || (outgoing.head.method.is_idempotent() && self.budget.withdraw(Instant::now()))
    }

    fn answer(
        &self,
        mut response: Response<Incoming>,
        outgoing: &mut Outgoing,
        in_hand: InFlight,
        stop: &CancellationToken,
    ) -> Response<Body> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS
            && let Some(client) = outgoing.upgrade.take()
        {
            let endpoint = hyper::upgrade::on(&mut response);
            let stop = stop.clone();
            tokio::spawn(async move {
                upgrade::carry(client, endpoint, stop).await;
                drop(in_hand);
            });
            return response.map(|body| body.boxed());
        }
        headers::strip_hop_by_hop(response.headers_mut());
        // The request is in hand until its answer has gone through.
        response.map(|body| {
            body.map_frame(move |frame| {
                let _until_the_end = &in_hand;
                frame
            })
            .boxed()
        })
    }
}

/// The request as it is sent to one endpoint.
fn attempt(outgoing: &Outgoing, address: SocketAddr) -> Request<SharedBody> {
    let mut request = Request::new(outgoing.body.clone());
    let head = &outgoing.head;
    request.method_mut().clone_from(&head.method);
    request.headers_mut().clone_from(&head.headers);
    *request.version_mut() = Version::HTTP_11;
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority =
        Some(Authority::try_from(address.to_string()).expect("a socket address is a URL's authority"));
    parts.path_and_query = Some(head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    *request.uri_mut() = Uri::from_parts(parts).expect("scheme, authority and path make a URL");
    if let (true, Some(protocol)) = (outgoing.upgrade.is_some(), head.headers.get(header::UPGRADE)) {
        request.headers_mut().insert(header::UPGRADE, protocol.clone());
        request.headers_mut().insert(header::CONNECTION, http::HeaderValue::from_static("upgrade"));
    }
    request
}
