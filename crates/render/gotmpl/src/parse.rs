//! Tokens to templates.

mod number;

pub(crate) use number::{parse_float, parse_int};

use std::sync::Arc;

use crate::ast::{Arg, ArgKind, Branch, Command, List, Node, Pipe, Source, Template};
use crate::funcs::Functions;
use crate::lex::{Kind, Lexer, Token};
use crate::quote::unquote;
use crate::value::Str;

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
    let source = Arc::new(Source { name: name.into(), text: text.into() });
    let mut parser = Parser {
        lexer: Lexer::new(text),
        input: text,
        source: Arc::clone(&source),
        functions,
        tokens: [Token { kind: Kind::Eof, position: 0, line: 0, end: 0 }; 3],
        peeked: 0,
        vars: vec!["$".into()],
        range_depth: 0,
        nesting: 0,
        action_line: 0,
        defined: Vec::new(),
    };
    let root = parser.top()?;
    let main = Template { name: name.into(), source, root };
    parser.add(main)?;
    let mut defined = parser.defined;
    if let Some(at) = defined.iter().position(|template| &*template.name == name) {
        defined[..=at].rotate_right(1);
    }
    Ok(defined)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    input: &'a str,
    source: Arc<Source>,
    functions: &'a Functions,
    tokens: [Token; 3],
    peeked: usize,
    vars: Vec<Arc<str>>,
    range_depth: usize,
    nesting: usize,
    action_line: usize,
    defined: Vec<Arc<Template>>,
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
            name: self.source.name.to_string(),
            line: self.tokens[0].line,
            message: message.into(),
        })
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Result_<T> {
        let described = self.lexer.describe(token);
        if token.kind == Kind::Error {
            let mut extra = String::new();
            if self.action_line != 0 && self.action_line != token.line {
                extra = format!(" in action started at {}:{}", self.source.name, self.action_line);
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

    fn add(&mut self, template: Template) -> Result_<()> {
        match self.defined.iter().position(|known| known.name == template.name) {
            None => self.defined.push(Arc::new(template)),
            Some(at) if self.defined[at].is_empty() => self.defined[at] = Arc::new(template),
            Some(_) if !template.is_empty() => {
                let name = crate::quote::quote(template.name.as_bytes());
                return self.error(format!("template: multiple definition of template {name}"));
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn top(&mut self) -> Result_<List> {
        let mut root = List::default();
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
                Item::Node(node) => root.nodes.push(node),
                Item::End(End::End) => return self.error("unexpected {{end}}"),
                Item::End(End::Else) => return self.error("unexpected {{else}}"),
            }
        }
        Ok(root)
    }

    fn definition(&mut self) -> Result_<()> {
        const CONTEXT: &str = "define clause";
        let token = self.next_non_space();
        if !matches!(token.kind, Kind::String | Kind::RawString) {
            return self.unexpected(&token, CONTEXT);
        }
        let name = self.unquoted(&token)?;
        self.expect(Kind::RightDelim, CONTEXT)?;
        self.named(&name.text(), CONTEXT)
    }

    /// The body of a `define` or a `block`.
    fn named(&mut self, name: &str, context: &str) -> Result_<()> {
        let outer_vars = std::mem::replace(&mut self.vars, vec!["$".into()]);
        let outer_depth = std::mem::take(&mut self.range_depth);
        let (root, end) = self.item_list()?;
        if matches!(end, End::Else) {
            return self.error(format!("unexpected {{{{else}}}} in {context}"));
        }
        self.vars = outer_vars;
        self.range_depth = outer_depth;
        let source = Arc::clone(&self.source);
        self.add(Template { name: name.into(), source, root })
    }

    fn unquoted(&self, token: &Token) -> Result_<Str> {
        match unquote(token.text(self.input)) {
            Some(bytes) => Ok(bytes.into()),
            None => self.error("invalid syntax"),
        }
    }

    fn item_list(&mut self) -> Result_<(List, End)> {
        self.enter()?;
        let mut list = List::default();
        while self.peek_non_space().kind != Kind::Eof {
            match self.text_or_action()? {
                Item::Node(node) => list.nodes.push(node),
                Item::End(end) => {
                    self.nesting -= 1;
                    return Ok((list, end));
                }
            }
        }
        self.error("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Result_<Item> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text(token.position..token.end))),
            Kind::LeftDelim => {
                self.action_line = token.line;
                let item = self.action();
                if item.is_ok() {
                    self.action_line = 0;
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
                Node::Action(self.pipeline("command", Kind::RightDelim)?)
            }
        };
        Ok(Item::Node(node))
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
                else_list = Some(List { nodes: vec![Node::If(self.control("if")?)] });
            } else if context == "with" && next == Kind::With {
                self.next();
                else_list = Some(List { nodes: vec![Node::With(self.control("with")?)] });
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
        Ok(Branch { position: pipe.position, pipe, list, else_list })
    }

    fn template_name(&mut self, token: &Token, context: &str) -> Result_<Arc<str>> {
        if !matches!(token.kind, Kind::String | Kind::RawString) {
            return self.unexpected(token, context);
        }
        Ok(self.unquoted(token)?.text().into())
    }

    fn block(&mut self) -> Result_<Node> {
        const CONTEXT: &str = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Kind::RightDelim)?;
        self.named(&name, CONTEXT)?;
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

    fn pipeline(&mut self, context: &str, end: Kind) -> Result_<Pipe> {
        let position = self.peek_non_space().position;
        let mut pipe = Pipe { position, is_assign: false, decl: Vec::new(), commands: Vec::new() };
        self.declarations(&mut pipe, context)?;
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
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
        self.check_pipeline(&pipe, context)?;
        Ok(pipe)
    }

    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Result_<()> {
        loop {
            let variable = self.peek_non_space();
            if variable.kind != Kind::Variable {
                return Ok(());
            }
            self.next();
            // The blank after the variable matters: `$x .y` is a call's argument, `$x.y` a field.
            let after = self.peek();
            let next = self.peek_non_space();
            let name: Arc<str> = variable.text(self.input).into();
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    pipe.is_assign = next.kind == Kind::Assign;
                    self.next_non_space();
                    pipe.decl.push(Arc::clone(&name));
                    self.vars.push(name);
                    return Ok(());
                }
                Kind::Char if next.text(self.input) == "," => {
                    self.next_non_space();
                    pipe.decl.push(Arc::clone(&name));
                    self.vars.push(name);
                    if context != "range" || pipe.decl.len() >= 2 {
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
                    return Ok(());
                }
                _ => {
                    self.tokens[1] = variable;
                    self.peeked = 2;
                    return Ok(());
                }
            }
        }
    }

    fn check_pipeline(&self, pipe: &Pipe, context: &str) -> Result_<()> {
        if pipe.commands.is_empty() {
            return self.error(format!("missing value for {context}"));
        }
        for (index, command) in pipe.commands.iter().enumerate().skip(1) {
            if matches!(
                command.args[0].kind,
                ArgKind::Bool(_) | ArgKind::Dot | ArgKind::Nil | ArgKind::Number(_) | ArgKind::String(..)
            ) {
                return self.error(format!("non executable command in pipeline stage {}", index + 1));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result_<Command> {
        let mut args = Vec::new();
        loop {
            self.peek_non_space();
            if let Some(arg) = self.operand()? {
                args.push(arg);
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
        if args.is_empty() {
            return self.error("empty command");
        }
        Ok(Command { args })
    }

    fn operand(&mut self) -> Result_<Option<Arg>> {
        let Some(arg) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(arg));
        }
        let position = self.peek().position;
        let mut names = Vec::new();
        while self.peek().kind == Kind::Field {
            let token = self.next();
            names.push(Str::from(&token.text(self.input)[1..]));
        }
        let kind = match arg.kind {
            ArgKind::Field(mut fields) => {
                fields.append(&mut names);
                ArgKind::Field(fields)
            }
            ArgKind::Variable(name, mut fields) => {
                fields.append(&mut names);
                ArgKind::Variable(name, fields)
            }
            ArgKind::Bool(_) | ArgKind::String(..) | ArgKind::Number(_) | ArgKind::Nil | ArgKind::Dot => {
                let term = crate::quote::quote(arg.to_string().as_bytes());
                return self.error(format!("unexpected . after term {term}"));
            }
            _ => ArgKind::Chain(Box::new(arg), names),
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
                let Some(name) = self.vars.iter().find(|name| &***name == text) else {
                    let name = crate::quote::quote(text.as_bytes());
                    return self.error(format!("undefined variable {name}"));
                };
                ArgKind::Variable(Arc::clone(name), Vec::new())
            }
            Kind::Field => ArgKind::Field(vec![Str::from(&text[1..])]),
            Kind::Bool => ArgKind::Bool(text == "true"),
            Kind::CharConstant | Kind::Complex | Kind::Number => match number::parse(text, token.kind) {
                Ok(number) => ArgKind::Number(number),
                Err(message) => return self.error(message),
            },
            Kind::LeftParen => {
                self.enter()?;
                let pipe = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.nesting -= 1;
                let position = pipe.position;
                return Ok(Some(Arg { position, kind: ArgKind::Pipe(Box::new(pipe)) }));
            }
            Kind::String | Kind::RawString => ArgKind::String(text.into(), self.unquoted(&token)?),
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
