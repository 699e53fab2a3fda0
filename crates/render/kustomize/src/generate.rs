//! Generated ConfigMaps and Secrets, and the hash of their content that becomes part of their name.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::kustomization::{Generator, GeneratorOptions};
use crate::loader::Loader;
use crate::node::{Node, Tag};
use crate::resource::{Behavior, ENABLED, NEEDS_HASH, Resource};
use crate::resources::Resources;
use crate::schema::Schema;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    ConfigMap,
    Secret,
}

/// Gives every object its hash that is to have one.
pub(crate) fn add_hashes(resources: &mut Resources, schema: &Schema) -> Result<(), Error> {
    for resource in resources.list.iter_mut().filter(|resource| resource.is_enabled(NEEDS_HASH)) {
        let hash = hash(resource)?;
        resource.remember(schema)?;
        let name = format!("{}-{hash}", resource.name());
        resource.set_name(&name)?;
    }
    Ok(())
}

/// Makes the object one generator describes.
pub(crate) fn generate(
    target: Target,
    generator: &Generator,
    loader: &Loader<'_>,
) -> Result<Resource, Error> {
    let kind = if target == Target::ConfigMap { "ConfigMap" } else { "Secret" };
    if generator.name.is_empty() {
        return Err(Error::invalid("a configmap must have a name"));
    }
    let options = &generator.options;
    let mut resource = Resource::new(Node::map());
    resource
        .node
        .expect_map()?
        .extend([("apiVersion".to_owned(), Node::string("v1")), ("kind".to_owned(), Node::string(kind))]);
    resource.set_name(&generator.name)?;
    if !generator.namespace.is_empty() {
        resource.set_namespace(&generator.namespace)?;
    }
    let pairs = sources(generator, loader).map_err(|error| error.within("loading KV pairs"))?;
    let data = unique(pairs, &generator.name)?;
    if target == Target::Secret {
        let secret_type =
            generator.secret_type.as_deref().filter(|text| !text.is_empty()).unwrap_or("Opaque");
        resource.node.expect_map()?.insert("type".to_owned(), Node::string(secret_type));
        let encoded = data.iter().map(|(name, content)| (name.clone(), Node::string(base64_lines(content))));
        let encoded = encoded.collect();
        resource.node.expect_map()?.insert("data".to_owned(), Node::Map(encoded));
    } else {
        for (name, content) in data {
            match String::from_utf8(content) {
                Ok(text) => resource.node.map_at("data")?.insert(name, Node::string(text)),
                Err(binary) => {
                    let text = base64_lines(binary.as_bytes());
                    resource.node.map_at("binaryData")?.insert(name, Node::string(text))
                }
            };
        }
    }
    if let Some(options) = options {
        if !options.labels.is_empty() {
            resource.set_labels(&options.labels)?;
        }
        resource.set_annotations(&options.annotations)?;
        if options.immutable {
            resource.node.expect_map()?.insert("immutable".to_owned(), Node::typed("true", Tag::Bool));
        }
    }
    if !options.as_ref().is_some_and(|options| options.disable_name_suffix_hash) {
        resource.annotate(NEEDS_HASH, ENABLED)?;
    }
    resource.set_behavior(Behavior::parse(&generator.behavior))?;
    Ok(resource)
}

/// A generator with the kustomization's `generatorOptions`.
pub(crate) fn with_options(generator: &Generator, global: Option<&GeneratorOptions>) -> Generator {
    let options = effective_options(generator.options.as_ref(), global);
    let mut generator = generator.clone();
    generator.options = options;
    generator
}

/// The generator's own options win over the kustomization's, except that either may switch something on.
fn effective_options(
    own: Option<&GeneratorOptions>,
    global: Option<&GeneratorOptions>,
) -> Option<GeneratorOptions> {
    let Some(global) = global else { return own.cloned() };
    let mut merged = global.clone();
    if let Some(own) = own {
        merged.labels.extend(own.labels.clone());
        merged.annotations.extend(own.annotations.clone());
        merged.disable_name_suffix_hash |= own.disable_name_suffix_hash;
        merged.immutable |= own.immutable;
    }
    Some(merged)
}

fn sources(generator: &Generator, loader: &Loader<'_>) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let listed = |what: &str, sources: &[String]| format!("{what} [{}]", sources.join(" "));
    let mut pairs = Vec::new();
    for path in &generator.envs {
        let read = loader.load(path).and_then(|content| environment(&content));
        pairs.extend(read.map_err(|error| error.within(listed("env source files:", &generator.envs)))?);
    }
    for literal in &generator.literals {
        match literal.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                pairs.push((name.to_owned(), unquoted(value).as_bytes().to_vec()));
            }
            _ => {
                let error = Error::invalid(format!("invalid literal source {literal}, expected key=value"));
                return Err(error.within(listed("literal sources", &generator.literals)));
            }
        }
    }
    for source in &generator.files {
        let read =
            file_source(source).and_then(|(name, path)| Ok((name.to_owned(), loader.load(path)?.to_vec())));
        pairs.push(read.map_err(|error| error.within(listed("file sources:", &generator.files)))?);
    }
    Ok(pairs)
}

fn unique(pairs: Vec<(String, Vec<u8>)>, of: &str) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut data = BTreeMap::new();
    for (name, content) in pairs {
        if data.contains_key(&name) {
            return Err(Error::invalid(format!("configmap {of} illegally repeats the key `{name}`")));
        }
        data.insert(name, content);
    }
    Ok(data)
}

fn unquoted(value: &str) -> &str {
    ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value)
}

/// `[key=]path`
fn file_source(source: &str) -> Result<(&str, &str), Error> {
    match source.split_once('=') {
        None => Ok((source.trim_end_matches('/').rsplit('/').next().unwrap_or(source), source)),
        Some((_, path)) if path.contains('=') => {
            Err(Error::invalid(format!("source {source:?} key name or file path contains '='")))
        }
        Some(("", path)) => {
            Err(Error::invalid(format!("missing key name for file path {path:?} in source {source:?}")))
        }
        Some((name, "")) => {
            Err(Error::invalid(format!("missing file path for key name {name:?} in source {source:?}")))
        }
        Some(pair) => Ok(pair),
    }
}

/// `key=value` lines; empty lines and comments do not count.
fn environment(content: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut pairs = Vec::new();
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    for (number, line) in content.split(|byte| *byte == b'\n').enumerate() {
        let line = std::str::from_utf8(line)
            .map_err(|_error| Error::invalid(format!("line {number} has invalid utf8 bytes")))?;
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        if !name.is_empty() {
            pairs.push((name.to_owned(), value.as_bytes().to_vec()));
        }
    }
    Ok(pairs)
}

/// Base64 in lines of 70 characters, each with its newline, unless one line is enough.
fn base64_lines(content: &[u8]) -> String {
    const LINE: usize = 70;
    let encoded = STANDARD.encode(content);
    if encoded.len() < LINE {
        return encoded;
    }
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / LINE + 1);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        lines.push_str(line);
        lines.push('\n');
        rest = after;
    }
    lines
}

/// Adds the entries of an existing object to a generated one; the generated ones win.
pub(crate) fn merge_data(new: &mut Resource, old: &Resource) -> Result<(), Error> {
    for field in ["data", "binaryData"] {
        let mut data = old.data(field);
        if field == "data" && old.api_version() == "v1" && old.kind() == "Secret" {
            let texts = old.data("stringData");
            data.extend(texts.into_iter().map(|(name, text)| (name, base64_lines(text.as_bytes()))));
        }
        data.extend(new.data(field));
        let fields = new.node.expect_map()?;
        fields.remove(field);
        if !data.is_empty() {
            let data = data.into_iter().map(|(name, text)| (name, Node::string(text)));
            fields.insert(field.to_owned(), Node::Map(data.collect()));
        }
    }
    Ok(())
}

/// The hash of an object's content, as it ends its name.
pub(crate) fn hash(resource: &Resource) -> Result<String, Error> {
    let kind = resource.kind();
    let part = |name: &str| match resource.node.get(name) {
        None => Ok(Value::from("")),
        Some(Node::Scalar(scalar)) => Ok(Value::from(scalar.text.as_str())),
        Some(node) => node.to_value(),
    };
    let mut content = Map::new();
    // Real kustomize looks for the name in a field called "metadata/name", which no object has.
    content.insert("name".to_owned(), "".into());
    content.insert("kind".to_owned(), kind.into());
    let optional = match kind {
        "ConfigMap" => "binaryData",
        "Secret" => {
            content.insert("type".to_owned(), part("type")?);
            "stringData"
        }
        _ => return Err(Error::invalid(format!("a name with the hash of a {kind} is not supported yet"))),
    };
    content.insert("data".to_owned(), part("data")?);
    if resource.node.get(optional).is_some_and(|node| node.fields().is_some()) {
        content.insert(optional.to_owned(), part(optional)?);
    }
    let digest = Sha256::digest(go_json(&Value::Object(content)).as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(hex.chars().take(10).map(safe).collect())
}

/// Digits and letters that cannot be misread or spell a word.
fn safe(digit: char) -> char {
    match digit {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        other => other,
    }
}

/// JSON as Go's `encoding/json` writes it: safe to embed in HTML.
fn go_json(value: &Value) -> String {
    html_safe(&value.to_string())
}

/// JSON with what means something in HTML escaped.
pub(crate) fn html_safe(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_cut_into_lines_only_when_long() {
        assert_eq!(base64_lines(b"abc"), "YWJj");
        let long = base64_lines(&[0; 60]);
        assert_eq!(long.lines().map(str::len).collect::<Vec<_>>(), [70, 10]);
        assert!(long.ends_with('\n'));
    }

    #[test]
    fn literals_and_file_sources_are_read_as_written() {
        assert_eq!(unquoted("\"a b\""), "a b");
        assert_eq!(unquoted("\""), "\"");
        assert_eq!(file_source("dir/a.txt").unwrap(), ("a.txt", "dir/a.txt"));
        assert_eq!(file_source("k=dir/a.txt").unwrap(), ("k", "dir/a.txt"));
        for wrong in ["=a", "a=", "a=b=c"] {
            assert!(file_source(wrong).is_err(), "{wrong}");
        }
    }
}
