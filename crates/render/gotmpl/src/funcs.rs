//! The functions templates can call.

mod argo;
mod builtin;
mod compare;
mod crypto;
mod dates;
mod defaults;
mod dicts;
mod encoding;
mod lists;
mod math;
mod paths;
mod random;
mod reflection;
mod regexes;
mod semver;
mod strings;
mod templates;
mod toml;
mod urls;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::error::Error;
use crate::exec::Machine;
use crate::hash::Quick;
use crate::value::{IntKind, ListKind, MapKind, Value};
pub use argo::{dns_name, slug};
pub(crate) use builtin::length;
pub(crate) use dates::duration_text;
pub use encoding::to_yaml;
pub use regexes::compile_regex;
pub use templates::WARNING;

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// `interface {}`
    Any,
    /// `reflect.Value`
    Value,
    Str,
    Int,
    Uint32,
    Float,
    Bool,
    /// `map[string]interface {}`
    Map,
    /// `[]interface {}`
    List,
    /// `time.Time`
    Time,
    /// `sprig.certificate`
    Certificate,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "interface {}",
            Self::Value => "reflect.Value",
            Self::Str => "string",
            Self::Int => "int",
            Self::Uint32 => "uint32",
            Self::Float => "float64",
            Self::Bool => "bool",
            Self::Map => "map[string]interface {}",
            Self::List => "[]interface {}",
            Self::Time => "time.Time",
            Self::Certificate => "sprig.certificate",
        })
    }
}

impl Type {
    pub(crate) fn can_be_nil(self) -> bool {
        matches!(self, Self::Any | Self::Value | Self::Map | Self::List)
    }

    pub(crate) fn takes_bool(self) -> bool {
        matches!(self, Self::Any | Self::Value | Self::Bool)
    }

    pub(crate) fn takes_string(self) -> bool {
        matches!(self, Self::Any | Self::Value | Self::Str)
    }

    /// The value as this type, or the value back. A nil that is held in an interface fits only an interface.
    pub(crate) fn accept(self, value: Value) -> Result<Value, Value> {
        let fits = match (self, &value) {
            (Self::Any | Self::Value, _)
            | (Self::Str, Value::Str(_))
            | (Self::Int, Value::Int(IntKind::Int, _))
            | (Self::Uint32, Value::Int(IntKind::Uint32, _))
            | (Self::Float, Value::Float(_))
            | (Self::Bool, Value::Bool(_)) => true,
            (Self::Map, Value::Map(map)) => {
                if let MapKind::Named(_) = map.kind() {
                    return Ok(Value::Map(map.with_kind(MapKind::Any)));
                }
                map.kind().is_any()
            }
            (Self::List, Value::List(list)) => list.kind() == ListKind::Any,
            (Self::Time | Self::Certificate, Value::Object(object)) => object.type_name() == self.to_string(),
            _ => false,
        };
        if fits { Ok(value) } else { Err(value) }
    }
}

type Plain = fn(&mut Machine<'_>, &[Value]) -> Result<Value, Error>;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Run {
    /// `and` and `or` look at no more arguments than they need.
    And,
    Or,
    /// `call` names what it cannot call as the template writes it.
    Call,
    /// `len` tells a nil that is held by something from nothing at all.
    Length,
    Plain(Plain),
}

/// A function by its Go signature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) params: &'static [Type],
    /// The type of further arguments, if it takes them.
    pub(crate) rest: Option<Type>,
    pub(crate) run: Run,
}

/// A function with a fixed number of parameters.
const fn fixed(name: &'static str, params: &'static [Type], run: Plain) -> Function {
    Function { name, params, rest: None, run: Run::Plain(run) }
}

/// A function that takes more arguments of the type `rest`.
const fn variadic(name: &'static str, params: &'static [Type], rest: Type, run: Plain) -> Function {
    Function { name, params, rest: Some(rest), run: Run::Plain(run) }
}

/// The functions a set of templates knows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Functions {
    by_name: Arc<HashMap<&'static str, &'static Function, Quick>>,
}

impl Functions {
    /// Only what `text/template` itself has.
    #[must_use]
    pub fn go() -> Self {
        Self::of(&[builtin::FUNCTIONS, compare::FUNCTIONS])
    }

    /// What Helm offers its charts: Sprig without the functions that read the environment, and Helm's own.
    #[must_use]
    pub fn helm() -> Self {
        static HELM: OnceLock<Functions> = OnceLock::new();
        let functions = HELM.get_or_init(|| {
            Self::of(&[
                builtin::FUNCTIONS,
                compare::FUNCTIONS,
                crypto::FUNCTIONS,
                dates::FUNCTIONS,
                defaults::FUNCTIONS,
                dicts::FUNCTIONS,
                encoding::FUNCTIONS,
                lists::FUNCTIONS,
                math::FUNCTIONS,
                paths::FUNCTIONS,
                random::FUNCTIONS,
                reflection::FUNCTIONS,
                regexes::FUNCTIONS,
                semver::FUNCTIONS,
                strings::FUNCTIONS,
                templates::FUNCTIONS,
                toml::FUNCTIONS,
                urls::FUNCTIONS,
            ])
        });
        functions.clone()
    }

    /// What Argo CD offers the templates of an ApplicationSet: Sprig without the functions that read the environment or
    /// the network, and its own for names and YAML.
    #[must_use]
    pub fn application_sets() -> Self {
        static ARGO: OnceLock<Functions> = OnceLock::new();
        let functions = ARGO.get_or_init(|| {
            let mut functions = Self::of(&[
                builtin::FUNCTIONS,
                compare::FUNCTIONS,
                crypto::FUNCTIONS,
                dates::FUNCTIONS,
                defaults::FUNCTIONS,
                dicts::FUNCTIONS,
                encoding::FUNCTIONS,
                lists::FUNCTIONS,
                math::FUNCTIONS,
                paths::FUNCTIONS,
                random::FUNCTIONS,
                reflection::FUNCTIONS,
                regexes::FUNCTIONS,
                semver::FUNCTIONS,
                strings::FUNCTIONS,
                urls::FUNCTIONS,
                argo::FUNCTIONS,
            ]);
            let by_name = Arc::make_mut(&mut functions.by_name);
            for of_helm in ["toYamlPretty", "mustToYaml", "fromJsonArray"] {
                by_name.remove(of_helm);
            }
            functions
        });
        functions.clone()
    }

    fn of(modules: &[&'static [Function]]) -> Self {
        let functions = modules.iter().flat_map(|module| module.iter());
        Self { by_name: Arc::new(functions.map(|function| (function.name, function)).collect()) }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'static Function> {
        self.by_name.get(name).copied()
    }

    /// The names, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.by_name.keys().copied()
    }
}

// Arguments were checked against the parameters' types before a function runs, so these find what they look for;
// where a nil stands for an empty map or list they give none.

fn text(args: &[Value], index: usize) -> &crate::value::Str {
    static EMPTY: OnceLock<crate::value::Str> = OnceLock::new();
    args.get(index).and_then(Value::as_str).unwrap_or_else(|| EMPTY.get_or_init(Default::default))
}

fn int(args: &[Value], index: usize) -> i64 {
    match args.get(index) {
        Some(Value::Int(_, value)) => *value,
        _ => 0,
    }
}

fn boolean(args: &[Value], index: usize) -> bool {
    matches!(args.get(index), Some(Value::Bool(true)))
}

fn map(args: &[Value], index: usize) -> crate::value::Map {
    args.get(index).and_then(Value::as_map).cloned().unwrap_or_default()
}
