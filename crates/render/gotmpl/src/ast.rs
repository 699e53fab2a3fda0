//! What a template's text says.
//!
//! The parts of a text lie in a few lists of one [`Source`] and name each other by their places there; names and literals
//! are places in the text. So parsing allocates little, and dropping what was parsed costs nothing: most of what a chart
//! has is never executed.

mod show;

use std::ops::Range;
use std::sync::Arc;

use crate::funcs::Function;
use crate::value::Str;
pub(crate) use show::Show;

/// A part of the text, or of one of the lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub(crate) fn len(self) -> usize {
        self.range().len()
    }
}

/// One parsed text: the names of its errors, what positions refer to, and all its parts.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: Arc<str>,
    pub(crate) text: Arc<str>,
    pub(crate) code: Code,
}

/// The parts of a text.
#[derive(Debug, Default)]
pub(crate) struct Code {
    pub(crate) nodes: Vec<Node>,
    pub(crate) pipes: Vec<Pipe>,
    pub(crate) commands: Vec<Command>,
    pub(crate) args: Vec<Arg>,
    /// Where in the text the names of fields (without their dots) and of declared variables are.
    pub(crate) names: Vec<Span>,
    pub(crate) numbers: Vec<Number>,
    /// What literals stand for, and the names of called templates.
    pub(crate) strings: Vec<Str>,
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
        self.source.code.is_blank(&self.source.text, self.root)
    }
}

/// Nodes that follow each other, by their places.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct List(pub(crate) Span);

/// A pipeline, by its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PipeId(pub(crate) u32);

#[derive(Debug, Clone, Copy)]
pub(crate) enum Node {
    /// Where in the source it stands.
    Text(Span),
    /// An action that is one string constant: where its content stands.
    Constant(Span),
    Action(PipeId),
    Break,
    Continue,
    If(Branch),
    With(Branch),
    Range(Branch),
    Template {
        position: u32,
        /// Among the strings.
        name: u32,
        pipe: Option<PipeId>,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Branch {
    pub(crate) position: u32,
    pub(crate) pipe: PipeId,
    pub(crate) list: List,
    pub(crate) else_list: Option<List>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Pipe {
    pub(crate) position: u32,
    pub(crate) is_assign: bool,
    /// Among the names.
    pub(crate) decl: Span,
    pub(crate) commands: Span,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Command {
    pub(crate) args: Span,
}

/// An operand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arg {
    pub(crate) position: u32,
    pub(crate) kind: ArgKind,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum ArgKind {
    /// Among the names.
    Field(Span),
    /// Where the name (with its dollar) stands, and the fields after it among the names.
    Variable(Span, Span),
    /// The place of the operand, and the fields after it among the names.
    Chain(u32, Span),
    Function(&'static Function),
    Pipe(PipeId),
    Bool(bool),
    Dot,
    Nil,
    /// Where it stands, and its place among the numbers.
    Number(Span, u32),
    /// Where the literal stands, with its quotes, and what it stands for among the strings where that is not simply what
    /// is between the quotes.
    String(Span, Option<u32>),
}

/// A constant, with every type it may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number {
    pub(crate) int: Option<i64>,
    pub(crate) uint: Option<u64>,
    pub(crate) float: Option<f64>,
}

impl Code {
    /// Whether a list has nothing but blanks and comments.
    pub(crate) fn is_blank(&self, text: &str, list: List) -> bool {
        self.nodes[list.0.range()].iter().all(|node| match node {
            Node::Text(span) => text[span.range()].trim().is_empty(),
            _ => false,
        })
    }

    /// Room for what follows: the parts are found by places of 32 bits.
    pub(crate) fn next<T>(list: &[T]) -> u32 {
        u32::try_from(list.len()).expect("a text below 4 GiB has fewer parts than bytes")
    }
}

impl Source {
    /// `name:line:column`, line counted from one, column in bytes from zero.
    pub(crate) fn location(&self, position: u32) -> String {
        let position = position as usize;
        let before = &self.text.as_bytes()[..position];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let column = match before.iter().rposition(|&byte| byte == b'\n') {
            Some(newline) => position - newline - 1,
            None => position,
        };
        format!("{}:{line}:{column}", self.name)
    }

    pub(crate) fn text(&self, span: Span) -> &str {
        &self.text[span.range()]
    }

    pub(crate) fn nodes(&self, list: List) -> &[Node] {
        &self.code.nodes[list.0.range()]
    }

    pub(crate) fn pipe(&self, id: PipeId) -> &Pipe {
        &self.code.pipes[id.0 as usize]
    }

    pub(crate) fn commands(&self, pipe: &Pipe) -> &[Command] {
        &self.code.commands[pipe.commands.range()]
    }

    pub(crate) fn args(&self, command: Command) -> &[Arg] {
        &self.code.args[command.args.range()]
    }

    pub(crate) fn arg(&self, place: u32) -> &Arg {
        &self.code.args[place as usize]
    }

    /// Names by their places in the text.
    pub(crate) fn names(&self, names: Span) -> &[Span] {
        &self.code.names[names.range()]
    }

    pub(crate) fn number(&self, place: u32) -> Number {
        self.code.numbers[place as usize]
    }

    pub(crate) fn string(&self, place: u32) -> &Str {
        &self.code.strings[place as usize]
    }

    /// What a literal stands for.
    pub(crate) fn literal(&self, literal: Span, string: Option<u32>) -> Str {
        match string {
            Some(place) => self.string(place).clone(),
            None => self.text(Span { start: literal.start + 1, end: literal.end - 1 }).into(),
        }
    }

    /// The operand Go looked at last when it has evaluated this one: errors that are found afterwards name it.
    pub(crate) fn last_evaluated<'s>(&'s self, arg: &'s Arg) -> &'s Arg {
        match arg.kind {
            ArgKind::Pipe(pipe) => self.last_of_pipe(pipe).unwrap_or(arg),
            ArgKind::Chain(inner, _) => self.last_evaluated(self.arg(inner)),
            _ => arg,
        }
    }

    pub(crate) fn last_of_pipe(&self, pipe: PipeId) -> Option<&Arg> {
        let last = *self.commands(self.pipe(pipe)).last()?;
        self.args(last).last().map(|arg| self.last_evaluated(arg))
    }

    /// The innermost operand at a position.
    pub(crate) fn arg_at(&self, list: List, position: u32) -> Option<&Arg> {
        self.nodes(list).iter().find_map(|node| match node {
            Node::Text(_) | Node::Constant(_) | Node::Break | Node::Continue => None,
            Node::Action(pipe) => self.pipe_arg_at(*pipe, position),
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => self
                .pipe_arg_at(branch.pipe, position)
                .or_else(|| self.arg_at(branch.list, position))
                .or_else(|| self.arg_at(branch.else_list?, position)),
            Node::Template { pipe, .. } => self.pipe_arg_at((*pipe)?, position),
        })
    }

    fn pipe_arg_at(&self, pipe: PipeId, position: u32) -> Option<&Arg> {
        let commands = self.commands(self.pipe(pipe));
        commands.iter().flat_map(|command| self.args(*command)).find_map(|arg| {
            let inner = match arg.kind {
                ArgKind::Pipe(pipe) => self.pipe_arg_at(pipe, position),
                ArgKind::Chain(inner, _) => match self.arg(inner).kind {
                    ArgKind::Pipe(pipe) => self.pipe_arg_at(pipe, position),
                    _ => None,
                },
                _ => None,
            };
            inner.or_else(|| (arg.position == position).then_some(arg))
        })
    }
}
