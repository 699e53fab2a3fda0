//! The files of configMap, secret, projected and downwardAPI volumes: a pure computation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Volume};

use super::{Tokens, VolumeError};
use crate::env::{self, Contents, Context, Reference, ReferenceKind, config_map, look_up, secret};
use crate::{pod, resources};

/// One file of a volume.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) content: Vec<u8>,
    pub(super) mode: u32,
    /// Readable by this user alone, for tokens of Pods that run as one known user.
    pub(super) owner: Option<u32>,
}

/// The content may be secret.
impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({} bytes, {:o})", self.content.len(), self.mode)
    }
}

/// By path relative to the volume.
pub(super) type Files = BTreeMap<String, File>;

const DEFAULT_MODE: i32 = 0o644;
/// What upstream's defaulting gives a token that names no lifetime.
const DEFAULT_TOKEN_SECONDS: i64 = 3600;

/// The objects a volume shows.
pub(crate) fn references(volume: &Volume) -> BTreeSet<Reference> {
    let mut out = BTreeSet::new();
    out.extend(volume.config_map.as_ref().map(|map| config_map(&map.name)));
    out.extend(volume.secret.as_ref().and_then(|secret| secret.secret_name.as_deref()).map(secret));
    for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
        out.extend(source.config_map.as_ref().map(|map| config_map(&map.name)));
        out.extend(source.secret.as_ref().map(|secret| self::secret(&secret.name)));
    }
    out.extend(volume.persistent_volume_claim.as_ref().map(|claim| Reference {
        kind: ReferenceKind::PersistentVolumeClaim,
        name: claim.claim_name.clone(),
    }));
    out
}

/// Whether the volume holds secret values.
pub(super) fn is_secret(volume: &Volume) -> bool {
    let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    volume.secret.is_some()
        || projected
            .into_iter()
            .any(|source| source.secret.is_some() || source.service_account_token.is_some())
}

/// Audience and lifetime of every token the volume shows.
pub(super) fn tokens(volume: &Volume) -> Vec<(String, i64)> {
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    sources
        .filter_map(|source| source.service_account_token.as_ref())
        .map(|token| {
            let seconds = token.expiration_seconds.unwrap_or(DEFAULT_TOKEN_SECONDS);
            (token.audience.clone().unwrap_or_default(), seconds)
        })
        .collect()
}

/// What the volume is to contain.
pub(super) fn files(context: &Context<'_>, volume: &Volume, tokens: &Tokens) -> Result<Files, VolumeError> {
    let mut files = Files::new();
    if let Some(map) = &volume.config_map {
        let optional = map.optional.unwrap_or(false);
        let keys =
            Keys { items: map.items.as_deref(), mode: mode(map.default_mode), optional, kind: "config" };
        keyed(context, &config_map(&map.name), &keys, &mut files)?;
    } else if let Some(source) = &volume.secret {
        let optional = source.optional.unwrap_or(false);
        let keys = Keys {
            items: source.items.as_deref(),
            mode: mode(source.default_mode),
            optional,
            kind: "secret",
        };
        keyed(context, &secret(source.secret_name.as_deref().unwrap_or_default()), &keys, &mut files)?;
    } else if let Some(source) = &volume.downward_api {
        downward(
            context,
            source.items.as_deref().unwrap_or_default(),
            mode(source.default_mode),
            &mut files,
        )?;
    } else if let Some(projected) = &volume.projected {
        let default = mode(projected.default_mode);
        for source in projected.sources.iter().flatten() {
            if let Some(map) = &source.config_map {
                let optional = map.optional.unwrap_or(false);
                let keys = Keys { items: map.items.as_deref(), mode: default, optional, kind: "config" };
                keyed(context, &config_map(&map.name), &keys, &mut files)?;
            }
            if let Some(source) = &source.secret {
                let optional = source.optional.unwrap_or(false);
                let keys = Keys { items: source.items.as_deref(), mode: default, optional, kind: "secret" };
                keyed(context, &secret(&source.name), &keys, &mut files)?;
            }
            if let Some(source) = &source.downward_api {
                downward(context, source.items.as_deref().unwrap_or_default(), default, &mut files)?;
            }
            if let Some(source) = &source.service_account_token {
                let seconds = source.expiration_seconds.unwrap_or(DEFAULT_TOKEN_SECONDS);
                let wanted = (source.audience.clone().unwrap_or_default(), seconds);
                if let Some(token) = tokens.get(&wanted) {
                    let (mode, owner) = token_access(context, default);
                    let content = token.value.clone().into_bytes();
                    insert(&mut files, &source.path, File { content, mode, owner })?;
                }
            }
        }
    }
    Ok(files)
}

/// A token is for the Pod's processes alone: its group where there is one, its user where all containers share one.
fn token_access(context: &Context<'_>, default: u32) -> (u32, Option<u32>) {
    let spec = pod::spec(context.pod);
    let security = spec.security_context.as_ref();
    if security.and_then(|security| security.fs_group).is_some() {
        return (0o600, None);
    }
    let pod_user = security.and_then(|security| security.run_as_user);
    let mut users = pod::containers(context.pod)
        .map(|(_, container)| container.security_context.as_ref().and_then(|c| c.run_as_user).or(pod_user));
    let first = users.next().flatten();
    match first
        .filter(|first| users.all(|user| user == Some(*first)))
        .and_then(|user| u32::try_from(user).ok())
    {
        Some(user) => (0o600, Some(user)),
        None => (default, None),
    }
}

struct Keys<'a> {
    items: Option<&'a [KeyToPath]>,
    mode: u32,
    optional: bool,
    /// `config` or `secret`.
    kind: &'static str,
}

fn keyed(
    context: &Context<'_>,
    reference: &Reference,
    keys: &Keys<'_>,
    files: &mut Files,
) -> Result<(), VolumeError> {
    let Some(contents) = look_up(context.sources, reference, keys.optional)? else { return Ok(()) };
    let file = |content: &[u8], mode| File { content: content.to_vec(), mode, owner: None };
    match keys.items.filter(|items| !items.is_empty()) {
        None => {
            for (key, content) in contents.data.iter().chain(&contents.binary) {
                insert(files, key, file(content, keys.mode))?;
            }
        }
        Some(items) => {
            for item in items {
                let mode = item.mode.map_or(keys.mode, |mode| self::mode(Some(mode)));
                match value(contents, &item.key) {
                    Some(content) => insert(files, &item.path, file(content, mode))?,
                    None if keys.optional => {}
                    None => return Err(VolumeError::Key { kind: keys.kind, key: item.key.clone() }),
                }
            }
        }
    }
    Ok(())
}

fn value<'a>(contents: &'a Contents, key: &str) -> Option<&'a [u8]> {
    contents.data.get(key).or_else(|| contents.binary.get(key)).map(Vec::as_slice)
}

fn downward(
    context: &Context<'_>,
    items: &[DownwardAPIVolumeFile],
    default: u32,
    files: &mut Files,
) -> Result<(), VolumeError> {
    for item in items {
        let unsupported =
            |path: &str| env::ConfigError::FieldPath { name: item.path.clone(), path: path.to_owned() };
        let text = if let Some(field) = &item.field_ref {
            env::field(context, &field.field_path).ok_or_else(|| unsupported(&field.field_path))?
        } else if let Some(field) = &item.resource_field_ref {
            let divisor = field.divisor.as_ref().map(|quantity| quantity.0.as_str());
            pod::container(context.pod, field.container_name.as_deref().unwrap_or_default())
                .and_then(|(_, container)| {
                    resources::field(container, &field.resource, divisor, context.capacity)
                })
                .ok_or_else(|| unsupported(&field.resource))?
        } else {
            continue;
        };
        let mode = item.mode.map_or(default, |mode| self::mode(Some(mode)));
        insert(files, &item.path, File { content: text.into_bytes(), mode, owner: None })?;
    }
    Ok(())
}

fn mode(mode: Option<i32>) -> u32 {
    // Set-user-id and the like have no business on a data file.
    u32::try_from(mode.unwrap_or(DEFAULT_MODE)).unwrap_or(0o644) & 0o777
}

fn insert(files: &mut Files, path: &str, file: File) -> Result<(), VolumeError> {
    let inside = Path::new(path).components().all(|part| match part {
        // Names that begin with two dots are the writer's own.
        Component::Normal(name) => !name.as_encoded_bytes().starts_with(b".."),
        _ => false,
    });
    if !inside || path.is_empty() || path.len() > 4096 || path.contains('\0') {
        return Err(VolumeError::Path(path.to_owned()));
    }
    files.insert(path.to_owned(), file);
    Ok(())
}

#[cfg(test)]
mod tests;
