//! Calls of functions.

use super::{Frame, Machine, Operand};
use crate::ast::{Arg, Command, Show};
use crate::error::Error;
use crate::funcs::{Function, Run};
use crate::value::Value;

impl Machine<'_> {
    pub(super) fn eval_function(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Operand,
        function: &Function,
        node: &Arg,
        command: Command,
        last: Option<Operand>,
    ) -> Result<Operand, Error> {
        let source = frame.source;
        let args = source.args(command).get(1..).unwrap_or_default();
        self.check_count(frame, function, node, args.len(), last.is_some())?;
        match function.run {
            Run::And => self.eval_and_or(frame, dot, args, last, false),
            Run::Or => self.eval_and_or(frame, dot, args, last, true),
            Run::Call => {
                let values = self.arguments(frame, dot, function, node, args, last)?;
                let error = match (&values[0], args.first()) {
                    (Value::Nil, _) => "call of nil".to_owned(),
                    (value, Some(arg)) => {
                        format!("non-function {} of type {}", source.show_arg(arg), value.type_name())
                    }
                    (Value::Str(text), None) => format!("non-function {text} of type string"),
                    (value, None) => {
                        let name = value.type_name();
                        format!("non-function <{name} Value> of type {name}")
                    }
                };
                {
                    let (shown, error) = (source.show_command(command), Error::new(error));
                    Err(self.call_error(frame, node.position, &shown, function.name, error))
                }
            }
            Run::Length | Run::Plain(_) => {
                frame.held_nil = false;
                let values = self.arguments(frame, dot, function, node, args, last)?;
                let result = match function.run {
                    Run::Plain(run) => run(self, &values),
                    _ => crate::funcs::length(&values[0], frame.held_nil),
                };
                match result {
                    Ok(value) => Ok(Operand::plain(value)),
                    // The position is that of the whole command (or of the lone name).
                    Err(error) => {
                        let shown = if command.args.is_empty() {
                            source.show_arg(node)
                        } else {
                            source.show_command(command)
                        };
                        Err(self.call_error(frame, node.position, &shown, function.name, error))
                    }
                }
            }
        }
    }

    pub(super) fn call_error(
        &self,
        frame: &Frame<'_>,
        position: u32,
        node: &Show<'_>,
        name: &str,
        error: Error,
    ) -> Error {
        let message = format!("error calling {name}: {error}");
        self.error_from(frame, position, node, message, Some(error))
    }

    fn check_count(
        &self,
        frame: &Frame<'_>,
        function: &Function,
        node: &Arg,
        args: usize,
        last: bool,
    ) -> Result<(), Error> {
        let given = args + usize::from(last);
        let wanted = function.params.len();
        let name = function.name;
        if function.rest.is_some() {
            if given < wanted {
                let message =
                    format_args!("wrong number of args for {name}: want at least {wanted} got {args}");
                return Err(self.arg_error(frame, node, message));
            }
        } else if given != wanted {
            let message = format_args!("wrong number of args for {name}: want {wanted} got {given}");
            return Err(self.arg_error(frame, node, message));
        }
        Ok(())
    }

    /// Stops at the first argument that decides.
    fn eval_and_or(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Operand,
        args: &[Arg],
        last: Option<Operand>,
        stop_at: bool,
    ) -> Result<Operand, Error> {
        let mut value = Value::Nil;
        for arg in args {
            value = self.eval_arg(frame, dot, crate::funcs::Type::Value, arg)?;
            if value.is_true() == stop_at {
                frame.stopped = Some(frame.source.last_evaluated(arg).position);
                return Ok(Operand::plain(value));
            }
        }
        Ok(last.unwrap_or_else(|| Operand::plain(value)))
    }

    fn arguments(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Operand,
        function: &Function,
        node: &Arg,
        args: &[Arg],
        last: Option<Operand>,
    ) -> Result<Vec<Value>, Error> {
        let kind = |index: usize| {
            function.params.get(index).copied().or(function.rest).unwrap_or(crate::funcs::Type::Any)
        };
        let mut values = Vec::with_capacity(args.len() + 1);
        for (index, arg) in args.iter().enumerate() {
            values.push(self.eval_arg(frame, dot, kind(index), arg)?);
        }
        if let Some(last) = last {
            // Go reports the last node it looked at: an argument, or the function's name.
            let seen = args.last().map_or(node, |arg| frame.source.last_evaluated(arg));
            let value = self.fit(frame, seen, last, kind(args.len()))?;
            values.push(value);
        }
        Ok(values)
    }
}
