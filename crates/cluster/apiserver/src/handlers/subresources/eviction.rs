//! Evictions: deletes that respect PodDisruptionBudgets.

use http::{Response, StatusCode};
use objects::meta;
use objects::selector::LabelSelector;
use serde_json::{Value, json};
use store::{Expected, ListOptions, Scope};

use super::success;
use crate::core::Call;
use crate::error::ApiError;
use crate::handlers::{DeleteOptions, answer, delete};
use crate::http::ApiBody;
use crate::{input, object, write};

pub(super) async fn evict(call: &Call, body: &[u8]) -> Result<Response<ApiBody>, ApiError> {
    let mut eviction = input::body(&call.headers, body, "Eviction")?.value;
    input::typed(&mut eviction, "Eviction", "policy/v1")?;
    let name = &call.info.name;
    let named = meta::name(&eviction);
    if !named.is_empty() && named != name {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    let key = call.resource.key(&call.info.namespace, name);
    let stored = call.core.store.get(&key).ok_or_else(|| call.not_found(name))?;
    let pod = object::decode(&stored.bytes)?;
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Pending"));
    if !ended && !meta::is_deleting(&pod) {
        take_from_budgets(call, &pod).await?;
    }
    let options = DeleteOptions {
        dry_run: call.dry_run() || DeleteOptions::of_value(&eviction["deleteOptions"])?.dry_run,
        ..DeleteOptions::of_value(&eviction["deleteOptions"])?
    };
    delete::remove(call, name, &options).await?;
    Ok(answer::encoded(call.encoding, StatusCode::CREATED, &success()))
}

/// Takes the Pod from the budgets that cover it; refuses if one of them allows no disruption now.
async fn take_from_budgets(call: &Call, pod: &Value) -> Result<(), ApiError> {
    let scope = Scope::new("policy/poddisruptionbudgets", Some(&call.info.namespace));
    let Ok(page) = call.core.store.list(&scope, &ListOptions::default()) else { return Ok(()) };
    for (_, stored) in page.items {
        let budget = object::decode(&stored.bytes)?;
        let Ok(selector) = LabelSelector::from_object(&budget["spec"]["selector"]) else { continue };
        if selector.matches_object(pod) {
            take(call, meta::name(&budget), meta::name(pod)).await?;
        }
    }
    Ok(())
}

/// Counts the Pod against one budget, so that evictions at the same time do not all count on the same room.
async fn take(call: &Call, name: &str, pod: &str) -> Result<(), ApiError> {
    let key = store::Key::new("policy/poddisruptionbudgets", Some(&call.info.namespace), name);
    loop {
        let Some(stored) = call.core.store.get(&key) else { return Ok(()) };
        let mut budget = object::decode(&stored.bytes)?;
        let status = &mut budget["status"];
        let allowed = status["disruptionsAllowed"].as_i64().unwrap_or(0);
        if allowed <= 0 {
            return Err(exhausted(&budget));
        }
        if call.dry_run() {
            return Ok(());
        }
        status["disruptionsAllowed"] = (allowed - 1).into();
        status["disruptedPods"][pod] = meta::format_time(call.now).into();
        match call.core.store.update(key.clone(), Expected::At(stored.revision), object::draft(&budget)).await
        {
            Ok(_) | Err(store::Error::NotFound { .. }) => return Ok(()),
            // Its controller or another eviction wrote in between.
            Err(store::Error::Conflict { .. }) => {}
            Err(error) => return Err(write::stored(&error)),
        }
    }
}

fn exhausted(budget: &Value) -> ApiError {
    let healthy = budget["status"]["currentHealthy"].as_i64().unwrap_or(0);
    let wanted = budget["status"]["desiredHealthy"].as_i64().unwrap_or(0);
    let mut error = ApiError::too_many_requests(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        None,
    );
    let message = format!(
        "The disruption budget {} needs {wanted} healthy pods and has {healthy} currently",
        meta::name(budget)
    );
    error.details.insert("causes".to_owned(), json!([{"reason": "DisruptionBudget", "message": message}]));
    error
}
