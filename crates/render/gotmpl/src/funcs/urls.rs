//! `urlParse`, `urlJoin`, `urlquery`.

use super::Type::{Map as Dict, Str as Text};
use super::{Function, fixed, map, text};
use crate::error::Error;
use crate::exec::Machine;
use crate::value::{Map, Value};

pub(super) const FUNCTIONS: &[Function] =
    &[fixed("urlParse", &[Text], url_parse), fixed("urlJoin", &[Dict], url_join)];

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
}

fn escape(text: &[u8], keep: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text {
        if is_unreserved(byte) || keep(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// `url.QueryEscape`
pub(super) fn query_escape(text: &[u8]) -> String {
    escape(text, |byte| byte == b' ').replace(' ', "+")
}

/// Replaces escapes by what they stand for.
fn unescape(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digits = text.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
            let Some(byte) = digits else {
                let shown = text.get(at..at + 3).unwrap_or(&text[at..]);
                return Err(format!("invalid URL escape {}", crate::quote::quote(shown.as_bytes())));
            };
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[derive(Debug, Default)]
struct Url {
    scheme: String,
    opaque: String,
    user: Option<String>,
    host: String,
    path: String,
    query: String,
    fragment: String,
}

fn parse(whole: &str) -> Result<Url, String> {
    let error = |message: String| format!("parse {}: {message}", crate::quote::quote(whole.as_bytes()));
    if whole.bytes().any(|byte| byte < b' ' || byte == 0x7F) {
        return Err(error("net/url: invalid control character in URL".to_owned()));
    }
    let mut url = Url::default();
    let (rest, fragment) = whole.split_once('#').unwrap_or((whole, ""));
    url.fragment = unescape(fragment).map_err(error)?;
    let rest = match scheme_end(rest).map_err(error)? {
        Some(end) => {
            url.scheme = rest[..end].to_ascii_lowercase();
            &rest[end + 1..]
        }
        None => rest,
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    query.clone_into(&mut url.query);
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            rest.clone_into(&mut url.opaque);
            return Ok(url);
        }
        if rest.split('/').next().is_some_and(|first| first.contains(':')) {
            return Err(error("first path segment in URL cannot contain colon".to_owned()));
        }
    }
    let mut path = rest;
    if let Some(after) =
        rest.strip_prefix("//").filter(|_| !rest.starts_with("///") || !url.scheme.is_empty())
    {
        let end = after.find('/').unwrap_or(after.len());
        path = &after[end..];
        authority(&after[..end], &mut url).map_err(error)?;
    }
    url.path = unescape(path).map_err(error)?;
    Ok(url)
}

/// Where the scheme ends, if there is one.
fn scheme_end(text: &str) -> Result<Option<usize>, String> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok(Some(at)),
            _ => return Ok(None),
        }
    }
    Ok(None)
}

fn authority(text: &str, url: &mut Url) -> Result<(), String> {
    let host = match text.rsplit_once('@') {
        Some((user, host)) => {
            let (name, password) = match user.split_once(':') {
                Some((name, password)) => (name, Some(password)),
                None => (user, None),
            };
            let keep = |byte: u8| b"$&+,;=".contains(&byte);
            let mut shown = escape(unescape(name)?.as_bytes(), keep);
            if let Some(password) = password {
                shown.push(':');
                shown.push_str(&escape(unescape(password)?.as_bytes(), keep));
            }
            url.user = Some(shown);
            host
        }
        None => text,
    };
    if host.contains(' ') {
        return Err("invalid character \" \" in host name".to_owned());
    }
    let port = match host.rfind(']') {
        Some(close) => &host[close + 1..],
        None => host.rfind(':').map_or("", |colon| &host[colon..]),
    };
    if let Some(digits) = port.strip_prefix(':')
        && !digits.bytes().all(|byte| byte.is_ascii_digit())
    {
        let port = crate::quote::quote(port.as_bytes());
        return Err(format!("invalid port {port} after host"));
    }
    url.host = if host.starts_with('[') { host.to_owned() } else { unescape(host)? };
    Ok(())
}

fn host_name(host: &str) -> &str {
    if let Some(end) = host.strip_prefix('[').and_then(|rest| rest.find(']')) {
        return &host[1..=end];
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn url_parse(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let url =
        parse(&text(args, 0).text()).map_err(|error| Error::new(format!("unable to parse url: {error}")))?;
    let host_name = host_name(&url.host).to_owned();
    Ok([
        ("scheme", url.scheme),
        ("host", url.host),
        ("hostname", host_name),
        ("path", url.path),
        ("query", url.query),
        ("opaque", url.opaque),
        ("fragment", url.fragment),
        ("userinfo", url.user.unwrap_or_default()),
    ]
    .into_iter()
    .map(|(key, value)| (key, Value::from(value)))
    .collect())
}

fn part(map: &Map, key: &str) -> Result<String, Error> {
    match map.get(key.as_bytes()) {
        None => Ok(String::new()),
        Some(Value::Str(text)) => Ok(text.text().into_owned()),
        Some(Value::Nil) => Err("runtime error: invalid memory address or nil pointer dereference".into()),
        Some(other) => {
            Err(format!("unable to parse {key} key, must be of type string, but {} found", other.kind_name())
                .into())
        }
    }
}

fn url_join(_: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let map = map(args, 0);
    let [scheme, host, path, query, opaque, fragment, user] =
        ["scheme", "host", "path", "query", "opaque", "fragment", "userinfo"].map(|key| part(&map, key));
    let (scheme, host, path, query) = (scheme?, host?, path?, query?);
    let (opaque, fragment, user) = (opaque?, fragment?, user?);
    let mut out = String::new();
    if !scheme.is_empty() {
        out.push_str(&scheme);
        out.push(':');
    }
    if opaque.is_empty() {
        if !scheme.is_empty() || !host.is_empty() || !user.is_empty() {
            if !host.is_empty() || !path.is_empty() || !user.is_empty() {
                out.push_str("//");
            }
            if !user.is_empty() {
                let parsed = parse(&format!("proto://{user}@host"))
                    .map_err(|error| Error::new(format!("unable to parse userinfo in dict: {error}")))?;
                out.push_str(&parsed.user.unwrap_or_default());
                out.push('@');
            }
            out.push_str(&escape(host.as_bytes(), |byte| b"!$&'()*+,;=:[]<>\"".contains(&byte)));
        }
        let escaped = escape(path.as_bytes(), |byte| b"$&+,/:;=@!'()*".contains(&byte));
        if !escaped.is_empty() && !escaped.starts_with('/') && !host.is_empty() {
            out.push('/');
        }
        if out.is_empty() && escaped.split('/').next().is_some_and(|first| first.contains(':')) {
            out.push_str("./");
        }
        out.push_str(&escaped);
    } else {
        out.push_str(&opaque);
    }
    if !query.is_empty() {
        out.push('?');
        out.push_str(&query);
    }
    if !fragment.is_empty() {
        out.push('#');
        out.push_str(&escape(fragment.as_bytes(), |byte| b"$&+,/:;=?@!()*'".contains(&byte)));
    }
    Ok(out.into())
}
