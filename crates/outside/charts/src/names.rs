//! Names that come from repositories and become part of file names.

use crate::Error;

const LONGEST: usize = 250;

/// Refuses a chart's name that would be more than one file's: Helm once wrote archives and lock files wherever such a
/// name led.
pub(crate) fn check(name: &str) -> Result<(), Error> {
    let refused = |reason| Err(Error::Name { name: name.chars().take(100).collect(), reason });
    match name {
        "" => refused("it is empty"),
        "." | ".." => refused("it names a directory"),
        _ if name.contains(['/', '\\']) => refused("it holds a path separator"),
        _ if name.chars().any(char::is_control) => refused("it holds control characters"),
        _ if name.len() > LONGEST => refused("it is too long"),
        _ => Ok(()),
    }
}

/// The same for an OCI chart, which may lie in a directory of its repository: `team/web`.
pub(crate) fn check_path(name: &str) -> Result<(), Error> {
    name.split('/').try_for_each(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_names() {
        for name in ["redis", "kube-prometheus-stack", "a.b_c", "..x"] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "../x", "a/b", "a\\b", "/etc", "a\0b", "a\nb", &"x".repeat(300)] {
            assert!(check(name).is_err(), "{name:?}");
        }
        assert!(check_path("team/web").is_ok());
        assert!(check_path("team/../web").is_err() && check_path("/web").is_err());
    }
}
