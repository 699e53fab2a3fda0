//! Version ranges as Helm resolves them.

use gotmpl::semver::{Constraints, Version};

/// What is asked for: one version as it is written, or the highest in a range.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    text: &'a str,
    range: Constraints,
}

impl<'a> Wanted<'a> {
    /// The empty text means `*`: the newest that is no pre-release.
    ///
    /// # Errors
    /// In the words of Helm's version library.
    pub(crate) fn parse(text: &'a str) -> Result<Self, String> {
        let range = Constraints::parse(if text.is_empty() { "*" } else { text })?;
        Ok(Self { text, range })
    }

    /// The first that is written exactly so, else the first in the range: versions come with the highest first.
    pub(crate) fn choose<'v, T>(&self, versions: &'v [T], version: impl Fn(&T) -> &str) -> Option<&'v T> {
        let exact = versions.iter().find(|one| !self.text.is_empty() && version(one) == self.text);
        exact.or_else(|| versions.iter().find(|one| self.fits(version(one))))
    }

    pub(crate) fn fits(&self, version: &str) -> bool {
        Version::parse(version).is_ok_and(|version| self.range.check(&version))
    }
}

/// Whether a text names one version, now and later: `1.2.3`, `v1.2.3-rc.1+b5`. `1.2` does not, because it means the
/// newest `1.2.x` where no version is written so.
#[must_use]
pub fn is_exact(text: &str) -> bool {
    is_strict(text.strip_prefix('v').unwrap_or(text))
}

/// Whether it is a semantic version with nothing left out or added.
pub(crate) fn is_strict(text: &str) -> bool {
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = numbers.split('.').collect();
    let number = |part: &&str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits && (*part == "0" || !part.starts_with('0'))
    };
    parts.len() == 3 && parts.iter().all(number) && Version::parse(text).is_ok()
}

/// Whether it is a version in the loose sense in which a registry is asked for a tag of that name.
pub(crate) fn is_loose(text: &str) -> bool {
    Version::parse(text).is_ok()
}

/// Highest first; among equals as they came.
pub(crate) fn sort<T>(versions: &mut Vec<T>, version: impl Fn(&T) -> &str) {
    let parsed = |one: &T| Version::parse(version(one)).ok();
    let mut keyed: Vec<_> = versions.drain(..).map(|one| (parsed(&one), one)).collect();
    keyed.sort_by(|(a, _), (b, _)| match (a, b) {
        (Some(a), Some(b)) => b.compare(a),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
    versions.extend(keyed.into_iter().map(|(_, one)| one));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(range: &str, expected: Option<&str>) {
        let mut versions: Vec<&str> = vec![
            "1.2.3",
            "1.10.0",
            "v1.4.0",
            "2.0.0-rc.1",
            "2.0.0",
            "3.0.0-alpha",
            "0.3.1",
            "0.3.0",
            "1.2.3+b2",
        ];
        sort(&mut versions, |version| version);
        let wanted = Wanted::parse(range).unwrap_or_else(|error| panic!("{range}: {error}"));
        assert_eq!(wanted.choose(&versions, |version| version).copied(), expected, "{range}");
    }

    #[test]
    fn ranges_are_helms() {
        check("", Some("2.0.0"));
        check("*", Some("2.0.0"));
        check(">0.0.0-0", Some("3.0.0-alpha"));
        check("1.x", Some("1.10.0"));
        check("1", Some("1.10.0"));
        check("~1.2", Some("1.2.3"));
        check("^0.3", Some("0.3.1"));
        check("^1.0.0", Some("1.10.0"));
        check("1.2 - 1.5", Some("v1.4.0"));
        check("<1.0.0 || >=3", Some("0.3.1"));
        check("1.2.3+b2", Some("1.2.3+b2"));
        check("v1.2.3", Some("1.2.3"));
        check("2.0.0-rc.1", Some("2.0.0-rc.1"));
        check("~2.0.0-rc", Some("2.0.0"));
        check("9.x", None);
        assert!(Wanted::parse("latest").is_err());
        for (text, expected) in
            [("v1.2.3", true), ("1.2.3-rc.1", true), ("1.2", false), ("1.x", false), ("", false)]
        {
            assert_eq!(is_exact(text), expected, "{text}");
        }
    }

    #[test]
    fn only_full_versions_are_charts() {
        for (text, expected) in [
            ("1.2.3", true),
            ("1.2.3-rc.1+b5", true),
            ("0.0.0", true),
            ("v1.2.3", false),
            ("1.2", false),
            ("01.2.3", false),
            ("latest", false),
            ("sha256-abc.sig", false),
        ] {
            assert_eq!(is_strict(text), expected, "{text}");
        }
    }
}
