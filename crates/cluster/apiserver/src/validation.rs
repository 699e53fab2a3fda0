//! Whether an object may be stored: upstream's rules and words, as far as they keep later readers safe.

mod addresses;
mod admission;
mod autoscaler;
mod certificate;
mod classes;
mod cluster;
mod config;
mod definition;
mod devices;
mod endpoints;
mod field;
mod flow;
mod ingress;
mod job;
mod limits;
mod metadata;
mod names;
mod pod;
mod rbac;
mod resources;
pub(crate) mod rules;
mod selector;
mod service;
mod status;
mod storage;
mod structure;
mod workload;

use objects::meta;
use objects::schema::FieldError;
use serde_json::Value;

use crate::catalog::Origin;
use crate::core::Call;
use crate::error::ApiError;
use certificate::Written;

/// Checks an object on its way in; `old` is what it replaces.
pub(crate) fn check(call: &Call, old: Option<&Value>, object: &Value) -> Result<(), ApiError> {
    let resource = &call.resource;
    let mut problems = Vec::new();
    metadata::check(resource, old, object, &mut problems);
    if let Origin::Builtin(_) = resource.origin {
        let (group, plural) = (&*resource.group, &*resource.plural);
        match (&*call.info.subresource, old) {
            ("", _) => kind(group, plural, old, object, &mut problems),
            ("status", Some(old)) => status::check(group, plural, old, object, &mut problems),
            ("approval", Some(old)) => certificate::status(Written::Approval, old, object, &mut problems),
            // What else a subresource writes is prepared with care; its types were checked when it was decoded.
            _ => {}
        }
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
    match group {
        "" => core(plural, old, object, problems),
        "apps" | "batch" | "autoscaling" | "policy" => runs(plural, old, object, problems),
        "networking.k8s.io" | "discovery.k8s.io" => network(plural, old, object, problems),
        "storage.k8s.io" => storage(plural, old, object, problems),
        _ => rules(plural, old, object, problems),
    }
}

fn core(plural: &str, old: Option<&Value>, object: &Value, problems: &mut Problems) {
    match plural {
        "pods" => match old {
            None => pod::create(object, problems),
            Some(old) => pod::update(old, object, problems),
        },
        "services" => service::service(old, object, problems),
        "configmaps" => config::config_map(old, object, problems),
        "secrets" => config::secret(old, object, problems),
        "persistentvolumeclaims" => storage::claim(old, object, problems),
        "persistentvolumes" => storage::volume(old, object, problems),
        "endpoints" => endpoints::endpoints(old, object, problems),
        "limitranges" => limits::limit_range(object, problems),
        "resourcequotas" => limits::quota(old, object, problems),
        "namespaces" => cluster::namespace(old, object, problems),
        "nodes" => cluster::node(old, object, problems),
        "podtemplates" => workload::pod_template(object, problems),
        "replicationcontrollers" => workload::replication_controller(object, problems),
        _ => {}
    }
}

/// Kinds that run Pods, or say how many.
fn runs(plural: &str, old: Option<&Value>, object: &Value, problems: &mut Problems) {
    match plural {
        "deployments" => workload::deployment(old, object, problems),
        "replicasets" => workload::replica_set(old, object, problems),
        "daemonsets" => workload::daemon_set(old, object, problems),
        "statefulsets" => workload::stateful_set(old, object, problems),
        "controllerrevisions" => workload::controller_revision(old, object, problems),
        "jobs" => job::job(old, object, problems),
        "cronjobs" => job::cron_job(old, object, problems),
        "horizontalpodautoscalers" => autoscaler::autoscaler(old, object, problems),
        "poddisruptionbudgets" => cluster::budget(object, problems),
        _ => {}
    }
}

fn network(plural: &str, old: Option<&Value>, object: &Value, problems: &mut Problems) {
    match plural {
        "ingresses" => ingress::ingress(old, object, problems),
        "ingressclasses" => ingress::class(old, object, problems),
        "ipaddresses" => ingress::address(old, object, problems),
        "servicecidrs" => ingress::range(old, object, problems),
        "networkpolicies" => ingress::network_policy(old, object, problems),
        "endpointslices" => endpoints::slice(old, object, problems),
        _ => {}
    }
}

fn storage(plural: &str, old: Option<&Value>, object: &Value, problems: &mut Problems) {
    match plural {
        "storageclasses" => classes::storage_class(old, object, problems),
        "volumeattributesclasses" => classes::attributes_class(old, object, problems),
        "volumeattachments" => classes::attachment(old, object, problems),
        "csinodes" => classes::csi_node(old, object, problems),
        "csidrivers" => classes::csi_driver(old, object, problems),
        "csistoragecapacities" => classes::capacity(old, object, problems),
        _ => {}
    }
}

/// Kinds that say what is allowed, and those of the cluster itself; each plural is of one group only.
fn rules(plural: &str, old: Option<&Value>, object: &Value, problems: &mut Problems) {
    use rbac::Scope::{Cluster, Namespace};
    match plural {
        "roles" => rbac::role(Namespace, object, problems),
        "clusterroles" => rbac::role(Cluster, object, problems),
        "rolebindings" => rbac::binding(Namespace, old, object, problems),
        "clusterrolebindings" => rbac::binding(Cluster, old, object, problems),
        "customresourcedefinitions" => definition::check(old, object, problems),
        "priorityclasses" => cluster::priority_class(old, object, problems),
        "runtimeclasses" => cluster::runtime_class(old, object, problems),
        "leases" => cluster::lease(object, problems),
        "apiservices" => cluster::api_service(object, problems),
        "certificatesigningrequests" => certificate::request(old, object, problems),
        "validatingwebhookconfigurations" | "mutatingwebhookconfigurations" => {
            admission::webhooks(old, object, problems);
        }
        "validatingadmissionpolicies" => admission::policy(old, object, problems),
        "validatingadmissionpolicybindings" => admission::policy_binding(object, problems),
        "resourceclaims" => devices::claim(old, object, problems),
        "resourceclaimtemplates" => devices::template(old, object, problems),
        "flowschemas" => flow::schema(object, problems),
        "prioritylevelconfigurations" => flow::level(object, problems),
        _ => {}
    }
}

/// A shorthand for the problems of one field.
pub(crate) type Problems = Vec<FieldError>;
