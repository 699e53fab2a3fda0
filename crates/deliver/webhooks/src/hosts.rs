//! The payloads of each host, as far as they say what moved.

use http::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::pulls::{self, PullRequest};
use crate::push::{Moved, Push, last};
use crate::{Event, Host, Refusal, text};

/// So much of what a header says goes back to its sender.
const LONGEST_NAME: usize = 64;
/// GitHub lists no more commits of a push.
const GITHUB_COMMITS: usize = 2048;
/// What of a pull request changes which ones are open, or how they look to a generator.
const ACTIONS: [&str; 6] = ["opened", "closed", "synchronize", "labeled", "reopened", "unlabeled"];

pub(crate) fn read(host: Host, headers: &HeaderMap, body: &[u8]) -> Result<Event, Refusal> {
    let unhandled = |event: &str, handled| {
        let event = event.chars().take(LONGEST_NAME).collect();
        Err(Refusal::Event { host, event, handled })
    };
    match host {
        Host::GitHub => match text(headers, "x-github-event") {
            "ping" => Ok(Event::Ping),
            "push" => parsed::<Pushed>(body)?.event(),
            "pull_request" => Ok(parsed::<Pull>(body)?.event()),
            other => unhandled(other, "push, pull_request and ping"),
        },
        Host::Gogs => match text(headers, "x-gogs-event") {
            "push" => parsed::<Pushed>(body)?.event(),
            other => unhandled(other, "push"),
        },
        Host::GitLab => match text(headers, "x-gitlab-event") {
            "Push Hook" | "Tag Push Hook" => parsed::<GitLab>(body)?.event(),
            "System Hook" => {
                let payload = parsed::<GitLab>(body)?;
                let kinds = [payload.object_kind.as_deref(), payload.event_name.as_deref()];
                let kind = kinds.into_iter().flatten().find(|kind| !kind.is_empty()).unwrap_or_default();
                match kind {
                    "push" | "tag_push" => payload.event(),
                    other => unhandled(other, "push and tag_push"),
                }
            }
            other => unhandled(other, "Push Hook, Tag Push Hook and System Hook"),
        },
        Host::Bitbucket => match text(headers, "x-event-key") {
            "repo:push" => parsed::<Bitbucket>(body)?.event(),
            other => unhandled(other, "repo:push"),
        },
        Host::BitbucketServer => match text(headers, "x-event-key") {
            "diagnostics:ping" => Ok(Event::Ping),
            "repo:refs_changed" => parsed::<BitbucketServer>(body)?.event(),
            other => unhandled(other, "repo:refs_changed and diagnostics:ping"),
        },
        Host::AzureDevOps => {
            let payload = parsed::<Azure>(body)?;
            match payload.event_type.as_str() {
                "git.push" => payload.event(),
                other => unhandled(other, "git.push"),
            }
        }
        Host::Generic => match text(headers, "x-mainstay-event") {
            "ping" => Ok(Event::Ping),
            "push" => parsed::<Generic>(body)?.event(),
            other => unhandled(other, "push and ping"),
        },
    }
}

/// The error names a place and no content.
fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => "a field is not of the type that this event has",
            _ => "it is no JSON",
        };
        let reason = format!("{what} (line {}, column {})", error.line(), error.column());
        Refusal::Payload { reason }
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Commit {
    added: Option<Vec<String>>,
    modified: Option<Vec<String>>,
    removed: Option<Vec<String>>,
}

fn files(commits: Vec<Commit>) -> Vec<String> {
    let lists = commits.into_iter().flat_map(|commit| [commit.added, commit.modified, commit.removed]);
    lists.flatten().flatten().collect()
}

/// A push as GitHub and Gogs tell it.
#[derive(Deserialize)]
struct Pushed {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(default)]
    created: bool,
    #[serde(default)]
    forced: bool,
    #[serde(default)]
    commits: Option<Vec<Commit>>,
    repository: PushedTo,
}

#[derive(Deserialize)]
struct PushedTo {
    html_url: String,
    #[serde(default)]
    default_branch: Option<String>,
}

impl Pushed {
    fn event(self) -> Result<Event, Refusal> {
        let commits = self.commits.unwrap_or_default();
        // A branch that came, or was rewritten, differs in more than its new commits.
        let complete = !self.created && !self.forced && commits.len() < GITHUB_COMMITS;
        let moved = moved(&self.reference, self.repository.default_branch.as_deref());
        push(vec![self.repository.html_url], vec![moved], if complete { files(commits) } else { Vec::new() })
    }
}

/// Where the default branch is not told, any may be it.
fn moved(reference: &str, default_branch: Option<&str>) -> Moved {
    let revision = last(reference).to_owned();
    let head = default_branch.is_none_or(|branch| branch.is_empty() || branch == revision);
    Moved { revision, head }
}

fn push(urls: Vec<String>, moved: Vec<Moved>, files: Vec<String>) -> Result<Event, Refusal> {
    Push::new(&urls, moved, files).map(Event::Push)
}

#[derive(Deserialize)]
struct Pull {
    action: String,
    repository: PullOf,
}

#[derive(Deserialize)]
struct PullOf {
    name: String,
    owner: Owner,
    url: String,
}

#[derive(Deserialize)]
struct Owner {
    login: String,
}

impl Pull {
    fn event(self) -> Event {
        let Self { action, repository } = self;
        match pulls::host(&repository.url) {
            Some(api) if ACTIONS.contains(&action.as_str()) => Event::PullRequest(PullRequest {
                owner: repository.owner.login,
                repository: repository.name,
                api,
            }),
            _ => Event::Ping,
        }
    }
}

#[derive(Deserialize)]
struct GitLab {
    #[serde(default)]
    object_kind: Option<String>,
    #[serde(default)]
    event_name: Option<String>,
    #[serde(rename = "ref", default)]
    reference: String,
    #[serde(default)]
    before: Option<String>,
    #[serde(default)]
    commits: Option<Vec<Commit>>,
    #[serde(default)]
    total_commits_count: Option<u64>,
    #[serde(default)]
    project: Option<GitLabProject>,
}

#[derive(Deserialize)]
struct GitLabProject {
    web_url: String,
    #[serde(default)]
    default_branch: Option<String>,
}

impl GitLab {
    fn event(self) -> Result<Event, Refusal> {
        let Some(project) = self.project else { return push(Vec::new(), Vec::new(), Vec::new()) };
        let commits = self.commits.unwrap_or_default();
        // Only the newest twenty are listed.
        let told = self.total_commits_count.is_none_or(|total| total <= commits.len() as u64);
        let came = self.before.is_some_and(|before| before.bytes().all(|byte| byte == b'0'));
        let moved = moved(&self.reference, project.default_branch.as_deref());
        push(vec![project.web_url], vec![moved], if told && !came { files(commits) } else { Vec::new() })
    }
}

#[derive(Deserialize)]
struct Bitbucket {
    repository: BitbucketRepository,
    push: BitbucketPush,
}

#[derive(Deserialize)]
struct BitbucketRepository {
    links: BitbucketLinks,
}

#[derive(Deserialize)]
struct BitbucketLinks {
    html: Link,
}

#[derive(Deserialize)]
struct Link {
    href: String,
}

#[derive(Deserialize)]
struct BitbucketPush {
    changes: Vec<BitbucketChange>,
}

#[derive(Deserialize)]
struct BitbucketChange {
    #[serde(default)]
    new: Option<BitbucketReference>,
    #[serde(default)]
    old: Option<BitbucketReference>,
}

#[derive(Deserialize)]
struct BitbucketReference {
    name: String,
}

impl Bitbucket {
    /// The payload names neither the default branch nor files.
    fn event(self) -> Result<Event, Refusal> {
        let names = self.push.changes.into_iter().filter_map(|change| change.new.or(change.old));
        let moved = names.map(|reference| Moved { revision: reference.name, head: true }).collect();
        push(vec![self.repository.links.html.href], moved, Vec::new())
    }
}

#[derive(Deserialize)]
struct BitbucketServer {
    repository: ServerRepository,
    changes: Vec<ServerChange>,
}

#[derive(Deserialize)]
struct ServerRepository {
    links: ServerLinks,
}

#[derive(Deserialize)]
struct ServerLinks {
    clone: Vec<CloneLink>,
}

#[derive(Deserialize)]
struct CloneLink {
    href: String,
    name: String,
}

#[derive(Deserialize)]
struct ServerChange {
    #[serde(rename = "ref")]
    reference: ServerReference,
}

#[derive(Deserialize)]
struct ServerReference {
    id: String,
}

impl BitbucketServer {
    /// The payload names neither the default branch nor files.
    fn event(self) -> Result<Event, Refusal> {
        let links = self.repository.links.clone.into_iter();
        let urls = links.filter(|link| matches!(link.name.as_str(), "http" | "ssh")).map(|link| link.href);
        let moved = self.changes.iter().map(|change| moved(&change.reference.id, None)).collect();
        push(urls.collect(), moved, Vec::new())
    }
}

#[derive(Deserialize)]
struct Azure {
    #[serde(rename = "eventType")]
    event_type: String,
    #[serde(default)]
    resource: Option<AzureResource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureResource {
    #[serde(default)]
    ref_updates: Vec<AzureUpdate>,
    repository: AzureRepository,
}

#[derive(Deserialize)]
struct AzureUpdate {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureRepository {
    remote_url: String,
    #[serde(default)]
    default_branch: Option<String>,
}

impl Azure {
    fn event(self) -> Result<Event, Refusal> {
        let Some(resource) = self.resource else { return push(Vec::new(), Vec::new(), Vec::new()) };
        let AzureRepository { remote_url, default_branch } = resource.repository;
        let default = default_branch.as_deref().map(last);
        let moved = resource.ref_updates.iter().map(|update| moved(&update.name, default)).collect();
        push(vec![remote_url], moved, Vec::new())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Generic {
    repository: String,
    #[serde(rename = "ref")]
    reference: String,
    #[serde(default)]
    default_branch: Option<String>,
    #[serde(default)]
    files: Vec<String>,
}

impl Generic {
    fn event(self) -> Result<Event, Refusal> {
        let moved = moved(&self.reference, self.default_branch.as_deref());
        push(vec![self.repository], vec![moved], self.files)
    }
}
