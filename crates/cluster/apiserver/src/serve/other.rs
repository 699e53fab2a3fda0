//! Paths that are no resources: discovery, health, version, documents, keys.

use std::sync::PoisonError;

use http::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::authz::Attributes;
use crate::core::Core;
use crate::error::ApiError;
use crate::handlers::answer::encoded;
use crate::http::body::{full, respond, text};
use crate::http::negotiate;
use crate::http::{ApiBody, Query, Shape};
use crate::user::User;
use crate::{discovery, openapi};

/// The format of metrics, as its specification names it.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What anybody may see, whoever they are: that the server is there, and which Kubernetes it speaks.
const OPEN: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];

pub(super) fn answer(
    core: &Core,
    user: &User,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    query: &Query,
) -> Result<Response<ApiBody>, ApiError> {
    let trimmed = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    let open = OPEN
        .iter()
        .any(|open| trimmed == *open || trimmed.strip_prefix(open).is_some_and(|rest| rest.starts_with('/')));
    if !open {
        let verb = match *method {
            Method::GET => "get",
            Method::HEAD => "head",
            Method::POST => "post",
            Method::PUT => "put",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "options",
        };
        core.authorizer.require(user, &Attributes { verb, path, ..Attributes::default() })?;
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(ApiError::method_not_allowed());
    }
    let segments: Vec<&str> = trimmed.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        ["healthz" | "livez" | "readyz", check @ ..] => Ok(health(segments[0], check, query)),
        ["metrics"] => metrics(core),
        ["openapi", rest @ ..] => openapi::answer(core, rest, headers),
        _ => {
            let (encoding, shape) = negotiate::accept(headers, &[Shape::Aggregated])?;
            let document = document(core, &segments, shape)?;
            let mut response = encoded(encoding, StatusCode::OK, &document);
            if shape == Shape::Aggregated && matches!(segments.as_slice(), ["api" | "apis"]) {
                response.headers_mut().insert(
                    http::header::CONTENT_TYPE,
                    http::HeaderValue::from_static(
                        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
                    ),
                );
            }
            Ok(response)
        }
    }
}

fn document(core: &Core, segments: &[&str], shape: Shape) -> Result<Value, ApiError> {
    let snapshot = core.catalog.snapshot();
    let found = match segments {
        [] => Some(roots(core)),
        ["version"] => Some(discovery::version()),
        ["api"] if shape == Shape::Aggregated => Some(discovery::aggregated(&snapshot, true)),
        ["apis"] if shape == Shape::Aggregated => Some(discovery::aggregated(&snapshot, false)),
        ["api"] => Some(discovery::core_versions()),
        ["apis"] => Some(discovery::groups(&snapshot)),
        ["api", version] => discovery::resources(&snapshot, "", version),
        ["apis", group] => discovery::group(&snapshot, group),
        ["apis", group, version] => discovery::resources(&snapshot, group, version),
        ["openid", "v1", "jwks"] => Some(core.token_key.key_set()),
        [".well-known", "openid-configuration"] => Some(json!({
            "issuer": core.issuer, "jwks_uri": format!("{}/openid/v1/jwks", core.issuer),
            "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })),
        _ => None,
    };
    found.ok_or_else(|| match segments {
        ["api", ..] => ApiError::no_such_resource(),
        ["apis", group, ..] if snapshot.group(group).is_some() => ApiError::no_such_resource(),
        _ => ApiError::no_such_page(),
    })
}

fn roots(core: &Core) -> Value {
    let mut paths = vec![
        "/.well-known/openid-configuration".to_owned(),
        "/api".to_owned(),
        "/api/v1".to_owned(),
        "/apis".to_owned(),
    ];
    for group in core.catalog.snapshot().groups.iter().filter(|group| !group.name.is_empty()) {
        paths.push(format!("/apis/{}", group.name));
        paths.extend(group.versions.iter().map(|version| format!("/apis/{}/{}", group.name, version.name)));
    }
    for path in ["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"]
    {
        paths.push(path.to_owned());
    }
    json!({"paths": paths})
}

fn metrics(core: &Core) -> Result<Response<ApiBody>, ApiError> {
    // A clone, so that whoever replaces the source never waits for a slow one.
    let source = core.metrics.read().unwrap_or_else(PoisonError::into_inner).clone();
    let source = source.ok_or_else(ApiError::no_such_page)?;
    Ok(respond(StatusCode::OK, OPENMETRICS, full(source().into())))
}

fn health(name: &str, check: &[&str], query: &Query) -> Response<ApiBody> {
    // There is one process and one store in it: if this is answered, they are well.
    if query.flag("verbose") && check.is_empty() {
        let report = format!("[+]ping ok\n[+]store ok\n{name} check passed\n");
        return respond(StatusCode::OK, "text/plain; charset=utf-8", full(report.into()));
    }
    match check {
        [] | ["ping" | "store" | "etcd"] => text(StatusCode::OK, "ok"),
        _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}
