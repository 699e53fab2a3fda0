//! One request from its first byte to its answer: authentication, limits, authorization, dispatch.

mod other;

use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, WARNING};
use http::{Method, Request, Response};
use hyper::upgrade::OnUpgrade;

use crate::authn::{self, Peer};
use crate::authz::Attributes;
use crate::catalog::Resource;
use crate::core::{Asked, Call, Core};
use crate::error::ApiError;
use crate::handlers;
use crate::http::body::{self, RequestBody};
use crate::http::negotiate;
use crate::http::request::Target;
use crate::http::{ApiBody, Query, RequestInfo, Shape, Verb};
use crate::user::User;

/// Time that a request gets unless it is a watch or follows a log.
const DEADLINE: Duration = Duration::from_secs(60);
/// Time that a request waits for its turn when too many are in flight.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers a request, whatever happens.
pub(crate) async fn handle(core: Arc<Core>, request: Request<RequestBody>, peer: &Peer) -> Response<ApiBody> {
    let head = request.method() == Method::HEAD;
    let mut response = match answer(core, request, peer).await {
        Ok(response) => response,
        Err(error) => body::error(&error),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response.headers_mut().entry(HeaderName::from_static("audit-id")).or_insert_with(|| {
        HeaderValue::try_from(uuid::Uuid::new_v4().to_string()).unwrap_or(HeaderValue::from_static(""))
    });
    if head {
        *response.body_mut() = body::full(bytes::Bytes::new());
    }
    response
}

async fn answer(
    core: Arc<Core>,
    request: Request<RequestBody>,
    peer: &Peer,
) -> Result<Response<ApiBody>, ApiError> {
    let (mut parts, request_body) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let user = authn::authenticate(&core, peer, &parts.headers)?;
    let query = Query::parse(parts.uri.query());
    let info = match RequestInfo::parse(&parts.method, parts.uri.path(), &query)? {
        Target::Resource(info) => info,
        Target::Other => {
            return other::answer(&core, &user, &parts.method, parts.uri.path(), &parts.headers, &query);
        }
    };
    authorize(&core, &user, &info)?;
    let snapshot = core.catalog.snapshot();
    let resource = snapshot
        .resource(&info.group, &info.version, &info.resource)
        .filter(|resource| exists(resource, &info))
        .cloned()
        .ok_or_else(|| match snapshot.group(&info.group) {
            Some(group) if group.serves(&info.version) => ApiError::no_such_resource(),
            Some(group) if !group.is_custom() => ApiError::no_such_resource(),
            Some(_) => ApiError::no_such_page(),
            None => ApiError::no_such_page(),
        })?;
    if resource.namespaced && info.namespace.is_empty() && !matches!(info.verb, Verb::List | Verb::Watch) {
        return Err(ApiError::method_not_allowed());
    }
    let shapes: &[Shape] = match info.verb {
        Verb::Get | Verb::List | Verb::Watch | Verb::Create | Verb::Update | Verb::Patch => {
            &[Shape::Table, Shape::Metadata]
        }
        Verb::Delete | Verb::DeleteCollection => &[],
    };
    let (encoding, shape) = negotiate::accept(&parts.headers, shapes)?;
    let mut info = info;
    if info.resource == "namespaces" {
        // The path's namespace is the object itself there, which has none.
        info.namespace.clear();
    }
    let long = info.verb == Verb::Watch || (info.subresource == "log" && query.flag("follow"));
    let streams = matches!(info.subresource.as_str(), "exec" | "attach" | "portforward");
    let place = if long || streams { &core.client_watches } else { &core.client_requests }
        .take(&user.name)
        .ok_or_else(|| {
        ApiError::too_many_requests("too many requests of this user, please try again later", Some(1))
    })?;
    let asked = Asked { user, info, query, headers: parts.headers, encoding, shape, upgrade };
    let call = Arc::new(Call::new(core.clone(), snapshot, resource, asked));
    // What lasts longer than its answer takes the place along.
    call.keep(place);
    let body = body::read(request_body);
    if long {
        let body = tokio::time::timeout(DEADLINE, body).await.map_err(|_| deadline())??;
        return finish(call, body).await;
    }
    let permit = tokio::time::timeout(PATIENCE, core.requests.acquire())
        .await
        .map_err(|_| ApiError::too_many_requests("too many requests, please try again later", Some(1)))?
        .map_err(|_| ApiError::unavailable("the server is shutting down"))?;
    let work = async move {
        let body = body.await?;
        finish(call, body).await
    };
    let response = tokio::time::timeout(DEADLINE, work).await.map_err(|_| deadline())?;
    drop(permit);
    response
}

/// Runs the handler and carries its warnings into the response.
async fn finish(call: Arc<Call>, body: bytes::Bytes) -> Result<Response<ApiBody>, ApiError> {
    let mut response = match handlers::dispatch(call.clone(), body).await {
        Ok(response) => response,
        Err(error) => body::error(&error),
    };
    for warning in call.take_warnings() {
        // 299 is the code for anything that lasts; the text is a quoted string without control characters.
        let text: String = warning.chars().filter(|c| !c.is_control()).collect();
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::try_from(format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
    Ok(response)
}

/// Whether the path fits the resource's scope. A slash that was encoded is part of no name: it would reach into
/// another namespace.
fn exists(resource: &Resource, info: &RequestInfo) -> bool {
    let scoped = if resource.namespaced {
        info.name.is_empty() || !info.namespace.is_empty()
    } else {
        info.namespace.is_empty() || info.resource == "namespaces"
    };
    scoped && !info.name.contains('/') && !info.namespace.contains('/')
}

fn deadline() -> ApiError {
    ApiError::timeout("Timeout: request did not complete within the allotted timeout")
}

fn authorize(core: &Core, user: &User, info: &RequestInfo) -> Result<(), ApiError> {
    let attributes = Attributes {
        verb: info.verb.as_str(),
        group: &info.group,
        resource: &info.resource,
        subresource: &info.subresource,
        namespace: &info.namespace,
        name: &info.name,
        path: "",
    };
    core.authorizer.require(user, &attributes)
}
