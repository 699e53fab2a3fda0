//! Pipelines, operands and fields.

use std::sync::Arc;

use super::walk::set_var;
use super::{Frame, Machine, MissingKey, Operand};
use crate::ast::{Arg, ArgKind, Command, Number, Pipe};
use crate::error::Error;
use crate::funcs::Type;
use crate::value::{Field, MapKind, Str, Value};

impl Machine<'_> {
    pub(super) fn eval_pipeline(
        &mut self,
        frame: &mut Frame,
        dot: &Operand,
        pipe: &Pipe,
    ) -> Result<Operand, Error> {
        let mut value = None;
        for (index, command) in pipe.commands.iter().enumerate() {
            let first = &command.args[0];
            if matches!(first.kind, ArgKind::Pipe(_)) && (command.args.len() > 1 || value.is_some()) {
                let message = format_args!("can't give argument to non-function {first}");
                // Go names what it looked at last, and it has not looked at the parentheses yet.
                let before = index.checked_sub(1).and_then(|before| pipe.commands[before].args.last());
                return Err(match before.map(Arg::last_evaluated) {
                    Some(arg) => self.arg_error(frame, arg, message),
                    None => self.error(frame, pipe.position, pipe, message),
                });
            }
            let mut result = self.eval_command(frame, dot, command, value)?;
            result.interface = false;
            value = Some(result);
        }
        let value = value.unwrap_or_else(|| Operand::plain(Value::Nil));
        for name in &pipe.decl {
            if pipe.is_assign {
                set_var(frame, name, value.clone());
            } else {
                frame.vars.push((Arc::clone(name), value.clone()));
            }
        }
        Ok(value)
    }

    fn eval_command(
        &mut self,
        frame: &mut Frame,
        dot: &Operand,
        command: &Command,
        last: Option<Operand>,
    ) -> Result<Operand, Error> {
        frame.stopped = None;
        let first = &command.args[0];
        match &first.kind {
            ArgKind::Field(names) => {
                return self.eval_chain(frame, dot, dot.clone(), first, names, &command.args, last);
            }
            ArgKind::Chain(inner, names) => {
                let receiver = self.eval_chain_receiver(frame, dot, first, inner)?;
                return self.eval_chain(frame, dot, receiver, first, names, &command.args, last);
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
                return self.eval_chain(frame, dot, value, first, names, &command.args, last);
            }
            _ => {}
        }
        self.not_a_function(frame, first, command, last.as_ref())?;
        match &first.kind {
            ArgKind::Pipe(pipe) => self.eval_pipeline(frame, dot, pipe),
            ArgKind::Bool(value) => Ok(Operand::plain(Value::Bool(*value))),
            ArgKind::Dot => Ok(dot.clone()),
            ArgKind::Number(number) => self.constant(frame, first, number).map(Operand::plain),
            ArgKind::String(_, text) => Ok(Operand::plain(Value::Str(text.clone()))),
            _ => Err(self.arg_error(frame, first, "nil is not a command")),
        }
    }

    fn not_a_function(
        &self,
        frame: &Frame,
        first: &Arg,
        command: &Command,
        last: Option<&Operand>,
    ) -> Result<(), Error> {
        if command.args.len() > 1 || last.is_some() {
            let message = format_args!("can't give argument to non-function {first}");
            return Err(self.arg_error(frame, first, message));
        }
        Ok(())
    }

    fn variable(&self, frame: &Frame, arg: &Arg, name: &str) -> Result<Operand, Error> {
        match frame.vars.iter().rev().find(|(known, _)| &**known == name) {
            Some((_, value)) => Ok(value.clone()),
            None => Err(self.arg_error(frame, arg, format_args!("undefined variable: {name}"))),
        }
    }

    fn constant(&self, frame: &Frame, arg: &Arg, number: &Number) -> Result<Value, Error> {
        let text = &*number.text;
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
        frame: &mut Frame,
        dot: &Operand,
        chain: &Arg,
        inner: &Arg,
    ) -> Result<Operand, Error> {
        match &inner.kind {
            ArgKind::Nil => {
                let message = format_args!("indirection through explicit nil in {chain}");
                Err(self.arg_error(frame, chain, message))
            }
            ArgKind::Pipe(pipe) => self.eval_pipeline(frame, dot, pipe),
            ArgKind::Function(function) => {
                let command = Command { args: Vec::new() };
                self.eval_function(frame, dot, function, inner, &command, None)
            }
            _ => self.eval_any(frame, dot, inner),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one access, passed through")]
    fn eval_chain(
        &mut self,
        frame: &mut Frame,
        dot: &Operand,
        mut receiver: Operand,
        node: &Arg,
        names: &[Str],
        args: &[Arg],
        last: Option<Operand>,
    ) -> Result<Operand, Error> {
        let Some((name, before)) = names.split_last() else { return Ok(receiver) };
        for name in before {
            receiver = self.eval_field(frame, dot, node, name, &[], None, receiver)?;
        }
        self.eval_field(frame, dot, node, name, args, last, receiver)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one access, passed through")]
    fn eval_field(
        &mut self,
        frame: &mut Frame,
        dot: &Operand,
        node: &Arg,
        name: &Str,
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
                let interface = map.kind() != MapKind::Strings;
                Ok(match map.get(name) {
                    Some(value) => Operand { value, interface },
                    None if self.missing_key == MissingKey::Error => {
                        let message =
                            format_args!("map has no entry for key {}", crate::quote(name.text().as_bytes()));
                        return Err(self.arg_error(frame, node, message));
                    }
                    None if interface => Operand { value: Value::Nil, interface },
                    None => Operand::plain(Value::Str(Str::default())),
                })
            }
            Value::Object(object) => match object.field(&name.text()) {
                Some(Field::Value(_)) if has_args => {
                    let message = format_args!("{name} has arguments but cannot be invoked as function");
                    Err(self.arg_error(frame, node, message))
                }
                Some(Field::Value(value)) => Ok(Operand::plain(value)),
                Some(Field::Method { arguments }) => {
                    let object = std::rc::Rc::clone(object);
                    let values = self.method_arguments(frame, dot, node, name, args, last, arguments)?;
                    match object.call(&name.text(), &values) {
                        Ok(value) => Ok(Operand::plain(value)),
                        Err(text) => {
                            Err(self.call_error(frame, node.position, node, &name.text(), Error::new(text)))
                        }
                    }
                }
                None => match object.entry(name) {
                    Some(value) => Ok(Operand::plain(value)),
                    None => self.no_field(frame, node, name, &receiver),
                },
            },
            _ => self.no_field(frame, node, name, &receiver),
        }
    }

    fn no_field(&self, frame: &Frame, node: &Arg, name: &Str, receiver: &Operand) -> Result<Operand, Error> {
        let message = format_args!("can't evaluate field {name} in type {}", receiver.type_name());
        Err(self.arg_error(frame, node, message))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one call, passed through")]
    fn method_arguments(
        &mut self,
        frame: &mut Frame,
        dot: &Operand,
        node: &Arg,
        name: &Str,
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
        frame: &mut Frame,
        dot: &Operand,
        wanted: Type,
        arg: &Arg,
    ) -> Result<Value, Error> {
        frame.stopped = None;
        match &arg.kind {
            ArgKind::Nil if wanted.can_be_nil() => Ok(Value::Nil),
            ArgKind::Nil => Err(self.arg_error(frame, arg, format_args!("cannot assign nil to {wanted}"))),
            ArgKind::Dot
            | ArgKind::Field(_)
            | ArgKind::Variable(..)
            | ArgKind::Pipe(_)
            | ArgKind::Function(_)
            | ArgKind::Chain(..) => {
                let value = self.eval_any(frame, dot, arg)?;
                let seen = arg.last_evaluated();
                self.fit(frame, seen.position, seen, value, wanted)
            }
            ArgKind::Bool(value) if wanted.takes_bool() => Ok(Value::Bool(*value)),
            ArgKind::String(_, text) if wanted.takes_string() => Ok(Value::Str(text.clone())),
            ArgKind::Number(number) => self.number_arg(frame, wanted, arg, number),
            _ => self.unfit_constant(frame, wanted, arg),
        }
    }

    fn number_arg(&self, frame: &Frame, wanted: Type, arg: &Arg, number: &Number) -> Result<Value, Error> {
        match wanted {
            Type::Any | Type::Value => self.constant(frame, arg, number),
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

    fn unfit_constant(&self, frame: &Frame, wanted: Type, arg: &Arg) -> Result<Value, Error> {
        let message = match wanted {
            Type::Bool => format!("expected bool; found {arg}"),
            Type::Str => format!("expected string; found {arg}"),
            Type::Int => format!("expected integer; found {arg}"),
            Type::Uint32 => format!("expected unsigned integer; found {arg}"),
            Type::Float => format!("expected float; found {arg}"),
            _ => format!("can't handle {arg} for arg of type {wanted}"),
        };
        Err(self.arg_error(frame, arg, message))
    }

    /// An operand that is no constant, or a constant without a wanted type.
    pub(super) fn eval_any(&mut self, frame: &mut Frame, dot: &Operand, arg: &Arg) -> Result<Operand, Error> {
        match &arg.kind {
            ArgKind::Dot => Ok(dot.clone()),
            ArgKind::Field(names) => self.eval_chain(frame, dot, dot.clone(), arg, names, &[], None),
            ArgKind::Variable(name, names) => {
                let value = self.variable(frame, arg, name)?;
                self.eval_chain(frame, dot, value, arg, names, &[], None)
            }
            ArgKind::Pipe(pipe) => self.eval_pipeline(frame, dot, pipe),
            ArgKind::Function(function) => {
                let command = Command { args: Vec::new() };
                self.eval_function(frame, dot, function, arg, &command, None)
            }
            ArgKind::Chain(inner, names) => {
                let receiver = self.eval_chain_receiver(frame, dot, arg, inner)?;
                self.eval_chain(frame, dot, receiver, arg, names, &[], None)
            }
            ArgKind::Bool(value) => Ok(Operand::plain(Value::Bool(*value))),
            ArgKind::Number(number) => self.constant(frame, arg, number).map(Operand::plain),
            ArgKind::String(_, text) => Ok(Operand::plain(Value::Str(text.clone()))),
            ArgKind::Nil => Err(self.arg_error(frame, arg, "evalEmptyInterface: nil (can't happen)")),
        }
    }

    /// `validateType`: a value as a parameter's type, or the reason why not.
    pub(super) fn fit(
        &self,
        frame: &Frame,
        position: usize,
        node: &dyn std::fmt::Display,
        operand: Operand,
        wanted: Type,
    ) -> Result<Value, Error> {
        let template = Arc::clone(&frame.template);
        let stopped = frame.stopped.and_then(|position| template.root.arg_at(position));
        let (position, node): (usize, &dyn std::fmt::Display) =
            stopped.map_or((position, node), |arg| (arg.position, arg));
        if operand.value.is_nil() && !operand.interface {
            if wanted.can_be_nil() {
                return Ok(Value::Nil);
            }
            let message = format_args!("invalid value; expected {wanted}");
            return Err(self.error(frame, position, node, message));
        }
        match wanted.accept(operand.value) {
            Ok(value) => Ok(value),
            Err(value) => {
                let found = if value.is_nil() { "interface {}" } else { value.type_name() };
                let message = format_args!("wrong type for value; expected {wanted}; got {found}");
                Err(self.error(frame, position, node, message))
            }
        }
    }
}
