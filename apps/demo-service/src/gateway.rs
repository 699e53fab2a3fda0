//! Passing a request on to the service behind this one.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// How long the service behind may take to begin its answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Keeps connections to the services behind this one.
pub(crate) struct Gateway {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Gateway {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(2)));
        Self { client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// Sends the request to `upstream` with its method, path and body, and returns the answer as it comes.
    pub(crate) async fn forward(
        &self,
        upstream: &Uri,
        request: &http::request::Parts,
        body: Bytes,
    ) -> Result<Response<BoxBody<Bytes, hyper::Error>>> {
        let mut parts = upstream.clone().into_parts();
        parts.path_and_query =
            Some(request.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
        let target = Uri::from_parts(parts).context("join the service's URL with the path")?;
        let mut forwarded = Request::builder().method(&request.method).uri(&target);
        if let Some(kind) = request.headers.get(http::header::CONTENT_TYPE) {
            forwarded = forwarded.header(http::header::CONTENT_TYPE, kind);
        }
        let forwarded = forwarded.body(Full::new(body)).context("build the request")?;
        let answer: Response<Incoming> = tokio::time::timeout(DEADLINE, self.client.request(forwarded))
            .await
            .with_context(|| format!("{upstream} did not answer in 10 s"))?
            .with_context(|| format!("reach {upstream}"))?;
        let mut response = Response::builder().status(answer.status());
        if let Some(kind) = answer.headers().get(http::header::CONTENT_TYPE) {
            response = response.header(http::header::CONTENT_TYPE, kind);
        }
        response.body(answer.into_body().boxed()).context("build the answer")
    }
}
