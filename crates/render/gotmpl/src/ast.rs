//! What a template's text says.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::funcs::Function;
use crate::value::Str;

/// One parsed text: the names of its errors and what their positions refer to.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: Arc<str>,
    pub(crate) text: Arc<str>,
}

impl Source {
    /// `name:line:column`, line counted from one, column in bytes from zero.
    pub(crate) fn location(&self, position: usize) -> String {
        let before = &self.text.as_bytes()[..position];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let column = match before.iter().rposition(|&byte| byte == b'\n') {
            Some(newline) => position - newline - 1,
            None => position,
        };
        format!("{}:{line}:{column}", self.name)
    }
}

/// A named template.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) name: Arc<str>,
    pub(crate) source: Arc<Source>,
    pub(crate) root: List,
}

impl Template {
    /// Whether it has nothing but blanks and comments.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.nodes.iter().all(|node| match node {
            Node::Text(range) => self.source.text[range.clone()].trim().is_empty(),
            _ => false,
        })
    }
}

#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) nodes: Vec<Node>,
}

#[derive(Debug)]
pub(crate) enum Node {
    /// Where in the source it stands.
    Text(Range<usize>),
    Action(Pipe),
    Break,
    Continue,
    If(Branch),
    With(Branch),
    Range(Branch),
    Template {
        position: usize,
        name: Arc<str>,
        pipe: Option<Pipe>,
    },
}

#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) position: usize,
    pub(crate) pipe: Pipe,
    pub(crate) list: List,
    pub(crate) else_list: Option<List>,
}

#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) position: usize,
    pub(crate) is_assign: bool,
    pub(crate) decl: Vec<Arc<str>>,
    pub(crate) commands: Vec<Command>,
}

#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) args: Vec<Arg>,
}

/// An operand.
#[derive(Debug)]
pub(crate) struct Arg {
    pub(crate) position: usize,
    pub(crate) kind: ArgKind,
}

#[derive(Debug)]
pub(crate) enum ArgKind {
    Field(Vec<Str>),
    /// The name (with its dollar) and the fields after it.
    Variable(Arc<str>, Vec<Str>),
    Chain(Box<Arg>, Vec<Str>),
    Function(&'static Function),
    Pipe(Box<Pipe>),
    Bool(bool),
    Dot,
    Nil,
    Number(Number),
    /// The literal and what it stands for.
    String(Arc<str>, Str),
}

/// A constant, with every type it may have.
#[derive(Debug, Clone)]
pub(crate) struct Number {
    pub(crate) text: Arc<str>,
    pub(crate) int: Option<i64>,
    pub(crate) uint: Option<u64>,
    pub(crate) float: Option<f64>,
}

impl Arg {
    /// The operand Go looked at last when it has evaluated this one: errors that are found afterwards name it.
    pub(crate) fn last_evaluated(&self) -> &Self {
        match &self.kind {
            ArgKind::Pipe(pipe) => pipe.last_evaluated().unwrap_or(self),
            ArgKind::Chain(inner, _) => inner.last_evaluated(),
            _ => self,
        }
    }
}

impl List {
    /// The innermost operand at a position.
    pub(crate) fn arg_at(&self, position: usize) -> Option<&Arg> {
        self.nodes.iter().find_map(|node| match node {
            Node::Text(_) | Node::Break | Node::Continue => None,
            Node::Action(pipe) => pipe.arg_at(position),
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => branch
                .pipe
                .arg_at(position)
                .or_else(|| branch.list.arg_at(position))
                .or_else(|| branch.else_list.as_ref()?.arg_at(position)),
            Node::Template { pipe, .. } => pipe.as_ref()?.arg_at(position),
        })
    }
}

impl Pipe {
    fn arg_at(&self, position: usize) -> Option<&Arg> {
        self.commands.iter().flat_map(|command| &command.args).find_map(|arg| {
            let inner = match &arg.kind {
                ArgKind::Pipe(pipe) => pipe.arg_at(position),
                ArgKind::Chain(inner, _) => match &inner.kind {
                    ArgKind::Pipe(pipe) => pipe.arg_at(position),
                    _ => None,
                },
                _ => None,
            };
            inner.or_else(|| (arg.position == position).then_some(arg))
        })
    }

    pub(crate) fn last_evaluated(&self) -> Option<&Arg> {
        self.commands.last()?.args.last().map(Arg::last_evaluated)
    }
}

fn fields(f: &mut fmt::Formatter<'_>, names: &[Str]) -> fmt::Result {
    names.iter().try_for_each(|name| write!(f, ".{name}"))
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ArgKind::Field(names) => fields(f, names),
            ArgKind::Variable(name, names) => {
                f.write_str(name)?;
                fields(f, names)
            }
            ArgKind::Chain(arg, names) => {
                match &arg.kind {
                    ArgKind::Pipe(pipe) => write!(f, "({pipe})")?,
                    _ => write!(f, "{arg}")?,
                }
                fields(f, names)
            }
            ArgKind::Function(function) => f.write_str(function.name),
            ArgKind::Pipe(pipe) => write!(f, "{pipe}"),
            ArgKind::Bool(value) => write!(f, "{value}"),
            ArgKind::Dot => f.write_str("."),
            ArgKind::Nil => f.write_str("nil"),
            ArgKind::Number(number) => f.write_str(&number.text),
            ArgKind::String(literal, _) => f.write_str(literal),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, arg) in self.args.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            match &arg.kind {
                ArgKind::Pipe(pipe) => write!(f, "({pipe})")?,
                _ => write!(f, "{arg}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.decl.is_empty() {
            f.write_str(&self.decl.join(", "))?;
            f.write_str(if self.is_assign { " = " } else { " := " })?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            if index > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{command}")?;
        }
        Ok(())
    }
}

/// A `template` action as errors show it.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) name: &'a str,
    pub(crate) pipe: Option<&'a Pipe>,
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{template {}", crate::quote::quote(self.name.as_bytes()))?;
        if let Some(pipe) = self.pipe {
            write!(f, " {pipe}")?;
        }
        f.write_str("}}")
    }
}
