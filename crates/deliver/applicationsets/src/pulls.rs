//! Open pull requests as parameters.

use objects::Value;
use serde_json::{Map, json};

use crate::Parameters;

/// An open pull request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullRequest {
    pub number: u64,
    pub title: String,
    pub branch: String,
    pub target_branch: String,
    pub head_sha: String,
    pub author: String,
    pub labels: Vec<String>,
}

/// Branches become parts of names: so much of them leaves room for the rest.
const LONGEST_SLUG: usize = 50;

/// Refuses what the block asks for and nobody can answer.
pub(crate) fn check(block: &Value, place: &str) -> Result<(), String> {
    for host in ["gitlab", "gitea", "bitbucketServer", "bitbucket", "azuredevops"] {
        if block[host].is_object() {
            return Err(format!("{place}.{host}: pull requests of this host are not supported"));
        }
    }
    if !block["github"].is_object() {
        return Err("no Pull Request provider implementation configured".to_owned());
    }
    Ok(())
}

/// The parameters of a `pullRequest` block.
pub(crate) fn parameters(block: &Value, open: &[PullRequest], go: bool) -> Result<Vec<Parameters>, String> {
    let filters = block["filters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let filters = filters.iter().map(Filter::parse).collect::<Result<Vec<_>, _>>()?;
    let chosen = open.iter().filter(|pull| filters.is_empty() || filters.iter().any(|f| f.matches(pull)));
    Ok(chosen.map(|pull| of(pull, go)).collect())
}

fn of(pull: &PullRequest, go: bool) -> Parameters {
    let slug = |branch: &str| gotmpl::slug(&branch.replace('_', "-"), LONGEST_SLUG, true);
    let short = |length: usize| pull.head_sha.get(..length).unwrap_or(&pull.head_sha);
    let mut set = Map::new();
    for (key, text) in [
        ("number", pull.number.to_string()),
        ("title", pull.title.clone()),
        ("branch", pull.branch.clone()),
        ("branch_slug", slug(&pull.branch)),
        ("target_branch", pull.target_branch.clone()),
        ("target_branch_slug", slug(&pull.target_branch)),
        ("head_sha", pull.head_sha.clone()),
        ("head_short_sha", short(8).to_owned()),
        ("head_short_sha_7", short(7).to_owned()),
        ("author", pull.author.clone()),
    ] {
        set.insert(key.to_owned(), text.into());
    }
    if go {
        set.insert("labels".to_owned(), json!(pull.labels));
    }
    set
}

/// A part of a pull request that filters look at.
type Part = fn(&PullRequest) -> &str;

/// All expressions of one filter must match.
struct Filter(Vec<(Part, regex::bytes::Regex)>);

impl Filter {
    fn parse(filter: &Value) -> Result<Self, String> {
        let fields: [(&str, Part); 3] = [
            ("branchMatch", |pull| &pull.branch),
            ("targetBranchMatch", |pull| &pull.target_branch),
            ("titleMatch", |pull| &pull.title),
        ];
        let mut expressions = Vec::new();
        for (field, of) in fields {
            let Some(text) = filter[field].as_str() else { continue };
            let expression = gotmpl::compile_regex(text)
                .map_err(|error| format!("error compiling {field} regexp {text:?}: {error}"))?;
            expressions.push((of, expression));
        }
        Ok(Self(expressions))
    }

    fn matches(&self, pull: &PullRequest) -> bool {
        self.0.iter().all(|(of, expression)| expression.is_match(of(pull).as_bytes()))
    }
}
