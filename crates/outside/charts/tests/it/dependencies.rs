use charts::{Built, Error, Freshness, Lookup, Mode, Public, Repository};
use test_kit::{FileServer, ImageRegistry};

use crate::world::{World, rendered};

const RECENT: Freshness = Freshness::Recent;

async fn build(world: &World, path: &str, mode: Mode) -> Result<Built, Error> {
    world.charts().build(world.tree(), path, &Public, mode, RECENT).await
}

/// What `helm template` prints once `helm dependency build` was there.
fn of_helm(world: &World, path: &str) -> String {
    world.helm(&["template", "release-name", path, "--kube-version", "1.34.0"])
}

fn of_ours(built: Built) -> String {
    let chart = helm::Chart::from_files(built.files).unwrap();
    assert_eq!(chart.missing_dependencies(), [""; 0]);
    rendered(&chart)
}

/// Ranges from a repository, a chart beside, one of a registry, and an alias of a repository already there.
fn umbrella(world: &World, repository: &str, registry: &str) -> String {
    let dependencies = format!(
        "dependencies:\n\
         - {{name: web, version: ^1.0, repository: {repository:?}, condition: web.enabled, tags: [a, \"<b>\"], import-values: [data, {{child: a, parent: b}}]}}\n\
         - {{name: db, version: \">=0.1.0-0 <1\", repository: {repository:?}, alias: store}}\n\
         - {{name: library, version: 0.1.x, repository: \"file://../library\"}}\n\
         - {{name: queue, version: 2.x, repository: {registry:?}}}\n"
    );
    world.source("umbrella", "0.1.0", &dependencies);
    dependencies
}

fn repository(world: &World) -> FileServer {
    for (name, version) in [("web", "1.0.0"), ("web", "1.2.0"), ("web", "2.0.0"), ("db", "0.1.0-rc.1")] {
        world.chart(name, version);
    }
    world.index();
    world.source("library", "0.1.5", "");
    FileServer::start(&world.served())
}

fn push_queue(world: &World) -> (ImageRegistry, String) {
    let registry = ImageRegistry::start();
    let url = format!("oci://{}/team", registry.url().trim_start_matches("http://"));
    world.source("queue", "2.1.0", "");
    world.helm(&["package", "sources/queue", "--destination", "helm"]);
    world.helm(&["push", "helm/queue-2.1.0.tgz", &url, "--plain-http"]);
    (registry, url)
}

#[tokio::test]
async fn builds_what_helm_builds() {
    let world = World::new();
    let server = repository(&world);
    let (_registry, registry) = push_queue(&world);
    umbrella(&world, &server.url(), &registry);

    // Without a lock file, as an update.
    let ours = of_ours(build(&world, "sources/umbrella", Mode::Build).await.unwrap());
    world.helm(&["dependency", "build", "sources/umbrella", "--plain-http"]);
    let theirs = of_helm(&world, "sources/umbrella");
    assert_eq!(ours, theirs);
    assert!(ours.contains("version: \"1.2.0\"") && ours.contains("name: store"), "{ours}");

    // Helm has written its lock file now; newer versions do not count any more.
    world.chart("web", "1.9.0");
    world.index();
    std::fs::remove_dir_all(world.path("sources/umbrella/charts")).unwrap();
    let locked = of_ours(build(&world, "sources/umbrella", Mode::Build).await.unwrap());
    assert_eq!(locked, theirs);
    let updated =
        of_ours(build(&world, "sources/umbrella", Mode::Update).await.unwrap_or_else(|e| panic!("{e}")));
    assert!(!updated.contains("1.9.0"), "the index is young");

    // A lock file of other dependencies.
    world.write("sources/umbrella/Chart.yaml", "apiVersion: v2\nname: umbrella\nversion: 0.1.0\ndependencies: [{name: web, version: ~1.0, repository: \"https://e.org\"}]\n");
    let theirs = world.helm_refuses(&["dependency", "build", "sources/umbrella"]);
    let ours = build(&world, "sources/umbrella", Mode::Build).await.unwrap_err().to_string();
    assert_eq!(ours, theirs);
}

/// The lock file of a chart of the first version, and an archive of an older version under `charts/`.
#[tokio::test]
async fn old_charts_and_old_archives() {
    let world = World::new();
    let server = repository(&world);
    let directory = "sources/old";
    world.source("old", "0.1.0", "");
    world.write("sources/old/Chart.yaml", "apiVersion: v1\nname: old\nversion: 0.1.0\n");
    let requirements =
        format!("dependencies:\n- name: web\n  version: 1.x\n  repository: {}\n", server.url());
    world.write("sources/old/requirements.yaml", &requirements);
    world.helm(&["dependency", "update", directory]);
    let theirs = of_helm(&world, directory);
    std::fs::remove_dir_all(world.path("sources/old/charts")).unwrap();
    std::fs::create_dir(world.path("sources/old/charts")).unwrap();
    std::fs::copy(world.served().join("web-2.0.0.tgz"), world.path("sources/old/charts/web-2.0.0.tgz"))
        .unwrap();
    assert_eq!(of_ours(build(&world, directory, Mode::Build).await.unwrap()), theirs);
}

#[tokio::test]
async fn refusals_say_what_is_wrong() {
    let world = World::new();
    let server = repository(&world);
    let url = server.url();
    let other = "https://charts.invalid".to_owned();
    for (name, version, repository, expected) in [
        ("web", "9.x", url.as_str(), "can't get a valid version for 1 subchart(s): \"web\""),
        (
            "web",
            "not one",
            &url,
            "dependency \"web\" has an invalid version/constraint format: improper constraint",
        ),
        ("absent", "1.0.0", &url, "could not download dependency \"absent\": chart \"absent\" not found"),
        ("library", "9.x", "file://../library", "can't get a valid version"),
        ("library", "0.x", "file://../nowhere", "directory sources/nowhere not found"),
        ("web", "1.x", "@nobody", "no repository definition for @nobody"),
        ("web", "1.x", "", "names no repository and is not in the charts/ directory"),
        ("web", "1.x", &other, "https://charts.invalid is unreachable: "),
    ] {
        let dependency =
            format!("dependencies: [{{name: {name}, version: {version:?}, repository: {repository:?}}}]\n");
        world.source("umbrella", "0.1.0", &dependency);
        let error = build(&world, "sources/umbrella", Mode::Build).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{dependency}: {error}");
    }
}

struct Named(String);

impl Lookup for Named {
    fn by_url(&self, url: &str) -> Repository {
        Repository::new(url)
    }

    fn by_name(&self, name: &str) -> Option<Repository> {
        (name == "team").then(|| Repository::new(&self.0))
    }
}

#[tokio::test]
async fn aliases_are_looked_up() {
    let world = World::new();
    let server = repository(&world);
    world.helm(&["repo", "add", "team", &server.url()]);
    for repository in ["@team", "alias:team"] {
        let dependency = format!("dependencies: [{{name: web, version: 1.x, repository: {repository:?}}}]\n");
        world.source("umbrella", "0.1.0", &dependency);
        world.helm(&["dependency", "update", "sources/umbrella"]);
        let theirs = of_helm(&world, "sources/umbrella");
        std::fs::remove_dir_all(world.path("sources/umbrella/charts")).unwrap();
        let charts = world.charts();
        let lookup = Named(server.url());
        let built =
            charts.build(world.tree(), "sources/umbrella", &lookup, Mode::Build, RECENT).await.unwrap();
        assert_eq!(of_ours(built), theirs);
    }
}
