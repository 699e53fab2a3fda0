//! Paths that cannot leave their root.

use std::fmt;

/// A slash-separated path below the root of a tree: no leading slash, no empty, `.` or `..` component.
/// The empty path is the root itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TreePath(String);

/// Why a string is no path below the root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    #[error("{0:?} points outside the repository")]
    Outside(String),
    #[error("{0:?} is an absolute path")]
    Absolute(String),
    #[error("{0:?} contains a NUL byte")]
    Nul(String),
}

impl TreePath {
    /// The root of the tree.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Parses a path relative to the root, resolving `.` and `..` textually.
    ///
    /// # Errors
    /// If it is absolute or climbs above the root.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        Self::root().join(path)
    }

    /// Resolves `path` relative to this directory: `charts/gateway` joined with `../../values/dev.yaml` is
    /// `values/dev.yaml`.
    ///
    /// # Errors
    /// If it is absolute or climbs above the root.
    pub fn join(&self, path: &str) -> Result<Self, PathError> {
        if path.contains('\0') {
            return Err(PathError::Nul(path.to_owned()));
        }
        if path.starts_with('/') {
            return Err(PathError::Absolute(path.to_owned()));
        }
        let mut parts: Vec<&str> = self.components().collect();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if parts.pop().is_none() {
                        return Err(PathError::Outside(path.to_owned()));
                    }
                }
                name => parts.push(name),
            }
        }
        Ok(Self(parts.join("/")))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last component; empty for the root.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The directory that contains this path; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(Self(self.0.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned())))
    }

    /// The path relative to `base`; `None` if it does not lie below it.
    #[must_use]
    pub fn strip_prefix(&self, base: &Self) -> Option<&str> {
        if base.is_root() {
            return Some(&self.0);
        }
        let rest = self.0.strip_prefix(&base.0)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_inside_the_root_and_refuses_to_leave_it() {
        let chart = TreePath::parse("charts/gateway").unwrap();
        assert_eq!(chart.join("../../values/dev/gateway.yaml").unwrap().as_str(), "values/dev/gateway.yaml");
        assert_eq!(chart.join("./templates//a.yaml").unwrap().as_str(), "charts/gateway/templates/a.yaml");
        assert_eq!(chart.join("../..").unwrap(), TreePath::root());
        assert!(matches!(chart.join("../../../etc/passwd"), Err(PathError::Outside(_))));
        assert!(matches!(chart.join("/etc/passwd"), Err(PathError::Absolute(_))));
        assert!(matches!(TreePath::parse(".."), Err(PathError::Outside(_))));
    }

    #[test]
    fn strips_whole_components_only() {
        let base = TreePath::parse("charts/gate").unwrap();
        assert_eq!(TreePath::parse("charts/gateway/x").unwrap().strip_prefix(&base), None);
        assert_eq!(TreePath::parse("charts/gate/x").unwrap().strip_prefix(&base), Some("x"));
    }
}
