//! Amounts of resources, and which resources there are.

use std::collections::BTreeSet;

use objects::quantity::Quantity;
use serde_json::Value;

use super::Problems;
use super::field::Field;
use super::names::{self, Form};

const CONTAINER: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Things that are measured.
const MEASURED: [&str; 11] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "storage",
    "requests.storage",
];
/// Things that are counted: there is no half of one.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const HUGE_PAGES: &str = "hugepages-";

/// The amount in a field; nothing if there is none.
pub(super) fn amount(value: &Value) -> Option<Quantity> {
    (!value.is_null()).then(|| Quantity::from_value(value).ok()).flatten()
}

fn is_huge_pages(name: &str) -> bool {
    name.starts_with(HUGE_PAGES)
}

/// Of Kubernetes' own rather than of somebody's domain.
pub(super) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::key_problems(&format!("requests.{name}")).is_empty()
}

fn is_standard(name: &str) -> bool {
    MEASURED.contains(&name)
        || COUNTED.contains(&name)
        || is_huge_pages(name)
        || name.starts_with("requests.hugepages-")
}

/// Whether more may be asked for than there is a limit of.
pub(super) fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_pages(name)
}

pub(super) fn is_standard_quota(name: &str) -> bool {
    name != "storage" && is_standard(name)
}

/// `field` is called after the resource. Returns whether the name is one of a resource at all.
pub(super) fn name(field: &Field<'_, '_>, name: &str, problems: &mut Problems) -> bool {
    let wrong = names::key_problems(name);
    let mut right = wrong.is_empty();
    for problem in wrong {
        field.invalid_as(name.into(), problem, problems);
    }
    if right && !name.contains('/') && !is_standard(name) {
        field.invalid_as(name.into(), "must be a standard resource type or fully qualified", problems);
        right = false;
    }
    right
}

pub(super) fn container_name(field: &Field<'_, '_>, resource: &str, problems: &mut Problems) {
    if CONTAINER.contains(&resource) {
        return;
    }
    name(field, resource, problems);
    if !resource.contains('/') {
        if !is_huge_pages(resource) {
            field.invalid_as(resource.into(), "must be a standard resource for containers", problems);
        }
    } else if !is_native(resource) && !is_extended(resource) {
        field.invalid_as(resource.into(), "doesn't follow extended resource name standard", problems);
    }
}

pub(super) fn quota_name(field: &Field<'_, '_>, resource: &str, problems: &mut Problems) {
    name(field, resource, problems);
    if !resource.contains('/') && !is_standard_quota(resource) {
        field.invalid_as(resource.into(), "must be a standard resource for quota", problems);
    }
}

pub(super) fn not_negative(field: &Field<'_, '_>, problems: &mut Problems) {
    if let Some(amount) = amount(field.value()).filter(Quantity::is_negative) {
        field.invalid_as(amount.to_string().into(), "must be greater than or equal to 0", problems);
    }
}

pub(super) fn positive(field: &Field<'_, '_>, problems: &mut Problems) -> bool {
    match amount(field.value()).filter(|amount| *amount <= Quantity::ZERO) {
        None => true,
        Some(amount) => {
            field.invalid_as(amount.to_string().into(), "must be greater than zero", problems);
            false
        }
    }
}

/// Tells of a negative amount by its whole part, as upstream does for claims. Returns whether it is none.
pub(super) fn basic(field: &Field<'_, '_>, problems: &mut Problems) -> bool {
    let whole = amount(field.value()).map(|amount| amount.as_units()).filter(|whole| *whole < 0);
    if let Some(whole) = whole {
        field.invalid_as(whole.into(), "must be a valid resource quantity", problems);
    }
    whole.is_none()
}

/// An amount of a resource.
pub(super) fn quantity(field: &Field<'_, '_>, name: &str, problems: &mut Problems) {
    not_negative(field, problems);
    if (COUNTED.contains(&name) || is_extended(name))
        && let Some(amount) = amount(field.value())
        && amount.as_milli() % 1000 != 0
    {
        field.invalid_as(amount.to_string().into(), "must be an integer", problems);
    }
}

/// Whose resources these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Container,
    Pod,
}

impl Owner {
    fn name(self, field: &Field<'_, '_>, resource: &str, problems: &mut Problems) {
        match self {
            Owner::Container => container_name(field, resource, problems),
            Owner::Pod => {
                if name(field, resource, problems)
                    && !matches!(resource, "cpu" | "memory")
                    && !is_huge_pages(resource)
                {
                    let allowed = ["cpu", "hugepages-", "memory"];
                    field.with(&resource.into()).not_supported(&allowed, problems);
                }
            }
        }
    }
}

/// What is asked for and what is allowed at most.
pub(super) fn requirements(resources: &Field<'_, '_>, owner: Owner, problems: &mut Problems) {
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    let (mut plain, mut huge) = (false, false);
    for (name, limit) in limits.entries() {
        owner.name(&limit, name, problems);
        quantity(&limit, name, problems);
        huge_pages(&limit, name, problems);
        huge |= is_huge_pages(name);
        plain |= matches!(name, "cpu" | "memory");
    }
    for (name, request) in requests.entries() {
        owner.name(&request, name, problems);
        quantity(&request, name, problems);
        let asked = amount(request.value());
        match (asked, amount(limits.key(name).value())) {
            (Some(asked), Some(limit)) if asked != limit && !may_overcommit(name) => {
                let detail = format!("must be equal to {name} limit of {limit}");
                requests.invalid_as(asked.to_string().into(), detail, problems);
            }
            (Some(asked), Some(limit)) if asked > limit => {
                let detail = format!("must be less than or equal to {name} limit of {limit}");
                requests.invalid_as(asked.to_string().into(), detail, problems);
            }
            (_, None) if !may_overcommit(name) => {
                limits.required("Limit must be set for non overcommitable resources", problems);
            }
            _ => {}
        }
        huge_pages(&request, name, problems);
        huge |= is_huge_pages(name);
        plain |= matches!(name, "cpu" | "memory");
    }
    if huge && !plain {
        resources.forbidden("HugePages require cpu or memory", problems);
    }
}

fn huge_pages(field: &Field<'_, '_>, name: &str, problems: &mut Problems) {
    let Some(size) = name.strip_prefix(HUGE_PAGES) else { return };
    let Some(amount) = amount(field.value()) else { return };
    let page = Quantity::parse(size).map_or(0, |size| size.as_units());
    if page <= 0 || amount.as_units() % page != 0 {
        let detail = format!("{amount} is not positive integer multiple of {name}");
        field.invalid_as(amount.to_string().into(), detail, problems);
    }
}

/// The claims that a container uses are among those of its Pod.
pub(super) fn claims(claims: &Field<'_, '_>, of_pod: &BTreeSet<&str>, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for claim in claims.items() {
        let name = claim.get("name");
        if name.text().is_empty() {
            claim.required("", problems);
            continue;
        }
        let request = claim.get("request");
        request.name_if_given(Form::Label, problems);
        if !seen.insert((name.text(), request.text()))
            || seen.contains(&(name.text(), "")) && !request.is_empty()
        {
            claim.duplicate_of(name.value().clone(), problems);
        }
        if !of_pod.contains(name.text()) {
            let known: Vec<&str> = of_pod.iter().copied().collect();
            let list = if known.is_empty() {
                " which is empty".to_owned()
            } else {
                format!(": {}", known.join(", "))
            };
            let detail = format!("must be one of the names in pod.spec.resourceClaims{list}");
            claim.with(name.value()).not_found(detail, problems);
        }
    }
}
