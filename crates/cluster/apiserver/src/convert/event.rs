//! Events are stored as `v1` and also served as `events.k8s.io/v1`: the same facts under other names.

use serde_json::Value;

use super::rename;

/// (`v1`, `events.k8s.io/v1`).
const NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

pub(super) fn to_events_v1(object: &mut Value) {
    for (core, events) in NAMES {
        rename(object, core, events);
    }
}

pub(super) fn from_events_v1(object: &mut Value) {
    for (core, events) in NAMES {
        rename(object, events, core);
    }
}
