//! Where a rollout stands among its steps, and what moves it on.

use std::time::Duration;

use jiff::Timestamp;
use objects::int_or_string::as_int;
use objects::meta::format_time;
use serde_json::{Value, json};

use crate::hash::steps_hash;
use crate::spec::{Spec, Step};

/// The part of the status that the next decision depends on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Position {
    /// The template that is rolled out, by its hash.
    pub(crate) current: String,
    /// The template that is known to be good; empty before the first one was.
    pub(crate) stable: String,
    pub(crate) index: usize,
    steps_hash: String,
    /// Since when a pause step holds.
    pub(crate) paused_since: Option<Timestamp>,
    /// Whether it was the controller that paused. Set while `paused_since` is not, it means that a person resumed.
    controller_pause: bool,
    pub(crate) aborted: Option<Timestamp>,
    pub(crate) promote_full: bool,
}

/// What happened on the way, for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Moved {
    /// A step is done; its number, counted from one.
    StepCompleted(usize),
    Paused,
    Resumed,
    Aborted,
    Completed,
    Updated,
}

impl Position {
    pub(crate) fn read(status: &Value, now: Timestamp) -> Self {
        let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
        let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let pause = status["pauseConditions"].as_array().into_iter().flatten().next();
        Self {
            current: text("currentPodHash"),
            stable: text("stableRS"),
            index: as_int(&status["currentStepIndex"])
                .and_then(|index| usize::try_from(index).ok())
                .unwrap_or(0),
            steps_hash: text("currentStepHash"),
            paused_since: pause.map(|pause| time(&pause["startTime"]).unwrap_or(now)),
            controller_pause: status["controllerPause"] == true,
            aborted: (status["abort"] == true).then(|| time(&status["abortedAt"]).unwrap_or(now)),
            promote_full: status["promoteFull"] == true,
        }
    }

    /// Takes note of the template and the steps as they are now.
    pub(crate) fn arrive(&mut self, spec: &Spec, rollout: &Value, current: &str, moved: &mut Vec<Moved>) {
        let steps_hash = steps_hash(&rollout["spec"]["strategy"]["canary"]["steps"]);
        if self.current != current {
            if !self.current.is_empty() {
                moved.push(Moved::Updated);
            }
            current.clone_into(&mut self.current);
            self.restart();
            self.aborted = None;
            self.promote_full = false;
        } else if self.steps_hash != steps_hash {
            self.restart();
        }
        self.steps_hash = steps_hash;
        // The first template and one that is stable already have nothing to go through.
        if self.settled() || self.promote_full {
            self.index = spec.steps.len();
            self.resume();
        } else if self.aborted.is_some() {
            self.restart();
        }
        self.index = self.index.min(spec.steps.len());
        if !matches!(spec.steps.get(self.index), Some(Step::Pause(_))) {
            self.resume();
        }
    }

    fn restart(&mut self) {
        self.index = 0;
        self.resume();
    }

    fn resume(&mut self) {
        self.paused_since = None;
        self.controller_pause = false;
    }

    /// Whether there is only one template to run: the first, or the stable one.
    pub(crate) fn settled(&self) -> bool {
        self.stable.is_empty() || self.stable == self.current
    }

    /// The canary's share in percent.
    pub(crate) fn weight(&self, spec: &Spec) -> i64 {
        if self.settled() || self.promote_full {
            100
        } else if self.aborted.is_some() {
            0
        } else {
            spec.weight_at(self.index)
        }
    }

    /// Goes through the steps that are done. `weight_reached` says whether the weight of the present step is what runs.
    /// Returns how long a pause still lasts.
    pub(crate) fn advance(
        &mut self,
        spec: &Spec,
        weight_reached: bool,
        now: Timestamp,
        moved: &mut Vec<Moved>,
    ) -> Option<Duration> {
        if self.aborted.is_some() {
            return None;
        }
        let mut weight_reached = weight_reached;
        while let Some(step) = spec.steps.get(self.index) {
            match step {
                Step::SetWeight(_) if !weight_reached => return None,
                // The next weight is another one: it is judged when it has been acted upon.
                Step::SetWeight(_) => weight_reached = false,
                Step::SetCanaryScale => {}
                Step::Pause(duration) => match self.pause(*duration, now, moved) {
                    Pause::Over => {}
                    Pause::Lasts(left) => return left,
                },
            }
            self.index += 1;
            moved.push(Moved::StepCompleted(self.index));
            // After a pause the weight in force is still the one before it.
            if matches!(step, Step::Pause(_)) {
                weight_reached = !matches!(spec.steps.get(self.index), Some(Step::SetWeight(_)));
            }
        }
        None
    }

    fn pause(&mut self, duration: Option<Duration>, now: Timestamp, moved: &mut Vec<Moved>) -> Pause {
        let Some(since) = self.paused_since else {
            if self.controller_pause {
                moved.push(Moved::Resumed);
                self.resume();
                return Pause::Over;
            }
            self.paused_since = Some(now);
            self.controller_pause = true;
            moved.push(Moved::Paused);
            return Pause::Lasts(duration);
        };
        let Some(duration) = duration else { return Pause::Lasts(None) };
        let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        match duration.checked_sub(passed) {
            Some(left) if !left.is_zero() => Pause::Lasts(Some(left)),
            _ => {
                self.resume();
                Pause::Over
            }
        }
    }

    pub(crate) fn abort(&mut self, now: Timestamp) {
        self.aborted = Some(now);
        self.restart();
    }

    /// The current template has proved itself.
    pub(crate) fn promote(&mut self) {
        self.stable.clone_from(&self.current);
        self.aborted = None;
        self.promote_full = false;
    }

    /// Writes this part of the status.
    pub(crate) fn write(&self, status: &mut Value) {
        status["currentPodHash"] = self.current.as_str().into();
        status["currentStepHash"] = self.steps_hash.as_str().into();
        status["currentStepIndex"] = self.index.into();
        if !self.stable.is_empty() {
            status["stableRS"] = self.stable.as_str().into();
        }
        if let Some(since) = self.paused_since {
            status["pauseConditions"] =
                json!([{"reason": "CanaryPauseStep", "startTime": format_time(since)}]);
        }
        if self.controller_pause {
            status["controllerPause"] = true.into();
        }
        if let Some(aborted) = self.aborted {
            status["abort"] = true.into();
            status["abortedAt"] = format_time(aborted).into();
        }
        if self.promote_full {
            status["promoteFull"] = true.into();
        }
    }
}

enum Pause {
    Over,
    /// For this long, or until somebody resumes.
    Lasts(Option<Duration>),
}
