//! `values.schema.json`: JSON Schema (drafts 4 to 2020-12) with the error texts of the library Helm uses.
//!
//! References lead only into the document itself: a chart's schema is checked without asking anyone else.

mod failure;
mod formats;
mod keywords;
mod reference;

use serde_json::Value;

use crate::dependencies::Node;
use crate::values::Table;
use failure::Failure;
use keywords::Validator;

/// Checks the values of a chart and its dependencies.
///
/// # Errors
/// With Helm's text, which names every chart whose values do not fit.
pub(crate) fn validate(node: &Node, values: &Table) -> Result<(), String> {
    let mut problems = String::new();
    collect(node, values, &mut problems);
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!(
        "values don't meet the specifications of the schema(s) in the following chart(s):\n{problems}"
    ))
}

fn collect(node: &Node, values: &Table, problems: &mut String) {
    if let Some(schema) = &node.chart.content.schema
        && let Err(problem) = check(schema, values)
    {
        problems.push_str(&format!("{}:\n{problem}", node.metadata.name));
    }
    for child in &node.dependencies {
        let name = &child.metadata.name;
        match values.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::Object(values)) => collect(child, values, problems),
            Some(other) => {
                let found = gotmpl::Value::from(other).type_name();
                problems.push_str(&format!(
                    "{name}:\ninvalid type for values: expected object (map), got {found}\n"
                ));
            }
        }
    }
}

fn check(schema: &[u8], values: &Table) -> Result<(), String> {
    let schema: Value = match serde_json::from_slice(schema) {
        Ok(schema) => schema,
        Err(_) => {
            return Err(gotmpl::from_json(&String::from_utf8_lossy(schema))
                .err()
                .unwrap_or_else(|| "unexpected end of JSON input".to_owned()));
        }
    };
    let validator = Validator::new(&schema)?;
    let result = validator.run(&Value::Object(values.clone()));
    result.map_err(|failure: Failure| format!("{}\n", failure.report()))
}
