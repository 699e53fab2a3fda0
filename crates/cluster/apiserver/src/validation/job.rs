//! Jobs and CronJobs.

mod policies;
mod schedule;
pub(super) mod status;

use objects::meta;
use serde_json::Value;

use super::field::{Field, same};
use super::names::Form;
use super::pod::{self, Context};
use super::{Problems, selector, workload};

const NEVER_OR_ON_FAILURE: [&str; 2] = ["OnFailure", "Never"];

pub(super) fn job(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    if old.is_none() {
        generated_selector(&root, problems);
    }
    self::spec(&spec, problems);
    let selector = spec.get("selector");
    if !selector.is_set() {
        selector.required("", problems);
    }
    let usable = selector::label_selector(&selector, problems);
    let template = spec.get("template");
    let metadata = template.get("metadata");
    let labels = metadata.get("labels");
    if usable && !selector::selects(selector.value(), labels.map()) {
        labels.invalid("`selector` does not match template `labels`", problems);
    }
    match old {
        None => host_name(&root, problems),
        Some(old) => update(&spec, old, problems),
    }
}

/// The last Pod's name must be one a machine can have.
fn host_name(root: &Field<'_, '_>, problems: &mut Problems) {
    let (metadata, spec) = (root.get("metadata"), root.get("spec"));
    let completions = spec.get("completions").number();
    if spec.get("completionMode").text() != "Indexed" || completions <= 0 {
        return;
    }
    let name = metadata.get("name");
    let longest = format!("{}-{}", name.text(), completions - 1);
    if !workload::is_host_name(&longest) {
        let detail = format!("will not able to create pod with invalid DNS label: {longest}");
        name.invalid(detail, problems);
    }
}

/// Without a selector of its own a Job selects the labels that the server gave its Pods.
fn generated_selector(root: &Field<'_, '_>, problems: &mut Problems) {
    let spec = root.get("spec");
    let selector = spec.get("selector");
    if spec.get("manualSelector").is_true() || !selector.is_set() {
        return;
    }
    let (name, uid) = (meta::name(root.value()), meta::uid(root.value()));
    let template = spec.get("template");
    let metadata = template.get("metadata");
    let labels = metadata.get("labels");
    let given = [
        ("controller-uid", uid),
        ("job-name", name),
        ("batch.kubernetes.io/controller-uid", uid),
        ("batch.kubernetes.io/job-name", name),
    ];
    for (key, expected) in given {
        let label = labels.key(key);
        if !label.is_set() {
            label.required(&format!("must be '{expected}'"), problems);
        } else if label.text() != expected {
            label.invalid_as(labels.value().clone(), format!("must be '{expected}'"), problems);
        }
    }
    let expected = given.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    let usable = selector::label_selector(&selector, &mut Problems::new());
    if usable && !selector::selects(selector.value(), Some(&expected)) {
        let shown = selector::shown(selector.value());
        selector.invalid_shown(shown, "`selector` not auto-generated", problems);
    }
}

fn update(spec: &Field<'_, '_>, old: &Value, problems: &mut Problems) {
    let before = &old["spec"];
    let completions = spec.get("completions");
    if spec.get("completionMode").text() != "Indexed" {
        completions.fixed(&before["completions"], problems);
    } else if completions.is_set()
        && !same(&before["completions"], completions.value())
        && completions.number() != spec.get("parallelism").number()
    {
        let detail = "can only be modified in tandem with spec.parallelism";
        completions.invalid(detail, problems);
    }
    let selector = spec.get("selector");
    if !same(&before["selector"], selector.value()) {
        selector.invalid_shown(selector::shown(selector.value()), "field is immutable", problems);
    }
    template_stays(&spec.get("template"), old, problems);
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]
    {
        spec.get(field).fixed(&before[field], problems);
    }
}

/// Where a suspended Job that has not begun will run may be changed, and nothing else of its template.
fn template_stays(template: &Field<'_, '_>, old: &Value, problems: &mut Problems) {
    let before = &old["spec"]["template"];
    if same(before, template.value()) {
        return;
    }
    let waits = old["spec"]["suspend"] == true && old["status"]["startTime"].is_null();
    if waits {
        let mut allowed = before.clone();
        let wanted = template.value();
        for field in ["nodeSelector", "tolerations", "schedulingGates"] {
            allowed["spec"][field] = wanted["spec"][field].clone();
        }
        for field in ["annotations", "labels"] {
            allowed["metadata"][field] = wanted["metadata"][field].clone();
        }
        let nodes = wanted["spec"]["affinity"]["nodeAffinity"].clone();
        if !nodes.is_null() || !allowed["spec"]["affinity"].is_null() {
            allowed["spec"]["affinity"]["nodeAffinity"] = nodes;
        }
        if same(&allowed, wanted) {
            return;
        }
    }
    template.invalid("field is immutable", problems);
}

/// What Jobs and the templates in CronJobs have in common.
fn spec(spec: &Field<'_, '_>, problems: &mut Problems) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        spec.get(field).not_negative(problems);
    }
    if spec.get("maxFailedIndexes").is_set() && !spec.get("backoffLimitPerIndex").is_set() {
        spec.get("backoffLimitPerIndex").required("when maxFailedIndexes is specified", problems);
    }
    managed_by(&spec.get("managedBy"), problems);
    indexes(spec, problems);
    let failures = spec.get("podFailurePolicy");
    if failures.is_set() {
        policies::failure_policy(spec, &failures, problems);
    }
    let success = spec.get("successPolicy");
    if success.is_set() && spec.get("completionMode").text() != "Indexed" {
        success.invalid("requires indexed completion mode", problems);
    } else if success.is_set() {
        policies::success_policy(spec, &success, problems);
    }
    let replacement = spec.get("podReplacementPolicy");
    let allowed: &[&str] = if failures.is_set() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    replacement.one_of_if_set(allowed, problems);
    let template = spec.get("template");
    pod::template(&template, Context::default(), problems);
    let of_pod = template.get("spec");
    let policy = of_pod.get("restartPolicy");
    match policy.text() {
        "Always" | "" => policy.required("valid values: \"OnFailure\", \"Never\"", problems),
        "OnFailure" if failures.is_set() => {
            policy.invalid("only \"Never\" is supported when podFailurePolicy is specified", problems);
        }
        _ => policy.one_of(&NEVER_OR_ON_FAILURE, problems),
    }
}

fn managed_by(manager: &Field<'_, '_>, problems: &mut Problems) {
    const LONGEST: usize = 63;
    if manager.is_set() {
        domain_path(manager, problems);
        if manager.text().len() > LONGEST {
            manager.too_long(LONGEST, problems);
        }
    }
}

/// `example.com/path`.
pub(super) fn domain_path(field: &Field<'_, '_>, problems: &mut Problems) {
    const PATH: &str = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
    if !field.need(problems) {
        return;
    }
    match field.text().split_once('/').filter(|(domain, path)| !domain.is_empty() && !path.is_empty()) {
        None => field.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")", problems),
        Some((domain, path)) => {
            field.with(&domain.into()).name(Form::Subdomain, problems);
            let fits = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
            if !path.chars().all(fits) {
                field.invalid_as(path.into(), PATH, problems);
            }
        }
    }
}

/// Numbers that only Jobs with an index for each Pod have, and how large they may be.
fn indexes(spec: &Field<'_, '_>, problems: &mut Problems) {
    const MOST: i64 = 100_000;
    const MANY: i64 = 10_000;
    let mode = spec.get("completionMode");
    mode.one_of_if_set(&["NonIndexed", "Indexed"], problems);
    let (completions, parallelism) = (spec.get("completions"), spec.get("parallelism"));
    let (failed, backoff) = (spec.get("maxFailedIndexes"), spec.get("backoffLimitPerIndex"));
    match mode.text() {
        "Indexed" => {}
        "" | "NonIndexed" => {
            for field in [backoff, failed] {
                if field.is_set() {
                    field.invalid("requires indexed completion mode", problems);
                }
            }
            return;
        }
        _ => return,
    }
    if !completions.is_set() {
        completions.required("when completion mode is Indexed", problems);
    }
    if parallelism.number() > MOST {
        let detail = format!("must be less than or equal to {MOST} when completion mode is Indexed");
        parallelism.invalid(detail, problems);
    }
    if completions.is_set() && failed.number() > completions.number() {
        failed.invalid("must be less than or equal to completions", problems);
    }
    if failed.number() > MOST {
        failed.invalid(format!("must be less than or equal to {MOST}"), problems);
    }
    if completions.number() <= MOST || !backoff.is_set() {
        return;
    }
    if !failed.is_set() {
        failed.required(&format!("must be specified when completions is above {MOST}"), problems);
    }
    for field in [parallelism, failed] {
        if field.number() > MANY {
            let detail = format!(
                "must be less than or equal to {MANY} when completions are above {MOST} and used with backoff limit per index"
            );
            field.invalid(detail, problems);
        }
    }
}

pub(super) fn cron_job(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    /// What is left of a name when a time is appended.
    const LONGEST_NAME: usize = 52;
    let root = Field::root(object);
    let spec = root.get("spec");
    schedule::check(&spec, old, problems);
    spec.get("startingDeadlineSeconds").not_negative(problems);
    let zone = spec.get("timeZone");
    if old.is_none_or(|old| old["spec"]["timeZone"] != *zone.value()) {
        schedule::zone(&zone, problems);
    }
    spec.get("concurrencyPolicy").one_of(&["Allow", "Forbid", "Replace"], problems);
    let template = spec.get("jobTemplate");
    let job = template.get("spec");
    self::spec(&job, problems);
    let selector = job.get("selector");
    if selector.is_set() {
        let shown = selector::shown(selector.value());
        selector.invalid_shown(shown, "`selector` will be auto-generated", problems);
    }
    if job.get("manualSelector").is_true() {
        job.get("manualSelector").not_supported(&["nil", "false"], problems);
    }
    spec.get("successfulJobsHistoryLimit").not_negative(problems);
    spec.get("failedJobsHistoryLimit").not_negative(problems);
    let metadata = root.get("metadata");
    let name = metadata.get("name");
    if old.is_none() && name.text().len() > LONGEST_NAME {
        name.invalid(format!("must be no more than {LONGEST_NAME} characters"), problems);
    }
}
