//! Probes: when they run, what they ask, and what their answers add up to.
//!
//! The counting ([`Count`]) is pure. A [`Prober`] is a task that asks at the probe's period and tells the worker when the
//! outcome changed; between two probes it sleeps.

mod http;
#[cfg(test)]
mod tests;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use containers::ExecError;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::time::Instant;

use crate::runtime::Runtime;

pub(crate) use http::Request;

/// What a probe decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Startup, Kind::Liveness, Kind::Readiness];

    pub(crate) fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Kind::Startup => container.startup_probe.as_ref(),
            Kind::Liveness => container.liveness_probe.as_ref(),
            Kind::Readiness => container.readiness_probe.as_ref(),
        }
    }

    /// As events spell it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Liveness => "Liveness",
            Kind::Readiness => "Readiness",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Startup => "startup",
            Kind::Liveness => "liveness",
            Kind::Readiness => "readiness",
        }
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Success,
    /// With what an event says of it.
    Failure(String),
}

/// Answers of one kind in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    successes: u32,
    failures: u32,
}

impl Count {
    /// Counts an answer; `Some` once enough of one kind came in a row.
    pub(crate) fn add(&mut self, success: bool, timing: &Timing) -> Option<bool> {
        if success {
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            (self.successes >= timing.success_threshold).then_some(true)
        } else {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
            (self.failures >= timing.failure_threshold).then_some(false)
        }
    }
}

/// A probe's times and thresholds, with the defaults of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    pub(crate) initial_delay: Duration,
    pub(crate) period: Duration,
    pub(crate) timeout: Duration,
    pub(crate) success_threshold: u32,
    pub(crate) failure_threshold: u32,
}

impl Timing {
    pub(crate) fn of(probe: &Probe) -> Timing {
        let number = |value: Option<i32>, default: u32| match value {
            Some(value) if value > 0 => value.unsigned_abs(),
            _ => default,
        };
        let seconds = |value, default| Duration::from_secs(u64::from(number(value, default)));
        Timing {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            success_threshold: number(probe.success_threshold, 1),
            failure_threshold: number(probe.failure_threshold, 3),
        }
    }
}

/// What to ask.
#[derive(Clone, Debug)]
pub(crate) enum Check {
    Exec(Vec<String>),
    Http(Request),
    Tcp(SocketAddr),
    /// It cannot be asked, for example because a named port is missing.
    Invalid(String),
}

/// Whom to ask.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) container_id: String,
}

impl Check {
    pub(crate) fn of_probe(probe: &Probe, container: &Container, ip: IpAddr) -> Check {
        if let Some(exec) = &probe.exec {
            return Check::Exec(exec.command.clone().unwrap_or_default());
        }
        if let Some(get) = &probe.http_get {
            return http_check(get, container, ip);
        }
        if let Some(tcp) = &probe.tcp_socket {
            return tcp_check(&tcp.port, tcp.host.as_deref(), container, ip);
        }
        Check::Invalid("missing probe handler".to_owned())
    }

    /// A postStart or preStop hook; `None` for a pause, which asks nothing.
    pub(crate) fn of_hook(hook: &LifecycleHandler, container: &Container, ip: IpAddr) -> Option<Check> {
        if let Some(exec) = &hook.exec {
            return Some(Check::Exec(exec.command.clone().unwrap_or_default()));
        }
        if let Some(get) = &hook.http_get {
            return Some(http_check(get, container, ip));
        }
        hook.sleep.is_none().then(|| Check::Invalid("a hook of this kind is not supported yet".to_owned()))
    }

    /// Asks once. Always answers within `timeout`.
    pub(crate) async fn run(&self, target: &Target, timeout: Duration) -> Answer {
        match self {
            Check::Invalid(problem) => Answer::Failure(problem.clone()),
            Check::Exec(command) => exec(target, command, timeout).await,
            Check::Tcp(address) => tcp(*address, timeout).await,
            Check::Http(request) => request.run(timeout).await,
        }
    }
}

fn http_check(get: &HTTPGetAction, container: &Container, ip: IpAddr) -> Check {
    match port(&get.port, container) {
        Ok(port) => Check::Http(Request::new(get, ip, port)),
        Err(problem) => Check::Invalid(problem),
    }
}

fn tcp_check(wanted: &IntOrString, host: Option<&str>, container: &Container, ip: IpAddr) -> Check {
    let ip = match host.filter(|host| !host.is_empty()).map(str::parse::<IpAddr>) {
        None => ip,
        Some(Ok(ip)) => ip,
        Some(Err(_)) => {
            return Check::Invalid("a tcpSocket host that is not an address is not supported yet".to_owned());
        }
    };
    match port(wanted, container) {
        Ok(port) => Check::Tcp(SocketAddr::new(ip, port)),
        Err(problem) => Check::Invalid(problem),
    }
}

/// A port by number or by the name it has in the container.
fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => name.parse().ok().or_else(|| {
            let mut ports = container.ports.iter().flatten();
            ports.find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port)
        }),
    };
    match number.map(u16::try_from) {
        Some(Ok(number)) if number != 0 => Ok(number),
        Some(_) => Err("invalid port number".to_owned()),
        None => Err(format!("couldn't find port: {port:?} in container {}", container.name)),
    }
}

/// Bytes of a probe's answer that reach an event.
const OUTPUT_LIMIT: usize = 10 << 10;

async fn exec(target: &Target, command: &[String], timeout: Duration) -> Answer {
    match target.runtime.exec(&target.container_id, command.to_vec(), timeout, OUTPUT_LIMIT).await {
        Ok(output) if output.code == 0 => Answer::Success,
        Ok(output) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            Answer::Failure(text)
        }
        Err(ExecError::Timeout(limit)) => {
            Answer::Failure(format!("command timed out after {}s", limit.as_secs()))
        }
        Err(error) => Answer::Failure(client::chain(&error).to_string()),
    }
}

async fn tcp(address: SocketAddr, timeout: Duration) -> Answer {
    let problem = match tokio::time::timeout(timeout, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => return Answer::Success,
        Ok(Err(error)) => connect_error(&error),
        Err(_) => "i/o timeout".to_owned(),
    };
    Answer::Failure(format!("dial tcp {address}: {problem}"))
}

/// As Go words it.
pub(crate) fn connect_error(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        std::io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => format!("connect: {error}"),
    }
}

/// What one probe has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Enough answers in a row.
    Outcome(bool),
    /// A single failure, for an event.
    Failed(String),
}

/// Asks again and again until it is dropped or, for startup and liveness probes, until the container is to be restarted.
pub(crate) async fn run(
    kind: Kind,
    timing: Timing,
    check: Check,
    target: Target,
    running_for: Duration,
    report: impl Fn(Report),
) {
    let mut count = Count::default();
    let mut last = None;
    let mut at = Instant::now() + timing.initial_delay.saturating_sub(running_for);
    loop {
        tokio::time::sleep_until(at).await;
        let answer = check.run(&target, timing.timeout).await;
        if let Answer::Failure(text) = &answer {
            report(Report::Failed(text.clone()));
        }
        let outcome = count.add(answer == Answer::Success, &timing);
        if outcome.is_some() && outcome != last {
            last = outcome;
            report(Report::Outcome(outcome == Some(true)));
        }
        let done = match kind {
            Kind::Startup => outcome.is_some(),
            Kind::Liveness => outcome == Some(false),
            Kind::Readiness => false,
        };
        if done {
            return;
        }
        at = (at + timing.period).max(Instant::now());
    }
}
