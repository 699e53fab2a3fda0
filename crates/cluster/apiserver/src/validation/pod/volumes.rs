//! Volumes of Pods.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::claims::claim_template;
use super::container::{field_reference, is_pull_policy, resource_reference};
use super::{Context, Form, Problems, sources};
use crate::validation::field::Field;
use crate::validation::{names, resources};

/// What matters of a volume to those who mount it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Volume {
    /// May be a block device.
    Claim,
    Other,
}

/// Kinds of volumes in the order in which upstream looks for them.
const KINDS: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

/// Checks the volumes and returns those that are right, by name.
pub(super) fn check<'v>(
    volumes: &Field<'v, '_>,
    context: Context<'v>,
    problems: &mut Problems,
) -> BTreeMap<&'v str, Volume> {
    let mut known = BTreeMap::new();
    for (index, claim) in context.claims.iter().enumerate() {
        let name = claim["metadata"]["name"].as_str().unwrap_or_default();
        let at = volumes.index(index);
        let at = at.child("name");
        at.with(&name.into()).needs_name(Form::Label, problems);
        known.insert(name, Volume::Claim);
    }
    let claimed: BTreeSet<&str> = known.keys().copied().collect();
    let own =
        volumes.list().iter().filter(|volume| !claimed.contains(volume["name"].as_str().unwrap_or_default()));
    let made = own
        .clone()
        .filter(|volume| volume["ephemeral"].is_object())
        .map(|volume| format!("{}-{}", context.name, volume["name"].as_str().unwrap_or_default()));
    let made: BTreeSet<String> = if context.name.is_empty() { BTreeSet::new() } else { made.collect() };
    for (index, volume) in own.enumerate() {
        let at = volumes.index(context.claims.len() + index);
        let volume = at.with(volume);
        let before = problems.len();
        source(&volume, context, problems);
        let name = volume.get("name");
        name.needs_name(Form::Label, problems);
        if known.contains_key(name.text()) {
            name.duplicate(problems);
        }
        if problems.len() == before {
            let claim = volume.get("persistentVolumeClaim").is_set() || volume.get("ephemeral").is_set();
            known.insert(name.text(), if claim { Volume::Claim } else { Volume::Other });
        }
        let claim = volume.get("persistentVolumeClaim");
        let claim = claim.get("claimName");
        if made.contains(claim.text()) {
            let detail = "must not reference a PVC that gets created for an ephemeral volume";
            claim.invalid(detail, problems);
        }
    }
    known
}

fn source(volume: &Field<'_, '_>, context: Context<'_>, problems: &mut Problems) {
    let mut sources = 0;
    for kind in KINDS {
        let source = volume.get(kind);
        if !source.is_set() {
            continue;
        }
        sources += 1;
        if sources > 1 {
            // Two are misspelt upstream.
            let shown = match kind {
                "cephfs" => "cephFS",
                "downwardAPI" => "downwarAPI",
                other => other,
            };
            volume.child(shown).forbidden("may not specify more than 1 volume type", problems);
        } else {
            one(kind, volume, context, problems);
        }
    }
    if sources == 0 {
        volume.required("must specify a volume type", problems);
    }
}

fn one(kind: &str, volume: &Field<'_, '_>, context: Context<'_>, problems: &mut Problems) {
    let source = volume.get(kind);
    match kind {
        "emptyDir" => {
            let limit = source.get("sizeLimit");
            if resources::amount(limit.value()).is_some_and(|limit| limit.is_negative()) {
                limit.forbidden("SizeLimit field must be a valid resource quantity", problems);
            }
        }
        "secret" => {
            source.get("secretName").need(problems);
            files(&source, problems);
        }
        "configMap" => {
            source.get("name").need(problems);
            files(&source, problems);
        }
        "persistentVolumeClaim" => {
            source.get("claimName").need(problems);
        }
        "downwardAPI" => {
            mode(&source.get("defaultMode"), problems);
            source.get("items").list().iter().for_each(|file| downward(&source.with(file), problems));
        }
        "projected" => projected(&source, problems),
        "csi" => csi(&source, problems),
        "ephemeral" => {
            let template = source.get("volumeClaimTemplate");
            if template.is_set() {
                claim_template(&template, problems);
            } else {
                template.required("", problems);
            }
            ephemeral_name(volume, context, problems);
        }
        "image" => {
            if context.is_pod {
                source.get("reference").need(problems);
            }
            is_pull_policy(&source.get("pullPolicy"), problems);
        }
        other => sources::check(other, volume, problems),
    }
}

fn ephemeral_name(volume: &Field<'_, '_>, context: Context<'_>, problems: &mut Problems) {
    let name = volume.get("name");
    if context.name.is_empty() || name.text().is_empty() {
        return;
    }
    let claim = format!("{}-{}", context.name, name.text());
    for problem in names::problems(Form::Subdomain, &claim) {
        name.invalid(format!("PVC name {claim:?}: {problem}"), problems);
    }
}

fn csi(source: &Field<'_, '_>, problems: &mut Problems) {
    sources::driver_name(&source.get("driver"), problems);
    let secret = source.get("nodePublishSecretRef");
    if secret.is_set() && secret.get("name").need(problems) {
        let name = secret.get("name");
        let at = source.child("name");
        at.with(name.value()).name(Form::Subdomain, problems);
    }
}

/// Permission bits.
fn mode(field: &Field<'_, '_>, problems: &mut Problems) {
    if field.int().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        field.invalid(detail, problems);
    }
}

fn files(source: &Field<'_, '_>, problems: &mut Problems) {
    mode(&source.get("defaultMode"), problems);
    source.get("items").items().for_each(|item| file(&item, problems));
}

/// A key that becomes a file.
fn file(item: &Field<'_, '_>, problems: &mut Problems) {
    item.get("key").need(problems);
    item.get("path").need(problems);
    local(&item.get("path"), problems);
    mode(&item.get("mode"), problems);
}

/// A field of the Pod that becomes a file; upstream's paths name the volume alone.
fn downward(item: &Field<'_, '_>, problems: &mut Problems) {
    const FIELDS: [&str; 5] =
        ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
    item.get("path").need(problems);
    local(&item.get("path"), problems);
    let (field, resource) = (item.get("fieldRef"), item.get("resourceFieldRef"));
    if field.is_set() {
        field_reference(&field, &FIELDS, problems);
        if resource.is_set() {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            item.invalid_as("resource".into(), detail, problems);
        }
    } else if resource.is_set() {
        resource_reference(&resource, true, problems);
    } else {
        item.required("one of fieldRef and resourceFieldRef is required", problems);
    }
    mode(&item.get("mode"), problems);
}

fn projected(volume: &Field<'_, '_>, problems: &mut Problems) {
    mode(&volume.get("defaultMode"), problems);
    let mut paths = BTreeSet::new();
    for source in volume.get("sources").items() {
        let mut count = 0;
        for kind in ["secret", "configMap", "downwardAPI", "serviceAccountToken"] {
            let part = source.get(kind);
            if part.is_set() {
                count += 1;
                projection(kind, &part, volume, &mut paths, problems);
            }
        }
        if count > 1 {
            source.forbidden("may not specify more than 1 volume type per source", problems);
        }
    }
}

fn projection<'v>(
    kind: &str,
    part: &Field<'v, '_>,
    volume: &Field<'v, '_>,
    paths: &mut BTreeSet<&'v str>,
    problems: &mut Problems,
) {
    let conflict = |value: &Value, problems: &mut Problems| {
        volume.invalid_as(value.clone(), "conflicting duplicate paths", problems);
    };
    match kind {
        "secret" | "configMap" => {
            part.get("name").need(problems);
            for item in part.get("items").items() {
                file(&item, problems);
                let path = item.get("path").text();
                if !path.is_empty() && !paths.insert(path) {
                    conflict(part.get("name").value(), problems);
                }
            }
        }
        "downwardAPI" => {
            for item in part.get("items").list() {
                downward(&part.with(item), problems);
                let path = item["path"].as_str().unwrap_or_default();
                if !path.is_empty() && !paths.insert(path) {
                    conflict(&item["path"], problems);
                }
            }
        }
        _ => {
            token_lifetime(&part.get("expirationSeconds"), problems);
            let path = volume.child("path");
            let path = path.with(part.get("path").value());
            if path.need(problems) {
                local(&path, problems);
            }
        }
    }
}

/// How long a token may be valid.
pub(in crate::validation) fn token_lifetime(seconds: &Field<'_, '_>, problems: &mut Problems) {
    if seconds.int().is_some_and(|seconds| seconds < 600) {
        seconds.invalid("may not specify a duration less than 10 minutes", problems);
    }
    if seconds.int().is_some_and(|seconds| seconds > 1 << 32) {
        seconds.invalid("may not specify a duration larger than 2^32 seconds", problems);
    }
}

pub(super) fn no_backsteps(path: &str) -> bool {
    !path.split('/').any(|part| part == "..")
}

pub(super) fn without_backsteps(path: &Field<'_, '_>, problems: &mut Problems) {
    if !no_backsteps(path.text()) {
        path.invalid("must not contain '..'", problems);
    }
}

/// A path that leads down.
pub(super) fn descending(path: &Field<'_, '_>, problems: &mut Problems) {
    if path.text().starts_with('/') {
        path.invalid("must be a relative path", problems);
    }
    without_backsteps(path, problems);
}

/// A path that leads down and not to what the kubelet keeps for itself.
fn local(path: &Field<'_, '_>, problems: &mut Problems) {
    descending(path, problems);
    if path.text().starts_with("..") && !path.text().starts_with("../") {
        path.invalid("must not start with '..'", problems);
    }
}
