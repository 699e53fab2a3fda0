//! Tokens to templates.

mod number;

pub(crate) use number::{parse_float, parse_int};

use std::sync::Arc;

use crate::ast::{Arg, ArgKind, Branch, Code, Command, List, Node, Pipe, PipeId, Source, Span, Template};
use crate::funcs::Functions;
use crate::lex::{Kind, Lexer, Token};
use crate::quote::unquote;

/// How deep parentheses and blocks may nest.
const MAX_NESTING: usize = 150;

/// A text that is no template; worded as Go words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {name}:{line}: {message}")]
pub struct ParseError {
    name: String,
    line: usize,
    message: String,
}

impl ParseError {
    /// The line of the trouble, counted from one.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }
}

/// Parses a text; gives the template of the text itself first, then those it defines in the order of their ends.
pub(crate) fn parse(name: &str, text: &str, functions: &Functions) -> Result<Vec<Arc<Template>>, ParseError> {
    if u32::try_from(text.len()).is_err() {
        let message = "the template is larger than 4 GiB".to_owned();
        return Err(ParseError { name: name.to_owned(), line: 1, message });
    }
    let mut parser = Parser {
        lexer: Lexer::new(text),
        name,
        input: text,
        functions,
        code: Code::default(),
        open: Open::default(),
        tokens: [Token { kind: Kind::Eof, position: 0, end: 0 }; 3],
        peeked: 0,
        vars: vec!["$"],
        range_depth: 0,
        nesting: 0,
        action: None,
        defined: Vec::new(),
    };
    let root = parser.top()?;
    parser.add(name.into(), root)?;
    let Parser { code, mut defined, .. } = parser;
    if let Some(at) = defined.iter().position(|(known, _)| **known == *name) {
        defined[..=at].rotate_right(1);
    }
    let source = Arc::new(Source { name: name.into(), text: text.into(), code });
    let template = |(name, root)| Arc::new(Template { name, source: Arc::clone(&source), root });
    Ok(defined.into_iter().map(template).collect())
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    name: &'a str,
    input: &'a str,
    functions: &'a Functions,
    code: Code,
    open: Open,
    tokens: [Token; 3],
    peeked: usize,
    vars: Vec<&'a str>,
    range_depth: usize,
    nesting: usize,
    /// Where the action that is being read begins.
    action: Option<u32>,
    defined: Vec<(Arc<str>, List)>,
}

/// Parts whose list is not complete: they move to the code together, so that they lie there next to each other.
#[derive(Default)]
struct Open {
    nodes: Vec<Node>,
    commands: Vec<Command>,
    args: Vec<Arg>,
}

/// Moves what was opened from `first` on.
fn close<T>(open: &mut Vec<T>, first: usize, list: &mut Vec<T>) -> Span {
    let start = Code::next(list);
    list.extend(open.drain(first..));
    Span { start, end: Code::next(list) }
}

/// How a list of nodes ended.
enum End {
    End,
    /// The `else`, and whether `if` or `with` follow it at once.
    Else,
}

type Result_<T> = Result<T, ParseError>;

impl<'a> Parser<'a> {
    fn next(&mut self) -> Token {
        if self.peeked > 0 {
            self.peeked -= 1;
        } else {
            self.tokens[0] = self.lexer.next();
        }
        self.tokens[self.peeked]
    }

    fn backup(&mut self) {
        self.peeked += 1;
    }

    fn peek(&mut self) -> Token {
        if self.peeked > 0 {
            return self.tokens[self.peeked - 1];
        }
        self.peeked = 1;
        self.tokens[0] = self.lexer.next();
        self.tokens[0]
    }

    fn next_non_space(&mut self) -> Token {
        loop {
            let token = self.next();
            if token.kind != Kind::Space {
                return token;
            }
        }
    }

    fn peek_non_space(&mut self) -> Token {
        let token = self.next_non_space();
        self.backup();
        token
    }

    fn error<T>(&self, message: impl Into<String>) -> Result_<T> {
        Err(ParseError {
            name: self.name.to_owned(),
            line: self.line(self.tokens[0].position),
            message: message.into(),
        })
    }

    /// The line of a position, counted from one.
    fn line(&self, position: u32) -> usize {
        memchr::memchr_iter(b'\n', &self.input.as_bytes()[..position as usize]).count() + 1
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Result_<T> {
        let described = self.lexer.describe(token);
        if token.kind == Kind::Error {
            let mut extra = String::new();
            if let Some(action) = self.action.map(|action| self.line(action))
                && action != self.line(token.position)
            {
                extra = format!(" in action started at {}:{action}", self.name);
                if described.ends_with(" action") {
                    extra = extra[" in action".len()..].to_owned();
                }
            }
            return self.error(format!("{described}{extra}"));
        }
        self.error(format!("unexpected {described} in {context}"))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result_<Token> {
        let token = self.next_non_space();
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, context) }
    }

    fn enter(&mut self) -> Result_<()> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return self.error("max expression depth exceeded");
        }
        Ok(())
    }

    fn add(&mut self, name: Arc<str>, root: List) -> Result_<()> {
        let is_empty = |root| self.code.is_blank(self.input, root);
        match self.defined.iter().position(|(known, _)| *known == name) {
            None => self.defined.push((name, root)),
            Some(at) if is_empty(self.defined[at].1) => self.defined[at].1 = root,
            Some(_) if !is_empty(root) => {
                let name = crate::quote::quote(name.as_bytes());
                return self.error(format!("template: multiple definition of template {name}"));
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn top(&mut self) -> Result_<List> {
        while self.peek().kind != Kind::Eof {
            if self.peek().kind == Kind::LeftDelim {
                let delim = self.next();
                if self.next_non_space().kind == Kind::Define {
                    self.definition()?;
                    continue;
                }
                self.tokens[1] = delim;
                self.peeked = 2;
            }
            match self.text_or_action()? {
                Item::Node(node) => self.open.nodes.push(node),
                Item::End(End::End) => return self.error("unexpected {{end}}"),
                Item::End(End::Else) => return self.error("unexpected {{else}}"),
            }
        }
        Ok(List(close(&mut self.open.nodes, 0, &mut self.code.nodes)))
    }

    fn definition(&mut self) -> Result_<()> {
        const CONTEXT: &str = "define clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        self.expect(Kind::RightDelim, CONTEXT)?;
        self.named(name, CONTEXT)
    }

    /// The body of a `define` or a `block`.
    fn named(&mut self, name: u32, context: &str) -> Result_<()> {
        let outer_vars = std::mem::replace(&mut self.vars, vec!["$"]);
        let outer_depth = std::mem::take(&mut self.range_depth);
        let (root, end) = self.item_list()?;
        if matches!(end, End::Else) {
            return self.error(format!("unexpected {{{{else}}}} in {context}"));
        }
        self.vars = outer_vars;
        self.range_depth = outer_depth;
        let name = self.code.strings[name as usize].text().into();
        self.add(name, root)
    }

    /// The literal's place among the strings.
    fn unquoted(&mut self, token: &Token) -> Result_<u32> {
        let Some(bytes) = unquote(token.text(self.input)) else { return self.error("invalid syntax") };
        self.code.strings.push(bytes.into());
        Ok(Code::next(&self.code.strings) - 1)
    }

    fn item_list(&mut self) -> Result_<(List, End)> {
        self.enter()?;
        let first = self.open.nodes.len();
        while self.peek_non_space().kind != Kind::Eof {
            match self.text_or_action()? {
                Item::Node(node) => self.open.nodes.push(node),
                Item::End(end) => {
                    self.nesting -= 1;
                    let list = List(close(&mut self.open.nodes, first, &mut self.code.nodes));
                    return Ok((list, end));
                }
            }
        }
        self.error("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Result_<Item> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text(token.span()))),
            Kind::LeftDelim => {
                self.action = Some(token.position);
                let item = self.action();
                if item.is_ok() {
                    self.action = None;
                }
                item
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Result_<Item> {
        let token = self.next_non_space();
        let node = match token.kind {
            Kind::Block => self.block()?,
            Kind::Break => {
                self.loop_control("{{break}}")?;
                Node::Break
            }
            Kind::Continue => {
                self.loop_control("{{continue}}")?;
                Node::Continue
            }
            Kind::Else => return self.else_control().map(Item::End),
            Kind::End => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Item::End(End::End));
            }
            Kind::If => Node::If(self.control("if")?),
            Kind::Range => Node::Range(self.control("range")?),
            Kind::With => Node::With(self.control("with")?),
            Kind::Template => self.template()?,
            _ => {
                self.backup();
                let pipe = self.pipeline("command", Kind::RightDelim)?;
                self.constant(pipe).map_or(Node::Action(pipe), Node::Constant)
            }
        };
        Ok(Item::Node(node))
    }

    /// What an action writes that is nothing but a string.
    fn constant(&self, pipe: PipeId) -> Option<Span> {
        let pipe = self.code.pipes[pipe.0 as usize];
        match (&self.code.commands[pipe.commands.range()], pipe.decl.is_empty()) {
            ([command], true) => match self.code.args[command.args.range()] {
                [Arg { kind: ArgKind::String(literal, None), .. }] => {
                    Some(Span { start: literal.start + 1, end: literal.end - 1 })
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn loop_control(&mut self, name: &str) -> Result_<()> {
        let token = self.next_non_space();
        if token.kind != Kind::RightDelim {
            return self.unexpected(&token, name);
        }
        if self.range_depth == 0 {
            return self.error(format!("{name} outside {{{{range}}}}"));
        }
        Ok(())
    }

    fn else_control(&mut self) -> Result_<End> {
        if !matches!(self.peek_non_space().kind, Kind::If | Kind::With) {
            self.expect(Kind::RightDelim, "else")?;
        }
        Ok(End::Else)
    }

    fn control(&mut self, context: &str) -> Result_<Branch> {
        self.enter()?;
        let vars = self.vars.len();
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        if context == "range" {
            self.range_depth += 1;
        }
        let (list, end) = self.item_list()?;
        if context == "range" {
            self.range_depth -= 1;
        }
        let mut else_list = None;
        if matches!(end, End::Else) {
            let next = self.peek().kind;
            if context == "if" && next == Kind::If {
                self.next();
                let branch = self.control("if")?;
                else_list = Some(self.alone(Node::If(branch)));
            } else if context == "with" && next == Kind::With {
                self.next();
                let branch = self.control("with")?;
                else_list = Some(self.alone(Node::With(branch)));
            } else {
                let (list, end) = self.item_list()?;
                if matches!(end, End::Else) {
                    return self.error("expected end; found {{else}}");
                }
                else_list = Some(list);
            }
        }
        self.vars.truncate(vars);
        self.nesting -= 1;
        let position = self.code.pipes[pipe.0 as usize].position;
        Ok(Branch { position, pipe, list, else_list })
    }

    /// A list of one node.
    fn alone(&mut self, node: Node) -> List {
        let start = Code::next(&self.code.nodes);
        self.code.nodes.push(node);
        List(Span { start, end: start + 1 })
    }

    /// The name's place among the strings.
    fn template_name(&mut self, token: &Token, context: &str) -> Result_<u32> {
        if !matches!(token.kind, Kind::String | Kind::RawString) {
            return self.unexpected(token, context);
        }
        self.unquoted(token)
    }

    fn block(&mut self) -> Result_<Node> {
        const CONTEXT: &str = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Kind::RightDelim)?;
        self.named(name, CONTEXT)?;
        Ok(Node::Template { position: token.position, name, pipe: Some(pipe) })
    }

    fn template(&mut self) -> Result_<Node> {
        const CONTEXT: &str = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let mut pipe = None;
        if self.next_non_space().kind != Kind::RightDelim {
            self.backup();
            pipe = Some(self.pipeline(CONTEXT, Kind::RightDelim)?);
        }
        Ok(Node::Template { position: token.position, name, pipe })
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result_<PipeId> {
        let position = self.peek_non_space().position;
        let (decl, is_assign) = self.declarations(context)?;
        let first = self.open.commands.len();
        loop {
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.backup();
                    let command = self.command()?;
                    self.open.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
        self.check_pipeline(&self.open.commands[first..], context)?;
        let commands = close(&mut self.open.commands, first, &mut self.code.commands);
        self.code.pipes.push(Pipe { position, is_assign, decl, commands });
        Ok(PipeId(Code::next(&self.code.pipes) - 1))
    }

    /// The variables that a pipeline declares or assigns to, among the names, and whether it assigns.
    fn declarations(&mut self, context: &str) -> Result_<(Span, bool)> {
        let start = Code::next(&self.code.names);
        loop {
            let end = Code::next(&self.code.names);
            let none = (Span { start, end }, false);
            let variable = self.peek_non_space();
            if variable.kind != Kind::Variable {
                return Ok(none);
            }
            self.next();
            // The blank after the variable matters: `$x .y` is a call's argument, `$x.y` a field.
            let after = self.peek();
            let next = self.peek_non_space();
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    self.next_non_space();
                    self.declare(&variable);
                    return Ok((Span { start, end: end + 1 }, next.kind == Kind::Assign));
                }
                Kind::Char if next.text(self.input) == "," => {
                    self.next_non_space();
                    self.declare(&variable);
                    if context != "range" || end > start {
                        return self.error(format!("too many declarations in {context}"));
                    }
                    if !matches!(
                        self.peek_non_space().kind,
                        Kind::Variable | Kind::RightDelim | Kind::RightParen
                    ) {
                        return self.error("range can only initialize variables");
                    }
                }
                _ if after.kind == Kind::Space => {
                    self.tokens[1] = after;
                    self.tokens[2] = variable;
                    self.peeked = 3;
                    return Ok(none);
                }
                _ => {
                    self.tokens[1] = variable;
                    self.peeked = 2;
                    return Ok(none);
                }
            }
        }
    }

    fn declare(&mut self, variable: &Token) {
        self.code.names.push(variable.span());
        self.vars.push(variable.text(self.input));
    }

    fn check_pipeline(&self, commands: &[Command], context: &str) -> Result_<()> {
        if commands.is_empty() {
            return self.error(format!("missing value for {context}"));
        }
        for (index, command) in commands.iter().enumerate().skip(1) {
            if matches!(
                self.code.args[command.args.start as usize].kind,
                ArgKind::Bool(_) | ArgKind::Dot | ArgKind::Nil | ArgKind::Number(..) | ArgKind::String(..)
            ) {
                return self.error(format!("non executable command in pipeline stage {}", index + 1));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result_<Command> {
        let first = self.open.args.len();
        loop {
            self.peek_non_space();
            if let Some(arg) = self.operand()? {
                self.open.args.push(arg);
            }
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.backup(),
                Kind::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        if self.open.args.len() == first {
            return self.error("empty command");
        }
        Ok(Command { args: close(&mut self.open.args, first, &mut self.code.args) })
    }

    fn operand(&mut self) -> Result_<Option<Arg>> {
        let term = self.peek_non_space();
        let Some(arg) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(arg));
        }
        let position = self.peek().position;
        let start = Code::next(&self.code.names);
        while self.peek().kind == Kind::Field {
            let token = self.next();
            self.code.names.push(token.name());
        }
        let end = Code::next(&self.code.names);
        let kind = match arg.kind {
            // Its first name was the last one before these.
            ArgKind::Field(fields) => ArgKind::Field(Span { start: fields.start, end }),
            ArgKind::Variable(name, _) => ArgKind::Variable(name, Span { start, end }),
            ArgKind::Bool(_) | ArgKind::String(..) | ArgKind::Number(..) | ArgKind::Nil | ArgKind::Dot => {
                let term = crate::quote::quote(term.text(self.input).as_bytes());
                return self.error(format!("unexpected . after term {term}"));
            }
            _ => {
                self.code.args.push(arg);
                ArgKind::Chain(Code::next(&self.code.args) - 1, Span { start, end })
            }
        };
        Ok(Some(Arg { position, kind }))
    }

    fn term(&mut self) -> Result_<Option<Arg>> {
        let token = self.next_non_space();
        let text = token.text(self.input);
        let kind = match token.kind {
            Kind::Identifier => match self.functions.get(text) {
                Some(function) => ArgKind::Function(function),
                None => {
                    let name = crate::quote::quote(text.as_bytes());
                    return self.error(format!("function {name} not defined"));
                }
            },
            Kind::Dot => ArgKind::Dot,
            Kind::Nil => ArgKind::Nil,
            Kind::Variable => {
                if !self.vars.contains(&text) {
                    let name = crate::quote::quote(text.as_bytes());
                    return self.error(format!("undefined variable {name}"));
                }
                ArgKind::Variable(token.span(), Span::default())
            }
            Kind::Field => {
                let start = Code::next(&self.code.names);
                self.code.names.push(token.name());
                ArgKind::Field(Span { start, end: start + 1 })
            }
            Kind::Bool => ArgKind::Bool(text == "true"),
            Kind::CharConstant | Kind::Complex | Kind::Number => match number::parse(text, token.kind) {
                Ok(number) => {
                    self.code.numbers.push(number);
                    ArgKind::Number(token.span(), Code::next(&self.code.numbers) - 1)
                }
                Err(message) => return self.error(message),
            },
            Kind::LeftParen => {
                self.enter()?;
                let pipe = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.nesting -= 1;
                let position = self.code.pipes[pipe.0 as usize].position;
                return Ok(Some(Arg { position, kind: ArgKind::Pipe(pipe) }));
            }
            Kind::String | Kind::RawString => {
                // Nothing else than these changes what is between the quotes.
                let changed = if token.kind == Kind::String { b'\\' } else { b'\r' };
                let is_plain = memchr::memchr(changed, text.as_bytes()).is_none();
                let string = if is_plain { None } else { Some(self.unquoted(&token)?) };
                ArgKind::String(token.span(), string)
            }
            _ => {
                self.backup();
                return Ok(None);
            }
        };
        Ok(Some(Arg { position: token.position, kind }))
    }
}

enum Item {
    Node(Node),
    End(End),
}
