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

    async fn head(self) -> Result<Response<Body>, Error> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(&self.target)
            .header(header::ACCEPT, self.accept.header());
        if let Some((content_type, _)) = &self.body {
            request = request.header(header::CONTENT_TYPE, *content_type);
        }
        let body = self.body.map_or_else(Body::empty, |(_, bytes)| Body::from(bytes));
        let request = request
            .body(body)
            .map_err(|error| Error::Request { action: self.action.to_owned(), problem: error.to_string() })?;
        crate::requests::sent();
        let response = self.client.send(request).await.map_err(|source| transport(self.action, source))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let body = collect(response, self.action).await?;
        let status = Box::new(Status::from_body(code, &body));
        Err(Error::Refused { action: self.action.to_owned(), status })
    }
}

async fn collect(response: Response<Body>, action: &str) -> Result<Bytes, Error> {
    let body = response.into_body().collect().await.map_err(|source| transport(action, source))?;
    Ok(body.to_bytes())
}

fn transport(action: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Transport { action: action.to_owned(), source: source.into() }
}
