//! Which generators of pull requests an event concerns.

use serde_json::Value;
use url::Url;

/// A pull request on GitHub that opened, closed or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    pub(crate) owner: String,
    pub(crate) repository: String,
    /// The host of the API, in lower case.
    pub(crate) api: String,
}

/// Where GitHub's own API is.
const GITHUB: &str = "https://api.github.com/";

impl PullRequest {
    /// Whether a `pullRequest` block asks for the pull requests of this repository. Owners and names have no case there.
    #[must_use]
    pub fn concerns(&self, generator: &Value) -> bool {
        let github = &generator["github"];
        let text = |field: &str| github[field].as_str().unwrap_or_default();
        let api = if text("api").is_empty() { GITHUB } else { text("api") };
        text("owner").eq_ignore_ascii_case(&self.owner)
            && text("repo").eq_ignore_ascii_case(&self.repository)
            && host(api).is_some_and(|host| host == self.api)
    }
}

pub(crate) fn host(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_lowercase)
}
