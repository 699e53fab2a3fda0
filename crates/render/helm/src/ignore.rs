//! `.helmignore`

/// Patterns of files that do not belong to the chart.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    glob: String,
    negated: bool,
    directories_only: bool,
    /// Whether the whole path is compared, rather than its last part.
    whole_path: bool,
}

impl Rules {
    /// # Errors
    /// With Helm's text, if a pattern is not valid.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rules = Self::default();
        for line in text.trim_start_matches('\u{feff}').lines() {
            rules.add(line)?;
        }
        Ok(rules)
    }

    /// Helm leaves out hidden files among the templates in any case.
    pub(crate) fn add_defaults(&mut self) -> Result<(), String> {
        self.add("templates/.?*")
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let rule = line.trim();
        if rule.is_empty() || rule.starts_with('#') {
            return Ok(());
        }
        if rule.contains("**") {
            return Err("double-star (**) syntax is not supported".to_owned());
        }
        if matches(rule, "abc").is_none() {
            return Err("syntax error in pattern".to_owned());
        }
        let (negated, rule) = rule.strip_prefix('!').map_or((false, rule), |rest| (true, rest));
        let (directories_only, rule) = rule.strip_suffix('/').map_or((false, rule), |rest| (true, rest));
        let whole_path = rule.contains('/');
        let glob = rule.strip_prefix('/').unwrap_or(rule).to_owned();
        self.patterns.push(Pattern { glob, negated, directories_only, whole_path });
        Ok(())
    }

    /// Whether a path is left out.
    pub(crate) fn ignores(&self, path: &str, is_directory: bool) -> bool {
        for pattern in &self.patterns {
            let subject = if pattern.whole_path { path } else { path.rsplit('/').next().unwrap_or_default() };
            let found = matches(&pattern.glob, subject) == Some(true);
            if pattern.negated {
                if (pattern.directories_only && !is_directory) || !found {
                    return true;
                }
            } else if found && (is_directory || !pattern.directories_only) {
                return true;
            }
        }
        false
    }
}

/// Go's `filepath.Match`; `None`: the pattern is malformed.
fn matches(pattern: &str, name: &str) -> Option<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let valid = check(&pattern)?;
    debug_assert!(valid, "check gives Some only for a valid pattern");
    // One pass with a single point to return to: the last star.
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if at < pattern.len() && pattern[at] == '*' {
            at += 1;
            star = Some((at, seen));
            continue;
        }
        if seen == name.len() {
            return Some(pattern[at..].iter().all(|&character| character == '*'));
        }
        if let Some(length) = one(&pattern[at..], name[seen]) {
            at += length;
            seen += 1;
            continue;
        }
        match star {
            // A star does not reach over a slash.
            Some((after, from)) if name[from] != '/' => {
                star = Some((after, from + 1));
                at = after;
                seen = from + 1;
            }
            _ => return Some(false),
        }
    }
}

/// How many characters of the pattern stand for this one.
fn one(pattern: &[char], character: char) -> Option<usize> {
    match pattern.first()? {
        '?' => (character != '/').then_some(1),
        '\\' => (pattern.get(1) == Some(&character)).then_some(2),
        '[' => {
            let (found, length) = class(pattern, character)?;
            (found && character != '/').then_some(length)
        }
        literal => (*literal == character).then_some(1),
    }
}

/// Whether a character is in a class, and how long the class is.
fn class(pattern: &[char], character: char) -> Option<(bool, usize)> {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&'^');
    at += usize::from(negated);
    let mut found = false;
    let mut ranges = 0;
    loop {
        if pattern.get(at) == Some(&']') && ranges > 0 {
            return Some((found != negated, at + 1));
        }
        let member = |at: &mut usize| {
            let first = *pattern.get(*at)?;
            if first == '\\' {
                *at += 1;
            } else if matches!(first, '-' | ']') {
                return None;
            }
            let member = *pattern.get(*at)?;
            *at += 1;
            Some(member)
        };
        let low = member(&mut at)?;
        let mut high = low;
        if pattern.get(at) == Some(&'-') {
            at += 1;
            high = member(&mut at)?;
        }
        found |= (low..=high).contains(&character);
        ranges += 1;
    }
}

fn check(pattern: &[char]) -> Option<bool> {
    let mut at = 0;
    while at < pattern.len() {
        at += match pattern[at] {
            '\\' if at + 1 == pattern.len() => return None,
            '\\' => 2,
            '[' => class(&pattern[at..], 'a')?.1,
            _ => 1,
        };
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        let rules = Rules::parse("# comment\n*.swp\n/ci/\nsecret/*.yaml\n[ab].txt\n").unwrap();
        assert!(rules.ignores("x/y.swp", false));
        assert!(rules.ignores("ci", true));
        assert!(!rules.ignores("x/ci", true));
        assert!(!rules.ignores("ci", false));
        assert!(rules.ignores("secret/a.yaml", false));
        assert!(!rules.ignores("secret/b/a.yaml", false));
        assert!(rules.ignores("a.txt", false));
        assert!(!rules.ignores("c.txt", false));
    }

    #[test]
    fn a_negated_pattern_leaves_out_everything_else() {
        let rules = Rules::parse("!keep*").unwrap();
        assert!(rules.ignores("other", false));
        assert!(!rules.ignores("keep.yaml", false));
    }

    #[test]
    fn bad_patterns_are_refused() {
        assert_eq!(Rules::parse("a/**/b").unwrap_err(), "double-star (**) syntax is not supported");
        assert_eq!(Rules::parse("[a").unwrap_err(), "syntax error in pattern");
    }
}
