//! Text to tokens.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::ast::Span;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Error,
    Bool,
    Char,
    CharConstant,
    Complex,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    Block,
    Break,
    Continue,
    Dot,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

impl Kind {
    fn is_keyword(self) -> bool {
        matches!(
            self,
            Self::Block
                | Self::Break
                | Self::Continue
                | Self::Dot
                | Self::Define
                | Self::Else
                | Self::End
                | Self::If
                | Self::Nil
                | Self::Range
                | Self::Template
                | Self::With
        )
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// Byte offset; the line is counted only for an error.
    pub(crate) position: u32,
    pub(crate) end: u32,
}

impl Token {
    /// What it covers; nothing for an error.
    pub(crate) fn text<'a>(&self, input: &'a str) -> &'a str {
        &input[self.span().range()]
    }

    pub(crate) fn span(&self) -> Span {
        Span { start: self.position, end: self.end }
    }

    /// What it covers after its first byte, which is the dot of a field.
    pub(crate) fn name(&self) -> Span {
        Span { start: self.position + 1, end: self.end }
    }
}

const LEFT: &str = "{{";
const RIGHT: &str = "}}";

/// Finds the next left delimiter.
static FIND_LEFT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(LEFT));

#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    input: &'a str,
    position: usize,
    start: usize,
    parens: usize,
    inside_action: bool,
    /// Why it gave up.
    failure: Option<String>,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_alphanumeric(character: char) -> bool {
    character == '_' || character.is_alphabetic() || character.is_ascii_digit()
}

fn has_left_trim(text: &str) -> bool {
    matches!(text.as_bytes(), [b'-', space, ..] if is_space(*space))
}

fn has_right_trim(text: &str) -> bool {
    matches!(text.as_bytes(), [space, b'-', ..] if is_space(*space))
}

/// A byte offset: texts are below 4 GiB.
fn offset(position: usize) -> u32 {
    u32::try_from(position).expect("the text is below 4 GiB")
}

impl<'a> Lexer<'a> {
    /// A text below 4 GiB.
    pub(crate) fn new(input: &'a str) -> Self {
        Self { input, position: 0, start: 0, parens: 0, inside_action: false, failure: None }
    }

    fn rest(&self) -> &'a str {
        &self.input[self.position..]
    }

    #[inline]
    fn peek(&self) -> Option<char> {
        match self.input.as_bytes().get(self.position) {
            Some(&byte) if byte.is_ascii() => Some(char::from(byte)),
            Some(_) => self.rest().chars().next(),
            None => None,
        }
    }

    /// Skips letters, digits and underscores.
    fn skip_word(&mut self) {
        let ascii = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        loop {
            let rest = &self.input.as_bytes()[self.position..];
            self.position += rest.iter().position(|byte| !ascii(byte)).unwrap_or(rest.len());
            // What is left of a word begins with another character than ASCII's.
            if !self.peek().is_some_and(is_alphanumeric) {
                return;
            }
            self.bump();
        }
    }

    /// How Go's error messages name a token.
    pub(crate) fn describe(&self, token: &Token) -> String {
        let text = token.text(self.input);
        match token.kind {
            Kind::Eof => "EOF".to_owned(),
            Kind::Error => self.failure.clone().unwrap_or_default(),
            kind if kind.is_keyword() => format!("<{text}>"),
            _ if text.len() > 10 => {
                let short: String = text.chars().take(10).collect();
                format!("{}...", crate::quote::quote(short.as_bytes()))
            }
            _ => crate::quote::quote(text.as_bytes()),
        }
    }

    #[inline]
    fn bump(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += character.len_utf8();
        Some(character)
    }

    fn accept(&mut self, set: &str) -> bool {
        let found = self.peek().is_some_and(|character| set.contains(character));
        if found {
            self.bump();
        }
        found
    }

    fn accept_run(&mut self, set: &str) {
        while self.accept(set) {}
    }

    fn item(&mut self, kind: Kind) -> Token {
        let token = Token { kind, position: offset(self.start), end: offset(self.position) };
        self.start = self.position;
        token
    }

    fn ignore(&mut self) {
        self.start = self.position;
    }

    fn error(&mut self, message: impl Into<String>) -> Token {
        self.failure = Some(message.into());
        let position = offset(self.start);
        Token { kind: Kind::Error, position, end: position }
    }

    pub(crate) fn next(&mut self) -> Token {
        if self.failure.is_some() {
            let position = offset(self.start);
            return Token { kind: Kind::Eof, position, end: position };
        }
        if self.inside_action { self.inside() } else { self.text() }
    }

    fn text(&mut self) -> Token {
        loop {
            let Some(found) = FIND_LEFT.find(self.rest().as_bytes()) else {
                self.position = self.input.len();
                let kind = if self.position > self.start { Kind::Text } else { Kind::Eof };
                return self.item(kind);
            };
            if found > 0 {
                let before = &self.rest()[..found];
                let kept = if has_left_trim(&self.input[self.position + found + LEFT.len()..]) {
                    before.trim_end_matches([' ', '\t', '\r', '\n']).len()
                } else {
                    found
                };
                self.position += kept;
                let token = self.item(Kind::Text);
                self.position += found - kept;
                self.ignore();
                if token.end > token.position {
                    return token;
                }
            }
            match self.left_delim() {
                Some(token) => return token,
                None => continue,
            }
        }
    }

    /// `None`: it was a comment.
    fn left_delim(&mut self) -> Option<Token> {
        self.position += LEFT.len();
        let marker = if has_left_trim(self.rest()) { 2 } else { 0 };
        if self.rest()[marker..].starts_with("/*") {
            self.position += marker;
            self.ignore();
            return self.comment();
        }
        let token = self.item(Kind::LeftDelim);
        self.inside_action = true;
        self.position += marker;
        self.ignore();
        self.parens = 0;
        Some(token)
    }

    fn comment(&mut self) -> Option<Token> {
        let Some(end) = self.rest()[2..].find("*/") else {
            return Some(self.error("unclosed comment"));
        };
        self.position += end + 4;
        let Some(trim) = self.at_right_delim() else {
            return Some(self.error("comment ends before closing delimiter"));
        };
        self.finish_right_delim(trim);
        self.ignore();
        None
    }

    /// Whether the closing delimiter stands here, and if so whether it trims.
    fn at_right_delim(&self) -> Option<bool> {
        if has_right_trim(self.rest()) && self.rest()[2..].starts_with(RIGHT) {
            Some(true)
        } else {
            self.rest().starts_with(RIGHT).then_some(false)
        }
    }

    fn finish_right_delim(&mut self, trim: bool) {
        self.position += if trim { 2 } else { 0 } + RIGHT.len();
        if trim {
            let left = self.rest().trim_start_matches([' ', '\t', '\r', '\n']).len();
            self.position += self.rest().len() - left;
        }
    }

    fn right_delim(&mut self, trim: bool) -> Token {
        if trim {
            self.position += 2;
            self.ignore();
        }
        self.position += RIGHT.len();
        let token = self.item(Kind::RightDelim);
        if trim {
            let left = self.rest().trim_start_matches([' ', '\t', '\r', '\n']).len();
            self.position += self.rest().len() - left;
            self.ignore();
        }
        self.inside_action = false;
        token
    }

    fn inside(&mut self) -> Token {
        if let Some(trim) = self.at_right_delim() {
            if self.parens == 0 {
                return self.right_delim(trim);
            }
            return self.error("unclosed left paren");
        }
        let Some(character) = self.peek() else { return self.error("unclosed action") };
        if character.is_ascii() && is_space(character as u8) {
            return self.space();
        }
        self.bump();
        match character {
            '=' => self.item(Kind::Assign),
            ':' => {
                if self.bump() != Some('=') {
                    return self.error("expected :=");
                }
                self.item(Kind::Declare)
            }
            '|' => self.item(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            '`' => self.raw_quote(),
            '$' => self.field_or_variable(Kind::Variable),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '.' if !self.rest().starts_with(|digit: char| digit.is_ascii_digit())
                && !self.rest().is_empty() =>
            {
                self.field_or_variable(Kind::Field)
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.position -= 1;
                self.number()
            }
            '(' => {
                self.parens += 1;
                self.item(Kind::LeftParen)
            }
            ')' => {
                if self.parens == 0 {
                    return self.error("unexpected right paren");
                }
                self.parens -= 1;
                self.item(Kind::RightParen)
            }
            _ if is_alphanumeric(character) => self.identifier(),
            '!'..='~' => self.item(Kind::Char),
            _ => self.error(format!("unrecognized character in action: {}", unicode_name(character))),
        }
    }

    fn space(&mut self) -> Token {
        let mut count = 0;
        while self.peek().is_some_and(|character| character.is_ascii() && is_space(character as u8)) {
            self.bump();
            count += 1;
        }
        // The last of several blanks may belong to a trimming delimiter.
        let last = &self.input[self.position - 1..];
        if has_right_trim(last) && last[2..].starts_with(RIGHT) {
            self.position -= 1;
            if count == 1 {
                return self.right_delim(true);
            }
        }
        self.item(Kind::Space)
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(_) => self.rest().starts_with(RIGHT),
        }
    }

    fn bad_character(&mut self) -> Token {
        let name = self.peek().map_or_else(|| "U+FFFFFFFFFFFFFFFF".to_owned(), unicode_name);
        self.error(format!("bad character {name}"))
    }

    fn identifier(&mut self) -> Token {
        self.skip_word();
        if !self.at_terminator() {
            return self.bad_character();
        }
        let kind = match &self.input[self.start..self.position] {
            "block" => Kind::Block,
            "break" => Kind::Break,
            "continue" => Kind::Continue,
            "define" => Kind::Define,
            "else" => Kind::Else,
            "end" => Kind::End,
            "if" => Kind::If,
            "range" => Kind::Range,
            "nil" => Kind::Nil,
            "template" => Kind::Template,
            "with" => Kind::With,
            "true" | "false" => Kind::Bool,
            _ => Kind::Identifier,
        };
        self.item(kind)
    }

    fn field_or_variable(&mut self, kind: Kind) -> Token {
        if self.at_terminator() {
            return self.item(if kind == Kind::Variable { kind } else { Kind::Dot });
        }
        self.skip_word();
        if !self.at_terminator() {
            return self.bad_character();
        }
        self.item(kind)
    }

    fn quoted(&mut self, mark: char, kind: Kind, unterminated: &'static str) -> Token {
        let stops = [mark as u8, b'\\', b'\n'];
        while let Some(at) = memchr::memchr3(stops[0], stops[1], stops[2], self.rest().as_bytes()) {
            self.position += at;
            match self.bump() {
                Some('\\') => {
                    if matches!(self.bump(), None | Some('\n')) {
                        return self.error(unterminated);
                    }
                }
                Some('\n') => return self.error(unterminated),
                _ => return self.item(kind),
            }
        }
        self.position = self.input.len();
        self.error(unterminated)
    }

    fn raw_quote(&mut self) -> Token {
        match memchr::memchr(b'`', self.rest().as_bytes()) {
            Some(at) => {
                self.position += at + 1;
                self.item(Kind::RawString)
            }
            None => {
                self.position += self.rest().len();
                self.error("unterminated raw quoted string")
            }
        }
    }

    fn number(&mut self) -> Token {
        let mut good = self.scan_number();
        let mut kind = Kind::Number;
        if good && matches!(self.peek(), Some('+' | '-')) {
            good = self.scan_number() && self.input[..self.position].ends_with('i');
            kind = Kind::Complex;
        }
        if !good {
            let text = crate::quote::quote(&self.input.as_bytes()[self.start..self.position]);
            return self.error(format!("bad number syntax: {text}"));
        }
        self.item(kind)
    }

    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let exponent = match digits.len() {
            11 => "eE",
            23 => "pP",
            _ => "",
        };
        if self.accept(exponent) {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.bump();
            return false;
        }
        true
    }
}

/// `%#U`
fn unicode_name(character: char) -> String {
    let code = u32::from(character);
    if crate::quote::is_print(character) {
        format!("U+{code:04X} '{character}'")
    } else {
        format!("U+{code:04X}")
    }
}
