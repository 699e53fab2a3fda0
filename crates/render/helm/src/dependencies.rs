//! Which dependencies take part, under which names, and what they export.

use serde_json::Value;

use crate::chart::Chart;
use crate::metadata::{Dependency, Metadata};
use crate::values::{Mode, Table, coalesce, coalesce_tables, of_chart, path_value, table};

/// A chart as it takes part in one rendering.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) chart: Chart,
    pub(crate) metadata: Metadata,
    pub(crate) values: Table,
    pub(crate) dependencies: Vec<Node>,
}

impl Node {
    pub(crate) fn new(chart: &Chart) -> Self {
        Self {
            chart: chart.clone(),
            metadata: chart.metadata().clone(),
            values: of_chart(chart),
            dependencies: chart.dependencies().iter().map(Self::new).collect(),
        }
    }
}

/// `chartutil.IsCompatibleRange`
pub(crate) fn is_compatible(constraint: &str, version: &str) -> bool {
    use gotmpl::semver::{Constraints, Version};
    match (Version::parse(version), Constraints::parse(constraint)) {
        (Ok(version), Ok(constraints)) => constraints.check(&version),
        _ => false,
    }
}

/// Drops dependencies that are switched off, renames those with an alias, and takes over exported values.
///
/// # Errors
/// With Helm's text.
pub(crate) fn process(node: &mut Node, values: &Table) -> Result<(), String> {
    select(node, values, "")?;
    import_values(node)
}

fn select(node: &mut Node, values: &Table, path: &str) -> Result<(), String> {
    if node.metadata.dependencies.is_empty() {
        return Ok(());
    }
    let existing = std::mem::take(&mut node.dependencies);
    let mut requirements = std::mem::take(&mut node.metadata.dependencies);
    let fits = |child: &Node, requirement: &Dependency| {
        child.metadata.name == requirement.name
            && is_compatible(&requirement.version, &child.metadata.version)
    };
    // First what no requirement names, then one chart per requirement.
    let unnamed = existing.iter().filter(|child| !requirements.iter().any(|one| fits(child, one)));
    let mut selected: Vec<Node> = unnamed.cloned().collect();
    for requirement in &mut requirements {
        if let Some(child) = existing.iter().find(|child| fits(child, requirement)) {
            let mut child = child.clone();
            if !requirement.alias.is_empty() {
                child.metadata.name.clone_from(&requirement.alias);
            }
            selected.push(child);
        }
        if !requirement.alias.is_empty() {
            requirement.name.clone_from(&requirement.alias);
        }
        requirement.enabled = true;
    }
    node.dependencies = selected;
    let values = coalesce(node, values.clone(), Mode::Coalesce)?;
    apply_tags(&mut requirements, &values);
    apply_conditions(&mut requirements, &values, path);
    let disabled: Vec<String> =
        requirements.iter().filter(|one| !one.enabled).map(|one| one.name.clone()).collect();
    node.dependencies.retain(|child| !disabled.contains(&child.metadata.name));
    requirements.retain(|one| !disabled.contains(&one.name));
    node.metadata.dependencies = requirements;
    for child in &mut node.dependencies {
        let path = format!("{path}{}.", child.metadata.name);
        select(child, &values, &path)?;
    }
    Ok(())
}

fn apply_tags(requirements: &mut [Dependency], values: &Table) {
    let Some(tags) = table(values, "tags") else { return };
    for requirement in requirements {
        let set: Vec<bool> =
            requirement.tags.iter().filter_map(|tag| tags.get(tag).and_then(Value::as_bool)).collect();
        requirement.enabled = set.is_empty() || set.contains(&true);
    }
}

/// The first condition that leads to a boolean decides.
fn apply_conditions(requirements: &mut [Dependency], values: &Table, path: &str) {
    for requirement in requirements {
        let conditions = requirement.condition.trim().split(',').filter(|condition| !condition.is_empty());
        let decided = conditions
            .filter_map(|condition| {
                path_value(values, &format!("{path}{condition}")).and_then(Value::as_bool)
            })
            .next();
        if let Some(enabled) = decided {
            requirement.enabled = enabled;
        }
    }
}

fn import_values(node: &mut Node) -> Result<(), String> {
    for child in &mut node.dependencies {
        import_values(child)?;
    }
    if node.metadata.dependencies.is_empty() {
        return Ok(());
    }
    let mut values = coalesce(node, Table::new(), Mode::Merge)?;
    let mut imported = Table::new();
    for requirement in &mut node.metadata.dependencies {
        let mut written = Vec::new();
        for import in &requirement.import_values {
            let (child, parent) = match import {
                Value::String(name) => (format!("exports.{name}"), ".".to_owned()),
                Value::Object(pair) => (go_text(pair.get("child")), go_text(pair.get("parent"))),
                _ => continue,
            };
            written.push(serde_json::json!({"child": child.clone(), "parent": parent.clone()}));
            if let Some(found) = table(&values, &format!("{}.{child}", requirement.name)) {
                coalesce_tables(&mut imported, at_path(&parent, found.clone()), Mode::Merge);
            }
        }
        requirement.import_values = written;
    }
    coalesce_tables(&mut values, imported, Mode::Merge);
    node.values = values;
    Ok(())
}

fn go_text(value: Option<&Value>) -> String {
    value.map_or_else(|| "<nil>".to_owned(), |value| gotmpl::to_text(&value.into()).to_string())
}

/// A table that holds another at a path; `.` is the table itself.
fn at_path(path: &str, inner: Table) -> Table {
    if path == "." {
        return inner;
    }
    path.rsplit('.').fold(inner, |inner, name| {
        let mut outer = Table::new();
        outer.insert(name.to_owned(), Value::Object(inner));
        outer
    })
}
