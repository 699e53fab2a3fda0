//! What a request can ask for besides its object.

use serde_json::{Value, json};

use super::request::Query;

/// Which objects a list (or a deletion of many) is about.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Label selector in query syntax, e.g. `app=web,tier!=cache`.
    pub labels: Option<String>,
    /// Field selector, e.g. `metadata.name=web-0`.
    pub fields: Option<String>,
    /// At most this many in one answer.
    pub limit: Option<u32>,
    /// Where the answer before ended.
    pub continue_token: Option<String>,
    /// Ask only for metadata; items then hold `apiVersion`, `kind` and `metadata`.
    pub metadata_only: bool,
}

impl ListOptions {
    /// Everything.
    pub fn all() -> ListOptions {
        ListOptions::default()
    }

    /// What a label selector matches.
    pub fn labels(selector: impl Into<String>) -> ListOptions {
        ListOptions { labels: Some(selector.into()), ..ListOptions::default() }
    }

    /// What a selector object (`matchLabels`, `matchExpressions`) matches, written as a query.
    pub fn matching(selector: &Value) -> ListOptions {
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let labels = selector["matchLabels"].as_object().into_iter().flatten();
        let mut terms: Vec<String> = labels.map(|(key, value)| format!("{key}={}", text(value))).collect();
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let key = text(&expression["key"]);
            let values: Vec<String> =
                expression["values"].as_array().into_iter().flatten().map(text).collect();
            let values = values.join(",");
            terms.push(match expression["operator"].as_str() {
                Some("In") => format!("{key} in ({values})"),
                Some("NotIn") => format!("{key} notin ({values})"),
                Some("DoesNotExist") => format!("!{key}"),
                _ => key,
            });
        }
        ListOptions::labels(terms.join(","))
    }

    /// What a field selector matches.
    pub fn fields(selector: impl Into<String>) -> ListOptions {
        ListOptions { fields: Some(selector.into()), ..ListOptions::default() }
    }

    pub(crate) fn query(&self) -> Query {
        let mut query = Query::new();
        query.add_some("labelSelector", self.labels.as_deref());
        query.add_some("fieldSelector", self.fields.as_deref());
        query.add_some("limit", self.limit.map(|limit| limit.to_string()).as_deref());
        query.add_some("continue", self.continue_token.as_deref());
        query
    }
}

/// An answered list.
#[derive(Debug, Clone, Default)]
pub struct List {
    pub items: Vec<Value>,
    /// What a watch continues from.
    pub resource_version: String,
    /// Set when a limit cut the answer.
    pub continue_token: Option<String>,
}

/// Options of creates and replaces.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Recorded in `managedFields`.
    pub field_manager: Option<String>,
    /// Go through validation and admission, store nothing.
    pub dry_run: bool,
}

impl WriteOptions {
    /// Writes recorded under `manager`.
    pub fn manager(manager: &str) -> WriteOptions {
        WriteOptions { field_manager: Some(manager.to_owned()), dry_run: false }
    }

    pub(crate) fn query(&self) -> Query {
        let mut query = Query::new();
        query.add_some("fieldManager", self.field_manager.as_deref());
        query.add_some("dryRun", self.dry_run.then_some("All"));
        query
    }
}

/// A patch and its type.
#[derive(Debug, Clone, PartialEq)]
pub enum Patch {
    /// RFC 6902: an array of operations.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Strategic merge, for built-in kinds only.
    Strategic(Value),
    /// Server-side apply: the fields this manager wants.
    Apply(Value),
}

impl Patch {
    pub(crate) fn content_type(&self) -> &'static str {
        match self {
            Patch::Json(_) => "application/json-patch+json",
            Patch::Merge(_) => "application/merge-patch+json",
            Patch::Strategic(_) => "application/strategic-merge-patch+json",
            Patch::Apply(_) => "application/apply-patch+yaml",
        }
    }

    pub(crate) fn body(&self) -> &Value {
        match self {
            Patch::Json(value) | Patch::Merge(value) | Patch::Strategic(value) | Patch::Apply(value) => value,
        }
    }
}

/// Options of patches.
#[derive(Debug, Clone, Default)]
pub struct PatchOptions {
    /// Recorded in `managedFields`; an apply needs one.
    pub field_manager: Option<String>,
    /// Take fields over from other managers (apply only).
    pub force: bool,
    /// Go through validation and admission, store nothing.
    pub dry_run: bool,
}

impl PatchOptions {
    /// Patches recorded under `manager`.
    pub fn manager(manager: &str) -> PatchOptions {
        PatchOptions { field_manager: Some(manager.to_owned()), ..PatchOptions::default() }
    }

    pub(crate) fn query(&self, apply: bool) -> Query {
        let mut query = Query::new();
        query.add_some("fieldManager", self.field_manager.as_deref());
        query.add_some("dryRun", self.dry_run.then_some("All"));
        // The parameter is only allowed on apply patches, and there `false` is the default.
        query.add_some("force", (apply && self.force).then_some("true"));
        query
    }
}

/// What happens to the objects that a deleted object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They stay, without their owner reference.
    Orphan,
    /// They are collected afterwards.
    Background,
    /// The owner stays until they are gone.
    Foreground,
}

/// Options of deletions.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    pub propagation: Option<Propagation>,
    pub grace_period_seconds: Option<i64>,
    /// Delete only the object with this uid.
    pub uid: Option<String>,
    /// Delete only this version of the object.
    pub resource_version: Option<String>,
    /// Go through admission, delete nothing.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Background propagation, what `kubectl delete` asks for.
    pub fn background() -> DeleteOptions {
        DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() }
    }

    /// The same options for exactly the object with this uid.
    pub fn only(mut self, uid: impl Into<String>) -> DeleteOptions {
        self.uid = Some(uid.into());
        self
    }

    pub(crate) fn body(&self) -> Value {
        let mut body = json!({ "apiVersion": "v1", "kind": "DeleteOptions" });
        if let Some(propagation) = self.propagation {
            body["propagationPolicy"] = match propagation {
                Propagation::Orphan => "Orphan",
                Propagation::Background => "Background",
                Propagation::Foreground => "Foreground",
            }
            .into();
        }
        if let Some(seconds) = self.grace_period_seconds {
            body["gracePeriodSeconds"] = seconds.into();
        }
        if let Some(uid) = &self.uid {
            body["preconditions"]["uid"] = uid.clone().into();
        }
        if let Some(version) = &self.resource_version {
            body["preconditions"]["resourceVersion"] = version.clone().into();
        }
        if self.dry_run {
            body["dryRun"] = json!(["All"]);
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let options = ListOptions { limit: Some(5), ..ListOptions::labels("app in (a,b),x!=y") };
        assert_eq!(options.query().on("/p"), "/p?labelSelector=app%20in%20%28a%2Cb%29%2Cx%21%3Dy&limit=5");
        assert_eq!(ListOptions::all().query().on("/p"), "/p");
        let patch = PatchOptions { force: true, ..PatchOptions::manager("m") };
        assert_eq!(patch.query(true).on("/p"), "/p?fieldManager=m&force=true");
        assert_eq!(patch.query(false).on("/p"), "/p?fieldManager=m");
    }

    #[test]
    fn selector_objects_become_queries() {
        let selector = json!({ "matchLabels": { "app": "web", "tier": "a" }, "matchExpressions": [
            { "key": "x", "operator": "In", "values": ["1", "2"] }, { "key": "y", "operator": "NotIn", "values": ["3"] },
            { "key": "z", "operator": "Exists" }, { "key": "zz", "operator": "DoesNotExist" }] });
        let query = ListOptions::matching(&selector).labels.unwrap();
        assert_eq!(query, "app=web,tier=a,x in (1,2),y notin (3),z,!zz");
        let parsed = objects::selector::LabelSelector::parse(&query).unwrap();
        assert_eq!(parsed, objects::selector::LabelSelector::from_object(&selector).unwrap());
    }

    #[test]
    fn delete_body() {
        let body = DeleteOptions::background().only("u1").body();
        assert_eq!(body["propagationPolicy"], "Background");
        assert_eq!(body["preconditions"], json!({ "uid": "u1" }));
        assert!(body.get("gracePeriodSeconds").is_none());
    }
}
