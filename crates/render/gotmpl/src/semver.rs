//! Versions and ranges as Masterminds/semver 3 reads them: loose versions, `x` ranges, `~`, `^`, hyphens.

use std::cmp::Ordering;
use std::fmt;
use std::sync::OnceLock;

use regex::Regex;

/// Longer texts are refused, as upstream refuses them.
const MAX_VERSION: usize = 256;
const MAX_CONSTRAINT: usize = 512;
const MAX_GROUPS: usize = 32;

/// A version; parts that were left out are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
    /// Without the dash.
    pub pre: String,
    /// Without the plus.
    pub metadata: String,
    /// The text it was read from.
    pub original: String,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

fn is_identifiers(text: &str) -> bool {
    text.split('.')
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
}

impl Version {
    /// # Errors
    /// With upstream's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || "invalid semantic version".to_owned();
        if text.len() > MAX_VERSION {
            return Err(format!("version string is too long (max {MAX_VERSION} bytes)"));
        }
        let rest = text.strip_prefix('v').unwrap_or(text);
        let (rest, metadata) = match rest.split_once('+') {
            Some((rest, metadata)) => (rest, Some(metadata)),
            None => (rest, None),
        };
        let (numbers, pre) = match rest.split_once('-') {
            Some((numbers, pre)) => (numbers, Some(pre)),
            None => (rest, None),
        };
        if pre.is_some_and(|pre| !is_identifiers(pre)) || metadata.is_some_and(|text| !is_identifiers(text)) {
            return Err(invalid());
        }
        let mut parts = [0; 3];
        let given: Vec<&str> = numbers.split('.').collect();
        if given.len() > 3 {
            return Err(invalid());
        }
        for part in &given {
            if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(invalid());
            }
        }
        for (slot, part) in parts.iter_mut().zip(&given) {
            *slot = part.parse().map_err(|_| {
                format!(
                    "error parsing version segment: strconv.ParseUint: parsing {}: value out of range",
                    crate::quote::quote(part.as_bytes())
                )
            })?;
        }
        let zero_led =
            |part: &str| part.len() > 1 && part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit());
        if pre.is_some_and(|pre| pre.split('.').any(zero_led)) {
            return Err("version segment starts with 0".to_owned());
        }
        let [major, minor, patch] = parts;
        let owned = |part: Option<&str>| part.unwrap_or_default().to_owned();
        Ok(Self {
            major,
            minor,
            patch,
            pre: owned(pre),
            metadata: owned(metadata),
            original: text.to_owned(),
        })
    }

    /// The order of versions; metadata does not count.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        let numbers = |version: &Self| (version.major, version.minor, version.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => compare_pre(&self.pre, &other.pre),
        })
    }

    /// The next version at a place: 0 major, 1 minor, 2 patch.
    #[must_use]
    pub(crate) fn next(&self, place: usize) -> Self {
        let (mut major, mut minor, mut patch) = (self.major, self.minor, self.patch);
        match place {
            0 => (major, minor, patch) = (major.saturating_add(1), 0, 0),
            1 => (minor, patch) = (minor.saturating_add(1), 0),
            _ if self.pre.is_empty() => patch = patch.saturating_add(1),
            _ => {}
        }
        let prefix = if self.original.starts_with('v') { "v" } else { "" };
        let original = format!("{prefix}{major}.{minor}.{patch}");
        Self { major, minor, patch, pre: String::new(), metadata: String::new(), original }
    }
}

fn compare_pre(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => a.cmp(b),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

struct Grammar {
    constraint: Regex,
    range: Regex,
    find: Regex,
    valid: Regex,
}

fn grammar() -> &'static Grammar {
    static GRAMMAR: OnceLock<Grammar> = OnceLock::new();
    GRAMMAR.get_or_init(|| {
        let version = concat!(
            r"v?([0-9|xX*]+)(\.[0-9|xX*]+)?(\.[0-9|xX*]+)?",
            r"(-([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?",
            r"(\+([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?"
        );
        let operators = r"=||!=|>|<|>=|=>|<=|=<|~|~>|\^";
        let blank = r"[\t\n\x0C\r ]";
        let regex = |text: String| Regex::new(&text).expect("the expression is constant and valid");
        Grammar {
            constraint: regex(format!("^{blank}*({operators}){blank}*({version}){blank}*$")),
            range: regex(format!("{blank}*({version}){blank}+-{blank}+({version}){blank}*")),
            find: regex(format!("({operators}){blank}*({version})")),
            valid: regex(format!(
                "^({blank}*({operators}){blank}*({version}){blank}*)((?:{blank}+|,{blank}*)({operators}){blank}*({version}){blank}*)*$"
            )),
        }
    })
}

/// Alternatives of conditions that must all hold.
#[derive(Debug, Clone)]
pub struct Constraints {
    groups: Vec<Group>,
}

#[derive(Debug, Clone)]
struct Group {
    conditions: Vec<Condition>,
    /// Whether one of them names a pre-release, which lets pre-releases in.
    has_pre: bool,
}

#[derive(Debug, Clone)]
struct Condition {
    operator: String,
    version: Version,
    /// Some part was left out or an `x`.
    dirty: bool,
    minor_dirty: bool,
    patch_dirty: bool,
}

impl Constraints {
    /// # Errors
    /// With upstream's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_CONSTRAINT {
            return Err(format!("constraint string is too long (max {MAX_CONSTRAINT} bytes)"));
        }
        let rewritten = rewrite_range(text);
        let alternatives: Vec<&str> = rewritten.split("||").collect();
        if alternatives.len() > MAX_GROUPS {
            return Err(format!("too many constraint groups (max {MAX_GROUPS})"));
        }
        let mut groups = Vec::new();
        for alternative in alternatives {
            if !grammar().valid.is_match(alternative) {
                return Err(improper(alternative));
            }
            let conditions = grammar()
                .find
                .find_iter(alternative)
                .map(|found| Condition::parse(found.as_str()))
                .collect::<Result<Vec<_>, _>>()?;
            let has_pre = conditions.iter().any(|condition| !condition.version.pre.is_empty());
            groups.push(Group { conditions, has_pre });
        }
        Ok(Self { groups })
    }

    #[must_use]
    pub fn check(&self, version: &Version) -> bool {
        self.groups.iter().any(|group| {
            (version.pre.is_empty() || group.has_pre)
                && group.conditions.iter().all(|condition| condition.check(version))
        })
    }
}

fn improper(text: &str) -> String {
    format!("improper constraint: {}", crate::quote::quote(text.as_bytes()))
}

/// `1.2 - 3.4` is `>= 1.2, <= 3.4`.
fn rewrite_range(text: &str) -> String {
    let mut out = text.to_owned();
    for captures in grammar().range.captures_iter(text) {
        let part = |index: usize| captures.get(index).map_or("", |found| found.as_str());
        out = out.replacen(part(0), &format!(">= {}, <= {} ", part(1), part(11)), 1);
    }
    out
}

fn is_any(part: &str) -> bool {
    matches!(part, "" | "x" | "X" | "*")
}

impl Condition {
    fn parse(text: &str) -> Result<Self, String> {
        let captures = grammar().constraint.captures(text).ok_or_else(|| improper(text))?;
        let part = |index: usize| captures.get(index).map_or("", |found| found.as_str());
        let (major, minor, patch, pre) = (part(3), part(4), part(5), part(6));
        let dotless = |part: &str| part.strip_prefix('.').unwrap_or(part).to_owned();
        let (mut dirty, mut minor_dirty, mut patch_dirty) = (true, false, false);
        let full = if is_any(major) {
            format!("0.0.0{pre}")
        } else if is_any(&dotless(minor)) {
            minor_dirty = true;
            format!("{major}.0.0{pre}")
        } else if is_any(&dotless(patch)) {
            patch_dirty = true;
            format!("{major}{minor}.0{pre}")
        } else {
            dirty = false;
            part(2).to_owned()
        };
        let version = Version::parse(&full).map_err(|_| "constraint parser error".to_owned())?;
        Ok(Self { operator: part(1).to_owned(), version, dirty, minor_dirty, patch_dirty })
    }

    fn check(&self, version: &Version) -> bool {
        let order = version.compare(&self.version);
        let wanted = &self.version;
        match self.operator.as_str() {
            "!=" => self.differs(version),
            ">" => self.greater(version),
            "<" => order.is_lt(),
            ">=" | "=>" => order.is_ge(),
            "<=" | "=<" if !self.dirty => order.is_le(),
            "<=" | "=<" => {
                version.major < wanted.major
                    || (version.major == wanted.major && (version.minor <= wanted.minor || self.minor_dirty))
            }
            "~" | "~>" => self.tilde(version),
            "^" => self.caret(version),
            _ if self.dirty => self.tilde(version),
            _ => order.is_eq(),
        }
    }

    fn differs(&self, version: &Version) -> bool {
        let wanted = &self.version;
        if !self.dirty {
            return version.compare(wanted).is_ne();
        }
        if wanted.major != version.major {
            return true;
        }
        if self.minor_dirty {
            return false;
        }
        if wanted.minor != version.minor {
            return true;
        }
        if self.patch_dirty {
            let any_pre = !version.pre.is_empty() || !wanted.pre.is_empty();
            return any_pre && compare_pre(&version.pre, &wanted.pre).is_ne();
        }
        wanted.patch != version.patch || version.compare(wanted).is_ne()
    }

    fn greater(&self, version: &Version) -> bool {
        let wanted = &self.version;
        if !self.dirty {
            return version.compare(wanted).is_gt();
        }
        match version.major.cmp(&wanted.major) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal if self.minor_dirty => false,
            Ordering::Equal if self.patch_dirty => version.minor > wanted.minor,
            Ordering::Equal => version.compare(wanted).is_gt(),
        }
    }

    fn tilde(&self, version: &Version) -> bool {
        let wanted = &self.version;
        if version.compare(wanted).is_lt() {
            return false;
        }
        let zero = wanted.major == 0 && wanted.minor == 0 && wanted.patch == 0;
        if zero && !self.minor_dirty && !self.patch_dirty {
            return true;
        }
        version.major == wanted.major && (version.minor == wanted.minor || self.minor_dirty)
    }

    fn caret(&self, version: &Version) -> bool {
        let wanted = &self.version;
        if version.compare(wanted).is_lt() {
            return false;
        }
        if wanted.major > 0 || self.minor_dirty {
            return version.major == wanted.major;
        }
        if version.major > 0 {
            return false;
        }
        if wanted.minor > 0 || self.patch_dirty {
            return version.minor == wanted.minor;
        }
        version.minor == 0 && version.patch == wanted.patch
    }
}
