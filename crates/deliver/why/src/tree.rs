//! The tree of reasons, and how it reads.

use serde::Serialize;

use crate::Target;

/// How a place in the tree does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum State {
    /// As it should be.
    Healthy,
    /// On its way; nothing says that it will not get there.
    Waiting,
    /// It cannot be read, so that nothing can be said.
    Unknown,
    /// It will not get there by itself.
    Blocked,
}

/// An object, a part of one, or a step on the way to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    /// `Deployment shop/web`, `container web`, `source https://…`.
    pub subject: String,
    /// The object, where it is one: `group`, `kind`, `namespace` and `name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Object>,
    /// The worst of its own and those below.
    pub state: State,
    /// In a few words: `CrashLoopBackOff`, `0/3 available`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// What the API says, word for word.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<String>,
    /// The last lines that a container printed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// Whether this is where the trouble begins.
    pub cause: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Node>,
    /// Its own state, apart from those below.
    #[serde(skip)]
    pub(crate) own: State,
}

/// What identifies an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Object {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
}

impl Node {
    /// A part or a step.
    pub(crate) fn new(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            object: None,
            state: State::Healthy,
            status: String::new(),
            messages: Vec::new(),
            log: Vec::new(),
            hint: String::new(),
            cause: false,
            children: Vec::new(),
            own: State::Healthy,
        }
    }

    pub(crate) fn of(target: &Target) -> Self {
        let Target { group, kind, namespace, name } = target.clone();
        let place = if namespace.is_empty() { name.clone() } else { format!("{namespace}/{name}") };
        let object = Some(Object { group, kind: kind.clone(), namespace, name });
        Self { object, ..Self::new(format!("{kind} {place}")) }
    }

    pub(crate) fn with_status(mut self, status: impl Into<String>) -> Self {
        self.status = status.into();
        self
    }

    pub(crate) fn blocked(self, status: impl Into<String>) -> Self {
        self.in_state(State::Blocked).with_status(status)
    }

    pub(crate) fn waiting(self, status: impl Into<String>) -> Self {
        self.in_state(State::Waiting).with_status(status)
    }

    pub(crate) fn unread(self, reason: &str) -> Self {
        self.in_state(State::Unknown).with_status("cannot be read").with_message(reason)
    }

    pub(crate) fn in_state(mut self, state: State) -> Self {
        self.own = state;
        self
    }

    /// A message, unless it is empty or there already.
    pub(crate) fn with_message(mut self, message: impl Into<String>) -> Self {
        self.say(message);
        self
    }

    pub(crate) fn say(&mut self, message: impl Into<String>) {
        let message = message.into();
        if !message.trim().is_empty() && !self.messages.contains(&message) {
            self.messages.push(message);
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    pub(crate) fn with(mut self, child: Node) -> Self {
        self.children.push(child);
        self
    }

    /// The state of a node that is still being made, with those below.
    pub(crate) fn so_far(&self) -> State {
        self.children.iter().map(Node::so_far).fold(self.own, State::max)
    }

    /// Spreads the states upwards, puts the worst first, and marks where the trouble begins.
    pub(crate) fn finish(&mut self) {
        self.spread();
        let worst = self.state;
        if worst > State::Healthy {
            self.mark(worst);
        }
    }

    fn spread(&mut self) {
        for child in &mut self.children {
            child.spread();
        }
        self.state = self.children.iter().map(|child| child.state).fold(self.own, State::max);
        self.children.sort_by_key(|child| std::cmp::Reverse(child.state));
    }

    fn mark(&mut self, worst: State) {
        self.cause = self.state == worst && self.children.iter().all(|child| child.state < worst);
        for child in &mut self.children {
            child.mark(worst);
        }
    }

    /// The nodes where the trouble begins, from the top down.
    #[must_use]
    pub fn causes(&self) -> Vec<&Node> {
        let own = self.cause.then_some(self);
        own.into_iter().chain(self.children.iter().flat_map(Node::causes)).collect()
    }

    /// The tree as lines for people. Healthy branches are counted and left out unless `all` is set.
    #[must_use]
    pub fn text(&self, all: bool) -> String {
        let mut out = String::new();
        self.write(&mut out, "", "", all);
        out
    }

    fn write(&self, out: &mut String, first: &str, rest: &str, all: bool) {
        let status = if self.status.is_empty() { String::new() } else { format!(": {}", self.status) };
        let mark = if self.cause { "  <-- root cause" } else { "" };
        let sign = match self.state {
            State::Healthy => "ok",
            State::Waiting => "..",
            State::Unknown => "??",
            State::Blocked => "!!",
        };
        out.push_str(&format!("{first}{sign} {}{}{mark}\n", one_line(&self.subject), one_line(&status)));
        let (shown, hidden): (Vec<&Node>, Vec<&Node>) =
            self.children.iter().partition(|child| all || child.state > State::Healthy);
        let bar = if shown.is_empty() && hidden.is_empty() { "   " } else { "│  " };
        for message in &self.messages {
            for line in message.lines() {
                out.push_str(&format!("{rest}{bar}{}\n", printable(line)));
            }
        }
        for line in &self.log {
            out.push_str(&format!("{rest}{bar}log: {}\n", printable(line)));
        }
        if !self.hint.is_empty() {
            out.push_str(&format!("{rest}{bar}try: {}\n", one_line(&self.hint)));
        }
        for (position, child) in shown.iter().enumerate() {
            let last = position + 1 == shown.len() && hidden.is_empty();
            let (branch, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            child.write(out, &format!("{rest}{branch}"), &format!("{rest}{below}"), all);
        }
        match hidden.as_slice() {
            [] => {}
            [one] => out.push_str(&format!("{rest}└─ ok {}\n", one_line(&one.subject))),
            more => out.push_str(&format!("{rest}└─ ok {} more\n", more.len())),
        }
    }
}

fn one_line(text: &str) -> String {
    printable(&text.replace('\n', " "))
}

/// What a container prints must not move the cursor of whoever reads it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}
