//! `mainstay cluster`: the clusters that Applications deploy to, in the Secrets that Argo CD keeps them in.

mod backup;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::connect::{Connection, connect};
use client::dynamic::{DeleteOptions, ListOptions, WriteOptions};
use client::{Api, Client, Key, ResourceType, resource, wait};
use objects::{Value, meta};
use serde_json::json;

use crate::cli::{Cluster, ClusterAdd, ClusterCommand, Format};
use crate::environment::Environment;
use crate::remote::output::{Machine, machine, say};
use crate::remote::progress::Progress;
use crate::remote::table::Table;
use crate::remote::{Remote, confirm};
use crate::repositories::{SECRET_TYPE, decoded, hash};

const IN_CLUSTER: &str = "https://kubernetes.default.svc";
const ACCOUNT: &str = "argocd-manager";
const TOKEN_SECRET: &str = "argocd-manager-long-lived-token";
const ROLE: &str = "argocd-manager-role";
const BINDING: &str = "argocd-manager-role-binding";
/// How long the other cluster may take to give out a token.
const TOKEN_WAIT: Duration = Duration::from_secs(30);

const RBAC: &str = "rbac.authorization.k8s.io";
const CLUSTER_ROLES: ResourceType = ResourceType::cluster(RBAC, "v1", "ClusterRole", "clusterroles");
const CLUSTER_ROLE_BINDINGS: ResourceType =
    ResourceType::cluster(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings");
const ROLES: ResourceType = ResourceType::namespaced(RBAC, "v1", "Role", "roles");
const ROLE_BINDINGS: ResourceType = ResourceType::namespaced(RBAC, "v1", "RoleBinding", "rolebindings");

pub(crate) async fn run(cluster: Cluster, environment: &Environment) -> Result<ExitCode> {
    if let ClusterCommand::Backup { file } = &cluster.command {
        backup::save(&cluster.connect, environment, file)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let ClusterCommand::Restore { file } = &cluster.command {
        backup::restore(&cluster.connect, environment, file)?;
        return Ok(ExitCode::SUCCESS);
    }
    let remote = Remote::connect(&cluster.connect, environment).await?;
    match cluster.command {
        ClusterCommand::Backup { .. } | ClusterCommand::Restore { .. } => unreachable!("answered above"),
        ClusterCommand::List { output } => print(&all(&remote).await?, output)?,
        ClusterCommand::Get { cluster, output } => print(&[find(&remote, &cluster).await?.1], output)?,
        ClusterCommand::Add(add) => self::add(&remote, &add).await?,
        ClusterCommand::Rm { clusters, yes } => {
            for cluster in clusters {
                let (secret, _) = find(&remote, &cluster).await?;
                let Some(secret) = secret else { bail!("the cluster {cluster} is this one: it stays") };
                if !confirm(&format!("Forget the cluster {cluster}? Its Applications go Unknown."), yes)? {
                    bail!("the cluster {cluster} was not removed");
                }
                remote.api(&resource::SECRETS).delete(&Key::of(&secret), &DeleteOptions::default()).await?;
                say(&format!("Cluster '{cluster}' removed\n"))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn secrets(remote: &Remote) -> Result<Vec<Value>> {
    let options = ListOptions::labels(format!("{SECRET_TYPE}=cluster"));
    Ok(remote.api(&resource::SECRETS).list_all(Some(&remote.namespace), &options).await?.items)
}

/// What of a cluster is no secret.
fn shown(secret: &Value) -> Value {
    let config: Value = serde_json::from_str(&decoded(secret, "config")).unwrap_or_default();
    let namespaces = decoded(secret, "namespaces");
    json!({
        "server": decoded(secret, "server"), "name": decoded(secret, "name"), "project": decoded(secret, "project"),
        "namespaces": namespaces.split(',').map(str::trim).filter(|one| !one.is_empty()).collect::<Vec<_>>(),
        "labels": meta::labels(secret), "secret": meta::name(secret),
        "insecure": config["tlsClientConfig"]["insecure"] == true,
    })
}

/// All clusters; the one that Argo CD runs in is always there.
async fn all(remote: &Remote) -> Result<Vec<Value>> {
    let mut clusters: Vec<Value> = secrets(remote).await?.iter().map(shown).collect();
    if !clusters.iter().any(|cluster| cluster["server"] == IN_CLUSTER) {
        clusters
            .insert(0, json!({"server": IN_CLUSTER, "name": "in-cluster", "project": "", "namespaces": []}));
    }
    Ok(clusters)
}

async fn find(remote: &Remote, wanted: &str) -> Result<(Option<Value>, Value)> {
    let trimmed = wanted.trim_end_matches('/');
    for secret in secrets(remote).await? {
        if decoded(&secret, "server").trim_end_matches('/') == trimmed || decoded(&secret, "name") == wanted {
            let cluster = shown(&secret);
            return Ok((Some(secret), cluster));
        }
    }
    let found = all(remote).await?.into_iter().find(|one| one["server"] == trimmed || one["name"] == wanted);
    let cluster = found.with_context(|| {
        format!("there is no cluster {wanted}; `mainstay cluster list` shows those there are")
    })?;
    Ok((None, cluster))
}

fn print(clusters: &[Value], format: Format) -> Result<()> {
    let text = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
    match format {
        Format::Json => machine(&json!(clusters), Machine::Json),
        Format::Yaml => machine(&json!(clusters), Machine::Yaml),
        Format::Name => {
            say(&clusters.iter().map(|one| format!("{}\n", text(one, "server"))).collect::<String>())
        }
        Format::Wide => {
            let mut table = Table::new(&["SERVER", "NAME", "NAMESPACES", "PROJECT"]);
            for one in clusters {
                let namespaces: Vec<&str> =
                    one["namespaces"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let namespaces = if namespaces.is_empty() { "*".to_owned() } else { namespaces.join(",") };
                table.row([text(one, "server"), text(one, "name"), namespaces, text(one, "project")]);
            }
            say(&table.to_string())
        }
    }
}

async fn add(remote: &Remote, add: &ClusterAdd) -> Result<()> {
    let kubeconfigs = match &add.target_kubeconfig {
        Some(path) => vec![path.clone()],
        None => remote.kubeconfigs.clone(),
    };
    let target = connect(&kubeconfigs, Some(&add.target)).await?;
    let server = add.cluster_endpoint.clone().unwrap_or_else(|| target.server.clone());
    let question = format!(
        "This makes the service account {} in namespace {} of {} ({server}) with full rights {}. Go on?",
        add.service_account.as_deref().unwrap_or(ACCOUNT),
        add.system_namespace,
        add.target,
        if add.namespace.is_empty() {
            "on that cluster".to_owned()
        } else {
            format!("in {}", add.namespace.join(", "))
        },
    );
    if add.service_account.is_none() && !confirm(&question, add.yes)? {
        bail!("the cluster {} was not added", add.target);
    }
    let _progress = Progress::start(format!("waiting for a token of {}", add.target));
    let account = Account { client: &target.client, add };
    if add.service_account.is_none() {
        account.make().await.with_context(|| format!("make the service account in {}", add.target))?;
    }
    let (token, authority) = account.token().await?;
    let secret = secret(remote, add, &target, &server, &token, authority);
    store(remote, add, secret).await?;
    say(&format!("Cluster '{server}' added\n"))
}

/// The service account of Argo CD in another cluster.
struct Account<'a> {
    client: &'a Client,
    add: &'a ClusterAdd,
}

impl Account<'_> {
    fn name(&self) -> &str {
        self.add.service_account.as_deref().unwrap_or(ACCOUNT)
    }

    async fn write(&self, kind: &ResourceType, object: Value) -> Result<()> {
        Api::new(self.client, kind).apply(&object, "mainstay", true).await?;
        Ok(())
    }

    async fn make(&self) -> Result<()> {
        let namespace = &self.add.system_namespace;
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": ACCOUNT, "namespace": namespace}});
        self.write(&resource::SERVICE_ACCOUNTS, account).await?;
        let everything = json!([
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        ]);
        let subjects = json!([{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}]);
        if self.add.namespace.is_empty() {
            let mut rules = everything.clone();
            if let Some(rules) = rules.as_array_mut() {
                rules.push(json!({"nonResourceURLs": ["*"], "verbs": ["*"]}));
            }
            let role = json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": {"name": ROLE}, "rules": rules});
            self.write(&CLUSTER_ROLES, role).await?;
            let binding = json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": BINDING},
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": ROLE}, "subjects": subjects});
            return self.write(&CLUSTER_ROLE_BINDINGS, binding).await;
        }
        for namespace in &self.add.namespace {
            let role = json!({"apiVersion": format!("{RBAC}/v1"), "kind": "Role",
                "metadata": {"name": ROLE, "namespace": namespace}, "rules": everything});
            self.write(&ROLES, role).await?;
            let binding = json!({"apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding",
                "metadata": {"name": BINDING, "namespace": namespace},
                "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": ROLE}, "subjects": subjects});
            self.write(&ROLE_BINDINGS, binding).await?;
        }
        Ok(())
    }

    /// The account's token and the cluster's certificate authority, from a Secret that is bound to it.
    async fn token(&self) -> Result<(String, Option<String>)> {
        let namespace = &self.add.system_namespace;
        let name = match &self.add.service_account {
            Some(account) => format!("{account}-long-lived-token"),
            None => TOKEN_SECRET.to_owned(),
        };
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {"name": name, "namespace": namespace,
                "annotations": {"kubernetes.io/service-account.name": self.name()}}});
        match Api::new(self.client, &resource::SECRETS).create(&secret).await {
            Err(error) if !error.is_already_exists() => {
                return Err(error).context("make the Secret of its token");
            }
            _ => {}
        }
        let key = Key::namespaced(namespace, &name);
        let filled = |secret: &Value| secret["data"]["token"].as_str().is_some_and(|token| !token.is_empty());
        let secret =
            wait::present(self.client, &resource::SECRETS, &key, "token", TOKEN_WAIT, filled).await?;
        let authority = secret["data"]["ca.crt"].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Ok((decoded(&secret, "token"), authority))
    }
}

/// The Secret by which Argo CD knows a cluster.
fn secret(
    remote: &Remote,
    add: &ClusterAdd,
    target: &Connection,
    server: &str,
    token: &str,
    authority: Option<String>,
) -> Value {
    let mut tls = json!({"insecure": target.insecure});
    if !target.insecure
        && let Some(authority) = target.authority.clone().or(authority)
    {
        tls["caData"] = json!(authority);
    }
    if let Some(name) = &target.server_name {
        tls["serverName"] = json!(name);
    }
    let config = json!({"bearerToken": token, "tlsClientConfig": tls});
    let mut data = json!({
        "name": STANDARD.encode(add.name.as_deref().unwrap_or(&add.target)),
        "server": STANDARD.encode(server),
        "config": STANDARD.encode(config.to_string()),
    });
    if !add.namespace.is_empty() {
        data["namespaces"] = json!(STANDARD.encode(add.namespace.join(",")));
        data["clusterResources"] = json!(STANDARD.encode(add.cluster_resources.to_string()));
    }
    if let Some(project) = &add.project {
        data["project"] = json!(STANDARD.encode(project));
    }
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": secret_name(server), "namespace": remote.namespace,
            "labels": {SECRET_TYPE: "cluster"}, "annotations": {"managed-by": "argocd.argoproj.io"},
        },
        "data": data,
    });
    for (name, value) in &add.label {
        meta::set_label(&mut secret, name, Some(value));
    }
    for (name, value) in &add.annotation {
        meta::set_annotation(&mut secret, name, Some(value));
    }
    secret
}

async fn store(remote: &Remote, add: &ClusterAdd, mut secret: Value) -> Result<()> {
    let api = remote.api(&resource::SECRETS);
    let options = WriteOptions { field_manager: Some("mainstay".to_owned()), ..WriteOptions::default() };
    match api.create_with(&secret, &options).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_already_exists() => {
            let present = api.get(&Key::of(&secret)).await?;
            if present["data"] != secret["data"] && !add.upsert {
                bail!("the cluster is there already, with other settings; --upsert changes it");
            }
            meta::set(&mut secret, "resourceVersion", json!(meta::resource_version(&present)));
            api.replace_with(&secret, &options).await?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The name that Argo CD gives to the Secret of a cluster.
fn secret_name(server: &str) -> String {
    let host = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    // Without its port; of an IPv6 address the name keeps only what a name may have.
    let host = match host.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
        Some(address) => address.replace(':', "-"),
        None => host.split(':').next().unwrap_or_default().to_owned(),
    };
    format!("cluster-{}-{}", host.to_lowercase(), hash(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_argo_cds() {
        // Of Argo CD's own test of URIToSecretName.
        assert_eq!(secret_name("http://foo"), "cluster-foo-752281925");
        assert_eq!(
            secret_name("http://thelongestdomainnameintheworld.argocd-project.com:3000"),
            "cluster-thelongestdomainnameintheworld.argocd-project.com-2721640553"
        );
    }

    #[test]
    fn a_list_shows_no_token() {
        let config = json!({"bearerToken": "sesame", "tlsClientConfig": {"insecure": true}}).to_string();
        let secret = json!({"metadata": {"name": "cluster-x"}, "data": {
            "server": STANDARD.encode("https://x"), "config": STANDARD.encode(config), "namespaces": STANDARD.encode("a, b")}});
        let shown = shown(&secret);
        assert_eq!((&shown["insecure"], &shown["namespaces"]), (&json!(true), &json!(["a", "b"])));
        assert!(!shown.to_string().contains("sesame"));
    }
}
