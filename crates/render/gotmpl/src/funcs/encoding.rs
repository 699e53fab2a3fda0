//! Base64, base32, JSON and YAML.

mod base32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Type::{Any, Str as Text};
use super::{Function, fixed, text};
use crate::error::Error;
use crate::exec::Machine;
use crate::json::{from_json, to_json, to_pretty_json, to_raw_json};
use crate::value::{FromYaml, Map, Str, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("b64enc", &[Text], |_, args| Ok(STANDARD.encode(text(args, 0).as_bytes()).into())),
    fixed("b64dec", &[Text], |_, args| {
        Ok(decode_base64(text(args, 0)).map_or_else(|error| error.into(), Value::from))
    }),
    fixed("b32enc", &[Text], |_, args| Ok(base32::encode(text(args, 0)).into())),
    fixed("b32dec", &[Text], |_, args| {
        Ok(base32::decode(text(args, 0)).map_or_else(|error| error.into(), Value::from))
    }),
    fixed("toJson", &[Any], |_, args| Ok(to_json(&args[0]).unwrap_or_default().into())),
    fixed("mustToJson", &[Any], |_, args| Ok(to_json(&args[0]).map_err(Error::new)?.into())),
    fixed("toPrettyJson", &[Any], |_, args| Ok(to_pretty_json(&args[0]).unwrap_or_default().into())),
    fixed("mustToPrettyJson", &[Any], |_, args| Ok(to_pretty_json(&args[0]).map_err(Error::new)?.into())),
    fixed("toRawJson", &[Any], |_, args| Ok(to_raw_json(&args[0]).map_err(Error::new)?.into())),
    fixed("mustToRawJson", &[Any], |_, args| Ok(to_raw_json(&args[0]).map_err(Error::new)?.into())),
    fixed("fromJson", &[Text], |_, args| Ok(from_json_map(&text(args, 0).text()))),
    fixed("mustFromJson", &[Text], |_, args| from_json(&text(args, 0).text()).map_err(Error::new)),
    fixed("fromJsonArray", &[Text], |_, args| Ok(from_json_array(&text(args, 0).text()))),
    fixed("toYaml", &[Any], |_, args| Ok(to_yaml(&args[0]).unwrap_or_default().into())),
    fixed("mustToYaml", &[Any], |_, args| Ok(to_yaml(&args[0]).map_err(Error::new)?.into())),
    fixed("toYamlPretty", &[Any], to_yaml_pretty),
    fixed("fromYaml", &[Text], |_, args| Ok(from_yaml_map(text(args, 0)))),
    fixed("fromYamlArray", &[Text], |_, args| Ok(from_yaml_array(text(args, 0)))),
];

/// `base64.StdEncoding.DecodeString`; line breaks are skipped.
pub(super) fn decode_base64(text: &[u8]) -> Result<Vec<u8>, String> {
    let plain: Vec<(usize, u8)> =
        text.iter().copied().enumerate().filter(|(_, byte)| !matches!(byte, b'\n' | b'\r')).collect();
    let bytes: Vec<u8> = plain.iter().map(|(_, byte)| *byte).collect();
    STANDARD
        .decode(&bytes)
        .map_err(|_| format!("illegal base64 data at input byte {}", corrupt_at(&plain, text.len())))
}

/// Where Go's decoder gives up.
fn corrupt_at(plain: &[(usize, u8)], length: usize) -> usize {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    for (group, quantum) in plain.chunks(4).enumerate() {
        for (index, &(at, byte)) in quantum.iter().enumerate() {
            if valid(byte) {
                continue;
            }
            if byte != b'=' || index < 2 {
                return at;
            }
            // Padding: "==" or "=", and then the end.
            let next = quantum.get(index + 1);
            if index == 2 {
                match next {
                    None => return length,
                    // The byte before, which may be a line break.
                    Some(&(at, byte)) if byte != b'=' => return at - 1,
                    Some(_) => {}
                }
            }
            return plain.get(group * 4 + 4).map_or(at, |(at, _)| *at);
        }
        if quantum.len() < 4 {
            return length - quantum.len();
        }
    }
    length
}

fn error_map(error: String) -> Value {
    [("Error", Value::from(error))].into_iter().collect()
}

/// The name `encoding/json` gives a value it cannot put into a Go type.
fn json_name(value: &Value) -> &'static str {
    match value {
        Value::Str(_) => "string",
        Value::Bool(_) => "bool",
        Value::List(_) => "array",
        Value::Map(_) => "object",
        _ => "number",
    }
}

fn from_json_map(text: &str) -> Value {
    match from_json(text) {
        Ok(Value::Nil) => Value::Map(Map::new(crate::value::MapKind::Nil)),
        Ok(map @ Value::Map(_)) => map,
        Ok(other) => error_map(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            json_name(&other)
        )),
        Err(error) => error_map(error),
    }
}

fn from_json_array(text: &str) -> Value {
    match from_json(text) {
        Ok(Value::Nil) => Value::List(crate::value::List::nil(crate::value::ListKind::Any)),
        Ok(list @ Value::List(_)) => list,
        Ok(other) => Value::list(vec![
            format!("json: cannot unmarshal {} into Go value of type []interface {{}}", json_name(&other))
                .into(),
        ]),
        Err(error) => Value::list(vec![error.into()]),
    }
}

pub(super) fn read_yaml(bytes: &[u8]) -> Result<Value, String> {
    let failed = |error: &dyn std::fmt::Display| format!("error converting YAML to JSON: {error}");
    let text = std::str::from_utf8(bytes)
        .map_err(|error| failed(&format_args!("yaml: {}", bad_character(&bytes[error.valid_up_to()..]))))?;
    yaml::from_str_with(text, &mut FromYaml, yaml::Duplicates::LastWins).map_err(|error| failed(&error))
}

/// What go-yaml's reader says of bytes that begin with no character.
fn bad_character(bytes: &[u8]) -> &'static str {
    let width = match bytes.first() {
        Some(0xC0..=0xDF) => 2,
        Some(0xE0..=0xEF) => 3,
        Some(0xF0..=0xF7) => 4,
        _ => return "invalid leading UTF-8 octet",
    };
    let Some(rest) = bytes.get(1..width) else { return "incomplete UTF-8 octet sequence" };
    if rest.iter().any(|byte| byte & 0xC0 != 0x80) {
        return "invalid trailing UTF-8 octet";
    }
    match (bytes[0], bytes[1]) {
        (0xC0 | 0xC1, _) | (0xE0, ..=0x9F) | (0xF0, ..=0x8F) => "invalid length of a UTF-8 sequence",
        _ => "invalid Unicode character",
    }
}

fn from_yaml_map(text: &[u8]) -> Value {
    match read_yaml(text) {
        Ok(Value::Nil) => Value::Map(Map::default()),
        Ok(map @ Value::Map(_)) => map,
        Ok(other) => error_map(format!(
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            json_name(&other)
        )),
        Err(error) => error_map(error),
    }
}

fn from_yaml_array(text: &[u8]) -> Value {
    match read_yaml(text) {
        // The list is there before anything is read into it, and nothing leaves it as it is.
        Ok(Value::Nil) => Value::list(Vec::new()),
        Ok(list @ Value::List(_)) => list,
        Ok(other) => Value::list(vec![
            format!(
                "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type []interface {{}}",
                json_name(&other)
            )
            .into(),
        ]),
        Err(error) => Value::list(vec![error.into()]),
    }
}

/// Helm's `toYaml`: the text of `sigs.k8s.io/yaml.Marshal` without its last line break.
///
/// # Errors
/// If a value has no JSON form, or its JSON has a character that go-yaml refuses.
pub fn to_yaml(value: &Value) -> Result<String, String> {
    let mut emitter = yaml::Emitter::new(yaml::Dialect::V2);
    emit(value, &mut emitter, &mut Budget::default())?;
    Ok(without_last_break(emitter.finish()))
}

fn without_last_break(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

fn to_yaml_pretty(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let mut emitter = yaml::Emitter::new(yaml::Dialect::V3);
    match emit(&args[0], &mut emitter, &mut Budget::default()) {
        Ok(()) => Ok(without_last_break(emitter.finish()).into()),
        Err(_) => Ok("".into()),
    }
}

/// Characters that `encoding/json` leaves as they are and go-yaml's reader does not take.
fn check_characters(text: &str) -> Result<(), String> {
    let refused = |character: char| matches!(character, '\u{7F}'..='\u{84}' | '\u{86}'..='\u{9F}' | '\u{FFFE}' | '\u{FFFF}');
    if text.contains(refused) { Err("yaml: control characters are not allowed".to_owned()) } else { Ok(()) }
}

/// What writing one value has taken so far.
#[derive(Default)]
struct Budget {
    depth: usize,
    values: u64,
}

/// How many values one text may have.
const MAX_VALUES: u64 = 20_000_000;

fn emit(value: &Value, emitter: &mut yaml::Emitter, budget: &mut Budget) -> Result<(), String> {
    budget.values += 1;
    if budget.depth > crate::format::MAX_NESTING {
        return Err(crate::json::cycle(value));
    }
    if budget.values > MAX_VALUES {
        return Err(format!("yaml: more than {MAX_VALUES} values"));
    }
    budget.depth += 1;
    let result = emit_value(value, emitter, budget);
    budget.depth -= 1;
    result
}

fn emit_value(value: &Value, emitter: &mut yaml::Emitter, budget: &mut Budget) -> Result<(), String> {
    match value {
        Value::Nil => emitter.null(),
        Value::Bool(value) => emitter.bool(*value),
        Value::Int(_, value) => emitter.int(*value),
        Value::Float(value) if !value.is_finite() && emitter.dialect() == yaml::Dialect::V2 => {
            return Err(format!("json: unsupported value: {}", yaml::number::float_g(*value)));
        }
        Value::Float(value) => emitter.float(*value),
        Value::Str(text) => emit_text(text, emitter)?,
        Value::List(list) if list.is_nil() && emitter.dialect() == yaml::Dialect::V2 => emitter.null(),
        Value::List(list) => {
            let items = list.items();
            let mut result = Ok(());
            emitter.sequence(items.len(), |emitter| {
                result = items.iter().try_for_each(|item| {
                    emitter.item();
                    emit(item, emitter, budget)
                });
            });
            result?;
        }
        Value::Map(map) if map.kind().is_nil() && emitter.dialect() == yaml::Dialect::V2 => emitter.null(),
        Value::Map(map) => {
            let entries = map.entries();
            let mut entries: Vec<(std::borrow::Cow<'_, str>, &Value)> =
                entries.iter().map(|(key, value)| (key.text(), value)).collect();
            let dialect = emitter.dialect();
            entries.sort_by(|a, b| dialect.compare_keys(&a.0, &b.0));
            let mut result = Ok(());
            emitter.mapping(entries.len(), |emitter| {
                result = entries.iter().try_for_each(|(key, value)| {
                    check_characters(key)?;
                    emitter.key(key);
                    emit(value, emitter, budget)
                });
            });
            result?;
        }
        Value::Object(object) => match object.timestamp() {
            Some(time) if emitter.dialect() == yaml::Dialect::V3 => emitter.timestamp(&time),
            Some(time) if time.starts_with('-') => return Err(crate::json::YEAR.to_owned()),
            _ => emit(&object.plain(), emitter, budget)?,
        },
    }
    Ok(())
}

fn emit_text(text: &Str, emitter: &mut yaml::Emitter) -> Result<(), String> {
    let text = text.text();
    if emitter.dialect() == yaml::Dialect::V2 {
        check_characters(&text)?;
    }
    emitter.string(&text);
    Ok(())
}
