//! `mainstay repo` and `mainstay repocreds`: repositories and their credentials, in the Secrets that Argo CD keeps them in.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::dynamic::{DeleteOptions, ListOptions, WriteOptions};
use client::{Key, resource};
use objects::{Value, meta};
use serde_json::{Map, json};

use crate::cli::{Format, Repo, RepoAdd, RepoCommand, RepoCreds, RepoType};
use crate::environment::Environment;
use crate::remote::Remote;
use crate::remote::output::{Machine, machine, say};
use crate::remote::table::Table;

pub(crate) const SECRET_TYPE: &str = "argocd.argoproj.io/secret-type";
const MANAGED_BY: &str = "managed-by";

/// What a Secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Repository,
    Template,
}

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::Repository => "repository",
            Self::Template => "repo-creds",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Repository => "repo",
            Self::Template => "creds",
        }
    }
}

pub(crate) async fn run(repo: Repo, environment: &Environment) -> Result<ExitCode> {
    let remote = Remote::connect(&repo.connect, environment).await?;
    Secrets { remote: &remote, kind: Kind::Repository }.run(repo.command).await
}

pub(crate) async fn templates(creds: RepoCreds, environment: &Environment) -> Result<ExitCode> {
    let remote = Remote::connect(&creds.connect, environment).await?;
    Secrets { remote: &remote, kind: Kind::Template }.run(creds.command).await
}

struct Secrets<'a> {
    remote: &'a Remote,
    kind: Kind,
}

impl Secrets<'_> {
    async fn run(&self, command: RepoCommand) -> Result<ExitCode> {
        match command {
            RepoCommand::List { output } => print(&self.all().await?, output)?,
            RepoCommand::Get { url, project, output } => {
                print(&[self.find(&url, project.as_deref()).await?], output)?;
            }
            RepoCommand::Add(add) => self.add(&add).await?,
            RepoCommand::Rm { urls, project } => {
                for url in urls {
                    let secret = self.find(&url, project.as_deref()).await?;
                    let api = self.remote.api(&resource::SECRETS);
                    api.delete(&Key::of(&secret), &DeleteOptions::default()).await?;
                    say(&format!("Repository '{url}' removed\n"))?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn all(&self) -> Result<Vec<Value>> {
        let options = ListOptions::labels(format!("{SECRET_TYPE}={}", self.kind.label()));
        let list =
            self.remote.api(&resource::SECRETS).list_all(Some(&self.remote.namespace), &options).await?;
        Ok(list.items)
    }

    async fn find(&self, url: &str, project: Option<&str>) -> Result<Value> {
        let wanted = url.trim_end_matches('/');
        let mut found: Vec<Value> = self.all().await?;
        found.retain(|secret| {
            decoded(secret, "url").trim_end_matches('/') == wanted
                && project.is_none_or(|project| decoded(secret, "project") == project)
        });
        match found.len() {
            0 => bail!("there is no repository {url}; `mainstay repo list` shows those there are"),
            1 => Ok(found.remove(0)),
            _ => bail!("{url} is there for several projects: choose with --project"),
        }
    }

    async fn add(&self, add: &RepoAdd) -> Result<()> {
        let data = data(self.kind, add)?;
        let mut secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": secret_name(self.kind.prefix(), &add.url, add.project.as_deref().unwrap_or_default()),
                "namespace": self.remote.namespace,
                "labels": {SECRET_TYPE: self.kind.label()},
                "annotations": {MANAGED_BY: "argocd.argoproj.io"},
            },
            "type": "Opaque",
            "data": data,
        });
        let api = self.remote.api(&resource::SECRETS);
        let options = WriteOptions { field_manager: Some("mainstay".to_owned()), ..WriteOptions::default() };
        match api.create_with(&secret, &options).await {
            Ok(_) => say(&format!("Repository '{}' added\n", add.url)),
            Err(error) if error.is_already_exists() => {
                let present = api.get(&Key::of(&secret)).await?;
                if present["data"] == secret["data"] {
                    return say(&format!("Repository '{}' is there already\n", add.url));
                }
                if !add.upsert {
                    bail!(
                        "repository {} is there already, with other settings; --upsert changes it",
                        add.url
                    );
                }
                meta::set(&mut secret, "resourceVersion", json!(meta::resource_version(&present)));
                api.replace_with(&secret, &options).await?;
                say(&format!("Repository '{}' updated\n", add.url))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The fields of a Secret as Argo CD names them, in base64.
fn data(kind: Kind, add: &RepoAdd) -> Result<Map<String, Value>> {
    let file = |path: &Option<std::path::PathBuf>| path.as_deref().map(read).transpose();
    let password = if add.password_stdin { Some(password()?) } else { add.password.clone() };
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let flag = |set: bool| set.then(|| "true".to_owned());
    let oci = add.enable_oci || add.kind == RepoType::Oci || add.url.starts_with("oci://");
    let kind_word = match add.kind {
        RepoType::Git => "git",
        RepoType::Helm => "helm",
        RepoType::Oci => "oci",
    };
    let own = |value: Option<String>| value.filter(|_| kind == Kind::Repository);
    let fields = [
        ("url", Some(add.url.clone())),
        ("type", Some(kind_word.to_owned())),
        ("name", own(add.name.clone())),
        ("project", add.project.clone()),
        ("username", add.username.clone()),
        ("password", password),
        ("bearerToken", add.bearer_token.clone()),
        ("sshPrivateKey", file(&add.ssh_private_key_path)?),
        ("tlsClientCertData", file(&add.tls_client_cert_path)?),
        ("tlsClientCertKey", file(&add.tls_client_cert_key_path)?),
        ("githubAppID", number(add.github_app_id)),
        ("githubAppInstallationID", number(add.github_app_installation_id)),
        ("githubAppPrivateKey", file(&add.github_app_private_key_path)?),
        ("insecure", own(flag(add.insecure_skip_server_verification))),
        ("enableLfs", own(flag(add.enable_lfs))),
        ("enableOCI", flag(oci)),
        ("insecureOCIForceHttp", flag(add.insecure_oci_force_http)),
        ("forceHttpBasicAuth", flag(add.force_http_basic_auth)),
        ("proxy", add.proxy.clone()),
    ];
    let given = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Ok(given.map(|(name, value)| (name.to_owned(), json!(STANDARD.encode(value)))).collect())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn password() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("read the password")?;
    let password = line.trim_end_matches(['\n', '\r']).to_owned();
    if password.is_empty() {
        bail!("standard input holds no password");
    }
    Ok(password)
}

/// A field of a Secret as text; empty where there is none.
pub(crate) fn decoded(secret: &Value, field: &str) -> String {
    let encoded = secret["data"][field].as_str().unwrap_or_default();
    String::from_utf8_lossy(&STANDARD.decode(encoded).unwrap_or_default()).trim().to_owned()
}

/// The name that Argo CD gives to the Secret of a repository.
fn secret_name(prefix: &str, url: &str, project: &str) -> String {
    format!("{prefix}-{}", hash(&[url, project].concat()))
}

/// FNV-1a of 32 bits, as Go's `hash/fnv` has it.
pub(crate) fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Everything that is no secret.
fn shown(secret: &Value) -> Value {
    let text = |field: &str| decoded(secret, field);
    let has = |field: &str| !text(field).is_empty();
    let is = |field: &str| text(field) == "true";
    let kind = Some(text("type")).filter(|kind| !kind.is_empty()).unwrap_or_else(|| "git".to_owned());
    let credentials = ["password", "sshPrivateKey", "bearerToken", "githubAppPrivateKey", "tlsClientCertKey"];
    json!({
        "type": kind, "name": text("name"), "repo": text("url"), "username": text("username"),
        "insecure": is("insecure"), "enableOCI": is("enableOCI"), "enableLfs": is("enableLfs"),
        "credentials": credentials.iter().any(|field| has(field)), "project": text("project"),
        "secret": meta::name(secret),
    })
}

fn print(secrets: &[Value], format: Format) -> Result<()> {
    let mut all: Vec<Value> = secrets.iter().map(shown).collect();
    all.sort_by_key(|one| one["repo"].as_str().unwrap_or_default().to_owned());
    let text = |one: &Value, field: &str| match &one[field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match format {
        Format::Json => machine(&json!(all), Machine::Json),
        Format::Yaml => machine(&json!(all), Machine::Yaml),
        Format::Name => say(&all.iter().map(|one| format!("{}\n", text(one, "repo"))).collect::<String>()),
        Format::Wide => {
            let mut table =
                Table::new(&["TYPE", "NAME", "REPO", "INSECURE", "OCI", "LFS", "CREDS", "PROJECT"]);
            for one in &all {
                let fields =
                    ["type", "name", "repo", "insecure", "enableOCI", "enableLfs", "credentials", "project"];
                table.row(fields.map(|field| text(one, field)));
            }
            say(&table.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_argo_cds() {
        // Go: h := fnv.New32a(); h.Write([]byte(text)); h.Sum32()
        assert_eq!(hash(""), 2_166_136_261);
        assert_eq!(hash("a"), 3_826_002_220);
        assert_eq!(hash("foobar"), 0xbf9c_f968);
        assert_eq!(secret_name("repo", "foo", "bar"), format!("repo-{}", 0xbf9c_f968_u32));
    }

    #[test]
    fn a_list_shows_no_secret() {
        let secret = json!({"metadata": {"name": "repo-1"}, "data": {
            "url": STANDARD.encode("https://git.example.org/a.git"), "password": STANDARD.encode("sesame")}});
        let shown = shown(&secret);
        assert_eq!(shown["credentials"], true);
        assert!(!shown.to_string().contains("sesame"));
    }
}
