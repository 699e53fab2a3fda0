//! Repairs the names by which objects refer to others whose names changed.

use crate::Error;
use crate::config::BackReference;
use crate::fieldspec::{self, FieldSpec};
use crate::id::{Gvk, Id};
use crate::node::Node;
use crate::resource::{PREFIXES, Resource, SUFFIXES};
use crate::resources::Resources;
use crate::schema::Schema;

/// What must be known of an object that others may name.
struct Candidate {
    now: Id,
    previous: Vec<Id>,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
}

impl Candidate {
    fn new(resource: &Resource, schema: &Schema) -> Self {
        Self {
            now: resource.id(schema),
            previous: resource.previous_ids(),
            prefixes: resource.annotation_list(PREFIXES),
            suffixes: resource.annotation_list(SUFFIXES),
        }
    }

    fn original(&self) -> &Id {
        self.previous.first().unwrap_or(&self.now)
    }

    fn was_selected(&self, gvk: &Gvk) -> bool {
        self.previous.iter().any(|id| id.gvk.is_selected(gvk))
    }

    /// Whether both were renamed in the same kustomizations.
    fn same_affixes(&self, other: &Self, allow_empty: bool) -> bool {
        let same =
            |a: &[String], b: &[String]| (allow_empty && (a.is_empty() || b.is_empty())) || same_ending(a, b);
        same(&self.prefixes, &other.prefixes) && same(&self.suffixes, &other.suffixes)
    }
}

fn same_ending(a: &[String], b: &[String]) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    if short.is_empty() { long.is_empty() } else { long.ends_with(short) }
}

/// Rewrites every reference to an object that was renamed.
pub(crate) fn repair(
    resources: &mut Resources,
    references: &[BackReference],
    schema: &Schema,
) -> Result<(), Error> {
    let candidates: Vec<Candidate> =
        resources.list.iter().map(|resource| Candidate::new(resource, schema)).collect();
    for (index, resource) in resources.list.iter_mut().enumerate() {
        let referrer = &candidates[index];
        let reachable = reachable(resource, referrer, &candidates)?;
        for reference in references {
            let target = Target { gvk: &reference.gvk, referrer, candidates: &reachable };
            if !reachable.iter().any(|candidate| candidate.was_selected(&reference.gvk)) {
                continue;
            }
            for spec in
                reference.referrers.iter().filter(|spec| referrer.original().gvk.is_selected(&spec.gvk))
            {
                target.update(resource, spec)?;
            }
        }
    }
    Ok(())
}

/// The objects that this one can name: in its namespace, or without one, or in one its subjects name.
fn reachable<'c>(
    resource: &Resource,
    referrer: &Candidate,
    candidates: &'c [Candidate],
) -> Result<Vec<&'c Candidate>, Error> {
    let subjects = subject_namespaces(resource)?;
    let fits = |candidate: &&Candidate| {
        referrer.now.cluster_scoped
            || candidate.now.cluster_scoped
            || candidate.now.same_namespace(&referrer.now)
            || subjects.contains(&candidate.now.namespace)
    };
    Ok(candidates.iter().filter(fits).collect())
}

fn subject_namespaces(resource: &Resource) -> Result<Vec<String>, Error> {
    let mut namespaces = Vec::new();
    if resource.kind() != "RoleBinding" {
        return Ok(namespaces);
    }
    let Some(Node::List(subjects)) = resource.node.get("subjects") else { return Ok(namespaces) };
    for subject in subjects {
        let account = subject.get("kind").is_some_and(|kind| kind.text() == "ServiceAccount");
        let Some(namespace) = subject.get("namespace").filter(|_| account) else { continue };
        match namespace {
            Node::Scalar(scalar) if scalar.is_string() => namespaces.push(scalar.text.clone()),
            _ => {
                return Err(Error::invalid(format!(
                    "Invalid Input: namespace is blank for resource {:?}\n",
                    resource.named()
                )));
            }
        }
    }
    Ok(namespaces)
}

/// One kind of objects, as one referrer names them.
struct Target<'a> {
    gvk: &'a Gvk,
    referrer: &'a Candidate,
    candidates: &'a [&'a Candidate],
}

impl<'a> Target<'a> {
    fn update(&self, resource: &mut Resource, spec: &FieldSpec) -> Result<(), Error> {
        let role = spec.path.ends_with("roleRef/name").then(|| role_reference(resource)).flatten();
        // The field is looked for in whatever version the object has now.
        let here = FieldSpec { gvk: resource.gvk(), ..spec.clone() };
        fieldspec::apply(resource, &here, None, &mut |node| self.set(node, role.as_ref())).map_err(|error| {
            let id = &self.referrer.now;
            error.within(format!("updating name reference in '{}' field of '{id}'", spec.path))
        })
    }

    fn set(&self, node: &mut Node, role: Option<&Gvk>) -> Result<(), Error> {
        if node.is_null() {
            return Ok(());
        }
        match node {
            Node::Scalar(_) => self.set_scalar(node, role),
            Node::Map(_) => self.set_map(node, role),
            Node::List(items) => {
                items.iter_mut().filter(|item| !item.is_null()).try_for_each(|item| match item {
                    Node::Scalar(_) => self.set_scalar(item, role),
                    Node::Map(_) => self.set_map(item, role),
                    Node::List(_) => Err(Error::invalid("a list of references must hold names or maps")),
                })
            }
        }
    }

    fn set_scalar(&self, node: &mut Node, role: Option<&Gvk>) -> Result<(), Error> {
        let all = self.candidates.iter().copied();
        match self.select(node.text(), all, role, |a, b| a.now.name == b.now.name)? {
            Some(found) if found.now.name != node.text() => {
                node.set_text(found.now.name.clone(), crate::node::Tag::Empty)
            }
            _ => Ok(()),
        }
    }

    /// A map with a name and perhaps a namespace, such as a subject.
    fn set_map(&self, node: &mut Node, role: Option<&Gvk>) -> Result<(), Error> {
        let Some(name) = node.get("name") else {
            return Err(Error::invalid("path config error; no 'name' field in node"));
        };
        let name = name.text().to_owned();
        let candidates = self.in_namespace(node.get("namespace").map(Node::text));
        let same =
            |a: &Candidate, b: &Candidate| a.now.name == b.now.name && a.now.namespace == b.now.namespace;
        let Some(found) = self.select(&name, candidates.into_iter(), role, same)? else { return Ok(()) };
        if found.now.name == name && found.now.namespace.is_empty() {
            return Ok(());
        }
        node.set_field_text("name", &found.now.name)?;
        if found.now.namespace.is_empty() {
            return Ok(());
        }
        node.set_field_text("namespace", &found.now.namespace)
    }

    fn in_namespace(&self, namespace: Option<&str>) -> Vec<&'a Candidate> {
        let Some(namespace) = namespace else { return self.candidates.to_vec() };
        let by = |id: fn(&Candidate) -> &Id| -> Vec<&'a Candidate> {
            let here = |candidate: &&&Candidate| id(candidate).effective_namespace() == namespace;
            self.candidates.iter().filter(here).copied().collect()
        };
        if namespace == crate::id::NO_NAMESPACE {
            return Vec::new();
        }
        let original = by(Candidate::original);
        if original.is_empty() { by(|candidate| &candidate.now) } else { original }
    }

    /// The one object that was called `name`; none if there is none or the name is no reference at all.
    fn select(
        &self,
        name: &str,
        candidates: impl Iterator<Item = &'a Candidate>,
        role: Option<&Gvk>,
        identical: impl Fn(&Candidate, &Candidate) -> bool,
    ) -> Result<Option<&'a Candidate>, Error> {
        let mut found: Vec<&Candidate> = candidates
            .filter(|candidate| candidate.previous.iter().any(|id| id.name == name))
            .filter(|candidate| candidate.was_selected(self.gvk))
            .filter(|candidate| role.is_none_or(|role| candidate.was_selected(role)))
            .filter(|candidate| self.is_near(candidate))
            .collect();
        if found.len() > 1 {
            found.retain(|candidate| candidate.same_affixes(self.referrer, true));
        }
        if found.len() > 1 {
            found.retain(|candidate| candidate.same_affixes(self.referrer, false));
        }
        match found.as_slice() {
            [] => Ok(None),
            [first, rest @ ..] if rest.iter().all(|other| identical(first, other)) => Ok(Some(first)),
            _ => {
                let ids: Vec<String> = found.iter().map(|candidate| candidate.now.to_string()).collect();
                Err(Error::invalid(format!("found multiple possible referrals: {}", ids.join(", "))))
            }
        }
    }

    fn is_near(&self, candidate: &Candidate) -> bool {
        self.referrer.now.cluster_scoped
            || candidate.now.cluster_scoped
            || candidate.now.gvk.kind == "ServiceAccount"
            || self.referrer.now.same_namespace(&candidate.now)
    }
}

/// The kind a binding's `roleRef` names.
fn role_reference(resource: &Resource) -> Option<Gvk> {
    let role = resource.node.get("roleRef")?;
    let text = |name: &str| role.get(name).map(|value| value.text().to_owned());
    Some(Gvk { group: text("apiGroup")?, version: String::new(), kind: text("kind")? })
}
