//! One request and its answer.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::error::Status;
use crate::resource::encode;

/// Query parameters, in the order they were added.
#[derive(Debug, Default)]
pub(crate) struct Query(String);

impl Query {
    pub(crate) fn new() -> Query {
        Query::default()
    }

    pub(crate) fn add(&mut self, name: &str, value: &str) {
        let separator = if self.0.is_empty() { '?' } else { '&' };
        self.0.push_str(&format!("{separator}{name}={}", encode(value)));
    }

    pub(crate) fn add_some(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    pub(crate) fn on(&self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

/// What form of answer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accept {
    /// Whatever it is: the lines of a log.
    Any,
    Json,
    /// Metadata of one object or of each watch event's object.
    Metadata,
    /// Metadata of a list's items.
    MetadataList,
    /// Discovery in one answer, where the server offers it.
    Discovery,
}

impl Accept {
    fn header(self) -> &'static str {
        match self {
            Accept::Any => "*/*",
            Accept::Json => "application/json",
            Accept::Metadata => {
                "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
            }
            Accept::MetadataList => {
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
            }
            Accept::Discovery => {
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
            }
        }
    }
}

/// A request about to be sent.
pub(crate) struct Sent<'a> {
    pub(crate) client: &'a Client,
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) accept: Accept,
    /// Content type and bytes.
    pub(crate) body: Option<(&'static str, Vec<u8>)>,
    /// For the whole exchange, or, when the answer is a stream, until its head arrived.
    pub(crate) deadline: Duration,
    /// For errors: what this request attempts.
    pub(crate) action: &'a str,
}

impl Sent<'_> {
    /// The answer as JSON; any status but 2xx is an error.
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let (action, limit) = (self.action, self.deadline);
        let exchange = async {
            let response = self.head().await?;
            let body = collect(response, action).await?;
            serde_json::from_slice(&body)
                .map_err(|source| Error::Answer { action: action.to_owned(), source })
        };
        tokio::time::timeout(limit, exchange)
            .await
            .unwrap_or_else(|_| Err(Error::Deadline { action: action.to_owned(), limit }))
    }

    /// The answer as a stream of bytes.
    pub(crate) async fn stream(self) -> Result<Body, Error> {
        let (action, limit) = (self.action, self.deadline);
        tokio::time::timeout(limit, self.head())
            .await
            .unwrap_or_else(|_| Err(Error::Deadline { action: action.to_owned(), limit }))
            .map(Response::into_body)
    }

    /// Sends it, and again where the server answers that it did nothing and when to come back.
    async fn head(mut self) -> Result<Response<Body>, Error> {
        let body = self.body.take().map(|(content_type, bytes)| (content_type, Bytes::from(bytes)));
        let mut again = 0;
        loop {
            crate::requests::sent();
            let sent = self.client.send(self.request(body.as_ref())?).await;
            let response = sent.map_err(|source| transport(self.action, source))?;
            if response.status().is_success() {
                return Ok(response);
            }
            let wait = retry_after(&response).filter(|_| again < RETRIES);
            let code = response.status().as_u16();
            let body = collect(response, self.action).await?;
            let Some(wait) = wait else {
                let status = Box::new(Status::from_body(code, &body));
                return Err(Error::Refused { action: self.action.to_owned(), status });
            };
            again += 1;
            tokio::time::sleep(wait).await;
        }
    }

    fn request(&self, body: Option<&(&'static str, Bytes)>) -> Result<Request<Body>, Error> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.target)
            .header(header::ACCEPT, self.accept.header());
        if let Some((content_type, _)) = body {
            request = request.header(header::CONTENT_TYPE, *content_type);
        }
        let body = body.map_or_else(Body::empty, |(_, bytes)| Body::from(bytes.clone()));
        request
            .body(body)
            .map_err(|error| Error::Request { action: self.action.to_owned(), problem: error.to_string() })
    }
}

/// Attempts after the first where the server asks for them; the request's own deadline holds for all together. As many
/// as client-go makes.
const RETRIES: u32 = 10;

/// How long the server asks to wait. As client-go, only of answers that say that nothing was done, and whatever the
/// request does.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let status = response.status();
    if status.as_u16() != 429 && !status.is_server_error() {
        return None;
    }
    let seconds: u64 = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

async fn collect(response: Response<Body>, action: &str) -> Result<Bytes, Error> {
    let body = response.into_body().collect().await.map_err(|source| transport(action, source))?;
    Ok(body.to_bytes())
}

fn transport(action: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Transport { action: action.to_owned(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::json;

    use super::*;
    use crate::resource::CONFIG_MAPS;
    use crate::testing;
    use crate::{Api, Key};

    /// A server that refuses so often with a status before it answers; `after` is its Retry-After.
    fn refusing(times: u32, code: u16, after: Option<&'static str>) -> (Client, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let client = testing::client(move |_| {
            if count.fetch_add(1, Ordering::Relaxed) >= times {
                return testing::json(200, &json!({"metadata": {"name": "one"}}));
            }
            let mut answer =
                testing::json(code, &json!({"kind": "Status", "code": code, "message": "later"}));
            if let Some(after) = after {
                answer.headers_mut().insert(header::RETRY_AFTER, http::HeaderValue::from_static(after));
            }
            answer
        });
        (client, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_told_when_to_come_back_comes_back() {
        let key = Key::namespaced("default", "one");
        for (times, code, after, expected, asked_for) in [
            (2, 429, Some("3"), Ok(()), 3),
            (1, 503, Some("1"), Ok(()), 2),
            (1, 429, None, Err(429), 1),
            (1, 409, Some("1"), Err(409), 1),
            (99, 429, Some("0"), Err(429), 11),
        ] {
            let (client, asked) = refusing(times, code, after);
            let begun = tokio::time::Instant::now();
            let found = Api::new(&client, &CONFIG_MAPS).get(&key).await;
            let outcome = found.map(drop).map_err(|error| error.status().map_or(0, |status| status.code));
            assert_eq!((outcome, asked.load(Ordering::Relaxed)), (expected, asked_for), "{code} {after:?}");
            if code == 429 && times == 2 {
                assert_eq!(begun.elapsed(), Duration::from_secs(6));
            }
        }
        let (client, _) = refusing(99, 503, Some("20"));
        let late = Api::new(&client, &CONFIG_MAPS).get(&key).await.unwrap_err();
        assert!(matches!(late, Error::Deadline { .. }), "{late}");
    }
}
