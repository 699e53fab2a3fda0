//! A Rollout's specification, read and checked once.

use std::time::Duration;

use objects::int_or_string::{Round, as_int, percentage};
use serde_json::Value;

use crate::counts::Bounds;

/// Fields of `spec.strategy.canary` that need what this controller does not do.
const UNSUPPORTED: [&str; 5] = ["trafficRouting", "analysis", "canaryService", "stableService", "pingPong"];

/// Kinds of steps that need what this controller does not do.
const UNSUPPORTED_STEPS: [&str; 5] = ["analysis", "experiment", "setHeaderRoute", "setMirrorRoute", "plugin"];

/// Why a Rollout cannot be acted upon; shown in its `InvalidSpec` condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidSpec {
    #[error("{0} is not supported yet")]
    Unsupported(String),
    #[error("Required value: {0}")]
    Required(&'static str),
    #[error("{field}: Invalid value: {value}: {why}")]
    Invalid { field: String, value: String, why: &'static str },
}

/// What the controller goes by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spec {
    pub(crate) bounds: Bounds,
    pub(crate) steps: Vec<Step>,
    /// The user's pause, which stops everything.
    pub(crate) paused: bool,
    pub(crate) history_limit: usize,
    pub(crate) progress_deadline: Duration,
    /// Whether a rollout that makes no progress is aborted.
    pub(crate) deadline_aborts: bool,
    pub(crate) min_ready_seconds: i64,
    pub(crate) selector: Value,
    pub(crate) template: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    SetWeight(i64),
    /// For good, or for a time.
    Pause(Option<Duration>),
    /// Has no effect without traffic routing; done as soon as it is reached.
    SetCanaryScale,
}

impl Spec {
    pub(crate) fn parse(rollout: &Value) -> Result<Self, InvalidSpec> {
        let spec = &rollout["spec"];
        if !spec["workloadRef"].is_null() {
            return Err(InvalidSpec::Unsupported("spec.workloadRef".to_owned()));
        }
        if !spec["strategy"]["blueGreen"].is_null() {
            return Err(InvalidSpec::Unsupported("spec.strategy.blueGreen".to_owned()));
        }
        let canary = &spec["strategy"]["canary"];
        if let Some(field) = UNSUPPORTED.into_iter().find(|field| !canary[*field].is_null()) {
            return Err(InvalidSpec::Unsupported(format!("spec.strategy.canary.{field}")));
        }
        if canary.is_null() {
            return Err(InvalidSpec::Required("spec.strategy.canary"));
        }
        if !spec["template"].is_object() {
            return Err(InvalidSpec::Required("spec.template"));
        }
        if !spec["selector"].is_object() {
            return Err(InvalidSpec::Required("spec.selector"));
        }
        let number = |field: &str, default: i64| as_int(&spec[field]).unwrap_or(default).max(0);
        Ok(Self {
            bounds: bounds(number("replicas", 1), canary)?,
            steps: steps(&canary["steps"])?,
            paused: spec["paused"] == true,
            history_limit: usize::try_from(number("revisionHistoryLimit", 10)).unwrap_or(10),
            progress_deadline: Duration::from_secs(number("progressDeadlineSeconds", 600).unsigned_abs()),
            deadline_aborts: spec["progressDeadlineAbort"] == true,
            min_ready_seconds: number("minReadySeconds", 0),
            selector: spec["selector"].clone(),
            template: spec["template"].clone(),
        })
    }

    /// The weight in force at a step: that of the nearest `setWeight` at or before it. Without steps, and past the
    /// last one, everything goes to the canary.
    pub(crate) fn weight_at(&self, index: usize) -> i64 {
        if index >= self.steps.len() {
            return 100;
        }
        let set = |step: &Step| if let Step::SetWeight(weight) = step { Some(*weight) } else { None };
        self.steps[..=index].iter().rev().find_map(set).unwrap_or(0)
    }
}

fn bounds(replicas: i64, canary: &Value) -> Result<Bounds, InvalidSpec> {
    let surge = share(canary, "maxSurge", replicas, Round::Up)?;
    let unavailable = share(canary, "maxUnavailable", replicas, Round::Down)?;
    if surge == 0 && unavailable == 0 {
        if is_zero(&canary["maxSurge"]) && is_zero(&canary["maxUnavailable"]) {
            return Err(InvalidSpec::Invalid {
                field: "spec.strategy.canary.maxSurge".to_owned(),
                value: canary["maxSurge"].to_string(),
                why: "maxSurge and maxUnavailable cannot both be zero",
            });
        }
        // Without room in either direction nothing could ever change.
        return Ok(Bounds { replicas, surge, unavailable: 1 });
    }
    Ok(Bounds { replicas, surge, unavailable })
}

/// A number of Pods, or a share of `replicas`. A string is a percentage with or without its sign, as upstream reads
/// it; the default is a quarter.
fn share(canary: &Value, field: &str, replicas: i64, round: Round) -> Result<i64, InvalidSpec> {
    let invalid = |why| InvalidSpec::Invalid {
        field: format!("spec.strategy.canary.{field}"),
        value: canary[field].to_string(),
        why,
    };
    let percent = match &canary[field] {
        Value::Null => 25,
        Value::String(text) => percentage(&format!("{}%", text.trim_end_matches('%')))
            .ok_or_else(|| invalid("must be an integer or a percentage"))?,
        number => {
            let number = as_int(number).ok_or_else(|| invalid("must be an integer or a percentage"))?;
            return if number < 0 { Err(invalid("must not be negative")) } else { Ok(number) };
        }
    };
    if percent < 0 {
        return Err(invalid("must not be negative"));
    }
    Ok(match round {
        Round::Up => (replicas * percent + 99) / 100,
        Round::Down => replicas * percent / 100,
    })
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.trim_end_matches('%') == "0",
        value => as_int(value) == Some(0),
    }
}

fn steps(steps: &Value) -> Result<Vec<Step>, InvalidSpec> {
    steps.as_array().into_iter().flatten().enumerate().map(|(index, step)| parse_step(index, step)).collect()
}

fn parse_step(index: usize, step: &Value) -> Result<Step, InvalidSpec> {
    let field = |name: &str| format!("spec.strategy.canary.steps[{index}].{name}");
    if let Some(name) = UNSUPPORTED_STEPS.into_iter().find(|name| !step[*name].is_null()) {
        return Err(InvalidSpec::Unsupported(field(name)));
    }
    if !step["setWeight"].is_null() {
        return match as_int(&step["setWeight"]) {
            Some(weight @ 0..=100) => Ok(Step::SetWeight(weight)),
            _ => Err(InvalidSpec::Invalid {
                field: field("setWeight"),
                value: step["setWeight"].to_string(),
                why: "must be between 0 and 100",
            }),
        };
    }
    if let Some(pause) = step.get("pause") {
        let duration = &pause["duration"];
        let parsed = parse_duration(duration);
        if parsed.is_none() && !duration.is_null() {
            return Err(InvalidSpec::Invalid {
                field: field("pause.duration"),
                value: duration.to_string(),
                why: "must be a number of seconds or a duration such as 30s",
            });
        }
        return Ok(Step::Pause(parsed));
    }
    if !step["setCanaryScale"].is_null() {
        return Ok(Step::SetCanaryScale);
    }
    Err(InvalidSpec::Invalid {
        field: format!("spec.strategy.canary.steps[{index}]"),
        value: step.to_string(),
        why: "must have one of setWeight, pause or setCanaryScale",
    })
}

/// Seconds as a number or digits, or Go's form (`1h30m`, `1.5s`, `300ms`).
fn parse_duration(value: &Value) -> Option<Duration> {
    if let Some(seconds) = as_int(value) {
        return u64::try_from(seconds).ok().map(Duration::from_secs);
    }
    let text = value.as_str()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let seconds = match &rest[..unit] {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(amount * seconds).ok()?;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rollout(replicas: i64, canary: Value) -> Value {
        json!({"spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "a"}}, "template": {"spec": {}},
            "strategy": {"canary": canary},
        }})
    }

    fn parse(replicas: i64, canary: Value) -> Result<Spec, InvalidSpec> {
        Spec::parse(&rollout(replicas, canary))
    }

    #[test]
    fn shares_round_and_default_as_upstream() {
        let bounds = |replicas, canary| parse(replicas, canary).unwrap().bounds;
        let strings = json!({"maxSurge": "25%", "maxUnavailable": "0"});
        assert_eq!(bounds(1, strings.clone()), Bounds { replicas: 1, surge: 1, unavailable: 0 });
        assert_eq!(bounds(10, strings), Bounds { replicas: 10, surge: 3, unavailable: 0 });
        assert_eq!(bounds(10, json!({})), Bounds { replicas: 10, surge: 3, unavailable: 2 });
        assert_eq!(
            bounds(3, json!({"maxSurge": 0, "maxUnavailable": "10%"})),
            Bounds { replicas: 3, surge: 0, unavailable: 1 }
        );
        assert_eq!(
            bounds(4, json!({"maxSurge": "50", "maxUnavailable": 1})),
            Bounds { replicas: 4, surge: 2, unavailable: 1 }
        );
        let zero = parse(4, json!({"maxSurge": "0%", "maxUnavailable": "0"})).unwrap_err();
        assert!(zero.to_string().ends_with("cannot both be zero"), "{zero}");
    }

    #[test]
    fn steps_parse_with_their_weights() {
        let spec = parse(1, json!({"steps": [
            {"setWeight": 20}, {"pause": {"duration": "30s"}}, {"setWeight": 50}, {"pause": {"duration": 60}},
            {"pause": {}}, {"setCanaryScale": {"weight": 5}}, {"setWeight": 100},
        ]}))
        .unwrap();
        assert_eq!(spec.steps[1], Step::Pause(Some(Duration::from_secs(30))));
        assert_eq!(spec.steps[3], Step::Pause(Some(Duration::from_secs(60))));
        assert_eq!(spec.steps[4], Step::Pause(None));
        let weights: Vec<i64> = (0..=7).map(|index| spec.weight_at(index)).collect();
        assert_eq!(weights, [20, 20, 50, 50, 50, 50, 100, 100]);
        assert_eq!(parse(1, json!({"steps": [{"pause": {}}]})).unwrap().weight_at(0), 0);
        assert_eq!(parse(1, json!({})).unwrap().weight_at(0), 100);
    }

    #[test]
    fn durations_are_seconds_or_gos() {
        for (text, millis) in
            [("90", 90_000), ("1m30s", 90_000), ("1.5s", 1_500), ("250ms", 250), ("2h", 7_200_000)]
        {
            assert_eq!(parse_duration(&json!(text)), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "30 s", "-1", "1d"] {
            assert_eq!(parse_duration(&json!(text)), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_done_is_named() {
        let refused = |canary| parse(1, canary).unwrap_err().to_string();
        assert_eq!(
            refused(json!({"trafficRouting": {"nginx": {}}})),
            "spec.strategy.canary.trafficRouting is not supported yet"
        );
        assert_eq!(
            refused(json!({"steps": [{"setWeight": 5}, {"analysis": {}}]})),
            "spec.strategy.canary.steps[1].analysis is not supported yet"
        );
        assert!(refused(json!({"steps": [{"setWeight": 101}]})).contains("between 0 and 100"));
        assert!(
            refused(json!({"steps": [{"pause": {"duration": "soon"}}]})).contains("steps[0].pause.duration")
        );
        let blue_green = json!({"spec": {"strategy": {"blueGreen": {}}}});
        assert_eq!(
            Spec::parse(&blue_green).unwrap_err().to_string(),
            "spec.strategy.blueGreen is not supported yet"
        );
    }
}
