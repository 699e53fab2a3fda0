//! The options in a request's query, checked before anything is done, in upstream's words.

use objects::schema::{ErrorKind, FieldError};

use crate::core::Call;
use crate::error::ApiError;
use crate::http::{Verb, negotiate};

/// Bytes of a field manager's name.
const MANAGER_LIMIT: usize = 128;

/// Refuses options that are unknown or contradict each other.
pub(super) fn check(call: &Call) -> Result<(), ApiError> {
    let mut problems = Vec::new();
    let kind = match call.info.verb {
        Verb::Create => {
            write(call, &mut problems);
            "CreateOptions"
        }
        Verb::Update => {
            write(call, &mut problems);
            "UpdateOptions"
        }
        Verb::Patch => {
            patch(call, &mut problems);
            "PatchOptions"
        }
        Verb::Watch => {
            watch(call, &mut problems);
            "ListOptions"
        }
        Verb::List => {
            list(call, &mut problems);
            "ListOptions"
        }
        Verb::Get | Verb::Delete | Verb::DeleteCollection => return Ok(()),
    };
    if problems.is_empty() { Ok(()) } else { Err(invalid(kind, &problems)) }
}

pub(super) fn invalid(kind: &str, problems: &[FieldError]) -> ApiError {
    ApiError::invalid("meta.k8s.io", kind, "", problems)
}

fn write(call: &Call, problems: &mut Vec<FieldError>) {
    if let Some(manager) = call.query.get("fieldManager") {
        if manager.len() > MANAGER_LIMIT {
            let detail = format!("may not be more than {MANAGER_LIMIT} bytes");
            problems.push(FieldError::new(ErrorKind::TooLong, "fieldManager", manager.into(), detail));
        }
        if let Some(character) = manager.chars().find(|character| character.is_control()) {
            let detail = format!(
                "invalid character {:#06x} (at position 0), only printable characters are allowed",
                u32::from(character)
            );
            problems.push(FieldError::invalid("fieldManager", manager.into(), detail));
        }
    }
    dry_run(call.query.all("dryRun").filter(|value| !value.is_empty()), problems);
    if let Some(validation) = call.query.get("fieldValidation")
        && !matches!(validation, "Ignore" | "Strict" | "Warn")
    {
        let allowed = ["", "Ignore", "Strict", "Warn"];
        problems.push(FieldError::not_supported("fieldValidation", validation.into(), &allowed));
    }
}

pub(super) fn dry_run<'a>(values: impl Iterator<Item = &'a str>, problems: &mut Vec<FieldError>) {
    let values: Vec<&str> = values.collect();
    if values.iter().any(|value| *value != "All") {
        problems.push(FieldError::not_supported("dryRun", values.into(), &["All"]));
    }
}

fn patch(call: &Call, problems: &mut Vec<FieldError>) {
    let apply =
        negotiate::content_type(&call.headers).is_ok_and(|media| media == "application/apply-patch+yaml");
    if apply && call.query.get("fieldManager").is_none() {
        problems.push(FieldError::required("fieldManager", "is required for apply patch"));
    }
    if !apply && call.query.get("force").is_some() {
        problems.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
    }
    write(call, problems);
}

const MATCH: &str = "resourceVersionMatch";
const NOT_OLDER: &str = "NotOlderThan";

fn list(call: &Call, problems: &mut Vec<FieldError>) {
    let version = call.query.get("resourceVersion");
    if let Some(matching) = call.query.get(MATCH) {
        let mut forbid = |detail: &str| problems.push(FieldError::forbidden(MATCH, detail));
        if version.is_none() {
            forbid("resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if call.query.get("continue").is_some() {
            forbid("resourceVersionMatch is forbidden when continue is provided");
        }
        if !matches!(matching, "Exact" | NOT_OLDER) {
            problems.push(FieldError::not_supported(MATCH, matching.into(), &["Exact", NOT_OLDER, ""]));
        }
        if matching == "Exact" && version == Some("0") {
            let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            problems.push(FieldError::forbidden(MATCH, detail));
        }
    }
    if call.query.get("sendInitialEvents").is_some() {
        problems.push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
}

fn watch(call: &Call, problems: &mut Vec<FieldError>) {
    let matching = call.query.get(MATCH);
    let initial = call.query.get("sendInitialEvents").is_some();
    if initial && matching != Some(NOT_OLDER) {
        let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        problems.push(FieldError::forbidden(MATCH, detail));
    }
    let Some(matching) = matching else { return };
    if !initial {
        let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        problems.push(FieldError::forbidden(MATCH, detail));
    }
    if matching != NOT_OLDER {
        problems.push(FieldError::not_supported(MATCH, matching.into(), &[NOT_OLDER]));
    }
    if call.query.get("continue").is_some() {
        let detail = "resourceVersionMatch is forbidden when continue is provided";
        problems.push(FieldError::forbidden(MATCH, detail));
    }
}
