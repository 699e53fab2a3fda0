//! Questions that are answered and not stored: access reviews, token reviews, bindings.

use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::Timestamp;
use objects::schema::FieldError;
use objects::{form, meta};
use serde_json::{Map, Value, json};

use super::{answer, subresources};
use crate::authz::Attributes;
use crate::core::Call;
use crate::error::ApiError;
use crate::http::{ApiBody, Verb};
use crate::user::User;
use crate::{authn, fields, input};

pub(super) async fn dispatch(call: &Call, body: &Bytes) -> Result<Response<ApiBody>, ApiError> {
    if call.info.verb != Verb::Create {
        // Component statuses are long gone; their list is empty.
        let list = json!({"kind": call.resource.list_kind, "apiVersion": call.resource.api_version,
            "metadata": {}, "items": []});
        return if call.info.verb == Verb::List {
            Ok(answer::encoded(call.encoding, StatusCode::OK, &list))
        } else {
            Err(call.not_found(&call.info.name))
        };
    }
    let mut review = input::body(&call.headers, body, &call.resource.kind)?.value;
    input::typed(&mut review, &call.resource.kind, &call.resource.api_version)?;
    let asks_access = call.resource.plural.ends_with("accessreviews");
    if asks_access {
        check(call, &review)?;
        if let Some(fields) = review.as_object_mut() {
            fields.remove("metadata");
        }
        if call.resource.namespaced {
            meta::set(&mut review, "namespace", call.info.namespace.clone().into());
        }
        fields::attribute(call, None, &mut review, &call.field_manager())?;
    }
    let status = match call.resource.plural.as_str() {
        "selfsubjectaccessreviews" => access(call, &review, &call.user),
        "subjectaccessreviews" | "localsubjectaccessreviews" => {
            let spec = &review["spec"];
            let groups: Vec<String> = texts(&spec["groups"]);
            let mut user = User::new(spec["user"].as_str().unwrap_or_default(), Vec::<String>::new());
            user.groups = groups;
            access(call, &review, &user)
        }
        "selfsubjectrulesreviews" => rules(call, &review),
        "selfsubjectreviews" => json!({"userInfo": info(&call.user)}),
        "tokenreviews" => token(call, &review),
        "bindings" => {
            let name = meta::name(&review).to_owned();
            let pods = call.snapshot.resource("", "v1", "pods").ok_or_else(ApiError::no_such_resource)?;
            let mut info = call.info.clone();
            info.name.clone_from(&name);
            return subresources::bind_to(&call.with(pods.clone(), info), &name, &review).await;
        }
        other => return Err(ApiError::not_supported(other)),
    };
    review["status"] = status;
    form::canonical(&mut review);
    if asks_access {
        return Ok(answer::encoded(call.encoding, StatusCode::CREATED, &review));
    }
    review["metadata"] = if call.resource.plural == "selfsubjectreviews" {
        json!({"creationTimestamp": meta::format_time(call.now)})
    } else {
        json!({})
    };
    Ok(answer::encoded(call.encoding, StatusCode::CREATED, &review))
}

/// Refuses questions about nothing, or about nobody.
fn check(call: &Call, review: &Value) -> Result<(), ApiError> {
    let spec = &review["spec"];
    let (resource, other) = ("spec.resourceAttributes", "spec.nonResourceAttributes");
    let mut problems = Vec::new();
    match (spec["resourceAttributes"].is_object(), spec["nonResourceAttributes"].is_object()) {
        (true, true) => problems.push(FieldError::invalid(
            other,
            spec["nonResourceAttributes"].clone(),
            "cannot be specified in combination with resourceAttributes",
        )),
        (false, false) => problems.push(FieldError::invalid(
            resource,
            Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
        _ => {}
    }
    let somebody = |field: &str| {
        spec[field].as_str().is_some_and(|user| !user.is_empty())
            || spec[field].as_array().is_some_and(|groups| !groups.is_empty())
    };
    if call.resource.plural != "selfsubjectaccessreviews" && !somebody("user") && !somebody("groups") {
        let detail = "at least one of user or group must be specified";
        problems.push(FieldError::invalid("spec.user", "".into(), detail));
    }
    let asked = &spec["resourceAttributes"]["namespace"];
    if call.resource.namespaced && asked.as_str().unwrap_or_default() != call.info.namespace {
        let field = "spec.resourceAttributes.namespace";
        problems.push(FieldError::invalid(field, asked.clone(), "must match metadata.namespace"));
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(&call.resource.group, "", "", &problems))
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

fn access(call: &Call, review: &Value, user: &User) -> Value {
    let spec = &review["spec"];
    let text = |part: &'static str, field: &str| spec[part][field].as_str().unwrap_or_default();
    let attributes = if spec["nonResourceAttributes"].is_object() {
        let part = "nonResourceAttributes";
        Attributes { verb: text(part, "verb"), path: text(part, "path"), ..Attributes::default() }
    } else {
        let part = "resourceAttributes";
        Attributes {
            verb: text(part, "verb"),
            group: text(part, "group"),
            resource: text(part, "resource"),
            subresource: text(part, "subresource"),
            namespace: text(part, "namespace"),
            name: text(part, "name"),
            path: "",
        }
    };
    match call.core.authorizer.decide(user, &attributes) {
        Some(reason) => json!({"allowed": true, "reason": reason}),
        None => json!({"allowed": false}),
    }
}

fn rules(call: &Call, review: &Value) -> Value {
    let namespace = review["spec"]["namespace"].as_str().unwrap_or_default();
    let mut resource_rules = Vec::new();
    let mut other_rules = Vec::new();
    let index = call.core.authorizer.index();
    for rule in index.rules(&call.user, namespace) {
        if rule.non_resource_urls.is_empty() {
            let mut shown =
                json!({"verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources});
            if !rule.resource_names.is_empty() {
                shown["resourceNames"] = rule.resource_names.clone().into();
            }
            resource_rules.push(shown);
        } else {
            other_rules.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        }
    }
    json!({"resourceRules": resource_rules, "nonResourceRules": other_rules, "incomplete": false})
}

fn info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.clone().into();
    }
    if !user.extra.is_empty() {
        let extra: Map<String, Value> =
            user.extra.iter().map(|(key, values)| (key.clone(), values.clone().into())).collect();
        info["extra"] = extra.into();
    }
    info
}

fn token(call: &Call, review: &Value) -> Value {
    let spec = &review["spec"];
    let mut audiences = texts(&spec["audiences"]);
    if audiences.is_empty() {
        audiences.push(call.core.issuer.clone());
    }
    let token = spec["token"].as_str().unwrap_or_default();
    match authn::token(&call.core, token, &audiences, Timestamp::now()) {
        Ok((user, audiences)) => json!({"authenticated": true, "user": info(&user), "audiences": audiences}),
        Err(problem) => json!({"authenticated": false, "error": problem}),
    }
}
