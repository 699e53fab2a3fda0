//! Services, configuration, claims, ingresses, roles.

use std::collections::BTreeSet;

use objects::schema::{ErrorKind, FieldError};
use serde_json::Value;

use super::names::{self, Form};
use super::{Problems, pod};

pub(super) fn service(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let spec = &object["spec"];
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    pod::one_of(spec, "spec", "type", &kinds, problems);
    let kind = spec["type"].as_str().unwrap_or("ClusterIP");
    let headless = spec["clusterIP"] == "None";
    let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    if kind == "ExternalName" {
        let name = spec["externalName"].as_str().unwrap_or_default();
        if name.is_empty() {
            problems.push(FieldError::required("spec.externalName", ""));
        }
    } else if ports.is_empty() && !headless {
        problems.push(FieldError::required("spec.ports", ""));
    }
    service_ports(ports, problems);
    pod::one_of(spec, "spec", "sessionAffinity", &["ClientIP", "None"], problems);
    if headless && matches!(kind, "NodePort" | "LoadBalancer") {
        let detail = "may not be set to 'None' for LoadBalancer services";
        problems.push(FieldError::invalid("spec.clusterIPs[0]", "None".into(), detail));
    }
    let Some(old) = old else { return };
    let address = |object: &Value| object["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
    let was_external = old["spec"]["type"] == "ExternalName";
    let (before, after) = (address(old), address(object));
    if !was_external && kind != "ExternalName" && !before.is_empty() && !after.is_empty() && before != after {
        let detail = "may not change once set";
        problems.push(FieldError::invalid("spec.clusterIPs[0]", serde_json::json!([after]), detail));
    }
}

fn service_ports(ports: &[Value], problems: &mut Problems) {
    let (mut seen, mut pairs) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        let name = port["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            if ports.len() > 1 {
                problems.push(FieldError::required(&format!("{path}.name"), ""));
            }
        } else {
            for problem in names::problems(Form::Label, name) {
                problems.push(FieldError::invalid(&format!("{path}.name"), name.into(), problem));
            }
            if !seen.insert(name) {
                problems.push(FieldError::new(
                    ErrorKind::Duplicate,
                    &format!("{path}.name"),
                    name.into(),
                    "",
                ));
            }
        }
        if let Some(number) = port["port"].as_i64() {
            if !(1..=65535).contains(&number) {
                let detail = "must be between 1 and 65535, inclusive";
                problems.push(FieldError::invalid(&format!("{path}.port"), number.into(), detail));
            }
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            if !pairs.insert((number, protocol)) {
                problems.push(FieldError::new(ErrorKind::Duplicate, &path, port.clone(), ""));
            }
        }
        pod::one_of(port, &path, "protocol", &["SCTP", "TCP", "UDP"], problems);
    }
}

/// Keys of ConfigMaps and Secrets become file names.
fn keys(object: &Value, field: &str, problems: &mut Problems) {
    for key in object[field].as_object().into_iter().flatten().map(|(key, _)| key) {
        let characters = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if key.is_empty() || !characters {
            let detail = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
            problems.push(FieldError::invalid(&format!("{field}[{key}]"), key.as_str().into(), detail));
        } else if key == "." || key.starts_with("..") {
            let detail = "must not be '.', '..' or start with '..'";
            problems.push(FieldError::invalid(&format!("{field}[{key}]"), key.as_str().into(), detail));
        }
    }
}

/// Bytes of all values together, as upstream.
const CONFIGURATION_LIMIT: usize = 1 << 20;

fn too_large(object: &Value, fields: &[&str], problems: &mut Problems) {
    let sizes = fields.iter().flat_map(|field| {
        let encoded = *field == "binaryData" || object["kind"] == "Secret";
        let values = object[field].as_object().into_iter().flatten();
        values.map(move |(_, value)| {
            let length = value.as_str().map_or(0, str::len);
            if encoded { length / 4 * 3 } else { length }
        })
    });
    if sizes.sum::<usize>() > CONFIGURATION_LIMIT {
        let detail = format!("may not be more than {CONFIGURATION_LIMIT} bytes");
        problems.push(FieldError::new(ErrorKind::TooLong, "data", Value::Null, detail));
    }
}

fn frozen(old: &Value, object: &Value, fields: &[&str], problems: &mut Problems) {
    if old["immutable"] != true {
        return;
    }
    if object["immutable"] != true {
        problems.push(FieldError::forbidden("immutable", "field is immutable when `immutable` is set"));
    }
    for field in fields {
        if old.get(*field) != object.get(*field) {
            problems.push(FieldError::forbidden(field, "field is immutable when `immutable` is set"));
        }
    }
}

pub(super) fn config_map(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    keys(object, "data", problems);
    keys(object, "binaryData", problems);
    for key in object["data"].as_object().into_iter().flatten().map(|(key, _)| key) {
        if object["binaryData"].get(key).is_some() {
            let detail = "duplicate of key present in binaryData";
            problems.push(FieldError::invalid(&format!("data[{key}]"), key.as_str().into(), detail));
        }
    }
    too_large(object, &["data", "binaryData"], problems);
    if let Some(old) = old {
        frozen(old, object, &["data", "binaryData"], problems);
    }
}

pub(super) fn secret(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    keys(object, "data", problems);
    too_large(object, &["data"], problems);
    let required: &[&str] = match object["type"].as_str().unwrap_or_default() {
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in required {
        if object["data"].get(*key).is_none() {
            problems.push(FieldError::required(&format!("data[{key}]"), ""));
        }
    }
    if let Some(old) = old {
        if old["type"] != object["type"] {
            problems.push(FieldError::invalid("type", object["type"].clone(), "field is immutable"));
        }
        frozen(old, object, &["data"], problems);
    }
}

pub(super) fn claim(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let spec = &object["spec"];
    if spec["accessModes"].as_array().is_none_or(Vec::is_empty) {
        problems.push(FieldError::required("spec.accessModes", "at least 1 access mode is required"));
    }
    if spec["resources"]["requests"]["storage"].is_null() {
        problems.push(FieldError::required("spec.resources[storage]", ""));
    }
    let Some(old) = old else { return };
    let fixed = |object: &Value| {
        let mut spec = object["spec"].clone();
        if let Some(fields) = spec.as_object_mut() {
            fields.remove("resources");
            fields.remove("volumeAttributesClassName");
            // The binder sets it once.
            if old["spec"]["volumeName"].as_str().unwrap_or_default().is_empty() {
                fields.remove("volumeName");
            }
            if old["spec"]["storageClassName"].is_null() {
                fields.remove("storageClassName");
            }
        }
        spec
    };
    if fixed(old) != fixed(object) {
        let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        problems.push(FieldError::forbidden("spec", detail));
    }
}

pub(super) fn ingress(object: &Value, problems: &mut Problems) {
    let spec = &object["spec"];
    let rules = spec["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rules.is_empty() && !spec["defaultBackend"].is_object() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        problems.push(FieldError::invalid("spec", spec["rules"].clone(), detail));
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        if let Some(host) = rule["host"].as_str().filter(|host| !host.is_empty()) {
            let plain = host.strip_prefix("*.").unwrap_or(host);
            for problem in names::problems(Form::Subdomain, plain) {
                problems.push(FieldError::invalid(&format!("{path}.host"), host.into(), problem));
            }
        }
        for (index, entry) in rule["http"]["paths"].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.http.paths[{index}]");
            let target = entry["path"].as_str().unwrap_or_default();
            match entry["pathType"].as_str() {
                None | Some("") => {
                    problems.push(FieldError::required(
                        &format!("{path}.pathType"),
                        "pathType must be specified",
                    ));
                }
                Some("Exact" | "Prefix") if !target.starts_with('/') => {
                    let detail = "must be an absolute path";
                    problems.push(FieldError::invalid(&format!("{path}.path"), target.into(), detail));
                }
                Some("Exact" | "Prefix" | "ImplementationSpecific") => {}
                Some(other) => {
                    let allowed = ["Exact", "ImplementationSpecific", "Prefix"];
                    problems.push(FieldError::not_supported(
                        &format!("{path}.pathType"),
                        other.into(),
                        &allowed,
                    ));
                }
            }
            backend(&entry["backend"], &format!("{path}.backend"), problems);
        }
    }
    if spec["defaultBackend"].is_object() {
        backend(&spec["defaultBackend"], "spec.defaultBackend", problems);
    }
}

fn backend(backend: &Value, path: &str, problems: &mut Problems) {
    let service = &backend["service"];
    if !service.is_object() {
        if !backend["resource"].is_object() {
            problems.push(FieldError::required(path, "a service or a resource is required"));
        }
        return;
    }
    if service["name"].as_str().unwrap_or_default().is_empty() {
        problems.push(FieldError::required(&format!("{path}.service.name"), ""));
    }
    let port = &service["port"];
    if port["number"].as_i64().unwrap_or(0) == 0 && port["name"].as_str().unwrap_or_default().is_empty() {
        problems
            .push(FieldError::required(&format!("{path}.service.port"), "port name or number is required"));
    }
}

pub(super) fn role(object: &Value, problems: &mut Problems) {
    for (index, rule) in object["rules"].as_array().into_iter().flatten().enumerate() {
        let path = format!("rules[{index}]");
        let empty = |field: &str| rule[field].as_array().is_none_or(Vec::is_empty);
        if empty("verbs") {
            problems.push(FieldError::required(
                &format!("{path}.verbs"),
                "verbs must contain at least one value",
            ));
        }
        if !empty("nonResourceURLs") {
            if object["kind"] == "Role" {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                problems.push(FieldError::invalid(
                    &format!("{path}.nonResourceURLs"),
                    rule["nonResourceURLs"].clone(),
                    detail,
                ));
            }
            continue;
        }
        if empty("apiGroups") {
            let detail = "resource rules must supply at least one api group";
            problems.push(FieldError::required(&format!("{path}.apiGroups"), detail));
        }
        if empty("resources") {
            let detail = "resource rules must supply at least one resource";
            problems.push(FieldError::required(&format!("{path}.resources"), detail));
        }
    }
}

pub(super) fn binding(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let role = &object["roleRef"];
    let allowed: &[&str] =
        if object["kind"] == "RoleBinding" { &["ClusterRole", "Role"] } else { &["ClusterRole"] };
    pod::one_of(role, "roleRef", "kind", allowed, problems);
    if role["name"].as_str().unwrap_or_default().is_empty() {
        problems.push(FieldError::required("roleRef.name", ""));
    }
    for (index, subject) in object["subjects"].as_array().into_iter().flatten().enumerate() {
        let path = format!("subjects[{index}]");
        pod::one_of(subject, &path, "kind", &["Group", "ServiceAccount", "User"], problems);
        let account = subject["kind"] == "ServiceAccount";
        let cluster = object["kind"] == "ClusterRoleBinding";
        if account && cluster && subject["namespace"].as_str().unwrap_or_default().is_empty() {
            problems.push(FieldError::required(&format!("{path}.namespace"), ""));
        }
    }
    if let Some(old) = old
        && old["roleRef"] != object["roleRef"]
    {
        problems.push(FieldError::invalid("roleRef", object["roleRef"].clone(), "cannot change roleRef"));
    }
}
