//! The index of an HTTP repository, reduced to what leads to an archive.

use std::collections::BTreeMap;

use gotmpl::semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::versions::{self, Wanted};

/// Charts by name, each with its versions, the highest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    charts: BTreeMap<String, Vec<Release>>,
    /// Whether it is seen to be all there: `helm repo index` ends YAML with `generated`, and JSON that breaks off is none.
    #[serde(default)]
    ended: bool,
}

/// One version of a chart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Release {
    #[serde(rename = "v")]
    pub(crate) version: String,
    /// As the index has them: perhaps relative to the repository.
    #[serde(rename = "u")]
    pub(crate) urls: Vec<String>,
    /// As the index has it; empty if it has none.
    #[serde(rename = "d")]
    pub(crate) digest: String,
}

/// An index as JSON: only what is needed is kept, so that a large one costs little.
#[derive(Deserialize)]
struct Document {
    #[serde(rename = "apiVersion", default)]
    api_version: Option<String>,
    #[serde(default)]
    entries: Option<BTreeMap<String, Option<Vec<Option<Entry>>>>>,
    #[serde(skip)]
    generated: bool,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    urls: Option<Vec<String>>,
    #[serde(default)]
    digest: Option<String>,
}

impl Index {
    /// Reads an index; entries that Helm would pass over are passed over.
    ///
    /// # Errors
    /// If it is none, in Helm's words where Helm has some.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, String> {
        if content.iter().all(u8::is_ascii_whitespace) {
            return Err("empty index.yaml file".to_owned());
        }
        let is_json = content.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        let document = match is_json.then(|| serde_json::from_slice::<Document>(content)) {
            Some(Ok(document)) => document,
            _ => {
                let text = std::str::from_utf8(content).map_err(|_| "it is no UTF-8 text".to_owned())?;
                match by_chart(text) {
                    Some(document) => document,
                    None => from_yaml(yaml::from_str(text).map_err(|error| error.to_string())?)?,
                }
            }
        };
        if document.api_version.as_deref().unwrap_or_default().is_empty() {
            return Err("no API version specified".to_owned());
        }
        let mut charts = BTreeMap::new();
        for (name, entries) in document.entries.unwrap_or_default() {
            let releases = entries.unwrap_or_default().into_iter().flatten().filter_map(release);
            let mut releases: Vec<Release> = releases.collect();
            versions::sort(&mut releases, |release| &release.version);
            charts.insert(name, releases);
        }
        Ok(Self { charts, ended: is_json || document.generated })
    }

    /// Whether this is an earlier index that breaks off: it is YAML still, but without its end, and without a release that
    /// the earlier one has. Somebody is writing it just now, or the connection was cut without anybody noticing.
    pub(crate) fn breaks_off(&self, earlier: &Self) -> bool {
        let has = |chart: &str, release: &Release| {
            let found = self.charts.get(chart).into_iter().flatten();
            found.into_iter().any(|one| one.version == release.version)
        };
        let mut releases = earlier
            .charts
            .iter()
            .flat_map(|(chart, releases)| releases.iter().map(move |release| (chart, release)));
        earlier.ended && !self.ended && releases.any(|(chart, release)| !has(chart, release))
    }

    /// The release that a version or range means.
    pub(crate) fn find(&self, chart: &str, wanted: &Wanted<'_>) -> Option<&Release> {
        wanted.choose(self.charts.get(chart)?, |release| &release.version)
    }

    pub(crate) fn has(&self, chart: &str) -> bool {
        self.charts.contains_key(chart)
    }
}

fn release(entry: Entry) -> Option<Release> {
    let version = entry.version.unwrap_or_default();
    let named = entry.name.as_deref().is_some_and(|name| crate::names::check(name).is_ok());
    if !named || Version::parse(&version).is_err() {
        tracing::debug!(name = entry.name, version, "passing over an entry of a chart index");
        return None;
    }
    Some(Release { version, urls: entry.urls.unwrap_or_default(), digest: entry.digest.unwrap_or_default() })
}

/// A YAML index as `helm repo index` writes it, read chart by chart: a large one takes a tenth of the memory. Nothing if
/// it is written otherwise, or is not plainly the same as when it is read whole.
fn by_chart(text: &str) -> Option<Document> {
    let mut document = Document { api_version: None, entries: Some(BTreeMap::new()), generated: false };
    let mut rest = String::new();
    let mut chart = String::new();
    let (mut inside, mut seen) = (false, false);
    for line in text.split_inclusive('\n') {
        let begins = |depth: usize| {
            line.len() > depth
                && line.as_bytes()[..depth].iter().all(|byte| *byte == b' ')
                && !line.as_bytes()[depth].is_ascii_whitespace()
        };
        if !inside || begins(0) {
            flush(&mut chart, &mut document)?;
            inside = line.trim_end() == "entries:";
            if inside && seen {
                return None;
            }
            seen |= inside;
            if !inside {
                rest.push_str(line);
            }
            continue;
        }
        if begins(2) && !line[2..].starts_with('-') {
            flush(&mut chart, &mut document)?;
        }
        chart.push_str(line);
    }
    flush(&mut chart, &mut document)?;
    let rest = from_yaml(yaml::from_str(&rest).ok()?).ok()?;
    document.api_version = rest.api_version;
    document.generated = rest.generated;
    (seen && rest.entries.is_none()).then_some(document)
}

/// Reads one chart's part of the entries.
fn flush(chart: &mut String, document: &mut Document) -> Option<()> {
    if chart.is_empty() {
        return Some(());
    }
    let value = yaml::from_str(&format!("entries:\n{chart}")).ok()?;
    chart.clear();
    let one = from_yaml(value).ok()?.entries.filter(|one| one.len() == 1)?;
    let all = document.entries.get_or_insert_default();
    // A chart that comes twice is for the whole reading to judge, and so is a part that is more than one chart.
    let (name, entries) = one.into_iter().next().filter(|(name, _)| !all.contains_key(name))?;
    all.insert(name, entries);
    Some(())
}

/// A YAML index; scalars are strings as Go's library makes them of numbers.
fn from_yaml(value: Value) -> Result<Document, String> {
    let Value::Object(mut map) = value else { return Err("it is no mapping".to_owned()) };
    let api_version = map.get("apiVersion").and_then(text);
    let generated = map.contains_key("generated");
    let Some(Value::Object(entries)) = map.remove("entries") else {
        return Ok(Document { api_version, entries: None, generated });
    };
    let releases = |value: Value| match value {
        Value::Array(items) => Some(items.into_iter().map(entry).collect()),
        _ => None,
    };
    let entries = entries.into_iter().map(|(name, value)| (name, releases(value))).collect();
    Ok(Document { api_version, entries: Some(entries), generated })
}

fn entry(value: Value) -> Option<Entry> {
    let object = value.as_object()?;
    let urls = object.get("urls").and_then(Value::as_array);
    Some(Entry {
        name: object.get("name").and_then(text),
        version: object.get("version").and_then(text),
        urls: urls.map(|urls| urls.iter().filter_map(text).collect()),
        digest: object.get("digest").and_then(text),
    })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "\
apiVersion: v1
entries:
  web:
  - name: web
    version: 1.2.0
    urls: [charts/web-1.2.0.tgz]
    digest: abc
  - null
  - name: web
    version: 1.10.0
    urls: [https://elsewhere.example.org/web.tgz]
  - name: web
    version: not a version
  - name: ../../etc/cron.d/x
    version: 9.0.0
  - version: 8.0.0
  empty: []
  none:
";

    #[test]
    fn reads_yaml_and_json_alike() {
        let yaml = Index::parse(YAML.as_bytes()).unwrap();
        let json = yaml::from_str(YAML).unwrap().to_string();
        assert_eq!(Index::parse(json.as_bytes()).unwrap().charts, yaml.charts);
        let find = |chart: &str, version: &str| {
            yaml.find(chart, &Wanted::parse(version).unwrap()).map(|release| release.version.clone())
        };
        assert_eq!(find("web", "").as_deref(), Some("1.10.0"));
        assert_eq!(find("web", "~1.2").as_deref(), Some("1.2.0"));
        assert_eq!(find("web", "9.0.0"), None, "an entry whose name leads elsewhere is none");
        assert_eq!(find("other", ""), None);
        assert!(yaml.has("empty") && yaml.has("none") && !yaml.has("other"));
    }

    /// However it is written, it is read the same.
    #[test]
    fn reads_chart_by_chart_what_it_reads_whole() {
        let versions = |name: &str| {
            format!(
                "  {name}:\n  - description: |\n      entries:\n        x: &a 1\n    name: {name}\n    urls:\n    - {name}.tgz\n    version: 1.0.0\n  - name: {name}\n    version: 1.1.0\n"
            )
        };
        let plain = format!("apiVersion: v1\nentries:\n{}{}generated: \"x\"\n", versions("a"), versions("b"));
        let whole = |text: &str| from_yaml(yaml::from_str(text).unwrap()).unwrap();
        let names = |document: &Document| {
            let entries = document.entries.as_ref().unwrap().iter();
            let of = |entries: &Option<Vec<Option<Entry>>>| {
                let all = entries.iter().flatten().flatten();
                all.map(|entry| (entry.name.clone(), entry.version.clone(), entry.urls.clone()))
                    .collect::<Vec<_>>()
            };
            (
                document.api_version.clone(),
                entries.map(|(name, all)| (name.clone(), of(all))).collect::<Vec<_>>(),
            )
        };
        assert_eq!(names(&by_chart(&plain).unwrap()), names(&whole(&plain)));
        for other in [
            format!("{plain}entries:\n{}", versions("c")),
            plain.replace("  b:", "  a:"),
            plain.replace("name: a", "name: &n a").replace("name: b", "name: *n"),
            "apiVersion: v1\nentries: {a: [{name: a, version: 1.0.0}]}\n".to_owned(),
            format!("apiVersion: v1\nentries:\n  - {}", "x"),
            "- a\n".to_owned(),
        ] {
            // Read whole, or to the same result.
            if let Some(document) = by_chart(&other) {
                assert_eq!(names(&document), names(&whole(&other)), "{other}");
            }
        }
    }

    #[test]
    fn an_index_that_breaks_off_is_known_by_the_one_before() {
        let whole = format!("{YAML}generated: \"2026-01-01T00:00:00Z\"\n");
        let read = |text: &str| Index::parse(text.as_bytes()).unwrap();
        let cut = whole.split_once("  - null").unwrap().0;
        assert!(read(cut).breaks_off(&read(&whole)), "a version is gone");
        let shorter = "apiVersion: v1\nentries:\n  web:\n  - name: web\n    version: 1.1";
        assert!(read(shorter).breaks_off(&read(&whole)), "a version is another one");
        assert!(!read(YAML).breaks_off(&read(&whole)), "written by something else, with nothing lost");
        let without = whole.replace("version: 1.2.0", "version: x");
        assert!(!read(&without).breaks_off(&read(&whole)), "what was withdrawn is gone");
        assert!(!read(cut).breaks_off(&read(YAML)), "nobody knows how it ends");
        assert!(!read("{\"apiVersion\": \"v1\"}").breaks_off(&read(&whole)), "JSON is whole or none");
    }

    #[test]
    fn what_is_no_index_is_refused() {
        for (text, reason) in [
            ("", "empty index.yaml file"),
            ("entries: {}", "no API version"),
            ("[]", "no mapping"),
            ("<html>", "no mapping"),
            ("{\"apiVersion\": ", ""),
        ] {
            let error = Index::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(Index::parse(&[0xff, 0xfe, 0]).is_err());
    }
}
