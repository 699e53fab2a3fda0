//! With which rights Pods and their containers run.

mod windows;

use serde_json::Value;

use super::volumes::descending;
use super::{Problems, each_container};
use crate::validation::field::Field;

/// The largest id of a user or group.
const LARGEST_ID: i64 = i32::MAX as i64;
const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APPARMOR_CONTAINER: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The annotations that mean something for Pods.
pub(super) fn annotations(annotations: &Field<'_, '_>, spec: &Field<'_, '_>, problems: &mut Problems) {
    for (key, annotation) in annotations.entries() {
        let text = annotation.text();
        if key == MIRROR && spec.get("nodeName").text().is_empty() {
            annotation.invalid("must set spec.nodeName if mirror pod annotation is set", problems);
        } else if key == DELETION_COST && !is_cost(text) {
            annotation.invalid("must be a 32bit integer", problems);
        } else if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            let at = annotations.child(key);
            seccomp_annotation(&at.with(annotation.value()), problems);
        } else if let Some(name) = key.strip_prefix(APPARMOR_CONTAINER) {
            let mut found = false;
            each_container(spec, &mut |container| found |= container.get("name").text() == name);
            if !found {
                annotation.invalid_as(name.into(), "container not found", problems);
            }
            let known = ["", "runtime/default", "unconfined"].contains(&text);
            if !known && !text.starts_with("localhost/") {
                annotation.invalid(format!("invalid AppArmor profile name: {text:?}"), problems);
            }
        }
    }
}

fn is_cost(text: &str) -> bool {
    let leading = text == "0" || text.starts_with(|c: char| c == '-' || ('1'..='9').contains(&c));
    leading && text.parse::<i32>().is_ok()
}

fn seccomp_annotation(annotation: &Field<'_, '_>, problems: &mut Problems) {
    let text = annotation.text();
    if let Some(path) = text.strip_prefix("localhost/") {
        descending(&annotation.with(&path.into()), problems);
    } else if !["runtime/default", "docker/default", "unconfined"].contains(&text) {
        annotation.invalid("must be a valid seccomp profile", problems);
    }
}

/// Profiles that annotations name are those of the fields.
pub(super) fn match_annotations(annotations: &Field<'_, '_>, spec: &Field<'_, '_>, problems: &mut Problems) {
    let named = |key: &String| key.contains("seccomp.security") || key.starts_with(APPARMOR_CONTAINER);
    if !annotations.map().into_iter().flatten().any(|(key, _)| named(key)) {
        return;
    }
    let of_pod = spec.get("securityContext");
    if let Some(text) = annotations.value()[SECCOMP_POD].as_str() {
        profile_matches(&of_pod.get("seccompProfile"), text, "seccomp", problems);
    }
    each_container(spec, &mut |container| {
        let name = container.get("name").text();
        let context = container.get("securityContext");
        if let Some(text) = annotations.value()[format!("{SECCOMP_CONTAINER}{name}")].as_str() {
            profile_matches(&context.get("seccompProfile"), text, "seccomp", problems);
        }
        if let Some(text) = annotations.value()[format!("{APPARMOR_CONTAINER}{name}")].as_str() {
            let own = context.get("appArmorProfile");
            let shared = of_pod.get("appArmorProfile");
            let profile = if own.is_set() { own } else { own.with(shared.value()) };
            profile_matches(&profile, text, "apparmor", problems);
        }
    });
}

fn profile_matches(profile: &Field<'_, '_>, text: &str, what: &str, problems: &mut Problems) {
    let kind = profile.get("type");
    let right = match kind.text() {
        "Unconfined" => text == "unconfined",
        "RuntimeDefault" => text == "runtime/default" || (what == "seccomp" && text == "docker/default"),
        "Localhost" => text.starts_with("localhost/"),
        _ => true,
    };
    let path = profile.get("localhostProfile");
    if !right {
        kind.forbidden(format!("{what} type in annotation and field must match"), problems);
    } else if kind.text() == "Localhost" && text.strip_prefix("localhost/") != path.value().as_str() {
        path.forbidden(format!("{what} profile in annotation and field must match"), problems);
    }
}

fn id(field: &Field<'_, '_>, problems: &mut Problems) {
    field.within(0, LARGEST_ID, problems);
}

/// The security context of a Pod.
pub(super) fn pod(spec: &Field<'_, '_>, problems: &mut Problems) {
    let context = spec.get("securityContext");
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(&context.get(field), problems);
    }
    context.get("supplementalGroups").items().for_each(|group| id(&group, problems));
    if spec.get("shareProcessNamespace").is_true() && spec.get("hostPID").is_true() {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        context.child("shareProcessNamespace").invalid_as(true.into(), detail, problems);
    }
    sysctls(&context.get("sysctls"), spec, problems);
    context.get("fsGroupChangePolicy").one_of_if_set(&["Always", "OnRootMismatch"], problems);
    seccomp(&context.get("seccompProfile"), problems);
    windows::options(&context.get("windowsOptions"), problems);
    apparmor(&context.get("appArmorProfile"), problems);
    context.get("supplementalGroupsPolicy").one_of_if_set(&["Merge", "Strict"], problems);
    context.get("seLinuxChangePolicy").one_of_if_set(&["Recursive"], problems);
}

fn sysctls(sysctls: &Field<'_, '_>, spec: &Field<'_, '_>, problems: &mut Problems) {
    const LONGEST: usize = 253;
    const PATTERN: &str = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
    let mut seen = std::collections::BTreeSet::new();
    for sysctl in sysctls.items() {
        let name = sysctl.get("name");
        let text = name.text();
        if text.is_empty() {
            name.required("", problems);
        } else if text.len() > LONGEST || !text.split(['.', '/']).all(is_sysctl_segment) {
            let detail = format!("must have at most {LONGEST} characters and match regex {PATTERN}");
            name.invalid(detail, problems);
        } else if seen.contains(text) {
            name.duplicate(problems);
        }
        seen.insert(text);
        let ipc = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];
        if spec.get("hostNetwork").is_true() && text.starts_with("net.") {
            name.invalid("may not be specified when 'hostNetwork' is true", problems);
        } else if spec.get("hostIPC").is_true() && ipc.iter().any(|prefix| text.starts_with(prefix)) {
            name.invalid("may not be specified when 'hostIPC' is true", problems);
        }
    }
}

fn is_sysctl_segment(text: &str) -> bool {
    let end = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(end)
        && bytes.last().is_some_and(end)
        && bytes.iter().all(|c| end(c) || matches!(c, b'-' | b'_'))
}

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

fn seccomp(profile: &Field<'_, '_>, problems: &mut Problems) {
    if !profile.is_set() {
        return;
    }
    let (kind, path) = (profile.get("type"), profile.get("localhostProfile"));
    if kind.text().is_empty() {
        kind.required("type is required when seccompProfile is set", problems);
    } else {
        kind.one_of(&PROFILES, problems);
    }
    match (kind.text() == "Localhost", path.is_set()) {
        (true, false) => path.required("must be set when seccomp type is Localhost", problems),
        (true, true) => descending(&path, problems),
        (false, true) => {
            let shown = format!("{{\"Type\":{:?},\"LocalhostProfile\":{}}}", kind.text(), path.value());
            path.invalid_shown(shown, "can only be set when seccomp type is Localhost", problems);
        }
        (false, false) => {}
    }
}

fn apparmor(profile: &Field<'_, '_>, problems: &mut Problems) {
    const LONGEST: usize = 4095;
    if !profile.is_set() {
        return;
    }
    let (kind, path) = (profile.get("type"), profile.get("localhostProfile"));
    match kind.text() {
        "Localhost" if !path.is_set() => {
            path.required("must be set when AppArmor type is Localhost", problems);
        }
        "Localhost" => {
            if path.text().trim() != path.text() {
                path.invalid("must not be padded with whitespace", problems);
            } else if path.text().is_empty() {
                path.required("must be set when AppArmor type is Localhost", problems);
            }
            if path.text().len() > LONGEST {
                path.too_long(LONGEST, problems);
            }
        }
        "RuntimeDefault" | "Unconfined" if path.is_set() => {
            path.invalid("can only be set when AppArmor type is Localhost", problems);
        }
        "RuntimeDefault" | "Unconfined" => {}
        "" => kind.required("type is required when appArmorProfile is set", problems),
        _ => kind.not_supported(&PROFILES, problems),
    }
}

/// Fields of a type as upstream's messages order them; their names begin in upper case there.
type Names = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const CONTEXT: [Names; 12] = [
    ("capabilities", "Capabilities", &[("add", "Add"), ("drop", "Drop")]),
    ("privileged", "Privileged", &[]),
    (
        "seLinuxOptions",
        "SELinuxOptions",
        &[("user", "User"), ("role", "Role"), ("type", "Type"), ("level", "Level")],
    ),
    (
        "windowsOptions",
        "WindowsOptions",
        &[
            ("gmsaCredentialSpecName", "GMSACredentialSpecName"),
            ("gmsaCredentialSpec", "GMSACredentialSpec"),
            ("runAsUserName", "RunAsUserName"),
            ("hostProcess", "HostProcess"),
        ],
    ),
    ("runAsUser", "RunAsUser", &[]),
    ("runAsGroup", "RunAsGroup", &[]),
    ("runAsNonRoot", "RunAsNonRoot", &[]),
    ("readOnlyRootFilesystem", "ReadOnlyRootFilesystem", &[]),
    ("allowPrivilegeEscalation", "AllowPrivilegeEscalation", &[]),
    ("procMount", "ProcMount", &[]),
    ("seccompProfile", "SeccompProfile", &[("type", "Type"), ("localhostProfile", "LocalhostProfile")]),
    ("appArmorProfile", "AppArmorProfile", &[("type", "Type"), ("localhostProfile", "LocalhostProfile")]),
];

/// A security context as upstream's message shows it.
fn shown(context: &Value, names: &[Names]) -> String {
    let fields = names.iter().map(|(name, go, inner)| match &context[*name] {
        Value::Object(fields) if !inner.is_empty() => {
            let inner = inner
                .iter()
                .map(|(name, go)| format!("{go:?}:{}", fields.get(*name).unwrap_or(&Value::Null)));
            format!("{go:?}:{{{}}}", inner.collect::<Vec<_>>().join(","))
        }
        value => format!("{go:?}:{value}"),
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// The security context of a container.
pub(super) fn container(context: &Field<'_, '_>, spec: &Field<'_, '_>, problems: &mut Problems) {
    if !context.is_set() {
        return;
    }
    id(&context.get("runAsUser"), problems);
    id(&context.get("runAsGroup"), problems);
    let mount = context.get("procMount");
    if mount.is_set() {
        mount.one_of_if_set(&["Default", "Unmasked"], problems);
        if mount.text() == "Unmasked" && *spec.get("hostUsers").value() != Value::Bool(false) {
            mount.invalid("`hostUsers` must be false to use `Unmasked`", problems);
        }
    }
    seccomp(&context.get("seccompProfile"), problems);
    if *context.get("allowPrivilegeEscalation").value() == Value::Bool(false) {
        if context.get("privileged").is_true() {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            context.invalid_shown(shown(context.value(), &CONTEXT), detail, problems);
        }
        let added = context.get("capabilities");
        for _ in added.get("add").strings().filter(|capability| *capability == "CAP_SYS_ADMIN") {
            let detail =
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            context.invalid_shown(shown(context.value(), &CONTEXT), detail, problems);
        }
    }
    windows::options(&context.get("windowsOptions"), problems);
    apparmor(&context.get("appArmorProfile"), problems);
}

/// What a Pod with users of its own may not share with the machine.
pub(super) fn host_users(spec: &Field<'_, '_>, problems: &mut Problems) {
    if *spec.get("hostUsers").value() != Value::Bool(false) {
        return;
    }
    for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec.get(field).is_true() {
            spec.child(shown).forbidden("when `hostUsers` is false", problems);
        }
    }
    each_container(spec, &mut |container| {
        if !container.get("volumeDevices").list().is_empty() {
            container.get("volumeDevices").forbidden("when `hostUsers` is false", problems);
        }
    });
}

/// Fields that mean nothing on the Pod's operating system.
pub(super) fn operating_system(spec: &Field<'_, '_>, problems: &mut Problems) {
    let os = spec.get("os");
    if !os.is_set() {
        return;
    }
    let name = os.get("name");
    match name.text() {
        "" => name.required("", problems),
        "linux" => {
            let detail = "windows options cannot be set for a linux pod";
            let mut refuse = |context: Field<'_, '_>| {
                let options = context.get("windowsOptions");
                if options.is_set() {
                    options.forbidden(detail, problems);
                }
            };
            refuse(spec.get("securityContext"));
            each_container(spec, &mut |container| refuse(container.get("securityContext")));
        }
        "windows" => windows::refuse_others(spec, problems),
        _ => os.with(name.value()).not_supported(&["linux", "windows"], problems),
    }
}
