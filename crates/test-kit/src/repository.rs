//! Git repositories made of the shared test data, by real `git`.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A Git repository in a temporary directory, with a working copy on branch `main`.
#[derive(Debug)]
pub struct Repository {
    directory: TempDir,
}

impl Repository {
    /// A repository whose one commit holds a copy of `source`.
    ///
    /// # Panics
    /// If `git` is not installed or the copy fails.
    #[must_use]
    pub fn of(source: &Path) -> Self {
        let repository = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        copy(source, repository.path());
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.commit("first");
        repository
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file of the working copy without committing it.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("create its directory");
        fs::write(&path, text).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
    }

    /// Commits everything in the working copy and returns the commit's id.
    ///
    /// # Panics
    /// If `git` fails.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Runs `git` in the working copy and returns what it printed, apart from any configuration of the person
    /// who runs the tests.
    ///
    /// # Panics
    /// If `git` fails.
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .args(["-c", "user.name=Tests", "-c", "user.email=tests@example.com"])
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("start git: {error}"));
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Copies a directory; files become writable, since shared test data may not be.
pub(crate) fn copy(source: &Path, target: &Path) {
    fs::create_dir_all(target).unwrap_or_else(|error| panic!("create {}: {error}", target.display()));
    for entry in fs::read_dir(source).unwrap_or_else(|error| panic!("list {}: {error}", source.display())) {
        let path = entry.expect("a directory entry").path();
        let to = target.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            let content = fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
            fs::write(&to, content).unwrap_or_else(|error| panic!("write {}: {error}", to.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_what_the_working_copy_holds() {
        let source = tempfile::tempdir().unwrap();
        fs::create_dir(source.path().join("a")).unwrap();
        fs::write(source.path().join("a/b"), "1").unwrap();
        let repository = Repository::of(source.path());
        repository.write("a/c", "2");
        let commit = repository.commit("second");
        assert_eq!(repository.git(&["show", &format!("{commit}:a/c")]), "2");
        assert_eq!(repository.git(&["show", "HEAD~1:a/b"]), "1");
    }
}
