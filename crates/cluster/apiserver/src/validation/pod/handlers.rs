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

/// What a container may be told to stop with, sorted.
const SIGNALS: [&str; 65] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

pub(super) fn lifecycle(lifecycle: &Field<'_, '_>, spec: &Field<'_, '_>, problems: &mut Problems) {
    let grace = spec.get("terminationGracePeriodSeconds").int();
    for event in ["postStart", "preStop"] {
        let hook = lifecycle.get(event);
        if hook.is_set() {
            handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], grace, problems);
        }
    }
    let signal = lifecycle.get("stopSignal");
    if signal.is_set() {
        match spec.get("os").get("name").text() {
            "" => signal.forbidden("may not be set for containers with empty `spec.os.name`", problems),
            "windows" => signal.one_of_if_set(&["SIGKILL", "SIGTERM"], problems),
            _ => signal.one_of_if_set(&SIGNALS, problems),
        }
    }
}
