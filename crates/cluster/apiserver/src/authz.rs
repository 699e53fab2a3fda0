//! Who may do what: role-based access control over the stored roles and bindings.
//!
//! Decisions are made on an index of roles by subject that is rebuilt when a role or binding changed, parsing only
//! what did. Members of `system:masters` pass before anything is looked up, so a broken role cannot lock them out.

mod escalation;
mod index;
mod rule;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use store::{Revision, Store};

use crate::error::ApiError;
use crate::user::{MASTERS, User};

pub(crate) use escalation::check as check_escalation;
use index::Index;
pub(crate) use rule::Rule;

/// What is to be decided.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attributes<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// For requests that are not about a resource; then the fields above but the verb are empty.
    pub(crate) path: &'a str,
}

impl Attributes<'_> {
    /// The sentence that refuses.
    pub(crate) fn refusal(&self, user: &User) -> String {
        if !self.path.is_empty() {
            return format!("User {:?} cannot {} path {:?}", user.name, self.verb, self.path);
        }
        let resource = if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        };
        let place = if self.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", self.namespace)
        };
        format!(
            "User {:?} cannot {} resource {resource:?} in API group {:?} {place}",
            user.name, self.verb, self.group
        )
    }
}

#[derive(Debug)]
pub(crate) struct Authorizer {
    store: Store,
    index: ArcSwap<Index>,
    building: Mutex<index::Parsed>,
}

impl Authorizer {
    pub(crate) fn new(store: Store) -> Authorizer {
        Authorizer { store, index: ArcSwap::default(), building: Mutex::default() }
    }

    /// Whether the user may.
    pub(crate) fn allows(&self, user: &User, attributes: &Attributes<'_>) -> bool {
        if user.in_group(MASTERS) {
            return true;
        }
        self.index().grants(user, attributes.namespace).any(|(_, rule)| rule.allows(attributes))
    }

    /// Why the user may, in upstream's words (none are needed for `system:masters`); `None` if they may not.
    pub(crate) fn decide(&self, user: &User, attributes: &Attributes<'_>) -> Option<String> {
        if user.in_group(MASTERS) {
            return Some(String::new());
        }
        let index = self.index();
        let (grant, _) =
            index.grants(user, attributes.namespace).find(|(_, rule)| rule.allows(attributes))?;
        Some(format!("RBAC: allowed by {grant}"))
    }

    /// An error if the user may not.
    pub(crate) fn require(&self, user: &User, attributes: &Attributes<'_>) -> Result<(), ApiError> {
        if self.allows(user, attributes) {
            return Ok(());
        }
        Err(ApiError::forbidden(
            attributes.group,
            attributes.resource,
            attributes.name,
            &attributes.refusal(user),
        ))
    }

    pub(crate) fn index(&self) -> Arc<Index> {
        let current = self.index.load();
        if current.revision == self.changed_at() {
            return Arc::clone(&current);
        }
        drop(current);
        let mut parsed = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let revision = self.changed_at();
        if self.index.load().revision != revision {
            self.index.store(Arc::new(parsed.refresh(&self.store, revision)));
        }
        self.index.load_full()
    }

    fn changed_at(&self) -> Revision {
        // Zero is the index that has never been built; the first revision of a store is one.
        index::RESOURCES.iter().map(|resource| self.store.changed_at(resource)).max().unwrap_or(0).max(1)
    }
}
