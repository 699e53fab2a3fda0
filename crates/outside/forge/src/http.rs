//! One request and its answer.

use std::io::Read as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use url::Url;

use crate::Error;

const DEADLINE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(10);
/// A page of pull requests is some hundred kilobytes.
const LARGEST: u64 = 16 << 20;
/// How much of a refusal is repeated.
const LONGEST_REASON: usize = 300;

/// An answer, and where the next page is.
pub(crate) struct Page {
    pub(crate) value: Value,
    pub(crate) next: Option<Url>,
}

#[derive(Clone, Copy)]
pub(crate) enum Verb {
    Get,
    Post,
}

pub(crate) fn ask(verb: Verb, url: &Url, authorization: Option<&str>) -> Result<Page, Error> {
    let agent = agent();
    let headers = [("Accept", "application/vnd.github+json"), ("X-GitHub-Api-Version", "2022-11-28")];
    let unreachable = |reason: String| Error::Unreachable { url: shown(url), reason };
    let sent = match verb {
        Verb::Get => {
            let mut request = agent.get(url.as_str());
            for (name, value) in
                headers.into_iter().chain(authorization.map(|value| ("Authorization", value)))
            {
                request = request.header(name, value);
            }
            request.call()
        }
        Verb::Post => {
            let mut request = agent.post(url.as_str());
            for (name, value) in
                headers.into_iter().chain(authorization.map(|value| ("Authorization", value)))
            {
                request = request.header(name, value);
            }
            request.send_empty()
        }
    };
    let response = sent.map_err(|error| unreachable(error.to_string()))?;
    let status = response.status();
    let link = response.headers().get("Link").and_then(|link| link.to_str().ok());
    let next = link.and_then(next_page).and_then(|next| url.join(&next).ok());
    let mut content = Vec::new();
    let body = response.into_body().into_with_config().limit(u64::MAX).reader();
    let read = body.take(LARGEST + 1).read_to_end(&mut content);
    read.map_err(|error| unreachable(error.to_string()))?;
    let unclear = |reason: String| Error::Answer { url: shown(url), reason };
    if content.len() as u64 > LARGEST {
        return Err(unclear(format!("it is larger than {LARGEST} bytes")));
    }
    let value: Result<Value, _> = serde_json::from_slice(&content);
    if !status.is_success() {
        let said = value.ok().and_then(|value| Some(value["message"].as_str()?.to_owned()));
        let reason: String = said.unwrap_or_default().chars().take(LONGEST_REASON).collect();
        return Err(Error::Refused { url: shown(url), status: status.as_u16(), reason });
    }
    let value = value.map_err(|error| unclear(error.to_string()))?;
    // A page elsewhere would get the credentials of this host.
    let next = next.filter(|next| next.origin() == url.origin());
    Ok(Page { value, next })
}

/// Redirects are answers here: a host that moved is told to whoever wrote its address.
fn agent() -> ureq::Agent {
    static AGENT: OnceLock<ureq::Agent> = OnceLock::new();
    let make = || {
        let found = rustls_native_certs::load_native_certs();
        let roots: Vec<_> = found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent("mainstay")
            .timeout_global(Some(DEADLINE))
            .timeout_connect(Some(CONNECT))
            .build()
            .new_agent()
    };
    AGENT.get_or_init(make).clone()
}

/// Without what may be secret.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

/// The address of `rel="next"` in a `Link` header.
fn next_page(link: &str) -> Option<String> {
    let parts = link.split(',').find(|part| part.contains("rel=\"next\""))?;
    let (address, _) = parts.trim().strip_prefix('<')?.split_once('>')?;
    Some(address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        let link = r#"<https://h/x?page=1>; rel="prev", <https://h/x?page=3>; rel="next""#;
        assert_eq!(next_page(link).as_deref(), Some("https://h/x?page=3"));
        assert_eq!(next_page(r#"<https://h/x?page=1>; rel="first""#), None);
    }

    #[test]
    fn secrets_of_an_address_are_not_shown() {
        let url: Url = "https://alice:sesame@h/x?token=t".parse().unwrap();
        assert_eq!(shown(&url), "https://h/x");
    }
}
