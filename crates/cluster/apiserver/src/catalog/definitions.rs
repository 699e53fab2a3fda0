//! Minimal definitions for kinds that repositories use and bring no definition for.
//!
//! They keep every field, have a status subresource, and are replaced as soon as a stored CustomResourceDefinition
//! claims their group and name; objects stay, because both store them under the same key.

use std::sync::OnceLock;

use super::custom::{Column, Custom, Definition, Scale, age};

/// One kind a line: group, versions (the stored one first), kind, plural, short names, scope, then what else it has.
const TABLE: &str = include_str!("definitions.txt");

pub(super) fn all() -> &'static [Definition] {
    static ALL: OnceLock<Vec<Definition>> = OnceLock::new();
    ALL.get_or_init(|| {
        TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).flat_map(parse).collect()
    })
}

/// `group versions Kind plural shorts scope [scale] [Column=.path[:type]]…`, `-` for no short names.
fn parse(line: &'static str) -> Vec<Definition> {
    let mut words = line.split_whitespace();
    let mut next = || words.next().expect("the table of definitions names six things on each line");
    let (group, versions, kind, plural, shorts, scope) = (next(), next(), next(), next(), next(), next());
    let mut scale = None;
    let mut columns: Vec<Column> = Vec::new();
    for word in words {
        if word == "scale" {
            scale = Some(Scale {
                spec_replicas: ".spec.replicas".to_owned(),
                status_replicas: ".status.HPAReplicas".to_owned(),
                label_selector: Some(".status.selector".to_owned()),
            });
        } else if let Some((name, path)) = word.split_once('=') {
            let (path, kind) = path.rsplit_once(':').unwrap_or((path, "string"));
            columns.push(Column {
                name: name.replace('_', " "),
                kind: kind.to_owned(),
                format: String::new(),
                description: String::new(),
                priority: 0,
                json_path: path.to_owned(),
            });
        }
    }
    columns.push(age());
    let stored = versions.split(',').next().unwrap_or_default();
    let definition = |version: &str| Definition {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        list_kind: format!("{kind}List"),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        short_names: shorts.split(',').filter(|short| *short != "-").map(str::to_owned).collect(),
        categories: Vec::new(),
        namespaced: scope == "Namespaced",
        // Argo CD's own definitions have no status subresource for these two: their status is written with the rest.
        status: !(group == "argoproj.io" && matches!(kind, "Application" | "AppProject")),
        storage_version: format!("{group}/{stored}"),
        deprecation: None,
        custom: Custom {
            schema: None,
            columns: columns.clone(),
            scale: scale.clone(),
            terminating: false,
            selectable: Vec::new(),
            open_api: None,
            rules: std::sync::Arc::default(),
        },
    };
    versions.split(',').map(definition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_definition_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for definition in all() {
            let name = (definition.group.clone(), definition.version.clone(), definition.plural.clone());
            assert!(seen.insert(name), "{} is there twice", definition.plural);
            assert_eq!(definition.plural, definition.plural.to_lowercase());
        }
        assert!(
            all().iter().any(|definition| definition.kind == "Rollout" && definition.custom.scale.is_some())
        );
    }
}
