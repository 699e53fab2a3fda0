//! One line of a policy.

use std::fmt;

/// What a line says of those it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
    /// Any other word: the line is matched and says nothing.
    Neither,
}

/// Who may (not) do what with which objects. All but the subject are patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub subject: String,
    pub resource: String,
    pub action: String,
    pub object: String,
    pub effect: Effect,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    Rule(Rule),
    /// Whoever is the one is also the other.
    Member {
        subject: String,
        role: String,
    },
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where the line is from: `policy.csv`, `policy.team.csv`, `AppProject shop`.
    pub source: String,
    /// From 1.
    pub number: usize,
    pub problem: String,
    pub severity: Severity,
}

/// What a fault leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Argo CD refuses the policy as a whole, and goes on with the one before.
    Refused,
    /// Argo CD takes the policy and then denies everybody everything but what the built-in roles' lines before it decide.
    DeniesAll,
    /// The line has no effect, or another one than its author is likely to want.
    Idle,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { source, number, problem, .. } = self;
        write!(f, "{source}, line {number}: {problem}")
    }
}

/// Reads a line; `None` for one without anything.
///
/// # Errors
/// What is wrong with it, and how badly.
pub(crate) fn read(line: &str) -> Result<Option<Line>, (String, Severity)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let fields = fields(line).map_err(|problem| (problem, Severity::Refused))?;
    let mut fields = fields.into_iter();
    let key = fields.next().unwrap_or_default();
    let rest: Vec<String> = fields.collect();
    let count = rest.len();
    match (key.as_str(), count) {
        (_, 0) => Err((format!("{line:?} has no fields"), Severity::Refused)),
        ("p", _) => {
            let [subject, resource, action, object, effect] = <[String; 5]>::try_from(rest).map_err(|_| {
                let problem = format!("a line with p has 5 fields after it (subject, resource, action, object, effect), not {count}");
                (problem, Severity::DeniesAll)
            })?;
            let effect = match effect.as_str() {
                "allow" => Effect::Allow,
                "deny" => Effect::Deny,
                _ => Effect::Neither,
            };
            Ok(Some(Line::Rule(Rule { subject, resource, action, object, effect })))
        }
        ("g", 1) => {
            Err(("a line with g has 2 fields after it (subject, role), not 1".to_owned(), Severity::Refused))
        }
        // What follows would be a domain, of which Argo CD's model has none.
        ("g", _) => {
            let mut rest = rest.into_iter();
            let (subject, role) = (rest.next().unwrap_or_default(), rest.next().unwrap_or_default());
            Ok(Some(Line::Member { subject, role }))
        }
        (other, _) => Err((format!("a line begins with p or g, not {other:?}"), Severity::Refused)),
    }
}

/// The fields of a line of CSV as Go's reader takes them with leading space trimmed: quotes begin a field or are an
/// error.
fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start();
        if let Some(quoted) = rest.strip_prefix('"') {
            let (field, after) = quoted_field(quoted)?;
            fields.push(field);
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None if after.is_empty() => return Ok(fields),
                None => return Err(format!("extraneous text after a quoted field: {after:?}")),
            }
            continue;
        }
        let (field, next) = match rest.split_once(',') {
            Some((field, next)) => (field, Some(next)),
            None => (rest, None),
        };
        if field.contains('"') {
            return Err(format!("a bare quote in the field {field:?}"));
        }
        fields.push(field.to_owned());
        match next {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// The field up to its closing quote, and what follows; doubled quotes are one.
fn quoted_field(text: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some((before, after)) = rest.split_once('"') else {
            return Err("a quote is not closed".to_owned());
        };
        field.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Ok((field, after)),
        }
    }
}
