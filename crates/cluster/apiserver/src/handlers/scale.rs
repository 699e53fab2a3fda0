//! The scale subresource: replicas of whatever has them, as one type.

use bytes::Bytes;
use http::{Response, StatusCode};
use objects::meta;
use objects::selector::LabelSelector;
use serde_json::{Value, json};

use super::{answer, patch};
use crate::catalog::Scale;
use crate::core::Call;
use crate::error::ApiError;
use crate::http::{ApiBody, Verb};
use crate::write::{self, Ownership, Race};
use crate::{convert, input, object};

pub(super) async fn dispatch(call: &Call, body: &Bytes) -> Result<Response<ApiBody>, ApiError> {
    let name = &call.info.name;
    let key = call.resource.key(&call.info.namespace, name);
    let stored = call.core.store.get(&key).ok_or_else(|| call.not_found(name))?;
    let mut parent = object::decode(&stored.bytes)?;
    convert::to_requested(&call.resource, &mut parent)?;
    if call.info.verb == Verb::Get {
        return answer::value(call, StatusCode::OK, of(call, &parent));
    }
    let conditional = |scale: &Value| !meta::resource_version(scale).is_empty();
    let given = match call.info.verb {
        Verb::Update => {
            let mut scale = input::body(&call.headers, body, "Scale")?.value;
            input::typed(&mut scale, "Scale", "autoscaling/v1")?;
            Some(scale)
        }
        _ => None,
    };
    let race = if given.as_ref().is_some_and(conditional) { Race::Refuse } else { Race::Retry };
    let change = |live: &Value| {
        let scale = match &given {
            Some(scale) => scale.clone(),
            None => {
                let mut scale = of(call, live);
                patch::on_value(call, &mut scale, body)?;
                scale
            }
        };
        scaled(call, live, &scale)
    };
    let ownership = Ownership::Update(call.field_manager());
    let written = write::update(call, name, &change, &ownership, race).await?;
    answer::value(call, StatusCode::OK, of(call, &write::value_of(call, &written)?))
}

fn paths(call: &Call) -> Scale {
    call.resource.custom().and_then(|custom| custom.scale.clone()).unwrap_or_else(|| Scale {
        spec_replicas: ".spec.replicas".to_owned(),
        status_replicas: ".status.replicas".to_owned(),
        label_selector: None,
    })
}

/// The Scale of an object.
fn of(call: &Call, parent: &Value) -> Value {
    let paths = paths(call);
    let number = |path: &str| at(parent, path).and_then(Value::as_i64).unwrap_or(0);
    let selector = match &paths.label_selector {
        Some(path) => at(parent, path).and_then(Value::as_str).unwrap_or_default().to_owned(),
        None => LabelSelector::from_object(&parent["spec"]["selector"])
            .map(|selector| selector.to_string())
            .unwrap_or_default(),
    };
    let mut metadata = json!({"name": meta::name(parent), "uid": meta::uid(parent),
        "resourceVersion": meta::resource_version(parent)});
    if let Some(namespace) = meta::namespace(parent) {
        metadata["namespace"] = namespace.into();
    }
    if let Some(created) = meta::creation_timestamp(parent) {
        metadata["creationTimestamp"] = created.into();
    }
    let mut status = json!({"replicas": number(&paths.status_replicas)});
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": number(&paths.spec_replicas)}, "status": status})
}

/// The object with the replicas that a Scale asks for.
fn scaled(call: &Call, live: &Value, scale: &Value) -> Result<Value, ApiError> {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let problem = objects::schema::FieldError::invalid(
            "spec.replicas",
            replicas.into(),
            "must be greater than or equal to 0",
        );
        return Err(ApiError::invalid("autoscaling", "Scale", &call.info.name, &[problem]));
    }
    let mut new = live.clone();
    let version = meta::resource_version(scale);
    if !version.is_empty() {
        meta::set(&mut new, "resourceVersion", version.into());
    }
    let path = paths(call).spec_replicas;
    let mut place = &mut new;
    for field in path.split('.').filter(|field| !field.is_empty()) {
        if place.is_null() {
            *place = json!({});
        }
        let Some(fields) = place.as_object_mut() else {
            return Err(ApiError::bad_request(format!(
                "{path} cannot be set: {field} has no place in a scalar"
            )));
        };
        place = fields.entry(field).or_insert(Value::Null);
    }
    *place = replicas.into();
    Ok(new)
}

/// The value at a path of plain fields, `.spec.replicas`.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|field| !field.is_empty()).try_fold(object, |value, field| value.get(field))
}
