//! The ordered set of objects that a kustomization accumulates.

use regex::Regex;

use crate::Error;
use crate::id::Id;
use crate::kustomization::Selector;
use crate::resource::{Behavior, Resource};
use crate::schema::Schema;

/// Objects one build may hold.
const MAX_RESOURCES: usize = 20_000;

#[derive(Debug, Clone, Default)]
pub(crate) struct Resources {
    pub(crate) list: Vec<Resource>,
}

impl Resources {
    /// Adds an object that must be new.
    pub(crate) fn append(&mut self, resource: Resource, schema: &Schema) -> Result<(), Error> {
        let id = resource.id(schema);
        // Most objects differ in name, which is cheap to compare.
        let taken = |other: &Resource| other.name() == id.name && other.id(schema).same(&id);
        if self.list.iter().any(taken) {
            return Err(Error::invalid(format!("may not add resource with an already registered id: {id}")));
        }
        if self.list.len() >= MAX_RESOURCES {
            return Err(Error::Limit { what: "the number of objects", limit: MAX_RESOURCES });
        }
        self.list.push(resource);
        Ok(())
    }

    pub(crate) fn append_all(&mut self, more: Vec<Resource>, schema: &Schema) -> Result<(), Error> {
        more.into_iter().try_for_each(|resource| self.append(resource, schema))
    }

    /// Adds a generated object, or merges it into the one it names.
    pub(crate) fn absorb(&mut self, mut new: Resource, schema: &Schema) -> Result<(), Error> {
        let id = new.id(schema);
        let behavior = new.behavior();
        match self.with_any_id(|other| other.same(&id), schema).as_slice() {
            [] if matches!(behavior, Behavior::Merge | Behavior::Replace) => Err(Error::invalid(format!(
                "id {} does not exist; cannot merge or replace",
                id.for_developers()
            ))),
            [] => self.append(new, schema),
            &[index] => {
                let old = &self.list[index];
                match behavior {
                    Behavior::Replace => new.inherit(old)?,
                    Behavior::Merge => {
                        new.inherit(old)?;
                        crate::generate::merge_data(&mut new, old)?;
                        new.keep_origin(old)?;
                    }
                    Behavior::Create | Behavior::Unspecified => {
                        return Err(Error::invalid(format!(
                            "id {} exists; can not use behavior: '{}', behavior must be merge or replace",
                            id.for_developers(),
                            behavior.as_str()
                        )));
                    }
                }
                self.list[index] = new;
                Ok(())
            }
            _ => Err(Error::invalid(format!("found multiple objects that could accept merge of {id}"))),
        }
    }

    /// The objects that have or had an id that fits.
    pub(crate) fn with_any_id(&self, fits: impl Fn(&Id) -> bool, schema: &Schema) -> Vec<usize> {
        let has = |resource: &Resource| resource.all_ids(schema).iter().any(&fits);
        (0..self.list.len()).filter(|index| has(&self.list[*index])).collect()
    }

    /// The one object that has or had this id.
    pub(crate) fn by_id(&self, id: &Id, schema: &Schema) -> Result<usize, Error> {
        match self.with_any_id(|other| other.same(id), schema).as_slice() {
            [index] => Ok(*index),
            [] => Err(Error::invalid(format!(
                "no matches for Id {id}; failed to find unique target for patch {id}"
            ))),
            _ => Err(Error::invalid(format!(
                "multiple matches for Id {id}; failed to find unique target for patch {id}"
            ))),
        }
    }

    /// The objects a patch's target names: each part is a regular expression for the whole text.
    pub(crate) fn select(&self, selector: &Selector, schema: &Schema) -> Result<Vec<usize>, Error> {
        let expressions = Expressions::new(selector)?;
        let mut found = Vec::new();
        for (index, resource) in self.list.iter().enumerate() {
            let (now, original) = (resource.id(schema), resource.original_id(schema));
            let either = |expression: &Option<Regex>, a: &str, b: &str| {
                expression.as_ref().is_none_or(|expression| expression.is_match(a) || expression.is_match(b))
            };
            if either(&expressions.namespace, original.effective_namespace(), now.effective_namespace())
                && either(&expressions.name, &original.name, &now.name)
                && either(&expressions.group, &now.gvk.group, &now.gvk.group)
                && either(&expressions.version, &now.gvk.version, &now.gvk.version)
                && either(&expressions.kind, &now.gvk.kind, &now.gvk.kind)
                && Resource::matches(resource.labels(), &selector.label_selector)?
                && Resource::matches(resource.annotations(), &selector.annotation_selector)?
            {
                found.push(index);
            }
        }
        Ok(found)
    }
}

/// The regular expressions of a selector, each for the whole of a text.
pub(crate) struct Expressions {
    group: Option<Regex>,
    version: Option<Regex>,
    kind: Option<Regex>,
    name: Option<Regex>,
    namespace: Option<Regex>,
}

impl Expressions {
    pub(crate) fn new(selector: &Selector) -> Result<Self, Error> {
        let compile = |pattern: &str| {
            if pattern.is_empty() {
                return Ok(None);
            }
            Regex::new(&format!("^(?:{pattern})$")).map(Some).map_err(|_error| {
                Error::invalid(format!("error parsing regexp: {pattern:?} is not a regular expression"))
            })
        };
        Ok(Self {
            group: compile(&selector.group)?,
            version: compile(&selector.version)?,
            kind: compile(&selector.kind)?,
            name: compile(&selector.name)?,
            namespace: compile(&selector.namespace)?,
        })
    }

    /// Whether an id has every part.
    pub(crate) fn fit(&self, id: &Id) -> bool {
        let fits = |expression: &Option<Regex>, text: &str| {
            expression.as_ref().is_none_or(|expression| expression.is_match(text))
        };
        fits(&self.group, &id.gvk.group)
            && fits(&self.version, &id.gvk.version)
            && fits(&self.kind, &id.gvk.kind)
            && fits(&self.name, &id.name)
            && fits(&self.namespace, &id.namespace)
    }
}
