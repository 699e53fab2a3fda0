//! From a Pod's container to the container the runtime starts: a pure translation.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use containers::{ContainerSpec, Log, Mount, MountSource, Namespace, Propagation, StandardInput};
use images::Image;
use k8s_openapi::api::core::v1::{Container, VolumeMount};

use crate::env::{self, ConfigError, Context};
use crate::pod::{self, PodId};
use crate::{resources, security};

/// Where a Pod's volumes lie on the machine, by name.
pub(crate) type Volumes = BTreeMap<String, VolumeDir>;

/// A volume that is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumeDir {
    pub(crate) path: PathBuf,
    /// Whatever a mount says: the node alone writes it.
    pub(crate) read_only: bool,
}

/// Everything a container is made of beside its Pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) context: Context<'a>,
    pub(crate) id: &'a PodId,
    /// Of this attempt.
    pub(crate) container_id: &'a str,
    pub(crate) image: &'a Image,
    pub(crate) volumes: &'a Volumes,
    /// `None` on the host's network.
    pub(crate) network: Option<&'a Path>,
    /// The directory with `hosts`, `hostname` and `resolv.conf`.
    pub(crate) etc: &'a Path,
    pub(crate) log: &'a Path,
    pub(crate) cluster_domain: &'a str,
}

/// The runtime's description of one attempt of a container.
pub(crate) fn container_spec(parts: &Parts<'_>, container: &Container) -> Result<ContainerSpec, ConfigError> {
    let Parts { context, image, .. } = parts;
    let pod = context.pod;
    let environment = env::environment(&parts.context, container)?;
    let args = command_line(container, image, &environment)?;
    let mounts = mounts(parts, container, &environment)?;
    let mut all_env: Vec<(String, String)> = image
        .config
        .env
        .iter()
        .map(|variable| match variable.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (variable.clone(), String::new()),
        })
        .collect();
    all_env.push(("HOSTNAME".to_owned(), pod::hostname(pod)));
    all_env.extend(environment);
    let cwd =
        container.working_dir.as_deref().filter(|dir| !dir.is_empty()).unwrap_or(&image.config.working_dir);
    let mut spec = ContainerSpec::new(
        parts.container_id,
        image.layers.clone(),
        args,
        parts.network.unwrap_or(Path::new("/")).to_owned(),
        parts.log.to_owned(),
    );
    let host = pod::spec(pod);
    if parts.network.is_none() {
        spec.namespaces.network = Namespace::Host;
    }
    if host.host_pid == Some(true) {
        spec.namespaces.pid = Namespace::Host;
    }
    if host.host_ipc == Some(true) {
        spec.namespaces.ipc = Namespace::Host;
    }
    spec.env = all_env;
    spec.cwd = PathBuf::from(if cwd.is_empty() { "/" } else { cwd });
    spec.user = security::user(pod, parts.id, container, &image.config.user)?;
    spec.hostname = pod::hostname(pod);
    if host.set_hostname_as_fqdn == Some(true) {
        // The kernel's own limit; a longer name is a configuration error upstream as well.
        let name = pod::domain_name(pod, parts.cluster_domain).unwrap_or_else(|| spec.hostname.clone());
        if name.len() > 64 {
            return Err(ConfigError::Refused(format!("the host name {name:?} is longer than 64 bytes")));
        }
        spec.hostname = name;
    }
    spec.mounts = mounts;
    spec.resources = resources::limits(pod, container, context.capacity);
    spec.security = security::security(pod, container);
    spec.sysctls = host
        .security_context
        .iter()
        .flat_map(|security| security.sysctls.iter().flatten())
        .map(|sysctl| (sysctl.name.clone(), sysctl.value.clone()))
        .collect();
    spec.log = Log::new(parts.log.to_owned());
    spec.terminal = container.tty == Some(true);
    spec.input = match (container.stdin, container.stdin_once) {
        (Some(true), Some(true)) => StandardInput::Once,
        (Some(true), _) => StandardInput::Open,
        _ => StandardInput::None,
    };
    spec.termination_message_path = Some(PathBuf::from(
        container
            .termination_message_path
            .as_deref()
            .filter(|path| !path.is_empty())
            .unwrap_or("/dev/termination-log"),
    ));
    Ok(spec)
}

/// `command` replaces the image's entrypoint and its arguments, `args` the arguments alone.
fn command_line(
    container: &Container,
    image: &Image,
    environment: &[(String, String)],
) -> Result<Vec<String>, ConfigError> {
    let lookup: BTreeMap<&str, &str> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expand = |list: &[String]| -> Vec<String> {
        list.iter().map(|text| env::expand(text, |name| lookup.get(name).copied())).collect()
    };
    let command = container.command.as_deref().unwrap_or_default();
    let args = container.args.as_deref().unwrap_or_default();
    let mut line = if command.is_empty() { image.config.entrypoint.clone() } else { expand(command) };
    if args.is_empty() {
        if command.is_empty() {
            line.extend(image.config.cmd.iter().cloned());
        }
    } else {
        line.extend(expand(args));
    }
    if line.is_empty() {
        return Err(ConfigError::Refused("no command specified".to_owned()));
    }
    Ok(line)
}

fn mounts(
    parts: &Parts<'_>,
    container: &Container,
    environment: &[(String, String)],
) -> Result<Vec<Mount>, ConfigError> {
    let mut mounts = Vec::new();
    let wanted = container.volume_mounts.as_deref().unwrap_or_default();
    for (file, target) in
        [("hosts", "/etc/hosts"), ("hostname", "/etc/hostname"), ("resolv.conf", "/etc/resolv.conf")]
    {
        if !wanted.iter().any(|mount| mount.mount_path == target) {
            mounts.push(Mount {
                target: PathBuf::from(target),
                source: MountSource::Bind { path: parts.etc.join(file), sub_path: None },
                read_only: false,
                propagation: Propagation::Private,
            });
        }
    }
    for mount in wanted {
        let Some(volume) = parts.volumes.get(&mount.name) else {
            return Err(ConfigError::Refused(format!("volume {:?} of a volumeMount not found", mount.name)));
        };
        mounts.push(Mount {
            target: Path::new("/").join(&mount.mount_path),
            source: MountSource::Bind { path: volume.path.clone(), sub_path: sub_path(mount, environment)? },
            read_only: volume.read_only || mount.read_only == Some(true),
            propagation: match mount.mount_propagation.as_deref() {
                Some("HostToContainer") => Propagation::HostToContainer,
                Some("Bidirectional") => Propagation::Bidirectional,
                _ => Propagation::Private,
            },
        });
    }
    // A mount inside another one has to come after it.
    mounts.sort_by_key(|mount| mount.target.components().count());
    Ok(mounts)
}

fn sub_path(mount: &VolumeMount, environment: &[(String, String)]) -> Result<Option<PathBuf>, ConfigError> {
    let text = match (mount.sub_path.as_deref(), mount.sub_path_expr.as_deref()) {
        (Some(path), _) if !path.is_empty() => path.to_owned(),
        (_, Some(expression)) if !expression.is_empty() => {
            let find =
                |name: &str| environment.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
            env::expand(expression, find)
        }
        _ => return Ok(None),
    };
    let path = PathBuf::from(&text);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !inside || text.contains('\0') {
        return Err(ConfigError::Refused(format!("subPath {text:?} is not a path inside its volume")));
    }
    Ok(Some(path))
}

#[cfg(test)]
mod tests;
