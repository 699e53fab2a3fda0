//! What the environment says the service is.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use http::Uri;

/// The suffix of the variables that name a service behind this one.
const UPSTREAM: &str = "_SERVICE_URL";

/// What the service is and what it leans on.
#[derive(Debug, Clone)]
pub struct Config {
    /// What it calls itself in its answers.
    pub name: String,
    /// Which build of it this is.
    pub version: String,
    /// The TCP port it listens on, on every address.
    pub port: u16,
    /// The service behind each first path segment: `user` answers `/user/…` and `/users/…`.
    pub upstreams: BTreeMap<String, Uri>,
    /// Where records are kept; memory if it is not given.
    pub database: Option<String>,
    /// The name of the machine it runs on: in a container, of the pod.
    pub host: String,
}

impl Config {
    /// Reads the configuration from environment variables.
    ///
    /// # Errors
    /// If a port or URL does not parse; the text names the variable.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut config = Self {
            name: "demo".to_owned(),
            version: "1".to_owned(),
            port: 8080,
            upstreams: BTreeMap::new(),
            database: None,
            host: "localhost".to_owned(),
        };
        for (variable, value) in variables {
            match variable.as_str() {
                "SERVICE_NAME" => config.name = value,
                "VERSION" => config.version = value,
                "PORT" => {
                    config.port = value.parse().with_context(|| format!("PORT: {value:?} is no port"))?
                }
                "DATABASE_URL" => config.database = Some(value),
                "HOSTNAME" => config.host = value,
                _ => {
                    let Some(upstream) = variable.strip_suffix(UPSTREAM) else { continue };
                    let url = value.parse().with_context(|| format!("{variable}: {value:?} is no URL"))?;
                    config.upstreams.insert(upstream.to_lowercase(), url);
                }
            }
        }
        Ok(config)
    }

    /// The service that answers `path`, if it is not this one.
    pub(crate) fn upstream(&self, path: &str) -> Option<&Uri> {
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        self.upstreams.get(first).or_else(|| self.upstreams.get(first.strip_suffix('s')?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Config> {
        Config::from_variables(
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        )
    }

    #[test]
    fn upstreams_answer_their_name_and_its_plural() {
        let config = config(&[("USER_SERVICE_URL", "http://user:8081"), ("HOME", "/")]).unwrap();
        let upstream = |path| config.upstream(path).map(ToString::to_string);
        assert_eq!(upstream("/users/7"), Some("http://user:8081/".to_owned()));
        assert_eq!(upstream("/user"), Some("http://user:8081/".to_owned()));
        assert_eq!(upstream("/userss"), None);
        assert_eq!(upstream("/"), None);
    }

    #[test]
    fn a_bad_port_is_named() {
        assert_eq!(config(&[("PORT", "http")]).unwrap_err().to_string(), "PORT: \"http\" is no port");
    }
}
