//! Fetching blobs, going on where a connection broke off.

use std::path::Path;
use std::time::Duration;

use http::header::RANGE;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sha2::Digest as _;
use tokio::io::AsyncWriteExt as _;

use super::http_client::{Body, Session};
use super::{ATTEMPTS, Cause, Descriptor, FIRST_PAUSE};
use crate::{Digest, Reference};

/// What has been received so far.
struct Progress {
    file: tokio::fs::File,
    hash: sha2::Sha256,
    size: u64,
}

pub(super) async fn fetch(
    session: &Session<'_>,
    reference: &Reference,
    blob: &Descriptor,
    path: &Path,
) -> Result<(), Cause> {
    let file_error = |action| move |source| Cause::File { action, path: path.display().to_string(), source };
    let file = tokio::fs::File::create(path).await.map_err(file_error("create"))?;
    let mut progress = Progress { file, hash: sha2::Sha256::new(), size: 0 };
    let mut pause = FIRST_PAUSE;
    let mut attempt = 1;
    loop {
        let before = progress.size;
        match fetch_rest(session, reference, blob, path, &mut progress).await {
            Ok(()) => break,
            Err(cause) if cause.is_temporary() && (attempt < ATTEMPTS || progress.size > before) => {
                tracing::debug!(digest = %blob.digest, %cause, received = progress.size, "going on with a blob");
                // Whatever moves forward is not given up; the deadline for the whole ends it.
                attempt = if progress.size > before { 1 } else { attempt + 1 };
                pause = if progress.size > before { FIRST_PAUSE } else { pause * 2 };
                tokio::time::sleep(pause.min(Duration::from_secs(5))).await;
            }
            Err(cause) => return Err(cause),
        }
    }
    progress.file.flush().await.map_err(file_error("write"))?;
    let found = Digest::from_sha256(progress.hash);
    if found != blob.digest {
        return Err(Cause::Digest { wanted: blob.digest, found });
    }
    Ok(())
}

async fn fetch_rest(
    session: &Session<'_>,
    reference: &Reference,
    blob: &Descriptor,
    path: &Path,
    progress: &mut Progress,
) -> Result<(), Cause> {
    let url = format!("/v2/{}/blobs/{}", reference.repository(), blob.digest);
    let from = progress.size;
    let build = || {
        let request = Request::get("/");
        let request = if from > 0 { request.header(RANGE, format!("bytes={from}-")) } else { request };
        request.body(Body::default())
    };
    let response = session.send(&url, &build).await?;
    if from > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
        restart(path, progress).await?;
    }
    receive(session, blob, path, response, progress).await
}

/// The registry cannot begin in the middle.
async fn restart(path: &Path, progress: &mut Progress) -> Result<(), Cause> {
    let file = tokio::fs::File::create(path).await;
    let file =
        file.map_err(|source| Cause::File { action: "create", path: path.display().to_string(), source })?;
    *progress = Progress { file, hash: sha2::Sha256::new(), size: 0 };
    Ok(())
}

async fn receive(
    session: &Session<'_>,
    blob: &Descriptor,
    path: &Path,
    response: Response<Incoming>,
    progress: &mut Progress,
) -> Result<(), Cause> {
    let url = || session.endpoint.base.clone();
    let mut body = response.into_body();
    loop {
        let frame = tokio::time::timeout(session.idle, body.frame()).await;
        let frame = frame.map_err(|_| Cause::Idle { url: url(), limit: session.idle })?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|e| Cause::Transport { url: url(), reason: e.to_string() })?;
        let Ok(data) = frame.into_data() else { continue };
        if progress.size + data.len() as u64 > blob.size {
            let reason = format!("content is longer than the {} bytes its manifest says", blob.size);
            return Err(Cause::Size { digest: blob.digest, reason });
        }
        progress.hash.update(&data);
        progress.file.write_all(&data).await.map_err(|source| Cause::File {
            action: "write",
            path: path.display().to_string(),
            source,
        })?;
        progress.size += data.len() as u64;
    }
    if progress.size < blob.size {
        let reason = format!("the connection ended after {} of {} bytes", progress.size, blob.size);
        return Err(Cause::Transport { url: url(), reason });
    }
    Ok(())
}
