//! Parts of templates as errors show them.

use std::fmt;

use super::{Arg, ArgKind, Command, PipeId, Source, Span};

/// A part that can be shown.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part<'s> {
    Arg(&'s Arg),
    Command(Command),
    Pipe(PipeId),
    /// A `template` action.
    Call(&'s str, Option<PipeId>),
}

/// A part of a text, as Go prints its nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Show<'s> {
    source: &'s Source,
    part: Part<'s>,
}

impl Source {
    pub(crate) fn show_arg<'s>(&'s self, arg: &'s Arg) -> Show<'s> {
        Show { source: self, part: Part::Arg(arg) }
    }

    pub(crate) fn show_command(&self, command: Command) -> Show<'_> {
        Show { source: self, part: Part::Command(command) }
    }

    pub(crate) fn show_pipe(&self, pipe: PipeId) -> Show<'_> {
        Show { source: self, part: Part::Pipe(pipe) }
    }

    pub(crate) fn show_call<'s>(&'s self, name: &'s str, pipe: Option<PipeId>) -> Show<'s> {
        Show { source: self, part: Part::Call(name, pipe) }
    }
}

impl fmt::Display for Show<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Part::Arg(arg) => self.arg(f, arg),
            Part::Command(command) => self.command(f, command),
            Part::Pipe(pipe) => self.pipe(f, pipe),
            Part::Call(name, pipe) => {
                write!(f, "{{{{template {}", crate::quote::quote(name.as_bytes()))?;
                if let Some(pipe) = pipe {
                    f.write_str(" ")?;
                    self.pipe(f, pipe)?;
                }
                f.write_str("}}")
            }
        }
    }
}

impl Show<'_> {
    fn fields(&self, f: &mut fmt::Formatter<'_>, names: Span) -> fmt::Result {
        self.source.names(names).iter().try_for_each(|name| write!(f, ".{}", self.source.text(*name)))
    }

    fn arg(&self, f: &mut fmt::Formatter<'_>, arg: &Arg) -> fmt::Result {
        match arg.kind {
            ArgKind::Field(names) => self.fields(f, names),
            ArgKind::Variable(name, names) => {
                f.write_str(self.source.text(name))?;
                self.fields(f, names)
            }
            ArgKind::Chain(inner, names) => {
                self.in_parentheses(f, self.source.arg(inner))?;
                self.fields(f, names)
            }
            ArgKind::Function(function) => f.write_str(function.name),
            ArgKind::Pipe(pipe) => self.pipe(f, pipe),
            ArgKind::Bool(value) => write!(f, "{value}"),
            ArgKind::Dot => f.write_str("."),
            ArgKind::Nil => f.write_str("nil"),
            ArgKind::Number(literal, _) | ArgKind::String(literal, _) => {
                f.write_str(self.source.text(literal))
            }
        }
    }

    fn in_parentheses(&self, f: &mut fmt::Formatter<'_>, arg: &Arg) -> fmt::Result {
        let ArgKind::Pipe(pipe) = arg.kind else { return self.arg(f, arg) };
        f.write_str("(")?;
        self.pipe(f, pipe)?;
        f.write_str(")")
    }

    fn command(&self, f: &mut fmt::Formatter<'_>, command: Command) -> fmt::Result {
        for (index, arg) in self.source.args(command).iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            self.in_parentheses(f, arg)?;
        }
        Ok(())
    }

    fn pipe(&self, f: &mut fmt::Formatter<'_>, id: PipeId) -> fmt::Result {
        let pipe = self.source.pipe(id);
        for (index, name) in self.source.names(pipe.decl).iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            f.write_str(self.source.text(*name))?;
        }
        if !pipe.decl.is_empty() {
            f.write_str(if pipe.is_assign { " = " } else { " := " })?;
        }
        for (index, command) in self.source.commands(pipe).iter().enumerate() {
            if index > 0 {
                f.write_str(" | ")?;
            }
            self.command(f, *command)?;
        }
        Ok(())
    }
}
