//! Files to charts.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use tree::{EntryKind, Tree, TreePath};

use crate::archive::{MAX_CHART, MAX_FILE, unpack, without_mark};
use crate::chart::{Chart, Content, File};
use crate::error::Error;
use crate::ignore::Rules;
use crate::metadata::Metadata;
use crate::values::merge_maps;

/// How deep directories may lie in a chart, and charts in charts.
const MAX_DEPTH: usize = 40;

/// Loads the chart at `path`: a directory, or a `.tgz` archive.
///
/// # Errors
/// If there is no chart, or Helm would refuse it.
pub fn load(tree: &dyn Tree, path: &str) -> Result<Chart, Error> {
    Chart::from_files(read(tree, path)?)
}

/// The files of the chart at `path`, a directory or a `.tgz` archive: named relative to the chart, without what its
/// `.helmignore` leaves out. [`Chart::from_files`] makes a chart of them; in between, files may be added and taken away,
/// such as dependencies that were fetched.
///
/// # Errors
/// If a file cannot be read, is too large, or the archive is broken or names files outside itself.
pub fn read(tree: &dyn Tree, path: &str) -> Result<Vec<File>, Error> {
    let root = TreePath::parse(path).map_err(|source| Error::Path(path.to_owned(), source))?;
    match tree.read(&root)? {
        Some(archive) => unpack(&archive),
        None => read_directory(tree, &root),
    }
}

/// Loads a chart from the bytes of an archive.
///
/// # Errors
/// As [`load`], and if the archive is broken, too large, or names files outside itself.
pub fn load_archive(archive: &[u8]) -> Result<Chart, Error> {
    load_files(unpack(archive)?, 0)
}

fn read_directory(tree: &dyn Tree, root: &TreePath) -> Result<Vec<File>, Error> {
    let chart_error = |text: String| Error::Chart(text);
    let mut rules =
        match tree.read(&root.join(".helmignore").map_err(|e| Error::Path(root.to_string(), e))?)? {
            Some(text) => Rules::parse(&String::from_utf8_lossy(&text)).map_err(chart_error)?,
            None => Rules::default(),
        };
    rules.add_defaults().map_err(chart_error)?;
    let mut files = Vec::new();
    let mut total = 0;
    let mut pending = vec![(root.clone(), String::new(), 0)];
    while let Some((directory, prefix, depth)) = pending.pop() {
        let Some(entries) = tree.list(&directory)? else {
            return Err(Error::Chart(format!("stat {directory}: no such file or directory")));
        };
        for entry in entries {
            let name = format!("{prefix}{}", entry.name);
            let is_directory = entry.kind == EntryKind::Directory;
            if rules.ignores(&name, is_directory) {
                continue;
            }
            let path = directory.join(&entry.name).map_err(|source| Error::Path(name.clone(), source))?;
            if is_directory {
                if depth >= MAX_DEPTH {
                    return Err(Error::Chart(format!("chart directory {name} is nested too deeply")));
                }
                pending.push((path, format!("{name}/"), depth + 1));
                continue;
            }
            let data = tree.read(&path)?.unwrap_or_default();
            total += data.len() as u64;
            if data.len() as u64 > MAX_FILE {
                let base = gotmpl::quote(entry.name.as_bytes());
                return Err(Error::Chart(format!(
                    "chart file {base} is larger than the maximum file size {MAX_FILE}"
                )));
            }
            if total > MAX_CHART {
                return Err(Error::Chart(format!("chart is larger than the maximum size {MAX_CHART}")));
            }
            files.push(File { name, data: without_mark(data) });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// What the files of one chart are, before its dependencies are loaded.
#[derive(Default)]
struct Sorted {
    values: Map<String, Value>,
    schema: Option<bytes::Bytes>,
    templates: Vec<File>,
    files: Vec<File>,
    charts: BTreeMap<String, Vec<File>>,
}

pub(crate) fn load_files(files: Vec<File>, depth: usize) -> Result<Chart, Error> {
    if depth > MAX_DEPTH {
        return Err(Error::Chart("charts are nested too deeply".to_owned()));
    }
    let mut metadata = None;
    for file in files.iter().filter(|file| file.name == "Chart.yaml") {
        let read = metadata.get_or_insert_with(Metadata::default);
        let read = Metadata::read(read, &String::from_utf8_lossy(&file.data));
        read.map_err(|error| Error::Chart(format!("cannot load Chart.yaml: {error}")))?;
    }
    let missing = || Error::Chart("Chart.yaml file is missing".to_owned());
    let mut sorted = Sorted::default();
    if let Some(metadata) = &mut metadata
        && metadata.api_version.is_empty()
    {
        "v1".clone_into(&mut metadata.api_version);
    }
    for file in files {
        sort_file(file, &mut metadata, &mut sorted)?;
    }
    let mut metadata = metadata.ok_or_else(missing)?;
    metadata.validate().map_err(Error::Chart)?;
    let mut dependencies = Vec::new();
    for (name, files) in std::mem::take(&mut sorted.charts) {
        if name.starts_with(['_', '.']) {
            continue;
        }
        let chart = load_dependency(&name, files, &metadata.name, depth).map_err(|error| {
            Error::Chart(format!("error unpacking subchart {name} in {}: {error}", metadata.name))
        })?;
        dependencies.push(chart);
    }
    let Sorted { values, schema, templates, files, .. } = sorted;
    let parsed = std::sync::Mutex::default();
    let content = Content { metadata, values, schema, templates, files, dependencies, parsed };
    Ok(Chart { content: Arc::new(content) })
}

fn sort_file(file: File, metadata: &mut Option<Metadata>, sorted: &mut Sorted) -> Result<(), Error> {
    let failed = |name: &str, error: String| Error::Chart(format!("cannot load {name}: {error}"));
    let text = || String::from_utf8_lossy(&file.data);
    match file.name.as_str() {
        "Chart.yaml" => {}
        "Chart.lock" => check_lock(&text()).map_err(|error| failed("Chart.lock", error))?,
        "values.yaml" => {
            sorted.values = values_of(&text()).map_err(|error| failed("values.yaml", error))?;
        }
        "values.schema.json" => sorted.schema = Some(file.data),
        "requirements.yaml" => {
            let metadata = metadata.get_or_insert_with(Metadata::default);
            metadata.read(&text()).map_err(|error| failed("requirements.yaml", error))?;
            if metadata.api_version == "v1" {
                sorted.files.push(file);
            }
        }
        "requirements.lock" => {
            check_lock(&text()).map_err(|error| failed("requirements.lock", error))?;
            if metadata.as_ref().is_some_and(|metadata| metadata.api_version == "v1") {
                sorted.files.push(file);
            }
        }
        name if name.starts_with("templates/") => sorted.templates.push(file),
        name if name.starts_with("charts/") => {
            if name.ends_with(".prov") {
                sorted.files.push(file);
                return Ok(());
            }
            let rest = name["charts/".len()..].to_owned();
            let chart = rest.split('/').next().unwrap_or_default().to_owned();
            sorted.charts.entry(chart).or_default().push(File { name: rest, data: file.data });
        }
        _ => sorted.files.push(file),
    }
    Ok(())
}

fn check_lock(text: &str) -> Result<(), String> {
    yaml::from_str(text).map(|_| ()).map_err(|error| format!("error converting YAML to JSON: {error}"))
}

fn load_dependency(name: &str, files: Vec<File>, parent: &str, depth: usize) -> Result<Chart, Error> {
    if name.ends_with(".tgz") {
        let file = &files[0];
        if file.name != name {
            return Err(Error::Chart(format!(
                "error unpacking subchart tar in {parent}: expected {name}, got {}",
                file.name
            )));
        }
        return load_files(unpack(&file.data)?, depth + 1);
    }
    let inner = files.into_iter().filter_map(|file| {
        let (_, rest) = file.name.split_once('/')?;
        Some(File { name: rest.to_owned(), data: file.data })
    });
    load_files(inner.collect(), depth + 1)
}

/// The values of a file as `helm --values` reads it: its documents one over the other.
///
/// # Errors
/// If it is not YAML, or not a mapping; with Helm's text.
///
/// ```
/// let values = helm::read_values("a: {b: 1, c: 2}\n---\na: {b: 3}\n").unwrap();
/// assert_eq!(values, serde_json::json!({"a": {"b": 3, "c": 2}}));
/// ```
pub fn read_values(text: &str) -> Result<Value, Error> {
    values_of(text).map(Value::Object).map_err(Error::Values)
}

/// A `values.yaml`: its documents one over the other.
fn values_of(text: &str) -> Result<Map<String, Value>, String> {
    let mut values = Map::new();
    for document in split_documents(text) {
        let error = |text: String| format!("cannot unmarshal yaml document: {text}");
        let parsed = yaml::from_str(document)
            .map_err(|problem| error(format!("error converting YAML to JSON: {problem}")))?;
        let map = match parsed {
            Value::Null => Map::new(),
            Value::Object(map) => map,
            other => {
                let found = match other {
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Bool(_) => "bool",
                    _ => "number",
                };
                return Err(error(format!(
                    "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
                )));
            }
        };
        merge_maps(&mut values, map);
    }
    Ok(values)
}

/// The documents between lines that begin with `---`, as Kubernetes' reader splits them.
fn split_documents(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let mut start = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let is_separator = line.strip_prefix("---").is_some_and(|rest| rest.trim().is_empty());
        if is_separator {
            if at > start {
                documents.push(&text[start..at]);
            }
            start = at + line.len();
        }
        at += line.len();
    }
    if start < text.len() {
        documents.push(&text[start..]);
    }
    documents
}
