//! Pods and the templates they are made from.

mod claims;
mod container;
mod handlers;
mod scheduling;
mod security;
pub(super) mod sources;
mod update;
mod volumes;

use std::collections::BTreeSet;

use objects::schema::FieldError;
use serde_json::Value;

use super::field::Field;
use super::names::Form;
use super::{Problems, addresses, metadata, resources, selector};

pub(super) use claims::{access_modes, claim_spec};
pub(super) use update::update;
pub(super) use volumes::token_lifetime;

/// What a Pod's specification is part of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Context<'a> {
    /// The Pod's name; empty in a template.
    pub(super) name: &'a str,
    /// A Pod rather than a template.
    pub(super) is_pod: bool,
    /// Claim templates, which stand in for volumes of the same name.
    pub(super) claims: &'a [Value],
    /// Host name and subdomain are given by the controller.
    pub(super) named_by_controller: bool,
}

const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// A Pod that is created.
pub(super) fn create(object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    metadata_and_spec(&root, problems);
    let spec = root.get("spec");
    if !spec.get("ephemeralContainers").list().is_empty() {
        spec.get("ephemeralContainers").forbidden("cannot be set on create", problems);
    }
    if !spec.get("nodeName").text().is_empty() && !spec.get("schedulingGates").list().is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        spec.get("nodeName").forbidden(detail, problems);
    }
    security::match_annotations(&root.get("metadata").get("annotations"), &spec, problems);
}

fn metadata_and_spec(root: &Field<'_, '_>, problems: &mut Problems) {
    let (metadata, spec) = (root.get("metadata"), root.get("spec"));
    security::annotations(&metadata.get("annotations"), &spec, problems);
    let context = Context { name: metadata.get("name").text(), is_pod: true, ..Context::default() };
    self::spec(&spec, context, problems);
    if spec.get("serviceAccountName").text().is_empty() {
        for volume in spec.get("volumes").items() {
            let projected = volume.get("projected");
            for source in projected.get("sources").items() {
                let token = source.get("serviceAccountToken");
                if token.is_set() {
                    token.forbidden("must not be specified when serviceAccountName is not set", problems);
                }
            }
        }
    }
    for list in ["containers", "initContainers"] {
        for container in spec.get(list).items() {
            container::image_is_trimmed(&container.get("image"), problems);
        }
    }
}

/// A template: metadata and specification.
pub(super) fn template(template: &Field<'_, '_>, context: Context<'_>, problems: &mut Problems) {
    let (metadata, spec) = (template.get("metadata"), template.get("spec"));
    // Its labels and annotations are in `metadata`, and yet upstream's paths leave that out.
    let (labels, annotations) = (metadata.get("labels"), metadata.get("annotations"));
    let (label_path, annotation_path) = (template.child("labels"), template.child("annotations"));
    selector::labels(&label_path.with(labels.value()), problems);
    let annotations = annotation_path.with(annotations.value());
    metadata::annotations(&annotations, problems);
    security::annotations(&annotations, &spec, problems);
    self::spec(&spec, context, problems);
    security::match_annotations(&annotations, &spec, problems);
    if !spec.get("ephemeralContainers").list().is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        spec.get("ephemeralContainers").forbidden(detail, problems);
    }
}

pub(super) fn spec(spec: &Field<'_, '_>, context: Context<'_>, problems: &mut Problems) {
    let volumes = volumes::check(&spec.get("volumes"), context, problems);
    let claims = resource_claims(&spec.get("resourceClaims"), problems);
    container::check(spec, &container::Surroundings { volumes, claims }, problems);
    pod_resources(spec, problems);
    host_ports(spec, context, problems);
    let policy = spec.get("restartPolicy");
    policy.one_of(&["Always", "OnFailure", "Never"], problems);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    spec.get("dnsPolicy").one_of(&dns, problems);
    selector::labels(&spec.get("nodeSelector"), problems);
    security::pod(spec, problems);
    scheduling::affinity(&spec.get("affinity"), problems);
    dns_config(spec, problems);
    for gate in spec.get("readinessGates").items() {
        gate.get("conditionType").qualified(problems);
    }
    scheduling::gates(&spec.get("schedulingGates"), problems);
    scheduling::spread(&spec.get("topologySpreadConstraints"), problems);
    security::host_users(spec, problems);
    identity(spec, context, problems);
    selector::tolerations(&spec.get("tolerations"), problems);
    for alias in spec.get("hostAliases").items() {
        addresses::address(&alias.get("ip"), &[], problems);
        alias.get("hostnames").items().for_each(|name| name.name(Form::Subdomain, problems));
    }
    spec.get("priorityClassName").name_if_given(Form::Subdomain, problems);
    if spec.get("runtimeClassName").is_set() {
        spec.get("runtimeClassName").name(Form::Subdomain, problems);
    }
    spec.get("preemptionPolicy").one_of(&["PreemptLowerPriority", "Never"], problems);
    overhead(&spec.get("overhead"), problems);
    security::operating_system(spec, problems);
}

/// What a Pod needs beside its containers.
pub(super) fn overhead(overhead: &Field<'_, '_>, problems: &mut Problems) {
    if overhead.is_set() {
        let limits = serde_json::json!({"limits": overhead.value()});
        resources::requirements(&overhead.with(&limits), resources::Owner::Container, problems);
    }
}

fn resource_claims<'v>(claims: &Field<'v, '_>, problems: &mut Problems) -> BTreeSet<&'v str> {
    let mut names = BTreeSet::new();
    for claim in claims.items() {
        let name = claim.get("name");
        if name.text().is_empty() {
            name.required("", problems);
        } else if names.insert(name.text()) {
            name.name(Form::Label, problems);
        } else {
            name.duplicate(problems);
        }
        let (given, template) = (claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName"));
        let detail = match (given.is_set(), template.is_set()) {
            (true, true) => {
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            }
            (false, false) => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            _ => "",
        };
        if !detail.is_empty() {
            let shown = format!(
                "{{\"Name\":{:?},\"ResourceClaimName\":{},\"ResourceClaimTemplateName\":{}}}",
                name.text(),
                given.value(),
                template.value()
            );
            claim.invalid_shown(shown, detail, problems);
        }
        for reference in [given, template] {
            if reference.is_set() {
                reference.name(Form::Subdomain, problems);
            }
        }
    }
    names
}

/// Resources of the Pod as a whole, which its containers share.
fn pod_resources(spec: &Field<'_, '_>, problems: &mut Problems) {
    let of_pod = spec.get("resources");
    if !of_pod.is_set() {
        return;
    }
    if of_pod.get("claims").is_set() {
        of_pod.get("claims").forbidden("claims may not be set for Resources at pod-level", problems);
    }
    resources::requirements(&of_pod, resources::Owner::Pod, problems);
    let (requests, limits) = (of_pod.get("requests"), of_pod.get("limits"));
    for (name, request) in requests.entries() {
        let all = spec
            .get("containers")
            .list()
            .iter()
            .filter_map(|container| resources::amount(&container["resources"]["requests"][name]));
        let together = all.reduce(objects::quantity::Quantity::plus);
        if let (Some(together), Some(given)) = (together, resources::amount(request.value()))
            && together > given
        {
            let detail =
                format!("must be greater than or equal to aggregate container requests of {together}");
            request.invalid_as(given.to_string().into(), detail, problems);
        }
    }
    let containers = of_pod.child("containers");
    for (index, container) in spec.get("containers").list().iter().enumerate() {
        for (name, limit) in container["resources"]["limits"].as_object().into_iter().flatten() {
            if let (Some(limit), Some(most)) =
                (resources::amount(limit), resources::amount(limits.key(name).value()))
                && limit > most
            {
                let detail = format!("must be less than or equal to pod limits of {most}");
                let field = containers.index(index);
                let field = field.key(name);
                field.child("limits").invalid_as(limit.to_string().into(), detail, problems);
            }
        }
    }
}

fn host_ports(spec: &Field<'_, '_>, context: Context<'_>, problems: &mut Problems) {
    if !spec.get("hostNetwork").is_true() {
        return;
    }
    for container in spec.get("containers").items() {
        for port in container.get("ports").items() {
            let host = port.get("hostPort");
            let differs = host.number() != port.get("containerPort").number();
            if (context.is_pod || host.number() != 0) && differs {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                host.invalid_as(host.number().into(), detail, problems);
            }
        }
    }
}

fn dns_config(spec: &Field<'_, '_>, problems: &mut Problems) {
    const NAMESERVERS: usize = 3;
    const SEARCHES: usize = 32;
    const SEARCH_LENGTH: usize = 2048;
    let config = spec.get("dnsConfig");
    let (servers, searches) = (config.get("nameservers"), config.get("searches"));
    if spec.get("dnsPolicy").text() == "None" {
        if !config.is_set() {
            config.required("must provide `dnsConfig` when `dnsPolicy` is None", problems);
            return;
        }
        if servers.list().is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            servers.required(detail, problems);
            return;
        }
    }
    if servers.list().len() > NAMESERVERS {
        servers.invalid(format!("must not have more than {NAMESERVERS} nameservers"), problems);
    }
    for server in servers.items() {
        addresses::address(&server, &[], problems);
    }
    if searches.list().len() > SEARCHES {
        searches.invalid(format!("must not have more than {SEARCHES} search paths"), problems);
    }
    let length = searches.strings().map(|search| search.len() + 1).sum::<usize>().saturating_sub(1);
    if length > SEARCH_LENGTH {
        let detail = format!(
            "must not have more than {SEARCH_LENGTH} characters (including spaces) in the search list"
        );
        searches.invalid(detail, problems);
    }
    for search in searches.items().filter(|search| search.text() != ".") {
        let name = search.text().strip_suffix('.').unwrap_or(search.text());
        search.with(&name.into()).name(Form::Search, problems);
    }
    for option in config.get("options").items() {
        if option.get("name").text().is_empty() {
            option.required("must not be empty", problems);
        }
    }
}

/// Who and where the Pod is, and how long it may be.
fn identity(spec: &Field<'_, '_>, context: Context<'_>, problems: &mut Problems) {
    const LONGEST: i64 = i32::MAX as i64;
    spec.get("serviceAccountName").name_if_given(Form::Subdomain, problems);
    spec.get("nodeName").name_if_given(Form::Subdomain, problems);
    spec.get("activeDeadlineSeconds").within(1, LONGEST, problems);
    if !context.named_by_controller {
        spec.get("hostname").name_if_given(Form::Label, problems);
        spec.get("subdomain").name_if_given(Form::Label, problems);
    }
}

/// Calls `visit` with each container, initial ones first.
fn each_container(spec: &Field<'_, '_>, visit: &mut dyn FnMut(&Field<'_, '_>)) {
    for list in CONTAINER_LISTS {
        spec.get(list).items().for_each(|container| visit(&container));
    }
}

/// The value must be one of these, if it is there.
pub(super) fn one_of(parent: &Value, path: &str, field: &str, allowed: &[&str], problems: &mut Problems) {
    if let Some(value) = parent[field].as_str().filter(|value| !value.is_empty() && !allowed.contains(value))
    {
        problems.push(FieldError::not_supported(&format!("{path}.{field}"), value.into(), allowed));
    }
}
