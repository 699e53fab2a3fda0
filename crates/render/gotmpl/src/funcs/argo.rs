//! What Argo CD adds for the templates of an ApplicationSet.

use super::Type::{Any, Str as Text};
use super::encoding::{read_yaml, to_yaml};
use super::{Function, fixed, text, variadic};
use crate::error::Error;
use crate::json::from_json;
use crate::value::{Map, Value};

/// Names of objects are no longer.
const LONGEST_NAME: usize = 253;
const LONGEST_SLUG: usize = 50;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("normalize", &[Text], |_, args| Ok(dns_name(&text(args, 0).text()).into())),
    variadic("slugify", &[], Any, |_, args| slugify(args)),
    fixed("toYaml", &[Any], |_, args| Ok(to_yaml(&args[0]).map_err(Error::new)?.into())),
    fixed("fromYaml", &[Text], |_, args| match read_yaml(text(args, 0).as_bytes()).map_err(Error::new)? {
        Value::Nil => Ok(Value::Map(Map::default())),
        map @ Value::Map(_) => Ok(map),
        _ => Err(Error::new("error unmarshaling JSON: the document is no map".to_owned())),
    }),
    fixed("fromYamlArray", &[Text], |_, args| {
        match read_yaml(text(args, 0).as_bytes()).map_err(Error::new)? {
            Value::Nil => Ok(Value::list(Vec::new())),
            list @ Value::List(_) => Ok(list),
            _ => Err(Error::new("error unmarshaling JSON: the document is no list".to_owned())),
        }
    }),
    fixed("fromJson", &[Text], |_, args| Ok(from_json(&text(args, 0).text()).unwrap_or(Value::Nil))),
    fixed("fail", &[Text], |_, args| Err(Error::new(text(args, 0).text().into_owned()))),
];

/// The text as the name of an object may be: lower case, `-` for what no name has, nothing but letters and digits at
/// its ends, 253 characters at most.
///
/// ```
/// assert_eq!(gotmpl::dns_name("Feature/One_2."), "feature-one-2");
/// ```
#[must_use]
pub fn dns_name(text: &str) -> String {
    let lower = text.to_lowercase();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let mut name: String = lower.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    name.truncate(LONGEST_NAME);
    name.trim_matches(['-', '.']).to_owned()
}

/// The text as a part of an address: words of lower-case letters, digits and underscores, joined by `-`. If that is
/// longer than `longest`, it ends where a word does (`by_word`) or just there. Letters that are not ASCII are left out.
///
/// ```
/// assert_eq!(gotmpl::slug("Fix: this & that", 50, true), "fix-this-and-that");
/// assert_eq!(gotmpl::slug("one-two-three", 10, true), "one-two");
/// assert_eq!(gotmpl::slug("one-two-three", 10, false), "one-two-th");
/// ```
#[must_use]
pub fn slug(text: &str, longest: usize, by_word: bool) -> String {
    let text = text.trim().replace('&', "and").replace('@', "at").replace(['"', '\'', '’'], "");
    let mut slug = String::new();
    for character in text.to_lowercase().chars() {
        if character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_' {
            slug.push(character);
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let mut slug = slug.trim_matches(['-', '_']);
    if longest > 0 && slug.len() > longest {
        let end = slug.bytes().take(longest + 1).rposition(|byte| by_word && byte == b'-');
        slug = &slug[..end.unwrap_or(longest)];
    }
    slug.trim_matches(['-', '_']).to_owned()
}

/// `slugify [longest=50] [by word=true] name`.
fn slugify(args: &[Value]) -> Result<Value, Error> {
    let wrong = |what: &str| Error::new(format!("slugify: {what}"));
    let Some((name, options)) = args.split_last() else { return Err(wrong("the name is missing")) };
    let Value::Str(name) = name else { return Err(wrong("the name is no string")) };
    let longest = match options.first() {
        None => LONGEST_SLUG,
        Some(Value::Int(_, longest)) => {
            usize::try_from(*longest).map_err(|_| wrong("the longest length is negative"))?
        }
        Some(_) => return Err(wrong("the longest length is no int")),
    };
    let by_word = match options.get(1) {
        None => true,
        Some(Value::Bool(by_word)) => *by_word,
        Some(_) => return Err(wrong("whether to end at a word is no bool")),
    };
    Ok(slug(&dns_name(&name.text()), longest, by_word).into())
}

#[cfg(test)]
mod tests {
    use crate::{Functions, Limits, Machine, MissingKey, Offline, Templates};

    fn run(text: &str) -> String {
        let mut templates = Templates::new(Functions::application_sets());
        if let Err(error) = templates.parse("t", text) {
            return error.to_string();
        }
        let data =
            crate::from_json(r#"{"branch": "feature/Some_Long-Name", "n": 3, "m": {"a": 1}}"#).unwrap();
        let machine = Machine::new(&templates, &Offline, Limits::default());
        match machine.missing_key(MissingKey::Error).execute("t", &data) {
            Ok(text) => text.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn names() {
        assert_eq!(run("{{ normalize .branch }}"), "feature-some-long-name");
        assert_eq!(run("{{ slugify .branch }}"), "feature-some-long-name");
        assert_eq!(run("{{ slugify 14 .branch }}"), "feature-some");
        assert_eq!(run("{{ .branch | slugify 14 false }}"), "feature-some-l");
        assert!(run("{{ slugify \"x\" .branch }}").contains("the longest length is no int"));
    }

    #[test]
    fn yaml_and_what_is_missing() {
        assert_eq!(
            run("{{ toYaml .m }} {{ (fromYaml \"a: b\").a }} {{ len (fromYamlArray \"[1, 2]\") }}"),
            "a: 1 b 2"
        );
        assert!(
            run("{{ .nope }}").contains("<.nope>: map has no entry for key \"nope\""),
            "{}",
            run("{{ .nope }}")
        );
        assert!(run("{{ .m.nope }}").contains("map has no entry for key \"nope\""));
        assert!(run("{{ env \"HOME\" }}").contains("function \"env\" not defined"));
        assert!(run("{{ getHostByName \"x\" }}").contains("not defined"));
        assert!(run("{{ include \"x\" . }}").contains("not defined"));
    }
}
