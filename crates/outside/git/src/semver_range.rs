//! Semantic version ranges over tags, in the syntax that Argo CD and Helm share (Masterminds/semver).

use gotmpl::semver::{Constraints, Version};

#[derive(Debug)]
pub(crate) struct Range(Constraints);

impl Range {
    /// `None` if the text is no range (a plain version is none either: it would be found as a tag).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let numbers = text.strip_prefix('v').unwrap_or(text).split(['-', '+']).next().unwrap_or_default();
        let is_whole = Version::parse(text).is_ok() && numbers.split('.').count() == 3;
        if is_whole { None } else { Constraints::parse(text).ok().map(Self) }
    }

    /// The tag with the highest version in the range. Tags may begin with `v`.
    pub(crate) fn highest<'a>(&self, tags: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        tags.filter_map(|tag| {
            let version = Version::parse(tag).ok()?;
            self.0.check(&version).then_some((version, tag))
        })
        .max_by(|(a, a_tag), (b, b_tag)| a.compare(b).then_with(|| a_tag.cmp(b_tag)))
        .map(|(_, tag)| tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_the_highest_tag_in_range() {
        let tags = ["v1.0.0", "v1.2.3", "1.4.0", "v2.0.0-rc.1", "v2.0.0", "nightly", "v10.1.0"];
        for (range, expected) in [
            ("*", Some("v10.1.0")),
            ("1.x", Some("1.4.0")),
            ("1.2.*", Some("v1.2.3")),
            (">=1.2 <2", Some("1.4.0")),
            (">= 1.2, < 1.4", Some("v1.2.3")),
            ("~1.2.0", Some("v1.2.3")),
            ("^1.0.0", Some("1.4.0")),
            ("1.0.0 - 1.3.0", Some("v1.2.3")),
            ("^3 || ~1.0", Some("v1.0.0")),
            ("3.x", None),
        ] {
            let found = Range::parse(range).unwrap_or_else(|| panic!("{range}")).highest(tags.into_iter());
            assert_eq!(found, expected, "{range}");
        }
        assert!(Range::parse("main").is_none());
        assert!(Range::parse("v1.2.3").is_none());
        assert!(Range::parse("feature x").is_none());
    }
}
