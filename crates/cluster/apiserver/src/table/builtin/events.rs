//! Events, of both groups.

use jiff::Timestamp;
use serde_json::Value;

use super::{Column, Printer, at, integer, name, string, text, wide};
use crate::table::age;

const COLUMNS: &[Column] = &[
    text("Last Seen"),
    text("Type"),
    text("Reason"),
    text("Object"),
    wide("Subobject"),
    wide("Source"),
    text("Message"),
    wide("First Seen"),
    wide("Count"),
    Column { name: "Name", kind: "string", format: "name", wide: true },
];

pub(super) const CORE: Printer = Printer {
    columns: COLUMNS,
    cells: |event, now| {
        cells(
            event,
            now,
            &Names {
                object: "involvedObject",
                message: "message",
                first: "firstTimestamp",
                last: "lastTimestamp",
                count: "count",
                source: "source",
                reporter: "reportingComponent",
            },
        )
    },
};

pub(super) const EVENTS_V1: Printer = Printer {
    columns: COLUMNS,
    cells: |event, now| {
        cells(
            event,
            now,
            &Names {
                object: "regarding",
                message: "note",
                first: "deprecatedFirstTimestamp",
                last: "deprecatedLastTimestamp",
                count: "deprecatedCount",
                source: "deprecatedSource",
                reporter: "reportingController",
            },
        )
    },
};

/// What the fields are called in a group.
struct Names {
    object: &'static str,
    message: &'static str,
    first: &'static str,
    last: &'static str,
    count: &'static str,
    source: &'static str,
    reporter: &'static str,
}

fn cells(event: &Value, now: Timestamp, names: &Names) -> Vec<Value> {
    let time = |field: &str| event[field].as_str().filter(|time| !time.is_empty());
    let event_time = time("eventTime");
    let first = time(names.first).or(event_time);
    let series = at(event, "/series/lastObservedTime").as_str();
    let last = series.or(time(names.last)).or(first);
    let shown = |time: Option<&str>| Value::from(time.map_or("<unknown>".to_owned(), |time| age(time, now)));
    let count = match (at(event, "/series/count").as_i64(), integer(event, &format!("/{}", names.count))) {
        (Some(count), _) => count,
        (None, 0) => 1,
        (None, count) => count,
    };
    let object = &event[names.object];
    let target = format!("{}/{}", string(object, "/kind").to_lowercase(), string(object, "/name"));
    let component = event[names.source]["component"].as_str().filter(|component| !component.is_empty());
    let mut source = component.or(event[names.reporter].as_str()).unwrap_or_default().to_owned();
    if let Some(host) = event[names.source]["host"].as_str().filter(|host| !host.is_empty()) {
        source.push_str(", ");
        source.push_str(host);
    }
    vec![
        shown(last),
        string(event, "/type").into(),
        string(event, "/reason").into(),
        target.into(),
        string(object, "/fieldPath").into(),
        source.into(),
        event[names.message].as_str().unwrap_or_default().trim().into(),
        shown(first),
        count.into(),
        name(event),
    ]
}
