//! Connections that leave HTTP behind.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use http::{HeaderMap, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};

use super::ApiBody;
use super::body::full;
use crate::core::{Call, Core};
use crate::error::ApiError;
use crate::limits::Place;

/// A connection that will leave HTTP behind, with its user's place.
pub(super) struct Taken {
    on_upgrade: OnUpgrade,
    place: Option<Place>,
}

/// The connection of a request, which may be taken once.
pub(super) fn take(call: &Call) -> Result<Taken, ApiError> {
    let on_upgrade = call.take_upgrade().ok_or_else(|| {
        ApiError::bad_request("this connection cannot be upgraded: that needs HTTP/1.1 over a socket")
    })?;
    Ok(Taken { on_upgrade, place: call.take_place() })
}

/// The first of the protocols in a header that is among `known`.
pub(super) fn choose(
    headers: &HeaderMap,
    name: HeaderName,
    known: &[&'static str],
) -> Result<&'static str, ApiError> {
    let offered = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let offered: Vec<&str> = offered.flat_map(|value| value.split(',')).map(str::trim).collect();
    let chosen = offered.iter().find_map(|offered| known.iter().find(|known| *known == offered));
    chosen.copied().ok_or_else(|| {
        ApiError::bad_request(format!(
            "unable to negotiate protocol: client supports {offered:?}, server accepts {known:?}"
        ))
    })
}

/// Whether a header that is a list has this word.
pub(super) fn mentions(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|entry| entry.trim().eq_ignore_ascii_case(word))
}

/// Serves the connection with `work` until that returns or the server stops.
pub(super) fn serve<W, F>(core: &Arc<Core>, taken: Taken, work: W)
where
    W: FnOnce(Upgraded) -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let shutdown = core.shutdown.clone();
    let Taken { on_upgrade, place } = taken;
    core.tasks.spawn(async move {
        let _held = place;
        let serve = async {
            match on_upgrade.await {
                Ok(upgraded) => work(upgraded).await,
                Err(error) => tracing::debug!(error = %error, "a connection was not upgraded"),
            }
        };
        tokio::select! {
            () = serve => {}
            () = shutdown.cancelled() => {}
        }
    });
}

/// The answer that the protocol changes.
pub(super) fn switching(
    protocol: &'static str,
    more: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) -> Response<ApiBody> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(protocol));
    headers.extend(more);
    response
}
