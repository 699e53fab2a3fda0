//! API objects to routing tables.
//!
//! Owns the ingress controller: it watches Ingresses of its class, IngressClasses, Services, EndpointSlices and TLS
//! Secrets, keeps of each what a route needs, and publishes a new [`Table`] within milliseconds of a change; it
//! writes the address of the proxy into the status of the Ingresses it serves.
//!
//! What must hold:
//! - an endpoint that is not ready, or is terminating, is in no table published after its slice said so;
//! - a table is published only once everything it is made of was listed, so that a restart never serves a table
//!   with holes;
//! - what an Ingress asks and nobody here can do is said in an event on it that names the field;
//! - private keys leave only through [`Config::certificates`], and never reach a log.
//!
//! Keeps out: connections, certificates' choice by name (the proxy), and the making of certificates.

#![forbid(unsafe_code)]

mod cluster;
mod follow;
mod ingress;
mod plan;
mod status;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use client::Client;
use routing::Table;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The `spec.controller` of the IngressClasses that are served, as Traefik names itself.
pub const CONTROLLER: &str = "traefik.io/ingress-controller";

/// The service account in `kube-system` that this controller acts as.
pub const ACCOUNT: &str = "ingress-controller";

/// A certificate that Ingresses ask for, for the names they list with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Host names, wildcards as `*.example.com`; sorted.
    pub names: Vec<String>,
    /// The certificate and its issuers, PEM.
    pub chain: Vec<u8>,
    /// The private key, PEM.
    pub key: Vec<u8>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Takes every certificate there is, each time that changes anything.
pub type CertificateSink = Arc<dyn Fn(Vec<Certificate>) + Send + Sync>;

/// What the controller needs from outside.
#[derive(Clone)]
pub struct Config {
    /// Acts as [`ACCOUNT`].
    pub client: Client,
    /// Where tables are published.
    pub table: Arc<ArcSwap<Table>>,
    /// Where certificates are published.
    pub certificates: CertificateSink,
    /// The class that is made the default one, if there is none yet: `traefik`.
    pub class: String,
    /// Where clients reach the proxy: what Ingresses show as their address.
    pub address: IpAddr,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("class", &self.class)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The service account with the RBAC rules it needs.
#[must_use]
pub fn rules() -> Vec<(&'static str, Value)> {
    let read = json!(["get", "list", "watch"]);
    vec![(
        ACCOUNT,
        json!([
            { "apiGroups": [""], "resources": ["services", "secrets"], "verbs": read },
            { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read },
            { "apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": read },
            { "apiGroups": ["networking.k8s.io"], "resources": ["ingresses/status"], "verbs": ["patch", "update"] },
            { "apiGroups": ["networking.k8s.io"], "resources": ["ingressclasses"],
              "verbs": ["get", "list", "watch", "create"] },
            { "apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"] },
        ]),
    )]
}

/// Runs until shutdown. Joins everything it started before it returns.
pub async fn run(config: Config, shutdown: CancellationToken) {
    tokio::join!(follow::run(&config, &shutdown), status::run(&config, &shutdown));
}
