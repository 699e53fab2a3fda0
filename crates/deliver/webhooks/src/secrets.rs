//! What hosts sign with.

use std::fmt;

/// The secrets of all hosts; an empty one is none, and then anybody is believed, as Argo CD does: a payload only makes
/// a repository be looked at sooner. [`crate::Host::Generic`] is the exception.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    pub(crate) github: String,
    pub(crate) gitlab: String,
    pub(crate) bitbucket: String,
    pub(crate) bitbucket_server: String,
    pub(crate) gogs: String,
    pub(crate) azure_username: String,
    pub(crate) azure_password: String,
    pub(crate) generic: String,
}

pub(crate) const GITHUB: &str = "webhook.github.secret";
pub(crate) const GITLAB: &str = "webhook.gitlab.secret";
pub(crate) const BITBUCKET: &str = "webhook.bitbucket.uuid";
pub(crate) const BITBUCKET_SERVER: &str = "webhook.bitbucketserver.secret";
pub(crate) const GOGS: &str = "webhook.gogs.secret";
pub(crate) const AZURE_USERNAME: &str = "webhook.azuredevops.username";
pub(crate) const AZURE_PASSWORD: &str = "webhook.azuredevops.password";
/// Ours: Argo CD has no such host.
pub(crate) const GENERIC: &str = "webhook.generic.secret";

impl Secrets {
    /// The keys of the Secret `argocd-secret` that are asked for.
    pub const KEYS: [&str; 8] =
        [GITHUB, GITLAB, BITBUCKET, BITBUCKET_SERVER, GOGS, AZURE_USERNAME, AZURE_PASSWORD, GENERIC];

    /// From what each key of the Secret says; empty for one that is not there.
    pub fn read(mut value: impl FnMut(&str) -> String) -> Self {
        Self {
            github: value(GITHUB),
            gitlab: value(GITLAB),
            bitbucket: value(BITBUCKET),
            bitbucket_server: value(BITBUCKET_SERVER),
            gogs: value(GOGS),
            azure_username: value(AZURE_USERNAME),
            azure_password: value(AZURE_PASSWORD),
            generic: value(GENERIC),
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}
