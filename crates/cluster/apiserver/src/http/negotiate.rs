//! Which form of an answer a client accepts, and in which a body was sent.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

use crate::error::ApiError;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
}

/// What an answer shows of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Whole,
    /// Rows and columns for people.
    Table,
    /// Type and metadata only.
    Metadata,
    /// The aggregated form of discovery.
    Aggregated,
}

const SUPPORTED: &str = "application/json, application/yaml";

/// The first entry of `Accept` that this server can produce; `shapes` are those the endpoint knows.
pub(crate) fn accept(headers: &HeaderMap, shapes: &[Shape]) -> Result<(Encoding, Shape), ApiError> {
    let mut any = false;
    for value in headers.get_all(ACCEPT) {
        let Ok(value) = value.to_str() else { continue };
        for entry in value.split(',') {
            any = true;
            if let Some(found) = entry_of(entry, shapes) {
                return Ok(found);
            }
        }
    }
    if any { Err(unacceptable(headers)) } else { Ok((Encoding::Json, Shape::Whole)) }
}

/// Whether a client would take this media type, or the spelling that older ones have for it.
pub(crate) fn mentions(headers: &HeaderMap, media: &str) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut entries = values.flat_map(|value| value.split(','));
    entries.any(|entry| entry.split(';').next().unwrap_or_default().trim().replace('@', ".") == media)
}

/// Upstream's two layers word it differently: one for media types, one for what they are to show.
fn unacceptable(headers: &HeaderMap) -> ApiError {
    let known = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|entry| {
            let media = entry.split(';').next().unwrap_or_default().trim();
            matches!(media, "application/json" | "application/yaml" | "*/*")
        })
    });
    if known { ApiError::not_acceptable(SUPPORTED) } else { ApiError::not_available() }
}

fn entry_of(entry: &str, shapes: &[Shape]) -> Option<(Encoding, Shape)> {
    let mut parts = entry.split(';').map(str::trim);
    let encoding = match parts.next()? {
        "application/json" | "*/*" | "application/*" | "" => Encoding::Json,
        "application/yaml" => Encoding::Yaml,
        _ => return None,
    };
    let (mut form, mut group, mut version) = (None, "", "");
    for parameter in parts {
        match parameter.split_once('=') {
            Some(("as", value)) => form = Some(value),
            Some(("g", value)) => group = value,
            Some(("v", value)) => version = value,
            _ => {}
        }
    }
    let shape = match (form, group, version) {
        (None, _, _) => Shape::Whole,
        (Some("Table"), "meta.k8s.io", "v1" | "v1beta1") => Shape::Table,
        (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), "meta.k8s.io", "v1" | "v1beta1") => {
            Shape::Metadata
        }
        (Some("APIGroupDiscoveryList"), "apidiscovery.k8s.io", "v2") => Shape::Aggregated,
        _ => return None,
    };
    (shape == Shape::Whole || shapes.contains(&shape)).then_some((encoding, shape))
}

/// The media type of a request's body without its parameters; JSON if none is named.
pub(crate) fn content_type(headers: &HeaderMap) -> Result<&str, ApiError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok("application/json") };
    let value = value.to_str().map_err(|_| ApiError::unsupported_media(SUPPORTED))?;
    let value = value.split(';').next().unwrap_or_default().trim();
    Ok(if value.is_empty() { "application/json" } else { value })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_first_known_entry_wins() {
        let shapes = [Shape::Table, Shape::Metadata];
        let cases = [
            ("", Some((Encoding::Json, Shape::Whole))),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                Some((Encoding::Json, Shape::Table)),
            ),
            ("application/vnd.kubernetes.protobuf, application/json", Some((Encoding::Json, Shape::Whole))),
            (
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/yaml",
                Some((Encoding::Yaml, Shape::Whole)),
            ),
            ("application/vnd.kubernetes.protobuf", None),
        ];
        for (value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(value));
            assert_eq!(accept(&headers, &shapes).ok(), expected, "{value}");
        }
    }
}
