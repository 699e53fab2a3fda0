//! What BurntSushi/toml says of a text whose first key or value is wrong, as that of a text in another format is.

/// Where the first entry is wrong, and the words for it with the line's number; `None` if it is right or wrong in another
/// way.
pub(super) fn first_entry(text: &str) -> Option<(usize, String)> {
    let mut rest = Rest { text, at: 0 };
    loop {
        rest.skip(|next| matches!(next, ' ' | '\t' | '\n' | '\r'));
        if rest.peek() != Some('#') {
            break;
        }
        rest.skip(|next| next != '\n');
    }
    match rest.peek()? {
        '[' => return table_name(&mut rest),
        '=' => return Some(rest.told("", "unexpected '=': key name appears blank")),
        '.' => return Some(rest.told("", "unexpected '.': keys cannot start with a '.'")),
        _ => {}
    }
    let start = rest.at;
    let key = loop {
        rest.skip(|next| matches!(next, ' ' | '\t'));
        match rest.peek() {
            Some(mark @ ('"' | '\'')) => match rest.quoted(mark) {
                Ok(()) => {}
                Err(message) => return Some(rest.told("", &message?)),
            },
            Some('=') | None => return Some(rest.told("", "unexpected '='")),
            Some('.') => return Some(rest.told("", "unexpected '.'")),
            Some(_) => {}
        }
        rest.skip(|next| next.is_ascii_alphanumeric() || matches!(next, '_' | '-'));
        let key = &text[start..rest.at];
        rest.skip(|next| matches!(next, ' ' | '\t'));
        match rest.peek() {
            None => return Some(rest.told("", "unexpected EOF; expected key separator '='")),
            Some('.') => rest.at += 1,
            Some('=') => break key,
            Some(control @ ('\0'..='\x08' | '\x0B'..='\x1F' | '\x7F')) => {
                return Some(rest.told("", &control_character(control)));
            }
            Some(other) => {
                let message = format!("expected '.' or '=', but got {} instead", quote(&other.to_string()));
                return Some(rest.told("", &message));
            }
        }
    };
    rest.at += 1;
    rest.skip(|next| matches!(next, ' ' | '\t'));
    let message = match rest.peek() {
        None => "unexpected EOF; expected value".to_owned(),
        Some('.') => "floats must start with a digit, not '.'".to_owned(),
        Some('[' | '{' | '"' | '\'' | '+' | '-' | '0'..='9') => return None,
        Some(letter) if letter.is_alphabetic() => {
            let from = rest.at;
            rest.skip(char::is_alphabetic);
            match &text[from..rest.at] {
                "true" | "false" | "inf" | "nan" => return None,
                word => {
                    let word = crate::quote::quote(word.as_bytes());
                    format!("expected value but found {word} instead")
                }
            }
        }
        Some(other) => format!("expected value but found {} instead", quote(&other.to_string())),
    };
    Some(rest.told(key, &message))
}

/// What is wrong with the name in brackets.
fn table_name(rest: &mut Rest<'_>) -> Option<(usize, String)> {
    rest.at += 1;
    let array = rest.peek() == Some('[');
    if array {
        rest.at += 1;
    }
    loop {
        rest.skip(|next| matches!(next, ' ' | '\t'));
        match rest.peek() {
            None | Some(']') => {
                return Some(rest.told("", "unexpected end of table name (table names cannot be empty)"));
            }
            Some('.') => {
                return Some(rest.told("", "unexpected table separator (table names cannot be empty)"));
            }
            Some(mark @ ('"' | '\'')) => rest.quoted(mark).ok()?,
            Some(_) => rest.skip(|next| next.is_ascii_alphanumeric() || matches!(next, '_' | '-')),
        }
        rest.skip(|next| matches!(next, ' ' | '\t'));
        match rest.peek()? {
            '.' => rest.at += 1,
            ']' if array => {
                rest.at += 1;
                let other = quote(&rest.peek().filter(|next| *next != ']')?.to_string());
                let message =
                    format!("expected end of table array name delimiter ']', but got {other} instead");
                return Some(rest.told("", &message));
            }
            ']' => return None,
            other => {
                let other = quote(&other.to_string());
                let message = format!("expected '.' or ']' to end table name, but got {other} instead");
                return Some(rest.told("", &message));
            }
        }
    }
}

fn control_character(character: char) -> String {
    format!("TOML files cannot contain control characters: '0x{:02x}'", u32::from(character))
}

fn quote(text: &str) -> String {
    let quoted = crate::quote::quote(text.as_bytes());
    let single = text.chars().count() == 1;
    // A single character is quoted as such.
    match quoted.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')) {
        Some("'") if single => r"'\''".to_owned(),
        Some("\\\"") if single => "'\"'".to_owned(),
        Some(inner) if single => format!("'{inner}'"),
        _ => quoted,
    }
}

struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl Rest<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn skip(&mut self, belongs: impl Fn(char) -> bool) {
        let rest = &self.text[self.at..];
        self.at += rest.find(|next| !belongs(next)).unwrap_or(rest.len());
    }

    /// Skips a quoted name; what is wrong with it, if that is known.
    fn quoted(&mut self, mark: char) -> Result<(), Option<String>> {
        self.at += 1;
        loop {
            self.skip(|next| next != mark && next != '\n' && next != '\\');
            let Some(found) = self.peek() else {
                let mark = if mark == '"' { "'\"'" } else { "\"'\"" };
                return Err(Some(format!("unexpected EOF; expected {mark}")));
            };
            self.at += 1;
            match found {
                '\n' => return Err(Some("strings cannot contain newlines".to_owned())),
                '\\' if mark == '"' => match self.peek() {
                    Some('b' | 'e' | 't' | 'n' | 'f' | 'r' | '"' | '\\' | 'u' | 'U' | 'x') => self.at += 1,
                    Some(other) => return Err(Some(format!("invalid escape in string '\\{other}'"))),
                    None => return Err(None),
                },
                '\\' => {}
                _ => return Ok(()),
            }
        }
    }

    fn told(&self, key: &str, message: &str) -> (usize, String) {
        let line = self.text[..self.at].matches('\n').count() + 1;
        let last = if key.is_empty() {
            String::new()
        } else {
            format!(" (last key {})", crate::quote::quote(key.as_bytes()))
        };
        (self.at, format!("toml: line {line}{last}: {message}"))
    }
}
