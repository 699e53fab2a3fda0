//! The patterns of `.Files.Glob`, as gobwas/glob reads them with `/` as separator.

use regex::bytes::{Regex, RegexBuilder};

/// A compiled pattern; one that is malformed matches everything, as in Helm.
#[derive(Debug)]
pub(crate) struct Glob(Option<Regex>);

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        let regex = translate(pattern).and_then(|text| {
            RegexBuilder::new(&text).dot_matches_new_line(true).size_limit(1 << 20).build().ok()
        });
        Self(regex)
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|regex| regex.is_match(name.as_bytes()))
    }
}

fn translate(pattern: &str) -> Option<String> {
    let mut out = String::from(r"\A");
    let mut open = 0;
    let mut rest = pattern.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '*' => {
                let mut many = false;
                while rest.next_if_eq(&'*').is_some() {
                    many = true;
                }
                out.push_str(if many { ".*" } else { "[^/]*" });
            }
            '?' => out.push_str("[^/]"),
            '[' => class(&mut rest, &mut out)?,
            '{' => {
                open += 1;
                out.push_str("(?:");
            }
            '}' if open > 0 => {
                open -= 1;
                out.push(')');
            }
            ',' if open > 0 => out.push('|'),
            '\\' => out.push_str(&regex::escape(&rest.next()?.to_string())),
            _ => out.push_str(&regex::escape(&character.to_string())),
        }
    }
    out.push_str(r"\z");
    (open == 0).then_some(out)
}

fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) -> Option<()> {
    out.push('[');
    if rest.next_if_eq(&'!').is_some() {
        out.push('^');
    }
    let mut empty = true;
    loop {
        let character = rest.next()?;
        match character {
            ']' if !empty => break,
            '-' if !empty => out.push('-'),
            '\\' => out.push_str(&escaped(rest.next()?)),
            _ => out.push_str(&escaped(character)),
        }
        empty = false;
    }
    out.push(']');
    Some(())
}

fn escaped(character: char) -> String {
    if character.is_ascii_alphanumeric() || matches!(character, '<' | '>' | ' ') || !character.is_ascii() {
        character.to_string()
    } else {
        format!("\\{character}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stop_at_slashes_and_double_stars_do_not() {
        let matches = |pattern: &str, name: &str| Glob::new(pattern).matches(name);
        assert!(matches("conf/*.toml", "conf/a.toml"));
        assert!(!matches("conf/*.toml", "conf/b/a.toml"));
        assert!(matches("conf/**.toml", "conf/b/a.toml"));
        assert!(matches("{a,b}/[!x]?", "b/yz"));
        assert!(!matches("{a,b}/[!x]?", "b/xz"));
        assert!(!matches("a.b", "axb"));
        assert!(matches("{broken", "anything"));
    }
}
