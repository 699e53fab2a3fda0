//! Columns of dynamic resource allocation.

use objects::meta;
use serde_json::Value;

use super::{AGE, NAME, Printer, at, created, items, joined, name, string, text};

pub(super) fn printer(plural: &str) -> Option<Printer> {
    Some(match plural {
        "resourceclaims" => Printer {
            columns: const { &[NAME, text("State"), AGE] },
            cells: |object, now| vec![name(object), state(object).into(), created(object, now)],
        },
        "resourceslices" => Printer {
            columns: const { &[NAME, text("Node"), text("Driver"), text("Pool"), AGE] },
            cells: |object, now| {
                let node = match string(object, "/spec/nodeName") {
                    "" => "<unset>",
                    node => node,
                };
                let cell = |pointer: &str| Value::from(string(object, pointer));
                vec![
                    name(object),
                    node.into(),
                    cell("/spec/driver"),
                    cell("/spec/pool/name"),
                    created(object, now),
                ]
            },
        },
        _ => Printer {
            columns: const { &[NAME, AGE] },
            cells: |object, now| vec![name(object), created(object, now)],
        },
    })
}

fn state(claim: &Value) -> String {
    let deleted = meta::is_deleting(claim);
    let allocated = at(claim, "/status/allocation").is_object();
    let reserved = allocated && !items(claim, "/status/reservedFor").is_empty();
    let states = [
        (deleted, "deleted"),
        (!allocated && !deleted, "pending"),
        (allocated, "allocated"),
        (reserved, "reserved"),
    ];
    joined(states.into_iter().filter(|(is, _)| *is).map(|(_, word)| word))
}
