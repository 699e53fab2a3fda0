//! Rolling syncs: `spec.strategy.type: RollingSync`. The set's Applications do not sync by themselves; the set has them
//! sync step by step, each when everything before it is healthy.
//!
//! `status.applicationStatus` is the record of how far each is: Waiting for its step, Pending until its sync began,
//! Progressing until it is healthy, Healthy.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use objects::{Value, meta};
use serde_json::json;

use crate::status::Said;
use crate::update;

/// Whose syncs they are.
const USERNAME: &str = "applicationset-controller";

/// What came of a look at a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollout {
    /// `status.applicationStatus`, by name.
    pub statuses: Vec<Value>,
    /// The Applications that are to be synced now.
    pub due: BTreeSet<String>,
    /// Conditions of the set.
    pub(crate) said: Vec<Said>,
}

/// Whether a set syncs its Applications step by step.
#[must_use]
pub fn is_rolling(set: &Value) -> bool {
    let strategy = &set["spec"]["strategy"];
    strategy["type"] == "RollingSync" && strategy["rollingSync"].is_object()
}

fn steps(set: &Value) -> &[Value] {
    set["spec"]["strategy"]["rollingSync"]["steps"].as_array().map_or(&[], Vec::as_slice)
}

/// Whether the Applications of later steps are deleted before those of earlier ones when the set is.
#[must_use]
pub fn deletes_in_reverse(set: &Value) -> bool {
    let order = set["spec"]["strategy"]["deletionOrder"].as_str().unwrap_or_default();
    is_rolling(set) && !steps(set).is_empty() && order.eq_ignore_ascii_case("Reverse")
}

/// The Applications that go next when the set is deleted: those of its last step that has any. Empty once only those of no
/// step are left, which go with the set.
#[must_use]
pub fn next_to_delete<'a>(set: &Value, current: &'a [Value]) -> Vec<&'a Value> {
    let assigned = Assigned::of(set, current);
    let last = current.iter().filter_map(|one| assigned.step.get(meta::name(one))).max().copied();
    let of_last = |one: &&Value| last.is_some() && assigned.step.get(meta::name(one)).copied() == last;
    current.iter().filter(of_last).collect()
}

/// Which Application is in which step, and what is wrong with the steps.
#[derive(Debug, Default)]
struct Assigned {
    /// By step; an Application that several select is in each.
    names: Vec<Vec<String>>,
    /// The first step that selects it.
    step: BTreeMap<String, usize>,
    operators: Vec<(usize, String)>,
    twice: BTreeMap<String, Vec<usize>>,
    /// `maxUpdate` that is neither a number nor a percentage, by step.
    limits: BTreeMap<usize, String>,
}

impl Assigned {
    fn of(set: &Value, applications: &[Value]) -> Self {
        let steps = steps(set);
        let mut assigned = Self { names: vec![Vec::new(); steps.len()], ..Self::default() };
        for application in applications {
            let name = meta::name(application);
            for (index, step) in steps.iter().enumerate() {
                if !assigned.selects(index, step, application) {
                    continue;
                }
                assigned.names[index].push(name.to_owned());
                match assigned.step.get(name).copied() {
                    Some(first) => {
                        assigned.twice.entry(name.to_owned()).or_insert_with(|| vec![first]).push(index);
                    }
                    None => {
                        assigned.step.insert(name.to_owned(), index);
                    }
                }
            }
        }
        assigned
    }

    fn selects(&mut self, index: usize, step: &Value, application: &Value) -> bool {
        let labels = meta::labels(application);
        let expressions = step["matchExpressions"].as_array().into_iter().flatten();
        for expression in expressions {
            let text = |field: &str| expression[field].as_str().unwrap_or_default();
            let operator = text("operator");
            let value = labels.and_then(|labels| labels.get(text("key"))).filter(|value| value.is_string());
            let listed = |value| expression["values"].as_array().is_some_and(|list| list.contains(value));
            match (operator, value) {
                ("In", value) => {
                    if !value.is_some_and(listed) {
                        return false;
                    }
                }
                ("NotIn", value) => {
                    if value.is_some_and(listed) {
                        return false;
                    }
                }
                (_, None) => {}
                (other, Some(_)) => {
                    let wrong = (index, other.to_owned());
                    if !self.operators.contains(&wrong) {
                        self.operators.push(wrong);
                    }
                    return false;
                }
            }
        }
        true
    }

    /// As shown, counted from one; -1 for an Application that no step selects: it is never synced.
    fn shown(&self, name: &str) -> String {
        self.step.get(name).map_or_else(|| "-1".to_owned(), |step| (step + 1).to_string())
    }

    /// The gravest of what is wrong, in upstream's words.
    fn problem(&self) -> Option<String> {
        let list = |items: Vec<String>, separator: &str| items.join(separator);
        if !self.operators.is_empty() {
            let steps: Vec<String> = self.operators.iter().map(|(step, _)| (step + 1).to_string()).collect();
            let operators = list(self.operators.iter().map(|(_, operator)| operator.clone()).collect(), ", ");
            let supported = "Supported Operators are 'In' and 'NotIn'";
            return Some(match steps.len() {
                1 => format!(
                    "Step {} has invalid matchExpression operators: {operators}. {supported}",
                    steps[0]
                ),
                _ => format!(
                    "Steps {} have invalid matchExpression operators: {operators}. {supported}",
                    list(steps, ", ")
                ),
            });
        }
        if !self.twice.is_empty() {
            let names: Vec<&str> = self.twice.keys().map(String::as_str).collect();
            let shown =
                |steps: &Vec<usize>| list(steps.iter().map(|step| (step + 1).to_string()).collect(), "-");
            let steps: Vec<String> = self.twice.values().map(shown).collect();
            return Some(match names.len() {
                1 => format!("Application '{}' is selected by multiple steps: ({})", names[0], steps[0]),
                _ => format!(
                    "Applications '{}' are selected by multiple steps: [({})]",
                    names.join("', '"),
                    list(steps, "), (")
                ),
            });
        }
        if !self.limits.is_empty() {
            let steps: Vec<String> = self.limits.keys().map(|step| (step + 1).to_string()).collect();
            let values = list(self.limits.values().cloned().collect(), ", ");
            return Some(match steps.len() {
                1 => format!("Step {} has an invalid maxUpdate value: {values}", steps[0]),
                _ => format!("Steps {} have invalid maxUpdate values: [{values}]", list(steps, ", ")),
            });
        }
        let empty = self.names.iter().enumerate().filter(|(_, names)| names.is_empty());
        let empty: Vec<String> = empty.map(|(index, _)| (index + 1).to_string()).collect();
        (!empty.is_empty())
            .then(|| format!("Steps [{}] have no applications matching their criteria", empty.join(" ")))
    }
}

/// Looks how far the rollout is. `current` are the set's Applications as they are, `desired` as they were generated.
///
/// # Errors
/// If there is no step, or the rules of what is ignored cannot be read.
pub fn advance(set: &Value, current: &[Value], desired: &[Value], now: Timestamp) -> Result<Rollout, String> {
    if steps(set).is_empty() {
        return Err("No steps defined for rollout".to_owned());
    }
    let mut assigned = Assigned::of(set, desired);
    let time = meta::format_time(now);
    let mut statuses = Vec::new();
    for application in current {
        statuses.push(status(set, application, desired, &assigned, &time)?);
    }
    statuses.sort_by(|left, right| left["application"].as_str().cmp(&right["application"].as_str()));
    let open = open(&assigned, current, &statuses);
    promote(set, &mut assigned, &mut statuses, &open, &time);
    let is_due = |status: &&Value| {
        status["status"] == "Pending" && open.contains(status["application"].as_str().unwrap_or_default())
    };
    let due = statuses.iter().filter(is_due).filter_map(|status| status["application"].as_str());
    let due = due.map(str::to_owned).collect();
    let said = vec![progress(&assigned, &statuses), configuration(&assigned)];
    Ok(Rollout { statuses, due, said })
}

/// How far one Application is, from what was known and what it says itself.
fn status(
    set: &Value,
    application: &Value,
    desired: &[Value],
    assigned: &Assigned,
    time: &str,
) -> Result<Value, String> {
    let name = meta::name(application);
    let known = set["status"]["applicationStatus"].as_array().into_iter().flatten();
    let before = known.into_iter().find(|status| status["application"] == name);
    let revisions = revisions(application);
    let mut status = before.cloned().unwrap_or_else(|| {
        json!({
            "application": name, "status": "Waiting", "lastTransitionTime": time,
            "message": "No Application status found, defaulting status to Waiting",
            "targetRevisions": revisions,
        })
    });
    status["step"] = assigned.shown(name).into();
    let moved = status["targetRevisions"].as_array().cloned().unwrap_or_default() != revisions;
    let respecified = match desired.iter().find(|desired| meta::name(desired) == name) {
        None => false,
        Some(desired) => {
            let mut wanted = desired.clone();
            disable_automation(&mut wanted);
            update::updated(set, &wanted, application).is_ok_and(|new| new["spec"] != application["spec"])
        }
    };
    let go = |status: &mut Value, to: &str, message: &str| {
        status["status"] = to.into();
        status["message"] = message.into();
        status["lastTransitionTime"] = time.into();
    };
    let was = status["status"].as_str().unwrap_or_default().to_owned();
    if moved || respecified {
        status["targetRevisions"] = revisions.into();
        let what = match (moved, respecified) {
            (true, true) => " (revision and spec differ)",
            (true, false) => "",
            (false, _) => " (spec differs)",
        };
        let message = format!("Application has pending changes{what}, setting status to Waiting");
        go(&mut status, "Waiting", &message);
    }
    let synced = application["status"]["sync"]["status"] == "Synced";
    let healthy = application["status"]["health"]["status"] == "Healthy";
    match (status["status"].as_str().unwrap_or_default(), was.as_str()) {
        // Nothing differs, so nothing has to be synced.
        ("Waiting", _) if synced => {
            let to = if healthy { "Healthy" } else { "Progressing" };
            go(&mut status, to, &format!("Application resource has synced, updating status to {to}"));
        }
        ("Waiting", _) => {}
        (_, "Pending") => {
            if let Some(message) = began(application, &status) {
                go(&mut status, "Progressing", message);
            }
        }
        (_, "Progressing") if synced && healthy => {
            let message = "Application resource became Healthy, updating status from Progressing to Healthy";
            go(&mut status, "Healthy", message);
        }
        _ => {}
    }
    Ok(status)
}

fn revisions(application: &Value) -> Vec<Value> {
    let sync = &application["status"]["sync"];
    match sync["revisions"].as_array().filter(|list| !list.is_empty()) {
        Some(list) => list.clone(),
        None => {
            sync["revision"].as_str().filter(|one| !one.is_empty()).map(Value::from).into_iter().collect()
        }
    }
}

/// Whether the sync that an Application waits for began, or never will.
fn began(application: &Value, status: &Value) -> Option<&'static str> {
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let since = time(&status["lastTransitionTime"])?;
    let state = &application["status"]["operationState"];
    let ours = state["operation"]["initiatedBy"]["username"] == USERNAME;
    // Times have whole seconds: within one, whose sync it is tells which was first.
    let started = time(&state["startedAt"]).is_some_and(|at| at > since || (at == since && ours));
    if started {
        return Some(match state["phase"].as_str().unwrap_or_default() {
            "Succeeded" => {
                "Application resource completed a sync successfully, updating status from Pending to Progressing"
            }
            "Failed" | "Error" => {
                "Application resource completed a sync, updating status from Pending to Progressing"
            }
            _ => "Application resource became Progressing, updating status from Pending to Progressing",
        });
    }
    let looked = time(&application["status"]["reconciledAt"]).is_none_or(|at| at > since);
    let conditions = application["status"]["conditions"].as_array().into_iter().flatten();
    let mut errors = conditions
        .filter(|condition| condition["type"] == "InvalidSpecError" || condition["type"] == "UnknownError");
    (looked && errors.next().is_some())
        .then_some("Application resource has error and cannot sync, updating status to Progressing")
}

/// The Applications of every step that may be synced: all steps up to the first that is not healthy yet.
fn open(assigned: &Assigned, current: &[Value], statuses: &[Value]) -> BTreeSet<String> {
    let there: BTreeSet<&str> = current.iter().map(meta::name).collect();
    let healthy: BTreeSet<&str> = statuses
        .iter()
        .filter(|status| status["status"] == "Healthy")
        .filter_map(|status| status["application"].as_str())
        .collect();
    let mut open = BTreeSet::new();
    for names in &assigned.names {
        open.extend(names.iter().cloned());
        if !names.iter().all(|name| there.contains(name.as_str()) && healthy.contains(name.as_str())) {
            break;
        }
    }
    open
}

/// Lets as many of those that wait go on as their step updates at a time.
fn promote(
    set: &Value,
    assigned: &mut Assigned,
    statuses: &mut [Value],
    open: &BTreeSet<String>,
    time: &str,
) {
    let steps = steps(set);
    let step_of = |assigned: &Assigned, status: &Value| {
        assigned.step.get(status["application"].as_str().unwrap_or_default()).copied()
    };
    let (mut total, mut updating) = (vec![0_u64; steps.len()], vec![0_u64; steps.len()]);
    for status in statuses.iter() {
        let Some(step) = step_of(assigned, status) else { continue };
        total[step] += 1;
        updating[step] += u64::from(status["status"] == "Pending" || status["status"] == "Progressing");
    }
    for status in statuses {
        let Some(step) = step_of(assigned, status) else { continue };
        let name = status["application"].as_str().unwrap_or_default();
        let limit = match limit(&steps[step]["maxUpdate"], total[step]) {
            Ok(limit) => limit,
            Err(shown) => {
                assigned.limits.insert(step, shown);
                Some(0)
            }
        };
        let room = limit.is_none_or(|limit| updating[step] < limit);
        if status["status"] == "Waiting" && open.contains(name) && room {
            status["status"] = "Pending".into();
            status["lastTransitionTime"] = time.into();
            status["message"] =
                "Application moved to Pending status, watching for the Application resource to start Progressing"
                    .into();
            updating[step] += 1;
        }
    }
}

/// How many of a step may be updated at a time; `None` for all.
///
/// # Errors
/// The value as it is written, if it is neither a number nor a percentage.
fn limit(value: &Value, total: u64) -> Result<Option<u64>, String> {
    let percentage = |text: &str| text.strip_suffix('%')?.parse::<u64>().ok();
    match value {
        Value::Null => Ok(None),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Ok(Some(u64::try_from(number).unwrap_or(0))),
            None => Err(value.to_string()),
        },
        Value::String(text) => match percentage(text) {
            // Whatever is more than nothing is at least one.
            Some(percent) if percent > 0 => Ok(Some((total.saturating_mul(percent) / 100).max(1))),
            Some(_) => Ok(Some(0)),
            None => Err(text.clone()),
        },
        other => Err(other.to_string()),
    }
}

fn progress(assigned: &Assigned, statuses: &[Value]) -> Said {
    let behind = |names: &Vec<String>| {
        let of = |status: &&Value| names.iter().any(|name| status["application"] == name.as_str());
        statuses.iter().filter(of).any(|status| status["status"] != "Healthy")
    };
    match assigned.names.iter().position(behind) {
        Some(step) => Said::new(
            "RolloutProgressing",
            true,
            "ApplicationSetModified",
            format!("ApplicationSet is performing rollout of step {}", step + 1),
        ),
        None => Said::new(
            "RolloutProgressing",
            false,
            "ApplicationSetRolloutComplete",
            "ApplicationSet Rollout has completed",
        ),
    }
}

fn configuration(assigned: &Assigned) -> Said {
    match assigned.problem() {
        Some(problem) => {
            Said::new("InvalidRolloutConfig", true, "ApplicationSetInvalidRolloutConfig", problem)
        }
        None => Said::new(
            "InvalidRolloutConfig",
            false,
            "ApplicationSetValidRolloutConfig",
            "Rolling Sync Configured correctly",
        ),
    }
}

/// A generated Application as a rolling set writes it: it does not sync by itself, and has an operation where it is due.
pub fn settle(application: &mut Value, rollout: &Rollout) {
    let automated = application.pointer("/spec/syncPolicy/automated").filter(|one| one.is_object());
    let prune = automated.is_some_and(|one| one["enabled"] != false && one["prune"] == true);
    disable_automation(application);
    if !rollout.due.contains(meta::name(application)) {
        return;
    }
    let policy = &application["spec"]["syncPolicy"];
    let mut sync = json!({"prune": prune});
    if policy["syncOptions"].is_array() {
        sync["syncOptions"] = policy["syncOptions"].clone();
    }
    let retry = if policy["retry"].is_object() { policy["retry"].clone() } else { json!({"limit": 5}) };
    application["operation"] = json!({
        "initiatedBy": {"username": USERNAME, "automated": true},
        "info": [{
            "name": "Reason",
            "value": "ApplicationSet RollingSync triggered a sync of this Application resource",
        }],
        "sync": sync,
        "retry": retry,
    });
}

fn disable_automation(application: &mut Value) {
    if let Some(automated) =
        application.pointer_mut("/spec/syncPolicy/automated").filter(|one| one.is_object())
    {
        automated["enabled"] = false.into();
    }
}

#[cfg(test)]
mod tests;
