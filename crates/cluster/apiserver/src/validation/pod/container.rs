//! Containers: what they are called, run, see and may use.

use std::collections::{BTreeMap, BTreeSet};

use super::volumes::{Volume, descending, no_backsteps};
use super::{Form, Problems, handlers, security};
use crate::validation::field::Field;
use crate::validation::resources::{self, Owner, amount};
use crate::validation::{addresses, names};

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
        if container.get("restartPolicy").is_set() {
            let detail = "may not be set for non-init containers";
            container.get("restartPolicy").forbidden(detail, problems);
        }
    }
    containers.items().for_each(|container| host_ports(&container, &mut taken, problems));
}

fn initial(spec: &Field<'_, '_>, around: &Surroundings<'_>, problems: &mut Problems) {
    let mut seen: BTreeSet<&str> =
        spec.get("containers").list().iter().map(|c| c["name"].as_str().unwrap_or_default()).collect();
    for container in spec.get("initContainers").items() {
        common(&container, spec, around, problems);
        let policy = container.get("restartPolicy");
        policy.one_of_if_set(&["Always"], problems);
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
    environment(&container.get("env"), problems);
    sources(&container.get("envFrom"), problems);
    mounts(container, around, problems);
    devices(container, around, problems);
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

fn environment(variables: &Field<'_, '_>, problems: &mut Problems) {
    for variable in variables.items() {
        variable.get("name").needs_name(Form::Variable, problems);
        let source = variable.get("valueFrom");
        if !source.is_set() {
            continue;
        }
        let mut sources = 0;
        for kind in ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"] {
            let reference = source.get(kind);
            if !reference.is_set() {
                continue;
            }
            sources += 1;
            match kind {
                "fieldRef" => field_reference(&reference, &VARIABLE_FIELDS, problems),
                "resourceFieldRef" => resource_reference(&reference, false, problems),
                _ => {
                    reference.get("name").name(Form::Subdomain, problems);
                    reference.get("key").needs_name(Form::ConfigKey, problems);
                }
            }
        }
        let detail = match sources {
            0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            _ if !variable.get("value").text().is_empty() => "may not be specified when `value` is not empty",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        source.invalid_as("".into(), detail, problems);
    }
}

fn sources(list: &Field<'_, '_>, problems: &mut Problems) {
    for source in list.items() {
        source.get("prefix").name_if_given(Form::Variable, problems);
        let mut sources = 0;
        for kind in ["configMapRef", "secretRef"] {
            let reference = source.get(kind);
            if reference.is_set() {
                sources += 1;
                reference.get("name").needs_name(Form::Subdomain, problems);
            }
        }
        match sources {
            0 => list.invalid_as("".into(), "must specify one of: `configMapRef` or `secretRef`", problems),
            1 => {}
            _ => list.invalid_as("".into(), "may not have more than one field specified at a time", problems),
        }
    }
}

const VARIABLE_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// A reference to a field of the Pod.
pub(super) fn field_reference(reference: &Field<'_, '_>, allowed: &[&str], problems: &mut Problems) {
    let path = reference.get("fieldPath");
    if !path.need(problems) {
        return;
    }
    let text = path.text();
    if let Some((of, key)) = text.strip_suffix("']").and_then(|text| text.split_once("['")) {
        let key = match of {
            "metadata.annotations" => key.to_lowercase(),
            "metadata.labels" => key.to_owned(),
            _ => {
                let detail =
                    format!("error converting fieldPath: field label does not support subscript: {text}");
                path.invalid(detail, problems);
                return;
            }
        };
        reference.with(&key.into()).qualified(problems);
        return;
    }
    const KNOWN: [&str; 13] = [
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.serviceAccountName",
        "spec.schedulerName",
        "status.phase",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
    ];
    if !KNOWN.contains(&text) && text != "status.podIPs" && text != "spec.host" {
        let detail = format!("error converting fieldPath: field label not supported: {text}");
        path.invalid(detail, problems);
    } else if !allowed.contains(&text) {
        path.not_supported(allowed, problems);
    }
}

const RESOURCE_FIELDS: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const SIZE_UNITS: [&str; 13] =
    ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// A reference to a container's resources.
pub(super) fn resource_reference(reference: &Field<'_, '_>, in_volume: bool, problems: &mut Problems) {
    let (resource, divisor) = (reference.get("resource"), reference.get("divisor"));
    let name = resource.text();
    let huge = name.starts_with("requests.hugepages-") || name.starts_with("limits.hugepages-");
    if in_volume && reference.get("containerName").text().is_empty() {
        reference.get("containerName").required("", problems);
    } else if resource.need(problems) && !RESOURCE_FIELDS.contains(&name) && !huge {
        resource.not_supported(&RESOURCE_FIELDS, problems);
    }
    let Some(unit) = amount(divisor.value()).filter(|unit| !unit.is_zero()) else { return };
    let unit = unit.to_string();
    let sizes = SIZE_UNITS.contains(&unit.as_str());
    let (right, what) = match name {
        "limits.cpu" | "requests.cpu" => (unit == "1" || unit == "1m", "cpu"),
        "limits.memory" | "requests.memory" => (sizes, "memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => (sizes, "local ephemeral storage"),
        _ => (sizes || !huge, "hugepages"),
    };
    if right {
        return;
    }
    let detail = if what == "cpu" {
        "only divisor's values 1m and 1 are supported with the cpu resource".to_owned()
    } else {
        format!("only divisor's values {} are supported with the {what} resource", SIZE_UNITS.join(", "))
    };
    divisor.invalid_as(name.into(), detail, problems);
}

fn mounts(container: &Field<'_, '_>, around: &Surroundings<'_>, problems: &mut Problems) {
    let list = container.get("volumeMounts");
    let mut targets = BTreeSet::new();
    let devices = container.get("volumeDevices");
    for mount in list.items() {
        let (name, target) = (mount.get("name"), mount.get("mountPath"));
        name.need(problems);
        if !around.volumes.contains_key(name.text()) {
            name.with(&name.text().into()).not_found("", problems);
        }
        target.need(problems);
        if !targets.insert(target.text()) {
            target.invalid("must be unique", problems);
        }
        if devices.list().iter().any(|device| device["name"] == *name.value()) {
            name.invalid("must not already exist in volumeDevices", problems);
        }
        if devices.list().iter().any(|device| device["devicePath"] == *target.value()) {
            target.invalid("must not already exist as a path in volumeDevices", problems);
        }
        let (sub, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
        if !sub.text().is_empty() {
            let at = list.child("subPath");
            descending(&at.with(sub.value()), problems);
        }
        if !expression.text().is_empty() {
            if !sub.text().is_empty() {
                expression.invalid("subPathExpr and subPath are mutually exclusive", problems);
            }
            let at = list.child("subPathExpr");
            descending(&at.with(expression.value()), problems);
        }
        propagation(&list, &mount, container, problems);
    }
}

fn propagation(
    list: &Field<'_, '_>,
    mount: &Field<'_, '_>,
    container: &Field<'_, '_>,
    problems: &mut Problems,
) {
    let mode = mount.get("mountPropagation");
    let at = list.child("mountPropagation");
    let at = at.with(mode.value());
    at.one_of_if_set(&["Bidirectional", "HostToContainer", "None"], problems);
    if mode.text() == "Bidirectional" && !container.get("securityContext").get("privileged").is_true() {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        at.forbidden(detail, problems);
    }
    let recursive = mount.get("recursiveReadOnly");
    let at = list.child("recursiveReadOnly");
    let at = at.with(recursive.value());
    at.one_of_if_set(&["Disabled", "Enabled", "IfPossible"], problems);
    if matches!(recursive.text(), "Enabled" | "IfPossible") {
        if !mount.get("readOnly").is_true() {
            at.forbidden("may only be specified when readOnly is true", problems);
        }
        if mode.is_set() && mode.text() != "None" {
            at.forbidden("may only be specified when mountPropagation is None or not specified", problems);
        }
    }
}

fn devices(container: &Field<'_, '_>, around: &Surroundings<'_>, problems: &mut Problems) {
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    let mounts = container.get("volumeMounts");
    for device in container.get("volumeDevices").items() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        name.need(problems);
        if names.contains(name.text()) {
            name.invalid("must be unique", problems);
        }
        match around.volumes.get(name.text()) {
            Some(Volume::Claim) => {}
            Some(Volume::Other) => {
                let detail =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                name.invalid(detail, problems);
            }
            None => name.with(&name.text().into()).not_found("", problems),
        }
        path.need(problems);
        if paths.contains(path.text()) {
            path.invalid("must be unique", problems);
        }
        if no_backsteps(path.text()) {
            paths.insert(path.text());
        } else {
            path.invalid("can not contain backsteps ('..')", problems);
        }
        if mounts.list().iter().any(|mount| mount["name"] == *name.value()) {
            name.invalid("must not already exist in volumeMounts", problems);
        }
        if mounts.list().iter().any(|mount| mount["mountPath"] == *path.value()) {
            path.invalid("must not already exist as a path in volumeMounts", problems);
        }
        if !name.text().is_empty() {
            names.insert(name.text());
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
