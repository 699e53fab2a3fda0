//! Who to be at a chart repository: the Secrets in which Argo CD keeps repositories and credential templates.

use std::collections::BTreeMap;

use base64::Engine as _;
use charts::{ClientCertificate, Lookup, Repository, Tls, Verification};
use client::dynamic::ListOptions;
use client::{Api, Client, Key, resource};
use objects::Value;

/// What makes a Secret a repository's (`repository`) or a template for all URLs that begin alike (`repo-creds`).
const SECRET_TYPE: &str = "argocd.argoproj.io/secret-type";
/// Certificate authorities by host.
const AUTHORITIES: &str = "argocd-tls-certs-cm";

/// Everything that the Secrets of a namespace offer to the applications of one project.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    repositories: Vec<Entry>,
    templates: Vec<Entry>,
    /// PEM by host.
    authorities: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Entry {
    key: String,
    name: String,
    repository: Repository,
}

impl Credentials {
    /// Reads the Secrets as they are now.
    pub(crate) async fn read(client: &Client, namespace: &str, project: &str) -> Result<Self, client::Error> {
        let labels = Some(format!("{SECRET_TYPE} in (repository,repo-creds)"));
        let options = ListOptions { labels, ..ListOptions::all() };
        let secrets = Api::new(client, &resource::SECRETS).list_all(Some(namespace), &options).await?;
        let authorities =
            Api::new(client, &resource::CONFIG_MAPS).find(&Key::namespaced(namespace, AUTHORITIES)).await?;
        Ok(Self::of(&secrets.items, authorities.as_ref(), project))
    }

    fn of(secrets: &[Value], authorities: Option<&Value>, project: &str) -> Self {
        let mut this = Self::default();
        let hosts = authorities.and_then(|map| map["data"].as_object()).into_iter().flatten();
        this.authorities = hosts
            .filter_map(|(host, pem)| Some((host.to_ascii_lowercase(), pem.as_str()?.to_owned())))
            .collect();
        for secret in secrets {
            let fields = Fields(secret);
            // A repository of a project is that project's alone.
            let owner = fields.text("project");
            let url = fields.text("url");
            if url.is_empty() || !owner.is_empty() && owner != project {
                continue;
            }
            let entry =
                Entry { key: key(&url), name: fields.text("name"), repository: fields.repository(url) };
            match secret["metadata"]["labels"][SECRET_TYPE].as_str() {
                Some("repository") => this.repositories.push(entry),
                Some("repo-creds") => this.templates.push(entry),
                _ => {}
            }
        }
        // The longest prefix wins.
        this.templates.sort_by_key(|entry| std::cmp::Reverse(entry.key.len()));
        this
    }

    /// A repository as anybody may ask it, with the authorities that are trusted for its host.
    pub(crate) fn trusting(&self, url: &str) -> Repository {
        self.trusted(Repository::new(url))
    }

    fn complete(&self, mut repository: Repository) -> Repository {
        let of_url = key(&repository.url);
        let has_own = !repository.username.is_empty()
            || !repository.password.is_empty()
            || repository.tls.client.is_some();
        let template = self.templates.iter().find(|entry| of_url.starts_with(&entry.key));
        if let Some(Entry { repository: template, .. }) = template
            && !has_own
        {
            repository.username.clone_from(&template.username);
            repository.password.clone_from(&template.password);
            repository.tls.client.clone_from(&template.tls.client);
            repository.oci |= template.oci;
            repository.plain_http |= template.plain_http;
            if repository.proxy.is_empty() {
                repository.proxy.clone_from(&template.proxy);
                repository.no_proxy.clone_from(&template.no_proxy);
            }
        }
        self.trusted(repository)
    }

    fn trusted(&self, mut repository: Repository) -> Repository {
        let of_url = key(&repository.url);
        let host = of_url.split('/').next().unwrap_or_default();
        let without_port = host.rsplit_once(':').map_or(host, |(host, _)| host);
        let authorities = self.authorities.get(host).or_else(|| self.authorities.get(without_port));
        if let Some(authorities) = authorities {
            repository.tls.authorities.clone_from(authorities);
        }
        repository
    }
}

impl Lookup for Credentials {
    fn by_url(&self, url: &str) -> Repository {
        let of_url = key(url);
        let own = self.repositories.iter().find(|entry| entry.key == of_url);
        let repository = own.map(|entry| Repository { url: url.to_owned(), ..entry.repository.clone() });
        self.complete(repository.unwrap_or_else(|| Repository::new(url)))
    }

    fn by_name(&self, name: &str) -> Option<Repository> {
        let own = self.repositories.iter().find(|entry| entry.name == name)?;
        Some(self.complete(own.repository.clone()))
    }
}

/// URLs are the same whatever their case, their end, and whether a registry's has a scheme.
fn key(url: &str) -> String {
    let url = url.trim().trim_end_matches('/').to_lowercase();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", &url));
    match scheme {
        "" | "oci" | "https" => rest.to_owned(),
        scheme => format!("{scheme}://{rest}"),
    }
}

struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn text(&self, field: &str) -> String {
        let encoded = self.0["data"][field].as_str().unwrap_or_default();
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
        String::from_utf8_lossy(&decoded).trim().to_owned()
    }

    fn flag(&self, field: &str) -> bool {
        self.text(field) == "true"
    }

    /// `forceHttpBasicAuth` needs no field: a user name and a password are always sent with the first request.
    fn repository(&self, url: String) -> Repository {
        let (certificate, key) = (self.text("tlsClientCertData"), self.text("tlsClientCertKey"));
        let client =
            (!certificate.is_empty() && !key.is_empty()).then_some(ClientCertificate { certificate, key });
        let verification = if self.flag("insecure") { Verification::Skipped } else { Verification::Full };
        Repository {
            url,
            username: self.text("username"),
            password: self.text("password"),
            pass_credentials: false,
            oci: self.flag("enableOCI"),
            plain_http: self.flag("insecureOCIForceHttp"),
            tls: Tls { authorities: String::new(), client, verification },
            proxy: self.text("proxy"),
            no_proxy: self.text("noProxy"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(kind: &str, data: &[(&str, &str)]) -> Value {
        let data: serde_json::Map<String, Value> = data
            .iter()
            .map(|(name, value)| {
                let encoded = base64::engine::general_purpose::STANDARD.encode(value);
                ((*name).to_owned(), encoded.into())
            })
            .collect();
        json!({"metadata": {"name": "s", "labels": {SECRET_TYPE: kind}}, "data": data})
    }

    #[test]
    fn repositories_and_templates_are_matched_as_argo_cd_does() {
        let secrets = [
            secret(
                "repository",
                &[
                    ("url", "https://charts.example.org/Team/"),
                    ("name", "team"),
                    ("username", "own"),
                    ("password", "p"),
                ],
            ),
            secret(
                "repository",
                &[("url", "ghcr.io/team/charts"), ("enableOCI", "true"), ("insecureOCIForceHttp", "true")],
            ),
            secret(
                "repository",
                &[
                    ("url", "https://other.example.org"),
                    ("project", "theirs"),
                    ("username", "theirs"),
                    ("password", "p"),
                ],
            ),
            secret(
                "repo-creds",
                &[("url", "https://charts.example.org"), ("username", "wide"), ("password", "p")],
            ),
            secret(
                "repo-creds",
                &[
                    ("url", "https://charts.example.org/more"),
                    ("proxy", "http://proxy:3128"),
                    ("noProxy", ".local"),
                    ("username", "narrow"),
                    ("password", "p"),
                    ("enableOCI", "true"),
                ],
            ),
            secret(
                "repo-creds",
                &[("url", "oci://ghcr.io/team"), ("username", "registry"), ("password", "p")],
            ),
            secret("cluster", &[("url", "https://other.example.org"), ("username", "nobody")]),
            secret(
                "repository",
                &[
                    ("url", "https://tls.example.org:8443"),
                    ("insecure", "true"),
                    ("tlsClientCertData", "C"),
                    ("tlsClientCertKey", "K"),
                ],
            ),
        ];
        let authorities = json!({"data": {"tls.example.org": "PEM"}});
        let credentials = Credentials::of(&secrets, Some(&authorities), "default");
        let who = |url: &str| credentials.by_url(url).username;
        assert_eq!(who("https://charts.example.org/team"), "own");
        assert_eq!(who("https://charts.example.org/elsewhere"), "wide");
        assert_eq!(who("https://charts.example.org/more/x"), "narrow");
        assert!(credentials.by_url("https://charts.example.org/more/x").oci);
        assert_eq!(who("https://other.example.org"), "");
        assert_eq!(who("http://charts.example.org/team"), "", "no secret goes over another scheme");
        let registry = credentials.by_url("oci://ghcr.io/team/charts");
        assert!(registry.oci && registry.plain_http);
        assert_eq!(
            (registry.username.as_str(), registry.url.as_str()),
            ("registry", "oci://ghcr.io/team/charts")
        );
        let tls = credentials.by_url("https://tls.example.org:8443/").tls;
        assert_eq!((tls.authorities.as_str(), tls.verification), ("PEM", Verification::Skipped));
        assert!(tls.client.is_some());
        let behind = credentials.by_url("https://charts.example.org/more/x");
        assert_eq!((behind.proxy.as_str(), behind.no_proxy.as_str()), ("http://proxy:3128", ".local"));
        assert_eq!(credentials.by_url("https://charts.example.org/elsewhere").proxy, "");
        assert_eq!(credentials.by_name("team").unwrap().username, "own");
        assert!(credentials.by_name("nobody").is_none());
        let theirs = Credentials::of(&secrets, None, "theirs");
        assert_eq!(theirs.by_url("https://other.example.org").username, "theirs");
    }
}
