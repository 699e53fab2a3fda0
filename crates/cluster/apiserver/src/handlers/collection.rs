//! Deletes of a whole collection.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::delete::{self, Deleted, Options};
use super::selection::Selection;
use super::{answer, list};
use crate::core::Call;
use crate::error::ApiError;
use crate::http::ApiBody;
use crate::object;

/// Deletes what the selectors choose; objects that are gone meanwhile are no error.
pub(super) async fn delete(call: &Call, body: &Bytes) -> Result<Response<ApiBody>, ApiError> {
    let options = Options::of(call, body)?;
    let selection = Selection::of(call)?;
    let chosen = list::choose(call, &selection).await?;
    let mut items: Vec<Value> = Vec::with_capacity(chosen.items.len());
    for (path, _) in &chosen.items {
        let (namespace, name) = path.split_once('/').unwrap_or(("", path));
        let single = call.for_object(namespace, name);
        match delete::remove(&single, name, &options).await {
            Ok(Deleted::Gone(last)) => items.push(last),
            Ok(Deleted::Pending(stored)) => items.push(object::decode(&stored.bytes)?),
            Err(error) if error.code() == StatusCode::NOT_FOUND => {}
            Err(error) => return Err(error),
        }
    }
    let list = json!({"kind": call.resource.list_kind, "apiVersion": call.resource.api_version,
        "metadata": {"resourceVersion": chosen.revision.to_string()}, "items": items});
    Ok(answer::encoded(call.encoding, StatusCode::OK, &list))
}
