//! A rule as text: whether it can be compiled, what it names, and what it may cost.

use kube_cel::cel::Program;
use kube_cel::cel::common::ast::{EntryExpr, Expr, IdedExpr};
use objects::schema::FieldError;
use serde_json::{Value, json};

use super::{FIELD, STACK};

/// Upstream has no such limit: its compiler bounds the size of what it makes of the text.
const LONGEST: usize = 16 << 10;
/// What a rule may name beside the variables of its own loops.
const VARIABLES: [&str; 5] = ["self", "oldSelf", "apiVersion", "apiGroup", "kind"];
/// Functions whose cost grows with the length of a string.
const SCANS: [&str; 12] = [
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "find",
    "findAll",
    "replace",
    "split",
    "indexOf",
    "lastIndexOf",
    "substring",
    "_+_",
];
/// Those that make lists of strings.
const SPLITS: [&str; 2] = ["split", "findAll"];

/// The largest parts of a value.
#[derive(Debug, Default)]
pub(super) struct Size {
    items: u64,
    letters: u64,
}

impl Size {
    pub(super) fn of(value: &Value) -> Size {
        let mut size = Size::default();
        size.add(value);
        size
    }

    fn add(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.letters = self.letters.max(text.len() as u64),
            Value::Array(items) => {
                self.items = self.items.max(items.len() as u64);
                items.iter().for_each(|item| self.add(item));
            }
            Value::Object(fields) => {
                self.items = self.items.max(fields.len() as u64);
                fields.values().for_each(|value| self.add(value));
            }
            _ => {}
        }
    }
}

/// What evaluating a rule takes at most.
#[derive(Debug, Default)]
pub(super) struct Cost {
    /// Parts of the rule.
    parts: u64,
    /// Loops inside each other.
    loops: u32,
    scans: bool,
    splits: bool,
}

impl Cost {
    pub(super) fn of(&self, size: &Size) -> u64 {
        let items = if self.splits { size.items.max(size.letters) } else { size.items };
        // A tenth for each letter, as upstream counts.
        let each = if self.scans { 1 + size.letters / 10 } else { 1 };
        self.parts.saturating_mul(items.max(1).saturating_pow(self.loops)).saturating_mul(each)
    }
}

/// `None` for a rule that cannot be compiled, which costs nothing.
pub(super) fn cost(rule: &str) -> Option<Cost> {
    let program = compile(rule).ok()?;
    let mut cost = Cost::default();
    walk(program.expression(), 0, &mut |expression, loops| {
        cost.parts += 1;
        cost.loops = cost.loops.max(loops);
        if let Expr::Call(call) = expression {
            cost.scans |= SCANS.contains(&call.func_name.as_str());
            cost.splits |= SPLITS.contains(&call.func_name.as_str());
        }
    });
    Some(cost)
}

/// Visits every part of an expression with the number of loops around it.
fn walk(expression: &IdedExpr, loops: u32, visit: &mut dyn FnMut(&Expr, u32)) {
    let expr = &expression.expr;
    visit(expr, loops);
    match expr {
        Expr::Call(call) => {
            call.target.iter().for_each(|target| walk(target, loops, visit));
            call.args.iter().for_each(|argument| walk(argument, loops, visit));
        }
        Expr::Comprehension(looped) => {
            walk(&looped.iter_range, loops, visit);
            walk(&looped.accu_init, loops, visit);
            walk(&looped.loop_cond, loops + 1, visit);
            walk(&looped.loop_step, loops + 1, visit);
            walk(&looped.result, loops, visit);
        }
        Expr::List(list) => list.elements.iter().for_each(|element| walk(element, loops, visit)),
        Expr::Select(select) => walk(&select.operand, loops, visit),
        Expr::Map(map) => map.entries.iter().for_each(|entry| entry_of(&entry.expr, loops, visit)),
        Expr::Struct(made) => made.entries.iter().for_each(|entry| entry_of(&entry.expr, loops, visit)),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

fn entry_of(entry: &EntryExpr, loops: u32, visit: &mut dyn FnMut(&Expr, u32)) {
    match entry {
        EntryExpr::StructField(field) => walk(&field.value, loops, visit),
        EntryExpr::MapEntry(entry) => {
            walk(&entry.key, loops, visit);
            walk(&entry.value, loops, visit);
        }
    }
}

fn compile(rule: &str) -> Result<Program, String> {
    if rule.len() > LONGEST {
        return Err(format!("compilation failed: the rule is longer than {LONGEST} bytes"));
    }
    Program::compile(rule).map_err(|errors| format!("compilation failed: {errors}"))
}

/// Whether an expression can be compiled, whatever it names.
pub(in crate::validation) fn parses(expression: &str) -> Result<(), String> {
    stacker::grow(STACK, || compile(expression).map(drop))
}

/// What is wrong with the rules of a schema; `path` is that of the schema.
pub(in crate::validation) fn problems(schema: &Value, path: &str, found: &mut Vec<FieldError>) {
    stacker::grow(STACK, || node(schema, path, found));
}

fn node(schema: &Value, path: &str, found: &mut Vec<FieldError>) {
    for (at, rule) in schema[FIELD].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.{FIELD}[{at}]");
        let text = rule["rule"].as_str().unwrap_or_default();
        if text.trim().is_empty() {
            found.push(FieldError::required(&format!("{path}.rule"), "rule is not specified"));
            continue;
        }
        if let Err(problem) = checked(text, schema) {
            found.push(FieldError::invalid(&format!("{path}.rule"), as_written(rule), problem));
        }
        let expression = rule["messageExpression"].as_str().unwrap_or_default();
        if !expression.is_empty()
            && let Err(problem) = checked(expression, schema)
        {
            let problem = problem.replacen("compilation failed", "messageExpression compilation failed", 1);
            found.push(FieldError::invalid(&format!("{path}.messageExpression"), as_written(rule), problem));
        }
    }
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        node(child, &format!("{path}.properties[{name}]"), found);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(child) = schema.get(name).filter(|child| child.is_object()) {
            node(child, &format!("{path}.{name}"), found);
        }
    }
}

/// A rule as upstream's message shows it: the fields of its Go type.
fn as_written(rule: &Value) -> Value {
    let text = |field: &str| rule[field].as_str().unwrap_or_default();
    json!({"Rule": text("rule"), "Message": text("message"), "MessageExpression": text("messageExpression"),
        "Reason": rule["reason"], "FieldPath": text("fieldPath"), "OptionalOldSelf": rule["optionalOldSelf"]})
}

fn checked(text: &str, schema: &Value) -> Result<(), String> {
    let program = compile(text)?;
    let mut locals = Vec::new();
    let mut names = Vec::new();
    let mut undefined = None;
    walk(program.expression(), 0, &mut |expression, _| match expression {
        Expr::Comprehension(looped) => {
            locals.push(looped.iter_var.clone());
            locals.push(looped.accu_var.clone());
            locals.extend(looped.iter_var2.clone());
        }
        Expr::Ident(name) => names.push(name.clone()),
        Expr::Select(select) => {
            if undefined.is_none()
                && let Some(parent) = declared(&select.operand, schema)
                && !has_field(parent, &select.field)
            {
                undefined = Some(select.field.clone());
            }
        }
        _ => {}
    });
    if let Some(field) = undefined {
        let at = text.find(&format!(".{field}")).unwrap_or(0);
        return Err(located(text, at, &format!("undefined field '{field}'")));
    }
    let unknown = names.iter().find(|name| {
        !VARIABLES.contains(&name.as_str()) && !locals.contains(name) && !TYPES.contains(&name.as_str())
    });
    match unknown {
        Some(name) => {
            let at = text.find(name.as_str()).unwrap_or(0);
            Err(located(text, at, &format!("undeclared reference to '{name}' (in container '')")))
        }
        None => Ok(()),
    }
}

/// Names of types, which a rule may compare with `type(…)`, and of groups of functions.
const TYPES: [&str; 19] = [
    "bool",
    "bytes",
    "double",
    "int",
    "uint",
    "string",
    "list",
    "map",
    "null_type",
    "type",
    "timestamp",
    "duration",
    "optional",
    "math",
    "sets",
    "format",
    "quantity",
    "cel",
    "base64",
];

/// A problem as CEL's compiler shows it: with the line and a mark below it.
fn located(text: &str, at: usize, problem: &str) -> String {
    let begin = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let (number, line) =
        (text[..at].matches('\n').count() + 1, text[begin..].lines().next().unwrap_or_default());
    let column = at - begin;
    format!(
        "compilation failed: ERROR: <input>:{number}:{}: {problem}\n | {line}\n | {}^",
        column + 1,
        ".".repeat(column)
    )
}

/// The schema of an expression that is a path from `self`.
fn declared<'a>(expression: &IdedExpr, schema: &'a Value) -> Option<&'a Value> {
    match &expression.expr {
        Expr::Ident(name) if name == "self" || name == "oldSelf" => Some(schema),
        Expr::Select(select) => declared(&select.operand, schema)?["properties"].get(&select.field),
        _ => None,
    }
}

/// Whether a value of this schema can have the field; names that CEL cannot write are spelled otherwise in rules.
fn has_field(schema: &Value, field: &str) -> bool {
    let open = schema.get("additionalProperties").is_some_and(|additional| *additional != false)
        || schema["x-kubernetes-preserve-unknown-fields"] == true
        || schema["x-kubernetes-embedded-resource"] == true;
    let Some(properties) = schema["properties"].as_object() else { return true };
    open || field.contains("__")
        || properties.contains_key(field)
        || matches!(field, "metadata" | "apiVersion" | "kind")
}
