//! Becoming root where the node needs it, and giving the person who asked what belongs to them.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::fs::lchown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Error, Result, anyhow};

/// The person on whose behalf root acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    uid: u32,
    gid: u32,
}

impl Caller {
    /// Whom sudo says it acts for, by the variables it sets; `None` if nobody but root is involved.
    pub(crate) fn from_sudo(uid: Option<&str>, gid: Option<&str>) -> Option<Self> {
        let caller = Self { uid: uid?.parse().ok()?, gid: gid?.parse().ok()? };
        (caller.uid != 0).then_some(caller)
    }

    /// Hands a file or directory (not what is below it) to the caller. A link is not followed: it may lie in a directory
    /// that is the caller's, who must not be given what it leads to.
    pub(crate) fn give(self, path: &Path) -> Result<()> {
        lchown(path, Some(self.uid), Some(self.gid))
            .with_context(|| format!("give {} to user {}", path.display(), self.uid))
    }
}

/// Runs this same command again as root. It returns only if that failed: without a terminal to ask for a password
/// on, the error is the command to type.
pub(crate) fn become_root(executable: &Path, arguments: &[OsString], data_dir: &Path) -> Error {
    let mut command = Command::new("sudo");
    // The data directory is named, because root's default is another one.
    command.arg(executable).args(arguments).arg("--data-dir").arg(data_dir);
    let line = line(&command);
    if !std::io::stderr().is_terminal() {
        return anyhow!(
            "running containers needs root; type:\n    {line}\nor leave the node out with --no-node"
        );
    }
    tracing::warn!("running containers needs root; continuing through sudo");
    Error::new(command.exec()).context(format!("start sudo; type as root:\n    {line}"))
}

/// The command as a person would type it.
fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| quote(&word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Quotes a word for a POSIX shell if it needs it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_person_other_than_root_is_a_caller() {
        assert_eq!(Caller::from_sudo(Some("1000"), Some("100")), Some(Caller { uid: 1000, gid: 100 }));
        assert_eq!(Caller::from_sudo(Some("0"), Some("0")), None);
        assert_eq!(Caller::from_sudo(None, Some("100")), None);
        assert_eq!(Caller::from_sudo(Some("me"), Some("100")), None);
    }

    #[test]
    fn the_line_to_type_is_quoted() {
        let mut command = Command::new("sudo");
        command.args(["/opt/main stay", "up", "it's", "--source", "https://a=b"]);
        assert_eq!(line(&command), r"sudo '/opt/main stay' up 'it'\''s' --source https://a=b");
    }
}
