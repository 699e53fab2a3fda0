//! What a request asks for, read from its method, path and query alone.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use crate::error::ApiError;

/// The verb of authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
        }
    }
}

/// A request for a resource: `/apis/GROUP/VERSION/namespaces/NAMESPACE/RESOURCE/NAME/SUBRESOURCE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    pub(crate) verb: Verb,
    pub(crate) group: String,
    pub(crate) version: String,
    /// Empty for a resource without namespaces and for all namespaces.
    pub(crate) namespace: String,
    pub(crate) resource: String,
    /// Empty for collections.
    pub(crate) name: String,
    /// Empty for the object itself.
    pub(crate) subresource: String,
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Resource(RequestInfo),
    /// Everything else: discovery, health, documents.
    Other,
}

impl RequestInfo {
    /// Reads method, path and query. Segments are percent-decoded one by one, so an encoded slash stays a character
    /// of a name (and is refused as one).
    pub(crate) fn parse(method: &Method, path: &str, query: &Query) -> Result<Target, ApiError> {
        let segments: Vec<Cow<'_, str>> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_decode_str(segment).decode_utf8())
            .collect::<Result<_, _>>()
            .map_err(|_| ApiError::bad_request("the path is not UTF-8"))?;
        let (group, version, rest) = match segments.as_slice() {
            [api, version, rest @ ..] if api == "api" && !rest.is_empty() => ("", &**version, rest),
            [apis, group, version, rest @ ..] if apis == "apis" && !rest.is_empty() => {
                (&**group, &**version, rest)
            }
            _ => return Ok(Target::Other),
        };
        let (rest, legacy_watch) = match rest {
            [watch, below @ ..] if watch == "watch" && !below.is_empty() => (below, true),
            _ => (rest, false),
        };
        let (namespace, resource, below) = match rest {
            [namespaces, name, below @ ..]
                if namespaces == "namespaces"
                    && matches!(below, [sub] if sub == "status" || sub == "finalize") =>
            {
                // A subresource of the namespace itself, not a resource inside it.
                (&**name, "namespaces", &rest[1..])
            }
            [namespaces, namespace, resource, below @ ..] if namespaces == "namespaces" => {
                (&**namespace, &**resource, below)
            }
            [namespaces, name] if namespaces == "namespaces" => (&**name, "namespaces", &rest[1..]),
            [resource, below @ ..] => ("", &**resource, below),
            [] => return Ok(Target::Other),
        };
        let (name, subresource) = match below {
            [] => ("", String::new()),
            [name] => (&**name, String::new()),
            [name, subresource @ ..] => (&**name, subresource.join("/")),
        };
        let watch = legacy_watch || query.flag("watch");
        let verb = verb(method, !name.is_empty(), watch, subresource.is_empty())?;
        Ok(Target::Resource(RequestInfo {
            verb,
            group: group.to_owned(),
            version: version.to_owned(),
            namespace: namespace.to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            subresource,
        }))
    }
}

fn verb(method: &Method, named: bool, watch: bool, main: bool) -> Result<Verb, ApiError> {
    Ok(match *method {
        Method::GET if watch && main => Verb::Watch,
        Method::GET if named => Verb::Get,
        Method::GET => Verb::List,
        // A collection is created in, an object is changed.
        Method::POST if !named || !main => Verb::Create,
        Method::PUT if named => Verb::Update,
        Method::PATCH if named => Verb::Patch,
        Method::DELETE if named => Verb::Delete,
        Method::DELETE => Verb::DeleteCollection,
        _ => return Err(ApiError::method_not_allowed()),
    })
}

/// The query, decoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Query {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        Query { pairs }
    }

    /// The first value; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a boolean is set: present with any value but `false` and `0`, as upstream converts it.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .is_some_and(|(_, value)| !matches!(value.to_ascii_lowercase().as_str(), "false" | "0"))
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number: i64 = value.parse().map_err(|_| {
            ApiError::bad_request(format!("strconv.ParseInt: parsing {value:?}: invalid syntax"))
        })?;
        // A negative number is as good as none.
        Ok(u64::try_from(number).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: Method, path: &str) -> RequestInfo {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        match RequestInfo::parse(&method, path, &Query::parse(query)).unwrap() {
            Target::Resource(info) => info,
            Target::Other => panic!("{path} is not a resource"),
        }
    }

    fn shown(info: &RequestInfo) -> String {
        format!(
            "{} g={} v={} ns={} r={} n={} s={}",
            info.verb.as_str(),
            info.group,
            info.version,
            info.namespace,
            info.resource,
            info.name,
            info.subresource
        )
    }

    #[test]
    fn paths_become_requests() {
        let cases = [
            (Method::GET, "/api/v1/pods", "list g= v=v1 ns= r=pods n= s="),
            (Method::GET, "/api/v1/namespaces/a/pods?watch=1", "watch g= v=v1 ns=a r=pods n= s="),
            (Method::GET, "/api/v1/namespaces/a", "get g= v=v1 ns=a r=namespaces n=a s="),
            (Method::PUT, "/api/v1/namespaces/a/finalize", "update g= v=v1 ns=a r=namespaces n=a s=finalize"),
            (Method::GET, "/api/v1/namespaces/a/status", "get g= v=v1 ns=a r=namespaces n=a s=status"),
            (Method::GET, "/api/v1/namespaces", "list g= v=v1 ns= r=namespaces n= s="),
            (Method::GET, "/api/v1/watch/pods", "watch g= v=v1 ns= r=pods n= s="),
            (
                Method::PATCH,
                "/apis/apps/v1/namespaces/a/deployments/b/scale",
                "patch g=apps v=v1 ns=a r=deployments n=b s=scale",
            ),
            (
                Method::DELETE,
                "/apis/apps/v1/namespaces/a/deployments",
                "deletecollection g=apps v=v1 ns=a r=deployments n= s=",
            ),
            (Method::GET, "/api/v1/nodes/n%2Fx", "get g= v=v1 ns= r=nodes n=n/x s="),
        ];
        for (method, path, expected) in cases {
            assert_eq!(shown(&parse(method, path)), expected, "{path}");
        }
    }

    #[test]
    fn other_paths_are_no_resources() {
        for path in ["/", "/api", "/apis", "/apis/apps", "/apis/apps/v1", "/api/v1", "/version"] {
            let target = RequestInfo::parse(&Method::GET, path, &Query::default()).unwrap();
            assert_eq!(target, Target::Other, "{path}");
        }
    }
}
