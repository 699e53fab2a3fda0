//! Whether files are being written at this moment.
//!
//! An editor that saves a file may empty it first, or remove it and make it anew; a Git command changes many files one
//! after another. What is read in between is nobody's intention: rendered, it would lack objects, and those would be
//! pruned.

use std::fs::Metadata;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tree::TreePath;

/// A file that was not touched for this long is written.
const QUIET: Duration = Duration::from_millis(120);
/// One that is empty is likely about to be filled.
const FILLED: Duration = Duration::from_secs(2);
/// Files that never rest, as logs do, are taken as they are after this long.
const PATIENCE: Duration = Duration::from_secs(1);
/// So is what Git's lock stands beside, if nothing moves: a command that waits for its editor, or a lock that was left.
const STANDS: Duration = Duration::from_secs(2);
/// A Git command that changes files for longer is not waited for.
pub(crate) const LONGEST_COMMAND: Duration = Duration::from_secs(30);
/// The pause between two looks at least.
const SHORTEST: Duration = Duration::from_millis(20);

/// What one look at the files found of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unrest {
    /// How long until all files have rested.
    wait: Duration,
    /// Whether one of them is empty.
    empty: bool,
    /// Whether a Git command holds the lock of the index.
    pub(crate) locked: bool,
}

impl Unrest {
    /// Notes a file that differs from what is committed.
    pub(crate) fn written(&mut self, metadata: &Metadata, path: &TreePath) {
        let empty = metadata.len() == 0 && !path.file_name().starts_with('.');
        self.note(metadata, if empty { FILLED } else { QUIET }, empty);
    }

    /// Notes a file that is not there: its directory tells when it went.
    pub(crate) fn removed(&mut self, path: &Path) {
        let directory = path.ancestors().skip(1).find_map(|above| std::fs::metadata(above).ok());
        if let Some(metadata) = directory {
            self.note(&metadata, QUIET, false);
        }
    }

    fn note(&mut self, metadata: &Metadata, rests: Duration, empty: bool) {
        // A time to come tells nothing.
        let Some(age) = metadata.modified().ok().and_then(|at| now().duration_since(at).ok()) else { return };
        let wait = rests.saturating_sub(age);
        self.empty |= empty && !wait.is_zero();
        self.wait = self.wait.max(wait);
    }

    /// Whether what was read can be taken for what somebody wants, `waited` after the first look; `same`: as at the
    /// look before.
    pub(crate) fn is_over(&self, waited: Duration, same: bool) -> bool {
        if self.locked {
            return same && waited >= STANDS;
        }
        self.wait.is_zero() || waited >= if self.empty { FILLED } else { PATIENCE }
    }

    /// When to look again.
    pub(crate) fn look(&self) -> Duration {
        if self.locked || self.empty { QUIET } else { self.wait.clamp(SHORTEST, QUIET) }
    }
}

/// Whether a file is simply not there.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[expect(clippy::disallowed_methods, reason = "times of files are in wall-clock time")]
fn now() -> SystemTime {
    SystemTime::now()
}
