//! Semantic version ranges in the syntax Argo CD accepts (Masterminds/semver): comma or space means "and", `||` means
//! "or", a bare version means exactly that one, `1.x`, `~`, `^` and `a - b` as usual. Pre-releases match only
//! where the range itself names one.

use semver::{Comparator, Op, Prerelease, Version, VersionReq};

#[derive(Debug)]
pub(crate) struct Range(Vec<VersionReq>);

impl Range {
    /// `None` if the text is no range (a plain version is none either: it would be found as a tag).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if !text.contains(['*', 'x', 'X', '>', '<', '=', '~', '^', '|', '!', ' ']) && !is_partial(text) {
            return None;
        }
        let alternatives: Option<Vec<_>> = text.split("||").map(|part| alternative(part.trim())).collect();
        alternatives.map(Self)
    }

    /// The tag with the highest version in the range. Tags may begin with `v`.
    pub(crate) fn highest<'a>(&self, tags: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        tags.filter_map(|tag| {
            let version = Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()?;
            self.0.iter().any(|range| range.matches(&version)).then_some((version, tag))
        })
        .max()
        .map(|(_, tag)| tag)
    }
}

fn is_partial(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() < 3 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

fn alternative(text: &str) -> Option<VersionReq> {
    if let Some((low, high)) = text.split_once(" - ") {
        return VersionReq::parse(&format!(">={}, <={}", low.trim(), high.trim())).ok();
    }
    let text = text.replace(',', " ");
    let mut comparators = Vec::new();
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let operator_alone = word.chars().all(|c| "<>=~^".contains(c));
        let word = if operator_alone { format!("{word}{}", words.next()?) } else { word.to_owned() };
        comparators.extend(comparator(&word)?);
    }
    Some(VersionReq { comparators })
}

/// One condition; nothing for `*`, which every release meets.
fn comparator(word: &str) -> Option<Option<Comparator>> {
    let digits = word.trim_start_matches(['<', '>', '=', '~', '^', '!']);
    let operator = &word[..word.len() - digits.len()];
    let digits = digits.strip_prefix('v').unwrap_or(digits);
    if matches!(digits, "*" | "x" | "X") {
        return Some(None);
    }
    let (numbers, pre) = digits.split_once('-').map_or((digits, ""), |(numbers, pre)| (numbers, pre));
    let mut parts = numbers.split('.');
    let number = |part: Option<&str>| match part {
        None | Some("*" | "x" | "X") => Some(None),
        Some(digits) => digits.parse::<u64>().ok().map(Some),
    };
    let major = number(parts.next())??;
    let (minor, patch) = (number(parts.next())?, number(parts.next())?);
    if parts.next().is_some() {
        return None;
    }
    let op = match operator {
        "" | "=" if minor.is_some() && patch.is_some() => Op::Exact,
        "" | "=" => Op::Wildcard,
        ">" => Op::Greater,
        ">=" | "=>" => Op::GreaterEq,
        "<" => Op::Less,
        "<=" | "=<" => Op::LessEq,
        "~" | "~>" => Op::Tilde,
        "^" => Op::Caret,
        _ => return None,
    };
    let pre = Prerelease::new(pre).ok()?;
    let (minor, patch) = (minor, minor.and(patch));
    Some(Some(Comparator { op, major, minor, patch, pre }))
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
