//! Lists: a consistent state of a collection, whole or in pages.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{ListOptions, Object, Page, Revision};

use super::answer;
use super::selection::Selection;
use crate::catalog::Origin;
use crate::core::Call;
use crate::error::ApiError;
use crate::http::body::{full, respond};
use crate::http::{ApiBody, Encoding, Shape};
use crate::{convert, object, table, write};

/// How long a request for a revision that has not happened yet waits for it.
const FRESH_WAIT: Duration = Duration::from_secs(3);

/// What `continue` carries.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    /// Format of the token.
    v: String,
    rv: Revision,
    /// Path of the last object already sent.
    start: String,
}

const TOKEN_FORMAT: &str = "meta.k8s.io/v1";

/// A part of a collection that was chosen for an answer.
pub(crate) struct Chosen {
    pub(crate) items: Vec<(Arc<str>, Object)>,
    pub(crate) revision: Revision,
    remaining: Option<usize>,
    next: Option<String>,
}

pub(crate) async fn list(call: &Call) -> Result<Response<ApiBody>, ApiError> {
    answer::check_shape(call, Some(&call.resource.list_kind))?;
    let selection = Selection::of(call)?;
    let chosen = choose(call, &selection).await?;
    match call.shape {
        Shape::Whole | Shape::Aggregated => whole(call, &chosen),
        Shape::Table => {
            let objects = values(call, &chosen)?;
            let table = table::of_list(call, &objects, list_meta(&chosen));
            Ok(answer::encoded(call.encoding, StatusCode::OK, &table))
        }
        Shape::Metadata => {
            let items: Vec<Value> = values(call, &chosen)?.iter().map(answer::metadata_only).collect();
            // An empty list of this type is null, as Go writes it.
            let items = if items.is_empty() { Value::Null } else { items.into() };
            let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": list_meta(&chosen), "items": items});
            Ok(answer::encoded(call.encoding, StatusCode::OK, &list))
        }
    }
}

fn list_meta(chosen: &Chosen) -> Value {
    let mut meta = json!({"resourceVersion": chosen.revision.to_string()});
    if let Some(next) = &chosen.next {
        meta["continue"] = next.clone().into();
        if let Some(remaining) = chosen.remaining {
            meta["remainingItemCount"] = remaining.into();
        }
    }
    meta
}

fn values(call: &Call, chosen: &Chosen) -> Result<Vec<Value>, ApiError> {
    chosen
        .items
        .iter()
        .map(|(_, stored)| {
            let mut value = object::decode(&stored.bytes)?;
            convert::to_requested(&call.resource, &mut value)?;
            Ok(value)
        })
        .collect()
}

/// The objects a list request means.
pub(crate) async fn choose(call: &Call, selection: &Selection) -> Result<Chosen, ApiError> {
    let limit =
        call.query.number("limit")?.filter(|limit| *limit > 0).and_then(|limit| usize::try_from(limit).ok());
    let (at, after) = start(call, limit.is_some()).await?;
    if let Some(name) = &selection.name
        && (!call.resource.namespaced || !call.info.namespace.is_empty())
        && at.is_none()
    {
        return one(call, selection, name);
    }
    let selective = !selection.is_everything();
    let options = ListOptions { limit: limit.filter(|_| !selective), after, at };
    let scope = call.resource.scope(&call.info.namespace);
    let page = call.core.store.list(&scope, &options).map_err(|error| expired(call, &error))?;
    let Page { items, revision, remaining } = page;
    if !selective {
        let next = (remaining > 0).then(|| items.last().map(|(path, _)| token(revision, path))).flatten();
        return Ok(Chosen { items, revision, remaining: Some(remaining), next });
    }
    let mut chosen = Vec::new();
    let mut next = None;
    for (path, stored) in items {
        if !selection.matches(&call.resource, &stored)? {
            continue;
        }
        if limit.is_some_and(|limit| chosen.len() == limit) {
            next = chosen.last().map(|(path, _): &(Arc<str>, Object)| token(revision, path));
            break;
        }
        chosen.push((path, stored));
    }
    Ok(Chosen { items: chosen, revision, remaining: None, next })
}

/// The list of the one object that a field selector names.
fn one(call: &Call, selection: &Selection, name: &str) -> Result<Chosen, ApiError> {
    let revision = call.core.store.revision();
    let key = call.resource.key(&call.info.namespace, name);
    let mut items = Vec::new();
    if let Some(stored) = call.core.store.get(&key)
        && selection.matches(&call.resource, &stored)?
    {
        items.push((key.path().into(), stored));
    }
    // The object may be newer than the revision read before it; a watch from there would only repeat it.
    Ok(Chosen { items, revision, remaining: None, next: None })
}

fn token(revision: Revision, path: &str) -> String {
    let token = Token { v: TOKEN_FORMAT.to_owned(), rv: revision, start: path.to_owned() };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("a token has string keys only"))
}

/// At which revision and after which path to read.
async fn start(call: &Call, limited: bool) -> Result<(Option<Revision>, Option<String>), ApiError> {
    let version = call.query.get("resourceVersion");
    let matching = call.query.get("resourceVersionMatch");
    if let Some(text) = call.query.get("continue") {
        if version.is_some_and(|version| version != "0") {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let invalid = || ApiError::bad_request("invalid continue token: continue key is not valid");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        let token: Token = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
        if token.v != TOKEN_FORMAT {
            return Err(invalid());
        }
        return Ok((Some(token.rv), Some(token.start)));
    }
    let revision = parse_version(version)
        .map_err(|error| ApiError::bad_request(format!("invalid resource version: {}", error.message)))?;
    match (revision, matching) {
        (Some(revision), Some("Exact")) => Ok((Some(revision), None)),
        (Some(revision), None) if limited => Ok((Some(revision), None)),
        // What else there could be has been refused with the other options.
        (revision, _) => {
            if let Some(revision) = revision {
                fresh(call, revision).await?;
            }
            Ok((None, None))
        }
    }
}

/// A `resourceVersion` parameter; `None` for absent and `0`, which any state satisfies.
pub(crate) fn parse_version(version: Option<&str>) -> Result<Option<Revision>, ApiError> {
    match version {
        None | Some("0") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            ApiError::bad_request(format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"))
        }),
    }
}

/// Waits until the store has reached a revision that a client has seen elsewhere.
pub(crate) async fn fresh(call: &Call, revision: Revision) -> Result<(), ApiError> {
    let store = &call.core.store;
    let deadline = tokio::time::Instant::now() + FRESH_WAIT;
    while store.revision() < revision {
        let current = store.revision();
        if tokio::time::timeout_at(deadline, store.advanced(current)).await.is_err() {
            return Err(too_large(revision, current));
        }
    }
    Ok(())
}

fn too_large(revision: Revision, current: Revision) -> ApiError {
    let mut error =
        ApiError::timeout(format!("Timeout: Too large resource version: {revision}, current: {current}"));
    error.details.insert("retryAfterSeconds".to_owned(), 1.into());
    error.details.insert(
        "causes".to_owned(),
        json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]),
    );
    error
}

fn expired(call: &Call, error: &store::Error) -> ApiError {
    match error {
        store::Error::Compacted { .. } if call.query.get("continue").is_some() => ApiError::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
        ),
        store::Error::Compacted { requested, oldest } => {
            ApiError::expired(format!("too old resource version: {requested} ({oldest})"))
        }
        store::Error::Future { requested, current } => too_large(*requested, *current),
        other => write::stored(other),
    }
}

/// The list with its objects as they are stored, put together without reading them where that is possible.
fn whole(call: &Call, chosen: &Chosen) -> Result<Response<ApiBody>, ApiError> {
    let resource = &call.resource;
    if call.encoding == Encoding::Yaml {
        let mut items = values(call, chosen)?;
        if matches!(resource.origin, Origin::Builtin(_)) {
            for fields in items.iter_mut().filter_map(Value::as_object_mut) {
                fields.remove("kind");
                fields.remove("apiVersion");
            }
        }
        let list = json!({"kind": resource.list_kind, "apiVersion": resource.api_version,
            "metadata": list_meta(chosen), "items": items});
        return Ok(answer::encoded(Encoding::Yaml, StatusCode::OK, &list));
    }
    let mut list_meta = list_meta(chosen);
    if resource.custom().is_some() && chosen.next.is_none() {
        // Lists of custom resources say so when there is no more.
        list_meta["continue"] = "".into();
    }
    let size: usize = chosen.items.iter().map(|(_, stored)| stored.bytes.len() + 1).sum();
    let mut out = BytesMut::with_capacity(size + 256);
    let head = format!(
        "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{},\"items\":[",
        Value::from(resource.list_kind.as_str()),
        Value::from(resource.api_version.as_str()),
        list_meta
    );
    out.put_slice(head.as_bytes());
    let direct = convert::is_stored_version(resource);
    let typed = matches!(resource.origin, Origin::Custom(_));
    for (at, (_, stored)) in chosen.items.iter().enumerate() {
        if at > 0 {
            out.put_u8(b',');
        }
        item(call, stored, direct, typed, &mut out)?;
    }
    out.put_slice(b"]}");
    Ok(respond(StatusCode::OK, "application/json", full(out.freeze())))
}

/// Items of built-in lists come without `kind` and `apiVersion`, as upstream writes them.
fn item(call: &Call, stored: &Object, direct: bool, typed: bool, out: &mut BytesMut) -> Result<(), ApiError> {
    let resource = &call.resource;
    if direct {
        if typed && stored.bytes.starts_with(resource.type_prefix.as_bytes()) {
            out.put_slice(&stored.bytes);
            return Ok(());
        }
        if let Some(rest) =
            (!typed).then(|| object::without_type(&stored.bytes, &resource.type_prefix)).flatten()
        {
            out.put_u8(b'{');
            out.put_slice(&rest);
            return Ok(());
        }
    }
    let mut value = object::decode(&stored.bytes)?;
    convert::to_requested(resource, &mut value)?;
    if !typed && let Some(fields) = value.as_object_mut() {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    out.put_slice(&Bytes::from(value.to_string()));
    Ok(())
}
