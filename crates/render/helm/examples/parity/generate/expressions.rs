//! Expressions of a kind.

use super::functions::FUNCTIONS;
use super::texts;
use crate::choices::Choices;

/// What is in scope where an expression stands.
pub(crate) struct Writer {
    pub(crate) choices: Choices,
    /// Names of variables with the kinds of their values.
    pub(crate) variables: Vec<(String, char)>,
    /// The kind of the dot, where it is not the root.
    pub(crate) dot: Option<char>,
    /// How many variables were ever declared.
    pub(crate) declared: usize,
    /// Definitions that stand after everything else.
    pub(crate) later: Vec<String>,
}

impl Writer {
    pub(crate) fn new(seed: u64) -> Self {
        Self { choices: Choices::new(seed), variables: Vec::new(), dot: None, declared: 0, later: Vec::new() }
    }

    pub(crate) fn quoted(&mut self, from: &[&str]) -> String {
        format!("\"{}\"", self.choices.pick(from))
    }

    /// An expression of a kind, and now and then of another.
    pub(crate) fn expression(&mut self, kind: char, depth: usize) -> String {
        // How much is made is never left to chance.
        let kind = if !matches!(kind, 'n' | 'z') && self.choices.one_in(250) { 'v' } else { kind };
        if depth == 0 || self.choices.one_in(3) {
            return self.operand(kind);
        }
        for _ in 0..60 {
            let function = self.choices.pick(FUNCTIONS);
            let mut words = function.split(' ');
            let (Some(name), Some(kinds), Some(result)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            if gives(result, kind) {
                return self.call(name, kinds, depth);
            }
        }
        self.operand(kind)
    }

    fn call(&mut self, name: &str, kinds: &str, depth: usize) -> String {
        let mut arguments: Vec<String> = kinds.chars().map(|kind| self.expression(kind, depth - 1)).collect();
        if self.choices.one_in(300) {
            arguments.pop();
        }
        if self.choices.one_in(3)
            && let Some(last) = arguments.pop_if(|last| *last != "nil")
        {
            return format!("({last} | {name} {})", arguments.join(" ")).replace(" )", ")");
        }
        format!("({name} {})", arguments.join(" ")).replace(" )", ")")
    }

    /// A variable or the dot, if one is of the kind.
    fn known(&mut self, kind: char) -> Option<String> {
        let mut known: Vec<String> = self
            .variables
            .iter()
            .filter(|(_, of)| gives(of.encode_utf8(&mut [0; 4]), kind))
            .map(|(name, _)| name.clone())
            .collect();
        if self.dot.is_some_and(|of| gives(of.encode_utf8(&mut [0; 4]), kind)) {
            known.push(".".to_owned());
        }
        if known.is_empty() || !self.choices.one_in(2) {
            return None;
        }
        Some(known.swap_remove(self.choices.below(known.len())))
    }

    pub(crate) fn operand(&mut self, kind: char) -> String {
        if let Some(known) = self.known(kind) {
            return known;
        }
        let choices = &mut self.choices;
        let owned = |text: &str| text.to_owned();
        match kind {
            's' => match choices.below(6) {
                0 => owned("$.Values.text"),
                1 => owned(choices.pick(&[
                    "$.Release.Name", "$.Chart.Name", "$.Values.multi", "$.Values.map.host", "$.Chart.Version",
                    "(index $.Values.names 0)", "`raw \\n text`", "$.Values.template", "(kindOf .)",
                ])),
                _ => self.quoted(texts::TEXTS),
            },
            'i' | 'N' | 'x' => match choices.below(4) {
                0 if kind != 'x' => owned(choices.pick(&["$.Values.number", "$.Values.float", "$.Values.map.port"])),
                0 => owned(choices.pick(&["(int64 $.Values.number)", "($.Values.number | int)", "(len $.Values.list)"])),
                1 if kind == 'N' => self.quoted(&["5", "1.5", "0x10", "010", "-3", "1e3"]),
                _ if kind == 'x' => owned(choices.pick(texts::INTEGERS)),
                _ => owned(choices.pick(texts::NUMBERS)),
            },
            'k' => match choices.below(4) {
                0 => owned(choices.pick(&["(int $.Values.number)", "(len $.Values.list)", "(int \"3\")"])),
                _ => owned(choices.pick(texts::INTEGERS)),
            },
            'n' => owned(choices.pick(texts::SMALL)),
            'z' => owned(choices.pick(&["1", "2", "3", "7", "-1", "-2"])),
            'b' => owned(choices.pick(&["true", "false", "$.Values.flag", "$.Values.off"])),
            'l' => owned(choices.pick(&[
                "$.Values.list", "$.Values.numbers", "$.Values.objects", "$.Values.map.list", "(list 1 \"a\" nil)", "list",
                "(list 3 1 2)", "$.Values.none", "$.Values.names",
            ])),
            'L' => owned(choices.pick(&["(splitList \",\" \"c,b,a\")", "($.Files.Lines \"files/a.txt\")", "(toStrings $.Values.list)"])),
            'm' => owned(choices.pick(&[
                "$.Values.map", "$.Values.map.inner", "$.Values.global", "(dict \"a\" 1 \"b\" \"x\")", "dict", "$.Values.types",
                "$.Values.odd", "$.Values.over", "(index $.Values.objects 0)",
            ])),
            'f' => owned(choices.pick(&["(deepCopy $.Values.map)", "(deepCopy $.Values.types)", "(dict \"a\" 1)", "dict"])),
            't' => owned(choices.pick(&[
                "(toDate \"2006-01-02\" \"2024-02-29\")", "(toDate \"2006-01-02T15:04:05Z07:00\" \"1999-12-31T23:59:59+02:00\")",
                "(toDate \"15:04\" \"08:30\")",
            ])),
            'c' => match choices.below(3) {
                0 => self.quoted(texts::TEXTS),
                1 => owned("$.Values.text"),
                _ => self.operand('s'),
            },
            'R' => self.quoted(texts::REGEXES),
            'V' => self.quoted(texts::VERSIONS),
            'C' => self.quoted(texts::CONSTRAINTS),
            'Y' => self.quoted(texts::YAML_MAPS),
            'A' => self.quoted(texts::YAML_LISTS),
            'J' => self.quoted(texts::JSON_MAPS),
            'j' => self.quoted(texts::JSON_LISTS),
            'O' => self.quoted(texts::TOMLS),
            'B' => self.quoted(texts::BASE64S),
            '3' => self.quoted(texts::BASE32S),
            'U' => self.quoted(texts::ADDRESSES),
            'P' => self.quoted(texts::PATHS),
            'D' => self.quoted(texts::DATES),
            'W' => self.quoted(texts::LAYOUTS),
            'G' => self.quoted(texts::DURATIONS),
            'K' => self.quoted(texts::KEYS),
            'T' => self.quoted(texts::TEMPLATES),
            'H' => self.quoted(texts::NAMES),
            'F' => self.quoted(texts::FORMATS),
            'Z' => self.quoted(&["UTC", "Europe/Berlin", "America/New_York", "Nowhere", ""]),
            'u' => owned(choices.pick(&[
                "(urlParse \"http://u:p@h:80/p?q=1#f\")", "(dict \"scheme\" \"https\" \"host\" \"h\" \"path\" \"p\")",
                "(dict \"scheme\" \"http\" \"host\" \"h:1\" \"path\" \"/a b\" \"query\" \"x=1\" \"fragment\" \"f\" \"userinfo\" \"u\")",
            ])),
            'q' => owned(choices.pick(&[
                "(keys $.Values.map)",
                "(keys $.Values.types $.Values.odd)",
                "(keys (dict \"b\" 1 \"a\" 2))",
            ])),
            '~' => owned("nil"),
            '.' => owned("$"),
            _ => match choices.below(4) {
                0 => self.quoted(texts::TEXTS),
                1 => owned(choices.pick(texts::NUMBERS)),
                _ if kind == 'a' => {
                    owned(choices.pick(&["$.Values.text", "$.Values.number", "$.Values.map", "$.Values.list", "true"]))
                }
                _ => owned(choices.pick(texts::ANYTHING)),
            },
        }
    }
}

/// Whether a value of the first kind is one of the second.
fn gives(result: &str, kind: char) -> bool {
    match (result, kind) {
        (_, 'v') => true,
        (result, 'a') => !matches!(result, "v"),
        ("s", 'c') | ("k", 'x' | 'i' | 'N') | ("i", 'N') => true,
        (result, kind) => result.starts_with(kind),
    }
}
