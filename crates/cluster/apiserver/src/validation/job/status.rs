//! How far a Job has come: what its controller may say, and what it may not take back.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Field, Problems, schedule};

/// Whether a condition is met.
fn is(status: &Value, condition: &str) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|given| given["type"] == condition && given["status"] == "True")
}

/// Two statuses, and what is different. Most rules hold for what is written anew only, so that a Job that breaks one
/// can still be written to.
struct Step<'v, 'p> {
    spec: &'v Value,
    status: Field<'v, 'p>,
    before: &'v Value,
}

pub(in super::super) fn check(job: &Field<'_, '_>, before: &Value, problems: &mut Problems) {
    let spec = job.get("spec");
    let step = Step { spec: spec.value(), status: job.get("status"), before };
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        step.status.get(field).not_negative(problems);
    }
    step.uncounted(problems);
    step.completion(problems);
    step.conditions(problems);
    step.finish(problems);
    step.indexes(problems);
    step.pods(problems);
    step.success(problems);
    step.backwards(problems);
}

impl Step<'_, '_> {
    fn is(&self, condition: &str) -> bool {
        is(self.status.value(), condition)
    }

    fn is_finished(&self) -> bool {
        self.is("Complete") || self.is("Failed")
    }

    fn turned(&self, condition: &str) -> bool {
        self.is(condition) != is(self.before, condition)
    }

    fn finish_turned(&self) -> bool {
        self.is_finished() != (is(self.before, "Complete") || is(self.before, "Failed"))
    }

    fn changed(&self, field: &str) -> bool {
        self.before[field] != *self.status.get(field).value()
    }

    /// A number that is zero if it is not there.
    fn counted_otherwise(&self, field: &str) -> bool {
        self.before[field].as_i64().unwrap_or(0) != self.status.get(field).number()
    }

    fn refuse(&self, detail: &str, problems: &mut Problems) {
        self.status.get("conditions").invalid_shown(String::new(), detail, problems);
    }

    fn is_indexed(&self) -> bool {
        self.spec["completionMode"] == "Indexed"
    }

    fn uncounted(&self, problems: &mut Problems) {
        let pods = self.status.get("uncountedTerminatedPods");
        let mut seen = BTreeSet::new();
        for list in ["succeeded", "failed"] {
            for uid in pods.get(list).items() {
                if uid.text().is_empty() {
                    uid.invalid("must not be empty", problems);
                } else if !seen.insert(uid.text()) {
                    uid.duplicate(problems);
                }
            }
        }
    }

    fn completion(&self, problems: &mut Problems) {
        let complete = self.is("Complete");
        let turned = self.turned("Complete");
        if (turned || self.turned("Failed")) && complete && self.is("Failed") {
            self.refuse("cannot set Complete=True and Failed=true conditions", problems);
        }
        if (turned || self.turned("FailureTarget")) && complete && self.is("FailureTarget") {
            self.refuse("cannot set Complete=True and FailureTarget=true conditions", problems);
        }
        let (start, end) = (self.status.get("startTime"), self.status.get("completionTime"));
        let anew = self.changed("completionTime");
        if (turned || anew) && end.is_set() && !complete {
            let detail = "cannot set completionTime when there is no Complete=True condition";
            end.invalid(detail, problems);
        }
        if (turned || anew) && !end.is_set() && complete {
            end.required("completionTime is required for Complete jobs", problems);
        }
        // Both are written in the one form that times are stored in, which sorts by time.
        if (anew || self.changed("startTime")) && start.is_set() && end.is_set() && end.text() < start.text()
        {
            end.invalid("must be equal to or after `startTime`", problems);
        }
    }

    fn conditions(&self, problems: &mut Problems) {
        let failed = self.turned("Failed") || self.changed("failedIndexes");
        if failed && self.is("Failed") && !self.is("FailureTarget") {
            let detail = "cannot set Failed=True condition without the FailureTarget=true condition";
            self.refuse(detail, problems);
        }
        let complete = self.turned("Complete") || self.turned("SuccessCriteriaMet");
        if complete && self.is("Complete") && !self.is("SuccessCriteriaMet") {
            let detail = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
            self.refuse(detail, problems);
        }
    }

    fn finish(&self, problems: &mut Problems) {
        if !self.is_finished() {
            return;
        }
        let turned = self.finish_turned();
        let active = self.status.get("active");
        if (turned || self.counted_otherwise("active")) && active.number() > 0 {
            active.invalid("active>0 is invalid for finished job", problems);
        }
        let start = self.status.get("startTime");
        let nothing_to_do = self.spec["suspend"] == true && self.spec["completions"] == 0;
        if (turned || self.changed("startTime")) && !nothing_to_do && !start.is_set() {
            start.required("startTime is required for finished job", problems);
        }
        let pods = self.status.get("uncountedTerminatedPods");
        let lists = [pods.get("succeeded").value(), pods.get("failed").value()];
        if (turned || self.changed("uncountedTerminatedPods"))
            && lists.iter().any(|list| list.as_array().is_some_and(|list| !list.is_empty()))
        {
            let shown = format!("{{\"Succeeded\":{},\"Failed\":{}}}", lists[0], lists[1]);
            pods.invalid_shown(shown, "must be empty for finished job", problems);
        }
    }

    fn indexes(&self, problems: &mut Problems) {
        let (done, failed) = (self.status.get("completedIndexes"), self.status.get("failedIndexes"));
        let (done_anew, failed_anew) = (self.changed("completedIndexes"), self.changed("failedIndexes"));
        let completions = self.spec["completions"].as_i64();
        let each = self.spec["backoffLimitPerIndex"].is_number();
        if let Some(completions) = completions {
            if done_anew && let Err(problem) = schedule::indexes(done.text(), completions) {
                done.invalid(format!("error parsing completedIndexes: {problem}"), problems);
            }
            if failed_anew
                && each
                && failed.is_set()
                && let Err(problem) = schedule::indexes(failed.text(), completions)
            {
                failed.invalid(format!("error parsing failedIndexes: {problem}"), problems);
            }
        }
        if done_anew && !done.text().is_empty() && !self.is_indexed() {
            let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
            done.invalid(detail, problems);
        }
        if failed_anew && !each && failed.is_set() {
            let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
            failed.invalid(detail, problems);
        }
        if (done_anew || failed_anew)
            && let Some(completions) = completions
            && let Some(index) = schedule::common_index(done.text(), failed.text(), completions)
        {
            let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
            failed.invalid(detail, problems);
        }
    }

    fn pods(&self, problems: &mut Problems) {
        let terminating = self.status.get("terminating");
        if self.is_finished()
            && (self.finish_turned() || self.changed("terminating"))
            && terminating.number() > 0
        {
            terminating.invalid("terminating>0 is invalid for finished job", problems);
        }
        let ready = self.status.get("ready");
        if (self.changed("ready") || self.counted_otherwise("active"))
            && ready.int().is_some_and(|ready| ready > self.status.get("active").number())
        {
            ready.invalid("cannot set more ready pods than active", problems);
        }
    }

    fn success(&self, problems: &mut Problems) {
        let met = self.is("SuccessCriteriaMet");
        if met && self.is("Failed") {
            self.refuse("cannot set SuccessCriteriaMet=True and Failed=true conditions", problems);
        }
        if met && self.is("FailureTarget") {
            self.refuse("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions", problems);
        }
        if !met && self.spec["successPolicy"].is_object() && self.is("Complete") {
            let detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
            self.refuse(detail, problems);
        }
    }

    fn backwards(&self, problems: &mut Problems) {
        for condition in ["Failed", "Complete", "FailureTarget"] {
            if is(self.before, condition) && !self.is(condition) {
                let detail = format!("cannot disable the terminal {condition}=True condition");
                self.refuse(&detail, problems);
            }
        }
        let scaled = self.is_indexed() && self.spec["completions"] == self.spec["parallelism"];
        for (field, may) in [("failed", false), ("succeeded", scaled)] {
            let count = self.status.get(field);
            if !may && count.number() < self.before[field].as_i64().unwrap_or(0) {
                let detail = format!("cannot decrease the {field} counter");
                count.invalid_as(count.number().into(), detail, problems);
            }
        }
        let (start, end) = (self.status.get("startTime"), self.status.get("completionTime"));
        if end.is_set() && self.before["completionTime"].is_string() && self.changed("completionTime") {
            end.invalid("field is immutable", problems);
        }
        let resumes = is(self.before, "Suspended")
            && self
                .status
                .get("conditions")
                .list()
                .iter()
                .any(|condition| condition["type"] == "Suspended" && condition["status"] == "False");
        if self.before["startTime"].is_string()
            && self.changed("startTime")
            && self.spec["suspend"] != true
            && !resumes
        {
            start.required("startTime cannot be removed for unsuspended job", problems);
        }
        let (met, was_met) = (self.is("SuccessCriteriaMet"), is(self.before, "SuccessCriteriaMet"));
        if was_met && !met {
            self.refuse("cannot disable the SuccessCriteriaMet=True condition", problems);
        }
        if !was_met && met && is(self.before, "Complete") {
            let detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
            self.refuse(detail, problems);
        }
    }
}
