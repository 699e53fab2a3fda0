//! How the process does, for probes and metrics.

use std::sync::{Arc, Mutex, PoisonError};

use gitops::{Exposition, Metrics};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

/// What the process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Standby,
    Leader,
}

/// Everything that is told.
pub(crate) struct Health {
    identity: String,
    holder: watch::Receiver<String>,
    state: Mutex<State>,
}

struct State {
    role: Role,
    /// Why the leader does nothing yet; empty if it does.
    waits: String,
    /// Of the current term.
    metrics: Option<Arc<Metrics>>,
}

impl Health {
    pub(crate) fn new(identity: &str, holder: watch::Receiver<String>) -> Self {
        let state = State { role: Role::Standby, waits: String::new(), metrics: None };
        Self { identity: identity.to_owned(), holder, state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn become_role(&self, role: Role) {
        let mut state = self.state();
        state.role = role;
        state.metrics = None;
        state.waits = match role {
            Role::Standby => String::new(),
            Role::Leader => "the controllers are starting".to_owned(),
        };
    }

    /// What the leader waits for; empty for nothing.
    pub(crate) fn waits_for(&self, what: &str) {
        what.clone_into(&mut self.state().waits);
    }

    pub(crate) fn counts(&self, metrics: Arc<Metrics>) {
        self.state().metrics = Some(metrics);
    }

    /// Whether the process does what it is there for: it leads, or knows who does.
    ///
    /// # Errors
    /// What it waits for.
    pub(crate) fn ready(&self) -> Result<String, String> {
        let state = self.state();
        let holder = self.holder.borrow();
        match state.role {
            Role::Leader if state.waits.is_empty() => Ok(format!("{} leads\n", self.identity)),
            Role::Leader => Err(format!("{} leads, and waits: {}\n", self.identity, state.waits)),
            Role::Standby if holder.is_empty() => Err("the lease was not seen yet\n".to_owned()),
            Role::Standby => Ok(format!("{} stands by; {} leads\n", self.identity, *holder)),
        }
    }

    /// In the OpenMetrics format.
    pub(crate) fn metrics(&self) -> String {
        let mut registry = Registry::default();
        let state = self.state();
        registry.register_collector(Box::new(Leads(state.role)));
        if let Some(metrics) = &state.metrics {
            registry.register_collector(Box::new(Exposition(Arc::clone(metrics))));
        }
        drop(state);
        let mut text = String::new();
        encode(&mut text, &registry).expect("text can always be written to a string");
        text
    }
}

/// As client-go names it.
#[derive(Debug)]
struct Leads(Role);

impl Collector for Leads {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Whether this process leads";
        let mut family =
            encoder.encode_descriptor("leader_election_master_status", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(self.0 == Role::Leader))
            .encode(family.encode_family(&[("name", install::NAME)])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_who_leads_or_knows_who_does() {
        let (sender, holder) = watch::channel(String::new());
        let health = Health::new("one", holder);
        assert!(health.ready().unwrap_err().contains("not seen"));
        sender.send_replace("two".to_owned());
        assert_eq!(health.ready().unwrap(), "one stands by; two leads\n");
        health.become_role(Role::Leader);
        assert!(health.ready().unwrap_err().contains("starting"));
        health.waits_for("");
        assert_eq!(health.ready().unwrap(), "one leads\n");
        let line = r#"leader_election_master_status{name="mainstay"} 1"#;
        assert!(health.metrics().lines().any(|found| found == line), "{}", health.metrics());
        health.become_role(Role::Standby);
        assert!(health.metrics().contains("} 0\n"));
    }
}
