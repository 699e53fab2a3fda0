//! Probes, and what is done when a container starts or stops.

use super::{Form, Problems};
use crate::validation::addresses;
use crate::validation::field::Field;

pub(super) fn probes(container: &Field<'_, '_>, problems: &mut Problems) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.get(name);
        if !probe.is_set() {
            continue;
        }
        self::probe(&probe, problems);
        let threshold = probe.get("successThreshold");
        if name == "readinessProbe" {
            let grace = probe.get("terminationGracePeriodSeconds");
            if grace.is_set() {
                grace.invalid("must not be set for readinessProbes", problems);
            }
        } else if threshold.is_set() && threshold.number() != 1 {
            threshold.invalid("must be 1", problems);
        }
    }
}

fn probe(probe: &Field<'_, '_>, problems: &mut Problems) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], None, problems);
    for field in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        probe.get(field).not_negative(problems);
    }
    let grace = probe.get("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds <= 0) {
        grace.invalid("must be greater than 0", problems);
    }
}

/// Exactly one handler of these kinds; `grace` are the seconds that a Pod has to end.
fn handler(parent: &Field<'_, '_>, kinds: &[&str], grace: Option<i64>, problems: &mut Problems) {
    let mut handlers = 0;
    for kind in kinds {
        let handler = parent.get(kind);
        if !handler.is_set() {
            continue;
        }
        if handlers > 0 {
            handler.forbidden("may not specify more than 1 handler type", problems);
            continue;
        }
        handlers += 1;
        match *kind {
            "exec" => {
                handler.get("command").need(problems);
            }
            "httpGet" => http(&handler, problems),
            "tcpSocket" | "grpc" => addresses::port(&handler.get("port"), problems),
            _ => sleep(&handler, grace, problems),
        }
    }
    if handlers == 0 {
        parent.required("must specify a handler type", problems);
    }
}

fn http(get: &Field<'_, '_>, problems: &mut Problems) {
    addresses::port(&get.get("port"), problems);
    get.get("scheme").one_of(&["HTTP", "HTTPS"], problems);
    let headers = get.get("httpHeaders");
    for header in headers.items() {
        headers.with(header.get("name").value()).name(Form::Header, problems);
    }
}

fn sleep(sleep: &Field<'_, '_>, grace: Option<i64>, problems: &mut Problems) {
    let seconds = sleep.get("seconds").number();
    if let Some(grace) = grace.filter(|grace| seconds < 0 || seconds > *grace) {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        sleep.invalid_as(seconds.into(), detail, problems);
    }
}

pub(super) fn lifecycle(lifecycle: &Field<'_, '_>, spec: &Field<'_, '_>, problems: &mut Problems) {
    let grace = spec.get("terminationGracePeriodSeconds").int();
    for event in ["postStart", "preStop"] {
        let hook = lifecycle.get(event);
        if hook.is_set() {
            handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], grace, problems);
        }
    }
}
