//! JSON patch, RFC 6902.

use serde_json::{Map, Value};

use super::PatchError;

/// As many operations as the API server accepts.
const MAX_OPERATIONS: usize = 10_000;
/// Bytes that all `copy` operations of one patch may add.
const MAX_COPIED: usize = 3 * 1024 * 1024;

/// Applies a list of operations; on an error `target` is left as it was.
///
/// # Errors
/// If an operation is malformed, its path does not exist, or a `test` fails.
pub fn json_patch(target: &mut Value, operations: &Value) -> Result<(), PatchError> {
    let operations = operations
        .as_array()
        .ok_or_else(|| PatchError::Malformed("a JSON patch must be a list of operations".to_owned()))?;
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooManyOperations(operations.len(), MAX_OPERATIONS));
    }
    let mut document = target.clone();
    let mut copied = 0;
    for operation in operations {
        apply_one(&mut document, operation, &mut copied)?;
    }
    *target = document;
    Ok(())
}

fn apply_one(document: &mut Value, operation: &Value, copied: &mut usize) -> Result<(), PatchError> {
    let text = |name: &str| operation.get(name).and_then(Value::as_str);
    let malformed = |what: &str| PatchError::Malformed(format!("{what} in operation {operation}"));
    let op = text("op").ok_or_else(|| malformed("missing op"))?;
    let path = pointer(text("path").ok_or_else(|| malformed("missing path"))?)?;
    let from = || pointer(text("from").ok_or_else(|| malformed("missing from"))?);
    let value = || operation.get("value").cloned().ok_or_else(|| malformed("missing value"));
    match op {
        "add" => add(document, &path, value()?),
        "remove" => match remove(document, &path, "remove") {
            // The API server's library takes the removal of a field that an object does not have as done.
            Err(_) if in_object(document, &path) => Ok(()),
            other => other.map(drop),
        },
        "replace" => {
            let value = value()?;
            if let Some(place) = find_mut(document, &path) {
                *place = value;
                return Ok(());
            }
            // Nor does it insist that a field to replace is there.
            if in_object(document, &path) {
                add(document, &path, value)
            } else {
                Err(missing("replace", &path))
            }
        }
        "move" => {
            let from = from()?;
            if path.len() > from.len() && path.starts_with(&from) {
                return Err(PatchError::DoesNotApply(format!(
                    "unable to move {:?} into itself",
                    join(&from)
                )));
            }
            let value = remove(document, &from, "move")?;
            add(document, &path, value)
        }
        "copy" => {
            let from = from()?;
            let value = find(document, &from).ok_or_else(|| missing("copy", &from))?.clone();
            *copied = copied.saturating_add(value.to_string().len());
            if *copied > MAX_COPIED {
                return Err(PatchError::TooLarge(*copied, MAX_COPIED));
            }
            add(document, &path, value)
        }
        "test" => {
            let wanted = operation.get("value").unwrap_or(&Value::Null);
            // A missing value is null here, as the API server's library has it.
            let found = find(document, &path).unwrap_or(&Value::Null);
            if equal(found, wanted) { Ok(()) } else { Err(PatchError::TestFailed(join(&path))) }
        }
        other => Err(PatchError::DoesNotApply(format!("unexpected kind: {other}"))),
    }
}

/// Numbers are equal if their values are: 1 and 1.0.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

fn missing(operation: &str, path: &[String]) -> PatchError {
    PatchError::DoesNotApply(format!(
        "{operation} operation does not apply: doc is missing path: {}",
        join(path)
    ))
}

fn join(path: &[String]) -> String {
    path.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}

fn pointer(text: &str) -> Result<Vec<String>, PatchError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let rest = text
        .strip_prefix('/')
        .ok_or_else(|| PatchError::Malformed(format!("JSON pointer must start with '/': {text:?}")))?;
    Ok(rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
}

/// Whether the path leads to a field of an object that is there.
fn in_object(document: &Value, path: &[String]) -> bool {
    path.split_last().is_some_and(|(_, parent)| find(document, parent).is_some_and(Value::is_object))
}

fn index(part: &str, length: usize) -> Option<usize> {
    if part.len() > 1 && part.starts_with('0') {
        return None;
    }
    // A negative index counts from the end, an extension the API server allows.
    match part.strip_prefix('-') {
        Some(back) => length.checked_sub(back.parse().ok().filter(|back| *back > 0)?),
        None => part.parse().ok(),
    }
}

fn find<'a>(document: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(document, |value, part| match value {
        Value::Object(map) => map.get(part),
        Value::Array(items) => items.get(index(part, items.len())?),
        _ => None,
    })
}

fn find_mut<'a>(document: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(document, |value, part| match value {
        Value::Object(map) => map.get_mut(part),
        Value::Array(items) => {
            let index = index(part, items.len())?;
            items.get_mut(index)
        }
        _ => None,
    })
}

fn add(document: &mut Value, path: &[String], value: Value) -> Result<(), PatchError> {
    let Some((last, parent)) = path.split_last() else {
        *document = value;
        return Ok(());
    };
    match find_mut(document, parent).ok_or_else(|| missing("add", path))? {
        Value::Object(map) => {
            map.insert(last.clone(), value);
            Ok(())
        }
        Value::Array(items) if last == "-" => {
            items.push(value);
            Ok(())
        }
        Value::Array(items) => {
            let index = index(last, items.len())
                .filter(|index| *index <= items.len())
                .ok_or_else(|| missing("add", path))?;
            items.insert(index, value);
            Ok(())
        }
        // A null list or map of an object's optional field becomes a map.
        place @ Value::Null => {
            *place = Value::Object(Map::from_iter([(last.clone(), value)]));
            Ok(())
        }
        _ => Err(missing("add", path)),
    }
}

fn remove(document: &mut Value, path: &[String], operation: &str) -> Result<Value, PatchError> {
    let refuse = || missing(operation, path);
    let (last, parent) = path.split_last().ok_or_else(refuse)?;
    match find_mut(document, parent).ok_or_else(refuse)? {
        Value::Object(map) => map.remove(last).ok_or_else(refuse),
        Value::Array(items) => {
            let index = index(last, items.len()).filter(|index| *index < items.len()).ok_or_else(refuse)?;
            Ok(items.remove(index))
        }
        _ => Err(refuse()),
    }
}
