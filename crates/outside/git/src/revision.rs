//! From the name of a revision to a commit.

use git2::{Oid, Repository};

use crate::Error;
use crate::semver_range::Range;

/// The commit that a revision names: a full hash, a branch, a tag, a branch of `origin`, a full reference name, the
/// beginning of a hash, or a semantic version range over the tags. Empty and `HEAD` name the repository's HEAD.
pub(crate) fn resolve(repository: &Repository, revision: &str) -> Result<Oid, Error> {
    let not_found = || Error::Revision { revision: revision.to_owned() };
    if revision.is_empty() || revision == "HEAD" {
        let head = repository.head().and_then(|head| head.peel_to_commit());
        return head.map(|commit| commit.id()).map_err(|_| not_found());
    }
    if let Some(commit) = full_hash(repository, revision) {
        return Ok(commit);
    }
    let candidates = [
        format!("refs/heads/{revision}"),
        format!("refs/tags/{revision}"),
        format!("refs/remotes/origin/{revision}"),
        revision.to_owned(),
    ];
    for name in candidates {
        if name.starts_with("refs/")
            && let Ok(reference) = repository.find_reference(&name)
            && let Ok(commit) = reference.peel_to_commit()
        {
            return Ok(commit.id());
        }
    }
    if let Some(tag) = highest_tag(repository, revision) {
        let reference = repository.find_reference(&format!("refs/tags/{tag}"));
        let commit = reference.and_then(|reference| reference.peel_to_commit());
        return commit.map(|commit| commit.id()).map_err(|_| not_found());
    }
    if revision.len() >= 4
        && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
        && let Ok(object) = repository.find_object_by_prefix(revision, None)
        && let Ok(commit) = object.peel_to_commit()
    {
        return Ok(commit.id());
    }
    Err(not_found())
}

/// The commit with this full hash, if it is one and here.
pub(crate) fn full_hash(repository: &Repository, revision: &str) -> Option<Oid> {
    if revision.len() != 40 {
        return None;
    }
    let id = Oid::from_str(revision).ok()?;
    let object = repository.find_object(id, None).ok()?;
    object.peel_to_commit().ok().map(|commit| commit.id())
}

fn highest_tag(repository: &Repository, range: &str) -> Option<String> {
    let range = Range::parse(range)?;
    let tags = repository.tag_names(None).ok()?;
    let tags: Vec<String> = tags.iter().filter_map(|tag| tag.ok().flatten().map(str::to_owned)).collect();
    range.highest(tags.iter().map(String::as_str)).map(str::to_owned)
}
