//! What this node remembers of Pods beside the API and the runtime, so that the next process can go on: small JSON files
//! in the Pod's directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::observed::Exit;
use crate::pod::{PodId, is_uid};

/// Of one attempt of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// As the specification named it.
    pub(crate) image: String,
    /// As the status names it.
    pub(crate) image_id: String,
    /// What asks the process to end.
    pub(crate) stop_signal: i32,
    /// See [`crate::observed::Instance::interrupted`].
    #[serde(default)]
    pub(crate) interrupted: bool,
    /// Set when the process could not be run, so that the runtime has no container of this attempt.
    #[serde(default)]
    pub(crate) failed: Option<Exit>,
}

/// The id of a container in the runtime says whose it is.
pub(crate) fn container_id(uid: &str, container: &str, attempt: u32) -> String {
    format!("{uid}.{container}.{attempt}")
}

/// The parts of such an id: uid, container, attempt.
pub(crate) fn parse_container_id(id: &str) -> Option<(&str, &str, u32)> {
    let (uid, rest) = id.split_once('.')?;
    let (container, attempt) = rest.rsplit_once('.')?;
    (is_uid(uid) && !container.is_empty()).then_some((uid, container, attempt.parse().ok()?))
}

#[derive(Serialize, Deserialize)]
struct PodRecord {
    namespace: String,
    name: String,
}

/// Notes whose directory this is: a Pod that vanished from the API still has a log directory to remove.
pub(crate) fn write_pod(dir: &Path, id: &PodId) -> io::Result<()> {
    fs::create_dir_all(dir.join("instances"))?;
    let record = PodRecord { namespace: id.namespace.clone(), name: id.name.clone() };
    write(&dir.join("pod.json"), &record)
}

/// The Pods that have a directory beneath `pods`.
pub(crate) fn known_pods(pods: &Path) -> Vec<PodId> {
    let entries = fs::read_dir(pods).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let uid = entry.file_name().into_string().ok().filter(|name| is_uid(name))?;
            let record: PodRecord = read(&entry.path().join("pod.json"))
                .unwrap_or_else(|| PodRecord { namespace: "unknown".to_owned(), name: "unknown".to_owned() });
            Some(PodId { namespace: record.namespace, name: record.name, uid })
        })
        .collect()
}

fn path(dir: &Path, container: &str, attempt: u32) -> PathBuf {
    dir.join("instances").join(format!("{container}.{attempt}.json"))
}

pub(crate) fn write_instance(dir: &Path, container: &str, attempt: u32, record: &Record) -> io::Result<()> {
    write(&path(dir, container, attempt), record)
}

pub(crate) fn remove_instance(dir: &Path, container: &str, attempt: u32) -> io::Result<()> {
    match fs::remove_file(path(dir, container, attempt)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// All attempts on record: container, attempt, record.
pub(crate) fn instances(dir: &Path) -> Vec<(String, u32, Record)> {
    let entries = fs::read_dir(dir.join("instances")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (container, attempt) = name.strip_suffix(".json")?.rsplit_once('.')?;
            Some((container.to_owned(), attempt.parse().ok()?, read(&entry.path())?))
        })
        .collect()
}

/// Replaces the file in one step; a crash leaves the old or the new one.
fn write(path: &Path, record: &impl Serialize) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec(record)?)?;
    fs::rename(&new, path)
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0b5f9a3e-2a5d-4a5e-9d3a-1c2b3a4d5e6f";

    #[test]
    fn container_ids_come_apart_again() {
        let id = container_id(UID, "my-app", 12);
        assert_eq!(parse_container_id(&id), Some((UID, "my-app", 12)));
        for other in [
            "",
            "x.y.1",
            "0b5f9a3e-2a5d-4a5e-9d3a-1c2b3a4d5e6f.app.x",
            "0b5f9a3e-2a5d-4a5e-9d3a-1c2b3a4d5e6f",
        ] {
            assert_eq!(parse_container_id(other), None, "{other}");
        }
    }

    #[test]
    fn records_are_found_again_and_a_half_written_one_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        let pods = root.path().join("pods");
        let id = PodId { namespace: "n".into(), name: "p".into(), uid: UID.into() };
        let dir = pods.join(UID);
        write_pod(&dir, &id).unwrap();
        let record = Record {
            image: "i".into(),
            image_id: "d".into(),
            stop_signal: 15,
            interrupted: false,
            failed: None,
        };
        write_instance(&dir, "app", 3, &record).unwrap();
        fs::write(dir.join("instances/app.4.json"), "{").unwrap();
        assert_eq!(instances(&dir), [("app".to_owned(), 3, record)]);
        assert_eq!(known_pods(&pods), [id]);
        remove_instance(&dir, "app", 3).unwrap();
        remove_instance(&dir, "app", 3).unwrap();
        assert_eq!(instances(&dir), []);
    }
}
