//! Execution of templates.

mod call;
mod eval;
mod limits;
mod walk;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::ast::{Arg, Source, Template};
use crate::environment::Environment;
use crate::error::Error;
use crate::hash::Quick;
use crate::parse;
use crate::set::Templates;
use crate::value::{Str, Value};
pub use limits::Limits;
use limits::Meter;

/// A value together with whether Go would hold it in a variable of type `interface {}`, on which the text of some
/// errors (and what a nil does) depends.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    pub(crate) value: Value,
    pub(crate) interface: bool,
}

impl Operand {
    pub(crate) fn plain(value: Value) -> Self {
        Self { value, interface: false }
    }

    fn type_name(&self) -> &'static str {
        if self.interface { "interface {}" } else { self.value.type_name() }
    }
}

/// Parsed texts of `tpl` by text; the same snippet is often rendered many times.
type Parsed = RefCell<HashMap<Str, Result<Rc<[Arc<Template>]>, parse::ParseError>, Quick>>;

/// One execution: what functions reach through their first argument.
///
/// Templates are parsed once and executed as often as one likes; what an execution may take is bounded, and whether its
/// result can be had again is known afterwards.
///
/// ```
/// use gotmpl::{Functions, Limits, Machine, Offline, Templates, Value};
///
/// let mut templates = Templates::new(Functions::helm());
/// templates.parse("endless", "{{ range until 1000 }}{{ range until 1000 }}x{{ end }}{{ end }}").unwrap();
/// templates.parse("dated", "{{ now | date \"2006\" }}").unwrap();
///
/// let limits = Limits { steps: 10_000, ..Limits::default() };
/// let error = Machine::new(&templates, &Offline, limits).execute("endless", &Value::Nil).unwrap_err();
/// assert!(error.to_string().contains("exceeded maximum number of steps"));
///
/// let mut machine = Machine::new(&templates, &Offline, Limits::default());
/// assert_eq!(machine.execute("dated", &Value::Nil).unwrap(), "1970");
/// assert!(machine.is_nondeterministic());
/// ```
pub struct Machine<'e> {
    pub(crate) templates: Templates,
    environment: &'e dyn Environment,
    meter: Meter,
    parsed: Parsed,
    /// How many executions of each name are open in `include`.
    pub(crate) included: HashMap<Str, u32, Quick>,
    nondeterministic: bool,
    missing_key: MissingKey,
}

/// What a field is that a map does not have: the option `missingkey` of Go's templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingKey {
    /// No value, or the empty text in a map of texts.
    #[default]
    Default,
    /// The execution ends with an error that names it.
    Error,
}

impl std::fmt::Debug for Machine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}

/// What executing one template needs to know.
struct Frame<'t> {
    template: &'t Template,
    source: &'t Source,
    vars: Vec<(&'t str, Operand)>,
    /// Where `and` or `or` stopped before its last argument, as long as nothing was evaluated since.
    stopped: Option<u32>,
    /// Whether the last argument that was nil is a nil that something holds.
    held_nil: bool,
}

/// The variable that every template begins with.
const ROOT: &str = "$";

/// How much stack one template may need until it calls another, and how much more is taken when less is left.
const STACK_LEFT: usize = 1 << 20;
const STACK_PART: usize = 16 << 20;

/// How `include` refuses to go on, and how deep it may go in one name.
const MAX_INCLUDES: u32 = 1000;

impl<'e> Machine<'e> {
    #[must_use]
    pub fn new(templates: &Templates, environment: &'e dyn Environment, limits: Limits) -> Self {
        Self {
            templates: templates.clone(),
            environment,
            meter: Meter::new(limits),
            parsed: RefCell::default(),
            included: HashMap::default(),
            missing_key: MissingKey::Default,
            nondeterministic: false,
        }
    }

    /// The same, where a field that a map does not have is treated like this.
    #[must_use]
    pub fn missing_key(mut self, missing_key: MissingKey) -> Self {
        self.missing_key = missing_key;
        self
    }

    /// Executes a template by its name.
    ///
    /// # Errors
    /// With Go's text; also when a limit is exceeded.
    pub fn execute(&mut self, name: &str, data: &Value) -> Result<Str, Error> {
        let Some(template) = self.templates.get(name) else {
            let name = crate::quote::quote(name.as_bytes());
            let text = format!("template: no template {name} associated with template \"gotpl\"");
            return Err(Error::new(text));
        };
        let template = Arc::clone(template);
        self.run(template, data)
    }

    /// Whether a function that is random or reads the clock was called so far.
    #[must_use]
    pub fn is_nondeterministic(&self) -> bool {
        self.nondeterministic
    }

    /// What lies outside. A function whose result differs from one execution to the next says so by
    /// [`Machine::mark_nondeterministic`].
    #[must_use]
    pub fn environment(&self) -> &'e dyn Environment {
        self.environment
    }

    pub fn mark_nondeterministic(&mut self) {
        self.nondeterministic = true;
    }

    /// Executes a template as `include` does: so many levels of one name, then an error.
    pub(crate) fn include(&mut self, name: &Str, data: &Value) -> Result<Str, Error> {
        let open = self.included.entry(name.clone()).or_insert(0);
        if *open > MAX_INCLUDES {
            let text = format!("rendering template has a nested reference name: {name}");
            return Err(Error::wrap(text, Error::new("unable to execute template")));
        }
        *open += 1;
        let result = self.execute(&name.text(), data);
        if let Some(open) = self.included.get_mut(name) {
            *open -= 1;
        }
        result
    }

    /// Executes a text as `tpl` does: templates it defines are known while it runs, and only then.
    pub(crate) fn expand(&mut self, text: &Str, data: &Value) -> Result<Str, Error> {
        let parsed = self.parsed.borrow().get(text).cloned();
        let parsed = parsed.unwrap_or_else(|| {
            let parsed = parse::parse("gotpl", &text.text(), self.templates.functions()).map(Rc::from);
            self.parsed.borrow_mut().insert(text.clone(), parsed.clone());
            parsed
        });
        let quoted = || crate::quote::quote(text);
        let parsed: Rc<[Arc<Template>]> = parsed.map_err(|error| {
            Error::wrap(format_args!("cannot parse template {}", quoted()), Error::new(error.to_string()))
        })?;
        let main = Arc::clone(&parsed[0]);
        let result = if parsed.len() > 1 {
            let outer = self.templates.clone();
            self.templates.add(&parsed[1..]);
            let result = self.run(main, data);
            self.templates = outer;
            result
        } else {
            self.run(main, data)
        };
        let output = result.map_err(|error| {
            Error::wrap(format_args!("error during tpl function execution for {}", quoted()), error)
        })?;
        Ok(remove_no_value(output))
    }

    fn run(&mut self, template: Arc<Template>, data: &Value) -> Result<Str, Error> {
        let mut out = Vec::new();
        self.run_into(template, Operand::plain(data.clone()), &mut out)?;
        Ok(out.into())
    }

    fn run_into(&mut self, template: Arc<Template>, dot: Operand, out: &mut Vec<u8>) -> Result<(), Error> {
        self.meter
            .enter()
            .map_err(|text| Error::executing(format!("template: {}: {text}", template.name), None))?;
        let vars = vec![(ROOT, dot.clone())];
        let source = &template.source;
        let mut frame = Frame { vars, template: &template, source, stopped: None, held_nil: false };
        // Templates call each other through the native stack.
        let result =
            stacker::maybe_grow(STACK_LEFT, STACK_PART, || self.walk(&mut frame, &dot, template.root, out));
        self.meter.leave();
        result.map(|_| ())
    }

    /// An error at a node of the frame's template.
    fn error(
        &self,
        frame: &Frame<'_>,
        position: u32,
        node: &dyn std::fmt::Display,
        message: impl std::fmt::Display,
    ) -> Error {
        self.error_from(frame, position, node, message, None)
    }

    fn error_from(
        &self,
        frame: &Frame<'_>,
        position: u32,
        node: &dyn std::fmt::Display,
        message: impl std::fmt::Display,
        cause: Option<Error>,
    ) -> Error {
        let location = frame.source.location(position);
        let name = crate::quote::quote(frame.template.name.as_bytes());
        Error::executing(format!("template: {location}: executing {name} at <{node}>: {message}"), cause)
    }

    fn arg_error(&self, frame: &Frame<'_>, arg: &Arg, message: impl std::fmt::Display) -> Error {
        self.error(frame, arg.position, &frame.source.show_arg(arg), message)
    }
}

/// Helm takes Go's mark for a missing value out of the text.
#[must_use]
pub fn remove_no_value(text: Str) -> Str {
    const MARK: &[u8] = b"<no value>";
    let finder = memchr::memmem::Finder::new(MARK);
    if finder.find(&text).is_none() {
        return text;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest: &[u8] = &text;
    while let Some(at) = finder.find(rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + MARK.len()..];
    }
    out.extend_from_slice(rest);
    out.into()
}
