//! The order in which objects are printed.

use std::cmp::Ordering;

use crate::Error;
use crate::config::{FIRST, LAST, rank};
use crate::id::{Gvk, Id};
use crate::kustomization::{LegacySortOptions, SortOptions};
use crate::resources::Resources;
use crate::schema::Schema;

/// Sorts as `sortOptions` say.
///
/// # Errors
/// If they contradict each other.
pub(crate) fn sort(resources: &mut Resources, options: &SortOptions, schema: &Schema) -> Result<(), Error> {
    match (options.order.as_str(), &options.legacy_sort_options) {
        ("fifo", Some(_)) => Err(Error::invalid(
            "the field 'sortOptions.legacySortOptions' is set but the selected sort order is 'fifo', not 'legacy'",
        )),
        ("fifo", None) => Ok(()),
        ("legacy", Some(own)) => {
            by_kind(resources, own, schema);
            Ok(())
        }
        ("legacy", None) => {
            legacy(resources, schema);
            Ok(())
        }
        _ => Err(Error::invalid("the field 'sortOptions.order' must be one of [fifo, legacy]")),
    }
}

/// Sorts by kind, namespaces and what others need first.
pub(crate) fn legacy(resources: &mut Resources, schema: &Schema) {
    let options = LegacySortOptions {
        order_first: FIRST.map(str::to_owned).into(),
        order_last: LAST.map(str::to_owned).into(),
    };
    by_kind(resources, &options, schema);
}

fn by_kind(resources: &mut Resources, options: &LegacySortOptions, schema: &Schema) {
    let mut keyed: Vec<_> = std::mem::take(&mut resources.list)
        .into_iter()
        .map(|resource| {
            let id = resource.id(schema);
            let rank = rank(&id.gvk.kind, &options.order_first, &options.order_last);
            (rank, id.gvk.sort_key(), sort_key(&id), id, resource)
        })
        .collect();
    keyed.sort_by(|a, b| {
        if a.3.gvk == b.3.gvk {
            return a.2.cmp(&b.2);
        }
        a.0.cmp(&b.0).then_with(|| compare(&a.3.gvk, &b.3.gvk, &a.1, &b.1))
    });
    resources.list = keyed.into_iter().map(|(.., resource)| resource).collect();
}

/// Core Namespaces come before other groups' kinds of that name.
fn compare(a: &Gvk, b: &Gvk, a_key: &str, b_key: &str) -> Ordering {
    let namespaces =
        a.kind == "Namespace" && b.kind == "Namespace" && (a.group.is_empty() || b.group.is_empty());
    if namespaces { b_key.cmp(a_key) } else { a_key.cmp(b_key) }
}

fn sort_key(id: &Id) -> String {
    let namespace = if id.namespace.is_empty() { "~X" } else { &id.namespace };
    let name = if id.name.is_empty() { "~N" } else { &id.name };
    format!("{}|{namespace}|{name}", id.gvk)
}
