//! Service accounts: one named `default` and the cluster's certificate in every namespace, and long-lived tokens in Secrets.

use std::sync::Arc;

use base64::Engine;
use client::controller::{Action, Controller};
use client::dynamic::{DeleteOptions, ListOptions, Patch, PatchOptions};
use client::resource::{CONFIG_MAPS, NAMESPACES, SECRETS, SERVICE_ACCOUNTS};
use client::watch::WatchOptions;
use client::{Api, Client, Error, Key};
use objects::meta;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) const ACCOUNT: &str = "service-account-controller";
pub(crate) const TOKENS_ACCOUNT: &str = "service-account-token-controller";

const CA_CONFIG_MAP: &str = "kube-root-ca.crt";
const TOKEN_TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// Tokens in Secrets do not end upstream; here they end after the longest time a token request may ask for.
const TOKEN_SECONDS: u64 = (1 << 32) - 1;

pub(crate) fn rules() -> Value {
    json!([
        { "apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["create", "get", "list", "watch"] },
        { "apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get", "list", "update", "watch"] },
    ])
}

pub(crate) fn tokens_rules() -> Value {
    json!([
        { "apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get", "list", "watch"] },
        { "apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"] },
        { "apiGroups": [""], "resources": ["secrets"], "verbs": ["delete", "get", "list", "patch", "watch"] },
    ])
}

/// Gives every namespace its account and certificate.
pub(crate) async fn run(client: Client, certificate: String, shutdown: CancellationToken) {
    let this = Namespaces {
        namespaces: Api::new(&client, &NAMESPACES),
        accounts: Api::new(&client, &SERVICE_ACCOUNTS),
        config_maps: Api::new(&client, &CONFIG_MAPS),
        certificate: certificate.into(),
    };
    let named = |name: &str| WatchOptions {
        fields: Some(format!("metadata.name={name}")),
        ..WatchOptions::default()
    };
    let namespace = |object: &Value| meta::namespace(object).map(Key::cluster).into_iter().collect();
    Controller::new("service-account", client)
        .primary(NAMESPACES)
        .watches(SERVICE_ACCOUNTS, WatchOptions { metadata_only: true, ..named("default") }, namespace)
        .watches(CONFIG_MAPS, WatchOptions { metadata_only: true, ..named(CA_CONFIG_MAP) }, namespace)
        .run(
            move |key| {
                let this = this.clone();
                async move { this.reconcile(&key).await }
            },
            shutdown,
        )
        .await;
}

#[derive(Clone)]
struct Namespaces {
    namespaces: Api,
    accounts: Api,
    config_maps: Api,
    certificate: Arc<str>,
}

impl Namespaces {
    async fn reconcile(&self, key: &Key) -> Result<Action, Error> {
        let Some(namespace) = self.namespaces.find(key).await? else { return Ok(Action::Done) };
        if meta::is_deleting(&namespace) || namespace["status"]["phase"] == "Terminating" {
            return Ok(Action::Done);
        }
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": "default", "namespace": key.name } });
        if self.accounts.find(&Key::of(&account)).await?.is_none() {
            tolerate(self.accounts.create(&account).await)?;
        }
        self.certificate(&key.name).await?;
        Ok(Action::Done)
    }

    async fn certificate(&self, namespace: &str) -> Result<(), Error> {
        let wanted = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": CA_CONFIG_MAP,
                "namespace": namespace,
                "annotations": { "kubernetes.io/description":
                    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such \
                     as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
                     distributions of Kubernetes clusters." },
            },
            "data": { "ca.crt": &*self.certificate },
        });
        match self.config_maps.find(&Key::of(&wanted)).await? {
            None => tolerate(self.config_maps.create(&wanted).await),
            Some(known) if known["data"] == wanted["data"] => Ok(()),
            Some(mut known) => {
                known["data"] = wanted["data"].clone();
                self.config_maps.replace(&known).await.map(|_| ())
            }
        }
    }
}

fn tolerate(outcome: Result<Value, Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if error.is_already_exists() || error.is_namespace_terminating() => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Fills Secrets of the token type and removes them with their account.
pub(crate) async fn run_tokens(client: Client, certificate: String, shutdown: CancellationToken) {
    let this = Tokens {
        secrets: Api::new(&client, &SECRETS),
        accounts: Api::new(&client, &SERVICE_ACCOUNTS),
        certificate: certificate.into(),
    };
    // Keys of accounts carry this prefix, which no Secret's name can have.
    let tokens = WatchOptions { fields: Some(format!("type={TOKEN_TYPE}")), ..WatchOptions::metadata() };
    Controller::new("service-account-token", client)
        .primary_with(SECRETS, tokens, |secret| vec![Key::of(secret)])
        .watches(SERVICE_ACCOUNTS, WatchOptions::metadata(), |account| {
            vec![Key::new(meta::namespace(account), &format!("{OF_ACCOUNT}{}", meta::name(account)))]
        })
        .run(
            move |key| {
                let this = this.clone();
                async move { this.reconcile(&key).await }
            },
            shutdown,
        )
        .await;
}

fn encode(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

const OF_ACCOUNT: &str = "account:";

#[derive(Clone)]
struct Tokens {
    secrets: Api,
    accounts: Api,
    certificate: Arc<str>,
}

impl Tokens {
    async fn reconcile(&self, key: &Key) -> Result<Action, Error> {
        if let Some(account) = key.name.strip_prefix(OF_ACCOUNT) {
            let tokens = ListOptions::fields(format!("type={TOKEN_TYPE}"));
            for secret in self.secrets.list_all(key.namespace.as_deref(), &tokens).await?.items {
                if meta::annotation(&secret, ACCOUNT_NAME) == Some(account) {
                    self.secret(secret).await?;
                }
            }
        } else if let Some(secret) = self.secrets.find(key).await? {
            self.secret(secret).await?;
        }
        Ok(Action::Done)
    }

    async fn secret(&self, secret: Value) -> Result<(), Error> {
        if secret["type"] != TOKEN_TYPE || meta::is_deleting(&secret) {
            return Ok(());
        }
        let Some(name) = meta::annotation(&secret, ACCOUNT_NAME) else { return Ok(()) };
        let account_key = Key::new(meta::namespace(&secret), name);
        let account = self.accounts.find(&account_key).await?;
        let bound_to = meta::annotation(&secret, ACCOUNT_UID);
        let Some(account) = account.filter(|account| bound_to.is_none_or(|uid| uid == meta::uid(account)))
        else {
            // Before its account exists a Secret may wait for it; after the account is gone its token is worth nothing.
            if bound_to.is_some() {
                let options = DeleteOptions::default().only(meta::uid(&secret));
                self.secrets.delete_if_exists(&Key::of(&secret), &options).await?;
            }
            return Ok(());
        };
        if bound_to.is_some() && secret["data"]["token"].is_string() && secret["data"]["ca.crt"].is_string() {
            return Ok(());
        }
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "expirationSeconds": TOKEN_SECONDS,
                "boundObjectRef": {
                    "apiVersion": "v1", "kind": "Secret", "name": meta::name(&secret), "uid": meta::uid(&secret),
                },
            },
        });
        let answer = self.accounts.create_subresource(&account_key, "token", &request).await?;
        let patch = Patch::Merge(json!({
            "metadata": { "uid": meta::uid(&secret), "annotations": { ACCOUNT_UID: meta::uid(&account) } },
            "data": {
                "token": encode(answer["status"]["token"].as_str().unwrap_or("")),
                "ca.crt": encode(&self.certificate),
                "namespace": encode(meta::namespace(&secret).unwrap_or("")),
            },
        }));
        self.secrets.patch(&Key::of(&secret), &patch, &PatchOptions::default()).await?;
        Ok(())
    }
}
