//! The build environment: `$ARGOCD_APP_NAME` and its like in Helm parameters and value file names.

use crate::application::Source;
use crate::generate::Request;

pub(super) struct Environment(Vec<(&'static str, String)>);

impl Environment {
    pub(super) fn new(request: &Request, source: &Source, revision: &str) -> Self {
        let short = |length: usize| revision.get(..length).unwrap_or(revision).to_owned();
        Self(vec![
            ("ARGOCD_APP_NAME", request.instance.clone()),
            ("ARGOCD_APP_NAMESPACE", request.destination_namespace.clone()),
            ("ARGOCD_APP_PROJECT_NAME", request.project.clone()),
            ("ARGOCD_APP_REVISION", revision.to_owned()),
            ("ARGOCD_APP_REVISION_SHORT", short(7)),
            ("ARGOCD_APP_REVISION_SHORT_8", short(8)),
            ("ARGOCD_APP_SOURCE_PATH", source.path().to_owned()),
            ("ARGOCD_APP_SOURCE_REPO_URL", source.repo_url().to_owned()),
            ("ARGOCD_APP_SOURCE_TARGET_REVISION", source.target_revision().to_owned()),
        ])
    }

    /// `$NAME` and `${NAME}` replaced, unknown names by nothing, `$$` by `$`.
    pub(super) fn substitute(&self, text: &str) -> String {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            result.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                result.push('$');
                rest = after;
                continue;
            }
            let (name, after) = match rest.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
                Some(split) => split,
                None => {
                    let end =
                        rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                    rest.split_at(end)
                }
            };
            if name.is_empty() {
                result.push('$');
            }
            result.push_str(self.0.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value));
            rest = after;
        }
        result.push_str(rest);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn substitutes() {
        let environment = Environment(vec![("ARGOCD_APP_NAME", "shop".to_owned())]);
        for (text, expected) in [
            ("values-$ARGOCD_APP_NAME.yaml", "values-shop.yaml"),
            ("${ARGOCD_APP_NAME}x$$y$UNKNOWN", "shopx$y"),
            ("cost: 5$ each", "cost: 5$ each"),
            ("plain", "plain"),
        ] {
            assert_eq!(environment.substitute(text), expected);
        }
    }
}
