//! Slash-separated paths, as Go's `path` (and `filepath` on Unix) treats them.

use super::Type::Str as Text;
use super::{Function, fixed, text};
use crate::value::Value;

const ONE: &[super::Type] = &[Text];

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("base", ONE, |_, args| Ok(on_bytes(text(args, 0), |path| base(path).to_owned()))),
    fixed("dir", ONE, |_, args| Ok(on_bytes(text(args, 0), dir))),
    fixed("clean", ONE, |_, args| Ok(on_bytes(text(args, 0), clean))),
    fixed("ext", ONE, |_, args| Ok(on_bytes(text(args, 0), |path| extension(path).to_owned()))),
    fixed("isAbs", ONE, |_, args| Ok(Value::Bool(text(args, 0).starts_with(b"/")))),
    fixed("osBase", ONE, |_, args| Ok(on_bytes(text(args, 0), |path| base(path).to_owned()))),
    fixed("osDir", ONE, |_, args| Ok(on_bytes(text(args, 0), dir))),
    fixed("osClean", ONE, |_, args| Ok(on_bytes(text(args, 0), clean))),
    fixed("osExt", ONE, |_, args| Ok(on_bytes(text(args, 0), |path| extension(path).to_owned()))),
    fixed("osIsAbs", ONE, |_, args| Ok(Value::Bool(text(args, 0).starts_with(b"/")))),
];

/// Go's paths are bytes: what is no UTF-8 stays. Each byte goes through as the character of its number, since only
/// slashes and points mean something.
fn on_bytes(path: &[u8], work: impl Fn(&str) -> String) -> Value {
    if let Ok(path) = std::str::from_utf8(path) {
        return work(path).into();
    }
    let characters: String = path.iter().map(|byte| char::from(*byte)).collect();
    let bytes: Vec<u8> = work(&characters).chars().filter_map(|one| u8::try_from(one).ok()).collect();
    bytes.into()
}

fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        Some("") | None => "/",
        Some(last) => last,
    }
}

fn dir(path: &str) -> String {
    clean(path.rfind('/').map_or("", |slash| &path[..=slash]))
}

fn extension(path: &str) -> &str {
    let last = path.rsplit('/').next().unwrap_or_default();
    last.rfind('.').map_or("", |dot| &last[dot..])
}

pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            name => parts.push(name),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}
