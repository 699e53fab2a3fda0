//! ConfigMaps, Secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use objects::meta;
use serde_json::Value;

use super::Problems;
use super::field::{Field, same};
use super::names::{self, Form};

/// Bytes of all values together, as upstream.
const LIMIT: usize = 1 << 20;

/// Keys become file names.
fn keys(data: &Field<'_, '_>, problems: &mut Problems) {
    for (key, value) in data.entries() {
        key_is_right(key, &value, problems);
    }
}

fn key_is_right(key: &str, value: &Field<'_, '_>, problems: &mut Problems) {
    for problem in names::problems(Form::ConfigKey, key) {
        value.invalid_as(key.into(), problem, problems);
    }
}

/// Bytes of values that are text, or bytes in base64.
fn size(data: &Field<'_, '_>, encoded: bool) -> usize {
    let length = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        if encoded {
            text.len() / 4 * 3 - text.bytes().rev().take_while(|c| *c == b'=').count()
        } else {
            text.len()
        }
    };
    data.map().into_iter().flatten().map(|(_, value)| length(value)).sum()
}

fn frozen(old: Option<&Value>, root: &Field<'_, '_>, fields: &[&str], problems: &mut Problems) {
    const DETAIL: &str = "field is immutable when `immutable` is set";
    let Some(old) = old.filter(|old| old["immutable"] == true) else { return };
    if !root.get("immutable").is_true() {
        root.get("immutable").forbidden(DETAIL, problems);
    }
    for field in fields {
        let now = root.get(field);
        if !same(&old[*field], now.value()) {
            now.forbidden(DETAIL, problems);
        }
    }
}

pub(super) fn config_map(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let (data, binary) = (root.get("data"), root.get("binaryData"));
    frozen(old, &root, &["data", "binaryData"], problems);
    for (key, value) in data.entries() {
        key_is_right(key, &value, problems);
        if binary.value().get(key).is_some() {
            value.invalid_as(key.into(), "duplicate of key present in binaryData", problems);
        }
    }
    keys(&binary, problems);
    if size(&data, false) + size(&binary, true) > LIMIT {
        // Upstream names no field here, and its path for none is an empty pair of brackets.
        root.child("[]").too_long(LIMIT, problems);
    }
}

pub(super) fn secret(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let (data, kind) = (root.get("data"), root.get("type"));
    if let Some(old) = old {
        kind.fixed(&old["type"], problems);
    }
    frozen(old, &root, &["data"], problems);
    keys(&data, problems);
    if size(&data, true) > LIMIT {
        data.too_long(LIMIT, problems);
    }
    let present = |key: &str| data.key(key).is_set();
    let mut require = |key: &str| data.key(key).required("", problems);
    match kind.text() {
        "kubernetes.io/service-account-token" => {
            const OWNER: &str = "kubernetes.io/service-account.name";
            if meta::annotation(object, OWNER).unwrap_or_default().is_empty() {
                let metadata = root.get("metadata");
                let annotations = metadata.get("annotations");
                annotations.key(OWNER).required("", problems);
            }
        }
        "kubernetes.io/dockercfg" => json(&data.key(".dockercfg"), problems),
        "kubernetes.io/dockerconfigjson" => json(&data.key(".dockerconfigjson"), problems),
        "kubernetes.io/basic-auth" if !present("username") && !present("password") => {
            require("username");
            require("password");
        }
        "kubernetes.io/ssh-auth" if data.key("ssh-privatekey").text().is_empty() => require("ssh-privatekey"),
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if !present(key) {
                    require(key);
                }
            }
        }
        _ => {}
    }
}

/// A JSON object; what it is instead is not told but where it goes wrong.
fn json(value: &Field<'_, '_>, problems: &mut Problems) {
    if !value.is_set() {
        value.required("", problems);
        return;
    }
    let bytes = STANDARD.decode(value.text()).unwrap_or_default();
    let problem = match serde_json::from_slice::<Value>(&bytes) {
        Ok(Value::Object(_) | Value::Null) => return,
        Ok(other) => {
            let found = match other {
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                _ => "array",
            };
            format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}")
        }
        Err(error) => go_json(&error, &bytes),
    };
    value.invalid_as("<secret contents redacted>".into(), problem, problems);
}

/// What Go's decoder says of the first byte that cannot be, without showing more of a secret than that.
fn go_json(error: &serde_json::Error, bytes: &[u8]) -> String {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    match first {
        None => "unexpected end of JSON input".to_owned(),
        Some(_) if error.is_eof() => "unexpected end of JSON input".to_owned(),
        Some(first) if !matches!(first, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
            format!("invalid character {} looking for beginning of value", quoted(*first))
        }
        Some(_) => {
            let at = error.column().saturating_sub(1);
            let line = bytes.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1));
            let found = line.and_then(|line| line.get(at)).copied().unwrap_or(b' ');
            format!("invalid character {} in JSON", quoted(found))
        }
    }
}

fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".to_owned(),
        b' '..=b'~' => format!("'{}'", char::from(byte)),
        _ => format!("'\\x{byte:02x}'"),
    }
}
