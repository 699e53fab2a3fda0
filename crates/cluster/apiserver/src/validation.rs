//! Whether an object may be stored: upstream's rules and words, as far as they keep later readers safe.

mod core;
mod definition;
mod metadata;
mod names;
mod pod;
mod required;
pub(crate) mod rules;
mod structure;
mod workload;

use objects::meta;
use objects::schema::FieldError;
use serde_json::Value;

use crate::catalog::Origin;
use crate::core::Call;
use crate::error::ApiError;

/// Checks an object on its way in; `old` is what it replaces.
pub(crate) fn check(call: &Call, old: Option<&Value>, object: &Value) -> Result<(), ApiError> {
    let resource = &call.resource;
    let mut problems = Vec::new();
    metadata::check(resource, old, object, &mut problems);
    // What a subresource writes is its controllers' business; its types were checked when it was decoded.
    if call.info.subresource.is_empty() && matches!(resource.origin, Origin::Builtin(_)) {
        required::check(objects::typing::Typing::of(&resource.gvk()), object, &mut problems);
        kind(&resource.group, &resource.plural, old, object, &mut problems);
    }
    if let Origin::Custom(custom) = &resource.origin
        && let Some(schema) = &custom.schema
    {
        let found = schema.validate(object);
        let blocked = found.iter().any(|problem| {
            use objects::schema::ErrorKind::{Required, TooLong, TooMany, TypeInvalid};
            matches!(problem.kind, Required | TooLong | TooMany | TypeInvalid)
        });
        problems.extend(found);
        if let Some(rules) = custom.rules(resource) {
            if blocked {
                let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
                problems.push(FieldError::invalid("<nil>", Value::Null, detail));
            } else {
                rules.check(old, object, &mut problems);
            }
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let name = if meta::name(object).is_empty() {
        meta::generate_name(object).unwrap_or_default()
    } else {
        meta::name(object)
    };
    Err(ApiError::invalid(&resource.group, &resource.kind, name, &problems))
}

/// The rules of one kind.
fn kind(group: &str, plural: &str, old: Option<&Value>, object: &Value, problems: &mut Problems) {
    match (group, plural) {
        ("", "pods") => match old {
            None => pod::spec(&object["spec"], "spec", pod::Restarts::Any, problems),
            Some(old) => pod::update(old, object, problems),
        },
        ("", "services") => core::service(old, object, problems),
        ("", "configmaps") => core::config_map(old, object, problems),
        ("", "secrets") => core::secret(old, object, problems),
        ("", "persistentvolumeclaims") => core::claim(old, object, problems),
        ("apps", "deployments") => workload::deployment(old, object, problems),
        ("apps", "replicasets" | "daemonsets") => workload::replicated(old, object, problems),
        ("apps", "statefulsets") => workload::stateful_set(old, object, problems),
        ("batch", "jobs") => workload::job(old, object, problems),
        ("batch", "cronjobs") => workload::cron_job(object, problems),
        ("autoscaling", "horizontalpodautoscalers") => workload::autoscaler(object, problems),
        ("networking.k8s.io", "ingresses") => core::ingress(object, problems),
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") => core::role(object, problems),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            core::binding(old, object, problems);
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => definition::check(old, object, problems),
        _ => {}
    }
}

/// A shorthand for the problems of one field.
pub(crate) type Problems = Vec<FieldError>;
