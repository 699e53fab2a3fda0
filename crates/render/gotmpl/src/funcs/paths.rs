//! Slash-separated paths, as Go's `path` (and `filepath` on Unix) treats them.

use super::Type::Str as Text;
use super::{Function, fixed, text};
use crate::value::Value;

const ONE: &[super::Type] = &[Text];

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("base", ONE, |_, args| Ok(base(&text(args, 0).text()).into())),
    fixed("dir", ONE, |_, args| Ok(dir(&text(args, 0).text()).into())),
    fixed("clean", ONE, |_, args| Ok(clean(&text(args, 0).text()).into())),
    fixed("ext", ONE, |_, args| Ok(extension(&text(args, 0).text()).into())),
    fixed("isAbs", ONE, |_, args| Ok(Value::Bool(text(args, 0).starts_with(b"/")))),
    fixed("osBase", ONE, |_, args| Ok(base(&text(args, 0).text()).into())),
    fixed("osDir", ONE, |_, args| Ok(dir(&text(args, 0).text()).into())),
    fixed("osClean", ONE, |_, args| Ok(clean(&text(args, 0).text()).into())),
    fixed("osExt", ONE, |_, args| Ok(extension(&text(args, 0).text()).into())),
    fixed("osIsAbs", ONE, |_, args| Ok(Value::Bool(text(args, 0).starts_with(b"/")))),
];

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
