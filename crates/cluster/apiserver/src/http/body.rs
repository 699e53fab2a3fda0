//! Bodies: a request's is read whole within a limit, a response's is whole or a stream.

use std::convert::Infallible;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use serde_json::Value;

use crate::error::ApiError;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a response carries. A watch or a log is a stream that ends when its source does.
pub type ApiBody = UnsyncBoxBody<Bytes, BoxError>;

/// What a request carries, of whatever transport.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, BodyError>;

/// The transport failed while a body was read.
#[derive(Debug, thiserror::Error)]
#[error("read the request's body")]
pub(crate) struct BodyError(#[source] BoxError);

/// Takes a body of any transport.
pub(crate) fn boxed<B>(body: B) -> RequestBody
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(|error| BodyError(error.into())).boxed_unsync()
}

/// Bytes of a request body, as upstream.
pub(crate) const BODY_LIMIT: usize = 3 << 20;

pub(crate) fn full(bytes: Bytes) -> ApiBody {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}

pub(crate) fn stream<S, E>(chunks: S) -> ApiBody
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    let frames: BoxStream<'static, Result<Frame<Bytes>, BoxError>> =
        chunks.map(|chunk| chunk.map(Frame::data).map_err(Into::into)).boxed();
    StreamBody::new(frames).boxed_unsync()
}

/// The whole body, refused when larger than [`BODY_LIMIT`].
pub(crate) async fn read(body: RequestBody) -> Result<Bytes, ApiError> {
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(ApiError::too_large(BODY_LIMIT)),
        Err(_) => Err(ApiError::bad_request("the request's body could not be read")),
    }
}

pub(crate) fn respond(code: StatusCode, content_type: &'static str, body: ApiBody) -> Response<ApiBody> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(crate) fn json(code: StatusCode, value: &Value) -> Response<ApiBody> {
    respond(code, "application/json", full(Bytes::from(value.to_string())))
}

pub(crate) fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<ApiBody> {
    respond(code, "text/plain; charset=utf-8", full(text.into()))
}

pub(crate) fn error(error: &ApiError) -> Response<ApiBody> {
    if let Some(plain) = error.text() {
        return text(error.code, plain.to_owned());
    }
    let mut response = json(error.code, &error.to_status());
    if let Some(seconds) = error.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
