//! Classes of storage, and what CSI drivers tell of themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::field::{Field, same};
use super::names::{self, Form};
use super::pod::{self, sources};
use super::storage::{self, Place};
use super::{Problems, resources, selector};

const RECLAIM: [&str; 2] = ["Delete", "Retain"];

pub(super) fn storage_class(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let (provisioner, parameters) = (root.get("provisioner"), root.get("parameters"));
    let (reclaim, binding) = (root.get("reclaimPolicy"), root.get("volumeBindingMode"));
    if let Some(old) = old {
        for field in ["parameters", "provisioner", "reclaimPolicy"] {
            if !same(&old[field], root.get(field).value()) {
                root.get(field).forbidden(format!("updates to {field} are forbidden."), problems);
            }
        }
        binding.fixed(&old["volumeBindingMode"], problems);
        return;
    }
    self::provisioner(&provisioner, problems);
    self::parameters(&parameters, problems);
    reclaim.one_of(&RECLAIM, problems);
    binding.one_of_if_set(&["Immediate", "WaitForFirstConsumer"], problems);
    topologies(&root.get("allowedTopologies"), problems);
}

fn provisioner(provisioner: &Field<'_, '_>, problems: &mut Problems) {
    if provisioner.need(problems) {
        let lower = provisioner.text().to_lowercase();
        provisioner.with(&lower.into()).qualified(problems);
    }
}

fn parameters(parameters: &Field<'_, '_>, problems: &mut Problems) {
    const SIZE: usize = 256 << 10;
    const COUNT: usize = 512;
    if parameters.map().map_or(0, Map::len) > COUNT {
        parameters.too_long(COUNT, problems);
        return;
    }
    let mut size = 0;
    for (key, value) in parameters.map().into_iter().flatten() {
        if key.is_empty() {
            parameters.invalid_as("".into(), "field can not be empty.", problems);
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > SIZE {
        parameters.too_long(SIZE, problems);
    }
}

fn topologies(terms: &Field<'_, '_>, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for term in terms.items() {
        let expressions = term.get("matchLabelExpressions");
        let mut keys = BTreeSet::new();
        for expression in expressions.items() {
            let (key, values) = (expression.get("key"), expression.get("values"));
            values.need(problems);
            let mut known = BTreeSet::new();
            for value in values.items() {
                if !known.insert(value.text()) {
                    value.duplicate(problems);
                }
            }
            key.qualified(problems);
            if !keys.insert(key.text()) {
                key.duplicate(problems);
            }
        }
        if !seen.insert(expressions.value().to_string()) {
            expressions.duplicate_of("".into(), problems);
        }
    }
}

pub(super) fn attributes_class(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    if let Some(old) = old {
        for field in ["driverName", "parameters"] {
            if !same(&old[field], root.get(field).value()) {
                root.get(field).forbidden(format!("updates to {field} are forbidden."), problems);
            }
        }
    }
    provisioner(&root.get("driverName"), problems);
    let parameters = root.get("parameters");
    self::parameters(&parameters, problems);
    if parameters.is_empty() {
        parameters.required("must contain at least one key/value pair", problems);
    }
}

pub(super) fn attachment(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    let attacher = spec.get("attacher");
    attacher.need(problems);
    let source = spec.get("source");
    let (inline, volume) = (source.get("inlineVolumeSpec"), source.get("persistentVolumeName"));
    const EXACTLY: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (inline.is_set(), volume.is_set()) {
        (false, false) => source.required(EXACTLY, problems),
        (true, true) => source.forbidden(EXACTLY, problems),
        (false, true) if volume.text().is_empty() => {
            volume.required("must specify non empty persistentVolumeName", problems);
        }
        (false, true) => {}
        (true, false) => storage::volume_spec(&inline, Place::Inline, problems),
    }
    let node = spec.get("nodeName");
    node.with(&node.text().into()).name(Form::Subdomain, problems);
    match old {
        Some(old) if !same(&old["spec"], spec.value()) => spec.invalid("field is immutable", problems),
        Some(_) => {}
        None => {
            sources::driver_name(&attacher.with(&attacher.text().into()), problems);
            if volume.is_set() {
                volume.name(Form::Subdomain, problems);
            }
        }
    }
}

pub(super) fn csi_node(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    let drivers = spec.get("drivers");
    let mut names = BTreeSet::new();
    for driver in drivers.items() {
        let name = driver.get("name");
        sources::driver_name(&name, problems);
        node_id(&driver.get("nodeID"), problems);
        let allocatable = driver.get("allocatable");
        allocatable.get("count").not_negative(problems);
        if !names.insert(name.text()) {
            name.duplicate(problems);
        }
        let mut keys = BTreeSet::new();
        for key in driver.get("topologyKeys").list() {
            let text = key.as_str().unwrap_or_default();
            if text.is_empty() {
                driver.required("", problems);
            }
            if !keys.insert(text) {
                driver.duplicate_of(key.clone(), problems);
            }
            driver.with(key).qualified(problems);
        }
    }
    let before = old.and_then(|old| old["spec"]["drivers"].as_array());
    let name = |driver: &Value| driver["name"].as_str().unwrap_or_default().to_owned();
    let before: BTreeMap<String, &Value> =
        before.into_iter().flatten().map(|driver| (name(driver), driver)).collect();
    for driver in drivers.list() {
        if let Some(before) = before.get(&name(driver)) {
            drivers.with(driver).fixed(before, problems);
        }
    }
}

fn node_id(id: &Field<'_, '_>, problems: &mut Problems) {
    const LONGEST: usize = 256;
    id.need(problems);
    if id.text().len() > LONGEST {
        id.invalid(format!("must be {LONGEST} characters or less"), problems);
    }
}

pub(super) fn csi_driver(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let spec = root.get("spec");
    let policies = ["File", "None", "ReadWriteOnceWithFSType"];
    spec.get("fsGroupPolicy").one_of_if_set(&policies, problems);
    let mut audiences = BTreeSet::new();
    for request in spec.get("tokenRequests").items() {
        let audience = request.get("audience");
        if audiences.insert(audience.text()) {
            pod::token_lifetime(&request.get("expirationSeconds"), problems);
        } else {
            audience.duplicate(problems);
        }
    }
    let modes = spec.get("volumeLifecycleModes");
    for mode in modes.list() {
        modes.with(mode).one_of_if_set(&["Persistent", "Ephemeral"], problems);
    }
    if let Some(old) = old {
        let before = &old["spec"];
        spec.named("attachRequired", "attachedRequired").fixed(&before["attachRequired"], problems);
        modes.fixed(&before["volumeLifecycleModes"], problems);
    }
}

pub(super) fn capacity(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let (topology, class) = (root.get("nodeTopology"), root.get("storageClassName"));
    if let Some(old) = old {
        // Selecting everything is not the same as selecting nothing.
        if old["nodeTopology"].is_null() == topology.is_set() || !same(&old["nodeTopology"], topology.value())
        {
            topology.invalid_shown(selector::shown(topology.value()), "field is immutable", problems);
        }
        class.fixed(&old["storageClassName"], problems);
        return;
    }
    selector::label_selector(&topology, problems);
    for problem in names::problems(Form::Subdomain, class.text()) {
        class.invalid_as(class.text().into(), problem, problems);
    }
    resources::not_negative(&root.get("capacity"), problems);
}
