//! What an Application becomes, without a cluster.

use std::sync::Arc;

use charts::Charts;
use git::{Freshness, Repositories};
use objects::Value;
use tokio::sync::Semaphore;

use crate::application::Application;
use crate::generate::{self, Request};
use crate::metrics::Work;
use crate::places::Places;

/// What to render, and with what.
#[derive(Debug, Clone)]
pub struct RenderRequest {
    /// The Application object.
    pub application: Value,
    pub repositories: Repositories,
    pub charts: Charts,
    /// `v1.34.0`.
    pub kube_version: String,
    /// The types that charts see, as `apps/v1` and `apps/v1/Deployment`, sorted.
    pub api_versions: Vec<String>,
    /// Where random functions of charts draw from; mixed with the Application's name.
    pub seed: [u8; 32],
}

/// Why there are no manifests, in the words of a condition of the Application.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RenderError(String);

impl RenderError {
    pub(crate) fn new(message: String) -> Self {
        Self(message)
    }
}

/// The manifests of an Application, in the order in which its sources give them.
///
/// # Errors
/// If the Application is invalid, a source cannot be had, or does not render.
pub async fn render(request: RenderRequest) -> Result<Vec<Value>, RenderError> {
    let RenderRequest { application, repositories, charts, kube_version, api_versions, seed } = request;
    let namespace = objects::meta::namespace(&application).unwrap_or_default().to_owned();
    let application = Application::read(&application, &namespace).map_err(RenderError)?;
    let mut request = Request::of(&application, kube_version, Arc::new(api_versions), seed);
    request.freshness = Freshness::Recent;
    let renderers = Semaphore::new(1);
    let places = Places { repositories, charts, secrets: None };
    let generated = generate::generate(&places, &renderers, Arc::new(Work::default()), request, None);
    let generated = generated.await.map_err(|failure| RenderError(failure.message))?;
    Ok(generated.manifests.unwrap_or_default())
}
