//! Fields of custom resources that `crds` files mark: names, references, labels and annotations.

use serde_json::Value;

use super::{BackReference, Config};
use crate::Error;
use crate::fieldspec::FieldSpec;
use crate::id::Gvk;

const MAX_DEPTH: usize = 32;

/// What the OpenAPI definitions of one `crds` file say.
///
/// # Errors
/// If definitions refer to each other without end, or contradict each other.
pub(crate) fn from_crds(definitions: &Value) -> Result<Config, Error> {
    let mut config = Config::default();
    for name in definitions.as_object().into_iter().flatten().map(|(name, _)| name) {
        let Some(properties) = properties(definitions, name) else { continue };
        if ["kind", "apiVersion", "metadata"].iter().all(|field| properties.get(*field).is_some()) {
            let kind = name.rsplit('.').next().unwrap_or(name);
            let mut found = Config::default();
            collect(&mut found, kind, definitions, name, &mut Vec::new())?;
            config.merge(found)?;
        }
    }
    Ok(config)
}

fn properties<'a>(definitions: &'a Value, name: &str) -> Option<&'a Value> {
    definitions.get(name)?.get("Schema")?.get("properties")
}

fn collect(
    config: &mut Config,
    kind: &str,
    definitions: &Value,
    name: &str,
    path: &mut Vec<String>,
) -> Result<(), Error> {
    if path.len() > MAX_DEPTH {
        return Err(Error::Limit { what: "the nesting of definitions in a crds file", limit: MAX_DEPTH });
    }
    let fields = properties(definitions, name).and_then(Value::as_object);
    for (field, property) in fields.into_iter().flatten() {
        path.push(field.clone());
        let text = |name: &str| property.get(name).and_then(Value::as_str);
        let spec = |path: &[String]| FieldSpec::new(path.join("/"), "", "", kind, false);
        let mut found = Config::default();
        if text("x-kubernetes-annotation").is_some() {
            found.common_annotations.push(spec(path));
        }
        if text("x-kubernetes-label-selector").is_some() {
            found.common_labels.push(spec(path));
        }
        if text("x-kubernetes-identity").is_some() {
            found.name_prefix.push(spec(path));
        }
        if let (Some(version), Some(target)) =
            (text("x-kubernetes-object-ref-api-version"), text("x-kubernetes-object-ref-kind"))
        {
            let key = text("x-kubernetes-object-ref-name-key").unwrap_or("name");
            let gvk = Gvk { group: String::new(), version: version.to_owned(), kind: target.to_owned() };
            let referrer = spec(&[path.as_slice(), &[key.to_owned()]].concat());
            found.name_reference.push(BackReference { gvk, referrers: vec![referrer] });
        }
        config.merge(found)?;
        if let Some(reference) = text("$ref") {
            collect(config, kind, definitions, reference, path)?;
        }
        path.pop();
    }
    Ok(())
}
