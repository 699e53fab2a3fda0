//! Resource quotas: what a namespace may use, and what it does.
//!
//! A write is charged to `status.used` before it is stored, as upstream's plugin does it, and refused with its sentences.
//! Upstream leaves it to a controller to count again when something goes; here the server counts as soon as it has.
//! In a namespace with quotas one gate lets writes through one by one, so that no two of them pass on the same rest.

mod ledger;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use objects::meta;
use objects::quantity::Quantity;
use serde_json::{Value, json};
use store::{Expected, Key, ListOptions, Revision, Scope};
use tokio::sync::SemaphorePermit;

pub(crate) use ledger::Ledger;

use crate::admission::amounts;
use crate::core::{Call, Core};
use crate::error::ApiError;
use crate::object;
use crate::write::Outcome;

const QUOTAS: &str = "resourcequotas";
/// Tries to write a status that clients write as well.
const TRIES: usize = 10;

type Amounts = BTreeMap<String, Quantity>;

/// A write of a namespace with quotas, on its way.
#[derive(Debug)]
pub(crate) struct Charge<'a> {
    _gate: SemaphorePermit<'a>,
    core: &'a Arc<Core>,
    namespace: String,
    charged: bool,
}

impl Charge<'_> {
    /// The write was not stored: what it was charged is counted out again.
    pub(crate) async fn undo(self) {
        if self.charged {
            count(self.core, &self.namespace).await;
        }
    }
}

/// Charges a new object, or what an object grows by; `None` where there is no quota.
pub(crate) async fn charge<'a>(
    call: &'a Call,
    old: Option<&Value>,
    new: &Value,
) -> Result<Option<Charge<'a>>, ApiError> {
    let namespace = &call.info.namespace;
    let counted = call.info.subresource.is_empty() && call.resource.namespaced;
    if !counted || quotas(&call.core, namespace).is_empty() {
        return Ok(None);
    }
    let mut grown = usage::of(&call.resource.group, &call.resource.plural, new);
    for (what, before) in
        old.map(|old| usage::of(&call.resource.group, &call.resource.plural, old)).into_iter().flatten()
    {
        if let Some(amount) = grown.remove(&what) {
            grown.insert(what, amount.minus(before));
        }
    }
    grown.retain(|_, amount| !amount.is_zero() && !amount.is_negative());
    if grown.is_empty() {
        return Ok(None);
    }
    let gate = call.core.quotas.enter().await?;
    let mut charge = Charge { _gate: gate, core: &call.core, namespace: namespace.clone(), charged: false };
    for _ in 0..TRIES {
        let concerned = concerned(call, old.is_none(), new, &grown)?;
        if concerned.is_empty() || call.dry_run() {
            return Ok(Some(charge));
        }
        charge.charged = true;
        if spend(&call.core, concerned, &grown).await {
            return Ok(Some(charge));
        }
        // A client wrote one of the statuses meanwhile.
        count(&call.core, namespace).await;
    }
    charge.undo().await;
    Err(ApiError::conflict("", QUOTAS, "", "the status of a quota changes all the time"))
}

/// A stored quota.
struct Quota {
    key: Key,
    revision: Revision,
    object: Value,
}

fn quotas(core: &Core, namespace: &str) -> Vec<Quota> {
    let Ok(page) = core.store.list(&Scope::new(QUOTAS, Some(namespace)), &ListOptions::default()) else {
        return Vec::new();
    };
    let read = |stored: &store::Object| {
        let object = object::decode(&stored.bytes).ok()?;
        let key = Key::new(QUOTAS, Some(namespace), meta::name(&object));
        Some(Quota { key, revision: stored.revision, object })
    };
    page.items.iter().filter_map(|(_, stored)| read(stored)).collect()
}

/// The quotas that count what grows, after each has been asked whether there is room.
fn concerned(call: &Call, is_new: bool, new: &Value, grown: &Amounts) -> Result<Vec<Quota>, ApiError> {
    let name = meta::name(new);
    let refuse =
        |because: &str| Err(ApiError::forbidden(&call.resource.group, &call.resource.plural, name, because));
    let pods = call.resource.is("", "pods");
    let mut concerned = Vec::new();
    for quota in quotas(&call.core, &call.info.namespace) {
        let called = meta::name(&quota.object).to_owned();
        let scoped = usage::is_scoped(&quota.object["spec"]);
        if scoped && !(pods && usage::in_scope(&quota.object["spec"], new)) {
            continue;
        }
        let hard = amounts(&quota.object["spec"]["hard"]);
        if pods
            && is_new
            && let Some(missing) = usage::unsaid(&hard, new)
        {
            return refuse(&format!("failed quota: {called}: must specify {missing}"));
        }
        let used = amounts(&quota.object["status"]["used"]);
        let known = |what: &str| used.get(what).copied().unwrap_or_else(|| Quantity::from_units(0));
        let counted: Vec<&String> = grown.keys().filter(|what| hard.contains_key(*what)).collect();
        let beyond: Vec<&String> =
            counted.iter().filter(|what| known(what).plus(grown[**what]) > hard[**what]).copied().collect();
        if !beyond.is_empty() {
            let shown = |amount: &dyn Fn(&str) -> Quantity| {
                let parts: Vec<String> =
                    beyond.iter().map(|what| format!("{what}={}", amount(what.as_str()))).collect();
                parts.join(",")
            };
            return refuse(&format!(
                "exceeded quota: {called}, requested: {}, used: {}, limited: {}",
                shown(&|what| grown[what]),
                shown(&known),
                shown(&|what| hard[what]),
            ));
        }
        if !counted.is_empty() {
            concerned.push(quota);
        }
    }
    Ok(concerned)
}

/// Adds to what is used; false if a quota has changed since it was read.
async fn spend(core: &Core, quotas: Vec<Quota>, grown: &Amounts) -> bool {
    for Quota { key, revision, mut object } in quotas {
        let hard = amounts(&object["spec"]["hard"]);
        let used = amounts(&object["status"]["used"]);
        for (what, amount) in grown.iter().filter(|(what, _)| hard.contains_key(*what)) {
            let sum = used.get(what).map_or(*amount, |used| used.plus(*amount));
            object["status"]["used"][what.as_str()] = sum.to_string().into();
        }
        object["status"]["hard"] = object["spec"]["hard"].clone();
        if core.store.update(key, Expected::At(revision), object::draft(&object)).await.is_err() {
            return false;
        }
    }
    true
}

/// Counts again what a namespace uses, after a write that makes room or changes a quota.
pub(crate) async fn settle(call: &Call, object: &Value, outcome: Outcome) {
    let namespace = &call.info.namespace;
    let ended = || matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let counts = match outcome {
        Outcome::Removed => true,
        Outcome::Created => call.resource.is("", QUOTAS),
        Outcome::Updated => match call.resource.plural.as_str() {
            "pods" => ended(),
            "services" | "persistentvolumeclaims" => call.info.subresource.is_empty(),
            plural => plural == QUOTAS && call.info.subresource.is_empty(),
        },
        Outcome::Unchanged => false,
    };
    if outcome == Outcome::Removed && call.resource.is("", QUOTAS) {
        call.core.quotas.forget(&Key::new(QUOTAS, Some(namespace), meta::name(object)));
    }
    if !counts || !call.resource.namespaced || quotas(&call.core, namespace).is_empty() {
        return;
    }
    if let Ok(_gate) = call.core.quotas.enter().await {
        count(&call.core, namespace).await;
    }
}

/// Sets the status of all quotas of a namespace to what is stored there. Whoever calls it holds the gate.
async fn count(core: &Core, namespace: &str) {
    for _ in 0..TRIES {
        let mut settled = true;
        for Quota { key, revision, mut object } in quotas(core, namespace) {
            let used = core.quotas.used(&core.store, &key, &object);
            let status = json!({"hard": object["spec"]["hard"], "used": used});
            if object["status"] == status {
                continue;
            }
            object["status"] = status;
            match core.store.update(key, Expected::At(revision), object::draft(&object)).await {
                Ok(_) | Err(store::Error::NotFound { .. }) => {}
                Err(store::Error::Conflict { .. }) => settled = false,
                Err(error) => {
                    tracing::warn!(error = %error, namespace, "could not write what a quota has used");
                    return;
                }
            }
        }
        if settled {
            return;
        }
    }
}
