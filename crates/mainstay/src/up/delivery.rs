//! From Git to the API: the repositories, the Application controller, and the first Applications.

use anyhow::{Context, Result};
use git::{Mapping, Repositories};
use gitops::{BootstrapRequest, GitOps, HealthGates};

use crate::data_dir::DataDir;
use crate::settings::{Repository, Settings};
use crate::up::cluster::Cluster;
use crate::up::tasks::Tasks;
use crate::up::watching::say;

/// The path of the demo's Applications in its repository.
const DEMO_START: &str = "applications";

/// Starts the Application controller, and creates the Applications of the repository that was named.
pub(crate) async fn start(
    settings: &Settings,
    cluster: &Cluster,
    data: &DataDir,
    tasks: &mut Tasks,
) -> Result<()> {
    let repositories =
        Repositories::new(git::Config::new(data.repositories())).context("open the repositories")?;
    for (url, path) in &settings.sources {
        let mapping = Mapping::new(url.clone(), path.clone());
        repositories.map(mapping).with_context(|| format!("answer {url} from {}", path.display()))?;
        say(&format!("mapping         {url} is answered from {}", path.display()));
    }
    let client = cluster.account(gitops::SERVICE_ACCOUNT);
    let mut controller = gitops::Settings::default();
    if !settings.node {
        controller.health_gates = HealthGates::Ignore;
    }
    let config =
        gitops::Config { client: client.clone(), repositories: repositories.clone(), settings: controller };
    tasks.run("gitops", GitOps::new(config).run(tasks.token()));
    let Some(request) = request(settings) else { return Ok(()) };
    let made = gitops::bootstrap(&client, &repositories, request).await.context("read the repository")?;
    for mapping in made.mappings {
        say(&format!("mapping         {} is answered from {}", mapping.url, mapping.path.display()));
    }
    say(&format!("created         {}", made.created.join(", ")));
    Ok(())
}

fn request(settings: &Settings) -> Option<BootstrapRequest> {
    let request = |repository: String, path: &str, revision: Option<&String>| BootstrapRequest {
        repository,
        path: path.to_owned(),
        revision: revision.cloned(),
        answer_own_urls: settings.answer_own_urls,
    };
    match &settings.repository {
        Repository::None => None,
        Repository::Demo { path } => Some(request(path.display().to_string(), DEMO_START, None)),
        Repository::Local { path, start, revision } => {
            Some(request(path.display().to_string(), start, revision.as_ref()))
        }
        Repository::Remote { url, start, revision } => Some(request(url.clone(), start, revision.as_ref())),
    }
}
