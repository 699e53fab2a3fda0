//! Go's string literals: `strconv.Quote` and `strconv.Unquote`.

/// Whether Go's `strconv.IsPrint` holds: letters, marks, numbers, punctuation, symbols and the ASCII space.
#[must_use]
pub(crate) fn is_print(character: char) -> bool {
    match character {
        ' '..='~' => true,
        '\u{0}'..='\u{A0}' | '\u{AD}' => false,
        // Other separators, format characters, surrogates, private use and what is not a character.
        '\u{600}'..='\u{605}'
        | '\u{61C}'
        | '\u{6DD}'
        | '\u{70F}'
        | '\u{1680}'
        | '\u{180E}'
        | '\u{2000}'..='\u{200F}'
        | '\u{2028}'..='\u{202F}'
        | '\u{205F}'..='\u{206F}'
        | '\u{3000}'
        | '\u{E000}'..='\u{F8FF}'
        | '\u{FEFF}'
        | '\u{FFF0}'..='\u{FFFB}'
        | '\u{FFFE}'..='\u{FFFF}'
        | '\u{110BD}'
        | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E00FF}'
        | '\u{F0000}'.. => false,
        // The letters of most texts.
        '\u{A1}'..='\u{377}' | '\u{3A3}'..='\u{52F}' | '\u{4E00}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7A3}' => {
            true
        }
        _ => is_assigned(character),
    }
}

/// Whether it is a letter, a mark, a number, punctuation or a symbol.
fn is_assigned(character: char) -> bool {
    static CLASS: std::sync::OnceLock<Option<regex::bytes::Regex>> = std::sync::OnceLock::new();
    let class = CLASS.get_or_init(|| regex::bytes::Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S}]$").ok());
    let mut bytes = [0; 4];
    let text = character.encode_utf8(&mut bytes);
    class.as_ref().is_none_or(|class| class.is_match(text.as_bytes()))
}

fn escape_into(out: &mut String, character: char, quote: char, ascii: bool) {
    match character {
        _ if character == quote || character == '\\' => {
            out.push('\\');
            out.push(character);
        }
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0C' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0B' => out.push_str("\\v"),
        _ if character.is_ascii() && is_print(character) => out.push(character),
        _ if !ascii && is_print(character) => out.push(character),
        '\0'..=' ' | '\x7F' => out.push_str(&format!("\\x{:02x}", u32::from(character))),
        '\0'..='\u{FFFF}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
        _ => out.push_str(&format!("\\U{:08x}", u32::from(character))),
    }
}

fn quote_with(bytes: &[u8], quote: char, ascii: bool) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push(quote);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            escape_into(&mut out, character, quote, ascii);
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push(quote);
    out
}

/// `strconv.Quote`
#[must_use]
pub fn quote(bytes: &[u8]) -> String {
    quote_with(bytes, '"', false)
}

/// `strconv.QuoteToASCII`
#[must_use]
pub(crate) fn quote_ascii(bytes: &[u8]) -> String {
    quote_with(bytes, '"', true)
}

/// `strconv.QuoteRune`, or `strconv.QuoteRuneToASCII`
#[must_use]
pub(crate) fn quote_char(character: char, ascii: bool) -> String {
    quote_with(character.encode_utf8(&mut [0; 4]).as_bytes(), '\'', ascii)
}

/// `strconv.Unquote` of a literal in double quotes or back quotes; `None`: invalid syntax.
#[must_use]
pub fn unquote(literal: &str) -> Option<Vec<u8>> {
    let mark = literal.chars().next()?;
    let body = literal.strip_prefix(mark)?.strip_suffix(mark)?;
    match mark {
        '`' if body.contains('`') => None,
        '`' if body.contains('\r') => Some(body.bytes().filter(|&byte| byte != b'\r').collect()),
        '`' => Some(body.as_bytes().to_vec()),
        '"' => unquote_body(body, b'"'),
        _ => None,
    }
}

/// The character of a literal in single quotes.
#[must_use]
pub(crate) fn unquote_char(literal: &str) -> Option<char> {
    let body = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut characters = body.chars();
    let first = characters.next()?;
    if first != '\\' {
        return (first != '\'' && characters.next().is_none()).then_some(first);
    }
    let mut rest = characters.as_str();
    let (code, _) = escape_code(&mut rest, b'\'')?;
    rest.is_empty().then(|| char::from_u32(code)).flatten()
}

fn unquote_body(body: &str, quote: u8) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = memchr::memchr3(b'\\', quote, b'\n', rest.as_bytes()) {
        if rest.as_bytes()[at] != b'\\' {
            return None;
        }
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let (code, is_byte) = escape_code(&mut rest, quote)?;
        if is_byte {
            out.push(u8::try_from(code).ok()?);
        } else {
            let character = char::from_u32(code)?;
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    out.extend_from_slice(rest.as_bytes());
    Some(out)
}

/// The code after a backslash, and whether it stands for one byte rather than a character.
fn escape_code(rest: &mut &str, quote: u8) -> Option<(u32, bool)> {
    let first = *rest.as_bytes().first()?;
    let digits = |rest: &mut &str, skip: usize, count: usize, radix: u32| {
        let text = rest.get(skip..skip + count)?;
        if !text.bytes().all(|digit| char::from(digit).is_digit(radix)) {
            return None;
        }
        *rest = &rest[skip + count..];
        u32::from_str_radix(text, radix).ok()
    };
    let simple = match first {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => 10,
        b'r' => 13,
        b't' => 9,
        b'v' => 11,
        b'\\' => 92,
        b'\'' | b'"' if first == quote => u32::from(first),
        b'x' => return digits(rest, 1, 2, 16).map(|code| (code, true)),
        b'u' => return digits(rest, 1, 4, 16).map(|code| (code, false)),
        b'U' => return digits(rest, 1, 8, 16).map(|code| (code, false)),
        b'0'..=b'7' => {
            return digits(rest, 0, 3, 8).filter(|&code| code < 256).map(|code| (code, true));
        }
        _ => return None,
    };
    *rest = &rest[1..];
    Some((simple, false))
}
