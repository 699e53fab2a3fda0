//! A container's environment, command line and the downward API: values in, values out.

mod services;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod};

pub(crate) use services::{ServiceAddress, ServicePort, service_variables};

use crate::pod;
use crate::resources::{self, Capacity};

/// A ConfigMap or Secret that a Pod reads, in the Pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Reference {
    pub(crate) kind: ReferenceKind,
    pub(crate) name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ReferenceKind {
    ConfigMap,
    Secret,
    PersistentVolumeClaim,
}

/// The contents of a ConfigMap or Secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// `data`, decoded.
    pub(crate) data: BTreeMap<String, Vec<u8>>,
    /// `binaryData` of a ConfigMap: seen by volumes, not by the environment.
    pub(crate) binary: BTreeMap<String, Vec<u8>>,
}

/// Values may be secret: only the keys are shown.
impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.data.keys().chain(self.binary.keys())).finish()
    }
}

/// What was read for a Pod; `None` for an object that does not exist.
pub(crate) type Sources = BTreeMap<Reference, Option<Contents>>;

/// Why a container cannot be configured; the reason is `CreateContainerConfigError`, the text the kubelet's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("configmap {0:?} not found")]
    ConfigMapNotFound(String),
    #[error("secret {0:?} not found")]
    SecretNotFound(String),
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    KeyNotFound { kind: &'static str, namespace: String, name: String, key: String },
    #[error("failed to resolve env var {name}: unsupported fieldPath: {path}")]
    FieldPath { name: String, path: String },
    #[error("failed to resolve env var {name}: container {container:?} or resource {resource:?} not found")]
    Resource { name: String, container: String, resource: String },
    #[error("{0}")]
    Refused(String),
}

/// What the downward API and service links need beside the Pod itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) pod_ip: &'a str,
    pub(crate) host_ip: &'a str,
    pub(crate) capacity: &'a Capacity,
    pub(crate) sources: &'a Sources,
    /// Of the Pod's namespace, and `kubernetes` in `default`.
    pub(crate) services: &'a [ServiceAddress],
}

/// The environment in the order it is defined; every name once.
pub(crate) fn environment(
    context: &Context<'_>,
    container: &Container,
) -> Result<Vec<(String, String)>, ConfigError> {
    let links = pod::spec(context.pod).enable_service_links.unwrap_or(true);
    let namespace = context.pod.metadata.namespace.as_deref().unwrap_or_default();
    let service_env: BTreeMap<String, String> =
        service_variables(context.services, namespace, links).into_iter().collect();
    let mut environment = Environment::default();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let (reference, optional) = match (&source.config_map_ref, &source.secret_ref) {
            (Some(map), _) => (config_map(&map.name), map.optional),
            (None, Some(secret)) => (self::secret(&secret.name), secret.optional),
            (None, None) => continue,
        };
        let Some(contents) = look_up(context.sources, &reference, optional.unwrap_or(false))? else {
            continue;
        };
        for (key, value) in &contents.data {
            let name = format!("{prefix}{key}");
            if is_variable_name(&name) {
                environment.set(name, String::from_utf8_lossy(value).into_owned());
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) if !value.is_empty() => Some(expand(value, |name| {
                environment.get(name).or_else(|| service_env.get(name).map(String::as_str))
            })),
            (_, Some(from)) => value_from(context, container, &variable.name, from)?,
            _ => Some(String::new()),
        };
        if let Some(value) = value {
            environment.set(variable.name.clone(), value);
        }
    }
    for (name, value) in service_env {
        if environment.get(&name).is_none() {
            environment.set(name, value);
        }
    }
    Ok(environment.list)
}

#[derive(Default)]
struct Environment {
    list: Vec<(String, String)>,
    index: BTreeMap<String, usize>,
}

impl Environment {
    fn set(&mut self, name: String, value: String) {
        match self.index.get(&name) {
            Some(&at) => self.list[at].1 = value,
            None => {
                self.index.insert(name.clone(), self.list.len());
                self.list.push((name, value));
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.index.get(name).map(|&at| self.list[at].1.as_str())
    }
}

/// `None` when an optional source is missing: the variable is then not set at all.
fn value_from(
    context: &Context<'_>,
    container: &Container,
    name: &str,
    from: &EnvVarSource,
) -> Result<Option<String>, ConfigError> {
    if let Some(field) = &from.field_ref {
        let value = self::field(context, &field.field_path);
        let path = || ConfigError::FieldPath { name: name.to_owned(), path: field.field_path.clone() };
        return value.map(Some).ok_or_else(path);
    }
    if let Some(field) = &from.resource_field_ref {
        let target = field.container_name.as_deref().unwrap_or(&container.name);
        let divisor = field.divisor.as_ref().map(|quantity| quantity.0.as_str());
        let value = pod::container(context.pod, target)
            .and_then(|(_, target)| resources::field(target, &field.resource, divisor, context.capacity));
        return value.map(Some).ok_or_else(|| ConfigError::Resource {
            name: name.to_owned(),
            container: target.to_owned(),
            resource: field.resource.clone(),
        });
    }
    let (reference, key, optional) = match (&from.config_map_key_ref, &from.secret_key_ref) {
        (Some(map), _) => (config_map(&map.name), &map.key, map.optional),
        (None, Some(secret)) => (self::secret(&secret.name), &secret.key, secret.optional),
        (None, None) => {
            return Err(ConfigError::Refused(format!(
                "env {name}: valueFrom of this kind is not supported yet"
            )));
        }
    };
    let optional = optional.unwrap_or(false);
    let Some(contents) = look_up(context.sources, &reference, optional)? else { return Ok(None) };
    match contents.data.get(key) {
        Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        None if optional => Ok(None),
        None => Err(ConfigError::KeyNotFound {
            kind: if reference.kind == ReferenceKind::Secret { "Secret" } else { "ConfigMap" },
            namespace: context.pod.metadata.namespace.clone().unwrap_or_default(),
            name: reference.name,
            key: key.clone(),
        }),
    }
}

/// The contents of a reference, `None` when it is missing and may be.
pub(crate) fn look_up<'a>(
    sources: &'a Sources,
    reference: &Reference,
    optional: bool,
) -> Result<Option<&'a Contents>, ConfigError> {
    match sources.get(reference).and_then(Option::as_ref) {
        Some(contents) => Ok(Some(contents)),
        None if optional => Ok(None),
        None => Err(match reference.kind {
            ReferenceKind::Secret => ConfigError::SecretNotFound(reference.name.clone()),
            _ => ConfigError::ConfigMapNotFound(reference.name.clone()),
        }),
    }
}

/// The value of a downward API field path; `None` when it is not one.
pub(crate) fn field(context: &Context<'_>, path: &str) -> Option<String> {
    let meta = &context.pod.metadata;
    let spec = pod::spec(context.pod);
    if let Some((map, key)) = subscript(path) {
        let values = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return None,
        };
        return Some(values.as_ref().and_then(|values| values.get(key)).cloned().unwrap_or_default());
    }
    Some(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => format_map(meta.labels.as_ref()),
        "metadata.annotations" => format_map(meta.annotations.as_ref()),
        "spec.nodeName" => spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec.service_account_name.clone().unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => context.host_ip.to_owned(),
        "status.podIP" | "status.podIPs" => context.pod_ip.to_owned(),
        _ => return None,
    })
}

/// `metadata.labels['app']` → (`metadata.labels`, `app`).
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once('[')?;
    let key = rest.strip_suffix(']')?;
    let key = key.strip_prefix('\'')?.strip_suffix('\'')?;
    Some((map, key))
}

/// A whole map as the downward API prints it: sorted `key="value"` lines with Go's quoting.
fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> =
        map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// Replaces `$(NAME)` by its value, `$$` by `$`, and leaves what is unknown as it is.
pub(crate) fn expand<'v>(text: &str, value: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        rest = if let Some(tail) = tail.strip_prefix('$') {
            out.push('$');
            tail
        } else if let Some((name, after)) = tail.strip_prefix('(').and_then(|tail| tail.split_once(')')) {
            match value(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&rest[at..rest.len() - after.len()]),
            }
            after
        } else {
            out.push('$');
            tail
        };
    }
    out.push_str(rest);
    out
}

/// Any printable ASCII but `=`, as Kubernetes allows since 1.30.
fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=')
}

pub(crate) fn config_map(name: &str) -> Reference {
    Reference { kind: ReferenceKind::ConfigMap, name: name.to_owned() }
}

pub(crate) fn secret(name: &str) -> Reference {
    Reference { kind: ReferenceKind::Secret, name: name.to_owned() }
}

/// The objects whose contents a container's environment is made of.
pub(crate) fn references(container: &Container) -> BTreeSet<Reference> {
    let from = container.env_from.iter().flatten().flat_map(|source| {
        let map = source.config_map_ref.as_ref().map(|map| config_map(&map.name));
        let secret = source.secret_ref.as_ref().map(|secret| self::secret(&secret.name));
        map.into_iter().chain(secret)
    });
    let single =
        container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()).flat_map(|from| {
            let map = from.config_map_key_ref.as_ref().map(|map| config_map(&map.name));
            let secret = from.secret_key_ref.as_ref().map(|secret| self::secret(&secret.name));
            map.into_iter().chain(secret)
        });
    from.chain(single).collect()
}
