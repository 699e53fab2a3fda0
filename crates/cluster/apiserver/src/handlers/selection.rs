//! Which objects of a collection a request means: `labelSelector` and `fieldSelector`.

use objects::meta;
use objects::selector::{FieldSelector, LabelSelector};
use serde_json::Value;
use store::Object;

use crate::catalog::{Origin, Resource};
use crate::core::Call;
use crate::error::ApiError;
use crate::{convert, object};

/// Fields that built-in kinds can be selected by, besides name and namespace.
const FIELDS: &[(&str, &str, &[&str])] = &[
    (
        "",
        "pods",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
    ),
    ("", "nodes", &["spec.unschedulable"]),
    ("", "namespaces", &["status.phase"]),
    ("", "secrets", &["type"]),
    ("", "services", &["spec.clusterIP", "spec.type"]),
    ("", "replicationcontrollers", &["status.replicas"]),
    (
        "",
        "events",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
    (
        "events.k8s.io",
        "events",
        &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
    ),
    ("apps", "replicasets", &["status.replicas"]),
    ("batch", "jobs", &["status.successful"]),
    ("certificates.k8s.io", "certificatesigningrequests", &["spec.signerName"]),
];

/// What a request selects.
#[derive(Debug)]
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    /// The one object that can match, if a field selector names it.
    pub(crate) name: Option<String>,
}

impl Selection {
    pub(crate) fn of(call: &Call) -> Result<Selection, ApiError> {
        let labels = LabelSelector::parse(call.query.get("labelSelector").unwrap_or_default())
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        let mut text = call.query.get("fieldSelector").unwrap_or_default().to_owned();
        if !call.info.name.is_empty() && call.info.subresource.is_empty() {
            // The deprecated way to watch one object: by its path.
            let term = format!("metadata.name={}", call.info.name);
            text = if text.is_empty() { term } else { format!("{text},{term}") };
        }
        let fields = FieldSelector::parse(&text).map_err(|error| ApiError::bad_request(error.to_string()))?;
        for term in fields.terms() {
            supported(&call.resource, &term.path)?;
        }
        let name = fields.required("metadata.name").map(str::to_owned);
        Ok(Selection { labels, fields, name })
    }

    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether a stored object matches, reading no more of it than needed.
    pub(crate) fn matches(&self, resource: &Resource, stored: &Object) -> Result<bool, ApiError> {
        if self.is_everything() {
            return Ok(true);
        }
        if self.fields.is_everything() {
            return Ok(self.labels.matches(object::Labelled::read(&stored.bytes).as_ref()));
        }
        let mut value = object::decode(&stored.bytes)?;
        convert::to_requested(resource, &mut value)?;
        Ok(self.matches_value(&value))
    }

    pub(crate) fn matches_value(&self, value: &Value) -> bool {
        self.labels.matches(meta::labels(value)) && self.fields.matches(value)
    }
}

fn supported(resource: &Resource, path: &str) -> Result<(), ApiError> {
    let always = path == "metadata.name" || (path == "metadata.namespace" && resource.namespaced);
    let listed = || match &resource.origin {
        Origin::Builtin(_) => {
            FIELDS.iter().any(|(group, plural, fields)| resource.is(group, plural) && fields.contains(&path))
        }
        Origin::Custom(custom) => {
            custom.selectable.iter().any(|selectable| selectable.trim_start_matches('.') == path)
        }
    };
    if always || listed() {
        return Ok(());
    }
    let special = matches!(resource.origin, Origin::Custom(_))
        || FIELDS.iter().any(|(group, plural, _)| resource.is(group, plural));
    if special {
        return Err(ApiError::bad_request(format!("field label not supported: {path}")));
    }
    Err(ApiError::bad_request(format!(
        "{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    )))
}
