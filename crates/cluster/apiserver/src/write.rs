//! How an object gets into the store: what every write goes through, whatever verb asked for it.
//!
//! Order, as upstream: the body is decoded and its fields checked, metadata is filled in, defaults, admission,
//! validation, managed fields, then the store. An update is decided on the object it read and stored only if
//! that is still the newest.

use objects::{apply, form, meta};
use serde_json::{Value, json};
use store::{Expected, Object};

use crate::core::Call;
use crate::error::ApiError;
use crate::http::Verb;
use crate::{admission, authz, convert, fields, kinds, object, quota, validation};

/// How the fields of a write are attributed.
#[derive(Debug, Clone)]
pub(crate) enum Ownership {
    /// To this manager, as an update.
    Update(String),
    /// Already attributed: server-side apply did it.
    Applied,
}

/// The outcome of a write.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) object: Object,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Created,
    Updated,
    /// The new object equals the old one: nothing was written.
    Unchanged,
    /// The update removed the last finalizer of an object under deletion.
    Removed,
}

pub(crate) const NAMESPACES_DIFFER: &str =
    "the namespace of the provided object does not match the namespace sent on the request";

/// Tries of a write whose object changed in the meantime, where the caller did not insist on a version.
const TRIES: usize = 10;
/// Tries to find a free generated name.
const NAME_TRIES: usize = 8;

/// Stores a new object.
pub(crate) async fn create(call: &Call, object: Value, ownership: Ownership) -> Result<Written, ApiError> {
    let resource = &call.resource;
    let generated = meta::name(&object).is_empty() && meta::generate_name(&object).is_some();
    let mut tries = 0;
    loop {
        let mut attempt = object.clone();
        if generated {
            kinds::generate_name(&mut attempt);
        }
        prepare_create(call, &mut attempt, &ownership)?;
        convert::to_storage(resource, &mut attempt)?;
        let name = meta::name(&attempt).to_owned();
        let key = resource.key(meta::namespace(&attempt).unwrap_or_default(), &name);
        let exists = || ApiError::already_exists(&resource.group, &resource.plural, &name);
        let charge = quota::charge(call, None, &attempt).await?;
        if call.dry_run() {
            if call.core.store.get(&key).is_some() {
                return Err(exists());
            }
            meta::set(&mut attempt, "resourceVersion", Value::Null);
            let object = store::Draft::plain(attempt.to_string().into_bytes()).seal(0);
            return Ok(Written { object, outcome: Outcome::Created });
        }
        let reserved = match call.core.allocators.reserve(call, None, &mut attempt) {
            Ok(reserved) => reserved,
            Err(error) => {
                undo(charge).await;
                return Err(error);
            }
        };
        let created = call.core.store.create(key, object::draft(&attempt)).await;
        if created.is_err() {
            undo(charge).await;
        } else {
            drop(charge);
        }
        match created {
            Ok(object) => {
                reserved.keep();
                kinds::after_write(call, &attempt, Outcome::Created).await;
                return Ok(Written { object, outcome: Outcome::Created });
            }
            Err(store::Error::AlreadyExists { .. }) if generated && tries < NAME_TRIES => tries += 1,
            Err(store::Error::AlreadyExists { .. }) => return Err(exists()),
            Err(error) => return Err(stored(&error)),
        }
    }
}

/// What was charged to quotas for a write that was not stored.
async fn undo(charge: Option<quota::Charge<'_>>) {
    if let Some(charge) = charge {
        charge.undo().await;
    }
}

fn prepare_create(call: &Call, object: &mut Value, ownership: &Ownership) -> Result<(), ApiError> {
    let resource = &call.resource;
    if !meta::resource_version(object).is_empty() {
        return Err(ApiError::unexplained("resourceVersion should not be set on objects to be created"));
    }
    let metadata = meta::metadata_mut(object);
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        metadata.remove(field);
    }
    meta::set(object, "uid", uuid::Uuid::new_v4().to_string().into());
    meta::set(object, "creationTimestamp", meta::format_time(call.now).into());
    if kinds::has_generation(resource) {
        meta::set(object, "generation", json!(1));
    }
    if resource.namespaced {
        meta::set(object, "namespace", call.info.namespace.clone().into());
    } else {
        meta::set(object, "namespace", Value::Null);
    }
    admission::namespace_exists(call, object)?;
    admission::definition_stays(call)?;
    kinds::complete(resource, object);
    fields::default(resource, object);
    // The client owns what it sent and its defaults, not what the server makes of it from here on.
    let attributed = attribute(call, None, object, ownership);
    kinds::prepare_create(call, object);
    form::decoded(object);
    fields::default(resource, object);
    admission::mutate(call, None, object)?;
    validation::check(call, None, object)?;
    // Where a list's items lack what tells them apart, validation has more to say.
    attributed?;
    admission::warn(call, object);
    form::canonical(object);
    authz::check_escalation(call, None, object)
}

/// What an update wants, given the object as it is now (in the requested version).
pub(crate) type Change<'a> = dyn Fn(&Value) -> Result<Value, ApiError> + Send + Sync + 'a;

/// Whether a write that finds a newer object than the one it read starts over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Race {
    Retry,
    Refuse,
}

/// Changes an existing object.
pub(crate) async fn update(
    call: &Call,
    name: &str,
    change: &Change<'_>,
    ownership: &Ownership,
    race: Race,
) -> Result<Written, ApiError> {
    let resource = &call.resource;
    let key = resource.key(&call.info.namespace, name);
    let mut tries = 0;
    loop {
        let current = call.core.store.get(&key).ok_or_else(|| call.not_found(name))?;
        let mut old = object::decode(&current.bytes)?;
        convert::to_requested(resource, &mut old)?;
        let mut new = change(&old)?;
        let wanted = meta::resource_version(&new);
        if wanted.is_empty() || wanted == "0" {
            meta::set(&mut new, "resourceVersion", meta::resource_version(&old).into());
        } else if wanted != meta::resource_version(&old) {
            return Err(ApiError::modified(&resource.group, &resource.plural, name));
        }
        prepare_update(call, &old, &mut new)?;
        attribute(call, Some(&old), &mut new, ownership)?;
        apply::keep_times(&old, &mut new);
        if new == old {
            return Ok(Written { object: current, outcome: Outcome::Unchanged });
        }
        let finished = is_finished(&new);
        convert::to_storage(resource, &mut new)?;
        if call.dry_run() {
            let object = object::draft(&new).seal(current.revision);
            return Ok(Written { object, outcome: Outcome::Updated });
        }
        let reserved = call.core.allocators.reserve(call, Some(&old), &mut new)?;
        let expected = Expected::At(current.revision);
        let draft = object::draft(&new);
        let charge = quota::charge(call, Some(&old), &new).await?;
        let (result, outcome) = if finished {
            (call.core.store.delete(key.clone(), expected, draft).await, Outcome::Removed)
        } else {
            (call.core.store.update(key.clone(), expected, draft).await, Outcome::Updated)
        };
        if result.is_err() {
            undo(charge).await;
        } else {
            drop(charge);
        }
        match result {
            Ok(object) => {
                reserved.keep();
                kinds::after_write(call, &new, outcome).await;
                return Ok(Written { object, outcome });
            }
            Err(store::Error::Conflict { .. }) if race == Race::Retry && tries < TRIES => tries += 1,
            Err(store::Error::Conflict { .. }) => {
                return Err(ApiError::modified(&resource.group, &resource.plural, name));
            }
            Err(store::Error::NotFound { .. }) => return Err(call.not_found(name)),
            Err(error) => return Err(stored(&error)),
        }
    }
}

fn prepare_update(call: &Call, old: &Value, new: &mut Value) -> Result<(), ApiError> {
    let resource = &call.resource;
    let name = meta::name(old);
    same_object(call, old, new)?;
    // These are the server's, whatever the client sends.
    for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"]
    {
        meta::set(new, field, old["metadata"].get(field).cloned().unwrap_or(Value::Null));
    }
    meta::set(new, "selfLink", Value::Null);
    kinds::prepare_update(call, old, new);
    fields::default(resource, new);
    admission::mutate(call, Some(old), new)?;
    validation::check(call, Some(old), new)?;
    admission::warn(call, new);
    form::canonical(new);
    authz::check_escalation(call, Some(old), new)?;
    if meta::is_deleting(old) {
        let before: Vec<&str> = meta::finalizers(old).collect();
        let added: Vec<&str> = meta::finalizers(new).filter(|added| !before.contains(added)).collect();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|added| format!("{added:?}")).collect();
            let problem = || {
                objects::schema::FieldError::forbidden(
                    "metadata.finalizers",
                    format!(
                        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                        list.join(", ")
                    ),
                )
            };
            return Err(ApiError::invalid(&resource.group, &resource.kind, name, &[problem(), problem()]));
        }
    }
    if kinds::has_generation(resource) && kinds::spec_changed(resource, old, new) {
        meta::set(new, "generation", json!(meta::generation(old) + 1));
    }
    Ok(())
}

/// Checks that an update is about the object at its URL, and the very same one.
fn same_object(call: &Call, old: &Value, new: &mut Value) -> Result<(), ApiError> {
    let resource = &call.resource;
    let name = meta::name(old);
    if meta::name(new).is_empty() {
        meta::set(new, "name", name.into());
    }
    if meta::name(new) != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({}) does not match the name on the URL ({name})",
            meta::name(new)
        )));
    }
    if resource.namespaced {
        let namespace = meta::namespace(old).unwrap_or_default().to_owned();
        match meta::namespace(new) {
            None => meta::set(new, "namespace", namespace.into()),
            Some(other) if other != namespace => {
                return Err(ApiError::bad_request(NAMESPACES_DIFFER));
            }
            Some(_) => {}
        }
    }
    let (wanted, actual) = (meta::uid(new), meta::uid(old));
    if !wanted.is_empty() && wanted != actual {
        if call.info.verb == Verb::Patch {
            let problem =
                || objects::schema::FieldError::invalid("metadata.uid", wanted.into(), "field is immutable");
            return Err(ApiError::invalid(&resource.group, &resource.kind, name, &[problem(), problem()]));
        }
        let because = format!(
            "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object meta: {actual}",
            registry_key(call, name)
        );
        return Err(ApiError::conflict(&resource.group, &resource.plural, name, &because));
    }
    Ok(())
}

/// Where upstream would keep the object: part of some of its messages.
fn registry_key(call: &Call, name: &str) -> String {
    let resource = &call.resource;
    let group = if resource.custom().is_some() { format!("{}/", resource.group) } else { String::new() };
    let namespace = if resource.namespaced { format!("{}/", call.info.namespace) } else { String::new() };
    format!("/registry/{group}{}/{namespace}{name}", resource.plural)
}

/// Whether nothing holds an object under deletion back any more.
pub(crate) fn is_finished(object: &Value) -> bool {
    meta::is_deleting(object)
        && !is_held(object)
        && object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
}

/// Whether finalizers hold an object back.
pub(crate) fn is_held(object: &Value) -> bool {
    meta::finalizers(object).next().is_some()
        || (object["kind"] == "Namespace"
            && object["spec"]["finalizers"].as_array().is_some_and(|held| !held.is_empty()))
}

/// Records who set what in `metadata.managedFields`.
fn attribute(
    call: &Call,
    old: Option<&Value>,
    new: &mut Value,
    ownership: &Ownership,
) -> Result<(), ApiError> {
    match ownership {
        Ownership::Applied => Ok(()),
        Ownership::Update(manager) => fields::attribute(call, old, new, manager),
    }
}

/// What a failure of the store is to a client.
pub(crate) fn stored(error: &store::Error) -> ApiError {
    match error {
        store::Error::Closed => ApiError::unavailable("the server is shutting down"),
        store::Error::Compacted { .. } => ApiError::expired("the requested resource version is too old"),
        other => ApiError::internal("write to the object store", other),
    }
}

/// The bytes of an outcome as a value, in the requested version.
pub(crate) fn value_of(call: &Call, written: &Written) -> Result<Value, ApiError> {
    let mut value = object::decode(&written.object.bytes)?;
    convert::to_requested(&call.resource, &mut value)?;
    Ok(value)
}
