//! Whether a request is from whoever holds the secret.

use base64::Engine as _;
use http::HeaderMap;
use ring::hmac::{self, Algorithm, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256};

use crate::secrets::{AZURE_PASSWORD, BITBUCKET, BITBUCKET_SERVER, GENERIC, GITHUB, GITLAB, GOGS};
use crate::{Host, Refusal, Secrets, text};

/// # Errors
/// If the host has a secret and the request does not show it.
pub(crate) fn check(host: Host, headers: &HeaderMap, body: &[u8], secrets: &Secrets) -> Result<(), Refusal> {
    let signed = |secret, header, key| signed(headers, body, &Signature { secret, header, key });
    match host {
        Host::GitHub => {
            // Old servers know the first form only; whoever sends the second is held to it.
            let newer = !text(headers, "x-hub-signature-256").is_empty();
            let older = !text(headers, "x-hub-signature").is_empty() && !newer;
            signed(&secrets.github, if older { "X-Hub-Signature" } else { "X-Hub-Signature-256" }, GITHUB)
        }
        Host::GitLab => shown(text(headers, "x-gitlab-token"), &secrets.gitlab, "X-Gitlab-Token", GITLAB),
        Host::Bitbucket => shown(text(headers, "x-hook-uuid"), &secrets.bitbucket, "X-Hook-UUID", BITBUCKET),
        // As upstream: a ping has no signature and tells nothing.
        Host::BitbucketServer if text(headers, "x-event-key") == "diagnostics:ping" => Ok(()),
        Host::BitbucketServer => signed(&secrets.bitbucket_server, "X-Hub-Signature", BITBUCKET_SERVER),
        Host::Gogs => signed(&secrets.gogs, "X-Gogs-Signature", GOGS),
        Host::AzureDevOps => azure(headers, secrets),
        Host::Generic if secrets.generic.is_empty() => Err(Refusal::NoSecret { key: GENERIC }),
        Host::Generic => signed(&secrets.generic, "X-Mainstay-Signature-256", GENERIC),
    }
}

struct Signature<'a> {
    secret: &'a str,
    header: &'static str,
    key: &'static str,
}

/// The hexadecimal HMAC of the body, with or without the name of its hash before it.
fn signed(headers: &HeaderMap, body: &[u8], signature: &Signature<'_>) -> Result<(), Refusal> {
    let Signature { secret, header, key } = *signature;
    if secret.is_empty() {
        return Ok(());
    }
    let sent = text(headers, header);
    if sent.is_empty() {
        return Err(Refusal::Unsigned { header });
    }
    let (algorithm, digits): (Algorithm, &str) = match sent.split_once('=') {
        Some(("sha1", digits)) => (HMAC_SHA1_FOR_LEGACY_USE_ONLY, digits),
        Some(("sha256", digits)) => (HMAC_SHA256, digits),
        _ => (HMAC_SHA256, sent),
    };
    // Nobody may choose the weaker hash where the stronger one is expected.
    let weak = algorithm == HMAC_SHA1_FOR_LEGACY_USE_ONLY;
    let tag = decoded(digits).filter(|_| !weak || (header == "X-Hub-Signature" && key == GITHUB));
    let verified = tag
        .is_some_and(|tag| hmac::verify(&hmac::Key::new(algorithm, secret.as_bytes()), body, &tag).is_ok());
    if verified { Ok(()) } else { Err(Refusal::Signature { header, key }) }
}

fn decoded(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

/// The secret itself, shown in a header.
fn shown(sent: &str, secret: &str, header: &'static str, key: &'static str) -> Result<(), Refusal> {
    if secret.is_empty() {
        return Ok(());
    }
    if sent.is_empty() {
        return Err(Refusal::Unsigned { header });
    }
    if same(sent, secret) { Ok(()) } else { Err(Refusal::Signature { header, key }) }
}

/// Compares in a time that depends on neither text but for its length.
fn same(sent: &str, secret: &str) -> bool {
    let key = hmac::Key::new(HMAC_SHA256, secret.as_bytes());
    let wanted = hmac::sign(&key, secret.as_bytes());
    hmac::verify(&key, sent.as_bytes(), wanted.as_ref()).is_ok()
}

fn azure(headers: &HeaderMap, secrets: &Secrets) -> Result<(), Refusal> {
    let wanted = (secrets.azure_username.as_str(), secrets.azure_password.as_str());
    if wanted == ("", "") {
        return Ok(());
    }
    let header = "Authorization";
    let sent = text(headers, "authorization");
    if sent.is_empty() {
        return Err(Refusal::Unsigned { header });
    }
    let decoded = sent.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let decoded = decoded.and_then(|(_, text)| base64::engine::general_purpose::STANDARD.decode(text).ok());
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let expected = format!("{}:{}", wanted.0, wanted.1);
    let key = AZURE_PASSWORD;
    if same(&decoded, &expected) { Ok(()) } else { Err(Refusal::Signature { header, key }) }
}
