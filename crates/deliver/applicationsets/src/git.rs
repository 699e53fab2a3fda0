//! Directories and files of a repository as parameters.

use std::collections::BTreeMap;

use objects::Value;
use serde_json::{Map, json};
use sync::glob;
use tree::{EntryKind, Tree, TreePath};

use crate::Parameters;
use crate::parameters::flat;

/// Directories are nested no deeper.
const DEEPEST: usize = 32;
/// More directories or files than this are not looked at.
const MOST: usize = 200_000;

/// The parameters of a `git` block.
pub(crate) fn parameters(block: &Value, tree: &dyn Tree, go: bool) -> Result<Vec<Parameters>, String> {
    let filled = |field: &str| block[field].as_array().filter(|list| !list.is_empty());
    let prefix = block["pathParamPrefix"].as_str().unwrap_or_default();
    match (filled("directories"), filled("files")) {
        (Some(directories), _) => {
            let mut found = Vec::new();
            list(tree, &TreePath::root(), DEEPEST, &mut found, None)?;
            let chosen = found.into_iter().filter(|path| chosen(directories, path));
            Ok(chosen.map(|path| place(&path, None, prefix, go)).collect())
        }
        (None, Some(files)) => from_files(files, tree, prefix, go),
        (None, None) => Err("git: directories or files is required".to_owned()),
    }
}

/// Directories below one, in lexical order, and the files in `files`; what begins with a dot is no application.
fn list(
    tree: &dyn Tree,
    at: &TreePath,
    depth: usize,
    directories: &mut Vec<String>,
    mut files: Option<&mut Vec<String>>,
) -> Result<(), String> {
    if depth == 0 {
        return Ok(());
    }
    for entry in tree.list(at).map_err(|error| error.to_string())?.unwrap_or_default() {
        let Ok(path) = at.join(&entry.name) else { continue };
        if directories.len() + files.as_deref().map_or(0, Vec::len) > MOST {
            return Err(format!("the repository has more than {MOST} directories and files"));
        }
        match entry.kind {
            EntryKind::Directory if files.is_none() && entry.name.starts_with('.') => {}
            EntryKind::Directory => {
                directories.push(path.as_str().to_owned());
                list(tree, &path, depth - 1, directories, files.as_deref_mut())?;
            }
            EntryKind::File => {
                if let Some(files) = files.as_deref_mut() {
                    files.push(path.as_str().to_owned());
                }
            }
        }
    }
    Ok(())
}

/// An exclusion counts wherever it stands.
fn chosen(patterns: &[Value], path: &str) -> bool {
    let matching = |exclude: bool| {
        patterns.iter().any(|pattern| {
            (pattern["exclude"] == true) == exclude
                && glob::matches_go(pattern["path"].as_str().unwrap_or_default(), path)
        })
    };
    matching(false) && !matching(true)
}

fn from_files(
    patterns: &[Value],
    tree: &dyn Tree,
    prefix: &str,
    go: bool,
) -> Result<Vec<Parameters>, String> {
    let (mut directories, mut files) = (Vec::new(), Vec::new());
    list(tree, &TreePath::root(), DEEPEST, &mut directories, Some(&mut files))?;
    files.retain(|path| chosen_file(patterns, path));
    files.sort();
    let mut sets = Vec::new();
    for path in files {
        let failed = |reason: String| format!("unable to process file '{path}': {reason}");
        let at = TreePath::parse(&path).map_err(|error| failed(error.to_string()))?;
        let content = tree.read(&at).map_err(|error| failed(error.to_string()))?.unwrap_or_default();
        let text = std::str::from_utf8(&content).map_err(|_| failed("it is no UTF-8".to_owned()))?;
        let read = yaml::from_str(text).map_err(|error| failed(format!("unable to parse file: {error}")))?;
        let objects = match read {
            Value::Null => vec![Map::new()],
            Value::Object(object) => vec![object],
            Value::Array(list) => {
                let object = |value| match value {
                    Value::Object(object) => Ok(object),
                    _ => Err(failed("unable to parse file: an element is no map".to_owned())),
                };
                list.into_iter().map(object).collect::<Result<_, _>>()?
            }
            _ => return Err(failed("unable to parse file: it holds neither a map nor a list".to_owned())),
        };
        let (directory, name) = path.rsplit_once('/').unwrap_or((".", &path));
        for object in objects {
            let own = place(directory, Some(name), prefix, go);
            let mut set = if go {
                object
            } else {
                flat(&object).into_iter().map(|(key, text)| (key, text.into())).collect()
            };
            set.extend(own);
            sets.push(set);
        }
    }
    Ok(sets)
}

/// As Git's own patterns: `*` crosses slashes, and a directory stands for everything in it.
fn chosen_file(patterns: &[Value], path: &str) -> bool {
    let matching = |exclude: bool| {
        patterns.iter().filter(|pattern| (pattern["exclude"] == true) == exclude).any(|pattern| {
            let pattern = pattern["path"].as_str().unwrap_or_default().replace('{', "\\{");
            let inside = path.strip_prefix(pattern.trim_end_matches('/'));
            glob::matches(&pattern, path) || inside.is_some_and(|rest| rest.starts_with('/'))
        })
    };
    matching(false) && !matching(true)
}

/// What a directory, and a file in it, are called.
fn place(directory: &str, file: Option<&str>, prefix: &str, go: bool) -> Parameters {
    let base = directory.rsplit('/').next().unwrap_or(directory);
    let mut names =
        BTreeMap::from([("basename", base.to_owned()), ("basenameNormalized", gotmpl::dns_name(base))]);
    if let Some(file) = file {
        names.insert("filename", file.to_owned());
        names.insert("filenameNormalized", gotmpl::dns_name(file));
    }
    let mut set = Map::new();
    let segments = directory.split('/');
    if go {
        let mut path = json!({"path": directory, "segments": segments.collect::<Vec<_>>()});
        for (name, text) in names {
            path[name] = text.into();
        }
        if prefix.is_empty() {
            set.insert("path".to_owned(), path);
        } else {
            set.insert(prefix.to_owned(), json!({"path": path}));
        }
        return set;
    }
    let key = if prefix.is_empty() { "path".to_owned() } else { format!("{prefix}.path") };
    for (name, text) in names {
        set.insert(format!("{key}.{name}"), text.into());
    }
    for (index, segment) in segments.enumerate().filter(|(_, segment)| !segment.is_empty()) {
        set.insert(format!("{key}[{index}]"), segment.into());
    }
    set.insert(key, directory.into());
    set
}
