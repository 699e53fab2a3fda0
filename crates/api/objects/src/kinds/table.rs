//! The table itself. Facts from the discovery documents of Kubernetes 1.34.

use super::{Kind, Scope, Subresource};

const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Namespaces are deleted one by one.
const NO_COLLECTION: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const CREATE: &[&str] = &["create"];
const READ: &[&str] = &["get", "list"];
const GET: &[&str] = &["get"];
const GET_PATCH_UPDATE: &[&str] = &["get", "patch", "update"];
const CONNECT: &[&str] = &["create", "get"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

const STATUS: Subresource = own("status", GET_PATCH_UPDATE);
const SCALE: Subresource = typed("scale", ("autoscaling", "v1", "Scale"), GET_PATCH_UPDATE);

const fn own(name: &'static str, verbs: &'static [&'static str]) -> Subresource {
    Subresource { name, speaks: None, verbs }
}

const fn typed(
    name: &'static str,
    speaks: (&'static str, &'static str, &'static str),
    verbs: &'static [&'static str],
) -> Subresource {
    Subresource { name, speaks: Some(speaks), verbs }
}

const fn in_namespace(
    (group, version): (&'static str, &'static str),
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
) -> Kind {
    Kind {
        group,
        version,
        kind,
        plural,
        singular,
        short_names: &[],
        scope: Scope::Namespaced,
        categories: &[],
        verbs: ALL,
        subresources: &[],
        stored: true,
    }
}

const fn in_cluster(
    group_version: (&'static str, &'static str),
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
) -> Kind {
    Kind { scope: Scope::Cluster, ..in_namespace(group_version, kind, plural, singular) }
}

impl Kind {
    const fn short(self, short_names: &'static [&'static str]) -> Self {
        Self { short_names, ..self }
    }

    const fn in_all(self) -> Self {
        Self { categories: &["all"], ..self }
    }

    const fn category(self, categories: &'static [&'static str]) -> Self {
        Self { categories, ..self }
    }

    const fn verbs(self, verbs: &'static [&'static str]) -> Self {
        Self { verbs, ..self }
    }

    const fn with(self, subresources: &'static [Subresource]) -> Self {
        Self { subresources, ..self }
    }

    const fn answered(self) -> Self {
        Self { verbs: CREATE, stored: false, ..self }
    }
}

const CORE: (&str, &str) = ("", "v1");
const ADMISSION: (&str, &str) = ("admissionregistration.k8s.io", "v1");
const API_EXTENSIONS: (&str, &str) = ("apiextensions.k8s.io", "v1");
const API_REGISTRATION: (&str, &str) = ("apiregistration.k8s.io", "v1");
const APPS: (&str, &str) = ("apps", "v1");
const AUTHENTICATION: (&str, &str) = ("authentication.k8s.io", "v1");
const AUTHORIZATION: (&str, &str) = ("authorization.k8s.io", "v1");
const AUTOSCALING_1: (&str, &str) = ("autoscaling", "v1");
const AUTOSCALING_2: (&str, &str) = ("autoscaling", "v2");
const BATCH: (&str, &str) = ("batch", "v1");
const CERTIFICATES: (&str, &str) = ("certificates.k8s.io", "v1");
const COORDINATION: (&str, &str) = ("coordination.k8s.io", "v1");
const DISCOVERY: (&str, &str) = ("discovery.k8s.io", "v1");
const EVENTS: (&str, &str) = ("events.k8s.io", "v1");
const FLOW_CONTROL: (&str, &str) = ("flowcontrol.apiserver.k8s.io", "v1");
const NETWORKING: (&str, &str) = ("networking.k8s.io", "v1");
const NODE: (&str, &str) = ("node.k8s.io", "v1");
const POLICY: (&str, &str) = ("policy", "v1");
const RBAC: (&str, &str) = ("rbac.authorization.k8s.io", "v1");
const RESOURCE: (&str, &str) = ("resource.k8s.io", "v1");
const SCHEDULING: (&str, &str) = ("scheduling.k8s.io", "v1");
const STORAGE: (&str, &str) = ("storage.k8s.io", "v1");

/// Every built-in kind, the core group first, then by group, as discovery lists them.
#[must_use]
pub fn builtin() -> &'static [Kind] {
    KINDS
}

static KINDS: &[Kind] = &[
    in_namespace(CORE, "Binding", "bindings", "binding").answered(),
    Kind {
        stored: false,
        ..in_cluster(CORE, "ComponentStatus", "componentstatuses", "componentstatus")
            .short(&["cs"])
            .verbs(READ)
    },
    in_namespace(CORE, "ConfigMap", "configmaps", "configmap").short(&["cm"]),
    in_namespace(CORE, "Endpoints", "endpoints", "endpoints").short(&["ep"]),
    in_namespace(CORE, "Event", "events", "event").short(&["ev"]),
    in_namespace(CORE, "LimitRange", "limitranges", "limitrange").short(&["limits"]),
    in_cluster(CORE, "Namespace", "namespaces", "namespace")
        .short(&["ns"])
        .verbs(NO_COLLECTION)
        .with(&[own("finalize", &["update"]), STATUS]),
    in_cluster(CORE, "Node", "nodes", "node")
        .short(&["no"])
        .with(&[typed("proxy", ("", "v1", "NodeProxyOptions"), PROXY), STATUS]),
    in_namespace(CORE, "PersistentVolumeClaim", "persistentvolumeclaims", "persistentvolumeclaim")
        .short(&["pvc"])
        .with(&[STATUS]),
    in_cluster(CORE, "PersistentVolume", "persistentvolumes", "persistentvolume")
        .short(&["pv"])
        .with(&[STATUS]),
    in_namespace(CORE, "Pod", "pods", "pod").short(&["po"]).in_all().with(&[
        typed("attach", ("", "v1", "PodAttachOptions"), CONNECT),
        typed("binding", ("", "v1", "Binding"), CREATE),
        own("ephemeralcontainers", GET_PATCH_UPDATE),
        typed("eviction", ("policy", "v1", "Eviction"), CREATE),
        typed("exec", ("", "v1", "PodExecOptions"), CONNECT),
        own("log", GET),
        typed("portforward", ("", "v1", "PodPortForwardOptions"), CONNECT),
        typed("proxy", ("", "v1", "PodProxyOptions"), PROXY),
        own("resize", GET_PATCH_UPDATE),
        STATUS,
    ]),
    in_namespace(CORE, "PodTemplate", "podtemplates", "podtemplate"),
    in_namespace(CORE, "ReplicationController", "replicationcontrollers", "replicationcontroller")
        .short(&["rc"])
        .in_all()
        .with(&[SCALE, STATUS]),
    in_namespace(CORE, "ResourceQuota", "resourcequotas", "resourcequota").short(&["quota"]).with(&[STATUS]),
    in_namespace(CORE, "Secret", "secrets", "secret"),
    in_namespace(CORE, "ServiceAccount", "serviceaccounts", "serviceaccount").short(&["sa"]).with(&[typed(
        "token",
        ("authentication.k8s.io", "v1", "TokenRequest"),
        CREATE,
    )]),
    in_namespace(CORE, "Service", "services", "service")
        .short(&["svc"])
        .in_all()
        .with(&[typed("proxy", ("", "v1", "ServiceProxyOptions"), PROXY), STATUS]),
    in_cluster(
        ADMISSION,
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "mutatingwebhookconfiguration",
    )
    .category(&["api-extensions"]),
    in_cluster(
        ADMISSION,
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        "validatingadmissionpolicy",
    )
    .category(&["api-extensions"])
    .with(&[STATUS]),
    in_cluster(
        ADMISSION,
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        "validatingadmissionpolicybinding",
    )
    .category(&["api-extensions"]),
    in_cluster(
        ADMISSION,
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "validatingwebhookconfiguration",
    )
    .category(&["api-extensions"]),
    in_cluster(
        API_EXTENSIONS,
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "customresourcedefinition",
    )
    .short(&["crd", "crds"])
    .category(&["api-extensions"])
    .with(&[STATUS]),
    in_cluster(API_REGISTRATION, "APIService", "apiservices", "apiservice")
        .category(&["api-extensions"])
        .with(&[STATUS]),
    in_namespace(APPS, "ControllerRevision", "controllerrevisions", "controllerrevision"),
    in_namespace(APPS, "DaemonSet", "daemonsets", "daemonset").short(&["ds"]).in_all().with(&[STATUS]),
    in_namespace(APPS, "Deployment", "deployments", "deployment")
        .short(&["deploy"])
        .in_all()
        .with(&[SCALE, STATUS]),
    in_namespace(APPS, "ReplicaSet", "replicasets", "replicaset")
        .short(&["rs"])
        .in_all()
        .with(&[SCALE, STATUS]),
    in_namespace(APPS, "StatefulSet", "statefulsets", "statefulset")
        .short(&["sts"])
        .in_all()
        .with(&[SCALE, STATUS]),
    in_cluster(AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview").answered(),
    in_cluster(AUTHENTICATION, "TokenReview", "tokenreviews", "tokenreview").answered(),
    in_namespace(
        AUTHORIZATION,
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        "localsubjectaccessreview",
    )
    .answered(),
    in_cluster(
        AUTHORIZATION,
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        "selfsubjectaccessreview",
    )
    .answered(),
    in_cluster(AUTHORIZATION, "SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview")
        .answered(),
    in_cluster(AUTHORIZATION, "SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview")
        .answered(),
    in_namespace(
        AUTOSCALING_2,
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
    )
    .short(&["hpa"])
    .in_all()
    .with(&[STATUS]),
    in_namespace(
        AUTOSCALING_1,
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
    )
    .short(&["hpa"])
    .in_all()
    .with(&[STATUS]),
    in_namespace(BATCH, "CronJob", "cronjobs", "cronjob").short(&["cj"]).in_all().with(&[STATUS]),
    in_namespace(BATCH, "Job", "jobs", "job").in_all().with(&[STATUS]),
    in_cluster(
        CERTIFICATES,
        "CertificateSigningRequest",
        "certificatesigningrequests",
        "certificatesigningrequest",
    )
    .short(&["csr"])
    .with(&[own("approval", GET_PATCH_UPDATE), STATUS]),
    in_namespace(COORDINATION, "Lease", "leases", "lease"),
    in_namespace(DISCOVERY, "EndpointSlice", "endpointslices", "endpointslice"),
    in_namespace(EVENTS, "Event", "events", "event").short(&["ev"]),
    in_cluster(FLOW_CONTROL, "FlowSchema", "flowschemas", "flowschema").with(&[STATUS]),
    in_cluster(
        FLOW_CONTROL,
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
        "prioritylevelconfiguration",
    )
    .with(&[STATUS]),
    in_cluster(NETWORKING, "IngressClass", "ingressclasses", "ingressclass"),
    in_namespace(NETWORKING, "Ingress", "ingresses", "ingress").short(&["ing"]).with(&[STATUS]),
    in_cluster(NETWORKING, "IPAddress", "ipaddresses", "ipaddress").short(&["ip"]),
    in_namespace(NETWORKING, "NetworkPolicy", "networkpolicies", "networkpolicy").short(&["netpol"]),
    in_cluster(NETWORKING, "ServiceCIDR", "servicecidrs", "servicecidr").with(&[STATUS]),
    in_cluster(NODE, "RuntimeClass", "runtimeclasses", "runtimeclass"),
    in_namespace(POLICY, "PodDisruptionBudget", "poddisruptionbudgets", "poddisruptionbudget")
        .short(&["pdb"])
        .with(&[STATUS]),
    in_cluster(RBAC, "ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding"),
    in_cluster(RBAC, "ClusterRole", "clusterroles", "clusterrole"),
    in_namespace(RBAC, "RoleBinding", "rolebindings", "rolebinding"),
    in_namespace(RBAC, "Role", "roles", "role"),
    in_cluster(RESOURCE, "DeviceClass", "deviceclasses", "deviceclass"),
    in_namespace(RESOURCE, "ResourceClaim", "resourceclaims", "resourceclaim").with(&[STATUS]),
    in_namespace(RESOURCE, "ResourceClaimTemplate", "resourceclaimtemplates", "resourceclaimtemplate"),
    in_cluster(RESOURCE, "ResourceSlice", "resourceslices", "resourceslice"),
    in_cluster(SCHEDULING, "PriorityClass", "priorityclasses", "priorityclass").short(&["pc"]),
    in_cluster(STORAGE, "CSIDriver", "csidrivers", "csidriver"),
    in_cluster(STORAGE, "CSINode", "csinodes", "csinode"),
    in_namespace(STORAGE, "CSIStorageCapacity", "csistoragecapacities", "csistoragecapacity"),
    in_cluster(STORAGE, "StorageClass", "storageclasses", "storageclass").short(&["sc"]),
    in_cluster(STORAGE, "VolumeAttachment", "volumeattachments", "volumeattachment").with(&[STATUS]),
    in_cluster(STORAGE, "VolumeAttributesClass", "volumeattributesclasses", "volumeattributesclass")
        .short(&["vac"]),
];
