//! Services and the networking group.

use serde_json::{Value, json};

use super::{Fields, default, default_text, each, inside, is_absent, made, text};

/// How long client affinity lasts, in seconds: three hours.
const AFFINITY_SECONDS: u32 = 10_800;

pub(super) fn service(fields: &mut Fields) {
    inside(fields, &["spec"], |spec| {
        default_text(spec, "type", "ClusterIP");
        default_text(spec, "sessionAffinity", "None");
        match text(spec, "sessionAffinity") {
            "None" => {
                spec.remove("sessionAffinityConfig");
            }
            "ClientIP" => made(spec, "sessionAffinityConfig", |config| {
                made(config, "clientIP", |client| default(client, "timeoutSeconds", json!(AFFINITY_SECONDS)));
            }),
            _ => {}
        }
        each(spec, "ports", |port| {
            default_text(port, "protocol", "TCP");
            let unset =
                port.get("targetPort").is_none_or(|target| target.is_null() || target == 0 || target == "");
            if let Some(number) = port.get("port").filter(|_| unset).cloned() {
                port.insert("targetPort".to_owned(), number);
            }
        });
        let kind = text(spec, "type").to_owned();
        let external = matches!(kind.as_str(), "NodePort" | "LoadBalancer");
        if external {
            default_text(spec, "externalTrafficPolicy", "Cluster");
        }
        if external || kind == "ClusterIP" {
            default(spec, "internalTrafficPolicy", json!("Cluster"));
        }
        if kind == "LoadBalancer" {
            default(spec, "allocateLoadBalancerNodePorts", json!(true));
        }
    });
    let balanced = fields.get("spec").is_some_and(|spec| spec["type"] == "LoadBalancer");
    made(fields, "status", |status| {
        default(status, "loadBalancer", json!({}));
        if balanced {
            inside(status, &["loadBalancer"], |balancer| {
                each(balancer, "ingress", |entry| {
                    if !text(entry, "ip").is_empty() {
                        default(entry, "ipMode", json!("VIP"));
                    }
                });
            });
        }
    });
}

pub(super) fn networking(kind: &str, fields: &mut Fields) {
    match kind {
        "Ingress" => made(fields, "status", |status| default(status, "loadBalancer", json!({}))),
        "IngressClass" => inside(fields, &["spec", "parameters"], |parameters| {
            default(parameters, "scope", json!("Cluster"));
        }),
        "NetworkPolicy" => inside(fields, &["spec"], |spec| {
            for rules in ["ingress", "egress"] {
                each(spec, rules, |rule| each(rule, "ports", |port| default(port, "protocol", json!("TCP"))));
            }
            if is_absent(spec, "policyTypes") || spec.get("policyTypes") == Some(&json!([])) {
                let egress =
                    spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
                let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
                spec.insert("policyTypes".to_owned(), types);
            }
        }),
        _ => {}
    }
}
