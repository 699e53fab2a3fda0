//! A client for a cluster elsewhere, from its address and credentials.

use std::time::Duration;

use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
};

use crate::{Client, Error};

/// A server that does not accept a connection in this time is not there.
const CONNECT: Duration = Duration::from_secs(5);

/// Where a cluster is and who to be there. Shows no secret when printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Remote {
    /// `https://host:port`.
    pub server: String,
    /// Empty without one.
    pub bearer_token: String,
    pub username: String,
    pub password: String,
    /// PEM in base64, as kubeconfigs hold it; empty for the system's authorities.
    pub authorities: String,
    /// PEM in base64; empty without one.
    pub certificate: String,
    /// PEM in base64.
    pub key: String,
    /// The name that the server's certificate must have; empty for the address's own.
    pub server_name: String,
    pub verification: Verification,
}

/// Whether the server's certificate is checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verification {
    #[default]
    Full,
    Skipped,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("server", &self.server).finish_non_exhaustive()
    }
}

/// A client for a cluster elsewhere. Nothing is sent before its first use.
///
/// # Errors
/// If the address, a certificate or a key cannot be read.
pub async fn connect(remote: &Remote) -> Result<Client, Error> {
    let refused =
        |problem: String| Error::Request { action: format!("connect to {}", remote.server), problem };
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let cluster = Cluster {
        server: Some(remote.server.clone()),
        insecure_skip_tls_verify: Some(remote.verification == Verification::Skipped),
        certificate_authority_data: text(&remote.authorities),
        tls_server_name: text(&remote.server_name),
        ..Cluster::default()
    };
    let who = AuthInfo {
        username: text(&remote.username),
        password: text(&remote.password).map(Into::into),
        token: text(&remote.bearer_token).map(Into::into),
        client_certificate_data: text(&remote.certificate),
        client_key_data: text(&remote.key).map(Into::into),
        ..AuthInfo::default()
    };
    let name = || "remote".to_owned();
    let context = Context { cluster: name(), user: Some(name()), ..Context::default() };
    let kubeconfig = Kubeconfig {
        clusters: vec![NamedCluster { name: name(), cluster: Some(cluster), other: Default::default() }],
        auth_infos: vec![NamedAuthInfo { name: name(), auth_info: Some(who), other: Default::default() }],
        contexts: vec![NamedContext { name: name(), context: Some(context), other: Default::default() }],
        current_context: Some(name()),
        ..Kubeconfig::default()
    };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| refused(crate::chain(&error)))?;
    config.connect_timeout = Some(CONNECT);
    // The callers decide what is tried again.
    config.default_retry = false;
    Client::try_from(config).map_err(|error| refused(crate::chain(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bad_address_or_certificate_is_told_and_no_secret_is() {
        let remote = Remote {
            server: "https://stage.example.org".to_owned(),
            bearer_token: "sesame".to_owned(),
            authorities: "!".to_owned(),
            ..Remote::default()
        };
        assert!(!format!("{remote:?}").contains("sesame"));
        let error = connect(&remote).await.err().expect("the authorities are no base64");
        let text = crate::chain(&error);
        assert!(text.contains("connect to https://stage.example.org"), "{text}");
        assert!(!text.contains("sesame"), "{text}");
        assert!(connect(&Remote { authorities: String::new(), ..remote }).await.is_ok());
    }
}
