use std::sync::Arc;

use charts::{Error, Freshness, Mode, Public, Repository};
use test_kit::FileServer;

use crate::world::World;

const RECENT: Freshness = Freshness::Recent;

fn index(name: &str, version: &str, url: &str, digest: &str) -> String {
    format!(
        "apiVersion: v1\nentries:\n  web:\n  - name: {name:?}\n    version: {version:?}\n    urls: [{url:?}]\n    digest: {digest:?}\n"
    )
}

#[tokio::test]
async fn an_archive_must_be_what_was_announced() {
    let world = World::new();
    let archive = world.chart("web", "1.0.0");
    world.index();
    std::fs::write(archive, b"\x1f\x8bsomething else").unwrap();
    let server = FileServer::start(&world.served());
    let error = world.charts().pull(&Repository::new(server.url()), "web", "", RECENT).await.unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");

    world.write("served/index.yaml", &index("web", "1.0.0", "web-1.0.0.tgz", "../../etc/passwd"));
    let error =
        world.charts().pull(&Repository::new(server.url()), "web", "", Freshness::Latest).await.unwrap_err();
    assert!(error.to_string().contains("invalid digest"), "{error}");
}

/// CVE-2024-25620, CVE-2022-36055: names and versions of an index are no paths, and broken entries break nothing.
#[tokio::test]
async fn names_that_lead_elsewhere_are_refused() {
    let world = World::new();
    world.chart("web", "1.0.0");
    let server = FileServer::start(&world.served());
    let repository = Repository::new(server.url());
    for (name, version) in [("../web", "1.0.0"), ("web", "../../1.0.0"), ("", "1.0.0"), ("..", "1.0.0")] {
        world.write("served/index.yaml", &index(name, version, "web-1.0.0.tgz", ""));
        let charts = charts::Charts::new(charts::Config { cache_dir: world.path("other"), ..world.config() });
        let error = charts.pull(&repository, "web", "", Freshness::Latest).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{name} {version}: {error}");
    }
    for name in ["../web", "/etc/cron.d/x", "..", "a/b", ""] {
        let error = world.charts().pull(&repository, name, "1.0.0", RECENT).await.unwrap_err();
        assert!(matches!(error, Error::Name { .. }), "{name}: {error}");
    }
    for url in ["file:///etc/passwd", "ftp://127.0.0.1/x", "javascript:1"] {
        world.write("served/index.yaml", &index("web", "1.0.0", url, ""));
        let error = world.charts().pull(&repository, "web", "*", Freshness::Latest).await.unwrap_err();
        assert!(matches!(error, Error::Url { .. }), "{url}: {error}");
    }
    world.write("served/index.yaml", "apiVersion: v1\nentries:\n  web: [null, {}, 1, [x]]\n  other: 1\n");
    let error = world.charts().pull(&repository, "web", "*", Freshness::Latest).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let everything: Vec<_> = std::fs::read_dir(world.directory.path()).unwrap().flatten().collect();
    let names: Vec<_> = everything.iter().map(|entry| entry.file_name()).collect();
    assert!(everything.len() <= 5, "nothing was written beside the caches: {names:?}");
}

#[tokio::test]
async fn sizes_are_limited() {
    let world = World::new();
    world.chart("web", "1.0.0");
    world.index();
    let server = FileServer::start(&world.served());
    let repository = Repository::new(server.url());
    let mut config = world.config();
    config.limits.index = 10;
    let error = charts::Charts::new(config).pull(&repository, "web", "", RECENT).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 10, .. }), "{error}");
    let mut config = world.config();
    config.limits.archive = 10;
    let error = charts::Charts::new(config).pull(&repository, "web", "", RECENT).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 10, .. }), "{error}");
    world.write("served/web-1.0.0.tgz", "<html>Sign in</html>");
    world.write("served/index.yaml", &index("web", "1.0.0", "web-1.0.0.tgz", ""));
    let error = world.charts().pull(&repository, "web", "", Freshness::Latest).await.unwrap_err();
    assert!(matches!(error, Error::Archive { .. }), "{error}");
}

/// CVE-2025-53547: Helm wrote through a `Chart.lock` that was a symbolic link. Nothing is written here, whatever it is,
/// and dependencies cannot name what lies outside the tree.
#[tokio::test]
async fn dependencies_cannot_lead_elsewhere() {
    let world = World::new();
    world.chart("web", "1.0.0");
    world.index();
    let server = FileServer::start(&world.served());
    let outside = world.path("helm/target");
    std::fs::write(&outside, "untouched").unwrap();
    let dependency = |name: &str, repository: &str| {
        format!("dependencies:\n- name: {name:?}\n  version: 1.0.0\n  repository: {repository:?}\n")
    };
    world.source("umbrella", "0.1.0", &dependency("web", &server.url()));
    std::os::unix::fs::symlink(&outside, world.path("sources/umbrella/Chart.lock")).unwrap();
    let build = |mode| {
        let charts = world.charts();
        let tree = world.tree();
        async move { charts.build(tree, "sources/umbrella", &Public, mode, RECENT).await }
    };
    build(Mode::Build).await.unwrap_err();
    build(Mode::Update).await.unwrap();
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "untouched");
    assert!(!world.path("sources/umbrella/charts").exists());
    std::fs::remove_file(world.path("sources/umbrella/Chart.lock")).unwrap();

    for (name, repository) in [
        ("../../web", server.url()),
        ("web/..", server.url()),
        ("web", "file://../../../../../etc".to_owned()),
        ("web", "file:///etc".to_owned()),
    ] {
        world.source("umbrella", "0.1.0", &dependency(name, &repository));
        let error = build(Mode::Build).await.unwrap_err().to_string();
        let expected = ["is not allowed", "outside the repository", "absolute path"];
        assert!(expected.iter().any(|text| error.contains(text)), "{name} {repository}: {error}");
    }
    // The names of a lock file are no better than a chart's.
    let memory: tree::MemoryTree = [
        ("c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n"),
        (
            "c/Chart.lock",
            "digest: x\ndependencies: [{name: ../../x, version: 1.0.0, repository: https://e.org}]\n",
        ),
    ]
    .into_iter()
    .map(|(path, text)| (tree::TreePath::parse(path).unwrap(), text.into()))
    .collect();
    let error = world.charts().build(Arc::new(memory), "c", &Public, Mode::Build, RECENT).await.unwrap_err();
    assert!(error.to_string().contains("out of sync"), "{error}");
}
