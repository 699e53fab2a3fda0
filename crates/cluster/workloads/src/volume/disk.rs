//! The directories of provisioned volumes.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use objects::meta;
use serde_json::Value;

use super::{PROVISIONED_BY, PROVISIONER};

#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    #[error("make the directory {path}")]
    Make {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("remove the directory {path}")]
    Remove {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("remove the directory of volume {volume}: its path is not one that was made for it")]
    Foreign { volume: String },
}

/// `<volumes>/<volume>_<namespace>_<claim>`; the parts are Kubernetes names, so none has a slash or is `..`.
pub(super) fn directory(volumes: &Path, name: &str, claim: &Value) -> PathBuf {
    volumes.join(format!("{name}_{}_{}", meta::namespace(claim).unwrap_or(""), meta::name(claim)))
}

/// Makes a directory that containers of any user can write to, as the local-path provisioner does.
pub(super) async fn make(path: PathBuf) -> Result<(), DiskError> {
    let shown = path.display().to_string();
    let made = tokio::task::spawn_blocking(move || {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        match std::fs::DirBuilder::new().mode(0o777).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        // The mode given at creation is cut by the process's mask.
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777))
    });
    made.await.map_err(io::Error::other).flatten().map_err(|source| DiskError::Make { path: shown, source })
}

/// Removes the directory of a volume this controller provisioned, and nothing else.
pub(super) async fn remove(volumes: &Path, volume: &Value) -> Result<(), DiskError> {
    let Some(path) = own_path(volumes, volume) else {
        return Err(DiskError::Foreign { volume: meta::name(volume).to_owned() });
    };
    let shown = path.display().to_string();
    let removed = tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    });
    removed
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(|source| DiskError::Remove { path: shown, source })
}

/// The volume's directory, if it is directly below `volumes` and carries the volume's own name.
fn own_path(volumes: &Path, volume: &Value) -> Option<PathBuf> {
    if meta::annotation(volume, PROVISIONED_BY) != Some(PROVISIONER) {
        return None;
    }
    let path = Path::new(volume["spec"]["local"]["path"].as_str()?);
    let last = path.file_name()?.to_str()?;
    let own = last.starts_with(&format!("{}_", meta::name(volume))) && !meta::name(volume).is_empty();
    (own && path == volumes.join(last)).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn volume(path: &str) -> Value {
        json!({ "metadata": { "name": "pvc-1", "annotations": { PROVISIONED_BY: PROVISIONER } },
            "spec": { "local": { "path": path } } })
    }

    #[test]
    fn only_own_directories_are_removed() {
        let base = Path::new("/data/volumes");
        let allowed = |path: &str| own_path(base, &volume(path)).is_some();
        assert!(allowed("/data/volumes/pvc-1_a_data"));
        for path in [
            "/data/volumes",
            "/data/volumes/pvc-2_a_data",
            "/data/volumes/pvc-1_a/../..",
            "/etc/pvc-1_a_data",
            "/data/volumes/x/pvc-1_a_data",
            "pvc-1_a_data",
            "",
        ] {
            assert!(!allowed(path), "{path}");
        }
        let mut foreign = volume("/data/volumes/pvc-1_a_data");
        foreign["metadata"]["annotations"] = json!({});
        assert_eq!(own_path(base, &foreign), None);
    }

    #[tokio::test]
    async fn directories_come_and_go() {
        let base = tempfile::tempdir().unwrap();
        let claim = json!({ "metadata": { "name": "data", "namespace": "a" } });
        let path = directory(base.path(), "pvc-1", &claim);
        make(path.clone()).await.unwrap();
        make(path.clone()).await.unwrap();
        std::fs::write(path.join("file"), "x").unwrap();
        let volume = volume(path.to_str().unwrap());
        remove(base.path(), &volume).await.unwrap();
        assert!(!path.exists());
        remove(base.path(), &volume).await.unwrap();
    }
}
