//! Kustomize's default fields.
//!
//! Most are the same fields of a pod template, which stands at a different place in each kind of workload.

use super::{BackReference, Config};
use crate::fieldspec::FieldSpec;
use crate::id::Gvk;

/// Kind, version and where its pod template's spec is.
type Place = (&'static str, &'static str, &'static str);

/// Where the kinds that use config maps and secrets have it.
const PODS: [Place; 8] = [
    ("Pod", "v1", "spec"),
    ("PodTemplate", "", "template/spec"),
    ("Deployment", "", "spec/template/spec"),
    ("ReplicaSet", "", "spec/template/spec"),
    ("DaemonSet", "", "spec/template/spec"),
    ("StatefulSet", "", "spec/template/spec"),
    ("Job", "", "spec/template/spec"),
    ("CronJob", "", "spec/jobTemplate/spec/template/spec"),
];
/// The same for the kinds whose references to service accounts, claims and priority classes are repaired.
const CLAIMANTS: [Place; 7] = [
    ("Pod", "", "spec"),
    ("StatefulSet", "", "spec/template/spec"),
    ("Deployment", "", "spec/template/spec"),
    ("ReplicationController", "", "spec/template/spec"),
    ("CronJob", "", "spec/jobTemplate/spec/template/spec"),
    ("Job", "", "spec/template/spec"),
    ("DaemonSet", "", "spec/template/spec"),
];
const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const NETWORKING: &str = "networking.k8s.io";

fn spec(path: &str, group: &str, kind: &str) -> FieldSpec {
    FieldSpec::new(path, group, "", kind, false)
}

pub(super) fn defaults() -> Config {
    let mut config = Config::default();
    let name = || vec![spec("metadata/name", "", "")];
    let own = Config {
        name_prefix: name(),
        name_suffix: name(),
        namespace: vec![
            FieldSpec::new("metadata/name", "", "", "Namespace", true),
            FieldSpec::new("spec/service/namespace", "apiregistration.k8s.io", "", "APIService", true),
            spec(
                "spec/conversion/webhook/clientConfig/service/namespace",
                "apiextensions.k8s.io",
                "CustomResourceDefinition",
            ),
        ],
        common_labels: selectors().into_iter().chain(labels()).chain([claim_labels()]).collect(),
        labels: Vec::new(),
        template_labels: labels(),
        volume_claim_template_labels: vec![claim_labels()],
        common_annotations: annotations(),
        name_reference: references(),
        var_reference: variables(),
        images: images(),
        replicas: ["Deployment", "ReplicationController", "ReplicaSet", "StatefulSet"]
            .map(|kind| FieldSpec::new("spec/replicas", "", "", kind, true))
            .into(),
    };
    config.merge(own).expect("the defaults do not contradict each other");
    config
}

fn images() -> Vec<FieldSpec> {
    let mut paths = vec!["spec/jobTemplate/spec/template/spec/volumes[]/image/reference".to_owned()];
    for root in ["spec", "spec/template/spec"] {
        for field in ["containers[]/image", "initContainers[]/image", "volumes[]/image/reference"] {
            paths.push(format!("{root}/{field}"));
        }
    }
    paths.into_iter().map(|path| FieldSpec::new(path, "", "", "", true)).collect()
}

fn claim_labels() -> FieldSpec {
    FieldSpec::new("spec/volumeClaimTemplates[]/metadata/labels", "apps", "", "StatefulSet", true)
}

fn labels() -> Vec<FieldSpec> {
    let created =
        |path: &str, group: &str, version: &str, kind: &str| FieldSpec::new(path, group, version, kind, true);
    vec![
        created("metadata/labels", "", "", ""),
        created("spec/template/metadata/labels", "", "v1", "ReplicationController"),
        created("spec/template/metadata/labels", "", "", "Deployment"),
        created("spec/template/metadata/labels", "", "", "ReplicaSet"),
        created("spec/template/metadata/labels", "", "", "DaemonSet"),
        created("spec/template/metadata/labels", "apps", "", "StatefulSet"),
        created("spec/template/metadata/labels", "batch", "", "Job"),
        created("spec/jobTemplate/metadata/labels", "batch", "", "CronJob"),
        created("spec/jobTemplate/spec/template/metadata/labels", "batch", "", "CronJob"),
    ]
}

fn annotations() -> Vec<FieldSpec> {
    let created =
        |path: &str, group: &str, version: &str, kind: &str| FieldSpec::new(path, group, version, kind, true);
    let template = "spec/template/metadata/annotations";
    vec![
        created("metadata/annotations", "", "", ""),
        created(template, "", "v1", "ReplicationController"),
        created(template, "", "", "Deployment"),
        created(template, "", "", "ReplicaSet"),
        created(template, "", "", "DaemonSet"),
        created(template, "", "", "StatefulSet"),
        created(template, "batch", "", "Job"),
        created("spec/jobTemplate/metadata/annotations", "batch", "", "CronJob"),
        created("spec/jobTemplate/spec/template/metadata/annotations", "batch", "", "CronJob"),
    ]
}

fn selectors() -> Vec<FieldSpec> {
    let mut specs = vec![
        FieldSpec::new("spec/selector", "", "v1", "Service", true),
        FieldSpec::new("spec/selector", "", "v1", "ReplicationController", true),
        FieldSpec::new("spec/selector/matchLabels", "", "", "Deployment", true),
        FieldSpec::new("spec/selector/matchLabels", "", "", "ReplicaSet", true),
        FieldSpec::new("spec/selector/matchLabels", "", "", "DaemonSet", true),
        FieldSpec::new("spec/selector/matchLabels", "apps", "", "StatefulSet", true),
        spec("spec/selector/matchLabels", "batch", "Job"),
        spec("spec/jobTemplate/spec/selector/matchLabels", "batch", "CronJob"),
        spec("spec/selector/matchLabels", "policy", "PodDisruptionBudget"),
        spec("spec/podSelector/matchLabels", NETWORKING, "NetworkPolicy"),
        spec("spec/ingress/from/podSelector/matchLabels", NETWORKING, "NetworkPolicy"),
        spec("spec/egress/to/podSelector/matchLabels", NETWORKING, "NetworkPolicy"),
    ];
    for kind in ["Deployment", "StatefulSet"] {
        for affinity in ["podAffinity", "podAntiAffinity"] {
            for term in [
                "preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm",
                "requiredDuringSchedulingIgnoredDuringExecution",
            ] {
                let path = format!("spec/template/spec/affinity/{affinity}/{term}/labelSelector/matchLabels");
                specs.push(spec(&path, "apps", kind));
            }
        }
        specs.push(spec(
            "spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels",
            "apps",
            kind,
        ));
    }
    specs
}

fn back(group: &str, version: &str, kind: &str, referrers: Vec<FieldSpec>) -> BackReference {
    let gvk = Gvk { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() };
    BackReference { gvk, referrers }
}

fn in_pods(paths: &[&str], places: &[Place]) -> Vec<FieldSpec> {
    let mut specs = Vec::new();
    for (kind, version, root) in places {
        specs.extend(
            paths.iter().map(|path| FieldSpec::new(format!("{root}/{path}"), "", version, kind, false)),
        );
    }
    specs
}

fn references() -> Vec<BackReference> {
    let scaled = || vec![spec("spec/scaleTargetRef/name", "", "HorizontalPodAutoscaler")];
    let mut all: Vec<BackReference> = ["Deployment", "ReplicationController", "ReplicaSet", "StatefulSet"]
        .into_iter()
        .map(|kind| back("", "", kind, scaled()))
        .collect();
    all.push(back("", "v1", "ConfigMap", to_config_maps()));
    all.push(back("", "v1", "Secret", to_secrets()));
    all.push(back("", "v1", "Service", to_services()));
    all.push(back(RBAC, "", "Role", vec![spec("roleRef/name", RBAC, "RoleBinding")]));
    let bindings = ["RoleBinding", "ClusterRoleBinding"];
    all.push(back(RBAC, "", "ClusterRole", bindings.map(|kind| spec("roleRef/name", RBAC, kind)).into()));
    let mut accounts: Vec<FieldSpec> = bindings.map(|kind| spec("subjects", RBAC, kind)).into();
    accounts.extend(in_pods(&["serviceAccountName"], &CLAIMANTS));
    all.push(back("", "v1", "ServiceAccount", accounts));
    let claims = in_pods(&["volumes/persistentVolumeClaim/claimName"], &CLAIMANTS);
    all.push(back("", "v1", "PersistentVolumeClaim", claims));
    let volumes = vec![
        spec("spec/volumeName", "", "PersistentVolumeClaim"),
        spec("rules/resourceNames", "", "ClusterRole"),
    ];
    all.push(back("", "v1", "PersistentVolume", volumes));
    let classes = vec![
        spec("spec/storageClassName", "", "PersistentVolume"),
        spec("spec/storageClassName", "", "PersistentVolumeClaim"),
        spec("spec/volumeClaimTemplates/spec/storageClassName", "", "StatefulSet"),
    ];
    all.push(back("storage.k8s.io", "v1", "StorageClass", classes));
    all.push(back("scheduling.k8s.io", "v1", "PriorityClass", in_pods(&["priorityClassName"], &CLAIMANTS)));
    // The group is written with a version in kustomize's own table, so it selects nothing there either.
    all.push(back(
        "networking.k8s.io/v1",
        "v1",
        "IngressClass",
        vec![spec("spec/ingressClassName", "", "Ingress")],
    ));
    let policies = vec![spec("spec/policyName", ADMISSION, "ValidatingAdmissionPolicyBinding")];
    all.push(back(ADMISSION, "", "ValidatingAdmissionPolicy", policies));
    all
}

fn to_config_maps() -> Vec<FieldSpec> {
    let mut specs = in_pods(
        &[
            "volumes/configMap/name",
            "containers/env/valueFrom/configMapKeyRef/name",
            "initContainers/env/valueFrom/configMapKeyRef/name",
            "containers/envFrom/configMapRef/name",
            "initContainers/envFrom/configMapRef/name",
            "volumes/projected/sources/configMap/name",
        ],
        &PODS,
    );
    specs.extend([
        spec("spec/configSource/configMap", "", "Node"),
        spec("rules/resourceNames", "", "Role"),
        spec("rules/resourceNames", "", "ClusterRole"),
        spec(r"metadata/annotations/nginx.ingress.kubernetes.io\/fastcgi-params-configmap", "", "Ingress"),
    ]);
    specs
}

fn to_secrets() -> Vec<FieldSpec> {
    let mut specs = in_pods(
        &[
            "volumes/secret/secretName",
            "containers/env/valueFrom/secretKeyRef/name",
            "initContainers/env/valueFrom/secretKeyRef/name",
            "containers/envFrom/secretRef/name",
            "initContainers/envFrom/secretRef/name",
            "imagePullSecrets/name",
            "volumes/projected/sources/secret/name",
        ],
        &PODS,
    );
    specs.extend([
        spec("spec/tls/secretName", "", "Ingress"),
        spec(r"metadata/annotations/ingress.kubernetes.io\/auth-secret", "", "Ingress"),
        spec(r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-secret", "", "Ingress"),
        spec(r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-tls-secret", "", "Ingress"),
        spec("imagePullSecrets/name", "", "ServiceAccount"),
        spec("parameters/secretName", "", "StorageClass"),
        spec("parameters/adminSecretName", "", "StorageClass"),
        spec("parameters/userSecretName", "", "StorageClass"),
        spec("parameters/secretRef", "", "StorageClass"),
        spec("rules/resourceNames", "", "Role"),
        spec("rules/resourceNames", "", "ClusterRole"),
        FieldSpec::new(
            "spec/template/spec/containers/env/valueFrom/secretKeyRef/name",
            "serving.knative.dev",
            "v1",
            "Service",
            false,
        ),
        spec("spec/azureFile/secretName", "", "PersistentVolume"),
    ]);
    specs
}

fn to_services() -> Vec<FieldSpec> {
    vec![
        spec("spec/serviceName", "apps", "StatefulSet"),
        spec("spec/rules/http/paths/backend/serviceName", "", "Ingress"),
        spec("spec/backend/serviceName", "", "Ingress"),
        spec("spec/rules/http/paths/backend/service/name", "", "Ingress"),
        spec("spec/defaultBackend/service/name", "", "Ingress"),
        spec("spec/service/name", "apiregistration.k8s.io", "APIService"),
        spec("webhooks/clientConfig/service", ADMISSION, "ValidatingWebhookConfiguration"),
        spec("webhooks/clientConfig/service", ADMISSION, "MutatingWebhookConfiguration"),
    ]
}

fn variables() -> Vec<FieldSpec> {
    let template = "spec/template/spec";
    let places = [
        ("CronJob", "spec/jobTemplate/spec/template/spec"),
        ("DaemonSet", template),
        ("Deployment", template),
        ("Job", template),
        ("Pod", "spec"),
        ("ReplicaSet", template),
        ("StatefulSet", template),
    ];
    let mut specs = Vec::new();
    for (kind, root) in places {
        for list in ["containers", "initContainers"] {
            for field in ["args", "command", "env/value", "volumeMounts/mountPath"] {
                specs.push(spec(&format!("{root}/{list}/{field}"), "", kind));
            }
        }
        let server = match kind {
            "CronJob" => "spec/jobTemplate/spec/template/volumes/nfs/server".to_owned(),
            "StatefulSet" => "spec/volumeClaimTemplates/spec/nfs/server".to_owned(),
            _ => format!("{root}/volumes/nfs/server"),
        };
        specs.push(spec(&server, "", kind));
    }
    specs.extend([
        spec("spec/template/metadata/annotations", "", "Deployment"),
        spec("spec/rules/host", "", "Ingress"),
        spec("spec/tls/hosts", "", "Ingress"),
        spec("spec/tls/secretName", "", "Ingress"),
        spec("spec/ports/port", "", "Service"),
        spec("spec/ports/targetPort", "", "Service"),
        spec("spec/nfs/server", "", "PersistentVolume"),
        spec("metadata/labels", "", ""),
        spec("metadata/annotations", "", ""),
    ]);
    specs
}
