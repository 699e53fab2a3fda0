//! The files every container of a Pod sees in `/etc`: `hosts`, `hostname` and `resolv.conf`.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::Pod;

use crate::pod;

/// What `resolv.conf` needs beside the Pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dns<'a> {
    /// Address of the cluster's DNS server. It also forwards other names, so it serves every DNS policy.
    pub(crate) server: &'a str,
    pub(crate) domain: &'a str,
    /// The search domains of the machine.
    pub(crate) host_search: &'a [String],
}

/// The resolver can hold this much; the kubelet cuts there too.
const MAX_SEARCHES: usize = 32;
const MAX_SERVERS: usize = 3;

pub(crate) fn resolv_conf(pod: &Pod, dns: &Dns<'_>) -> String {
    let spec = pod::spec(pod);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let domain = dns.domain;
    let (mut servers, mut searches, mut options) = match spec.dns_policy.as_deref() {
        Some("None") => (vec![], vec![], vec![]),
        Some("Default") => (vec![dns.server.to_owned()], dns.host_search.to_vec(), vec![]),
        // A Pod on the host's network uses the host's resolvers unless it asks for the cluster's by name.
        Some("ClusterFirst") | None if spec.host_network == Some(true) => {
            (vec![dns.server.to_owned()], dns.host_search.to_vec(), vec![])
        }
        _ => {
            let mut searches =
                vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
            searches.extend(dns.host_search.iter().cloned());
            (vec![dns.server.to_owned()], searches, vec![("ndots".to_owned(), Some("5".to_owned()))])
        }
    };
    if let Some(config) = &spec.dns_config {
        append_new(&mut servers, config.nameservers.as_deref().unwrap_or_default());
        append_new(&mut searches, config.searches.as_deref().unwrap_or_default());
        for option in config.options.iter().flatten() {
            let Some(name) = option.name.clone() else { continue };
            options.retain(|(other, _)| *other != name);
            options.push((name, option.value.clone()));
        }
    }
    servers.truncate(MAX_SERVERS);
    searches.truncate(MAX_SEARCHES);
    let mut text = String::new();
    if !searches.is_empty() {
        let _ = writeln!(text, "search {}", searches.join(" "));
    }
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !options.is_empty() {
        let options: Vec<String> = options
            .into_iter()
            .map(|(name, value)| match value.filter(|value| !value.is_empty()) {
                Some(value) => format!("{name}:{value}"),
                None => name,
            })
            .collect();
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

fn append_new(list: &mut Vec<String>, more: &[String]) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

pub(crate) fn hosts(pod: &Pod, ip: &str, cluster_domain: &str) -> String {
    let mut text = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
        .to_owned();
    let hostname = pod::hostname(pod);
    let _ = match pod::domain_name(pod, cluster_domain) {
        Some(name) => writeln!(text, "{ip}\t{name}\t{hostname}"),
        None => writeln!(text, "{ip}\t{hostname}"),
    };
    let aliases = pod::spec(pod).host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let _ =
                writeln!(text, "{}\t{}", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "db-0", "namespace": "data"}, "spec": spec}))
            .unwrap()
    }

    fn conf(spec: Value) -> String {
        let search = ["lan".to_owned()];
        resolv_conf(&pod(spec), &Dns { server: "10.43.0.10", domain: "cluster.local", host_search: &search })
    }

    #[test]
    fn cluster_first() {
        assert_eq!(
            conf(json!({"containers": []})),
            "search data.svc.cluster.local svc.cluster.local cluster.local lan\nnameserver 10.43.0.10\noptions ndots:5\n"
        );
    }

    #[test]
    fn own_configuration_is_merged_and_none_stands_alone() {
        let config = json!({"nameservers": ["1.1.1.1"], "searches": ["x.org"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]});
        let merged = conf(json!({"containers": [], "dnsConfig": config}));
        assert!(
            merged.ends_with("nameserver 10.43.0.10\nnameserver 1.1.1.1\noptions ndots:2 edns0\n"),
            "{merged}"
        );
        assert_eq!(
            conf(json!({"containers": [], "dnsPolicy": "None", "dnsConfig": config})),
            "search x.org\nnameserver 1.1.1.1\noptions ndots:2 edns0\n"
        );
    }

    #[test]
    fn hosts_file() {
        let pod = pod(json!({
            "containers": [], "subdomain": "db", "hostAliases": [{"ip": "10.1.2.3", "hostnames": ["a", "b"]}],
        }));
        let text = hosts(&pod, "10.42.0.5", "cluster.local");
        assert!(text.contains("\n10.42.0.5\tdb-0.db.data.svc.cluster.local\tdb-0\n"), "{text}");
        assert!(text.ends_with("10.1.2.3\ta\tb\n"), "{text}");
    }
}
