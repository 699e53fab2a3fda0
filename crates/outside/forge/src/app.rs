//! Tokens of installed GitHub Apps.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use url::Url;

use crate::Error;
use crate::http::{Verb, ask};

/// An installed GitHub App. Debug output shows no key.
#[derive(Clone, PartialEq, Eq)]
pub struct App {
    pub id: String,
    pub installation: String,
    /// In PEM.
    pub private_key: String,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("id", &self.id)
            .field("installation", &self.installation)
            .finish_non_exhaustive()
    }
}

/// A token that ends sooner than this is not used any more.
const MARGIN: SignedDuration = SignedDuration::from_mins(2);
/// The clocks of both sides may differ by this.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// A request for a token may be this old; GitHub takes ten minutes at most.
const LIFE: SignedDuration = SignedDuration::from_mins(8);

/// Tokens that are still good, by API, app and installation.
#[derive(Default)]
pub struct Tokens(Mutex<BTreeMap<[String; 3], (App, String, Timestamp)>>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    pub(crate) fn of(&self, api: &Url, app: &App, now: Timestamp) -> Result<String, Error> {
        let key = [api.to_string(), app.id.clone(), app.installation.clone()];
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((of, token, ends)) = known
            && of == *app
            && ends.duration_since(now) > MARGIN
        {
            return Ok(token);
        }
        let place = format!("app/installations/{}/access_tokens", app.installation);
        let url = crate::github::below(api, &place)?;
        let answer = ask(Verb::Post, &url, Some(&format!("Bearer {}", signed(app, now)?)))?.value;
        let unclear =
            || Error::Answer { url: crate::http::shown(&url), reason: "it has no token".to_owned() };
        let token = answer["token"].as_str().ok_or_else(unclear)?.to_owned();
        let ends = answer["expires_at"].as_str().and_then(|ends| ends.parse().ok()).unwrap_or(now);
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(key, (app.clone(), token.clone(), ends));
        Ok(token)
    }
}

/// A JSON Web Token that says who the app is.
fn signed(app: &App, now: Timestamp) -> Result<String, Error> {
    let refused = |reason: &str| Error::Key(reason.to_owned());
    let key = PrivateKeyDer::from_pem_slice(app.private_key.as_bytes())
        .map_err(|_| refused("it is no private key in PEM"))?;
    let pair = match &key {
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()),
        _ => return Err(refused("it is no RSA key")),
    };
    let pair = pair.map_err(|_| refused("it is no RSA key of 2048 bits or more"))?;
    let seconds = |time: Timestamp| time.as_second();
    let (from, to) = (now.saturating_sub(SKEW), now.saturating_add(LIFE));
    let (from, to) = (from.unwrap_or(now), to.unwrap_or(now));
    let header = json!({"alg": "RS256", "typ": "JWT"});
    let claims = json!({"iat": seconds(from), "exp": seconds(to), "iss": app.id});
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let mut signature = vec![0; pair.public().modulus_len()];
    let random = ring::rand::SystemRandom::new();
    pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature)
        .map_err(|_| refused("it cannot sign"))?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
