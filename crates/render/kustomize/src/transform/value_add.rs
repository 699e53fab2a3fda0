//! A value written into fields of selected objects, whole or as a part of a file path.

use serde::Deserialize;

use super::namespace::Namespace;
use crate::Error;
use crate::decode::{Mode, decode};
use crate::fieldspec::split;
use crate::kustomization::Selector;
use crate::loader::Loader;
use crate::node::{Node, Tag};
use crate::resources::Resources;
use crate::schema::Schema;

/// The configuration of a ValueAddTransformer.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ValueAdd {
    value: String,
    targets: Vec<Target>,
    target_file_path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Target {
    selector: Option<Selector>,
    field_path: String,
    /// Where in a path the value is put in, counted from one; zero replaces the whole field.
    file_path_position: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Targets {
    targets: Vec<Target>,
}

impl ValueAdd {
    /// Fills in what the configuration leaves to the directory it stands in.
    pub(crate) fn load(mut self, loader: &Loader<'_>) -> Result<Self, Error> {
        self.value = self.value.trim().to_owned();
        if self.value.is_empty() {
            self.value = loader.name().to_owned();
        }
        if !self.target_file_path.is_empty() {
            let text = loader.load_text(&self.target_file_path)?;
            let invalid = |message: String| Error::invalid(format!("error unmarshaling JSON: {message}"));
            let value = yaml::from_str(&text).map_err(|error| Error::invalid(error.to_string()))?;
            let more: Targets = decode(&value, Mode::Lenient).map_err(invalid)?;
            self.targets.extend(more.targets);
        }
        if self.targets.is_empty() {
            return Err(Error::invalid("must specify at least one target"));
        }
        for target in &self.targets {
            if target.field_path.is_empty() {
                return Err(Error::invalid("fieldPath cannot be empty"));
            }
            if target.file_path_position < 0 {
                let position = target.file_path_position;
                return Err(Error::invalid(format!(
                    "value of FilePathPosition ({position}) cannot be negative"
                )));
            }
        }
        Ok(self)
    }

    pub(super) fn run(&self, resources: &mut Resources, schema: &Schema) -> Result<(), Error> {
        for target in &self.targets {
            let selected = match &target.selector {
                Some(selector) => resources.select(selector, schema)?,
                None => (0..resources.list.len()).collect(),
            };
            for index in selected {
                let resource = &mut resources.list[index];
                if target.field_path == "metadata/namespace" {
                    Namespace::new(self.value.clone(), Vec::new()).set_one(resource, schema)?;
                } else {
                    let path = split(&target.field_path, '/');
                    self.write(&mut resource.node, &path, target.file_path_position)?;
                }
            }
        }
        Ok(())
    }

    fn write(&self, node: &mut Node, path: &[String], position: i64) -> Result<(), Error> {
        let Some((name, rest)) = path.split_first() else {
            let Node::Scalar(scalar) = &*node else {
                return Err(Error::invalid("wrong node kind: expected ScalarNode"));
            };
            let text = match usize::try_from(position) {
                Ok(position) if position > 0 => insert(&scalar.text, position - 1, &self.value),
                _ => self.value.clone(),
            };
            return node.set_text(text, Tag::Empty);
        };
        let fields = node.expect_map()?;
        let missing = || if rest.is_empty() { Node::string("") } else { Node::map() };
        self.write(fields.entry(name.clone()).or_insert_with(missing), rest, position)
    }
}

/// Puts a part into a slash-separated path; an absolute path stays one.
fn insert(path: &str, position: usize, part: &str) -> String {
    if part.is_empty() {
        return path.to_owned();
    }
    let (start, path) = match path.strip_prefix('/') {
        Some(path) => ("/", path),
        None => ("", path),
    };
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.insert(position.min(parts.len()), part);
    format!("{start}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_goes_where_it_is_wanted() {
        let check =
            |path: &str, position: usize, wanted: &str| assert_eq!(insert(path, position, "X"), wanted);
        check("", 0, "X");
        check("/", 3, "/X");
        check("pie", 0, "X/pie");
        check("/pie", 0, "/X/pie");
        check("/raw", 1, "/raw/X");
        check("a/nice/warm/pie", 3, "a/nice/warm/X/pie");
        check("a/b", 9999, "a/b/X");
    }
}
