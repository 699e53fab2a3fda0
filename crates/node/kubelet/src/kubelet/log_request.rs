//! Which log a request means.

use client::chain;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use link::{ByteStream, LinkError, LogRequest};

use super::Kubelet;
use crate::{logs, pod, records};

impl Kubelet {
    pub(super) async fn open_log(&self, request: LogRequest) -> Result<ByteStream, LinkError> {
        let (handle, latest) = self.find(&request.namespace, &request.pod)?;
        if pod::container(&latest, &request.container).is_none() {
            let (pod, container) = (request.pod, request.container);
            return Err(LinkError::ContainerNotFound { pod, container });
        }
        let shared = &self.inner.shared;
        let dir = shared.pod_dir(&handle.id.uid);
        let attempts =
            tokio::task::spawn_blocking(move || records::instances(&dir)).await.unwrap_or_default();
        let mut attempts: Vec<u32> = attempts
            .into_iter()
            .filter(|(container, _, _)| *container == request.container)
            .map(|(_, attempt, _)| attempt)
            .collect();
        attempts.sort_unstable();
        let newest = attempts.pop();
        let (pod, container) = (request.pod.clone(), request.container.clone());
        let attempt = match (request.previous, newest, attempts.pop()) {
            (false, Some(newest), _) | (true, _, Some(newest)) => newest,
            (true, _, None) => return Err(LinkError::NoPrevious { pod, container }),
            (false, None, _) => {
                let reason = waiting_reason(&latest, &container);
                return Err(LinkError::NotReady { pod, container, reason });
            }
        };
        let source = logs::Source {
            path: shared.log_dir(&handle.id).join(&request.container).join(format!("{attempt}.log")),
            container_id: records::container_id(&handle.id.uid, &request.container, attempt),
            runtime: std::sync::Arc::clone(shared.runtime()),
        };
        let failed = move |source| LinkError::Read { pod: pod.clone(), container: container.clone(), source };
        let stream = logs::open(source, &request).await.map_err(&failed)?;
        Ok(stream
            .map(move |chunk| {
                chunk.map_err(|error| {
                    tracing::warn!(error = chain(&error), "a container's log could not be read");
                    failed(error)
                })
            })
            .boxed())
    }
}

/// Why a container has not started, in the words of the kubelet.
fn waiting_reason(pod: &Pod, container: &str) -> String {
    let status = pod.status.as_ref().and_then(|status| {
        let all =
            status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
        all.into_iter().find(|status: &&ContainerStatus| status.name == container)
    });
    let reason = status.and_then(|status| status.state.as_ref()?.waiting.as_ref()?.reason.clone());
    match reason.as_deref() {
        Some("ErrImagePull") => "image can't be pulled".to_owned(),
        Some("ImagePullBackOff") => "trying and failing to pull image".to_owned(),
        Some(reason) => reason.to_owned(),
        None => "ContainerCreating".to_owned(),
    }
}
