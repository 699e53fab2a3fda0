//! Tokens of service accounts on request.

use http::{Response, StatusCode};
use jiff::Timestamp;
use objects::apply::{self, Writer};
use objects::schema::FieldError;
use objects::typing::Typing;
use objects::{GroupVersionKind, form, meta};
use serde_json::{Value, json};

use crate::core::Call;
use crate::error::ApiError;
use crate::handlers::answer;
use crate::http::ApiBody;
use crate::tokens::{Bound, Claims, Reference};
use crate::{input, object};

const DEFAULT_SECONDS: i64 = 3600;
const LEAST_SECONDS: i64 = 600;
const MOST_SECONDS: i64 = 1 << 32;

pub(super) fn create(call: &Call, body: &[u8]) -> Result<Response<ApiBody>, ApiError> {
    let mut request = input::body(&call.headers, body, "TokenRequest")?.value;
    input::typed(&mut request, "TokenRequest", "authentication.k8s.io/v1")?;
    let (namespace, name) = (&call.info.namespace, &call.info.name);
    let key = call.resource.key(namespace, name);
    let stored = call.core.store.get(&key).ok_or_else(|| call.not_found(name))?;
    let account = object::decode(&stored.bytes)?;
    let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
    if !(LEAST_SECONDS..=MOST_SECONDS).contains(&seconds) {
        let detail = if seconds < LEAST_SECONDS {
            "may not specify a duration less than 10 minutes"
        } else {
            "may not specify a duration larger than 2^32 seconds"
        };
        let problem = FieldError::invalid("spec.expirationSeconds", seconds.into(), detail);
        return Err(ApiError::invalid("authentication.k8s.io", "TokenRequest", "", &[problem]));
    }
    let mut audiences: Vec<String> = request["spec"]["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    if audiences.is_empty() {
        audiences.push(call.core.issuer.clone());
    }
    let now = call.now.as_second();
    let mut kubernetes = Bound {
        namespace: namespace.clone(),
        serviceaccount: Reference { name: name.clone(), uid: meta::uid(&account).to_owned() },
        ..Bound::default()
    };
    bind(call, &request["spec"]["boundObjectRef"], &mut kubernetes)?;
    let claims = Claims {
        iss: call.core.issuer.clone(),
        sub: format!("system:serviceaccount:{namespace}:{name}"),
        aud: audiences.clone(),
        exp: now + seconds,
        iat: now,
        nbf: now,
        jti: uuid::Uuid::new_v4().to_string(),
        kubernetes,
    };
    let token =
        call.core.token_key.sign(&claims).map_err(|error| ApiError::internal("sign a token", &error))?;
    let expires = Timestamp::from_second(claims.exp).unwrap_or(Timestamp::MAX);
    request["spec"]["audiences"] = audiences.into();
    request["spec"]["expirationSeconds"] = seconds.into();
    let spec = request["spec"].clone();
    request = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec,
        "metadata": {"name": name, "namespace": namespace, "uid": uuid::Uuid::new_v4().to_string(),
            "creationTimestamp": meta::format_time(call.now)}});
    form::canonical(&mut request);
    let manager = call.field_manager();
    let writer = Writer { manager: &manager, subresource: "token", now: call.now };
    let gvk = GroupVersionKind::of(&request).unwrap_or_default();
    let attributed = apply::update_managed_fields(None, &mut request, writer, Typing::of(&gvk));
    attributed.map_err(|error| ApiError::internal("attribute a token request", &error))?;
    request["status"] = json!({"token": token, "expirationTimestamp": meta::format_time(expires)});
    Ok(answer::encoded(call.encoding, StatusCode::CREATED, &request))
}

/// Binds the token to a Pod or Secret of the same namespace that exists and is the one meant.
fn bind(call: &Call, reference: &Value, bound: &mut Bound) -> Result<(), ApiError> {
    let Some(kind) = reference["kind"].as_str() else { return Ok(()) };
    let name = reference["name"].as_str().unwrap_or_default();
    let resource = match kind {
        "Pod" => "pods",
        "Secret" => "secrets",
        other => {
            let problem =
                FieldError::not_supported("spec.boundObjectRef.kind", other.into(), &["Pod", "Secret"]);
            return Err(ApiError::invalid("authentication.k8s.io", "TokenRequest", "", &[problem]));
        }
    };
    let key = store::Key::new(resource, Some(&bound.namespace), name);
    let stored = call.core.store.get(&key).ok_or_else(|| ApiError::not_found("", resource, name))?;
    let object = object::decode(&stored.bytes)?;
    let wanted = reference["uid"].as_str().unwrap_or_default();
    if !wanted.is_empty() && wanted != meta::uid(&object) {
        let because = format!(
            "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(ApiError::conflict("", resource, name, &because));
    }
    let reference = Some(Reference { name: name.to_owned(), uid: meta::uid(&object).to_owned() });
    if kind == "Pod" {
        if object["spec"]["serviceAccountName"] != bound.serviceaccount.name.as_str() {
            let detail = "cannot bind token for serviceaccount to pod running with different serviceaccount";
            return Err(ApiError::bad_request(detail));
        }
        bound.pod = reference;
    } else {
        bound.secret = reference;
    }
    Ok(())
}
