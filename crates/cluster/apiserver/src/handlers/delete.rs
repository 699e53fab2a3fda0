//! Deletes: at once, or when finalizers and grace periods allow it.

use http::{Response, StatusCode};
use objects::meta;
use objects::schema::FieldError;
use serde_json::{Value, json};
use store::{Expected, Object};

use super::{answer, options};
use crate::core::Call;
use crate::error::ApiError;
use crate::http::ApiBody;
use crate::write::{self, Outcome};
use crate::{convert, input, kinds, object};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
/// Seconds that a Pod gets to end when nobody says otherwise.
const POD_GRACE: i64 = 30;

/// What becomes of the objects that an object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// `DeleteOptions`, from the body and the query.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) grace: Option<i64>,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) dry_run: bool,
}

impl Options {
    pub(crate) fn of(call: &Call, body: &[u8]) -> Result<Options, ApiError> {
        let value = if body.is_empty() {
            Value::Null
        } else {
            input::body(&call.headers, body, "DeleteOptions")?.value
        };
        let mut options = Options::of_value(&value)?;
        let mut problems = Vec::new();
        options::dry_run(call.query.all("dryRun").filter(|value| !value.is_empty()), &mut problems);
        if !problems.is_empty() {
            return Err(options::invalid("DeleteOptions", &problems));
        }
        options.dry_run |= call.dry_run();
        if let Some(seconds) = call.query.get("gracePeriodSeconds") {
            let seconds = seconds.parse().map_err(|_| {
                ApiError::bad_request(format!("strconv.ParseInt: parsing {seconds:?}: invalid syntax"))
            })?;
            options.grace = Some(seconds);
        }
        if let Some(policy) = call.query.get("propagationPolicy") {
            options.propagation = Some(propagation(policy)?);
        }
        if call.query.get("orphanDependents").is_some() {
            let orphan = call.query.flag("orphanDependents");
            options.propagation = Some(if orphan { Propagation::Orphan } else { Propagation::Background });
        }
        Ok(options)
    }

    pub(crate) fn of_value(value: &Value) -> Result<Options, ApiError> {
        let dry: Vec<&str> =
            value["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut problems = Vec::new();
        if let (Some(policy), Some(_)) =
            (value["propagationPolicy"].as_str(), value["orphanDependents"].as_bool())
        {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            problems.push(FieldError::invalid("propagationPolicy", policy.into(), detail));
        }
        options::dry_run(dry.iter().copied(), &mut problems);
        if !problems.is_empty() {
            return Err(options::invalid("DeleteOptions", &problems));
        }
        let dry_run = !dry.is_empty();
        let propagation = match (value["propagationPolicy"].as_str(), value["orphanDependents"].as_bool()) {
            (Some(policy), _) => Some(propagation(policy)?),
            (None, Some(true)) => Some(Propagation::Orphan),
            (None, Some(false)) => Some(Propagation::Background),
            (None, None) => None,
        };
        let text = |field: &str| value["preconditions"][field].as_str().map(str::to_owned);
        Ok(Options {
            grace: value["gracePeriodSeconds"].as_i64(),
            propagation,
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            dry_run,
        })
    }
}

fn propagation(policy: &str) -> Result<Propagation, ApiError> {
    match policy {
        "Orphan" => Ok(Propagation::Orphan),
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        other => {
            let allowed = ["Foreground", "Background", "Orphan", "nil"];
            let problem = FieldError::not_supported("propagationPolicy", other.into(), &allowed);
            Err(options::invalid("DeleteOptions", &[problem]))
        }
    }
}

/// What a delete led to.
pub(crate) enum Deleted {
    /// The object is gone; this was its last state.
    Gone(Value),
    /// The object waits for its finalizers or its grace period.
    Pending(Object),
}

pub(super) async fn delete(call: &Call, body: &[u8]) -> Result<Response<ApiBody>, ApiError> {
    let options = Options::of(call, body)?;
    match remove(call, &call.info.name, &options).await? {
        Deleted::Pending(object) => answer::stored(call, StatusCode::OK, &object),
        Deleted::Gone(last) if returns_object(call) => answer::value(call, StatusCode::OK, last),
        Deleted::Gone(last) => {
            let resource = &call.resource;
            let mut details =
                json!({"name": meta::name(&last), "kind": resource.plural, "uid": meta::uid(&last)});
            if !resource.group.is_empty() {
                details["group"] = resource.group.clone().into();
            }
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
            Ok(answer::encoded(call.encoding, StatusCode::OK, &status))
        }
    }
}

/// Kinds whose delete answers with the object, as upstream.
fn returns_object(call: &Call) -> bool {
    let plural = call.resource.plural.as_str();
    call.resource.group == "resource.k8s.io"
        || call.resource.group.is_empty()
            && matches!(
                plural,
                "pods"
                    | "services"
                    | "serviceaccounts"
                    | "persistentvolumes"
                    | "persistentvolumeclaims"
                    | "podtemplates"
                    | "resourcequotas"
            )
}

/// Deletes the object of that name, or begins to.
pub(crate) async fn remove(call: &Call, name: &str, options: &Options) -> Result<Deleted, ApiError> {
    let resource = &call.resource;
    let key = resource.key(&call.info.namespace, name);
    loop {
        let current = call.core.store.get(&key).ok_or_else(|| call.not_found(name))?;
        let old = object::decode(&current.bytes)?;
        preconditions(call, &old, options)?;
        protected(call, &old)?;
        let mut new = old.clone();
        set_propagation(&mut new, options.propagation);
        // What nothing holds back goes as it is; only Pods say even then that they were deleted.
        let at_once = !call.resource.is("", "pods") && !meta::is_deleting(&old) && !write::is_held(&new);
        let grace = if at_once { 0 } else { mark(call, &mut new, options) };
        let finished = at_once || (write::is_finished(&new) && grace == 0);
        if options.dry_run {
            let object = object::draft(&new).seal(current.revision);
            return gone_or_pending(call, finished, object);
        }
        if !finished && new == old {
            return Ok(Deleted::Pending(current));
        }
        if !at_once && meta::generation(&old) > 0 && !meta::is_deleting(&old) {
            meta::set(&mut new, "generation", json!(meta::generation(&old) + 1));
        }
        let expected = Expected::At(current.revision);
        let draft = object::draft(&new);
        let result = if finished {
            call.core.store.delete(key.clone(), expected, draft).await
        } else {
            call.core.store.update(key.clone(), expected, draft).await
        };
        match result {
            Ok(object) => {
                let outcome = if finished { Outcome::Removed } else { Outcome::Updated };
                kinds::after_write(call, &new, outcome).await;
                return gone_or_pending(call, finished, object);
            }
            // Somebody else was faster; what they wrote is looked at like the first. Each turn means another's
            // progress, so this ends.
            Err(store::Error::Conflict { .. }) => {}
            Err(store::Error::NotFound { .. }) => return Err(call.not_found(name)),
            Err(error) => return Err(write::stored(&error)),
        }
    }
}

fn gone_or_pending(call: &Call, finished: bool, object: Object) -> Result<Deleted, ApiError> {
    if !finished {
        return Ok(Deleted::Pending(object));
    }
    let mut last = object::decode(&object.bytes)?;
    convert::to_requested(&call.resource, &mut last)?;
    Ok(Deleted::Gone(last))
}

fn preconditions(call: &Call, old: &Value, options: &Options) -> Result<(), ApiError> {
    let resource = &call.resource;
    let refuse = |what: &str, wanted: &str, actual: &str, perhaps: &str| {
        let because = format!(
            "the {what} in the precondition ({wanted}) does not match the {what} in record ({actual}). The object might have been {perhaps}"
        );
        Err(ApiError::conflict(&resource.group, &resource.kind, meta::name(old), &because))
    };
    if let Some(wanted) = &options.uid
        && wanted != meta::uid(old)
    {
        return refuse("UID", wanted, meta::uid(old), "deleted and then recreated");
    }
    if let Some(wanted) = &options.resource_version
        && wanted != meta::resource_version(old)
    {
        return refuse("ResourceVersion", wanted, meta::resource_version(old), "modified");
    }
    Ok(())
}

/// Namespaces that the server itself needs.
fn protected(call: &Call, old: &Value) -> Result<(), ApiError> {
    let name = meta::name(old);
    if call.resource.is("", "namespaces") && matches!(name, "default" | "kube-system" | "kube-public") {
        return Err(ApiError::forbidden("", "namespaces", name, "this namespace may not be deleted"));
    }
    Ok(())
}

fn set_propagation(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else { return };
    for (finalizer, wanted) in
        [(ORPHAN, propagation == Propagation::Orphan), (FOREGROUND, propagation == Propagation::Foreground)]
    {
        if wanted {
            meta::add_finalizer(object, finalizer);
        } else {
            meta::remove_finalizer(object, finalizer);
        }
    }
}

/// Marks the object as under deletion and returns the grace period that now holds, in seconds.
fn mark(call: &Call, object: &mut Value, options: &Options) -> i64 {
    let before = meta::is_deleting(object)
        .then(|| object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0));
    let asked = if call.resource.is("", "pods") { pod_grace(object, options.grace) } else { 0 };
    let grace = match before {
        // A period that runs can only be shortened.
        Some(before) if before <= asked || (options.grace.is_none() && before > 0) => return before,
        _ => asked,
    };
    let end = jiff::Timestamp::from_second(call.now.as_second().saturating_add(grace)).unwrap_or(call.now);
    meta::set(object, "deletionTimestamp", meta::format_time(end).into());
    meta::set(object, "deletionGracePeriodSeconds", json!(grace));
    if call.resource.is("", "namespaces") {
        object["status"]["phase"] = "Terminating".into();
    }
    grace
}

/// A Pod that runs nowhere or has ended needs no time to end.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let spec = &pod["spec"];
    let grace = asked.or_else(|| spec["terminationGracePeriodSeconds"].as_i64()).unwrap_or(POD_GRACE);
    let unscheduled = spec["nodeName"].as_str().unwrap_or_default().is_empty();
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    // Upstream: a negative period means the shortest that still lets the kubelet act.
    match grace {
        _ if unscheduled || ended => 0,
        negative if negative < 0 => 1,
        grace => grace,
    }
}
