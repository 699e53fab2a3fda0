//! Rules by subject.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use objects::selector::LabelSelector;
use serde_json::Value;
use store::{ListOptions, Revision, Scope, Store};

use super::Rule;
use crate::user::User;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Where roles and bindings are stored.
pub(super) const RESOURCES: [&str; 4] = [
    "rbac.authorization.k8s.io/clusterroles",
    "rbac.authorization.k8s.io/clusterrolebindings",
    "rbac.authorization.k8s.io/roles",
    "rbac.authorization.k8s.io/rolebindings",
];

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    User(String),
    Group(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum RoleName {
    Cluster(String),
    /// Namespace and name.
    Namespaced(String, String),
}

/// One stored object, parsed.
#[derive(Debug, Clone)]
enum Item {
    Role {
        name: RoleName,
        rules: Arc<Vec<Rule>>,
        labels: Value,
        aggregates: Vec<LabelSelector>,
    },
    /// Without a namespace it holds everywhere.
    Binding {
        namespace: Option<String>,
        grants: Vec<(Subject, Arc<Grant>)>,
    },
}

/// What a binding gives to one of its subjects. Displays as reviews explain it.
#[derive(Debug)]
pub(super) struct Grant {
    /// The namespace that the binding is in, if any.
    namespace: Option<String>,
    binding: String,
    role: RoleName,
    /// `User "jane"`.
    subject: String,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Grant { binding, subject, .. } = self;
        match &self.namespace {
            None => write!(f, "ClusterRoleBinding {binding:?}")?,
            Some(namespace) => write!(f, "RoleBinding {:?}", format!("{binding}/{namespace}"))?,
        }
        match &self.role {
            RoleName::Cluster(name) => write!(f, " of ClusterRole {name:?} to {subject}"),
            RoleName::Namespaced(_, name) => write!(f, " of Role {name:?} to {subject}"),
        }
    }
}

/// Roles that aggregate roles that aggregate roles: deeper is a circle.
const AGGREGATION_DEPTH: usize = 4;

/// The rules of a role and of those it aggregates.
fn collect<'a>(
    item: &Arc<Item>,
    items: &(impl Iterator<Item = &'a Arc<Item>> + Clone),
    depth: usize,
    all: &mut Vec<Arc<Vec<Rule>>>,
) {
    let Item::Role { rules, aggregates, .. } = &**item else { return };
    all.push(rules.clone());
    if depth == 0 || aggregates.is_empty() {
        return;
    }
    for other in items.clone() {
        let Item::Role { name: RoleName::Cluster(_), labels, .. } = &**other else { continue };
        let wanted = aggregates.iter().any(|selector| selector.matches(labels.as_object()));
        if wanted && !Arc::ptr_eq(item, other) {
            collect(other, items, depth - 1, all);
        }
    }
}

/// Resource and path of a stored object.
type Place = (&'static str, Arc<str>);

/// What was parsed for the last index, by resource and path.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    items: BTreeMap<Place, (Revision, Arc<Item>)>,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(super) revision: Revision,
    roles: HashMap<RoleName, Vec<Arc<Vec<Rule>>>>,
    everywhere: HashMap<Subject, Vec<Arc<Grant>>>,
    in_namespace: HashMap<String, HashMap<Subject, Vec<Arc<Grant>>>>,
}

impl Parsed {
    pub(super) fn refresh(&mut self, store: &Store, revision: Revision) -> Index {
        let mut fresh = BTreeMap::new();
        for resource in RESOURCES {
            let page = store.list(&Scope::new(resource, None), &ListOptions::default());
            for (path, object) in page.map(|page| page.items).unwrap_or_default() {
                let key = (resource, path);
                let item = match self.items.get(&key) {
                    Some((known, item)) if *known == object.revision => item.clone(),
                    _ => match parse(&object.bytes) {
                        Some(item) => Arc::new(item),
                        None => continue,
                    },
                };
                fresh.insert(key, (object.revision, item));
            }
        }
        self.items = fresh;
        Index::build(revision, self.items.values().map(|(_, item)| item))
    }
}

fn parse(bytes: &[u8]) -> Option<Item> {
    let object: Value = serde_json::from_slice(bytes).ok()?;
    let name = objects::meta::name(&object).to_owned();
    let namespace = objects::meta::namespace(&object).map(str::to_owned);
    if matches!(object["kind"].as_str()?, "ClusterRole" | "Role") {
        let rules = object["rules"].as_array().into_iter().flatten();
        let rules = rules.filter_map(|rule| serde_json::from_value(rule.clone()).ok()).collect();
        let selectors = object["aggregationRule"]["clusterRoleSelectors"].as_array();
        return Some(Item::Role {
            name: match namespace {
                Some(namespace) => RoleName::Namespaced(namespace, name),
                None => RoleName::Cluster(name),
            },
            rules: Arc::new(rules),
            labels: object["metadata"]["labels"].clone(),
            aggregates: selectors
                .into_iter()
                .flatten()
                .filter_map(|selector| LabelSelector::from_object(selector).ok())
                .collect(),
        });
    }
    let reference = &object["roleRef"];
    let role_name = reference["name"].as_str()?.to_owned();
    let role = match (reference["kind"].as_str()?, &namespace) {
        ("ClusterRole", _) => RoleName::Cluster(role_name),
        ("Role", Some(namespace)) => RoleName::Namespaced(namespace.clone(), role_name),
        _ => return None,
    };
    let subjects = object["subjects"].as_array().into_iter().flatten();
    let grants = subjects
        .filter_map(|entry| {
            let (subject, described) = subject(entry, namespace.as_deref())?;
            let (namespace, binding, role) = (namespace.clone(), name.clone(), role.clone());
            Some((subject, Arc::new(Grant { namespace, binding, role, subject: described })))
        })
        .collect();
    Some(Item::Binding { namespace, grants })
}

/// A subject, and how reviews name it.
fn subject(entry: &Value, namespace: Option<&str>) -> Option<(Subject, String)> {
    let name = entry["name"].as_str()?;
    let group = entry["apiGroup"].as_str().unwrap_or_default();
    match entry["kind"].as_str()? {
        "User" if group == GROUP => Some((Subject::User(name.to_owned()), format!("User {name:?}"))),
        "Group" if group == GROUP => Some((Subject::Group(name.to_owned()), format!("Group {name:?}"))),
        "ServiceAccount" if group.is_empty() => {
            let namespace = entry["namespace"].as_str().filter(|given| !given.is_empty()).or(namespace)?;
            let described = format!("ServiceAccount {:?}", format!("{name}/{namespace}"));
            Some((Subject::User(format!("system:serviceaccount:{namespace}:{name}")), described))
        }
        _ => None,
    }
}

impl Index {
    fn build<'a>(revision: Revision, items: impl Iterator<Item = &'a Arc<Item>> + Clone) -> Index {
        let mut index = Index { revision, ..Index::default() };
        for item in items.clone() {
            match &**item {
                Item::Role { name, .. } => {
                    let mut all = Vec::new();
                    collect(item, &items, AGGREGATION_DEPTH, &mut all);
                    index.roles.insert(name.clone(), all);
                }
                Item::Binding { namespace, grants } => {
                    let place = match namespace {
                        None => &mut index.everywhere,
                        Some(namespace) => index.in_namespace.entry(namespace.clone()).or_default(),
                    };
                    for (subject, grant) in grants {
                        place.entry(subject.clone()).or_default().push(Arc::clone(grant));
                    }
                }
            }
        }
        index
    }

    /// The rules that hold for a user in a namespace (empty: for the whole cluster).
    pub(crate) fn rules<'a>(
        &'a self,
        user: &User,
        namespace: &str,
    ) -> impl Iterator<Item = &'a Rule> + use<'a> {
        self.grants(user, namespace).map(|(_, rule)| rule)
    }

    /// The rules that hold for a user, each with what grants it.
    pub(super) fn grants<'a>(
        &'a self,
        user: &User,
        namespace: &str,
    ) -> impl Iterator<Item = (&'a Grant, &'a Rule)> + use<'a> {
        let mut subjects = vec![Subject::User(user.name.clone())];
        subjects.extend(user.groups.iter().cloned().map(Subject::Group));
        let mut grants: Vec<&Arc<Grant>> = Vec::new();
        for place in [Some(&self.everywhere), self.in_namespace.get(namespace)].into_iter().flatten() {
            grants.extend(subjects.iter().filter_map(|subject| place.get(subject)).flatten());
        }
        grants.into_iter().flat_map(|grant| {
            let rules = self.roles.get(&grant.role).into_iter().flatten();
            rules.flat_map(|rules| rules.iter()).map(|rule| (&**grant, rule))
        })
    }

    /// The rules of a role, aggregated ones included; `None` if there is no such role.
    pub(super) fn role(&self, namespace: Option<&str>, name: &str) -> Option<Vec<Rule>> {
        let name = match namespace {
            None => RoleName::Cluster(name.to_owned()),
            Some(namespace) => RoleName::Namespaced(namespace.to_owned(), name.to_owned()),
        };
        let rules = self.roles.get(&name)?;
        Some(rules.iter().flat_map(|rules| rules.iter().cloned()).collect())
    }
}
