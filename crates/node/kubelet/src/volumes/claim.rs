//! From a claim to a directory of this machine.

use std::path::{Component, Path, PathBuf};

use client::Key;
use client::resource::{PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES};
use serde_json::Value;

use super::{Job, VolumeError, blocking};

/// The directory behind the claim. Volumes beneath the node's own root are made when missing; a path anywhere else is the
/// host's, and needs the namespace's permission.
pub(super) async fn path(job: Job<'_>, claim: &str) -> Result<PathBuf, VolumeError> {
    let namespace = &job.id.namespace;
    let found = job.shared.api(&PERSISTENT_VOLUME_CLAIMS).find(&Key::namespaced(namespace, claim)).await;
    let claim_object = found
        .map_err(VolumeError::Read)?
        .ok_or_else(|| VolumeError::Claim(format!("persistentvolumeclaim \"{claim}\" not found")))?;
    let bound = text(&claim_object, "/status/phase") == "Bound";
    let volume_name = text(&claim_object, "/spec/volumeName");
    if !bound || volume_name.is_empty() {
        return Err(VolumeError::Claim(format!(
            "persistentvolumeclaim \"{claim}\" is not bound to a volume yet"
        )));
    }
    let volume = job.shared.api(&PERSISTENT_VOLUMES).find(&Key::cluster(volume_name)).await;
    let volume = volume
        .map_err(VolumeError::Read)?
        .ok_or_else(|| VolumeError::Claim(format!("persistentvolume \"{volume_name}\" not found")))?;
    if text(&volume, "/spec/claimRef/uid") != text(&claim_object, "/metadata/uid") {
        return Err(VolumeError::Claim(format!(
            "persistentvolume \"{volume_name}\" is bound to another claim"
        )));
    }
    let local = text(&volume, "/spec/local/path");
    let path = if local.is_empty() { text(&volume, "/spec/hostPath/path") } else { local };
    if path.is_empty() {
        let problem = "only local and hostPath volumes are supported yet";
        return Err(VolumeError::Claim(format!("persistentvolume \"{volume_name}\": {problem}")));
    }
    let path = PathBuf::from(path);
    if is_beneath(&path, job.shared.local_volumes()) {
        let dir = path.clone();
        blocking(move || {
            std::fs::create_dir_all(&dir).map_err(VolumeError::file("create", &dir))?;
            super::ownership::open_to_all_once(&dir)
        })
        .await?;
    } else if !job.shared.privileged().allow(namespace) {
        return Err(VolumeError::Claim(format!(
            "persistentvolume \"{volume_name}\" lies outside of the node's volumes, which is refused in namespace \
             \"{namespace}\": allow it with --allow-privileged {namespace}"
        )));
    }
    Ok(path)
}

/// Whether the path is plainly below the root: no `..` on the way.
fn is_beneath(path: &Path, root: &Path) -> bool {
    path.strip_prefix(root).is_ok_and(|rest| {
        rest.components().next().is_some()
            && rest.components().all(|part| matches!(part, Component::Normal(_)))
    })
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_plainly_below_the_root_is_ours() {
        let root = Path::new("/data/volumes");
        assert!(is_beneath(Path::new("/data/volumes/pvc-1"), root));
        for other in
            ["/data/volumes", "/data/volumes/../secrets", "/etc", "data/volumes/x", "/data/volumes2/x"]
        {
            assert!(!is_beneath(Path::new(other), root), "{other}");
        }
    }
}
