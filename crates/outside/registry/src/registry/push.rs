//! Uploading images.

use std::path::PathBuf;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Request, Uri};

use super::http_client::{Body, Session};
use super::{Cause, Descriptor, Manifest, get};
use crate::{Digest, Reference};

/// An image to upload: its manifest and where the content of its blobs lies.
#[derive(Clone, Debug)]
pub struct Upload {
    pub manifest: Manifest,
    /// One file for the configuration and every layer, in any order.
    pub blobs: Vec<(Descriptor, PathBuf)>,
}

pub(super) async fn push(
    session: &Session<'_>,
    reference: &Reference,
    image: &Upload,
) -> Result<Digest, Cause> {
    for (descriptor, file) in &image.blobs {
        upload(session, reference, descriptor, file).await?;
    }
    let path = format!("/v2/{}/manifests/{}", reference.repository(), version(reference, &image.manifest));
    let manifest = &image.manifest;
    let kind = HeaderValue::from_str(&manifest.media_type)
        .map_err(|_| Cause::Manifest("its media type is no header value".to_owned()))?;
    let build = || Request::put("/").header(CONTENT_TYPE, &kind).body(Body::from(manifest.bytes.clone()));
    session.send(&path, &build).await?;
    Ok(manifest.digest)
}

fn version(reference: &Reference, manifest: &Manifest) -> String {
    reference.tag().map_or_else(|| manifest.digest.to_string(), str::to_owned)
}

async fn upload(
    session: &Session<'_>,
    reference: &Reference,
    descriptor: &Descriptor,
    file: &PathBuf,
) -> Result<(), Cause> {
    let repository = reference.repository();
    let there =
        get(session, Method::HEAD, &format!("/v2/{repository}/blobs/{}", descriptor.digest), "*/*").await;
    match there {
        Ok(_) => return Ok(()),
        Err(Cause::NotFound(_)) => {}
        Err(cause) => return Err(cause),
    }
    let start = || Request::post("/").header(CONTENT_LENGTH, "0").body(Body::from(Bytes::new()));
    let response = session.send(&format!("/v2/{repository}/blobs/uploads/"), &start).await?;
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let separator = if location.contains('?') { '&' } else { '?' };
    let target = format!("{location}{separator}digest={}", descriptor.digest);
    if !stays_at(session, &target) {
        return Err(Cause::Redirect("an upload to another host".to_owned()));
    }
    std::fs::File::open(file).map_err(|source| Cause::File {
        action: "open",
        path: file.display().to_string(),
        source,
    })?;
    let build = || {
        // Opened anew for every attempt, as each reads from the beginning. Should it be gone by now, the body is shorter
        // than announced and the upload fails.
        let body = std::fs::File::open(file).map(tokio::fs::File::from_std);
        let body = body.map_or_else(|_| Body::default(), Body::file);
        Request::put("/")
            .header(CONTENT_LENGTH, descriptor.size)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(body)
    };
    session.send(&target, &build).await?;
    Ok(())
}

/// Whether an upload's location is on the endpoint itself; credentials go there.
fn stays_at(session: &Session<'_>, target: &str) -> bool {
    let own: Option<Uri> = session.endpoint.base.parse().ok();
    let target_host = target.parse::<Uri>().ok();
    target.starts_with('/') && !target.starts_with("//")
        || own.zip(target_host).is_some_and(|(own, target)| own.authority() == target.authority())
}
