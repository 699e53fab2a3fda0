//! Who is asking: a verified client certificate or a service-account token.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use objects::meta;

use crate::authz::Attributes;
use crate::core::Core;
use crate::error::ApiError;
use crate::object;
use crate::user::{AUTHENTICATED, User};

/// Who a transport says its peer is.
#[derive(Debug, Clone)]
pub(crate) enum Peer {
    /// In process: the composition root has decided.
    Trusted(User),
    /// Over a socket, with the certificate that the TLS layer verified.
    Certificate(User),
    Unknown,
}

/// The user of a request, impersonation included.
pub(crate) fn authenticate(core: &Core, peer: &Peer, headers: &HeaderMap) -> Result<User, ApiError> {
    let user = match (peer, bearer(headers)) {
        (Peer::Trusted(user), _) => user.clone(),
        (Peer::Certificate(user), _) => user.clone(),
        (Peer::Unknown, Some(presented)) => {
            let audiences = [core.issuer.clone()];
            let (user, _) = token(core, presented, &audiences, Timestamp::now()).map_err(|problem| {
                tracing::debug!(problem, "a bearer token was refused");
                ApiError::unauthorized()
            })?;
            user
        }
        (Peer::Unknown, None) if headers.contains_key(AUTHORIZATION) => return Err(ApiError::unauthorized()),
        (Peer::Unknown, None) => User::anonymous(),
    };
    impersonate(core, user, headers)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

/// The service account a token stands for and those of its audiences that were accepted.
pub(crate) fn token(
    core: &Core,
    presented: &str,
    audiences: &[String],
    now: Timestamp,
) -> Result<(User, Vec<String>), &'static str> {
    let claims = core.token_key.verify(presented, now).ok_or("invalid bearer token")?;
    if claims.iss != core.issuer {
        return Err("invalid bearer token");
    }
    let accepted: Vec<String> = claims.aud.iter().filter(|aud| audiences.contains(aud)).cloned().collect();
    if accepted.is_empty() {
        return Err("token audiences are not accepted");
    }
    let bound = &claims.kubernetes;
    let exists = |resource: &'static str, name: &str, uid: &str| {
        let key = store::Key::new(resource, Some(&bound.namespace), name);
        let found = core.store.get(&key).and_then(|stored| object::decode(&stored.bytes).ok());
        found.is_some_and(|found| uid.is_empty() || meta::uid(&found) == uid)
    };
    let account = &bound.serviceaccount;
    if !exists("serviceaccounts", &account.name, &account.uid) {
        return Err("service account has been deleted");
    }
    let mut user = User::service_account(&bound.namespace, &account.name);
    user.uid.clone_from(&account.uid);
    if let Some(pod) = &bound.pod {
        if !exists("pods", &pod.name, &pod.uid) {
            return Err("service account token has been invalidated");
        }
        user.extra.insert("authentication.kubernetes.io/pod-name".to_owned(), vec![pod.name.clone()]);
        user.extra.insert("authentication.kubernetes.io/pod-uid".to_owned(), vec![pod.uid.clone()]);
    }
    if let Some(secret) = &bound.secret
        && !exists("secrets", &secret.name, &secret.uid)
    {
        return Err("service account token has been invalidated");
    }
    user.extra
        .insert("authentication.kubernetes.io/credential-id".to_owned(), vec![format!("JTI={}", claims.jti)]);
    Ok((user, accepted))
}

/// Acts as somebody else, for those who may.
fn impersonate(core: &Core, user: User, headers: &HeaderMap) -> Result<User, ApiError> {
    let text = |value: &http::HeaderValue| value.to_str().map(str::to_owned).ok();
    let Some(name) = headers.get("impersonate-user").and_then(text) else {
        if headers.contains_key("impersonate-group") {
            return Err(ApiError::bad_request("requested groups without impersonating a user"));
        }
        return Ok(user);
    };
    let mut groups: Vec<String> = headers.get_all("impersonate-group").iter().filter_map(text).collect();
    let require = |resource: &str, namespace: &str, name: &str| {
        let attributes =
            Attributes { verb: "impersonate", resource, namespace, name, ..Attributes::default() };
        core.authorizer.require(&user, &attributes)
    };
    let mut acting = User::new(name.clone(), Vec::<String>::new());
    match acting.as_service_account() {
        Some((namespace, account)) => {
            require("serviceaccounts", namespace, account)?;
            if groups.is_empty() {
                groups = User::service_account(namespace, account).groups;
            }
        }
        None => require("users", "", &name)?,
    }
    for group in groups.iter().filter(|_| headers.contains_key("impersonate-group")) {
        require("groups", "", group)?;
    }
    if name == "system:anonymous" {
        return Ok(User::anonymous());
    }
    if !groups.iter().any(|group| group == AUTHENTICATED) {
        groups.push(AUTHENTICATED.to_owned());
    }
    acting.groups = groups;
    Ok(acting)
}
