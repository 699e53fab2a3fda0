//! Bodies in the protobuf encoding, which Go clients prefer for built-in kinds. They are read into the JSON form; answers
//! are always JSON, which the same clients accept.
//!
//! A message on the wire has numbers where JSON has names; the table `protobuf.txt` holds the numbers of Kubernetes
//! 1.34. A field that cannot tell absent from zero is left out when it is zero, as Go's `omitempty` does.

use std::collections::HashMap;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use objects::meta::{format_micro_time, format_time};
use serde_json::{Map, Value, json};

/// What a body in this encoding starts with.
const MAGIC: &[u8] = b"k8s\0";
/// Messages inside messages at most.
const DEPTH: usize = 64;
const TABLE: &str = include_str!("protobuf.txt");

/// The body is not what its type says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(String);

fn malformed(what: impl Into<String>) -> Malformed {
    Malformed(what.into())
}

/// The type of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Type {
    Text,
    Bytes,
    Bool,
    Integer,
    Double,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// JSON inside bytes.
    Raw,
    Message(&'static str),
    /// A message whose one field is a list of texts.
    Texts,
    List(Box<Type>),
    Map(Box<Type>),
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    optional: bool,
    kind: Type,
}

type Messages = HashMap<&'static str, HashMap<u64, Field>>;

fn messages() -> &'static Messages {
    static MESSAGES: OnceLock<Messages> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let mut messages = Messages::new();
        let mut current = "";
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let Some(field) = line.strip_prefix(' ') else {
                current = line;
                messages.entry(line).or_default();
                continue;
            };
            let mut words = field.split(' ');
            let (Some(number), Some(name), Some(kind)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let Ok(number) = number.parse() else { continue };
            let optional = kind.starts_with('*');
            let kind = type_of(kind.trim_start_matches('*'));
            messages.entry(current).or_default().insert(number, Field { name, optional, kind });
        }
        messages
    })
}

fn type_of(text: &'static str) -> Type {
    let inner = |open, close| text.strip_prefix(open).and_then(|text: &'static str| text.strip_suffix(close));
    if let Some(item) = inner('[', ']') {
        return Type::List(Box::new(type_of(item)));
    }
    if let Some(value) = inner('{', '}') {
        return Type::Map(Box::new(type_of(value)));
    }
    match text {
        "string" => Type::Text,
        "bytes" => Type::Bytes,
        "bool" => Type::Bool,
        "int32" | "int64" => Type::Integer,
        "double" => Type::Double,
        "Time" => Type::Time,
        "MicroTime" => Type::MicroTime,
        "Quantity" => Type::Quantity,
        "IntOrString" => Type::IntOrString,
        "Raw" | "FieldsV1" => Type::Raw,
        text if text.starts_with('<') => Type::Texts,
        message => Type::Message(message),
    }
}

/// Reads a body: the envelope that names the type, and the object in it.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Malformed> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| malformed("the body does not start as protobuf of Kubernetes does"))?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Fields(rest) {
        match field? {
            (1, Wire::Bytes(meta)) => {
                for field in Fields(meta) {
                    match field? {
                        (1, Wire::Bytes(text)) => api_version = string(text)?,
                        (2, Wire::Bytes(text)) => kind = string(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(object)) => raw = object,
            (3, Wire::Bytes(encoding)) if !encoding.is_empty() => {
                return Err(malformed("the object in the body is encoded once more, which is not supported"));
            }
            _ => {}
        }
    }
    let group = match api_version.split_once('/') {
        _ if kind == "DeleteOptions" => "meta",
        None => "core",
        Some((group, _)) => group.split('.').next().unwrap_or_default(),
    };
    let version = match kind.as_str() {
        "DeleteOptions" => "v1",
        _ => api_version.rsplit('/').next().unwrap_or_default(),
    };
    let name = format!("{group}.{version}.{kind}");
    let Some((name, _)) = messages().get_key_value(name.as_str()) else {
        return Err(malformed(format!(
            "{kind} in version {api_version:?} is not known in protobuf; send it as JSON"
        )));
    };
    let mut object = message(name, raw, 0)?;
    object.insert("kind".to_owned(), kind.into());
    object.insert("apiVersion".to_owned(), api_version.into());
    Ok(Value::Object(object))
}

fn message(name: &str, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, Malformed> {
    if depth > DEPTH {
        return Err(malformed("the body is nested too deeply"));
    }
    let fields =
        messages().get(name).ok_or_else(|| malformed(format!("type {name} is not known in protobuf")))?;
    let mut object = Map::new();
    for found in Fields(bytes) {
        let (number, wire) = found?;
        // Fields of newer clients are unknown, as they are in JSON.
        let Some(field) = fields.get(&number) else { continue };
        match &field.kind {
            Type::List(item) => {
                let value = value(item, wire, depth)?.unwrap_or(Value::Null);
                match object.entry(field.name).or_insert_with(|| json!([])) {
                    Value::Array(list) => list.push(value),
                    _ => return Err(malformed(format!("{} is there in two forms", field.name))),
                }
            }
            Type::Map(kind) => {
                let (key, value) = entry(kind, wire, depth)?;
                object.entry(field.name).or_insert_with(|| json!({}))[key] = value;
            }
            Type::Message(inner) if field.name == "+" => {
                let Wire::Bytes(bytes) = wire else { return Err(malformed("a message is no message")) };
                object.append(&mut message(inner, bytes, depth + 1)?);
            }
            kind => {
                if let Some(value) = value(kind, wire, depth)?
                    && (field.optional || !is_zero(&value))
                {
                    object.insert(field.name.to_owned(), value);
                }
            }
        }
    }
    Ok(object)
}

/// What Go leaves out of JSON.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn entry(kind: &Type, wire: Wire<'_>, depth: usize) -> Result<(String, Value), Malformed> {
    let Wire::Bytes(bytes) = wire else { return Err(malformed("a map's entry is no message")) };
    let (mut key, mut found) = (String::new(), None);
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Bytes(text)) => key = string(text)?,
            (2, wire) => found = value(kind, wire, depth + 1)?,
            _ => {}
        }
    }
    let found = found.unwrap_or_else(|| match kind {
        Type::Text | Type::Bytes => "".into(),
        Type::Quantity => "0".into(),
        _ => Value::Null,
    });
    Ok((key, found))
}

/// One value; `None` for a time that is not set.
fn value(kind: &Type, wire: Wire<'_>, depth: usize) -> Result<Option<Value>, Malformed> {
    Ok(Some(match (kind, wire) {
        (Type::Text, Wire::Bytes(bytes)) => string(bytes)?.into(),
        (Type::Bytes, Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Type::Bool, Wire::Varint(number)) => (number != 0).into(),
        (Type::Integer, Wire::Varint(number)) => number.cast_signed().into(),
        (Type::Double, Wire::Fixed64(bits)) => json!(f64::from_bits(bits)),
        (Type::Time | Type::MicroTime, Wire::Bytes(bytes)) => return time(kind, bytes),
        (Type::Quantity, Wire::Bytes(bytes)) => match first(bytes, 1)? {
            Some(Wire::Bytes(text)) => string(text)?.into(),
            _ => "0".into(),
        },
        (Type::IntOrString, Wire::Bytes(bytes)) => match first(bytes, 1)? {
            Some(Wire::Varint(1)) => match first(bytes, 3)? {
                Some(Wire::Bytes(text)) => string(text)?.into(),
                _ => "".into(),
            },
            _ => match first(bytes, 2)? {
                Some(Wire::Varint(number)) => number.cast_signed().into(),
                _ => 0.into(),
            },
        },
        (Type::Raw, Wire::Bytes(bytes)) => match first(bytes, 1)? {
            Some(Wire::Bytes(json)) if !json.is_empty() => serde_json::from_slice(json)
                .map_err(|error| malformed(format!("JSON in a field: {error}")))?,
            _ => Value::Null,
        },
        (Type::Message(name), Wire::Bytes(bytes)) => Value::Object(message(name, bytes, depth + 1)?),
        (Type::Texts, Wire::Bytes(bytes)) => {
            let mut texts = Vec::new();
            for field in Fields(bytes) {
                if let (1, Wire::Bytes(text)) = field? {
                    texts.push(Value::from(string(text)?));
                }
            }
            texts.into()
        }
        (kind, wire) => {
            return Err(malformed(format!("a field of type {kind:?} is written as {}", wire.name())));
        }
    }))
}

fn time(kind: &Type, bytes: &[u8]) -> Result<Option<Value>, Malformed> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let number = |field| match first(bytes, field) {
        Ok(Some(Wire::Varint(number))) => Ok(number.cast_signed()),
        Ok(_) => Ok(0),
        Err(error) => Err(error),
    };
    let nanos = i32::try_from(number(2)?).map_err(|_| malformed("a time has too many nanoseconds"))?;
    let time = Timestamp::new(number(1)?, nanos).map_err(|_| malformed("a time is out of range"))?;
    let text = if *kind == Type::Time { format_time(time) } else { format_micro_time(time) };
    Ok(Some(text.into()))
}

fn string(bytes: &[u8]) -> Result<String, Malformed> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| malformed("a text is not UTF-8"))
}

/// The last value of a field.
fn first(bytes: &[u8], wanted: u64) -> Result<Option<Wire<'_>>, Malformed> {
    let mut found = None;
    for field in Fields(bytes) {
        let (number, wire) = field?;
        if number == wanted {
            found = Some(wire);
        }
    }
    Ok(found)
}

/// A value on the wire.
#[derive(Debug, Clone, Copy)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

impl Wire<'_> {
    fn name(self) -> &'static str {
        match self {
            Wire::Varint(_) => "a number",
            Wire::Fixed64(_) | Wire::Fixed32 => "a fixed number",
            Wire::Bytes(_) => "bytes",
        }
    }
}

/// The fields of a message: numbers and values.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| malformed("the body ends in the middle of a field")))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Wire<'a>)> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Fixed32
            }
            _ => return None,
        };
        Some((tag >> 3, wire))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of bytes: number, then content.
    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        out.extend_from_slice(content);
        out
    }

    fn body(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
        let meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), bytes(1, &meta), bytes(2, object)].concat()
    }

    #[test]
    fn a_secret_is_read() {
        let metadata = [bytes(1, b"s"), bytes(3, b""), bytes(8, b"")].concat();
        let entry = [bytes(1, b"a"), bytes(2, b"b")].concat();
        let secret = [bytes(1, &metadata), bytes(2, &entry), bytes(3, b"Opaque"), vec![5 << 3, 0]].concat();
        let expected = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"},
            "data": {"a": "Yg=="}, "type": "Opaque", "immutable": false});
        assert_eq!(parse(&body("v1", "Secret", &secret)).unwrap(), expected);
    }

    #[test]
    fn a_fields_zero_counts_only_where_it_differs_from_absence() {
        // replicas is optional, minReadySeconds is not.
        let spec = [vec![1 << 3, 0], vec![5 << 3, 0]].concat();
        let deployment = parse(&body("apps/v1", "Deployment", &bytes(2, &spec))).unwrap();
        assert_eq!(deployment["spec"], json!({"replicas": 0}));
    }

    #[test]
    fn inlined_fields_are_the_parents_own() {
        // A volume's source is a message of its own on the wire.
        let volume = [bytes(1, b"v"), bytes(2, &bytes(2, b""))].concat();
        let pod = parse(&body("v1", "Pod", &bytes(2, &bytes(1, &volume)))).unwrap();
        assert_eq!(pod["spec"]["volumes"], json!([{"name": "v", "emptyDir": {}}]));
    }

    #[test]
    fn broken_bodies_are_refused() {
        for broken in [&b""[..], b"k8s\0", b"k8s\0\x0a\xff", b"k8s\0\x12\x05ab", &body("v1", "Nope", b"")] {
            assert!(parse(broken).is_err(), "{broken:?}");
        }
        assert!(parse(&body("v1", "Pod", b"\x0a\x7f")).is_err());
    }
}
