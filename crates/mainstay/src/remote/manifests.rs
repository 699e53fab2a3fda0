//! Manifests that a person names: a file, or standard input.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use objects::{Value, meta};

/// The documents of a file, which are all to be of one kind.
pub(crate) fn read(path: &Path, kind: &str) -> Result<Vec<Value>> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("read standard input")?;
        text
    } else {
        std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?
    };
    let documents = yaml::documents(&text).with_context(|| format!("parse {}", path.display()))?;
    let mut found = Vec::new();
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        if meta::kind(&document) != kind {
            bail!("{}: holds a {:?}, and {kind} is expected", path.display(), meta::kind(&document));
        }
        found.push(document);
    }
    if found.is_empty() {
        bail!("{} holds no {kind}", path.display());
    }
    Ok(found)
}
