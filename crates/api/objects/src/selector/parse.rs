//! The query syntax of selectors.

use super::{Error, FieldTerm, Operator, Requirement};

/// Longest name part of a label key and longest label value.
const MAX_NAME: usize = 63;
/// Longest prefix (a DNS subdomain) of a label key.
const MAX_PREFIX: usize = 253;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Comma,
    Open,
    Close,
    Not,
    Equal,
    DoubleEqual,
    NotEqual,
    Greater,
    Less,
}

pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, Error> {
    let mut parser = Parser { tokens: tokens(text)?, position: 0 };
    let mut found = Vec::new();
    if parser.peek().is_none() {
        return Ok(found);
    }
    loop {
        found.push(parser.requirement()?);
        match parser.next() {
            None => break,
            Some(Token::Comma) => {}
            Some(other) => {
                return Err(Error::Syntax(found_token(&Some(&other), ", expected: ',' or 'end of string'")));
            }
        }
    }
    // Upstream keeps requirements sorted by key, which is what the printed form shows.
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

fn tokens(text: &str) -> Result<Vec<Token>, Error> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&next) = chars.peek() {
        if next.is_whitespace() {
            chars.next();
            continue;
        }
        if is_special(next) {
            chars.next();
            let token = match next {
                ',' => Token::Comma,
                '(' => Token::Open,
                ')' => Token::Close,
                '>' => Token::Greater,
                '<' => Token::Less,
                '!' if chars.next_if_eq(&'=').is_some() => Token::NotEqual,
                '!' => Token::Not,
                // `=` and `==` are the same operator.
                _ if chars.next_if_eq(&'=').is_some() => Token::DoubleEqual,
                _ => Token::Equal,
            };
            tokens.push(token);
            continue;
        }
        let mut word = String::new();
        while let Some(character) = chars.next_if(|&c| !c.is_whitespace() && !is_special(c)) {
            word.push(character);
        }
        tokens.push(Token::Word(word));
    }
    Ok(tokens)
}

fn is_special(character: char) -> bool {
    matches!(character, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn unexpected(token: Option<&Token>, expected: &str) -> Error {
    Error::Parse(found_token(&token, &format!(", expected: {expected}")))
}

fn found_token(token: &Option<&Token>, rest: &str) -> String {
    let shown = match token {
        None => String::new(),
        Some(Token::Word(word)) => word.clone(),
        Some(Token::Comma) => ",".to_owned(),
        Some(Token::Open) => "(".to_owned(),
        Some(Token::Close) => ")".to_owned(),
        Some(Token::Not) => "!".to_owned(),
        Some(Token::Equal) => "=".to_owned(),
        Some(Token::DoubleEqual) => "==".to_owned(),
        Some(Token::NotEqual) => "!=".to_owned(),
        Some(Token::Greater) => ">".to_owned(),
        Some(Token::Less) => "<".to_owned(),
    };
    format!("found '{shown}'{rest}")
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.position)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.position).cloned();
        self.position += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, Error> {
        if self.peek() == Some(&Token::Not) {
            self.position += 1;
            let key = self.key()?;
            return Ok(Requirement { key, operator: Operator::DoesNotExist, values: Vec::new() });
        }
        let key = self.key()?;
        let operator = match self.peek() {
            None | Some(Token::Comma) => {
                return Ok(Requirement { key, operator: Operator::Exists, values: Vec::new() });
            }
            Some(Token::Equal | Token::DoubleEqual) => Operator::In,
            Some(Token::NotEqual) => Operator::NotIn,
            Some(Token::Greater) => Operator::GreaterThan,
            Some(Token::Less) => Operator::LessThan,
            Some(Token::Word(word)) if word == "in" => return self.set(key, Operator::In),
            Some(Token::Word(word)) if word == "notin" => return self.set(key, Operator::NotIn),
            other => return Err(unexpected(other, "in, notin, =, ==, !=, gt, lt")),
        };
        self.position += 1;
        let value = match self.peek() {
            None | Some(Token::Comma) => String::new(),
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.position += 1;
                word
            }
            other => return Err(unexpected(other, "identifier")),
        };
        check_value(&key, &value)?;
        let requirement = Requirement { key, operator, values: vec![value] };
        requirement.check()?;
        Ok(requirement)
    }

    fn set(&mut self, key: String, operator: Operator) -> Result<Requirement, Error> {
        self.position += 1;
        if self.peek() != Some(&Token::Open) {
            return Err(Error::Parse(found_token(&self.peek(), " expected: '('")));
        }
        self.position += 1;
        let mut values = Vec::new();
        loop {
            // An omitted value is the empty string: `x in (,a)`.
            let value = match self.peek() {
                Some(Token::Word(word)) => {
                    let word = word.clone();
                    self.position += 1;
                    word
                }
                _ => String::new(),
            };
            check_value(&key, &value)?;
            values.push(value);
            match self.next() {
                Some(Token::Comma) => {}
                Some(Token::Close) => break,
                other => return Err(unexpected(other.as_ref(), "',' or ')'")),
            }
        }
        values.sort();
        values.dedup();
        Ok(Requirement { key, operator, values })
    }

    fn key(&mut self) -> Result<String, Error> {
        match self.next() {
            Some(Token::Word(word)) => {
                check_key(&word)?;
                Ok(word)
            }
            other => Err(Error::Syntax(found_token(
                &other.as_ref(),
                ", expected: !, identifier, or 'end of string'",
            ))),
        }
    }
}

fn check_key(key: &str) -> Result<(), Error> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_fits = prefix.is_none_or(|prefix| {
        !prefix.is_empty()
            && prefix.len() <= MAX_PREFIX
            && prefix
                .split('.')
                .all(|part| is_name(part, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), "-"))
    });
    if prefix_fits && name.len() <= MAX_NAME && is_name(name, |c| c.is_ascii_alphanumeric(), "-_.") {
        return Ok(());
    }
    Err(Error::Invalid(format!("{key:?} is not a valid label key")))
}

fn check_value(key: &str, value: &str) -> Result<(), Error> {
    if value.is_empty() || (value.len() <= MAX_NAME && is_name(value, |c| c.is_ascii_alphanumeric(), "-_.")) {
        return Ok(());
    }
    Err(Error::Invalid(format!("values[0][{key}]: Invalid value: {value:?} is not a valid label value")))
}

/// Whether the text starts and ends with an `inner` character and has only those and `also` between.
fn is_name(text: &str, inner: impl Fn(char) -> bool, also: &str) -> bool {
    let edges = text.chars().next().is_some_and(&inner) && text.chars().last().is_some_and(&inner);
    edges && text.chars().all(|character| inner(character) || also.contains(character))
}

pub(super) fn field_terms(text: &str) -> Result<Vec<FieldTerm>, Error> {
    let mut terms = Vec::new();
    for term in split_unescaped(text) {
        if term.trim().is_empty() {
            continue;
        }
        let bad = || Error::Field(text.to_owned(), term.to_owned());
        let (path, equal, value) = if let Some((path, value)) = term.split_once("!=") {
            (path, false, value)
        } else if let Some((path, value)) = term.split_once("==") {
            (path, true, value)
        } else {
            let (path, value) = term.split_once('=').ok_or_else(bad)?;
            (path, true, value)
        };
        let value = unescape(value).ok_or_else(bad)?;
        terms.push(FieldTerm { path: path.trim().to_owned(), equal, value });
    }
    Ok(terms)
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (index, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(character) = chars.next() {
        match character {
            '\\' => plain.push(chars.next().filter(|next| matches!(next, '\\' | ',' | '='))?),
            ',' | '=' => return None,
            other => plain.push(other),
        }
    }
    Some(plain)
}
