//! GitHub's API, and that of GitHub Enterprise.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use crate::Error;
use crate::app::{App, Tokens};
use crate::http::{Verb, ask};

const API: &str = "https://api.github.com/";
/// A page holds a hundred.
const PAGES: usize = 50;

/// Of which repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The address of the API; empty for GitHub's own.
    pub api: String,
    pub owner: String,
    pub name: String,
}

/// As whom the API is asked. Debug output shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Identity {
    Nobody,
    Token(String),
    App(App),
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Nobody",
            Self::Token(_) => "Token",
            Self::App(_) => "App",
        })
    }
}

/// An open pull request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pull {
    pub number: u64,
    pub title: String,
    /// Where it comes from.
    pub branch: String,
    pub target_branch: String,
    pub head_sha: String,
    pub author: String,
    pub labels: Vec<String>,
}

/// The open pull requests that carry all of these labels, newest first.
///
/// # Errors
/// If the API cannot be reached in time, refuses, or answers something else.
pub async fn pulls(
    repository: &Repository,
    identity: &Identity,
    labels: &[String],
    tokens: &Arc<Tokens>,
) -> Result<Vec<Pull>, Error> {
    let (repository, identity, tokens) = (repository.clone(), identity.clone(), Arc::clone(tokens));
    let labels = labels.to_vec();
    let asked = tokio::task::spawn_blocking(move || list(&repository, &identity, &labels, &tokens));
    asked.await.unwrap_or(Err(Error::Stopped))
}

fn list(
    repository: &Repository,
    identity: &Identity,
    labels: &[String],
    tokens: &Tokens,
) -> Result<Vec<Pull>, Error> {
    let address = if repository.api.is_empty() { API } else { &repository.api };
    let refused = |reason: String| Error::Url { url: address.to_owned(), reason };
    let api = Url::parse(address).map_err(|error| refused(error.to_string()))?;
    if !matches!(api.scheme(), "http" | "https") {
        return Err(refused("it is neither http nor https".to_owned()));
    }
    let token = match identity {
        Identity::Nobody => None,
        Identity::Token(token) => Some(token.clone()),
        Identity::App(app) => Some(tokens.of(&api, app, Timestamp::now())?),
    };
    let authorization = token.map(|token| format!("Bearer {token}"));
    let mut url = below(&api, &format!("repos/{}/{}/pulls", repository.owner, repository.name))?;
    url.set_query(Some("state=open&per_page=100"));
    let mut found = Vec::new();
    for _ in 0..PAGES {
        let page = ask(Verb::Get, &url, authorization.as_deref())?;
        let Some(list) = page.value.as_array() else {
            return Err(Error::Answer { url: crate::http::shown(&url), reason: "it is no list".to_owned() });
        };
        let carries = |pull: &Pull| labels.iter().all(|label| pull.labels.contains(label));
        found.extend(list.iter().map(read).filter(carries));
        match page.next {
            Some(next) => url = next,
            None => return Ok(found),
        }
    }
    Err(Error::Answer { url: crate::http::shown(&url), reason: format!("it has more than {PAGES} pages") })
}

/// A path of names below the API's address; a name cannot lead elsewhere.
pub(crate) fn below(api: &Url, path: &str) -> Result<Url, Error> {
    let mut url = api.clone();
    let refused = || Error::Url { url: crate::http::shown(api), reason: "it cannot have paths".to_owned() };
    url.set_query(None);
    let mut segments = url.path_segments_mut().map_err(|()| refused())?;
    segments.pop_if_empty().extend(path.split('/').filter(|name| !matches!(*name, "" | "." | "..")));
    drop(segments);
    Ok(url)
}

fn read(pull: &Value) -> Pull {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = pull["labels"].as_array().into_iter().flatten();
    Pull {
        number: pull["number"].as_u64().unwrap_or_default(),
        title: text(&pull["title"]),
        branch: text(&pull["head"]["ref"]),
        target_branch: text(&pull["base"]["ref"]),
        head_sha: text(&pull["head"]["sha"]),
        author: text(&pull["user"]["login"]),
        labels: labels.map(|label| text(&label["name"])).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_api() {
        let api: Url = "https://ghe.example.org/api/v3/".parse().unwrap();
        let place = |path: &str| below(&api, path).unwrap().to_string();
        assert_eq!(place("repos/o/r/pulls"), "https://ghe.example.org/api/v3/repos/o/r/pulls");
        assert_eq!(place("repos/../../x?y/pulls"), "https://ghe.example.org/api/v3/repos/x%3Fy/pulls");
    }
}
