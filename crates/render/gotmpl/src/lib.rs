//! Go's `text/template` with the functions of Sprig and Helm.
//!
//! Owns the template language: its syntax, Go's kinds of values and what operations do with them, formatting, and
//! the texts and positions of errors. Templates are parsed once ([`Templates`], which is `Send` and `Sync`) and
//! executed many times ([`Machine`]). Must hold: output and errors equal Go's byte for byte; whatever the text, an
//! execution ends within its [`Limits`]; results depend on nothing but the arguments, except through
//! [`Environment`], and [`Machine::is_nondeterministic`] tells when they did. Keeps out files, the network and
//! what a chart is.
//!
//! ```
//! use gotmpl::{Functions, Limits, Machine, Offline, Templates, Value};
//!
//! let mut templates = Templates::new(Functions::helm());
//! templates.parse("greeting", "Hello {{ .name | upper | quote }}!").unwrap();
//! let data: Value = [("name", Value::from("world"))].into_iter().collect();
//! let mut machine = Machine::new(&templates, &Offline, Limits::default());
//! assert_eq!(machine.execute("greeting", &data).unwrap(), "Hello \"WORLD\"!");
//! ```

#![forbid(unsafe_code)]

mod ast;
mod environment;
mod error;
mod exec;
mod format;
mod funcs;
mod hash;
mod json;
mod lex;
mod parse;
mod quote;
pub mod semver;
mod set;
mod value;

pub use environment::{CertificateRequest, Certificates, Environment, Offline};
pub use error::Error;
pub use exec::{Limits, Machine, MissingKey, remove_no_value};
pub use format::to_text;
pub use funcs::{Functions, WARNING, compile_regex, dns_name, slug, to_yaml};
pub use json::{from_json, to_json};
pub use parse::ParseError;
pub use quote::{quote, unquote};
pub use set::Templates;
pub use value::{Bytes, Field, FromYaml, IntKind, List, ListKind, Map, MapKind, Object, Str, Value};

#[cfg(test)]
mod tests;
