//! `jqPathExpressions`: jq programs that name places in an object.
//!
//! Repositories are not trusted and jq is a complete language, so what cannot be shown to end soon is refused when the
//! rule is read: definitions, variables, folds and the unbounded built-ins. What is left walks the object a few times.

use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, data, unwrap_valr};
use jaq_json::Val;
use objects::Value;

use super::paths::Part;

type Data = data::JustLut<Val>;

/// A checked expression.
pub(super) struct Expression {
    text: String,
    filter: Filter<Data>,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

/// Built-ins that end in time proportional to their input.
const ALLOWED: [&str; 57] = [
    "all",
    "any",
    "arrays",
    "ascii_downcase",
    "ascii_upcase",
    "booleans",
    "contains",
    "empty",
    "endswith",
    "error",
    "first",
    "from_entries",
    "getpath",
    "has",
    "in",
    "index",
    "inside",
    "iterables",
    "join",
    "keys",
    "keys_unsorted",
    "last",
    "length",
    "ltrimstr",
    "map",
    "map_values",
    "match",
    "max",
    "min",
    "not",
    "null",
    "nulls",
    "numbers",
    "objects",
    "rindex",
    "rtrimstr",
    "scalars",
    "select",
    "sort",
    "sort_by",
    "split",
    "startswith",
    "strings",
    "test",
    "to_entries",
    "tonumber",
    "tostring",
    "true",
    "false",
    "type",
    "unique",
    "values",
    "with_entries",
    "recurse",
    "path",
    "paths",
    "isvalid",
];
const LONGEST: usize = 4096;
const MOST_PATHS: usize = 10_000;

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} bytes"));
        }
        let term = jaq_core::load::parse(text, |parser| parser.term()).ok_or("it is not jq")?;
        let mut recursions = 0;
        check(&term, &mut recursions)?;
        if recursions > 2 {
            return Err("more than two recursions are not supported yet".to_owned());
        }
        // The comment-proof form of `[path(…)]`: the expression stays on lines of its own.
        let program = format!("[path(\n{text}\n)]");
        let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
        let arena = Arena::default();
        let file = File { code: program.as_str(), path: () };
        let modules = Loader::new(definitions).load(&arena, file).map_err(|_| "it is not jq".to_owned())?;
        let filter = Compiler::default()
            .with_funs(functions)
            .compile(modules)
            .map_err(|_| "it uses something that is not defined".to_owned())?;
        Ok(Self { text: text.to_owned(), filter })
    }

    /// The places that the expression names in an object; none where it fails, as deleting nothing does.
    pub(super) fn paths(&self, object: &Value) -> Vec<Vec<Part>> {
        let Ok(input) = serde_json::to_vec(object) else { return Vec::new() };
        let Ok(input) = jaq_json::read::parse_single(&input) else { return Vec::new() };
        let context = Ctx::<Data>::new(&self.filter.lut, Vars::new([]));
        let Some(Ok(found)) = self.filter.id.run((context, input)).map(unwrap_valr).next() else {
            return Vec::new();
        };
        let Ok(Value::Array(found)) = serde_json::from_str(&found.to_string()) else { return Vec::new() };
        found.into_iter().take(MOST_PATHS).filter_map(path).collect()
    }
}

fn path(path: Value) -> Option<Vec<Part>> {
    let Value::Array(parts) = path else { return None };
    let parts = parts.into_iter().map(|part| match part {
        Value::String(name) => Some(Part::Field(name)),
        Value::Number(index) => Some(Part::Index(usize::try_from(index.as_u64()?).ok()?)),
        _ => None,
    });
    parts.collect()
}

fn check(term: &Term<&str>, recursions: &mut usize) -> Result<(), String> {
    let refuse = |what: &str| Err(format!("{what} is not supported yet"));
    let mut all = |terms: &[Term<&str>]| terms.iter().try_for_each(|term| check(term, recursions));
    match term {
        Term::Id | Term::Num(_) => Ok(()),
        Term::Recurse => {
            *recursions += 1;
            Ok(())
        }
        Term::Str(_, parts) => parts.iter().try_for_each(|part| match part {
            jaq_core::load::lex::StrPart::Term(term) => check(term, recursions),
            _ => Ok(()),
        }),
        Term::Arr(inner) => inner.iter().try_for_each(|term| check(term, recursions)),
        Term::Obj(entries) => entries.iter().try_for_each(|(key, value)| {
            check(key, recursions)?;
            value.iter().try_for_each(|value| check(value, recursions))
        }),
        Term::Neg(inner) => check(inner, recursions),
        Term::BinOp(left, BinaryOp::Pipe(Some(_)), _) => {
            check(left, recursions)?;
            refuse("a variable")
        }
        Term::BinOp(left, _, right) => {
            check(left, recursions)?;
            check(right, recursions)
        }
        Term::Label(..) | Term::Break(_) => refuse("a label"),
        Term::Fold(..) => refuse("reduce or foreach"),
        Term::Def(..) => refuse("a definition"),
        Term::Var(_) => refuse("a variable"),
        Term::TryCatch(body, handler) => {
            check(body, recursions)?;
            handler.iter().try_for_each(|handler| check(handler, recursions))
        }
        Term::IfThenElse(branches, otherwise) => {
            for (condition, branch) in branches {
                check(condition, recursions)?;
                check(branch, recursions)?;
            }
            otherwise.iter().try_for_each(|term| check(term, recursions))
        }
        Term::Call(name, arguments) => {
            if !ALLOWED.contains(name) {
                return refuse(&format!("the function {name}"));
            }
            if *name == "recurse" && !arguments.is_empty() {
                return refuse("recurse with an argument");
            }
            all(arguments)?;
            if *name == "recurse" || *name == "paths" {
                *recursions += 1;
            }
            Ok(())
        }
        Term::Path(head, path) => {
            check(head, recursions)?;
            path.0.iter().try_for_each(|(part, _)| match part {
                jaq_core::path::Part::Index(index) => check(index, recursions),
                jaq_core::path::Part::Range(from, to) => {
                    from.iter().chain(to).try_for_each(|term| check(term, recursions))
                }
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(expression: &str, object: &Value) -> Value {
        let paths = Expression::parse(expression).unwrap().paths(object);
        let paths = paths.into_iter().map(|path| {
            let parts = path.into_iter().map(|part| match part {
                Part::Field(name) => json!(name),
                Part::Index(index) => json!(index),
                Part::Element(text) | Part::Scalar(text) => json!(text),
            });
            Value::Array(parts.collect())
        });
        Value::Array(paths.collect())
    }

    #[test]
    fn names_places() {
        let object = json!({"metadata": {"annotations": {"a": "b"}},
            "spec": {"containers": [{"name": "web", "image": "x"}, {"name": "istio-proxy", "image": "y"}]}});
        assert_eq!(found(".metadata.annotations", &object), json!([["metadata", "annotations"]]));
        assert_eq!(
            found(".spec.containers[] | select(.name == \"istio-proxy\") | .image", &object),
            json!([["spec", "containers", 1, "image"]])
        );
        assert_eq!(
            found(".spec.containers[]?.image, .metadata.labels # comment", &object),
            json!([
                ["spec", "containers", 0, "image"],
                ["spec", "containers", 1, "image"],
                ["metadata", "labels"]
            ])
        );
        assert_eq!(
            found(".spec.containers | map(select(.name | test(\"^istio-\"))) | .[0]", &object)
                .as_array()
                .unwrap()
                .len(),
            0,
            "a value that was made up has no place"
        );
    }

    #[test]
    fn what_may_not_end_is_refused() {
        for expression in [
            "def f: f; f",
            "repeat(.)",
            "[limit(3; repeat(1))]",
            "range(1e12)",
            "reduce .[] as $x (0; . + $x)",
            ". as $x | $x",
            "until(false; .)",
            "recurse(.)",
            "..|..|..",
            "env",
            "input",
            "this is not jq (",
        ] {
            assert!(Expression::parse(expression).is_err(), "{expression}");
        }
    }
}
