//! A whole policy, and what it answers.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::Value;
use sync::glob;

use crate::builtin;
use crate::line::{self, Effect, Fault, Line, Rule, Severity};
use crate::vocabulary;

/// How many steps a role may be inherited through.
const MOST_STEPS: usize = 10;
/// Longer patterns are no regular expressions that anybody wrote by hand.
const MOST_PATTERN: usize = 4096;

/// How patterns are matched: `policy.matchMode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MatchMode {
    #[default]
    Glob,
    /// A search: what has no anchors matches anywhere.
    Regex,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// A user, a group, or a role.
    pub subject: &'a str,
    pub resource: &'a str,
    pub action: &'a str,
    pub object: &'a str,
}

/// What is answered, and by which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Allowed {
        by: Rule,
    },
    Denied {
        /// The line that denies it; without one, no line permits it.
        by: Option<Rule>,
    },
    /// A line that cannot be used denies everything.
    Broken(Fault),
}

impl Answer {
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Answer::Allowed { .. })
    }
}

/// The lines of a policy in their order.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    lines: Vec<Line>,
    faults: Vec<Fault>,
    default_role: String,
    mode: MatchMode,
}

impl Policy {
    /// The built-in roles and nothing else.
    #[must_use]
    pub fn builtin() -> Self {
        Self { lines: builtin::lines(), ..Self::default() }
    }

    /// What `argocd-rbac-cm` adds: `policy.csv`, then every other `policy.*.csv` in the order of their names, the default
    /// role, and how patterns are matched.
    #[must_use]
    pub fn with_config_map(mut self, map: &Value) -> Self {
        let text = |key: &str| map["data"][key].as_str().unwrap_or_default();
        text("policy.default").clone_into(&mut self.default_role);
        // What is wrong with a line depends on it.
        if text("policy.matchMode") == "regex" {
            self.mode = MatchMode::Regex;
        }
        self = self.with_text("policy.csv", text("policy.csv"));
        for key in map["data"].as_object().into_iter().flat_map(|data| data.keys()) {
            if key.starts_with("policy.") && key.ends_with(".csv") && key != "policy.csv" {
                self = self.with_text(key, text(key));
            }
        }
        self
    }

    /// Adds the lines of a text.
    #[must_use]
    pub fn with_text(mut self, source: &str, text: &str) -> Self {
        for (at, one) in text.lines().enumerate() {
            self.add(source, at + 1, one);
        }
        self
    }

    /// Adds what an AppProject says of its roles: each may see the project, has its policies, and its groups are in it.
    #[must_use]
    pub fn with_project(mut self, project: &Value) -> Self {
        let name = project["metadata"]["name"].as_str().unwrap_or_default();
        let source = format!("AppProject {name}");
        let mut number = 0;
        for role in project["spec"]["roles"].as_array().into_iter().flatten() {
            let texts = |field: &str| {
                let list = role[field].as_array().into_iter().flatten();
                list.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
            };
            let own = format!("proj:{name}:{}", role["name"].as_str().unwrap_or_default());
            let mut lines = vec![format!("p, {own}, projects, get, {name}, allow")];
            lines.extend(texts("policies"));
            lines.extend(texts("groups").iter().map(|group| format!("g, {group}, {own}")));
            for one in lines {
                number += 1;
                self.add(&source, number, &one);
            }
        }
        self
    }

    /// Another default role than the ConfigMap's.
    #[must_use]
    pub fn with_default_role(mut self, role: &str) -> Self {
        role.clone_into(&mut self.default_role);
        self
    }

    #[must_use]
    pub fn default_role(&self) -> &str {
        &self.default_role
    }

    fn add(&mut self, source: &str, number: usize, text: &str) {
        let fault =
            |problem: String, severity| Fault { source: source.to_owned(), number, problem, severity };
        match line::read(text) {
            Ok(None) => {}
            Ok(Some(line)) => {
                if let Some((problem, severity)) = self.doubts(&line) {
                    self.faults.push(fault(problem, severity));
                }
                self.lines.push(line);
            }
            Err((problem, severity)) => self.faults.push(fault(problem, severity)),
        }
    }

    /// What is wrong with a line that can be read.
    fn doubts(&self, line: &Line) -> Option<(String, Severity)> {
        let Line::Rule(rule) = line else { return None };
        if rule.effect == Effect::Neither {
            return Some((
                "the effect is neither allow nor deny: the line does nothing".to_owned(),
                Severity::Idle,
            ));
        }
        if self.mode == MatchMode::Regex {
            return None;
        }
        let resources: Vec<_> =
            vocabulary::all().filter(|(name, _)| glob::matches(&rule.resource, name)).collect();
        if resources.is_empty() {
            let problem = format!("no resource is called {:?}: the line does nothing", rule.resource);
            return Some((problem, Severity::Idle));
        }
        let reached = resources.iter().any(|(_, actions)| {
            actions.iter().any(|action| match action.strip_suffix('/') {
                Some(base) => rule.action.split('/').next().is_some_and(|first| glob::matches(first, base)),
                None => glob::matches(&rule.action, action),
            })
        });
        (!reached).then(|| {
            let problem = format!(
                "nothing that can be done with {} is called {:?}: the line does nothing",
                rule.resource, rule.action
            );
            (problem, Severity::Idle)
        })
    }

    /// Everything that is wrong, in order.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Whether somebody may do something.
    #[must_use]
    pub fn answer(&self, request: Request<'_>) -> Answer {
        let broken = |fault: &&Fault| fault.severity != Severity::Idle;
        if let Some(fault) = self.faults.iter().find(broken) {
            return Answer::Broken(fault.clone());
        }
        if !self.default_role.is_empty() {
            let by_default = self.decide(Request { subject: &self.default_role, ..request });
            if by_default.is_allowed() {
                return by_default;
            }
        }
        self.decide(request)
    }

    fn decide(&self, request: Request<'_>) -> Answer {
        let roles = self.roles_of(request.subject);
        let mut allowed = None;
        for line in &self.lines {
            let Line::Rule(rule) = line else { continue };
            let concerned = roles.contains(rule.subject.as_str())
                && self.matches(&rule.resource, request.resource)
                && self.matches(&rule.action, request.action)
                && self.matches(&rule.object, request.object);
            match rule.effect {
                Effect::Deny if concerned => return Answer::Denied { by: Some(rule.clone()) },
                Effect::Allow if concerned => {
                    allowed.get_or_insert(rule);
                }
                _ => {}
            }
        }
        allowed.map_or(Answer::Denied { by: None }, |rule| Answer::Allowed { by: rule.clone() })
    }

    /// A pattern that is no regular expression matches nothing.
    fn matches(&self, pattern: &str, text: &str) -> bool {
        match self.mode {
            MatchMode::Glob => glob::matches(pattern, text),
            MatchMode::Regex => {
                pattern.len() <= MOST_PATTERN && Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
            }
        }
    }

    /// A subject and every role that it has.
    fn roles_of<'a>(&'a self, subject: &'a str) -> BTreeSet<&'a str> {
        let mut memberships: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in &self.lines {
            if let Line::Member { subject, role } = line {
                memberships.entry(subject).or_default().push(role);
            }
        }
        let mut roles = BTreeSet::from([subject]);
        let mut newest = vec![subject];
        for _ in 0..MOST_STEPS {
            let next = newest.iter().filter_map(|role| memberships.get(role)).flatten().copied();
            newest = next.filter(|role| roles.insert(role)).collect();
        }
        roles
    }
}
