//! `mainstay install` and `mainstay uninstall`: printed by default, because what is put on somebody's cluster is read
//! before it is applied, reviewed, and often kept in Git; `--apply` does it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use client::conditions;
use client::dynamic::{DeleteOptions, ListOptions};
use client::{Api, Key, ResourceType, resource, wait};
use install::{NAME, PART_OF, Parts, Rules, Settings};
use objects::{GroupVersionKind, Value, meta};
use serde_json::json;
use sync::takeover::{self, Stage};

use crate::cli::{self, ManifestFormat, Scope};
use crate::environment::Environment;
use crate::remote::output::say;
use crate::remote::{Remote, confirm};

/// Who owns the fields of what is applied.
const MANAGER: &str = "mainstay-install";
/// Marks definitions that an installation brought.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// How long a definition may take to be served.
const SERVED: Duration = Duration::from_secs(30);

/// What the crates of the controllers say that they need.
pub(crate) fn parts(with_rollouts: bool) -> Parts {
    let permissions = gitops::permissions();
    let mut definitions = gitops::definitions();
    if with_rollouts {
        definitions.extend(rollouts::definitions());
    }
    let rollouts =
        rollouts::rules().into_iter().flat_map(|(_, rules)| rules.as_array().cloned().unwrap_or_default());
    Parts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        definitions,
        rules: Rules {
            applications: permissions.applications,
            cluster: permissions.cluster,
            argo_cd: permissions.argo_cd,
            rollouts: rollouts.collect(),
            deploy: permissions.deploy,
            deploy_namespaced: permissions.deploy_namespaced,
        },
    }
}

fn settings(typed: &cli::Install) -> Result<Settings> {
    let namespaces = match &typed.scope {
        Scope::Cluster => Vec::new(),
        Scope::Namespaces(names) => names.clone(),
    };
    if typed.rollouts && !namespaces.is_empty() {
        bail!(
            "--rollouts and --scope namespaces=… exclude each other: Rollouts are followed in the whole cluster"
        );
    }
    Ok(Settings {
        namespace: typed.namespace.clone(),
        image: typed.image.clone().unwrap_or_default(),
        image_pull_secrets: typed.pull_secrets.clone(),
        replicas: typed.replicas,
        applications_namespace: typed.connect.argocd_namespace.clone(),
        namespaces,
        deploy_role: typed.deploy_role.clone().unwrap_or_default(),
        rollouts: typed.rollouts,
        webhooks: !typed.no_webhooks,
        log: typed.log.clone(),
        network_policy: !typed.no_network_policy,
        ..Settings::default()
    })
}

pub(crate) async fn install(typed: &cli::Install, environment: &Environment) -> Result<ExitCode> {
    let (parts, settings) = (parts(typed.rollouts), settings(typed)?);
    if let Some(directory) = &typed.chart {
        write_chart(directory, &install::chart(&parts, &settings))?;
        eprintln!(
            "mainstay: wrote a chart; helm install {NAME} {} --namespace {} --create-namespace{}",
            directory.display(),
            settings.namespace,
            if settings.image.is_empty() { " --set image=IMAGE" } else { "" }
        );
        return Ok(ExitCode::SUCCESS);
    }
    let manifests = install::manifests(&parts, &settings);
    if typed.apply {
        apply(&Remote::connect(&typed.connect, environment).await?, &manifests).await?;
    } else {
        say(&text(&manifests, typed.output)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(objects: &[Value], format: ManifestFormat) -> Result<String> {
    Ok(match format {
        ManifestFormat::Yaml => {
            objects.iter().map(|object| format!("---\n{}", yaml::to_string(object))).collect()
        }
        ManifestFormat::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
            format!("{}\n", serde_json::to_string_pretty(&list).context("write JSON")?)
        }
    })
}

/// A chart that is there already may have been changed by hand.
fn write_chart(directory: &Path, files: &BTreeMap<String, String>) -> Result<()> {
    if directory.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty; name a new directory", directory.display());
    }
    for (path, text) in files {
        let path = directory.join(path);
        let parent = path.parent().context("a file of the chart has a directory")?;
        std::fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

async fn apply(remote: &Remote, manifests: &[Value]) -> Result<()> {
    for manifest in manifests {
        let named = format!("{} {}", meta::kind(manifest), Key::of(manifest));
        let said = match meta::kind(manifest) {
            "Namespace" => make_namespace(remote, manifest).await,
            "CustomResourceDefinition" => define(remote, manifest).await,
            _ => replace(remote, manifest).await,
        };
        eprintln!("{named} {}", said.with_context(|| format!("apply {named}"))?);
    }
    prune(remote, manifests).await?;
    match gitops::argo_cd(&remote.client, None).await {
        Ok(found) => {
            for argo_cd in found {
                eprintln!(
                    "mainstay: there is an Argo CD ({argo_cd}): its Applications stay its own until `mainstay takeover take NAME`"
                );
            }
        }
        Err(error) => eprintln!("mainstay: whether there is an Argo CD cannot be told: {}", error.message()),
    }
    Ok(())
}

async fn replace(remote: &Remote, manifest: &Value) -> Result<&'static str> {
    let api = remote.api(&remote.resources.resolve_object(manifest).await?);
    // Whom a binding binds to cannot be changed.
    if manifest["roleRef"].is_object()
        && let Some(there) = api.find(&Key::of(manifest)).await?
        && there["roleRef"] != manifest["roleRef"]
    {
        delete(remote, &there).await?;
    }
    api.apply(manifest, MANAGER, true).await?;
    Ok("applied")
}

/// Deletes what an earlier installation had and this one has not: a role that was narrowed must not stay as wide as it was.
async fn prune(remote: &Remote, manifests: &[Value]) -> Result<()> {
    let wanted: BTreeSet<(&str, Key)> =
        manifests.iter().map(|manifest| (meta::kind(manifest), Key::of(manifest))).collect();
    for object in installed(remote).await? {
        if wanted.contains(&(meta::kind(&object), Key::of(&object))) {
            continue;
        }
        delete(remote, &object).await?;
    }
    Ok(())
}

/// A namespace that is there is somebody's, and stays as it is.
async fn make_namespace(remote: &Remote, manifest: &Value) -> Result<&'static str> {
    let api = remote.api(&resource::NAMESPACES);
    if api.find(&Key::of(manifest)).await?.is_some() {
        return Ok("is there");
    }
    api.apply(manifest, MANAGER, true).await?;
    Ok("created")
}

/// A definition that somebody else brought stays as it is: Argo CD's says more than ours.
async fn define(remote: &Remote, manifest: &Value) -> Result<&'static str> {
    let api = remote.api(&resource::CUSTOM_RESOURCE_DEFINITIONS);
    let key = Key::of(manifest);
    let there = api.find(&key).await?;
    if there.is_some_and(|there| meta::label(&there, MANAGED_BY) != Some(NAME)) {
        return Ok("is another's, and stays as it is");
    }
    api.apply(manifest, MANAGER, true).await?;
    let served = |object: &Value| conditions::is_true(&object["status"], "Established");
    let kind = &resource::CUSTOM_RESOURCE_DEFINITIONS;
    wait::present(&remote.client, kind, &key, "its being served", SERVED, served).await?;
    remote.resources.invalidate();
    Ok("applied")
}

/// The kinds of an installation, in the order in which they go: first what works, last what it worked in.
const KINDS: [(&str, &str, &str); 9] = [
    ("apps", "v1", "Deployment"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("", "v1", "Service"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole"),
    ("rbac.authorization.k8s.io", "v1", "Role"),
    ("", "v1", "ServiceAccount"),
];

pub(crate) async fn uninstall(typed: &cli::Uninstall, environment: &Environment) -> Result<ExitCode> {
    let remote = Remote::connect(&typed.connect, environment).await?;
    refuse_taken(&remote).await?;
    let mut all = installed(&remote).await?;
    all.extend(labelled(&remote, &resource::NAMESPACES, &format!("{PART_OF}={NAME}")).await?);
    if typed.with_definitions {
        refuse_cascading(&remote).await?;
        let kind = &resource::CUSTOM_RESOURCE_DEFINITIONS;
        all.extend(labelled(&remote, kind, &format!("{MANAGED_BY}={NAME}")).await?);
    }
    if all.is_empty() {
        eprintln!("mainstay: nothing is installed");
        return Ok(ExitCode::SUCCESS);
    }
    if !typed.apply {
        let names: Vec<Value> = all.iter().map(named).collect();
        say(&text(&names, ManifestFormat::Yaml)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let question = format!("Delete {} objects of the installation?", all.len());
    if !confirm(&question, typed.yes)? {
        return Ok(ExitCode::from(crate::remote::NO));
    }
    for object in &all {
        delete(&remote, object).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is installed, but for namespaces and definitions, in the order in which it goes.
async fn installed(remote: &Remote) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for (group, version, kind) in KINDS {
        let resource = remote.resources.resolve(&GroupVersionKind::new(group, version, kind)).await?;
        all.extend(labelled(remote, &resource, &format!("{PART_OF}={NAME}")).await?);
    }
    Ok(all)
}

async fn delete(remote: &Remote, object: &Value) -> Result<()> {
    let resource = remote.resources.resolve_object(object).await?;
    let options = DeleteOptions::background().only(meta::uid(object));
    let named = format!("{} {}", meta::kind(object), Key::of(object));
    let deleted = remote.api(&resource).delete_if_exists(&Key::of(object), &options).await;
    deleted.with_context(|| format!("delete {named}"))?;
    eprintln!("{named} deleted");
    Ok(())
}

async fn labelled(remote: &Remote, resource: &ResourceType, labels: &str) -> Result<Vec<Value>> {
    Ok(remote.api(resource).list_all(None, &ListOptions::labels(labels)).await?.items)
}

/// What `kubectl delete -f -` needs of an object.
fn named(object: &Value) -> Value {
    let mut metadata = json!({"name": meta::name(object)});
    if let Some(namespace) = meta::namespace(object) {
        metadata["namespace"] = namespace.into();
    }
    json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": metadata})
}

/// Taken Applications would be nobody's.
async fn refuse_taken(remote: &Remote) -> Result<()> {
    let taken = applications(remote).await?;
    let taken: Vec<String> = taken
        .iter()
        .filter(|application| takeover::stage(application) != Stage::Untaken)
        .map(|application| Key::of(application).to_string())
        .collect();
    if !taken.is_empty() {
        bail!(
            "taken from Argo CD, and nobody's afterwards: {}; give them back first: mainstay takeover return --all",
            taken.join(", ")
        );
    }
    Ok(())
}

/// Applications that delete what they deployed would wait for ever for a controller that does it.
async fn refuse_cascading(remote: &Remote) -> Result<()> {
    let all = applications(remote).await?;
    let cascading: Vec<String> = all
        .iter()
        .filter(|application| meta::finalizers(application).next().is_some())
        .map(|application| Key::of(application).to_string())
        .collect();
    if !cascading.is_empty() {
        bail!(
            "their finalizers wait for a controller: {}; delete them first (mainstay app delete NAME), or take their finalizers off",
            cascading.join(", ")
        );
    }
    Ok(())
}

async fn applications(remote: &Remote) -> Result<Vec<Value>> {
    match Api::new(&remote.client, &resource::APPLICATIONS).list_all(None, &ListOptions::all()).await {
        Ok(list) => Ok(list.items),
        // The kind is not defined: there are none.
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read_again() {
        let settings = Settings { image: "a:1".to_owned(), ..Settings::default() };
        let manifests = install::manifests(&parts(true), &settings);
        let printed = text(&manifests, ManifestFormat::Yaml).unwrap();
        assert_eq!(yaml::documents(&printed).unwrap(), manifests);
        let list: Value = serde_json::from_str(&text(&manifests, ManifestFormat::Json).unwrap()).unwrap();
        assert_eq!(list["items"].as_array().unwrap(), &manifests);
    }

    #[test]
    fn a_chart_is_not_written_over_another() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("chart");
        let files = install::chart(&parts(false), &Settings::default());
        write_chart(&place, &files).unwrap();
        assert!(place.join("templates/deployment.yaml").is_file());
        assert!(write_chart(&place, &files).unwrap_err().to_string().contains("not empty"));
    }
}
