//! RE2 syntax to that of the `regex` crate.
//!
//! Both match the leftmost, first alternative in linear time. They differ in what `\d`, `\w`, `\s`, `\b` cover
//! (ASCII in RE2), in set operations inside classes, and in a few escapes.

/// How many times something may be repeated.
const MAX_REPEAT: u32 = 1000;

pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut translator = Translator { pattern, at: 0, out: String::with_capacity(pattern.len()), groups: 0 };
    translator.run()?;
    Ok(translator.out)
}

struct Translator<'a> {
    pattern: &'a str,
    at: usize,
    out: String,
    groups: usize,
}

impl Translator<'_> {
    fn rest(&self) -> &str {
        &self.pattern[self.at..]
    }

    fn bump(&mut self) -> Option<char> {
        let character = self.rest().chars().next()?;
        self.at += character.len_utf8();
        Some(character)
    }

    fn run(&mut self) -> Result<(), String> {
        let mut repeatable = false;
        let mut repeated_from = None;
        while let Some(character) = self.rest().chars().next() {
            let start = self.at;
            match character {
                '\\' => {
                    self.escape()?;
                    repeatable = true;
                }
                '[' => {
                    self.class()?;
                    repeatable = true;
                }
                '(' => {
                    self.group()?;
                    repeatable = false;
                }
                ')' => {
                    if self.groups == 0 {
                        return Err(format!("unexpected ): `{}`", self.pattern));
                    }
                    self.groups -= 1;
                    self.bump();
                    self.out.push(')');
                    repeatable = true;
                }
                '*' | '+' | '?' => {
                    self.repetition(repeatable, repeated_from, 1)?;
                    repeated_from = Some(start);
                    continue;
                }
                '{' => match self.counts() {
                    Some((length, least, most)) => {
                        let text = self.rest()[..length].to_owned();
                        if least > MAX_REPEAT || most.is_some_and(|most| most > MAX_REPEAT || most < least) {
                            return Err(format!("invalid repeat count: `{text}`"));
                        }
                        self.repetition(repeatable, repeated_from, length)?;
                        repeated_from = Some(start);
                        continue;
                    }
                    None => {
                        self.bump();
                        self.out.push_str(r"\{");
                        repeatable = true;
                    }
                },
                '|' => {
                    self.bump();
                    self.out.push('|');
                    repeatable = false;
                }
                '^' | '$' => {
                    self.bump();
                    self.out.push(character);
                    repeatable = true;
                }
                _ => {
                    self.bump();
                    self.literal(character);
                    repeatable = true;
                }
            }
            repeated_from = None;
        }
        if self.groups > 0 {
            return Err(format!("missing closing ): `{}`", self.pattern));
        }
        Ok(())
    }

    /// Characters that mean something to the other syntax only.
    fn literal(&mut self, character: char) {
        if matches!(character, '}' | ']' | '#' | '&' | '~' | '-') {
            self.out.push('\\');
        }
        self.out.push(character);
    }

    fn repetition(&mut self, repeatable: bool, before: Option<usize>, length: usize) -> Result<(), String> {
        let operator = self.rest()[..length].to_owned();
        if !repeatable {
            return Err(format!("missing argument to repetition operator: `{operator}`"));
        }
        self.at += length;
        self.out.push_str(&operator);
        if self.rest().starts_with('?') {
            self.bump();
            self.out.push('?');
        }
        if let Some(before) = before {
            return Err(format!("invalid nested repetition operator: `{}`", &self.pattern[before..self.at]));
        }
        Ok(())
    }

    /// `{2}`, `{2,}`, `{2,5}`: how long it is and what it says; `None` if it is no count but text.
    fn counts(&self) -> Option<(usize, u32, Option<u32>)> {
        let body = self.rest().strip_prefix('{')?;
        let end = body.find('}')?;
        let number = |text: &str| {
            let good = !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && (text.len() == 1 || !text.starts_with('0'));
            good.then(|| text.parse().unwrap_or(u32::MAX))
        };
        let (least, most) = match body[..end].split_once(',') {
            None => {
                let count = number(&body[..end])?;
                (count, Some(count))
            }
            Some((least, "")) => (number(least)?, None),
            Some((least, most)) => (number(least)?, Some(number(most)?)),
        };
        Some((end + 2, least, most))
    }

    fn group(&mut self) -> Result<(), String> {
        self.bump();
        self.out.push('(');
        if !self.rest().starts_with('?') {
            self.groups += 1;
            return Ok(());
        }
        let start = self.at - 1;
        let rest = self.rest();
        if rest.starts_with("?P<") || rest.starts_with("?<") {
            let open = rest.find('<').unwrap_or(0);
            let Some(close) = rest.find('>') else {
                return Err(format!("invalid named capture: `{}`", &self.pattern[start..]));
            };
            let name = rest[open + 1..close].to_owned();
            let good = !name.is_empty()
                && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
            if !good {
                return Err(format!("invalid named capture: `{}`", &self.pattern[start..start + close + 2]));
            }
            self.at += close + 1;
            self.groups += 1;
            self.out.push_str("?P<");
            self.out.push_str(&name);
            self.out.push('>');
            return Ok(());
        }
        self.flags(start)
    }

    fn flags(&mut self, start: usize) -> Result<(), String> {
        let length = self.rest().find([':', ')']);
        let invalid = |length: usize| {
            let end = (start + length).min(self.pattern.len());
            format!("invalid or unsupported Perl syntax: `{}`", &self.pattern[start..end])
        };
        let Some(length) = length else {
            return Err(format!("missing argument to repetition operator: `{}`", "?"));
        };
        let flags = &self.rest()[1..length];
        if flags.chars().any(|flag| !matches!(flag, 'i' | 'm' | 's' | 'U' | '-'))
            || flags.matches('-').count() > 1
            || flags.ends_with('-')
        {
            let bad = flags.find(|flag| !matches!(flag, 'i' | 'm' | 's' | 'U' | '-')).unwrap_or(flags.len());
            return Err(invalid(bad + 3));
        }
        let text = self.rest()[..=length].to_owned();
        self.at += length + 1;
        if text.ends_with(':') {
            self.groups += 1;
        }
        if text == "?)" {
            // An empty group of flags sets nothing.
            self.out.push_str("?:)");
        } else {
            self.out.push_str(&text);
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        let start = self.at;
        self.bump();
        let Some(character) = self.bump() else {
            return Err("trailing backslash at end of expression: ``".to_owned());
        };
        match character {
            'd' => self.out.push_str("[0-9]"),
            'D' => self.out.push_str("[^0-9]"),
            'w' => self.out.push_str("[0-9A-Za-z_]"),
            'W' => self.out.push_str("[^0-9A-Za-z_]"),
            's' => self.out.push_str(r"[\t\n\x0C\r ]"),
            'S' => self.out.push_str(r"[^\t\n\x0C\r ]"),
            'b' => self.out.push_str(r"(?-u:\b)"),
            'B' => self.out.push_str(r"(?-u:\B)"),
            'A' => self.out.push_str(r"\A"),
            'z' => self.out.push_str(r"\z"),
            'C' => self.out.push_str("(?s-u:.)"),
            'Q' => {
                let end = self.rest().find(r"\E").unwrap_or(self.rest().len());
                let text = self.rest()[..end].to_owned();
                self.at = (self.at + end + 2).min(self.pattern.len());
                for character in text.chars() {
                    self.out.push_str(&regex::escape(&character.to_string()));
                }
            }
            'p' | 'P' => self.property(character, start)?,
            _ => {
                let code = self.code(character, start)?;
                self.out.push_str(&regex::escape(&code.to_string()));
            }
        }
        Ok(())
    }

    fn property(&mut self, kind: char, start: usize) -> Result<(), String> {
        let name = if self.rest().starts_with('{') {
            let Some(close) = self.rest().find('}') else {
                return Err(format!("invalid character class range: `{}`", &self.pattern[start..]));
            };
            let name = self.rest()[1..close].to_owned();
            self.at += close + 1;
            name
        } else {
            self.bump().map(String::from).unwrap_or_default()
        };
        let (negated, name) = match name.strip_prefix('^') {
            Some(name) => (kind == 'p', name.to_owned()),
            None => (kind == 'P', name),
        };
        let name = if name == "Any" { "any".to_owned() } else { name };
        self.out.push_str(if negated { r"\P{" } else { r"\p{" });
        self.out.push_str(&name);
        self.out.push('}');
        Ok(())
    }

    /// The character an escape stands for.
    fn code(&mut self, character: char, start: usize) -> Result<char, String> {
        let invalid = |end: usize| format!("invalid escape sequence: `{}`", &self.pattern[start..end]);
        let code = match character {
            'a' => '\x07',
            'f' => '\x0C',
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'v' => '\x0B',
            '0'..='7' => {
                let rest = self.rest();
                let more = rest.bytes().take(2).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
                if character != '0' && more == 0 {
                    return Err(invalid(self.at));
                }
                let digits = format!("{character}{}", &rest[..more]);
                let value = u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32);
                self.at += more;
                value
                    .ok_or_else(|| format!("invalid escape sequence: `{}`", &self.pattern[start..self.at]))?
            }
            'x' => {
                let rest = self.rest();
                let (digits, length) = if let Some(body) = rest.strip_prefix('{') {
                    let close = body.find('}').ok_or_else(|| invalid(self.pattern.len()))?;
                    (&body[..close], close + 2)
                } else {
                    (rest.get(..2).ok_or_else(|| invalid(self.pattern.len()))?, 2)
                };
                let value = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                let value = value.ok_or_else(|| invalid(self.at + length))?;
                self.at += length;
                value
            }
            _ if character.is_ascii_punctuation() && character != '_' => character,
            _ => return Err(invalid(self.at)),
        };
        Ok(code)
    }

    fn class(&mut self) -> Result<(), String> {
        let start = self.at;
        self.bump();
        self.out.push('[');
        if self.rest().starts_with('^') {
            self.bump();
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let Some(character) = self.rest().chars().next() else {
                return Err(format!("missing closing ]: `{}`", &self.pattern[start..]));
            };
            if character == ']' && !first {
                self.bump();
                self.out.push(']');
                return Ok(());
            }
            first = false;
            if self.rest().starts_with("[:")
                && let Some(end) = self.rest().find(":]")
            {
                let name = self.rest()[..end + 2].to_owned();
                self.at += end + 2;
                self.out.push_str(&name);
                continue;
            }
            self.class_item(start)?;
        }
    }

    fn class_item(&mut self, start: usize) -> Result<(), String> {
        let item = self.at;
        if self.rest().starts_with('\\') {
            let kind = self.rest()[1..].chars().next();
            let set = match kind {
                Some('d') => Some("0-9"),
                Some('w') => Some("0-9A-Za-z_"),
                Some('s') => Some(r"\t\n\x0C\r "),
                Some('D') => Some("[^0-9]"),
                Some('W') => Some("[^0-9A-Za-z_]"),
                Some('S') => Some(r"[^\t\n\x0C\r ]"),
                _ => None,
            };
            if let Some(set) = set {
                self.at += 2;
                self.out.push_str(set);
                return Ok(());
            }
            if let Some(kind @ ('p' | 'P')) = kind {
                self.at += 2;
                return self.property(kind, item);
            }
        }
        let low = self.class_character(start)?;
        let rest = self.rest();
        if !rest.starts_with('-') || rest.starts_with("-]") {
            self.push_in_class(low);
            return Ok(());
        }
        self.bump();
        let high = self.class_character(start)?;
        if high < low {
            return Err(format!("invalid character class range: `{}`", &self.pattern[item..self.at]));
        }
        self.push_in_class(low);
        self.out.push('-');
        self.push_in_class(high);
        Ok(())
    }

    fn class_character(&mut self, start: usize) -> Result<char, String> {
        let escape = self.at;
        match self.bump() {
            None => Err(format!("missing closing ]: `{}`", &self.pattern[start..])),
            Some('\\') => {
                let Some(character) = self.bump() else {
                    return Err("trailing backslash at end of expression: ``".to_owned());
                };
                self.code(character, escape)
            }
            Some(character) => Ok(character),
        }
    }

    fn push_in_class(&mut self, character: char) {
        if matches!(character, '<' | '>') {
            // Escaped, these would be the edges of words.
            self.out.push(character);
            return;
        }
        if character.is_ascii_punctuation() || character.is_ascii_whitespace() {
            self.out.push('\\');
            match character {
                '\n' => self.out.push('n'),
                '\t' => self.out.push('t'),
                '\r' => self.out.push('r'),
                '\x0C' => self.out.push('f'),
                ' ' => {
                    self.out.pop();
                    self.out.push_str(r"\x20");
                }
                _ => self.out.push(character),
            }
            return;
        }
        self.out.push(character);
    }
}
