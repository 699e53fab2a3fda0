//! Requests for objects as `serde_json::Value`, by [`ResourceType`].
//!
//! Every request ends within a deadline (30 s unless [`Api::deadline`] says otherwise) and fails with an [`Error`] that
//! carries the server's reason and message. Objects that come back always hold `apiVersion` and `kind`, also inside lists,
//! where servers leave them out for built-in types.

mod options;
mod request;

use std::time::Duration;

use http::Method;
use kube::Client;
use objects::meta::{self, Key};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use options::{DeleteOptions, List, ListOptions, Patch, PatchOptions, Propagation, WriteOptions};
pub(crate) use request::{Accept, Query, Sent};

use crate::{Error, ResourceType};

/// How long one request may take. Long enough for a list of a large cluster, short enough that a controller notices.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Items<T> {
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

/// The objects of one type.
#[derive(Clone)]
pub struct Api {
    client: Client,
    resource: ResourceType,
    deadline: Duration,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("resource", &self.resource).finish_non_exhaustive()
    }
}

impl Api {
    /// The objects of `resource` as `client` sees them.
    pub fn new(client: &Client, resource: &ResourceType) -> Api {
        Api { client: client.clone(), resource: resource.clone(), deadline: DEADLINE }
    }

    /// The same objects with another deadline for each request.
    pub fn deadline(mut self, deadline: Duration) -> Api {
        self.deadline = deadline;
        self
    }

    /// Whose objects these are.
    pub fn resource(&self) -> &ResourceType {
        &self.resource
    }

    /// One object; [`Error::is_not_found`] when there is none.
    pub async fn get(&self, key: &Key) -> Result<Value, Error> {
        let path = self.path("get", key)?;
        self.object(Method::GET, path, Query::new(), None, self.action("get", key)).await
    }

    /// One object, or `None` when there is none.
    pub async fn find(&self, key: &Key) -> Result<Option<Value>, Error> {
        match self.get(key).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Objects of one namespace, or of all when `namespace` is `None`. One answer, from the newest state; with a limit in the
    /// options, a page whose [`List::continue_token`] asks for the next.
    pub async fn list(&self, namespace: Option<&str>, options: &ListOptions) -> Result<List, Error> {
        let action = self.collection_action("list", namespace);
        let accept = if options.metadata_only { Accept::MetadataList } else { Accept::Json };
        let mut value: Value = Sent {
            client: &self.client,
            method: Method::GET,
            target: options.query().on(&self.resource.collection_path(namespace)),
            accept,
            body: None,
            deadline: self.deadline,
            action: &action,
        }
        .json()
        .await?;
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
        let (resource_version, continue_token) =
            (text("/metadata/resourceVersion"), text("/metadata/continue"));
        let items = match value.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        let items = items.into_iter().map(|item| self.normalise(item, options.metadata_only)).collect();
        Ok(List { items, resource_version, continue_token: Some(continue_token).filter(|t| !t.is_empty()) })
    }

    /// [`Api::list`], with each object read into a type of the caller's that holds only what it needs: of ten thousand
    /// objects, most of the time would otherwise go into parts that nobody looks at.
    pub async fn list_as<T: DeserializeOwned>(
        &self,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<Vec<T>, Error> {
        let action = self.collection_action("list", namespace);
        let accept = if options.metadata_only { Accept::MetadataList } else { Accept::Json };
        let sent = Sent {
            client: &self.client,
            method: Method::GET,
            target: options.query().on(&self.resource.collection_path(namespace)),
            accept,
            body: None,
            deadline: self.deadline,
            action: &action,
        };
        Ok(sent.json::<Items<T>>().await?.items)
    }

    /// All objects that match, read in pages of 500 so that neither side holds the whole answer twice.
    pub async fn list_all(&self, namespace: Option<&str>, options: &ListOptions) -> Result<List, Error> {
        let mut options = ListOptions { limit: Some(500), continue_token: None, ..options.clone() };
        let mut all = self.list(namespace, &options).await?;
        while let Some(token) = all.continue_token.take() {
            options.continue_token = Some(token);
            let page = match self.list(namespace, &options).await {
                Err(error) if error.is_expired() => {
                    // The snapshot behind the token is gone; one unpaged answer is consistent again.
                    options.limit = None;
                    options.continue_token = None;
                    return self.list(namespace, &options).await;
                }
                page => page?,
            };
            all.items.extend(page.items);
            all.resource_version = page.resource_version;
            all.continue_token = page.continue_token;
        }
        Ok(all)
    }

    /// Creates `object` in the namespace its metadata names.
    pub async fn create(&self, object: &Value) -> Result<Value, Error> {
        self.create_with(object, &WriteOptions::default()).await
    }

    /// [`Api::create`] with a field manager or as a dry run. `metadata.generateName` is honoured by the server.
    pub async fn create_with(&self, object: &Value, options: &WriteOptions) -> Result<Value, Error> {
        let key = Key::of(object);
        let action = self.action("create", &key);
        self.namespace_given("create", &key)?;
        let path = self.resource.collection_path(key.namespace.as_deref());
        self.object(Method::POST, path, options.query(), Some(json_body(object)), action).await
    }

    /// Replaces an object; with `metadata.resourceVersion` in it, only if nobody changed it since.
    pub async fn replace(&self, object: &Value) -> Result<Value, Error> {
        self.write(Method::PUT, "replace", object, None, &WriteOptions::default()).await
    }

    /// [`Api::replace`] with a field manager or as a dry run.
    pub async fn replace_with(&self, object: &Value, options: &WriteOptions) -> Result<Value, Error> {
        self.write(Method::PUT, "replace", object, None, options).await
    }

    /// Replaces only the status of an object.
    pub async fn replace_status(&self, object: &Value) -> Result<Value, Error> {
        self.write(Method::PUT, "replace status of", object, Some("status"), &WriteOptions::default()).await
    }

    /// Patches an object.
    pub async fn patch(&self, key: &Key, patch: &Patch, options: &PatchOptions) -> Result<Value, Error> {
        self.patch_at("patch", key, None, patch, options).await
    }

    /// Merges `status` into the object's status.
    pub async fn patch_status(&self, key: &Key, status: Value) -> Result<Value, Error> {
        let patch = Patch::Merge(serde_json::json!({ "status": status }));
        self.patch_at("patch status of", key, Some("status"), &patch, &PatchOptions::default()).await
    }

    /// Patches any subresource that takes patches (`status`, `scale`).
    pub async fn patch_subresource(
        &self,
        key: &Key,
        subresource: &str,
        patch: &Patch,
        options: &PatchOptions,
    ) -> Result<Value, Error> {
        self.patch_at("patch", key, Some(subresource), patch, options).await
    }

    /// Server-side apply of `object` as `manager`; `force` takes fields over from other managers.
    pub async fn apply(&self, object: &Value, manager: &str, force: bool) -> Result<Value, Error> {
        let options =
            PatchOptions { field_manager: Some(manager.to_owned()), force, ..PatchOptions::default() };
        self.patch_at("apply", &Key::of(object), None, &Patch::Apply(object.clone()), &options).await
    }

    /// Sets `spec.replicas` through the scale subresource.
    pub async fn scale(&self, key: &Key, replicas: i64) -> Result<Value, Error> {
        let patch = Patch::Merge(serde_json::json!({ "spec": { "replicas": replicas } }));
        self.patch_at("scale", key, Some("scale"), &patch, &PatchOptions::default()).await
    }

    /// Reads a subresource such as `scale`.
    pub async fn get_subresource(&self, key: &Key, subresource: &str) -> Result<Value, Error> {
        let path = format!("{}/{subresource}", self.path("get", key)?);
        let action = format!("{} ({subresource})", self.action("get", key));
        self.send_json(Method::GET, path, Query::new(), None, action).await
    }

    /// Posts to a subresource: `binding` and `eviction` of a Pod, `token` of a ServiceAccount.
    pub async fn create_subresource(
        &self,
        key: &Key,
        subresource: &str,
        body: &Value,
    ) -> Result<Value, Error> {
        let path = format!("{}/{subresource}", self.path("create", key)?);
        let action = format!("{} ({subresource})", self.action("create", key));
        self.send_json(Method::POST, path, Query::new(), Some(json_body(body)), action).await
    }

    /// Replaces a subresource such as `finalize` of a Namespace.
    pub async fn replace_subresource(
        &self,
        key: &Key,
        subresource: &str,
        body: &Value,
    ) -> Result<Value, Error> {
        let path = format!("{}/{subresource}", self.path("replace", key)?);
        let action = format!("{} ({subresource})", self.action("replace", key));
        self.send_json(Method::PUT, path, Query::new(), Some(json_body(body)), action).await
    }

    /// Asks for an object's deletion; the answer is the object while finalizers or grace keep it, else a `Status`.
    pub async fn delete(&self, key: &Key, options: &DeleteOptions) -> Result<Value, Error> {
        let path = self.path("delete", key)?;
        let body = Some(json_body(&options.body()));
        self.send_json(Method::DELETE, path, Query::new(), body, self.action("delete", key)).await
    }

    /// [`Api::delete`], where an object that is already gone (or is another one, by `uid`) is as good.
    pub async fn delete_if_exists(&self, key: &Key, options: &DeleteOptions) -> Result<(), Error> {
        match self.delete(key, options).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            // It changed, as the caller wanted to know.
            Err(error) if error.is_conflict() && options.resource_version.is_some() => Ok(()),
            // Another object has the name by now, or the same one changed while it was being deleted. Who may not look
            // takes it for the first.
            Err(error) if error.is_conflict() && options.uid.is_some() => match self.find(key).await {
                Ok(Some(live)) if Some(meta::uid(&live)) == options.uid.as_deref() => Err(error),
                Err(unseen) if !unseen.is_forbidden() => Err(unseen),
                _ => Ok(()),
            },
            Err(error) => Err(error),
        }
    }

    /// Asks for the deletion of every object that matches.
    pub async fn delete_collection(
        &self,
        namespace: Option<&str>,
        which: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<(), Error> {
        let action = self.collection_action("delete all", namespace);
        let path = self.resource.collection_path(namespace);
        let body = Some(json_body(&options.body()));
        self.send_json(Method::DELETE, path, which.query(), body, action).await.map(|_| ())
    }

    async fn write(
        &self,
        method: Method,
        verb: &str,
        object: &Value,
        subresource: Option<&str>,
        options: &WriteOptions,
    ) -> Result<Value, Error> {
        let key = Key::of(object);
        let mut path = self.path(verb, &key)?;
        if let Some(subresource) = subresource {
            path = format!("{path}/{subresource}");
        }
        self.object(method, path, options.query(), Some(json_body(object)), self.action(verb, &key)).await
    }

    async fn patch_at(
        &self,
        verb: &str,
        key: &Key,
        subresource: Option<&str>,
        patch: &Patch,
        options: &PatchOptions,
    ) -> Result<Value, Error> {
        let mut path = self.path(verb, key)?;
        if let Some(subresource) = subresource {
            path = format!("{path}/{subresource}");
        }
        let query = options.query(matches!(patch, Patch::Apply(_)));
        let body = Some((patch.content_type(), to_bytes(patch.body())));
        let action = self.action(verb, key);
        if matches!(subresource, None | Some("status")) {
            self.object(Method::PATCH, path, query, body, action).await
        } else {
            self.send_json(Method::PATCH, path, query, body, action).await
        }
    }

    async fn object(
        &self,
        method: Method,
        path: String,
        query: Query,
        body: Option<(&'static str, Vec<u8>)>,
        action: String,
    ) -> Result<Value, Error> {
        let value = self.send_json(method, path, query, body, action).await?;
        Ok(self.normalise(value, false))
    }

    async fn send_json(
        &self,
        method: Method,
        path: String,
        query: Query,
        body: Option<(&'static str, Vec<u8>)>,
        action: String,
    ) -> Result<Value, Error> {
        Sent {
            client: &self.client,
            method,
            target: query.on(&path),
            accept: Accept::Json,
            body,
            deadline: self.deadline,
            action: &action,
        }
        .json()
        .await
    }

    pub(crate) fn normalise(&self, mut object: Value, metadata_only: bool) -> Value {
        if let Some(map) = object.as_object_mut() {
            if metadata_only {
                map.retain(|field, _| field == "metadata");
            }
            if metadata_only || !map.contains_key("kind") {
                map.insert("apiVersion".to_owned(), self.resource.api_version().into());
                map.insert("kind".to_owned(), self.resource.kind.clone().into());
            }
        }
        object
    }

    fn path(&self, verb: &str, key: &Key) -> Result<String, Error> {
        if key.name.is_empty() {
            let problem = "the object has no name".to_owned();
            return Err(Error::Request { action: self.action(verb, key), problem });
        }
        self.namespace_given(verb, key)?;
        Ok(self.resource.object_path(key.namespace.as_deref(), &key.name))
    }

    fn namespace_given(&self, verb: &str, key: &Key) -> Result<(), Error> {
        if self.resource.namespaced && key.namespace.as_deref().is_none_or(str::is_empty) {
            let problem = "the object has no namespace".to_owned();
            return Err(Error::Request { action: self.action(verb, key), problem });
        }
        Ok(())
    }

    pub(crate) fn action(&self, verb: &str, key: &Key) -> String {
        format!("{verb} {} {key}", self.resource)
    }

    pub(crate) fn collection_action(&self, verb: &str, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) => format!("{verb} {} in namespace {namespace}", self.resource),
            None => format!("{verb} {}", self.resource),
        }
    }
}

fn json_body(value: &Value) -> (&'static str, Vec<u8>) {
    ("application/json", to_bytes(value))
}

fn to_bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a JSON value has only string keys")
}
