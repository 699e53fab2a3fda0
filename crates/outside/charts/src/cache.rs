//! What was fetched before, on disk: archives by the digest of their content, and what leads to them.
//!
//! Several processes may use one directory. Files appear under their names whole (written beside and renamed), an
//! archive is checked against its name whenever it is read, and one that is missing or broken is fetched anew: nothing
//! needs a lock.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::repository::hex;

#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
    /// Bytes of all archives above which the ones unused longest go.
    limit: u64,
}

/// Records are small; a larger one is none of ours.
const RECORD_LIMIT: u64 = 128 << 20;

impl Cache {
    pub(crate) fn new(root: PathBuf, limit: u64) -> Self {
        Self { root, limit }
    }

    /// The archive with this digest (64 hex digits), if it is here and whole.
    pub(crate) fn archive(&self, digest: &str) -> Option<Bytes> {
        let path = self.archive_path(digest)?;
        let content = fs::read(&path).ok()?;
        if sha256(&content) != digest {
            tracing::warn!(digest, "an archive in the chart cache is broken; it is fetched anew");
            let _ = fs::remove_file(&path);
            return None;
        }
        if let Ok(file) = fs::File::open(&path) {
            // What is used stays longest.
            let _ = file.set_modified(now());
        }
        Some(content.into())
    }

    /// Keeps an archive and returns its digest.
    pub(crate) fn keep_archive(&self, content: &[u8]) -> Result<String, Error> {
        let digest = sha256(content);
        let path = self.archive_path(&digest).expect("it is 64 hex digits");
        self.write(&path, content)?;
        self.prune();
        Ok(digest)
    }

    /// A record of a kind under a key (64 hex digits).
    pub(crate) fn record<T: DeserializeOwned>(&self, kind: &str, key: &str) -> Option<T> {
        let path = self.root.join(kind).join(key);
        if fs::metadata(&path).ok()?.len() > RECORD_LIMIT {
            return None;
        }
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    pub(crate) fn keep_record<T: Serialize>(&self, kind: &str, key: &str, record: &T) -> Result<(), Error> {
        let path = self.root.join(kind).join(key);
        let content = serde_json::to_vec(record).expect("records have string keys");
        self.write(&path, &content)
    }

    fn archive_path(&self, digest: &str) -> Option<PathBuf> {
        is_digest(digest).then(|| self.root.join("archives").join(digest))
    }

    fn write(&self, path: &Path, content: &[u8]) -> Result<(), Error> {
        let failed = |action| {
            move |error: std::io::Error| Error::Cache {
                action,
                path: path.to_owned(),
                reason: error.to_string(),
            }
        };
        let directory = path.parent().expect("it lies in the cache");
        // Charts may be private.
        let create = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        create.map_err(failed("create the directory of"))?;
        let mut file =
            tempfile::Builder::new().prefix(".new-").tempfile_in(directory).map_err(failed("create"))?;
        file.write_all(content).map_err(failed("write"))?;
        file.persist(path).map_err(|error| failed("rename")(error.error))?;
        Ok(())
    }

    /// Removes the archives that were not used for longest while all together are too large. Other processes that
    /// still want one fetch it again.
    fn prune(&self) {
        let Ok(entries) = fs::read_dir(self.root.join("archives")) else { return };
        let mut archives: Vec<(SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        let mut total: u64 = archives.iter().map(|(_, size, _)| size).sum();
        archives.sort();
        for (_, size, path) in archives {
            if total <= self.limit {
                return;
            }
            let _ = fs::remove_file(path);
            total = total.saturating_sub(size);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "ages of files that outlive the process are in wall-clock time"
)]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// 64 lower-case hex digits, so that it can be a file name.
pub(crate) fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

pub(crate) fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_archive_is_as_good_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().to_owned(), 1 << 20);
        let digest = cache.keep_archive(b"content").unwrap();
        assert_eq!(cache.archive(&digest).unwrap(), "content");
        fs::write(directory.path().join("archives").join(&digest), "else").unwrap();
        assert_eq!(cache.archive(&digest), None);
        assert_eq!(cache.archive("../../etc/passwd"), None);
    }

    #[test]
    fn what_is_unused_longest_goes_first() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().to_owned(), 25);
        let age = |digest: &str, seconds: u64| {
            let file = fs::File::open(directory.path().join("archives").join(digest)).unwrap();
            file.set_modified(now() - std::time::Duration::from_secs(seconds)).unwrap();
        };
        let first = cache.keep_archive(b"0123456789").unwrap();
        age(&first, 20);
        let second = cache.keep_archive(b"abcdefghij").unwrap();
        age(&second, 30);
        let third = cache.keep_archive(b"ABCDEFGHIJ").unwrap();
        assert!(cache.archive(&first).is_some() && cache.archive(&third).is_some());
        assert!(cache.archive(&second).is_none());
    }

    #[test]
    fn many_writers_agree() {
        let directory = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let cache = Cache::new(directory.path().to_owned(), 1 << 30);
                    for _ in 0..20 {
                        let digest = cache.keep_archive(&content).unwrap();
                        assert_eq!(cache.archive(&digest).unwrap(), content);
                    }
                });
            }
        });
        let left: Vec<_> = fs::read_dir(directory.path().join("archives")).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "no half-written file stays behind");
    }
}
