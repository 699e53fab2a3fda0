//! Environment variables that name the Services of a namespace.

/// A Service with an address, as the environment shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceAddress {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) cluster_ip: String,
    /// In the order of the specification.
    pub(crate) ports: Vec<ServicePort>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServicePort {
    pub(crate) name: String,
    pub(crate) port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub(crate) protocol: String,
}

/// The variables for a Pod of `namespace`. Without `links` only the API server's own Service is named.
pub(crate) fn service_variables(
    services: &[ServiceAddress],
    namespace: &str,
    links: bool,
) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for service in services {
        let is_api = service.namespace == "default" && service.name == "kubernetes";
        if is_api || (links && service.namespace == namespace) {
            variables(service, &mut out);
        }
    }
    out
}

fn variables(service: &ServiceAddress, out: &mut Vec<(String, String)>) {
    let Some(first) = service.ports.first() else { return };
    let prefix = upper(&service.name);
    let ip = &service.cluster_ip;
    let mut set = |suffix: String, value: String| out.push((format!("{prefix}_{suffix}"), value));
    set("SERVICE_HOST".to_owned(), ip.clone());
    set("SERVICE_PORT".to_owned(), first.port.to_string());
    for port in service.ports.iter().filter(|port| !port.name.is_empty()) {
        set(format!("SERVICE_PORT_{}", upper(&port.name)), port.port.to_string());
    }
    for (at, port) in service.ports.iter().enumerate() {
        let protocol = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
        let scheme = protocol.to_ascii_lowercase();
        let url = format!("{scheme}://{ip}:{}", port.port);
        if at == 0 {
            set("PORT".to_owned(), url.clone());
        }
        let stem = format!("PORT_{}_{}", port.port, protocol.to_ascii_uppercase());
        set(stem.clone(), url);
        set(format!("{stem}_PROTO"), scheme);
        set(format!("{stem}_PORT"), port.port.to_string());
        set(format!("{stem}_ADDR"), ip.clone());
    }
}

fn upper(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}
