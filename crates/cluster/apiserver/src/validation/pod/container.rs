//! Containers: what they are called, run, see and may use.

mod environment;
mod mounts;

use std::collections::{BTreeMap, BTreeSet};

use super::volumes::Volume;
use super::{Form, Problems, handlers, security};
use crate::validation::field::Field;
use crate::validation::resources::{self, Owner};
use crate::validation::{addresses, names};

pub(super) use environment::{field_reference, resource_reference};

/// What of the Pod its containers refer to.
pub(super) struct Surroundings<'v> {
    pub(super) volumes: BTreeMap<&'v str, Volume>,
    pub(super) claims: BTreeSet<&'v str>,
}

const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];

pub(in crate::validation) fn is_pull_policy(field: &Field<'_, '_>, problems: &mut Problems) {
    field.one_of(&PULL_POLICIES, problems);
}

/// Checks all containers of a Pod.
pub(super) fn check(spec: &Field<'_, '_>, around: &Surroundings<'_>, problems: &mut Problems) {
    main(spec, around, problems);
    initial(spec, around, problems);
    ephemeral(spec, around, problems);
}

fn main(spec: &Field<'_, '_>, around: &Surroundings<'_>, problems: &mut Problems) {
    let containers = spec.get("containers");
    if containers.list().is_empty() {
        containers.required("", problems);
    }
    let mut seen = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for container in containers.items() {
        common(&container, spec, around, problems);
        let name = container.get("name");
        if !seen.insert(name.text()) {
            name.duplicate(problems);
        }
        handlers::lifecycle(&container.get("lifecycle"), spec, problems);
        handlers::probes(&container, problems);
    }
    containers.items().for_each(|container| host_ports(&container, &mut taken, problems));
}

fn initial(spec: &Field<'_, '_>, around: &Surroundings<'_>, problems: &mut Problems) {
    let mut seen: BTreeSet<&str> =
        spec.get("containers").list().iter().map(|c| c["name"].as_str().unwrap_or_default()).collect();
    for container in spec.get("initContainers").items() {
        common(&container, spec, around, problems);
        let policy = container.get("restartPolicy");
        let name = container.get("name");
        if seen.contains(name.text()) {
            name.duplicate(problems);
        } else if !name.text().is_empty() {
            seen.insert(name.text());
        }
        // Upstream looks at each alone, as if it were the first.
        if !container.get("ports").list().is_empty() {
            let list = spec.get("initContainers");
            let first = list.index(0);
            host_ports(&first.with(container.value()), &mut BTreeSet::new(), problems);
        }
        if policy.text() == "Always" {
            handlers::lifecycle(&container.get("lifecycle"), spec, problems);
            handlers::probes(&container, problems);
            continue;
        }
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if container.get(field).is_set() {
                let detail = "may not be set for init containers without restartPolicy=Always";
                container.get(field).forbidden(detail, problems);
            }
        }
    }
}

/// What an ephemeral container may have.
const EPHEMERAL: [&str; 17] = [
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "envFrom",
    "env",
    "volumeMounts",
    "volumeDevices",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
    "targetContainerName",
];

fn ephemeral(spec: &Field<'_, '_>, around: &Surroundings<'_>, problems: &mut Problems) {
    if spec.get("ephemeralContainers").list().is_empty() {
        return;
    }
    let names = |list: &str| {
        spec.get(list).list().iter().map(|c| c["name"].as_str().unwrap_or_default()).collect::<Vec<_>>()
    };
    let others: BTreeSet<&str> = names("containers").into_iter().chain(names("initContainers")).collect();
    let mut seen = others.clone();
    for container in spec.get("ephemeralContainers").items() {
        common(&container, spec, around, problems);
        image_is_trimmed(&container.get("image"), problems);
        let name = container.get("name");
        if !seen.insert(name.text()) {
            name.duplicate(problems);
        }
        let target = container.get("targetContainerName");
        if !target.text().is_empty() && !others.contains(target.text()) {
            target.not_found("", problems);
        }
        for (field, _) in container.map().into_iter().flatten() {
            let field_value = container.get(field);
            if !EPHEMERAL.contains(&field.as_str()) && !field_value.is_empty() {
                field_value.forbidden("cannot be set for an Ephemeral Container", problems);
            }
        }
        for mount in container.get("volumeMounts").items() {
            for field in ["subPath", "subPathExpr"] {
                if !mount.get(field).text().is_empty() {
                    mount.get(field).forbidden("cannot be set for an Ephemeral Container", problems);
                }
            }
        }
    }
}

pub(super) fn image_is_trimmed(image: &Field<'_, '_>, problems: &mut Problems) {
    if image.text().trim() != image.text() {
        image.invalid("must not have leading or trailing whitespace", problems);
    }
}

fn common(
    container: &Field<'_, '_>,
    spec: &Field<'_, '_>,
    around: &Surroundings<'_>,
    problems: &mut Problems,
) {
    container.get("name").needs_name(Form::Label, problems);
    container.get("image").need(problems);
    let messages = ["File", "FallbackToLogsOnError"];
    container.get("terminationMessagePolicy").one_of(&messages, problems);
    ports(&container.get("ports"), problems);
    environment::variables(&container.get("env"), problems);
    environment::sources(&container.get("envFrom"), problems);
    mounts::mounts(container, around, problems);
    mounts::devices(container, around, problems);
    is_pull_policy(&container.get("imagePullPolicy"), problems);
    let used = container.get("resources");
    resources::requirements(&used, Owner::Container, problems);
    resources::claims(&used.get("claims"), &around.claims, problems);
    resize(&container.get("resizePolicy"), spec, problems);
    security::container(&container.get("securityContext"), spec, problems);
}

fn ports(ports: &Field<'_, '_>, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        let name = port.get("name");
        if !name.text().is_empty() {
            let wrong = names::problems(Form::Port, name.text());
            if wrong.is_empty() && !seen.insert(name.text()) {
                name.duplicate(problems);
            }
            wrong.into_iter().for_each(|problem| name.invalid(problem, problems));
        }
        let number = port.get("containerPort");
        if number.need(problems) {
            addresses::port_number(&number, problems);
        }
        let host = port.get("hostPort");
        if host.number() != 0 {
            addresses::port_number(&host, problems);
        }
        port.get("protocol").one_of(&addresses::PROTOCOLS, problems);
    }
}

fn host_ports(container: &Field<'_, '_>, taken: &mut BTreeSet<String>, problems: &mut Problems) {
    for port in container.get("ports").items() {
        let number = port.get("hostPort").number();
        if number == 0 {
            continue;
        }
        let (protocol, address) = (port.get("protocol"), port.get("hostIP"));
        let place = format!("{}/{}/{number}", protocol.text(), address.text());
        if !taken.insert(place.clone()) {
            port.get("hostPort").duplicate_of(place.into(), problems);
        }
    }
}

fn resize(policies: &Field<'_, '_>, spec: &Field<'_, '_>, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for policy in policies.items() {
        let (resource, restart) = (policy.get("resourceName"), policy.get("restartPolicy"));
        if !seen.insert(resource.text()) {
            policy.duplicate_of(resource.value().clone(), problems);
        }
        for (value, allowed) in
            [(resource, ["cpu", "memory"]), (restart, ["NotRequired", "RestartContainer"])]
        {
            let at = policies.with(value.value());
            if at.need(problems) {
                at.one_of(&allowed, problems);
            }
        }
        if spec.get("restartPolicy").text() == "Never" && restart.text() != "NotRequired" {
            let detail = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            policies.invalid_as(restart.value().clone(), detail, problems);
        }
    }
}
