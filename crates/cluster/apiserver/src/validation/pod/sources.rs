//! Sources of volumes that Pods and PersistentVolumes share, most of them from before CSI.

use super::volumes::{descending, without_backsteps};
use super::{Form, Problems};
use crate::validation::field::Field;
use crate::validation::names;

/// Fields that the sources of a kind must have.
const REQUIRED: [(&str, &[&str]); 16] = [
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("glusterfs", &["endpoints", "path"]),
    ("rbd", &["monitors", "image"]),
    ("cinder", &["volumeID"]),
    ("cephfs", &["monitors"]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("nfs", &["server", "path"]),
    ("gitRepo", &["repository"]),
    ("storageos", &["volumeName"]),
];

/// The source of that kind in a volume.
pub(in crate::validation) fn check(kind: &str, volume: &Field<'_, '_>, problems: &mut Problems) {
    let shown = if kind == "gcePersistentDisk" { "persistentDisk" } else { kind };
    let source = volume.named(kind, shown);
    for (_, fields) in REQUIRED.iter().filter(|(name, _)| *name == kind) {
        for field in *fields {
            source.get(field).need(problems);
        }
    }
    match kind {
        "hostPath" => host_path(&source, problems),
        "nfs" => {
            let path = source.get("path");
            if !path.text().starts_with('/') {
                path.invalid_as(path.text().into(), "must be an absolute path", problems);
            }
        }
        "gitRepo" => descending(&source.get("directory"), problems),
        "gcePersistentDisk" | "awsElasticBlockStore" => {
            let partition = source.get("partition");
            if !(0..=255).contains(&partition.number()) {
                partition.invalid("must be between 1 and 255, inclusive", problems);
            }
        }
        "iscsi" => iscsi(&source, volume, problems),
        "fc" => fibre_channel(&source, problems),
        "flocker" => flocker(&source, problems),
        "quobyte" => quobyte(&source, problems),
        "flexVolume" => options(&source.get("options"), problems),
        "azureDisk" => azure_disk(&source, problems),
        "storageos" => {
            source.get("volumeName").name_if_given(Form::Label, problems);
            source.get("volumeNamespace").name_if_given(Form::Label, problems);
            secret(&source, problems);
        }
        "cinder" => secret(&source, problems),
        _ => {}
    }
}

fn secret(source: &Field<'_, '_>, problems: &mut Problems) {
    let secret = source.get("secretRef");
    if secret.is_set() {
        secret.get("name").need(problems);
    }
}

fn host_path(source: &Field<'_, '_>, problems: &mut Problems) {
    const TYPES: [&str; 8] =
        ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    let path = source.get("path");
    if path.need(problems) {
        without_backsteps(&path, problems);
        source.get("type").one_of_if_set(&TYPES, problems);
    }
}

fn iscsi(source: &Field<'_, '_>, volume: &Field<'_, '_>, problems: &mut Problems) {
    let portal = source.get("targetPortal");
    portal.need(problems);
    let name = source.get("iqn");
    if name.need(problems) {
        initiator(&name, problems);
    }
    let lun = source.get("lun");
    if !(0..=255).contains(&lun.number()) {
        lun.invalid("must be between 0 and 255, inclusive", problems);
    }
    let authenticates = source.get("chapAuthDiscovery").is_true() || source.get("chapAuthSession").is_true();
    if authenticates && !source.get("secretRef").is_set() {
        source.get("secretRef").required("", problems);
    }
    if source.get("initiatorName").is_set() {
        let at = source.child("initiatorname");
        initiator(&at.with(source.get("initiatorName").value()), problems);
        let of = volume.get("name");
        if of.text().len() + 1 + portal.text().len() > 64 {
            let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
            of.invalid(detail, problems);
        }
    }
}

/// `iqn.yyyy-mm.reversed.domain[:name]`, `eui.` and 16 hexadecimal digits, or `naa.` and 32.
fn initiator(name: &Field<'_, '_>, problems: &mut Problems) {
    let hexadecimal =
        |text: &str, length: usize| text.len() == length && text.bytes().all(|c| c.is_ascii_hexdigit());
    let qualified = |text: &str| {
        let mut parts = text.splitn(2, '.');
        let date = parts.next().unwrap_or_default().as_bytes();
        let domain = parts.next().unwrap_or_default().split(':').next().unwrap_or_default();
        date.len() == 7
            && date[4] == b'-'
            && date[..4].iter().chain(&date[5..]).all(u8::is_ascii_digit)
            && !domain.is_empty()
            && domain.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.'))
    };
    let text = name.text();
    if !["iqn", "eui", "naa"].iter().any(|prefix| text.starts_with(prefix)) {
        name.invalid("must be valid format starting with iqn, eui, or naa", problems);
        return;
    }
    let right = text.strip_prefix("iqn.").is_some_and(qualified)
        || text.strip_prefix("eui.").is_some_and(|rest| hexadecimal(rest, 16))
        || text.strip_prefix("naa.").is_some_and(|rest| hexadecimal(rest, 32));
    if !right {
        name.invalid("must be valid format", problems);
    }
}

fn fibre_channel(source: &Field<'_, '_>, problems: &mut Problems) {
    let (names, ids) = (source.get("targetWWNs"), source.get("wwids"));
    match (names.list().is_empty(), ids.list().is_empty()) {
        (true, true) => {
            names.required("must specify either targetWWNs or wwids, but not both", problems);
        }
        (false, false) => {
            names.invalid("targetWWNs and wwids can not be specified simultaneously", problems);
        }
        _ => {}
    }
    if !names.list().is_empty() {
        let lun = source.get("lun");
        if lun.is_set() {
            lun.within(0, 255, problems);
        } else {
            lun.required("lun is required if targetWWNs is specified", problems);
        }
    }
}

fn flocker(source: &Field<'_, '_>, problems: &mut Problems) {
    let (name, id) = (source.get("datasetName"), source.get("datasetUUID"));
    match (name.text().is_empty(), id.text().is_empty()) {
        (true, true) => source.required("one of datasetName and datasetUUID is required", problems),
        (false, false) => {
            let detail = "datasetName and datasetUUID can not be specified simultaneously";
            source.invalid_as("resource".into(), detail, problems);
        }
        _ => {}
    }
    if name.text().contains('/') {
        name.invalid("must not contain '/'", problems);
    }
}

fn quobyte(source: &Field<'_, '_>, problems: &mut Problems) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let (registry, tenant) = (source.get("registry"), source.get("tenant"));
    if registry.text().is_empty() {
        registry.required(PAIRS, problems);
    } else if tenant.text().len() >= 65 {
        tenant.required("must be a UUID and may not exceed a length of 64 characters", problems);
    } else {
        for _ in registry.text().split(',').filter(|pair| pair.split(':').count() != 2) {
            registry.invalid(PAIRS, problems);
        }
    }
    source.get("volume").need(problems);
}

fn options(options: &Field<'_, '_>, problems: &mut Problems) {
    for (key, option) in options.entries() {
        let domain = format!(".{}", key.split('/').next().unwrap_or_default().to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            let detail = "kubernetes.io and k8s.io namespaces are reserved";
            option.invalid_as(key.into(), detail, problems);
        }
    }
}

fn azure_disk(source: &Field<'_, '_>, problems: &mut Problems) {
    source.get("cachingMode").one_of_if_set(&["None", "ReadOnly", "ReadWrite"], problems);
    let (kind, place) = (source.get("kind"), source.get("diskURI"));
    kind.one_of_if_set(&["Dedicated", "Managed", "Shared"], problems);
    let form = match kind.text() {
        "Managed" if !place.text().starts_with("/subscriptions/") => {
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
        }
        "Managed" => return,
        _ if kind.is_set() && !place.text().starts_with("https://") => {
            "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
        }
        _ => return,
    };
    place.with(&place.text().into()).not_supported(&[form], problems);
}

/// What a CSI driver is called.
pub(in crate::validation) fn driver_name(name: &Field<'_, '_>, problems: &mut Problems) {
    const LONGEST: usize = 63;
    name.need(problems);
    if name.text().len() > LONGEST {
        name.too_long(LONGEST, problems);
    }
    for problem in names::problems(Form::Subdomain, &name.text().to_lowercase()) {
        name.invalid_as(name.text().into(), problem, problems);
    }
}
