//! What an AppProject permits.

use client::resource::{APP_PROJECTS, APPLICATIONS, CONFIG_MAPS, SECRETS};
use gitops::Settings;
use serde_json::{Value, json};

use super::world::{URL, World, automated, config_map};

const HERE: &str = "https://kubernetes.default.svc";

fn spec(project: &str, path: &str, namespace: &str) -> Value {
    json!({
        "project": project,
        "source": {"repoURL": URL, "path": path, "targetRevision": "HEAD"},
        "destination": {"server": HERE, "namespace": namespace},
        "syncPolicy": automated(),
    })
}

/// A project that permits one repository and namespaces that begin with `shop`.
fn shop() -> Value {
    json!({
        "sourceRepos": [URL],
        "destinations": [{"server": HERE, "namespace": "shop*"}, {"server": HERE, "namespace": "!shop-secret"}],
        "clusterResourceWhitelist": [{"group": "", "kind": "Namespace"}],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_project_is_made_and_can_be_narrowed() {
    let map = config_map("one", "1");
    let (world, _repository) = World::with_files(&[("shop/one.yaml", &map)]).await;
    let running = world.start(Settings::default());
    world.application("shop", "shop", automated()).await;
    world.synced("shop").await;
    let there = |project: Option<&Value>| {
        project.is_some_and(|project| project["spec"]["sourceRepos"] == json!(["*"]))
    };
    world.object(&APP_PROJECTS, "argocd", "default", there).await;
    let narrow = json!({"spec": {"sourceRepos": ["https://git.example.org/other/*"]}});
    world.change(&APP_PROJECTS, "argocd", "default", narrow).await;
    let message = format!("application repo {URL} is not permitted in project 'default'");
    let application = world.condition("shop", "InvalidSpecError", &message).await;
    assert_eq!(application["status"]["sync"]["status"], "Unknown");
    assert_eq!(application["status"]["health"]["status"], "Unknown");
    world.change(&APP_PROJECTS, "argocd", "default", json!({"spec": {"sourceRepos": ["*"]}})).await;
    let application = world.synced("shop").await;
    assert!(application["status"]["conditions"].is_null());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_project_does_not_permit_is_an_invalid_spec() {
    let map = config_map("one", "1");
    let (world, _repository) = World::with_files(&[("shop/one.yaml", &map)]).await;
    let running = world.start(Settings::default());
    world.application_of("early", spec("shop", "shop", "shop")).await;
    world
        .condition("early", "InvalidSpecError", "Application referencing project shop which does not exist")
        .await;
    world.project("shop", shop()).await;
    world.synced("early").await;

    let mut other = spec("shop", "shop", "shop");
    other["source"]["repoURL"] = "https://git.example.org/other/repo".into();
    world.application_of("other", other).await;
    let message = "application repo https://git.example.org/other/repo is not permitted in project 'shop'";
    world.condition("other", "InvalidSpecError", message).await;

    world.application_of("secret", spec("shop", "shop", "shop-secret")).await;
    let message = "application destination server 'https://kubernetes.default.svc' and namespace 'shop-secret' do not match any of the allowed destinations in project 'shop'";
    world.condition("secret", "InvalidSpecError", message).await;
    assert!(world.find(&CONFIG_MAPS, "shop-secret", "one").await.is_none());

    world.project("signed", json!({"sourceRepos": ["*"], "signatureKeys": [{"keyID": "ABCD"}]})).await;
    world.application_of("signed", spec("signed", "shop", "shop")).await;
    world.condition("signed", "InvalidSpecError", "spec.signatureKeys is not supported").await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_with_an_object_that_is_not_permitted_applies_nothing() {
    let (one, two) = (config_map("one", "1"), config_map("two", "1"));
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: own}\n";
    let elsewhere = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: far, namespace: other}\n";
    let (world, repository) =
        World::with_files(&[("shop/one.yaml", &one), ("kinds/two.yaml", &two), ("kinds/own.yaml", secret)])
            .await;
    repository.write("places/far.yaml", elsewhere);
    repository.commit("places");
    let running = world.start(Settings::default());
    let mut project = shop();
    project["namespaceResourceBlacklist"] = json!([{"group": "", "kind": "Secret"}]);
    // What a denial leaves over is permitted, so there is none here.
    project["destinations"] = json!([{"server": HERE, "namespace": "shop*"}]);
    world.project("shop", project).await;
    world.application_of("fine", spec("shop", "shop", "shop")).await;
    world.synced("fine").await;
    for (name, reason) in [
        ("kinds", "resource :Secret is not permitted in project shop"),
        ("places", "namespace other is not permitted in project 'shop'"),
    ] {
        world.application_of(name, spec("shop", name, "shop")).await;
        let application = world
            .until(name, reason, |application| {
                let message = application["status"]["operationState"]["message"].as_str().unwrap_or_default();
                message.starts_with(&format!("one or more synchronization tasks are not valid: {reason}"))
            })
            .await;
        let results = application["status"]["operationState"]["syncResult"]["resources"].clone();
        assert_eq!(results.as_array().unwrap().len(), 1, "{results}");
        assert_eq!((&results[0]["status"], &results[0]["message"]), (&json!("SyncFailed"), &json!(reason)));
    }
    assert!(world.find(&CONFIG_MAPS, "shop", "two").await.is_none(), "nothing of it was applied");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_made_only_if_the_project_permits_namespaces() {
    let map = config_map("one", "1");
    let (world, _repository) = World::with_files(&[("shop/one.yaml", &map)]).await;
    let running = world.start(Settings::default());
    let mut project = shop();
    project["clusterResourceWhitelist"] = json!([]);
    world.project("shop", project).await;
    world.application_of("shop", spec("shop", "shop", "shop")).await;
    world
        .until("shop", "refused", |application| {
            let message = application["status"]["operationState"]["message"].as_str().unwrap_or_default();
            message.contains("resource :Namespace is not permitted in project shop")
        })
        .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_hold_syncs_back() {
    let map = config_map("one", "1");
    let (world, repository) = World::with_files(&[("shop/one.yaml", &map)]).await;
    let running = world.start(Settings::default());
    let mut project = shop();
    let closed = json!([{"kind": "deny", "schedule": "* * * * *", "duration": "1h", "applications": ["*"]}]);
    project["syncWindows"] = closed;
    world.project("shop", project).await;
    world.application_of("shop", spec("shop", "shop", "shop")).await;
    let application = world
        .until("shop", "compared", |application| application["status"]["sync"]["status"] == "OutOfSync")
        .await;
    assert!(application["status"]["operationState"].is_null(), "no automated sync: {application}");
    // A person's request waits as well.
    world.change(&APPLICATIONS, "argocd", "shop", json!({"operation": {"sync": {}}})).await;
    world
        .until("shop", "blocked", |application| {
            let state = &application["status"]["operationState"];
            state["phase"] == "Running" && state["message"] == "Sync operation blocked by sync window"
        })
        .await;
    assert!(world.find(&CONFIG_MAPS, "shop", "one").await.is_none());
    world.change(&APP_PROJECTS, "argocd", "shop", json!({"spec": {"syncWindows": null}})).await;
    world.synced("shop").await;
    world
        .until("shop", "the request was answered", |application| {
            application["operation"].is_null()
                && application["status"]["operationState"]["phase"] == "Succeeded"
        })
        .await;
    repository.write("shop/one.yaml", &config_map("one", "2"));
    repository.commit("two");
    world.object(&CONFIG_MAPS, "shop", "one", |map| map.is_some_and(|map| map["data"]["key"] == "2")).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cascade_deletes_only_what_the_project_permits() {
    let (one, two) = (config_map("one", "1"), "apiVersion: v1\nkind: Secret\nmetadata: {name: own}\n");
    let (world, _repository) = World::with_files(&[("shop/one.yaml", &one), ("shop/two.yaml", two)]).await;
    let running = world.start(Settings::default());
    world.project("shop", shop()).await;
    world.application_of("shop", spec("shop", "shop", "shop")).await;
    world.synced("shop").await;
    let deny = json!({"spec": {"namespaceResourceBlacklist": [{"group": "", "kind": "Secret"}]}});
    world.change(&APP_PROJECTS, "argocd", "shop", deny).await;
    let finalizer =
        json!({"metadata": {"finalizers": ["resources-finalizer.argocd.argoproj.io/background"]}});
    world.change(&APPLICATIONS, "argocd", "shop", finalizer).await;
    let key = client::Key::namespaced("argocd", "shop");
    world.api(&APPLICATIONS).delete(&key, &client::dynamic::DeleteOptions::default()).await.unwrap();
    world.object(&APPLICATIONS, "argocd", "shop", |object| object.is_none()).await;
    assert!(world.find(&CONFIG_MAPS, "shop", "one").await.is_none());
    assert!(world.find(&client::resource::SECRETS, "shop", "own").await.is_some(), "it is not the project's");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_exclude_kinds_and_ignore_fields() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {a: b}\n";
    let files = [("shop/one.yaml", config_map("one", "1")), ("shop/keys.yaml", secret.to_owned())];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let (world, _repository) = World::with_files(&files).await;
    let settings = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", "namespace": "argocd"},
    "data": {
        "resource.exclusions": "- apiGroups: ['']\n  kinds: [Secret]\n",
        "resource.customizations.ignoreDifferences.ConfigMap": "jsonPointers: [/data/key]\n",
    }});
    world.create(settings).await;
    let running = world.start(Settings::default());
    world.application("shop", "shop", automated()).await;
    let shop = world.synced("shop").await;
    world.condition("shop", "ExcludedResourceWarning", "/Secret is excluded in the settings").await;
    assert_eq!(shop["status"]["resources"].as_array().unwrap().len(), 1, "{shop}");
    assert!(world.find(&SECRETS, "shop", "keys").await.is_none());

    // Drift of an ignored field stays until the settings change; then the Secret comes too, and is kept when it is
    // excluded again.
    world.change(&CONFIG_MAPS, "shop", "one", json!({"data": {"key": "edited", "other": "x"}})).await;
    world.synced("shop").await;
    let live = world.find(&CONFIG_MAPS, "shop", "one").await.unwrap();
    assert_eq!(live["data"]["key"], "edited");
    let none = json!({"data": {"resource.exclusions": null,
        "resource.customizations.ignoreDifferences.ConfigMap": null}});
    world.change(&CONFIG_MAPS, "argocd", "argocd-cm", none).await;
    world.object(&CONFIG_MAPS, "shop", "one", |map| map.is_some_and(|map| map["data"]["key"] == "1")).await;
    world.object(&SECRETS, "shop", "keys", |secret| secret.is_some()).await;
    let again = json!({"data": {"resource.exclusions": "- kinds: [Secret]\n"}});
    world.change(&CONFIG_MAPS, "argocd", "argocd-cm", again).await;
    world.condition("shop", "ExcludedResourceWarning", "/Secret is excluded in the settings").await;
    let shop = world.synced("shop").await;
    assert_eq!(shop["status"]["resources"].as_array().unwrap().len(), 1, "{shop}");
    assert!(world.find(&SECRETS, "shop", "keys").await.is_some(), "it is nobody's to prune");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_in_lua_gates_waves_and_is_told() {
    let first = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: first, annotations: {argocd.argoproj.io/sync-wave: '-1'}}\n";
    let (world, _repository) =
        World::with_files(&[("shop/first.yaml", first), ("shop/one.yaml", &config_map("one", "1"))]).await;
    let check = r#"
        if obj.metadata.labels ~= nil and obj.metadata.labels.ready == "yes" then
          return {status = "Healthy"}
        end
        if obj.metadata.name == "one" then return {status = "Suspended", message = "rests"} end
        return {status = "Progressing", message = "not yet"}"#;
    let settings = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", "namespace": "argocd"},
        "data": {"resource.customizations.health.ConfigMap": check}});
    world.create(settings).await;
    let running = world.start(Settings::default());
    world.application("shop", "shop", automated()).await;
    let waiting = world
        .until("shop", "waits for the first wave", |application| {
            let message = application["status"]["operationState"]["message"].as_str().unwrap_or_default();
            message.contains("waiting for healthy state of /ConfigMap/first")
        })
        .await;
    assert_eq!(waiting["status"]["health"]["status"], "Progressing");
    assert!(world.find(&CONFIG_MAPS, "shop", "one").await.is_none());
    world.change(&CONFIG_MAPS, "shop", "first", json!({"metadata": {"labels": {"ready": "yes"}}})).await;
    world.synced("shop").await;
    world.until("shop", "Suspended", |shop| shop["status"]["health"]["status"] == "Suspended").await;

    // The settings change, nothing else does.
    let broken = json!({"data": {"resource.customizations.health.ConfigMap": "return obj.a.b"}});
    world.change(&CONFIG_MAPS, "argocd", "argocd-cm", broken).await;
    world.until("shop", "Unknown", |shop| shop["status"]["health"]["status"] == "Unknown").await;
    running.stop().await;
}
