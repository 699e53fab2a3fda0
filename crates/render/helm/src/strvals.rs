//! The expressions of `--set` and its kin.

use serde_json::{Map, Value};

use crate::options::SetKind;

type Table = Map<String, Value>;

/// The largest index of a list.
const MAX_INDEX: usize = 65536;
/// How many names a path may have.
const MAX_LEVEL: usize = 30;

/// Where the text ended in the middle of something, which is not always a mistake.
enum Stop {
    Failed(String),
    /// The end of the text; nothing is left to read.
    End,
}

type Parsed<T> = Result<T, Stop>;

fn fail<T>(text: impl Into<String>) -> Parsed<T> {
    Err(Stop::Failed(text.into()))
}

/// Reads an expression into a table. `file` gives the content of a file for [`SetKind::File`].
///
/// # Errors
/// With Helm's text.
pub(crate) fn apply(
    expr: &str,
    kind: SetKind,
    table: &mut Table,
    file: &dyn Fn(&str) -> Result<String, String>,
) -> Result<(), String> {
    let mut parser = Parser { rest: expr, kind, file };
    loop {
        match parser.key(table, 0) {
            Ok(()) => {}
            Err(Stop::End) => return Ok(()),
            Err(Stop::Failed(text)) => return Err(text),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    kind: SetKind,
    file: &'a dyn Fn(&str) -> Result<String, String>,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(character)
    }

    /// Text up to one of the characters, and which one it was (`None` at the end). A backslash takes the next
    /// character as it is, except in literals.
    fn until(&mut self, stops: &[char]) -> (String, Option<char>) {
        let mut text = String::new();
        while let Some(character) = self.next() {
            if stops.contains(&character) {
                return (text, Some(character));
            }
            if character == '\\' && self.kind != SetKind::Literal {
                match self.next() {
                    Some(escaped) => text.push(escaped),
                    None => break,
                }
            } else {
                text.push(character);
            }
        }
        (text, None)
    }

    fn key(&mut self, table: &mut Table, level: usize) -> Parsed<()> {
        let stops: &[char] =
            if self.kind == SetKind::Literal { &['=', '[', '.'] } else { &['=', '[', ',', '.'] };
        let (key, stop) = self.until(stops);
        match stop {
            None if key.is_empty() => Err(Stop::End),
            None => fail(format!("key {} has no value", quote(&key))),
            Some('[') => self.indexed(table, &key, level),
            Some('=') => self.assigned(table, &key),
            Some(',') => {
                set(table, &key, "".into());
                fail(format!("key {} has no value (cannot end with ,)", quote(&key)))
            }
            Some(_) => self.nested(table, &key, level + 1),
        }
    }

    fn nested(&mut self, table: &mut Table, key: &str, level: usize) -> Parsed<()> {
        if level > MAX_LEVEL {
            return fail(format!(
                "value name nested level is greater than maximum supported nested level of {MAX_LEVEL}"
            ));
        }
        let mut inner = match table.get(key) {
            None => Table::new(),
            Some(Value::Object(inner)) => inner.clone(),
            Some(other) => {
                return fail(format!(
                    "unable to parse key: interface conversion: interface {{}} is {}, not map[string]interface {{}}",
                    go_type(other)
                ));
            }
        };
        let result = self.key(&mut inner, level);
        if result.is_ok() && inner.is_empty() {
            return fail(format!("key map {} has no value", quote(key)));
        }
        if !inner.is_empty() {
            set(table, key, Value::Object(inner));
        }
        result
    }

    fn indexed(&mut self, table: &mut Table, key: &str, level: usize) -> Parsed<()> {
        let index = self.index()?;
        let mut list = match table.get(key) {
            None => Vec::new(),
            Some(Value::Array(list)) => list.clone(),
            Some(other) => {
                return fail(format!(
                    "unable to parse key: interface conversion: interface {{}} is {}, not []interface {{}}",
                    go_type(other)
                ));
            }
        };
        let result = self.item(&mut list, index, level);
        set(table, key, Value::Array(list));
        result
    }

    fn index(&mut self) -> Parsed<i64> {
        let (text, stop) = self.until(&[']']);
        if stop.is_none() {
            return fail("error parsing index: EOF");
        }
        text.parse().or_else(|_| {
            fail(format!("error parsing index: strconv.Atoi: parsing {}: invalid syntax", quote(&text)))
        })
    }

    fn item(&mut self, list: &mut Vec<Value>, index: i64, level: usize) -> Parsed<()> {
        let Ok(at) = usize::try_from(index) else {
            return fail(format!("negative {index} index not allowed"));
        };
        let (text, stop) = self.until(&['[', '.', '=']);
        if !text.is_empty() {
            return fail(format!("unexpected data at end of array index: {}", quote(&text)));
        }
        match stop {
            None => Err(Stop::End),
            Some('=') => {
                let (value, result) = self.value()?;
                set_index(list, at, value)?;
                // In a list the end of the text after a value is no reason to stop early.
                if matches!(result, Err(Stop::End)) && self.kind != SetKind::Json { Ok(()) } else { result }
            }
            Some('[') => {
                let next = self.index()?;
                let mut inner = match list.get(at) {
                    None | Some(Value::Null) => Vec::new(),
                    Some(Value::Array(inner)) => inner.clone(),
                    Some(other) => {
                        return fail(format!(
                            "unable to parse key: interface conversion: interface {{}} is {}, not []interface {{}}",
                            go_type(other)
                        ));
                    }
                };
                self.item(&mut inner, next, level)?;
                set_index(list, at, Value::Array(inner))
            }
            Some(_) => {
                let mut inner = match list.get(at) {
                    Some(Value::Object(inner)) => inner.clone(),
                    _ => Table::new(),
                };
                let result = self.key(&mut inner, level);
                if let Err(Stop::Failed(text)) = result {
                    return fail(text);
                }
                result?;
                set_index(list, at, Value::Object(inner))
            }
        }
    }

    fn assigned(&mut self, table: &mut Table, key: &str) -> Parsed<()> {
        let (value, result) = self.value()?;
        set(table, key, value);
        result
    }

    /// What stands after the equals sign, and whether the text ended with it.
    fn value(&mut self) -> Parsed<(Value, Parsed<()>)> {
        match self.kind {
            SetKind::Json => self.json(),
            SetKind::Literal => {
                let text = std::mem::take(&mut self.rest).to_owned();
                Ok((Value::String(text), Ok(())))
            }
            _ if self.rest.is_empty() => Ok(("".into(), Err(Stop::End))),
            _ if self.rest.starts_with('{') => {
                self.next();
                let list = self.list()?;
                Ok((list, Ok(())))
            }
            _ => {
                let (text, _) = self.until(&[',']);
                Ok((self.typed(text)?, Ok(())))
            }
        }
    }

    fn list(&mut self) -> Parsed<Value> {
        let mut items = Vec::new();
        loop {
            let (text, stop) = self.until(&[',', '}']);
            match stop {
                None => return fail("list must terminate with '}'"),
                Some(_) => items.push(self.typed(text)?),
            }
            if stop == Some('}') {
                self.rest = self.rest.strip_prefix(',').unwrap_or(self.rest);
                return Ok(Value::Array(items));
            }
        }
    }

    fn typed(&self, text: String) -> Parsed<Value> {
        match self.kind {
            SetKind::Value => Ok(typed_value(text)),
            SetKind::File => match (self.file)(&text) {
                Ok(content) => Ok(Value::String(content)),
                Err(error) => fail(error),
            },
            _ => Ok(Value::String(text)),
        }
    }

    /// Whether nothing but blanks stands before the next comma or the end.
    fn is_empty_value(&mut self) -> bool {
        let blanks = self.rest.trim_start();
        if blanks.is_empty() {
            self.rest = "";
            return true;
        }
        if let Some(after) = blanks.strip_prefix(',') {
            self.rest = after;
            return true;
        }
        self.rest = blanks;
        false
    }

    fn json(&mut self) -> Parsed<(Value, Parsed<()>)> {
        if self.is_empty_value() {
            return Ok((Value::Null, Ok(())));
        }
        let mut stream = serde_json::Deserializer::from_str(self.rest).into_iter::<Value>();
        match stream.next() {
            Some(Ok(mut value)) => {
                let used = stream.byte_offset();
                self.rest = &self.rest[used..];
                self.is_empty_value();
                crate::values::numbers_to_floats(&mut value);
                Ok((value, Ok(())))
            }
            // The reader of this workspace words it as Go does.
            _ => match gotmpl::from_json(self.rest) {
                Err(error) => fail(error),
                Ok(_) => fail("unexpected end of JSON input"),
            },
        }
    }
}

fn quote(text: &str) -> String {
    gotmpl::quote(text.as_bytes())
}

fn set(table: &mut Table, key: &str, value: Value) {
    if !key.is_empty() {
        table.insert(key.to_owned(), value);
    }
}

fn set_index(list: &mut Vec<Value>, index: usize, value: Value) -> Parsed<()> {
    if index > MAX_INDEX {
        return fail(format!("index of {index} is greater than maximum supported index of {MAX_INDEX}"));
    }
    if list.len() <= index {
        list.resize(index + 1, Value::Null);
    }
    list[index] = value;
    Ok(())
}

fn typed_value(text: String) -> Value {
    if text.eq_ignore_ascii_case("true") {
        return Value::Bool(true);
    }
    if text.eq_ignore_ascii_case("false") {
        return Value::Bool(false);
    }
    if text.eq_ignore_ascii_case("null") {
        return Value::Null;
    }
    if text == "0" {
        return 0.into();
    }
    if !text.is_empty()
        && !text.starts_with('0')
        && let Ok(integer) = text.parse::<i64>()
    {
        return integer.into();
    }
    Value::String(text)
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests;
