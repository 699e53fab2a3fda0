//! `.Files`

use std::any::Any;
use std::collections::BTreeMap;

use base64::Engine;
use gotmpl::{Bytes, Field, Map, MapKind, Object, Str, Value};

use crate::chart::File;
use crate::glob::Glob;

/// `engine.files`: the files of a chart by name.
#[derive(Debug)]
pub(crate) struct Files(BTreeMap<Str, Str>);

impl Files {
    pub(crate) fn new(files: &[File]) -> Self {
        Self(files.iter().map(|file| (file.name.as_str().into(), Str::from(&*file.data))).collect())
    }

    fn by_base_name(&self, text: impl Fn(&Str) -> Value) -> String {
        let entries = self.0.iter().map(|(name, data)| {
            let base = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
            (Str::from(base), text(data))
        });
        let map = Map::from_entries(MapKind::Strings, entries);
        gotmpl::to_yaml(&Value::Map(map)).unwrap_or_default()
    }
}

impl Object for Files {
    fn type_name(&self) -> &'static str {
        "engine.files"
    }

    fn kind_name(&self) -> &'static str {
        "map"
    }

    fn field(&self, name: &str) -> Option<Field> {
        match name {
            "Get" | "GetBytes" | "Glob" | "Lines" => Some(Field::Method { arguments: 1 }),
            "AsConfig" | "AsSecrets" => Some(Field::Method { arguments: 0 }),
            _ => None,
        }
    }

    fn call(&self, method: &str, arguments: &[Value]) -> Result<Value, String> {
        match (method, arguments) {
            ("AsConfig", _) => return Ok(self.by_base_name(|data| Value::Str(data.clone())).into()),
            ("AsSecrets", _) => {
                let encode = |data: &Str| base64::engine::general_purpose::STANDARD.encode(data.as_bytes());
                return Ok(self.by_base_name(|data| encode(data).into()).into());
            }
            _ => {}
        }
        let [Value::Str(name)] = arguments else {
            return Err("wrong type for value; expected string".to_owned());
        };
        let data = || self.0.get(name).cloned().unwrap_or_default();
        Ok(match method {
            "Get" => Value::Str(data()),
            "GetBytes" => Value::object(Bytes(data())),
            "Lines" => {
                let data = data();
                let text: &[u8] = data.strip_suffix(b"\n").unwrap_or(&data);
                if data.is_empty() {
                    Value::strings(Vec::<Str>::new())
                } else {
                    Value::strings(text.split(|&byte| byte == b'\n'))
                }
            }
            _ => {
                let glob = Glob::new(&name.text());
                let found = self.0.iter().filter(|(name, _)| glob.matches(&name.text()));
                Value::object(Self(found.map(|(name, data)| (name.clone(), data.clone())).collect()))
            }
        })
    }

    fn display(&self) -> String {
        let entries: Vec<String> =
            self.0.iter().map(|(name, data)| format!("{name}:{}", Bytes(data.clone()).display())).collect();
        format!("map[{}]", entries.join(" "))
    }

    fn is_true(&self) -> bool {
        !self.0.is_empty()
    }

    fn entries(&self) -> Option<Vec<(Value, Value)>> {
        let entry =
            |(name, data): (&Str, &Str)| (Value::Str(name.clone()), Value::object(Bytes(data.clone())));
        Some(self.0.iter().map(entry).collect())
    }

    fn entry(&self, key: &Str) -> Option<Value> {
        Some(Value::object(Bytes(self.0.get(key).cloned().unwrap_or_default())))
    }

    fn plain(&self) -> Value {
        let entry = |(name, data): (&Str, &Str)| (name.clone(), Bytes(data.clone()).plain());
        self.0.iter().map(entry).collect()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
