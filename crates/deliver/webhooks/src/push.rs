//! Whom a push concerns.

use gotmpl::semver::{Constraints, Version};
use regex::Regex;
use sync::glob;
use url::Url;

use crate::Refusal;

/// Something was pushed to a repository.
#[derive(Debug)]
pub struct Push {
    /// The repository, in each form that the payload gives, and what other spellings of it look like.
    repositories: Vec<(String, Regex)>,
    moved: Vec<Moved>,
    /// What changed; empty where the payload does not tell all of it.
    files: Vec<String>,
}

/// A branch or tag that moved, came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) revision: String,
    /// Whether it may be the default branch.
    pub(crate) head: bool,
}

/// No repository is called longer than this.
const LONGEST_URL: usize = 2048;
/// More spellings, branches or tags in one event are not looked at.
const MOST: usize = 1000;

impl Push {
    /// # Errors
    /// If the payload names no repository.
    pub(crate) fn new(urls: &[String], moved: Vec<Moved>, files: Vec<String>) -> Result<Self, Refusal> {
        let named: Vec<&String> = urls.iter().filter(|url| !url.is_empty()).take(MOST).collect();
        if named.is_empty() {
            return Err(Refusal::Payload { reason: "it names no repository".to_owned() });
        }
        let repositories = named.into_iter().map(|url| spellings(url)).collect::<Result<_, _>>()?;
        Ok(Self { repositories, moved: moved.into_iter().take(MOST).collect(), files })
    }

    /// The addresses of the repository that the payload gives, for people.
    pub fn repositories(&self) -> impl Iterator<Item = &str> {
        self.repositories.iter().map(|(url, _)| url.as_str())
    }

    /// Whether a `repoURL` is a spelling of the repository: over https or ssh, with a user or a port, with `.git`.
    #[must_use]
    pub fn is_of(&self, repo_url: &str) -> bool {
        repo_url.len() <= LONGEST_URL && self.repositories.iter().any(|(_, regex)| regex.is_match(repo_url))
    }

    /// Whether what a source tracks may have moved: a branch, a tag, a range of versions, or HEAD.
    #[must_use]
    pub fn moves(&self, target_revision: &str) -> bool {
        let name = last(target_revision);
        if name.is_empty() || name == "HEAD" {
            return self.moved.iter().any(|moved| moved.head);
        }
        let full = ["refs/heads/", "refs/tags/"].iter().any(|prefix| target_revision.starts_with(prefix));
        let target = if full { name } else { target_revision };
        let range = Constraints::parse(target).ok();
        self.moved.iter().any(|moved| {
            let in_range = |range: &Constraints| {
                Version::parse(&moved.revision).is_ok_and(|version| range.check(&version))
            };
            moved.revision == target || range.as_ref().is_some_and(in_range)
        })
    }

    /// Whether anything below these paths changed, as far as the payload tells. No paths are all of them; a path is a
    /// file, a directory or a glob.
    #[must_use]
    pub fn touches(&self, paths: &[String]) -> bool {
        if self.files.is_empty() || paths.is_empty() {
            return true;
        }
        self.files.iter().any(|file| {
            let file = file.trim_start_matches('/');
            paths.iter().any(|path| {
                let path = path.trim_matches('/');
                let below =
                    file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                path.is_empty() || path == "." || below || glob::matches_go(path, file)
            })
        })
    }
}

/// `refs/heads/main` is `main`, and `refs/heads/feature/x` is `feature/x`.
pub(crate) fn last(reference: &str) -> &str {
    reference.splitn(3, '/').last().unwrap_or_default()
}

/// The rule of Argo CD: protocol, user, `ssh.` before the host, port and `.git` may be there or not, and case is none.
fn spellings(url: &str) -> Result<(String, Regex), Refusal> {
    let refused = || Refusal::Payload { reason: "the address of its repository is no URL".to_owned() };
    let parsed = Url::parse(url).ok().filter(|_| url.len() <= LONGEST_URL).ok_or_else(refused)?;
    let host = parsed.host_str().ok_or_else(refused)?;
    let path = parsed.path().trim_start_matches('/');
    // Some hosts give the address that is cloned from and not that of the page.
    let path = path.strip_suffix(".git").unwrap_or(path);
    let pattern = format!(
        r"(?i)^((https?|ssh)://)?([A-Za-z0-9_.][A-Za-z0-9_.\-]{{0,31}}\$?@)?((alt)?ssh\.)?{}(:\d+)?[:/]{}(\.git)?$",
        regex::escape(host),
        regex::escape(path)
    );
    Ok((url.to_owned(), Regex::new(&pattern).map_err(|_| refused())?))
}

/// The paths of `argocd.argoproj.io/manifest-generate-paths` for one source, relative to the root of its repository.
#[must_use]
pub fn refresh_paths(annotation: &str, source_path: &str) -> Vec<String> {
    let items = annotation.split(';').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| match item.strip_prefix('/') {
            Some(absolute) => clean(absolute),
            None => clean(&format!("{source_path}/{item}")),
        })
        .collect()
}

/// Without `.`, `..` and empty parts; what leads above the root ends there.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
