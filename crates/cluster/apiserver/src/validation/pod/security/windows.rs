//! Windows: no node of ours runs it, but its Pods are written down all the same.

use crate::validation::field::Field;
use crate::validation::names;
use crate::validation::pod::{Form, Problems, each_container};

/// Options that mean something there.
pub(super) fn options(options: &Field<'_, '_>, problems: &mut Problems) {
    const SPEC_KIB: usize = 64;
    if !options.is_set() {
        return;
    }
    let name = options.get("gmsaCredentialSpecName");
    if name.is_set() {
        name.name(Form::Subdomain, problems);
    }
    let spec = options.get("gmsaCredentialSpec");
    if spec.is_set() && spec.text().is_empty() {
        spec.invalid("gmsaCredentialSpec cannot be an empty string", problems);
    } else if spec.text().len() > SPEC_KIB * 1024 {
        spec.invalid(format!("gmsaCredentialSpec size must be under {SPEC_KIB} KiB"), problems);
    }
    let user = options.get("runAsUserName");
    if user.is_set() {
        for problem in windows_user(user.text()) {
            user.invalid(problem, problems);
        }
    }
}

/// What is wrong with `domain\user`.
fn windows_user(text: &str) -> Vec<String> {
    const DOMAIN: usize = 256;
    const USER: usize = 104;
    let one = |problem: &str| vec![format!("runAsUserName {problem}")];
    if text.is_empty() {
        return one("cannot be an empty string");
    }
    if text.chars().any(char::is_control) {
        return one("cannot contain control characters");
    }
    if text.matches('\\').count() > 1 {
        return one("cannot contain more than one backslash");
    }
    let mut wrong = Vec::new();
    let (domain, user) = text.split_once('\\').map_or((None, text), |(domain, user)| (Some(domain), user));
    if let Some(domain) = domain {
        if domain.len() >= DOMAIN {
            wrong.push(format!("runAsUserName's Domain length must be under {DOMAIN} characters"));
        }
        let short = (1..=15).contains(&domain.chars().count())
            && !domain.starts_with('.')
            && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|']);
        if !short && !names::problems(Form::Subdomain, &domain.to_lowercase()).is_empty() {
            wrong.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format".to_owned());
        }
    }
    if user.is_empty() {
        wrong.push("runAsUserName's User cannot be empty".to_owned());
    } else if user.len() > USER {
        wrong.push(format!("runAsUserName's User length must not be longer than {USER} characters"));
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        wrong.push("runAsUserName's User cannot contain only periods or spaces".to_owned());
    }
    let forbidden = ['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']'];
    if user.contains(forbidden) {
        wrong.push(
            "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]".to_owned(),
        );
    }
    wrong
}

/// What means nothing there.
pub(super) fn refuse_others(spec: &Field<'_, '_>, problems: &mut Problems) {
    const DETAIL: &str = "cannot be set for a windows pod";
    const OF_CONTAINERS: [&str; 10] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
        "runAsGroup",
    ];
    let context = spec.get("securityContext");
    let own = |field: &str| matches!(field, "hostUsers" | "hostPID" | "hostIPC" | "shareProcessNamespace");
    for field in [
        "appArmorProfile",
        "seLinuxOptions",
        "hostUsers",
        "hostPID",
        "hostIPC",
        "seccompProfile",
        "fsGroup",
        "fsGroupChangePolicy",
        "sysctls",
        "shareProcessNamespace",
        "runAsUser",
        "runAsGroup",
        "supplementalGroups",
        "supplementalGroupsPolicy",
        "seLinuxChangePolicy",
    ] {
        let field = if own(field) { spec.get(field) } else { context.get(field) };
        if field.is_set() {
            field.forbidden(DETAIL, problems);
        }
    }
    each_container(spec, &mut |container| {
        let context = container.get("securityContext");
        for field in OF_CONTAINERS {
            if context.get(field).is_set() {
                context.get(field).forbidden(DETAIL, problems);
            }
        }
    });
}
