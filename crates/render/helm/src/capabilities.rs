//! `.Capabilities`

use std::any::Any;

use gotmpl::{Field, Object, Str, Value};

/// What Helm 4.2 tells charts of itself.
const HELM_VERSION: &str = "v4.2.3";
const GO_VERSION: &str = "go1.26.6";
const CLIENT_VERSION: &str = "v1.36";

/// The API versions Helm 4.2 assumes when it has no cluster, in its order.
pub(crate) const KNOWN_VERSIONS: &[&str] = &[
    "v1",
    "admissionregistration.k8s.io/v1",
    "admissionregistration.k8s.io/v1alpha1",
    "admissionregistration.k8s.io/v1beta1",
    "internal.apiserver.k8s.io/v1alpha1",
    "apps/v1",
    "apps/v1beta1",
    "apps/v1beta2",
    "authentication.k8s.io/v1",
    "authentication.k8s.io/v1alpha1",
    "authentication.k8s.io/v1beta1",
    "authorization.k8s.io/v1",
    "authorization.k8s.io/v1beta1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "batch/v1beta1",
    "certificates.k8s.io/v1",
    "certificates.k8s.io/v1beta1",
    "certificates.k8s.io/v1alpha1",
    "coordination.k8s.io/v1alpha2",
    "coordination.k8s.io/v1beta1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "discovery.k8s.io/v1beta1",
    "events.k8s.io/v1",
    "events.k8s.io/v1beta1",
    "extensions/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1",
    "flowcontrol.apiserver.k8s.io/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta3",
    "networking.k8s.io/v1",
    "networking.k8s.io/v1beta1",
    "node.k8s.io/v1",
    "node.k8s.io/v1alpha1",
    "node.k8s.io/v1beta1",
    "policy/v1",
    "policy/v1beta1",
    "rbac.authorization.k8s.io/v1",
    "rbac.authorization.k8s.io/v1beta1",
    "rbac.authorization.k8s.io/v1alpha1",
    "resource.k8s.io/v1",
    "resource.k8s.io/v1beta2",
    "resource.k8s.io/v1beta1",
    "resource.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1alpha2",
    "scheduling.k8s.io/v1beta1",
    "scheduling.k8s.io/v1",
    "storage.k8s.io/v1beta1",
    "storage.k8s.io/v1",
    "storage.k8s.io/v1alpha1",
    "storagemigration.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1",
];

/// `common.KubeVersion`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KubeVersion {
    version: String,
    /// Without what a vendor adds.
    pub(crate) normalized: String,
    major: String,
    minor: String,
}

impl KubeVersion {
    /// # Errors
    /// If the text is no version.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix('v').unwrap_or(text);
        let invalid = || format!("could not parse {} as version", gotmpl::quote(text.as_bytes()));
        let numbers = bare.split(|character: char| !character.is_ascii_digit() && character != '.').next();
        let parts: Vec<&str> = numbers.unwrap_or_default().trim_end_matches('.').split('.').collect();
        let number = |part: &str| part.parse::<u64>().map_err(|_| invalid());
        let parts = parts.into_iter().take(3).map(number).collect::<Result<Vec<_>, _>>()?;
        let [major, minor, rest @ ..] = parts.as_slice() else { return Err(invalid()) };
        let patch = rest.first().copied().unwrap_or(0);
        Ok(Self {
            version: format!("v{bare}"),
            normalized: format!("v{major}.{minor}.{patch}"),
            major: major.to_string(),
            minor: minor.to_string(),
        })
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }
}

impl Object for KubeVersion {
    fn type_name(&self) -> &'static str {
        "common.KubeVersion"
    }

    fn field(&self, name: &str) -> Option<Field> {
        match name {
            "Version" => Some(Field::Value(self.version.as_str().into())),
            "Major" => Some(Field::Value(self.major.as_str().into())),
            "Minor" => Some(Field::Value(self.minor.as_str().into())),
            "String" | "GitVersion" => Some(Field::Method { arguments: 0 }),
            _ => None,
        }
    }

    fn call(&self, method: &str, _: &[Value]) -> Result<Value, String> {
        Ok(if method == "String" { self.normalized.as_str() } else { self.version.as_str() }.into())
    }

    fn display(&self) -> String {
        format!("{{{} {} {} {}}}", self.version, self.normalized, self.major, self.minor)
    }

    fn printed(&self) -> String {
        self.normalized.clone()
    }

    fn plain(&self) -> Value {
        [
            ("Version", Value::from(self.version.as_str())),
            ("Major", Value::from(self.major.as_str())),
            ("Minor", Value::from(self.minor.as_str())),
        ]
        .into_iter()
        .collect()
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.as_any().downcast_ref::<Self>().is_some_and(|other| self == other)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `common.VersionSet`
#[derive(Debug, Clone)]
pub(crate) struct VersionSet(pub(crate) Vec<Str>);

impl Object for VersionSet {
    fn type_name(&self) -> &'static str {
        "common.VersionSet"
    }

    fn kind_name(&self) -> &'static str {
        "slice"
    }

    fn field(&self, name: &str) -> Option<Field> {
        (name == "Has").then_some(Field::Method { arguments: 1 })
    }

    fn call(&self, _: &str, arguments: &[Value]) -> Result<Value, String> {
        match arguments {
            [Value::Str(version)] => Ok(Value::Bool(self.0.contains(version))),
            _ => Err("wrong type for value; expected string".to_owned()),
        }
    }

    fn display(&self) -> String {
        let texts: Vec<_> = self.0.iter().map(Str::text).collect();
        format!("[{}]", texts.join(" "))
    }

    fn is_true(&self) -> bool {
        !self.0.is_empty()
    }

    fn entries(&self) -> Option<Vec<(Value, Value)>> {
        let versions = self.0.iter().enumerate();
        let index = |at: usize| Value::int(i64::try_from(at).unwrap_or(i64::MAX));
        Some(versions.map(|(at, version)| (index(at), Value::Str(version.clone()))).collect())
    }

    fn plain(&self) -> Value {
        Value::strings(self.0.iter().cloned())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `version.BuildInfo`
#[derive(Debug)]
struct HelmVersion;

impl Object for HelmVersion {
    fn type_name(&self) -> &'static str {
        "version.BuildInfo"
    }

    fn field(&self, name: &str) -> Option<Field> {
        Some(Field::Value(match name {
            "Version" => HELM_VERSION.into(),
            "GitCommit" | "GitTreeState" => "".into(),
            "GoVersion" => GO_VERSION.into(),
            "KubeClientVersion" => CLIENT_VERSION.into(),
            _ => return None,
        }))
    }

    fn display(&self) -> String {
        format!("{{{HELM_VERSION}   {GO_VERSION} {CLIENT_VERSION}}}")
    }

    fn plain(&self) -> Value {
        [("version", HELM_VERSION), ("go_version", GO_VERSION), ("kube_client_version", CLIENT_VERSION)]
            .into_iter()
            .map(|(key, value)| (key, Value::from(value)))
            .collect()
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.as_any().is::<Self>()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `*common.Capabilities`
#[derive(Debug)]
pub(crate) struct Capabilities {
    kube: Value,
    apis: Value,
    helm: Value,
}

impl Capabilities {
    pub(crate) fn new(kube: KubeVersion, extra: &[String]) -> Self {
        let known = KNOWN_VERSIONS.iter().map(|version| Str::from(*version));
        let extra = extra.iter().map(|version| Str::from(version.as_str()));
        let versions = VersionSet(known.chain(extra).collect());
        Self { kube: Value::object(kube), apis: Value::object(versions), helm: Value::object(HelmVersion) }
    }
}

impl Object for Capabilities {
    fn type_name(&self) -> &'static str {
        "*common.Capabilities"
    }

    fn kind_name(&self) -> &'static str {
        "ptr"
    }

    fn field(&self, name: &str) -> Option<Field> {
        match name {
            "KubeVersion" => Some(Field::Value(self.kube.clone())),
            "APIVersions" => Some(Field::Value(self.apis.clone())),
            "HelmVersion" => Some(Field::Value(self.helm.clone())),
            _ => None,
        }
    }

    fn display(&self) -> String {
        let part = gotmpl::to_text;
        format!("&{{{} {} {}}}", part(&self.kube), part(&self.apis), part(&self.helm))
    }

    fn plain(&self) -> Value {
        [("KubeVersion", &self.kube), ("APIVersions", &self.apis), ("HelmVersion", &self.helm)]
            .into_iter()
            .map(|(key, value)| (key, value.clone()))
            .collect()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
