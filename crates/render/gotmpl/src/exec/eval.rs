//! Pipelines, operands and fields.

use std::fmt;

use super::walk::set_var;
use super::{Frame, Machine, MissingKey, Operand};
use crate::ast::{Arg, ArgKind, Command, PipeId, Span};
use crate::error::Error;
use crate::funcs::Type;
use crate::value::{Field, Str, Value};

impl Machine<'_> {
    pub(super) fn eval_pipeline(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Operand,
        id: PipeId,
    ) -> Result<Operand, Error> {
        let source = frame.source;
        let pipe = source.pipe(id);
        let commands = source.commands(pipe);
        let mut value = None;
        for (index, command) in commands.iter().enumerate() {
            let first = &source.args(*command)[0];
            if matches!(first.kind, ArgKind::Pipe(_)) && (command.args.len() > 1 || value.is_some()) {
                let message = format_args!("can't give argument to non-function {}", source.show_arg(first));
                // Go names what it looked at last, and it has not looked at the parentheses yet.
                let before = index.checked_sub(1).and_then(|before| source.args(commands[before]).last());
                return Err(match before.map(|arg| source.last_evaluated(arg)) {
                    Some(arg) => self.arg_error(frame, arg, message),
                    None => self.error(frame, pipe.position, &source.show_pipe(id), message),
                });
            }
            let mut result = self.eval_command(frame, dot, *command, value)?;
            result.interface = false;
            value = Some(result);
        }
        let value = value.unwrap_or_else(|| Operand::plain(Value::Nil));
        for name in source.names(pipe.decl) {
            let name = source.text(*name);
            if pipe.is_assign {
                set_var(frame, name, value.clone());
            } else {
                frame.vars.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    fn eval_command(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Operand,
        command: Command,
        last: Option<Operand>,
    ) -> Result<Operand, Error> {
        frame.stopped = None;
        let source = frame.source;
        let args = source.args(command);
        let first = &args[0];
        match first.kind {
            ArgKind::Field(names) => {
                return self.eval_chain(frame, dot, dot.clone(), first, names, args, last);
            }
            ArgKind::Chain(inner, names) => {
                let receiver = self.eval_chain_receiver(frame, dot, first, source.arg(inner))?;
                return self.eval_chain(frame, dot, receiver, first, names, args, last);
            }
            ArgKind::Function(function) => {
                return self.eval_function(frame, dot, function, first, command, last);
            }
            ArgKind::Variable(name, names) => {
                let value = self.variable(frame, first, name)?;
                if names.is_empty() {
                    self.not_a_function(frame, first, command, last.as_ref())?;
                    return Ok(value);
                }
                return self.eval_chain(frame, dot, value, first, names, args, last);
            }
            _ => {}
        }
        self.not_a_function(frame, first, command, last.as_ref())?;
        match first.kind {
            ArgKind::Pipe(pipe) => self.eval_pipeline(frame, dot, pipe),
            ArgKind::Bool(value) => Ok(Operand::plain(Value::Bool(value))),
            ArgKind::Dot => Ok(dot.clone()),
            ArgKind::Number(literal, place) => {
                self.constant(frame, first, literal, place).map(Operand::plain)
            }
            ArgKind::String(literal, place) => Ok(Operand::plain(Value::Str(source.literal(literal, place)))),
            _ => Err(self.arg_error(frame, first, "nil is not a command")),
        }
    }

    fn not_a_function(
        &self,
        frame: &Frame<'_>,
        first: &Arg,
        command: Command,
        last: Option<&Operand>,
    ) -> Result<(), Error> {
        if command.args.len() > 1 || last.is_some() {
            let shown = frame.source.show_arg(first);
            let message = format_args!("can't give argument to non-function {shown}");
            return Err(self.arg_error(frame, first, message));
        }
        Ok(())
    }

    fn variable(&self, frame: &Frame<'_>, arg: &Arg, name: Span) -> Result<Operand, Error> {
        let name = frame.source.text(name);
        match frame.vars.iter().rev().find(|(known, _)| *known == name) {
            Some((_, value)) => Ok(value.clone()),
            None => Err(self.arg_error(frame, arg, format_args!("undefined variable: {name}"))),
        }
    }

    fn constant(&self, frame: &Frame<'_>, arg: &Arg, literal: Span, place: u32) -> Result<Value, Error> {
        let (text, number) = (frame.source.text(literal), frame.source.number(place));
        let hex = text.len() > 2
            && (text.starts_with("0x") || text.starts_with("0X"))
            && !text.contains(['p', 'P']);
        if !hex
            && !text.starts_with('\'')
            && text.contains(['.', 'e', 'E', 'p', 'P'])
            && let Some(value) = number.float
        {
            return Ok(Value::Float(value));
        }
        match number.int {
            Some(value) => Ok(Value::int(value)),
            None => Err(self.arg_error(frame, arg, format_args!("{text} overflows int"))),
        }
    }

    fn eval_chain_receiver(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Operand,
        chain: &Arg,
        inner: &Arg,
    ) -> Result<Operand, Error> {
        match inner.kind {
            ArgKind::Nil => {
                let shown = frame.source.show_arg(chain);
                let message = format_args!("indirection through explicit nil in {shown}");
                Err(self.arg_error(frame, chain, message))
            }
            ArgKind::Pipe(pipe) => self.eval_pipeline(frame, dot, pipe),
            ArgKind::Function(function) => {
                self.eval_function(frame, dot, function, inner, Command::default(), None)
            }
            _ => self.eval_any(frame, dot, inner),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one access, passed through")]
    fn eval_chain(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Operand,
        mut receiver: Operand,
        node: &Arg,
        names: Span,
        args: &[Arg],
        last: Option<Operand>,
    ) -> Result<Operand, Error> {
        let source = frame.source;
        let Some((name, before)) = source.names(names).split_last() else { return Ok(receiver) };
        for name in before {
            receiver = self.eval_field(frame, dot, node, source.text(*name), &[], None, receiver)?;
        }
        self.eval_field(frame, dot, node, source.text(*name), args, last, receiver)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one access, passed through")]
    fn eval_field(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Operand,
        node: &Arg,
        name: &str,
        args: &[Arg],
        last: Option<Operand>,
        receiver: Operand,
    ) -> Result<Operand, Error> {
        let has_args = args.len() > 1 || last.is_some();
        match &receiver.value {
            Value::Nil if receiver.interface => {
                let message = format_args!("nil pointer evaluating interface {{}}.{name}");
                Err(self.arg_error(frame, node, message))
            }
            Value::Nil => Ok(Operand::plain(Value::Nil)),
            Value::Map(_) if has_args => {
                let message = format_args!("{name} is not a method but has arguments");
                Err(self.arg_error(frame, node, message))
            }
            Value::Map(map) => {
                let interface = !map.kind().is_strings();
                Ok(match map.get(name.as_bytes()) {
                    Some(value) => Operand { value, interface },
                    None if self.missing_key == MissingKey::Error => {
                        let message =
                            format_args!("map has no entry for key {}", crate::quote(name.as_bytes()));
                        return Err(self.arg_error(frame, node, message));
                    }
                    None if interface => Operand { value: Value::Nil, interface },
                    None => Operand::plain(Value::Str(Str::default())),
                })
            }
            Value::Object(object) => match object.field(name) {
                Some(Field::Value(_)) if has_args => {
                    let message = format_args!("{name} has arguments but cannot be invoked as function");
                    Err(self.arg_error(frame, node, message))
                }
                Some(Field::Value(value)) => Ok(Operand::plain(value)),
                Some(Field::Method { arguments }) => {
                    let object = std::rc::Rc::clone(object);
                    let values = self.method_arguments(frame, dot, node, name, args, last, arguments)?;
                    match object.call(name, &values) {
                        Ok(value) => Ok(Operand::plain(value)),
                        Err(text) => {
                            let shown = frame.source.show_arg(node);
                            Err(self.call_error(frame, node.position, &shown, name, Error::new(text)))
                        }
                    }
                }
                None => match object.entry(&name.into()) {
                    Some(value) => Ok(Operand::plain(value)),
                    None => self.no_field(frame, node, name, &receiver),
                },
            },
            _ => self.no_field(frame, node, name, &receiver),
        }
    }

    fn no_field(
        &self,
        frame: &Frame<'_>,
        node: &Arg,
        name: &str,
        receiver: &Operand,
    ) -> Result<Operand, Error> {
        let message = format_args!("can't evaluate field {name} in type {}", receiver.type_name());
        Err(self.arg_error(frame, node, message))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one call, passed through")]
    fn method_arguments(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Operand,
        node: &Arg,
        name: &str,
        args: &[Arg],
        last: Option<Operand>,
        wanted: usize,
    ) -> Result<Vec<Value>, Error> {
        let args = args.get(1..).unwrap_or_default();
        let given = args.len() + usize::from(last.is_some());
        if given != wanted {
            let message = format_args!("wrong number of args for {name}: want {wanted} got {given}");
            return Err(self.arg_error(frame, node, message));
        }
        let mut values = Vec::with_capacity(given);
        for arg in args {
            values.push(self.eval_arg(frame, dot, Type::Any, arg)?);
        }
        values.extend(last.map(|last| last.value));
        Ok(values)
    }

    /// An argument of a parameter's type.
    pub(super) fn eval_arg(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Operand,
        wanted: Type,
        arg: &Arg,
    ) -> Result<Value, Error> {
        frame.stopped = None;
        match arg.kind {
            ArgKind::Nil if wanted.can_be_nil() => Ok(Value::Nil),
            ArgKind::Nil => Err(self.arg_error(frame, arg, format_args!("cannot assign nil to {wanted}"))),
            ArgKind::Dot
            | ArgKind::Field(_)
            | ArgKind::Variable(..)
            | ArgKind::Pipe(_)
            | ArgKind::Function(_)
            | ArgKind::Chain(..) => {
                let value = self.eval_any(frame, dot, arg)?;
                self.fit(frame, frame.source.last_evaluated(arg), value, wanted)
            }
            ArgKind::Bool(value) if wanted.takes_bool() => Ok(Value::Bool(value)),
            ArgKind::String(literal, place) if wanted.takes_string() => {
                Ok(Value::Str(frame.source.literal(literal, place)))
            }
            ArgKind::Number(literal, place) => self.number_arg(frame, wanted, arg, literal, place),
            _ => self.unfit_constant(frame, wanted, arg),
        }
    }

    fn number_arg(
        &self,
        frame: &Frame<'_>,
        wanted: Type,
        arg: &Arg,
        literal: Span,
        place: u32,
    ) -> Result<Value, Error> {
        let number = frame.source.number(place);
        match wanted {
            Type::Any | Type::Value => self.constant(frame, arg, literal, place),
            Type::Int => match number.int {
                Some(value) => Ok(Value::int(value)),
                None => self.unfit_constant(frame, wanted, arg),
            },
            Type::Uint32 => match number.uint.and_then(|value| i64::try_from(value).ok()) {
                Some(value) => Ok(Value::Int(crate::value::IntKind::Uint32, value)),
                None => self.unfit_constant(frame, wanted, arg),
            },
            Type::Float => match number.float {
                Some(value) => Ok(Value::Float(value)),
                None => self.unfit_constant(frame, wanted, arg),
            },
            _ => self.unfit_constant(frame, wanted, arg),
        }
    }

    fn unfit_constant(&self, frame: &Frame<'_>, wanted: Type, arg: &Arg) -> Result<Value, Error> {
        let shown = frame.source.show_arg(arg);
        let message = match wanted {
            Type::Bool => format!("expected bool; found {shown}"),
            Type::Str => format!("expected string; found {shown}"),
            Type::Int => format!("expected integer; found {shown}"),
            Type::Uint32 => format!("expected unsigned integer; found {shown}"),
            Type::Float => format!("expected float; found {shown}"),
            _ => format!("can't handle {shown} for arg of type {wanted}"),
        };
        Err(self.arg_error(frame, arg, message))
    }

    /// An operand that is no constant, or a constant without a wanted type.
    pub(super) fn eval_any(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Operand,
        arg: &Arg,
    ) -> Result<Operand, Error> {
        match arg.kind {
            ArgKind::Dot => Ok(dot.clone()),
            ArgKind::Field(names) => self.eval_chain(frame, dot, dot.clone(), arg, names, &[], None),
            ArgKind::Variable(name, names) => {
                let value = self.variable(frame, arg, name)?;
                self.eval_chain(frame, dot, value, arg, names, &[], None)
            }
            ArgKind::Pipe(pipe) => self.eval_pipeline(frame, dot, pipe),
            ArgKind::Function(function) => {
                self.eval_function(frame, dot, function, arg, Command::default(), None)
            }
            ArgKind::Chain(inner, names) => {
                let receiver = self.eval_chain_receiver(frame, dot, arg, frame.source.arg(inner))?;
                self.eval_chain(frame, dot, receiver, arg, names, &[], None)
            }
            ArgKind::Bool(value) => Ok(Operand::plain(Value::Bool(value))),
            ArgKind::Number(literal, place) => self.constant(frame, arg, literal, place).map(Operand::plain),
            ArgKind::String(literal, place) => {
                Ok(Operand::plain(Value::Str(frame.source.literal(literal, place))))
            }
            ArgKind::Nil => Err(self.arg_error(frame, arg, "evalEmptyInterface: nil (can't happen)")),
        }
    }

    /// `validateType`: a value as a parameter's type, or the reason why not.
    pub(super) fn fit(
        &self,
        frame: &mut Frame<'_>,
        node: &Arg,
        operand: Operand,
        wanted: Type,
    ) -> Result<Value, Error> {
        frame.held_nil = operand.value.is_nil() && operand.interface;
        let frame = &*frame;
        let stopped = || frame.stopped.and_then(|at| frame.source.arg_at(frame.template.root, at));
        let failed = |message: fmt::Arguments<'_>| self.arg_error(frame, stopped().unwrap_or(node), message);
        if operand.value.is_nil() && !operand.interface {
            if wanted.can_be_nil() {
                return Ok(Value::Nil);
            }
            return Err(failed(format_args!("invalid value; expected {wanted}")));
        }
        match wanted.accept(operand.value) {
            Ok(value) => Ok(value),
            Err(value) => {
                let found = if value.is_nil() { "interface {}" } else { value.type_name() };
                Err(failed(format_args!("wrong type for value; expected {wanted}; got {found}")))
            }
        }
    }
}
