//! What looks at the words in a string.

fn is_space(character: char) -> bool {
    character.is_whitespace()
}

/// `strings.Title`: every letter after something that is neither letter, digit nor underscore.
pub(super) fn title(text: &str) -> String {
    let mut previous = ' ';
    text.chars()
        .map(|character| {
            let starts = is_separator(previous);
            previous = character;
            if starts { super::title(character) } else { character }
        })
        .collect()
}

fn is_separator(character: char) -> bool {
    if character.is_ascii() {
        return !(character.is_ascii_alphanumeric() || character == '_');
    }
    !(character.is_alphabetic() || character.is_numeric()) && is_space(character)
}

pub(super) fn untitle(text: &str) -> String {
    let mut next = true;
    text.chars()
        .map(|character| {
            if is_space(character) {
                next = true;
                character
            } else if std::mem::replace(&mut next, false) {
                super::lower(character)
            } else {
                character
            }
        })
        .collect()
}

/// goutils reads bytes as characters here.
pub(super) fn no_space(text: &[u8]) -> Vec<u8> {
    let kept: String =
        text.iter().map(|&byte| char::from(byte)).filter(|&character| !is_space(character)).collect();
    if kept.chars().count() == text.len() { text.to_vec() } else { kept.into_bytes() }
}

pub(super) fn initials(text: &[u8]) -> String {
    let mut after_gap = true;
    let mut out = String::new();
    for character in text.iter().map(|&byte| char::from(byte)) {
        if is_space(character) {
            after_gap = true;
        } else if std::mem::replace(&mut after_gap, false) {
            out.push(character);
        }
    }
    out
}

pub(super) fn swap_case(text: &str) -> String {
    let mut after_blank = true;
    text.chars()
        .map(|character| {
            if character.is_uppercase() || matches!(character, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ') {
                after_blank = false;
                super::lower(character)
            } else if character.is_lowercase() {
                if std::mem::replace(&mut after_blank, false) {
                    super::title(character)
                } else {
                    super::upper(character)
                }
            } else {
                after_blank = is_space(character);
                character
            }
        })
        .collect()
}

fn is_connector(character: char) -> bool {
    matches!(character, '-' | '_') || is_space(character)
}

/// xstrings' `ToPascalCase`. Where all is connectors the last one is written twice.
pub(super) fn pascal_case(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    let mut current = None;
    let mut first_upper = false;
    for character in rest.by_ref() {
        if !is_connector(character) {
            first_upper = character.is_uppercase();
            current = Some(super::upper(character));
            break;
        }
        out.push(character);
    }
    let Some(mut current) = current else {
        out.extend(text.chars().next_back());
        return out;
    };
    for character in rest {
        let previous = current;
        current = character;
        if is_connector(current) && is_connector(previous) {
            out.push(previous);
            continue;
        }
        if is_connector(previous) {
            first_upper = current.is_uppercase();
            current = super::upper(current);
        } else {
            if first_upper {
                if current.is_uppercase() {
                    current = super::lower(current);
                } else {
                    first_upper = false;
                }
            }
            out.push(previous);
        }
    }
    out.push(current);
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Invalid,
    Number,
    UpperCase,
    Alphabet,
    Connector,
    Punctuation,
    Other,
}

fn is_alphabet(character: char) -> bool {
    // What has no case is taken for other text.
    character.is_alphabetic() && !matches!(character, '\u{3400}'..='\u{9FFF}')
}

fn is_punctuation(character: char) -> bool {
    matches!(character,
        '!' | '"' | '#' | '%' | '&' | '\'' | '(' | ')' | '*' | ',' | '-' | '.' | '/' | ':' | ';' | '?' | '@' | '['
        | '\\' | ']' | '_' | '{' | '}' | '\u{A1}' | '\u{A7}' | '\u{AB}' | '\u{B6}' | '\u{B7}' | '\u{BB}'
        | '\u{BF}' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205E}' | '\u{3001}'..='\u{3003}')
}

/// The next word: its kind and how many bytes it has.
fn next_word(text: &str) -> (Word, usize) {
    let Some(first) = text.chars().next() else { return (Word::Invalid, 0) };
    let run = |belongs: fn(char) -> bool| text.find(|character| !belongs(character)).unwrap_or(text.len());
    if is_connector(first) {
        return (Word::Connector, run(is_connector));
    }
    if is_punctuation(first) {
        return (Word::Punctuation, run(is_punctuation));
    }
    if first.is_uppercase() {
        let upper = run(char::is_uppercase);
        let after = text[upper..].chars().next();
        let follows = after.is_some_and(is_alphabet);
        if upper > first.len_utf8() {
            // "HTTPStatus": the last capital belongs to the next word.
            let last = text[..upper].chars().next_back().map_or(0, char::len_utf8);
            return (Word::UpperCase, if follows { upper - last } else { upper });
        }
        if follows {
            let lower =
                text[upper..].find(|character: char| !is_alphabet(character) || character.is_uppercase());
            return (Word::UpperCase, lower.map_or(text.len(), |at| upper + at));
        }
        return (Word::UpperCase, upper);
    }
    if is_alphabet(first) {
        return (Word::Alphabet, run(|character| is_alphabet(character) && !character.is_uppercase()));
    }
    if first.is_numeric() {
        return (Word::Number, run(char::is_numeric));
    }
    (
        Word::Other,
        run(|character| {
            !is_connector(character)
                && !is_alphabet(character)
                && !character.is_numeric()
                && !is_punctuation(character)
        }),
    )
}

/// Reads words one after the other.
struct Words<'a> {
    rest: &'a str,
    kind: Word,
    word: &'a str,
}

impl Words<'_> {
    fn next(&mut self) {
        let (kind, length) = next_word(self.rest);
        self.kind = kind;
        (self.word, self.rest) = self.rest.split_at(length);
    }
}

fn push_lower(out: &mut String, kind: Word, word: &str, connector: char) {
    match kind {
        Word::UpperCase | Word::Alphabet => out.extend(word.chars().map(super::lower)),
        Word::Connector => out.extend(word.chars().map(|_| connector)),
        _ => out.push_str(word),
    }
}

/// xstrings' `ToSnakeCase` and `ToKebabCase`
pub(super) fn connect(text: &str, connector: char) -> String {
    use Word::{Alphabet, Connector, Invalid, Number, Punctuation};
    let mut out = String::new();
    let mut words = Words { rest: text, kind: Invalid, word: "" };
    words.next();
    while !words.rest.is_empty() {
        if words.kind != Connector {
            push_lower(&mut out, words.kind, words.word, connector);
        }
        let (previous, last) = (words.kind, words.word);
        words.next();
        match previous {
            Number => {
                skip_alphanumeric(&mut words, &mut out, connector);
                if !matches!(words.kind, Invalid | Punctuation | Connector) {
                    out.push(connector);
                }
            }
            Connector => push_lower(&mut out, previous, last, connector),
            Punctuation => {}
            _ if words.kind != Number => {
                if !matches!(words.kind, Connector | Punctuation) {
                    out.push(connector);
                }
            }
            _ if words.rest.is_empty() => {}
            _ => {
                let number = words.word;
                words.next();
                if words.kind != Alphabet {
                    push_lower(&mut out, Number, number, connector);
                    if !matches!(words.kind, Connector | Punctuation) {
                        out.push(connector);
                    }
                    continue;
                }
                out.push(connector);
                push_lower(&mut out, Number, number, connector);
                skip_alphanumeric(&mut words, &mut out, connector);
                if !matches!(words.kind, Invalid | Connector | Punctuation) {
                    out.push(connector);
                }
            }
        }
    }
    push_lower(&mut out, words.kind, words.word, connector);
    out
}

fn skip_alphanumeric(words: &mut Words<'_>, out: &mut String, connector: char) {
    while matches!(words.kind, Word::Alphabet | Word::Number) {
        push_lower(out, words.kind, words.word, connector);
        words.next();
    }
}

/// goutils' `WrapCustom`
pub(super) fn wrap(text: &[u8], width: i64, new_line: &[u8], break_words: bool) -> Vec<u8> {
    let width = usize::try_from(width).unwrap_or(1).max(1);
    let mut out = Vec::with_capacity(text.len());
    let mut offset = 0;
    while text.len() - offset > width {
        if text[offset] == b' ' {
            offset += 1;
            continue;
        }
        let end = offset + width;
        let space = text[offset..=end].iter().rposition(|&byte| byte == b' ').map(|at| offset + at);
        let (cut, next) = match space {
            Some(space) => (space, space + 1),
            None if break_words => (end, end),
            None => match text[end..].iter().position(|&byte| byte == b' ') {
                Some(at) => (end + at, end + at + 1),
                None => {
                    out.extend_from_slice(&text[offset..]);
                    return out;
                }
            },
        };
        out.extend_from_slice(&text[offset..cut]);
        out.extend_from_slice(new_line);
        offset = next;
    }
    out.extend_from_slice(&text[offset..]);
    out
}
