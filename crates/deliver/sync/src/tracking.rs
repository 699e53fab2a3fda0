//! Whose a live object is: the annotation `argocd.argoproj.io/tracking-id`, or a label where the settings say so.

use std::fmt;

use objects::{Value, meta};

use crate::annotations::{INSTALLATION_ID, TRACKING_ID};
use crate::key::{ResourceKey, group};

/// `<app>:<group>/<kind>:<namespace>/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackingId {
    /// The Application's name; `<namespace>_<name>` outside the controller's namespace.
    pub application: String,
    /// For cluster-scoped objects the namespace is the application's destination.
    pub key: ResourceKey,
}

impl TrackingId {
    /// `None` if the text does not have exactly the right parts: then nobody tracks the object. Names may have colons.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (application, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
        let (group, kind) = kind.split_once('/')?;
        let (namespace, name) = name.split_once('/')?;
        if kind.contains('/') || name.contains('/') {
            return None;
        }
        Some(Self {
            application: application.to_owned(),
            key: ResourceKey::new(group, kind, namespace, name),
        })
    }

    /// Whether the id names this very object, and was not copied from another. The namespace says nothing about
    /// cluster-scoped objects.
    #[must_use]
    pub fn names(&self, key: &ResourceKey) -> bool {
        let same_namespace = key.namespace.is_empty() || key.namespace == self.key.namespace;
        same_namespace
            && (&self.key.group, &self.key.kind, &self.key.name) == (&key.group, &key.kind, &key.name)
    }
}

impl fmt::Display for TrackingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ResourceKey { group, kind, namespace, name } = &self.key;
        write!(f, "{}:{group}/{kind}:{namespace}/{name}", self.application)
    }
}

/// `application.resourceTrackingMethod`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Method {
    #[default]
    Annotation,
    /// The label tells people; the annotation counts.
    AnnotationAndLabel,
    /// The label alone counts.
    Label,
}

impl Method {
    const ALL: [(&'static str, Self); 3] = [
        ("annotation", Self::Annotation),
        ("annotation+label", Self::AnnotationAndLabel),
        ("label", Self::Label),
    ];

    /// `None` for a word that is no method; upstream takes the annotation then.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(word, _)| *word == text).map(|(_, method)| method)
    }
}

/// How objects are marked as an application's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tracking {
    pub method: Method,
    /// The key of the label: `application.instanceLabelKey`.
    pub label: String,
    /// Which of several installations on one cluster this is: `installationID`; empty for the only one.
    pub installation: String,
}

/// The label that charts set as well.
const LABEL: &str = "app.kubernetes.io/instance";
/// The longest value of a label.
const LONGEST: usize = 63;

impl Default for Tracking {
    fn default() -> Self {
        Self { method: Method::default(), label: LABEL.to_owned(), installation: String::new() }
    }
}

/// Whose an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub application: String,
    /// `None` where a label says it, which names no object.
    id: Option<TrackingId>,
}

impl Owner {
    /// Whether this very object was marked, and the mark not copied from another.
    #[must_use]
    pub fn named(&self, key: &ResourceKey) -> bool {
        self.id.as_ref().is_none_or(|id| id.names(key))
    }
}

impl Tracking {
    /// From the ConfigMap `argocd-cm`.
    #[must_use]
    pub fn read(map: &Value) -> Self {
        let text = |key: &str| map["data"][key].as_str().map(str::trim).unwrap_or_default();
        let label = Some(text("application.instanceLabelKey")).filter(|label| !label.is_empty());
        Self {
            method: Method::parse(text("application.resourceTrackingMethod")).unwrap_or_default(),
            label: label.unwrap_or(LABEL).to_owned(),
            installation: text("installationID").to_owned(),
        }
    }

    /// Whose an object is; `None` if it is nobody's, or another installation's.
    #[must_use]
    pub fn owner(&self, object: &Value) -> Option<Owner> {
        if self.method == Method::Label {
            let application = meta::label(object, &self.label).filter(|name| !name.is_empty())?;
            return Some(Owner { application: application.to_owned(), id: None });
        }
        if meta::annotation(object, INSTALLATION_ID).unwrap_or_default() != self.installation {
            return None;
        }
        let id = TrackingId::parse(meta::annotation(object, TRACKING_ID)?)?;
        Some(Owner { application: id.application.clone(), id: Some(id) })
    }

    /// Marks a manifest as an application's. Definitions of custom resources receive no mark: several applications may
    /// bring the same one.
    pub fn mark(&self, manifest: &mut Value, application: &str, destination_namespace: &str) {
        if is_definition(manifest) {
            return;
        }
        if self.method != Method::Label {
            let mut key = ResourceKey::of(manifest);
            if key.namespace.is_empty() {
                destination_namespace.clone_into(&mut key.namespace);
            }
            let installation = Some(self.installation.as_str()).filter(|id| !id.is_empty());
            if installation.is_some() || meta::annotation(manifest, INSTALLATION_ID).is_some() {
                meta::set_annotation(manifest, INSTALLATION_ID, installation);
            }
            let id = TrackingId { application: application.to_owned(), key };
            meta::set_annotation(manifest, TRACKING_ID, Some(&id.to_string()));
        }
        match self.method {
            Method::Annotation => {}
            Method::AnnotationAndLabel => {
                meta::set_label(manifest, &self.label, Some(shortened(application)))
            }
            // Whole, so that the label leads back to its application; the API refuses one that is too long.
            Method::Label => meta::set_label(manifest, &self.label, Some(application)),
        }
    }

    /// The live object as it is compared: one that was marked by label only, before the annotation counted, is no
    /// different for that.
    #[must_use]
    pub fn settled(&self, manifest: &Value, live: &Value) -> Option<Value> {
        let labelled = meta::label(live, &self.label).is_some_and(|label| !label.is_empty());
        if self.method == Method::Label || !labelled || is_definition(live) {
            return None;
        }
        let unmarked = meta::annotation(live, TRACKING_ID).is_none();
        let unlabelled = meta::label(manifest, &self.label).is_none_or(str::is_empty);
        if !unmarked && !unlabelled {
            return None;
        }
        let mut settled = live.clone();
        if unmarked {
            meta::set_annotation(&mut settled, TRACKING_ID, meta::annotation(manifest, TRACKING_ID));
        }
        if unlabelled {
            meta::set_label(&mut settled, &self.label, None);
        }
        Some(settled)
    }
}

fn is_definition(object: &Value) -> bool {
    group(object) == "apiextensions.k8s.io" && meta::kind(object) == "CustomResourceDefinition"
}

/// As long as a label may be, with a letter or digit at its end.
fn shortened(name: &str) -> &str {
    let cut =
        name.char_indices().map(|(at, _)| at).chain([name.len()]).take_while(|at| *at <= LONGEST).last();
    let cut = &name[..cut.unwrap_or(0)];
    if cut.len() == name.len() {
        cut
    } else {
        cut.trim_end_matches(|last: char| !last.is_ascii_alphanumeric())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "prod"}})
    }

    #[test]
    fn ids_are_written_and_read_as_argo_does() {
        let tracking = Tracking::default();
        let mut service = service();
        tracking.mark(&mut service, "shop", "other");
        assert_eq!(meta::annotation(&service, TRACKING_ID), Some("shop:/Service:prod/web"));
        let mut role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r:x"}});
        tracking.mark(&mut role, "shop", "prod");
        assert_eq!(
            meta::annotation(&role, TRACKING_ID),
            Some("shop:rbac.authorization.k8s.io/ClusterRole:prod/r:x")
        );
        let owner = tracking.owner(&role).unwrap();
        assert!(owner.application == "shop" && owner.named(&ResourceKey::of(&role)));
        for text in ["", "a:b:c", "a:x/y/z:c/d", "a:x/y:c/d/e", "a:/b"] {
            assert_eq!(TrackingId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_copied_id_names_another_object() {
        let id = TrackingId::parse("shop:apps/Deployment:prod/web").unwrap();
        assert!(id.names(&ResourceKey::new("apps", "Deployment", "prod", "web")));
        assert!(!id.names(&ResourceKey::new("apps", "ReplicaSet", "prod", "web-1")));
        assert!(!id.names(&ResourceKey::new("apps", "Deployment", "stage", "web")));
        assert!(id.names(&ResourceKey::new("apps", "Deployment", "", "web")));
    }

    #[test]
    fn methods_mark_by_annotation_or_label() {
        let read = |data: Value| Tracking::read(&json!({"data": data}));
        let marked = |tracking: &Tracking, application: &str| {
            let mut service = service();
            tracking.mark(&mut service, application, "prod");
            service
        };
        let label = read(json!({"application.resourceTrackingMethod": "label"}));
        let by_label = marked(&label, "shop");
        assert_eq!(meta::annotation(&by_label, TRACKING_ID), None);
        assert_eq!(meta::label(&by_label, LABEL), Some("shop"));
        let owner = label.owner(&by_label).unwrap();
        assert!(owner.named(&ResourceKey::new("", "Pod", "x", "y")), "a label names no object");
        assert_eq!(Tracking::default().owner(&by_label), None);
        let both = read(json!({
            "application.resourceTrackingMethod": "annotation+label",
            "application.instanceLabelKey": "example.org/app",
        }));
        let long = format!("{}-{}", "a".repeat(62), "b".repeat(9));
        let by_both = marked(&both, &long);
        assert_eq!(meta::label(&by_both, "example.org/app"), Some("a".repeat(62).as_str()));
        assert_eq!(both.owner(&by_both).unwrap().application, long);
        assert_eq!(read(json!({"application.resourceTrackingMethod": "wish"})), Tracking::default());
    }

    #[test]
    fn installations_do_not_see_each_others_objects() {
        let mine = Tracking { installation: "one".to_owned(), ..Tracking::default() };
        let mut service = service();
        mine.mark(&mut service, "shop", "prod");
        assert!(mine.owner(&service).is_some());
        assert_eq!(Tracking::default().owner(&service), None);
        Tracking::default().mark(&mut service, "shop", "prod");
        assert_eq!(meta::annotation(&service, INSTALLATION_ID), None);
        assert_eq!(mine.owner(&service), None);
    }

    #[test]
    fn what_was_marked_by_label_is_not_different_for_that() {
        let tracking = Tracking::default();
        let mut manifest = service();
        tracking.mark(&mut manifest, "shop", "prod");
        let mut live = service();
        meta::set_label(&mut live, LABEL, Some("shop"));
        let settled = tracking.settled(&manifest, &live).unwrap();
        assert_eq!(meta::annotation(&settled, TRACKING_ID), Some("shop:/Service:prod/web"));
        assert_eq!(meta::label(&settled, LABEL), None);
        meta::set_annotation(&mut live, TRACKING_ID, Some("other:/Service:prod/web"));
        let settled = tracking.settled(&manifest, &live).unwrap();
        assert_eq!(meta::annotation(&settled, TRACKING_ID), Some("other:/Service:prod/web"));
        assert_eq!(tracking.settled(&manifest, &service()), None);
    }
}
