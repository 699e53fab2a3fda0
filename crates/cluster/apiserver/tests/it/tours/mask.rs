//! What no two runs have in common is replaced by its name: times, ages, uids, revisions, addresses, tokens.

use std::collections::BTreeMap;
use std::path::Path;

use regex::Regex;

pub(super) struct Mask {
    patterns: Vec<(Regex, &'static str)>,
    /// Longest first.
    known: Vec<(String, String)>,
}

impl Mask {
    pub(super) fn new(kept: &BTreeMap<String, String>, directory: &Path) -> Mask {
        let pattern = |text: &str| Regex::new(text).unwrap();
        let mut known: Vec<(String, String)> = kept
            .iter()
            .filter(|(_, value)| value.len() > 3)
            .map(|(name, value)| (value.clone(), format!("<{name}>")))
            .collect();
        known.push((directory.display().to_string(), "<directory>".to_owned()));
        known.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        let patterns = vec![
            // Columns are as wide as their widest cell, which may be one of the above.
            (pattern(r"(\S) {2,}"), "$1  "),
            (pattern(r"^[IWE]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ "), "<log> "),
            (pattern(r"modifiedAt=\d+"), "modifiedAt=<time>"),
            (pattern(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"), "<token>"),
            (pattern(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uid>"),
            (pattern(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "<time>"),
            (pattern(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"), "<time>"),
            (pattern(r"\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4}"), "<time>"),
            (pattern(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4}( [A-Z]+)?( m=\S+)?"), "<time>"),
            (pattern(r"/tmp/(LIVE|MERGED|diff|kubectl-edit)\S*\d+\S*"), "<temporary>"),
            (pattern(r#"(resourceVersion"?: )"\d+""#), "$1<rv>"),
            (pattern(r"Resource Version:  \d+"), "Resource Version:  <rv>"),
            (pattern(r"kube-api-access-\w{5}"), "kube-api-access-<random>"),
            (pattern(r"X509SHA256=[0-9a-f]{64}"), "X509SHA256=<sum>"),
            (pattern(r"https://127\.0\.0\.1:\d+"), "<server>"),
            (pattern(r"127\.0\.0\.1:\d+"), "<server>"),
            (pattern(r"\b10\.96\.\d+\.\d+\b"), "<address>"),
            (pattern(r"\b\d+(\.\d+)?(ms|µs)\b"), "<age>"),
            (pattern(r"\b(\d+m)?\d+s( ago)?(\s|$)"), "<age>$3"),
            (pattern(r" +$"), ""),
        ];
        Mask { patterns, known }
    }

    pub(super) fn line(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (value, name) in &self.known {
            line = line.replace(value, name);
        }
        for (pattern, name) in &self.patterns {
            line = pattern.replace_all(&line, *name).into_owned();
        }
        line
    }
}
