//! One rule of a role.

use serde::Deserialize;

use super::Attributes;

/// A `PolicyRule`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    pub(crate) verbs: Vec<String>,
    pub(crate) api_groups: Vec<String>,
    pub(crate) resources: Vec<String>,
    pub(crate) resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    pub(crate) non_resource_urls: Vec<String>,
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|entry| entry == "*" || entry == wanted)
}

impl Rule {
    pub(crate) fn allows(&self, attributes: &Attributes<'_>) -> bool {
        if !has(&self.verbs, attributes.verb) {
            return false;
        }
        if !attributes.path.is_empty() {
            return self.non_resource_urls.iter().any(|url| match url.strip_suffix('*') {
                Some(prefix) => attributes.path.starts_with(prefix),
                None => url == attributes.path,
            });
        }
        has(&self.api_groups, attributes.group)
            && self.covers_resource(attributes.resource, attributes.subresource)
            && (self.resource_names.is_empty()
                || self.resource_names.iter().any(|name| name == attributes.name))
    }

    fn covers_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|entry| {
            if entry == "*" {
                return true;
            }
            match (entry.split_once('/'), subresource) {
                (None, "") => entry == resource,
                (Some((main, below)), wanted) if !wanted.is_empty() => {
                    below == wanted && (main == "*" || main == resource)
                }
                _ => false,
            }
        })
    }

    /// The rule taken apart into rules that name one thing in each place.
    pub(crate) fn atoms(&self) -> Vec<Rule> {
        let one = |text: &String| vec![text.clone()];
        let mut atoms = Vec::new();
        for verb in &self.verbs {
            for url in &self.non_resource_urls {
                atoms.push(Rule { verbs: one(verb), non_resource_urls: one(url), ..Rule::default() });
            }
            for group in &self.api_groups {
                for resource in &self.resources {
                    let atom = Rule {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        ..Rule::default()
                    };
                    if self.resource_names.is_empty() {
                        atoms.push(atom);
                    } else {
                        atoms.extend(
                            self.resource_names
                                .iter()
                                .map(|name| Rule { resource_names: one(name), ..atom.clone() }),
                        );
                    }
                }
            }
        }
        atoms
    }

    /// Whether this rule allows all that an [atom](Rule::atoms) does.
    pub(crate) fn covers(&self, atom: &Rule) -> bool {
        let each = |mine: &[String], theirs: &[String]| theirs.iter().all(|wanted| has(mine, wanted));
        if !each(&self.verbs, &atom.verbs) {
            return false;
        }
        if let [url] = atom.non_resource_urls.as_slice() {
            return self.non_resource_urls.iter().any(|own| match own.strip_suffix('*') {
                Some(prefix) => url.starts_with(prefix),
                None => own == url,
            });
        }
        let resource = atom.resources.iter().all(|wanted| match wanted.split_once('/') {
            None => has(&self.resources, wanted),
            Some((resource, subresource)) => self.covers_resource(resource, subresource),
        });
        let names = self.resource_names.is_empty()
            || (!atom.resource_names.is_empty()
                && atom.resource_names.iter().all(|name| self.resource_names.contains(name)));
        each(&self.api_groups, &atom.api_groups) && resource && names
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(value: serde_json::Value) -> Rule {
        serde_json::from_value(value).unwrap()
    }

    fn asks<'a>(verb: &'a str, resource: &'a str, subresource: &'a str, name: &'a str) -> Attributes<'a> {
        Attributes { verb, resource, subresource, name, ..Attributes::default() }
    }

    #[test]
    fn rules_match_as_upstream() {
        let pods = rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "*/scale"]}));
        assert!(pods.allows(&asks("get", "pods", "", "a")));
        assert!(!pods.allows(&asks("get", "pods", "log", "a")));
        assert!(pods.allows(&asks("get", "deployments", "scale", "a")));
        assert!(!pods.allows(&asks("list", "pods", "", "")));
        let named =
            rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": ["a"]}));
        assert!(named.allows(&asks("get", "pods", "log", "a")));
        assert!(!named.allows(&asks("list", "pods", "", "")));
        let urls = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/api/*"]}));
        let path = |path| Attributes { verb: "get", path, ..Attributes::default() };
        assert!(
            urls.allows(&path("/healthz"))
                && urls.allows(&path("/api/v1"))
                && !urls.allows(&path("/healthz/x"))
        );
    }

    #[test]
    fn a_rule_covers_no_more_than_it_allows() {
        let own = rule(json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}));
        let covered = |value| rule(value).atoms().iter().all(|atom| own.covers(atom));
        assert!(covered(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]})
        ));
        assert!(!covered(json!({"verbs": ["*"], "apiGroups": [""], "resources": ["pods"]})));
        assert!(!covered(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "secrets"]})));
    }
}
