//! The tags of a repository, page by page.

use http::Method;
use http::header::LINK;
use serde::Deserialize;

use super::http_client::Session;
use super::{Cause, get};
use crate::Reference;

/// Of one page.
const LIMIT: usize = 4 << 20;
/// More pages than any registry needs; one that always names another page ends here.
const PAGES: usize = 1000;
const TAGS: usize = 1_000_000;

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

pub(super) async fn list(session: &Session<'_>, reference: &Reference) -> Result<Vec<String>, Cause> {
    let own = format!("/v2/{}/tags/list", reference.repository());
    let mut path = own.clone();
    let mut tags = Vec::new();
    for _ in 0..PAGES {
        let response = get(session, Method::GET, &path, "application/json").await?;
        let link = response.headers().get(LINK).and_then(|value| value.to_str().ok());
        let next = link.and_then(|link| next_page(&own, link));
        let body = session.small_body(response, LIMIT).await?;
        let page: Page = serde_json::from_slice(&body)
            .map_err(|error| Cause::Tags(format!("the list of tags of {reference}: {error}")))?;
        tags.extend(page.tags.unwrap_or_default());
        if tags.len() > TAGS {
            break;
        }
        match next {
            Some(next) if next != path => path = next,
            _ => return Ok(tags),
        }
    }
    Err(Cause::Tags(format!("the list of tags of {reference} does not end")))
}

/// `</v2/a/tags/list?last=x&n=100>; rel="next"`: only the query is taken over, so that the next page is of the same
/// repository on the same host.
fn next_page(own: &str, link: &str) -> Option<String> {
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|parameter| {
        matches!(parameter.trim().split_once('='), Some((name, value))
            if name.trim() == "rel" && value.trim().trim_matches('"') == "next")
    });
    let (_, query) = target.split_once('?').filter(|_| is_next)?;
    Some(format!("{own}?{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_on_the_same_host() {
        let next = |link| next_page("/v2/a/tags/list", link);
        let wanted = Some("/v2/a/tags/list?last=1&n=2".to_owned());
        assert_eq!(next(r#"</v2/a/tags/list?last=1&n=2>; rel="next""#), wanted);
        assert_eq!(next(r#"<https://elsewhere/x?last=1&n=2>; rel=next"#), wanted);
        assert_eq!(next(r#"</v2/a/tags/list?last=1>; rel="prev""#), None);
        assert_eq!(next("nonsense"), None);
    }
}
