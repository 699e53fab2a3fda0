//! Globs as Argo CD uses them: mostly without a separator, so that `*` matches dots and slashes too.

use std::collections::BTreeSet;

/// Alternatives that one pattern may expand to; more are refused by matching nothing.
const MOST_ALTERNATIVES: usize = 256;

/// Whether the text matches: `*` any text, `?` any character, `[a-z]` and `[!a-z]` classes, `{a,b}` alternatives, `\` takes
/// the next character as it is.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    any_alternative(pattern, text, plain)
}

/// As [`matches`], but `*` and `?` stop at `/`; `**` does not.
#[must_use]
pub fn matches_path(pattern: &str, text: &str) -> bool {
    any_alternative(pattern, text, path)
}

/// Whether one of the patterns that the braces stand for matches.
fn any_alternative(pattern: &str, text: &str, matches: fn(&[char], &[char]) -> bool) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut pending = vec![pattern.to_owned()];
    let mut seen = 0;
    while let Some(pattern) = pending.pop() {
        seen += 1;
        if seen > MOST_ALTERNATIVES {
            return false;
        }
        match alternatives(&pattern) {
            Some(expanded) => pending.extend(expanded),
            None if matches(&pattern.chars().collect::<Vec<_>>(), &text) => return true,
            None => {}
        }
    }
    false
}

/// As Go's `path.Match`: `*` and `?` stop at `/`, however many stars there are, and braces are letters.
#[must_use]
pub fn matches_go(pattern: &str, text: &str) -> bool {
    let mut plain = String::with_capacity(pattern.len());
    for character in pattern.chars() {
        match character {
            '*' if plain.ends_with('*') => {}
            '{' => plain.push_str("\\{"),
            other => plain.push(other),
        }
    }
    matches_path(&plain, text)
}

/// All places in the pattern that the text read so far may have led to are followed at once, so that no pattern takes
/// longer than its length times the text's.
fn path(pattern: &[char], text: &[char]) -> bool {
    let mut places = BTreeSet::from([0]);
    skip_stars(pattern, &mut places);
    for character in text {
        let mut next = BTreeSet::new();
        for at in places {
            match pattern.get(at) {
                None => {}
                Some('*') => {
                    let deep = pattern.get(at + 1) == Some(&'*') || at > 0 && pattern[at - 1] == '*';
                    if deep || *character != '/' {
                        next.insert(at);
                    }
                }
                Some('?') if *character == '/' => {}
                Some(_) => {
                    if let Some(taken) = one(&pattern[at..], *character) {
                        next.insert(at + taken);
                    }
                }
            }
        }
        skip_stars(pattern, &mut next);
        places = next;
    }
    places.contains(&pattern.len())
}

/// A star may match nothing.
fn skip_stars(pattern: &[char], places: &mut BTreeSet<usize>) {
    let stars: Vec<usize> = places.iter().copied().filter(|at| pattern.get(*at) == Some(&'*')).collect();
    for mut at in stars {
        while pattern.get(at) == Some(&'*') {
            at += 1;
            places.insert(at);
        }
    }
}

/// The pattern with its first `{…}` replaced by each alternative; `None` if it has none.
fn alternatives(pattern: &str) -> Option<Vec<String>> {
    let mut braces = pattern.match_indices('{').map(|(at, _)| at);
    let open = braces.find(|at| !pattern[..*at].ends_with('\\'))?;
    let (mut depth, mut parts, mut start) = (0, Vec::new(), open + 1);
    for (at, character) in pattern[open..].char_indices() {
        let at = open + at;
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => {
                parts.push(&pattern[start..at]);
                let (before, after) = (&pattern[..open], &pattern[at + 1..]);
                return Some(parts.into_iter().map(|part| format!("{before}{part}{after}")).collect());
            }
            '}' => depth -= 1,
            ',' if depth == 1 => {
                parts.push(&pattern[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    None
}

fn plain(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut from, mut star) = (0, 0, None);
    while from < text.len() {
        let step = match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
                continue;
            }
            Some(_) => one(&pattern[at..], text[from]),
            None => None,
        };
        match (step, star) {
            (Some(length), _) => {
                at += length;
                from += 1;
            }
            // Let the last star take one character more.
            (None, Some((star_at, taken))) => {
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                from = taken + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[at..].iter().all(|character| *character == '*')
}

/// How much of the pattern matches this one character.
fn one(pattern: &[char], character: char) -> Option<usize> {
    match pattern[0] {
        '?' => Some(1),
        '\\' if pattern.len() > 1 => (pattern[1] == character).then_some(2),
        '[' => {
            let end = pattern.iter().skip(2).position(|c| *c == ']').map(|end| end + 2)?;
            let (negated, class) = match pattern[1] {
                '!' | '^' => (true, &pattern[2..end]),
                _ => (false, &pattern[1..end]),
            };
            let mut found = false;
            let mut at = 0;
            while at < class.len() {
                if class.get(at + 1) == Some(&'-') && at + 2 < class.len() {
                    found |= (class[at]..=class[at + 2]).contains(&character);
                    at += 3;
                } else {
                    found |= class[at] == character;
                    at += 1;
                }
            }
            (found != negated).then_some(end + 1)
        }
        literal => (literal == character).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "a/b.c", true),
            ("*.example.org", "a.b.example.org", true),
            ("De*ment", "Deployment", true),
            ("", "apps", false),
            ("app", "apps", false),
            ("{config,env/*}.{yaml,yml}", "env/dev/x.yml", true),
            ("{config,env/*}.{yaml,yml}", "other.yml", false),
            ("[a-c]?[!x]", "b-y", true),
            ("[a-c]?[!x]", "b-x", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("{a", "{a", true),
            ("\\{a,b}", "{a,b}", true),
            ("**/*.yaml", "x/y/z.yaml", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        assert!(!matches(&"{a,b}".repeat(20), "x"), "what explodes matches nothing");
    }

    #[test]
    fn patterns_of_paths() {
        for (pattern, text, expected) in [
            ("https://github.com/team/*", "https://github.com/team/platform", true),
            ("https://github.com/team/*", "https://github.com/team/a/b", false),
            ("https://github.com/**", "https://github.com/team/a/b", true),
            ("https://github.com/*/b", "https://github.com/a/x/b", false),
            ("https://*/{a,b}", "https://x/b", true),
            ("**/b", "a/x/b", true),
            ("a?c", "a/c", false),
            ("*", "", true),
            ("***", "a/b", true),
            ("a**b*c", "a/xb-c", true),
            ("a**b*c", "a/xb/c", false),
        ] {
            assert_eq!(matches_path(pattern, text), expected, "{pattern} {text}");
        }
        assert!(matches_go("apps/**", "apps/a") && !matches_go("apps/**", "apps/a/b"));
        assert!(matches_go("{a,b}", "{a,b}") && !matches_go("{a,b}", "a"));
        assert!(!matches_path(&"*a".repeat(200), &"b".repeat(2000)));
    }
}
