//! When an application of a project may be synced: the project's `syncWindows`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use objects::Value;
use objects::schedule::Schedule;

use crate::glob;
use crate::schedule::parse_duration;

/// What a window of time does to syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Allow,
    Deny,
}

/// One entry of `syncWindows`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    kind: Kind,
    schedule: String,
    duration: String,
    zone: String,
    manual_sync: bool,
    overrun: bool,
    /// Whether all of the following that are given must match, and not any.
    all: bool,
    applications: Vec<String>,
    namespaces: Vec<String>,
    clusters: Vec<String>,
}

/// The windows of a project, or those of them that concern one application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Windows(Vec<Window>);

/// Whom a window may concern.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub application: &'a str,
    /// `spec.destination` as it is written: a name, a server, or neither.
    pub cluster_name: &'a str,
    pub server: &'a str,
    pub namespace: &'a str,
}

/// Who wants to sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initiator {
    Person,
    Automation,
}

/// A window that cannot be evaluated; nothing is synced until it can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    #[error("invalid sync windows: cannot parse schedule '{schedule}': {reason}")]
    Schedule { schedule: String, reason: String },
    #[error("invalid sync windows: cannot parse duration '{0}'")]
    Duration(String),
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Windows {
    /// From `spec.syncWindows`. Entries of an unknown kind count for nothing, as upstream.
    #[must_use]
    pub fn from_value(list: &Value) -> Self {
        let windows = list.as_array().into_iter().flatten().filter_map(|entry| {
            let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            let kind = match entry["kind"].as_str()? {
                "allow" => Kind::Allow,
                "deny" => Kind::Deny,
                _ => return None,
            };
            Some(Window {
                kind,
                schedule: text("schedule"),
                duration: text("duration"),
                zone: text("timeZone"),
                manual_sync: entry["manualSync"] == true,
                overrun: entry["syncOverrun"] == true,
                all: entry["andOperator"] == true,
                applications: texts(&entry["applications"]),
                namespaces: texts(&entry["namespaces"]),
                clusters: texts(&entry["clusters"]),
            })
        });
        Self(windows.collect())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The windows that concern an application.
    #[must_use]
    pub fn of(&self, subject: Subject<'_>) -> Self {
        Self(self.0.iter().filter(|window| window.concerns(subject)).cloned().collect())
    }

    /// Whether a sync may start at `now`, or, with `started`, go on.
    ///
    /// # Errors
    /// If a schedule or duration cannot be read.
    pub fn can_sync(
        &self,
        by: Initiator,
        started: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<bool, WindowError> {
        let verdict = self.verdict(by, now)?;
        if verdict.allowed {
            return Ok(true);
        }
        match started {
            Some(started) if verdict.overrun => Ok(self.verdict(by, started)?.allowed),
            _ => Ok(false),
        }
    }

    fn verdict(&self, by: Initiator, now: Timestamp) -> Result<Verdict, WindowError> {
        let mut active = Vec::new();
        let mut waiting = Vec::new();
        for window in &self.0 {
            match (window.is_active(now)?, window.kind) {
                (true, _) => active.push(window),
                (false, Kind::Allow) => waiting.push(window),
                (false, Kind::Deny) => {}
            }
        }
        let denying: Vec<_> = active.iter().copied().filter(|window| window.kind == Kind::Deny).collect();
        let against = if !denying.is_empty() {
            denying
        } else if active.is_empty() {
            waiting
        } else {
            Vec::new()
        };
        if against.is_empty() {
            return Ok(Verdict { allowed: true, overrun: true });
        }
        let manual = by == Initiator::Person && against.iter().all(|window| window.manual_sync);
        Ok(Verdict { allowed: manual, overrun: against.iter().all(|window| window.overrun) })
    }

    /// How long until any window opens or closes; `None` if none ever will, or cannot be read.
    #[must_use]
    pub fn next_change(&self, now: Timestamp) -> Option<Duration> {
        let changes = self.0.iter().filter_map(|window| {
            let (schedule, duration) = window.times().ok()?;
            let opens = schedule.next(now);
            let closes =
                schedule.next(now.checked_sub(duration).ok()?).and_then(|at| at.checked_add(duration).ok());
            opens.into_iter().chain(closes.filter(|at| *at > now)).min()
        });
        let next = changes.min()?;
        Duration::try_from(next.duration_since(now)).ok()
    }
}

struct Verdict {
    allowed: bool,
    /// Whether what began while it was allowed may go on.
    overrun: bool,
}

impl Window {
    fn times(&self) -> Result<(Schedule, SignedDuration), WindowError> {
        let refused = |reason: String| WindowError::Schedule { schedule: self.schedule.clone(), reason };
        if self.schedule.starts_with('@') {
            return Err(refused("descriptors are not accepted".to_owned()));
        }
        let zone = Some(self.zone.as_str());
        // An unknown time zone is UTC, as upstream.
        let schedule = Schedule::parse(&self.schedule, zone)
            .or_else(|_| Schedule::parse(&self.schedule, None))
            .map_err(|error| refused(error.to_string()))?;
        let duration = parse_duration(&self.duration).and_then(|duration| duration.try_into().ok());
        Ok((schedule, duration.ok_or_else(|| WindowError::Duration(self.duration.clone()))?))
    }

    fn is_active(&self, now: Timestamp) -> Result<bool, WindowError> {
        let (schedule, duration) = self.times()?;
        let Ok(since) = now.checked_sub(duration) else { return Ok(false) };
        Ok(schedule.next(since).is_some_and(|begin| begin < now))
    }

    fn concerns(&self, subject: Subject<'_>) -> bool {
        let any = |patterns: &[String], text: &str| patterns.iter().any(|p| glob::matches(p, text));
        let named = |patterns: &[String], text: &str| !text.is_empty() && any(patterns, text);
        let checks = [
            (&self.applications, any(&self.applications, subject.application)),
            (
                &self.clusters,
                named(&self.clusters, subject.cluster_name) || named(&self.clusters, subject.server),
            ),
            (&self.namespaces, any(&self.namespaces, subject.namespace)),
        ];
        let mut given = checks.iter().filter(|(patterns, _)| !patterns.is_empty()).peekable();
        if given.peek().is_none() {
            return false;
        }
        if self.all { given.all(|(_, matched)| *matched) } else { given.any(|(_, matched)| *matched) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn subject(application: &str) -> Subject<'_> {
        Subject { application, cluster_name: "", server: "https://kubernetes.default.svc", namespace: "shop" }
    }

    #[test]
    fn windows_allow_and_deny() {
        let check = |list: Value, by: Initiator, now: &str, expected: bool| {
            let windows = Windows::from_value(&list).of(subject("web"));
            assert_eq!(windows.can_sync(by, None, at(now)), Ok(expected), "{list} {by:?} {now}");
        };
        let noon = "2026-01-05T12:30:00Z";
        let window = |kind: &str, schedule: &str| json!({"kind": kind, "schedule": schedule, "duration": "1h", "applications": ["w*"]});
        let (person, automation) = (Initiator::Person, Initiator::Automation);
        check(json!([]), automation, noon, true);
        check(json!([window("deny", "0 12 * * *")]), automation, noon, false);
        check(json!([window("deny", "0 12 * * *")]), person, noon, false);
        check(json!([window("deny", "0 14 * * *")]), automation, noon, true);
        check(json!([window("allow", "0 14 * * *")]), automation, noon, false);
        check(json!([window("allow", "0 12 * * *")]), automation, noon, true);
        check(json!([window("allow", "0 12 * * *"), window("deny", "0 12 * * *")]), automation, noon, false);
        check(json!([window("allow", "0 12 * * *"), window("allow", "0 14 * * *")]), automation, noon, true);
        let mut manual = window("deny", "0 12 * * *");
        manual["manualSync"] = true.into();
        check(json!([manual]), person, noon, true);
        check(json!([manual]), automation, noon, false);
        let mut zoned = window("deny", "0 12 * * *");
        zoned["timeZone"] = "Asia/Seoul".into();
        check(json!([zoned]), automation, noon, true);
        check(json!([zoned]), automation, "2026-01-05T03:30:00Z", false);
    }

    #[test]
    fn a_window_concerns_what_it_names() {
        let concerns = |mut window: Value, application: &str| {
            window["kind"] = "deny".into();
            !Windows::from_value(&json!([window])).of(subject(application)).is_empty()
        };
        assert!(!concerns(json!({}), "web"));
        assert!(concerns(json!({"applications": ["*"]}), "web"));
        assert!(concerns(json!({"applications": ["x"], "namespaces": ["sh?p"]}), "web"));
        assert!(!concerns(
            json!({"applications": ["x"], "namespaces": ["shop"], "andOperator": true}),
            "web"
        ));
        assert!(concerns(
            json!({"clusters": ["https://*"], "namespaces": ["shop"], "andOperator": true}),
            "web"
        ));
        assert!(!concerns(json!({"clusters": ["in-cluster"]}), "web"));
    }

    #[test]
    fn a_running_sync_may_overrun_and_what_is_unreadable_blocks() {
        let list = json!([{"kind": "deny", "schedule": "0 12 * * *", "duration": "1h", "namespaces": ["*"], "syncOverrun": true}]);
        let windows = Windows::from_value(&list).of(subject("web"));
        let now = at("2026-01-05T12:30:00Z");
        let automation = Initiator::Automation;
        assert_eq!(windows.can_sync(automation, Some(at("2026-01-05T11:59:00Z")), now), Ok(true));
        assert_eq!(windows.can_sync(automation, Some(at("2026-01-05T12:10:00Z")), now), Ok(false));
        assert_eq!(windows.next_change(now), Some(Duration::from_secs(30 * 60)));
        assert_eq!(
            windows.next_change(at("2026-01-05T13:30:00Z")),
            Some(Duration::from_secs(22 * 3600 + 1800))
        );
        let broken = json!([{"kind": "deny", "schedule": "x", "duration": "1h", "namespaces": ["*"]}]);
        let error =
            Windows::from_value(&broken).of(subject("web")).can_sync(automation, None, now).unwrap_err();
        assert!(
            error.to_string().starts_with("invalid sync windows: cannot parse schedule 'x': "),
            "{error}"
        );
    }
}
