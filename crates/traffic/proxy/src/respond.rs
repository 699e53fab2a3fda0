//! Answers that the proxy gives itself.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};

/// The body of every answer, passed on or of our own.
pub(crate) type Body = BoxBody<Bytes, hyper::Error>;

/// Why a request was not passed on. The texts of the first two are Traefik's, which people search for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoRoute,
    NoEndpoint,
    BadRequest(&'static str),
    Unreachable,
    TooSlow,
}

impl Refusal {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::NoEndpoint => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unreachable => StatusCode::BAD_GATEWAY,
            Self::TooSlow => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NoRoute => "404 page not found\n",
            Self::NoEndpoint => "no available server\n",
            Self::BadRequest(why) => why,
            Self::Unreachable => "Bad Gateway",
            Self::TooSlow => "Gateway Timeout",
        }
    }

    pub(crate) fn response(self) -> Response<Body> {
        let body = Full::new(Bytes::from_static(self.text().as_bytes()));
        let mut response = Response::new(body.map_err(|never| match never {}).boxed());
        *response.status_mut() = self.status();
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}
