//! Nodes that write or control.

use super::{Frame, Machine, Operand};
use crate::ast::{Branch, List, Node, PipeId};
use crate::error::Error;
use crate::value::{ListKind, Value};

/// How a list of nodes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    Break,
    Continue,
}

impl Machine<'_> {
    pub(super) fn walk(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Operand,
        list: List,
        out: &mut Vec<u8>,
    ) -> Result<Flow, Error> {
        for node in frame.source.nodes(list) {
            let flow = self.walk_node(frame, dot, node, out)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn limit(&self, frame: &Frame<'_>, result: Result<(), String>) -> Result<(), Error> {
        result.map_err(|text| Error::executing(format!("template: {}: {text}", frame.template.name), None))
    }

    fn write(&mut self, frame: &Frame<'_>, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let written = self.meter.written(bytes.len());
        self.limit(frame, written)?;
        out.extend_from_slice(bytes);
        Ok(())
    }

    fn walk_node(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Operand,
        node: &Node,
        out: &mut Vec<u8>,
    ) -> Result<Flow, Error> {
        let step = self.meter.step();
        self.limit(frame, step)?;
        match node {
            Node::Text(span) => self.write(frame, frame.source.text(*span).as_bytes(), out)?,
            Node::Constant(span) => {
                frame.stopped = None;
                self.write(frame, frame.source.text(*span).as_bytes(), out)?;
            }
            Node::Action(pipe) => {
                let value = self.eval_pipeline(frame, dot, *pipe)?;
                if frame.source.pipe(*pipe).decl.is_empty() {
                    self.print(frame, &value.value, out)?;
                }
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::If(branch) => return self.walk_if(frame, dot, branch, false, out),
            Node::With(branch) => return self.walk_if(frame, dot, branch, true, out),
            Node::Range(branch) => return self.walk_range(frame, dot, branch, out),
            Node::Template { position, name, pipe } => {
                self.walk_template(frame, dot, (*position, *name, *pipe), out)?;
            }
        }
        Ok(Flow::Next)
    }

    fn print(&mut self, frame: &Frame<'_>, value: &Value, out: &mut Vec<u8>) -> Result<(), Error> {
        match value {
            Value::Nil => self.write(frame, b"<no value>", out),
            Value::Str(text) => self.write(frame, text, out),
            Value::Object(object) => self.write(frame, object.printed().as_bytes(), out),
            other => {
                let mut text = Vec::new();
                crate::format::display(other, &mut text);
                self.write(frame, &text, out)
            }
        }
    }

    fn walk_if(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Operand,
        branch: &Branch,
        with: bool,
        out: &mut Vec<u8>,
    ) -> Result<Flow, Error> {
        let vars = frame.vars.len();
        let value = self.eval_pipeline(frame, dot, branch.pipe)?;
        let flow = if value.value.is_true() {
            self.walk(frame, if with { &value } else { dot }, branch.list, out)
        } else if let Some(list) = branch.else_list {
            self.walk(frame, dot, list, out)
        } else {
            Ok(Flow::Next)
        };
        frame.vars.truncate(vars);
        flow
    }

    fn walk_range(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Operand,
        branch: &Branch,
        out: &mut Vec<u8>,
    ) -> Result<Flow, Error> {
        let vars = frame.vars.len();
        let value = self.eval_pipeline(frame, dot, branch.pipe)?.value;
        let entries = self.range_entries(frame, branch, &value)?;
        let mut flow = Flow::Next;
        if entries.is_empty() {
            if let Some(list) = branch.else_list {
                flow = self.walk(frame, dot, list, out)?;
            }
        } else {
            let inner = frame.vars.len();
            for (key, element) in entries {
                Self::bind(frame, branch.pipe, key, &element);
                let ended = self.walk(frame, &element, branch.list, out)?;
                frame.vars.truncate(inner);
                if ended == Flow::Break {
                    break;
                }
            }
        }
        frame.vars.truncate(vars);
        Ok(flow)
    }

    /// What a range goes through; `None` for the key of an integer's.
    fn range_entries(
        &self,
        frame: &Frame<'_>,
        branch: &Branch,
        value: &Value,
    ) -> Result<Vec<(Option<Value>, Operand)>, Error> {
        let index = |at: usize| Some(Value::int(i64::try_from(at).unwrap_or(i64::MAX)));
        let error = |message: String| match frame.source.last_of_pipe(branch.pipe) {
            Some(arg) => self.arg_error(frame, arg, message),
            None => self.error(frame, branch.position, &frame.source.show_pipe(branch.pipe), message),
        };
        match value {
            Value::Nil => Ok(Vec::new()),
            Value::Int(kind, count) => {
                if frame.source.pipe(branch.pipe).decl.len() > 1 {
                    return Err(error(format!("can't use {count} to iterate over more than one variable")));
                }
                // More would exceed the limit of steps in any case.
                let count = (*count).min(100_000_000);
                Ok((0..count).map(|at| (None, Operand::plain(Value::Int(*kind, at)))).collect())
            }
            Value::List(list) => {
                let interface = list.kind() == ListKind::Any;
                let items = list.to_vec().into_iter().enumerate();
                Ok(items.map(|(at, value)| (index(at), Operand { value, interface })).collect())
            }
            Value::Map(map) => {
                let interface = !map.kind().is_strings();
                let entries = map.to_vec().into_iter();
                Ok(entries
                    .map(|(key, value)| (Some(Value::Str(key)), Operand { value, interface }))
                    .collect())
            }
            Value::Object(object) if object.entries().is_some() => {
                let entries = object.entries().unwrap_or_default().into_iter();
                Ok(entries.map(|(key, value)| (Some(key), Operand::plain(value))).collect())
            }
            other => {
                let mut text = Vec::new();
                crate::format::display(other, &mut text);
                Err(error(format!("range can't iterate over {}", String::from_utf8_lossy(&text))))
            }
        }
    }

    fn bind(frame: &mut Frame<'_>, pipe: PipeId, key: Option<Value>, element: &Operand) {
        let key = Operand::plain(key.unwrap_or_default());
        let top = frame.vars.len();
        let source = frame.source;
        let pipe = source.pipe(pipe);
        match (source.names(pipe.decl), pipe.is_assign) {
            ([name], true) => set_var(frame, source.text(*name), element.clone()),
            ([first, second], true) => {
                set_var(frame, source.text(*first), key);
                set_var(frame, source.text(*second), element.clone());
            }
            // The pipeline declared them already; these are the same slots.
            ([_], false) => frame.vars[top - 1].1 = element.clone(),
            ([_, _], false) => {
                frame.vars[top - 1].1 = element.clone();
                frame.vars[top - 2].1 = key;
            }
            _ => {}
        }
    }

    fn walk_template(
        &mut self,
        frame: &mut Frame<'_>,
        dot: &Operand,
        (position, name, pipe): (u32, u32, Option<PipeId>),
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let name = &*frame.source.string(name).text();
        let Some(template) = self.templates.get(name).cloned() else {
            let call = frame.source.show_call(name, pipe);
            let name = crate::quote::quote(name.as_bytes());
            return Err(self.error(frame, position, &call, format_args!("template {name} not defined")));
        };
        let vars = frame.vars.len();
        let dot = match pipe {
            Some(pipe) => self.eval_pipeline(frame, dot, pipe)?,
            None => Operand::plain(Value::Nil),
        };
        frame.vars.truncate(vars);
        self.run_into(template, dot, out)
    }
}

pub(super) fn set_var(frame: &mut Frame<'_>, name: &str, value: Operand) {
    if let Some(slot) = frame.vars.iter_mut().rev().find(|(known, _)| *known == name) {
        slot.1 = value;
    }
}
