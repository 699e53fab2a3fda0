//! The verbs.

pub(crate) mod answer;
mod collection;
mod delete;
mod list;
mod options;
mod patch;
mod reviews;
mod scale;
mod selection;
mod subresources;
mod watch;

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use objects::meta;

use crate::core::Call;
use crate::error::ApiError;
use crate::http::{ApiBody, Verb};
use crate::input;
use crate::write::{self, Outcome, Ownership, Race};

pub(crate) use delete::{Options as DeleteOptions, remove};

/// Answers an authorized request for a resource.
pub(crate) async fn dispatch(call: Arc<Call>, body: Bytes) -> Result<Response<ApiBody>, ApiError> {
    let resource = &call.resource;
    options::check(&call)?;
    if !call.info.subresource.is_empty() {
        let known = resource.subresources.iter().find(|known| known.name == call.info.subresource);
        // Paths below `proxy` are the proxied server's own.
        let Some(known) = known.or_else(|| {
            let first = call.info.subresource.split('/').next().unwrap_or_default();
            resource.subresources.iter().find(|known| known.name == first && first == "proxy")
        }) else {
            return Err(ApiError::no_such_resource());
        };
        if !known.verbs.contains(&call.info.verb.as_str()) {
            return Err(ApiError::method_not_allowed());
        }
        return subresources::dispatch(&call, body).await;
    }
    if !resource.verbs.contains(&call.info.verb.as_str()) {
        return Err(ApiError::method_not_allowed());
    }
    if !resource.stored() {
        return reviews::dispatch(&call, &body).await;
    }
    match call.info.verb {
        Verb::Get => get(&call).await,
        Verb::List => list::list(&call).await,
        Verb::Watch => watch::watch(call).await,
        Verb::Create => create(&call, &body).await,
        Verb::Update => update(&call, &body).await,
        Verb::Patch => patch::patch(&call, &body).await,
        Verb::Delete => delete::delete(&call, &body).await,
        Verb::DeleteCollection => collection::delete(&call, &body).await,
    }
}

async fn get(call: &Call) -> Result<Response<ApiBody>, ApiError> {
    if let Some(revision) = list::parse_version(call.query.get("resourceVersion"))
        .map_err(|error| ApiError::unexplained(error.message))?
    {
        list::fresh(call, revision).await?;
    }
    let key = call.resource.key(&call.info.namespace, &call.info.name);
    let found = call.core.store.get(&key).ok_or_else(|| call.not_found(&call.info.name))?;
    answer::stored(call, StatusCode::OK, &found)
}

async fn create(call: &Call, body: &[u8]) -> Result<Response<ApiBody>, ApiError> {
    let parsed = input::body(&call.headers, body, &call.resource.kind)?;
    let mut object = parsed.value;
    input::of_resource(call, &mut object, body)?;
    input::normalize(call, &mut object, parsed.duplicates)?;
    let namespace = meta::namespace(&object).unwrap_or_default();
    if call.resource.namespaced && !namespace.is_empty() && namespace != call.info.namespace {
        return Err(ApiError::bad_request(write::NAMESPACES_DIFFER));
    }
    let ownership = Ownership::Update(call.field_manager());
    let written = write::create(call, object, ownership).await?;
    answer::stored(call, StatusCode::CREATED, &written.object)
}

async fn update(call: &Call, body: &[u8]) -> Result<Response<ApiBody>, ApiError> {
    let written = replace(call, body).await?;
    answer::stored(call, StatusCode::OK, &written.object)
}

/// A PUT: of the object, or of the part that its subresource is.
async fn replace(call: &Call, body: &[u8]) -> Result<write::Written, ApiError> {
    let parsed = input::body(&call.headers, body, &call.resource.kind)?;
    let mut object = parsed.value;
    input::of_resource(call, &mut object, body)?;
    input::normalize(call, &mut object, parsed.duplicates)?;
    if meta::name(&object).is_empty() {
        let name = &call.info.name;
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    let version = meta::resource_version(&object);
    if !version.is_empty() && version.parse::<store::Revision>().is_err() {
        return Err(ApiError::unexplained(format!("strconv.ParseUint: parsing {version:?}: invalid syntax")));
    }
    let unconditional = version.is_empty();
    if unconditional && call.resource.custom().is_some() {
        let problem = objects::schema::FieldError::invalid(
            "metadata.resourceVersion",
            0.into(),
            "must be specified for an update",
        );
        return Err(ApiError::invalid(
            &call.resource.group,
            &call.resource.plural,
            &call.info.name,
            &[problem],
        ));
    }
    let race = if unconditional { Race::Retry } else { Race::Refuse };
    let ownership = Ownership::Update(call.field_manager());
    write::update(call, &call.info.name, &|_| Ok(object.clone()), &ownership, race).await
}

/// The code of a write that may have created its object.
fn code_of(outcome: Outcome) -> StatusCode {
    if outcome == Outcome::Created { StatusCode::CREATED } else { StatusCode::OK }
}
