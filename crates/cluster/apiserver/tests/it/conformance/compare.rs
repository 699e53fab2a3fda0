//! Where two answers differ, and what is allowed to.

use std::path::Path;

use serde_json::Value;

/// One place at which answers differ.
#[derive(Debug)]
pub(crate) struct Difference {
    /// `/STEP/body/metadata/labels`
    pub(crate) place: String,
    pub(crate) wanted: String,
    pub(crate) found: String,
}

fn shown(value: Option<&Value>) -> String {
    const LONGEST: usize = 400;
    let text = value.map_or_else(|| "(absent)".to_owned(), Value::to_string);
    text.chars().take(LONGEST).collect()
}

/// Adds the places below `place` at which `found` is not what was `wanted`.
pub(crate) fn differences(wanted: &Value, found: &Value, place: &str, out: &mut Vec<Difference>) {
    match (wanted, found) {
        (Value::Object(a), Value::Object(b)) => {
            for (name, value) in a {
                let place = format!("{place}/{name}");
                match b.get(name) {
                    Some(other) => differences(value, other, &place, out),
                    None => out.push(Difference { place, wanted: shown(Some(value)), found: shown(None) }),
                }
            }
            for (name, value) in b.iter().filter(|(name, _)| !a.contains_key(*name)) {
                let place = format!("{place}/{name}");
                out.push(Difference { place, wanted: shown(None), found: shown(Some(value)) });
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                differences(a, b, &format!("{place}/{at}"), out);
            }
        }
        // Lines of text: what comes first between the beginnings and the ends that they have in common.
        (Value::Array(a), Value::Array(b)) if a.iter().chain(b).all(Value::is_string) => {
            let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
            let (a, b) = (&a[same..], &b[same..]);
            let tail = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
            let text = |lines: &[Value]| shown(Some(&Value::from(lines[..lines.len() - tail].to_vec())));
            out.push(Difference { place: place.to_owned(), wanted: text(a), found: text(b) });
        }
        (a, b) if a == b => {}
        (a, b) => {
            let place = place.to_owned();
            out.push(Difference { place, wanted: shown(Some(a)), found: shown(Some(b)) });
        }
    }
}

/// The tables of `docs/api-differences.md`: rows of a case, a place and the reason; `*` stands for any text.
pub(crate) struct Allowed {
    rows: Vec<(String, String, bool)>,
}

impl Allowed {
    /// The rows of the cases that are `wanted`.
    pub(crate) fn read(path: &Path, wanted: impl Fn(&str) -> bool) -> Allowed {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let quoted = |cell: &str| cell.trim().strip_prefix('`')?.strip_suffix('`').map(str::to_owned);
        let row = |line: &str| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            Some((quoted(cells.next()?)?, quoted(cells.next()?)?, false))
        };
        let mut rows: Vec<_> = text.lines().filter_map(row).collect();
        rows.retain(|(case, _, _)| wanted(case));
        Allowed { rows }
    }

    pub(crate) fn covers(&mut self, case: &str, difference: &Difference) -> bool {
        let mut covered = false;
        for (cases, places, used) in &mut self.rows {
            if matches(cases, case) && matches(places, &difference.place) {
                *used = true;
                covered = true;
            }
        }
        covered
    }

    pub(crate) fn unused(&self) -> Vec<String> {
        let unused = self.rows.iter().filter(|(_, _, used)| !used);
        unused.map(|(case, place, _)| format!("{case} {place}")).collect()
    }
}

/// Whether `text` is `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]))
}

#[test]
fn a_star_stands_for_any_text() {
    for (pattern, text, expected) in [
        ("a/*", "a/b/c", true),
        ("*/c", "a/b/c", true),
        ("a/*/d", "a/b/c", false),
        ("a", "a", true),
        ("a", "ab", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}
