//! The security context a container runs with: its own fields over the Pod's over the image's.

use containers::{Seccomp, Security, User};
use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, SecurityContext};

use crate::env::ConfigError;
use crate::pod::{self, PodId};

struct Contexts {
    pod: PodSecurityContext,
    container: SecurityContext,
}

fn contexts(pod: &Pod, container: &Container) -> Contexts {
    Contexts {
        pod: pod::spec(pod).security_context.clone().unwrap_or_default(),
        container: container.security_context.clone().unwrap_or_default(),
    }
}

/// Who the container runs as. Fails when `runAsNonRoot` cannot be kept.
pub(crate) fn user(
    pod: &Pod,
    id: &PodId,
    container: &Container,
    image_user: &str,
) -> Result<User, ConfigError> {
    let contexts = contexts(pod, container);
    let uid = contexts.container.run_as_user.or(contexts.pod.run_as_user);
    let gid = contexts.container.run_as_group.or(contexts.pod.run_as_group);
    if contexts.container.run_as_non_root.or(contexts.pod.run_as_non_root) == Some(true) {
        verify_non_root(uid, image_user).map_err(|problem| {
            let name = &container.name;
            ConfigError::Refused(format!("{problem} (pod: \"{id}\", container: {name})"))
        })?;
    }
    let merge = contexts.pod.supplemental_groups.iter().flatten().copied().chain(contexts.pod.fs_group);
    Ok(User {
        name: uid.map_or_else(|| image_user.to_owned(), |uid| uid.to_string()),
        group: gid.and_then(|gid| u32::try_from(gid).ok()),
        additional_groups: merge.filter_map(|gid| u32::try_from(gid).ok()).collect(),
    })
}

fn verify_non_root(uid: Option<i64>, image_user: &str) -> Result<(), String> {
    let image = image_user.split(':').next().unwrap_or_default();
    match (uid, image) {
        (Some(0), _) => Err("container's runAsUser breaks non-root policy".to_owned()),
        (Some(_), _) => Ok(()),
        (None, "" | "0") => Err("container has runAsNonRoot and image will run as root".to_owned()),
        (None, image) if image.bytes().all(|b| b.is_ascii_digit()) => Ok(()),
        (None, image) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({image}), cannot verify user is non-root"
        )),
    }
}

/// What the container may do. Whether it may ask for that was decided by [`crate::refusals`].
pub(crate) fn security(pod: &Pod, container: &Container) -> Security {
    let Contexts { pod, container } = contexts(pod, container);
    let privileged = container.privileged == Some(true);
    let capabilities = container.capabilities.unwrap_or_default();
    let seccomp = container.seccomp_profile.or(pod.seccomp_profile).map(|profile| profile.type_);
    Security {
        privileged,
        add_capabilities: capabilities.add.unwrap_or_default(),
        drop_capabilities: capabilities.drop.unwrap_or_default(),
        no_new_privileges: container.allow_privilege_escalation == Some(false) && !privileged,
        read_only_rootfs: container.read_only_root_filesystem == Some(true),
        seccomp: match seccomp.as_deref() {
            Some("Unconfined") => Seccomp::Unconfined,
            _ if privileged => Seccomp::Unconfined,
            _ => Seccomp::Default,
        },
        unmasked_proc: container.proc_mount.as_deref() == Some("Unmasked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(pod_context: Value, container_context: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {
                "securityContext": pod_context,
                "containers": [{"name": "c", "securityContext": container_context}],
            },
        }))
        .unwrap()
    }

    fn run(pod_context: Value, container_context: Value, image_user: &str) -> Result<User, String> {
        let pod = pod(pod_context, container_context);
        let id = PodId { namespace: "n".into(), name: "p".into(), uid: "u".into() };
        user(&pod, &id, &pod::spec(&pod).containers[0], image_user).map_err(|error| error.to_string())
    }

    #[test]
    fn the_container_wins_over_the_pod_and_the_pod_over_the_image() {
        let user = run(
            json!({"runAsUser": 65534, "runAsGroup": 7, "fsGroup": 1337, "supplementalGroups": [5]}),
            json!({}),
            "redis",
        );
        let expected = User { name: "65534".into(), group: Some(7), additional_groups: vec![5, 1337] };
        assert_eq!(user, Ok(expected));
        assert_eq!(
            run(json!({"runAsUser": 1}), json!({"runAsUser": 2}), "").map(|user| user.name),
            Ok("2".into())
        );
        assert_eq!(run(json!({}), json!({}), "redis:redis").map(|user| user.name), Ok("redis:redis".into()));
    }

    #[test]
    fn non_root_is_verified() {
        let non_root = || json!({"runAsNonRoot": true});
        assert_eq!(
            run(non_root(), json!({}), "").unwrap_err(),
            "container has runAsNonRoot and image will run as root (pod: \"p_n(u)\", container: c)"
        );
        assert!(run(non_root(), json!({}), "redis").unwrap_err().contains("non-numeric user (redis)"));
        assert!(
            run(non_root(), json!({"runAsUser": 0}), "1").unwrap_err().contains("breaks non-root policy")
        );
        assert!(run(non_root(), json!({}), "1000:1000").is_ok());
        assert!(run(non_root(), json!({"runAsNonRoot": false}), "").is_ok());
    }

    #[test]
    fn privileges() {
        let pod = pod(
            json!({"seccompProfile": {"type": "RuntimeDefault"}}),
            json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}),
        );
        let security = security(&pod, &pod::spec(&pod).containers[0]);
        assert!(security.no_new_privileges && security.read_only_rootfs && !security.privileged);
        assert_eq!(
            (security.add_capabilities, security.drop_capabilities),
            (vec!["CHOWN".into()], vec!["ALL".into()])
        );
        assert_eq!(security.seccomp, Seccomp::Default);
    }
}
