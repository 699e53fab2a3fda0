//! The roles that every Argo CD has.

use crate::line::{Effect, Line, Rule};

const READ_ONLY: &str = "role:readonly";
const ADMIN: &str = "role:admin";

/// Resources with what each role may do with them. Those of a project name their objects as PROJECT/NAME.
const READABLE: [&str; 10] = [
    "applications",
    "applicationsets",
    "certificates",
    "clusters",
    "repositories",
    "write-repositories",
    "projects",
    "accounts",
    "gpgkeys",
    "logs",
];
const CHANGEABLE: [(&str, &[&str]); 10] = [
    (
        "applications",
        &["create", "update", "update/*", "delete", "delete/*", "sync", "rollback", "override", "action/*"],
    ),
    ("applicationsets", &["get", "create", "update", "delete"]),
    ("certificates", &["create", "update", "delete"]),
    ("clusters", &["create", "update", "delete"]),
    ("repositories", &["create", "update", "delete"]),
    ("write-repositories", &["create", "update", "delete"]),
    ("projects", &["create", "update", "delete"]),
    ("accounts", &["update"]),
    ("gpgkeys", &["create", "delete"]),
    ("exec", &["create", "debug"]),
];

/// Their lines, of Argo CD 3.
pub(crate) fn lines() -> Vec<Line> {
    let rule = |subject: &str, resource: &str, action: &str| {
        let object =
            if ["applications", "applicationsets", "logs", "exec"].contains(&resource) { "*/*" } else { "*" };
        Line::Rule(Rule {
            subject: subject.to_owned(),
            resource: resource.to_owned(),
            action: action.to_owned(),
            object: object.to_owned(),
            effect: Effect::Allow,
        })
    };
    let member =
        |subject: &str, role: &str| Line::Member { subject: subject.to_owned(), role: role.to_owned() };
    let mut lines: Vec<Line> = READABLE.iter().map(|resource| rule(READ_ONLY, resource, "get")).collect();
    for (resource, actions) in CHANGEABLE {
        lines.extend(actions.iter().map(|action| rule(ADMIN, resource, action)));
    }
    lines.extend([member(ADMIN, READ_ONLY), member("admin", ADMIN)]);
    lines
}
