//! Endpoints and EndpointSlices: the addresses behind a Service.

use std::collections::BTreeSet;

use serde_json::Value;

use super::field::{Field, same};
use super::names::{self, Form};
use super::{Problems, addresses};

pub(super) fn endpoints(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let subsets = root.get("subsets");
    if old.is_some_and(|old| same(&old["subsets"], subsets.value())) {
        return;
    }
    for subset in subsets.items() {
        let (ready, others) = (subset.get("addresses"), subset.get("notReadyAddresses"));
        if ready.list().is_empty() && others.list().is_empty() {
            subset.required("must specify `addresses` or `notReadyAddresses`", problems);
        }
        for addresses in [ready, others] {
            addresses.items().for_each(|address| self::address(&address, problems));
        }
        let ports = subset.get("ports");
        let several = ports.list().len() > 1;
        for port in ports.items() {
            let name = port.get("name");
            if several {
                name.needs_name(Form::Label, problems);
            } else {
                name.name_if_given(Form::Label, problems);
            }
            addresses::port_number(&port.get("port"), problems);
            protocols(&port, problems);
        }
    }
}

fn protocols(port: &Field<'_, '_>, problems: &mut Problems) {
    port.get("protocol").one_of(&addresses::PROTOCOLS, problems);
    let application = port.get("appProtocol");
    if application.is_set() {
        application.qualified(problems);
    }
}

fn address(address: &Field<'_, '_>, problems: &mut Problems) {
    let ip = address.get("ip");
    let parsed = addresses::address(&ip, &[], problems);
    address.get("hostname").name_if_given(Form::Label, problems);
    let node = address.get("nodeName");
    if node.is_set() {
        node.name(Form::Subdomain, problems);
    }
    match parsed {
        Some(parsed) => addresses::endpoint(&ip, parsed, problems),
        None => ip.invalid_as(ip.text().into(), "must be a valid IP address", problems),
    }
}

const ADDRESS_TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];

pub(super) fn slice(old: Option<&Value>, object: &Value, problems: &mut Problems) {
    let root = Field::root(object);
    let kind = root.get("addressType");
    if kind.text().is_empty() {
        kind.required("", problems);
    } else {
        kind.one_of(&ADDRESS_TYPES, problems);
    }
    ports(&root.get("ports"), problems);
    let endpoints = root.get("endpoints");
    if old.is_none_or(|old| !same(&old["endpoints"], endpoints.value())) {
        of_slice(&endpoints, kind.text(), problems);
    }
    if let Some(old) = old {
        kind.fixed(&old["addressType"], problems);
    }
}

fn ports(ports: &Field<'_, '_>, problems: &mut Problems) {
    const MOST: usize = 20_000;
    if ports.list().len() > MOST {
        ports.too_many(MOST, problems);
        return;
    }
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        let name = port.get("name");
        name.name_if_given(Form::Label, problems);
        if !seen.insert(name.text()) {
            name.duplicate_of(name.text().into(), problems);
        }
        protocols(&port, problems);
    }
}

fn of_slice(endpoints: &Field<'_, '_>, kind: &str, problems: &mut Problems) {
    const ENDPOINTS: usize = 1000;
    const ADDRESSES: usize = 100;
    if endpoints.list().len() > ENDPOINTS {
        endpoints.too_many(ENDPOINTS, problems);
        return;
    }
    for endpoint in endpoints.items() {
        let addresses = endpoint.get("addresses");
        if addresses.list().is_empty() {
            addresses.required("must contain at least 1 address", problems);
        } else if addresses.list().len() > ADDRESSES {
            addresses.too_many(ADDRESSES, problems);
        }
        for address in addresses.items() {
            of_type(&addresses, &address, kind, problems);
        }
        let node = endpoint.get("nodeName");
        if node.is_set() {
            node.name(Form::Subdomain, problems);
        }
        let host = endpoint.get("hostname");
        if host.is_set() {
            host.name(Form::Label, problems);
        }
        hints(&endpoint.get("hints"), problems);
    }
}

fn of_type(all: &Field<'_, '_>, address: &Field<'_, '_>, kind: &str, problems: &mut Problems) {
    match kind {
        "IPv4" => {
            if let Some(parsed) = addresses::address(address, &[], problems) {
                if parsed.is_ipv6() {
                    all.invalid_as(address.value().clone(), "must be an IPv4 address", problems);
                }
                addresses::endpoint(address, parsed, problems);
            }
        }
        "IPv6" => match addresses::canonical(address.text()) {
            Ok(parsed) => {
                if parsed.is_ipv4() {
                    all.invalid_as(address.value().clone(), "must be an IPv6 address", problems);
                }
                addresses::endpoint(address, parsed, problems);
            }
            Err(problem) => address.invalid(problem, problems),
        },
        "FQDN" => domain(address, problems),
        _ => {}
    }
}

/// A domain of at least two labels.
fn domain(address: &Field<'_, '_>, problems: &mut Problems) {
    if !address.need(problems) {
        return;
    }
    let name = address.text().strip_suffix('.').unwrap_or(address.text());
    let wrong = names::problems(Form::Subdomain, name);
    if !wrong.is_empty() {
        address.invalid_as(name.into(), wrong.join(","), problems);
    } else if !name.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        address.invalid_as(name.into(), detail, problems);
    } else {
        let wrong = name.split('.').find_map(|label| {
            let wrong = names::problems(Form::Label, label);
            (!wrong.is_empty()).then(|| (label, wrong.join(",")))
        });
        if let Some((label, detail)) = wrong {
            address.invalid_as(label.into(), detail, problems);
        }
    }
}

/// Where an endpoint should be used.
fn hints(hints: &Field<'_, '_>, problems: &mut Problems) {
    const MOST: usize = 8;
    for (list, form) in [("forZones", Form::LabelValue), ("forNodes", Form::Subdomain)] {
        let places = hints.get(list);
        if places.list().len() > MOST {
            places.too_many(MOST, problems);
            return;
        }
        let mut seen = BTreeSet::new();
        for place in places.items() {
            let name = place.get("name");
            if !seen.insert(name.text()) {
                name.duplicate(problems);
            }
            name.name(form, problems);
        }
    }
}
