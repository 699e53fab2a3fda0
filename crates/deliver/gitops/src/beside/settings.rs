//! The settings in `argocd-cm` that the controller keeps.

use objects::Value;
use objects::selector::LabelSelector;

/// What the settings say, as far as anything here depends on it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ArgoSettings {
    /// Projects that add to those whose labels match.
    pub(crate) global_projects: Vec<(String, LabelSelector)>,
    /// Whether syncs are to act as the service accounts that projects name.
    pub(crate) impersonation: bool,
}

impl ArgoSettings {
    pub(super) fn read(map: &Value) -> Self {
        let text = |key: &str| map["data"][key].as_str().unwrap_or_default();
        let globals = yaml::from_str(text("globalProjects")).unwrap_or_else(|error| {
            tracing::warn!(key = "globalProjects", error = %error, "a setting of argocd-cm cannot be read");
            Value::Null
        });
        let globals = globals.as_array().into_iter().flatten().filter_map(|entry| {
            let selector = LabelSelector::from_object(&entry["labelSelector"]).ok()?;
            Some((entry["projectName"].as_str()?.to_owned(), selector))
        });
        Self {
            global_projects: globals.collect(),
            impersonation: text("application.sync.impersonation.enabled") == "true",
        }
    }
}
