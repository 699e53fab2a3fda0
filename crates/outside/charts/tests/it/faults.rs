//! Answers that break off: what arrived of them is reported, not used, and not kept.

use charts::{Charts, Error, Freshness, Pulled, Repository};
use test_kit::{FileFault, FileServer};

use crate::world::World;

const FAULTS: [FileFault; 3] = [FileFault::Short, FileFault::Chunked, FileFault::Unsaid];

/// A repository of these charts, all of the chart `web` but for `app`.
fn published(versions: &[&str]) -> (World, FileServer, Repository) {
    let world = World::new();
    world.chart("app", "1.0.0");
    for version in versions {
        world.chart("web", version);
    }
    world.index();
    let server = FileServer::start(&world.served());
    let repository = Repository::new(server.url());
    (world, server, repository)
}

async fn pull(charts: &Charts, repository: &Repository, version: &str) -> Result<Pulled, Error> {
    charts.pull(repository, "web", version, Freshness::Latest).await
}

/// The files of the cache that are of a kind.
fn kept(world: &World, kind: &str) -> usize {
    std::fs::read_dir(world.path("cache").join(kind)).map_or(0, |entries| entries.flatten().count())
}

#[tokio::test]
async fn an_archive_that_breaks_off_is_none() {
    for announced in [true, false] {
        for fault in FAULTS {
            let (world, server, repository) = published(&["1.0.0"]);
            if !announced {
                let index = std::fs::read_to_string(world.path("served/index.yaml")).unwrap();
                let lines = index.lines().filter(|line| !line.contains("digest:"));
                world.write("served/index.yaml", &lines.map(|line| format!("{line}\n")).collect::<String>());
            }
            let whole = std::fs::read(world.path("served/web-1.0.0.tgz")).unwrap();
            let charts = world.charts();
            server.break_off(".tgz", fault, whole.len() / 2);
            let error = pull(&charts, &repository, "1.0.0").await.unwrap_err();
            assert!(error.to_string().contains("web-1.0.0.tgz"), "{fault:?}, announced {announced}: {error}");
            assert_eq!((kept(&world, "archives"), kept(&world, "versions")), (0, 0), "{fault:?}: {error}");
            server.heal();
            assert_eq!(pull(&charts, &repository, "1.0.0").await.unwrap().archive, whole);
            // Another process finds the whole one.
            let found = world.charts().pull(&repository, "web", "1.0.0", Freshness::Recent).await.unwrap();
            assert_eq!(found.archive, whole);
        }
    }
}

/// What is half written on the server arrives whole.
#[tokio::test]
async fn an_archive_that_is_half_written_is_none() {
    let (world, _server, repository) = published(&["1.0.0"]);
    let place = world.path("served/web-1.0.0.tgz");
    let whole = std::fs::read(&place).unwrap();
    std::fs::write(&place, &whole[..whole.len() / 2]).unwrap();
    // An index that was made of it announces what it is.
    world.index();
    let charts = world.charts();
    let error = pull(&charts, &repository, "1.0.0").await.unwrap_err();
    assert!(
        matches!(error, Error::Digest { .. } | Error::Archive { .. } | Error::NotFound { .. }),
        "{error}"
    );
    assert_eq!((kept(&world, "archives"), kept(&world, "versions")), (0, 0));
    std::fs::write(&place, &whole).unwrap();
    world.index();
    assert_eq!(pull(&charts, &repository, "1.0.0").await.unwrap().archive, whole);
}

#[tokio::test]
async fn an_index_that_breaks_off_is_not_believed() {
    for fault in FAULTS {
        let (world, server, repository) = published(&["1.0.0", "1.1.0"]);
        let charts = world.charts();
        assert_eq!(pull(&charts, &repository, "1.x").await.unwrap().version, "1.1.0");
        world.chart("web", "1.2.0");
        world.index();
        // All of `app` is there, and of `web` the newest: it can still be read.
        let index = std::fs::read_to_string(world.path("served/index.yaml")).unwrap();
        let (end, _) = index.match_indices("    version: ").nth(1).unwrap();
        let end = end + index[end..].find('\n').unwrap() + 1;
        assert!(index[..end].contains("1.2.0") && !index[..end].contains("1.1.0"), "{index}");
        server.break_off("index.yaml", fault, end);
        for charts in [&charts, &world.charts()] {
            let error = pull(charts, &repository, "1.x").await.unwrap_err();
            assert!(matches!(error, Error::Index { .. } | Error::Unreachable { .. }), "{fault:?}: {error}");
            let error = pull(charts, &repository, "~1.0").await.unwrap_err();
            assert!(matches!(error, Error::Index { .. } | Error::Unreachable { .. }), "{fault:?}: {error}");
        }
        server.heal();
        for charts in [&charts, &world.charts()] {
            assert_eq!(pull(charts, &repository, "1.x").await.unwrap().version, "1.2.0");
            assert_eq!(pull(charts, &repository, "~1.0").await.unwrap().version, "1.0.0");
        }
    }
}

/// The first index of all may be believed; the whole one takes its place even if its server says that it is the same.
#[tokio::test]
async fn a_first_index_that_breaks_off_does_not_stay() {
    let (world, server, repository) = published(&["1.0.0", "1.1.0"]);
    let index = std::fs::read_to_string(world.path("served/index.yaml")).unwrap();
    let end = index.find("  web:").unwrap();
    server.break_off("index.yaml", FileFault::Unsaid, end);
    let charts = world.charts();
    let error = pull(&charts, &repository, "1.x").await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    server.heal();
    assert_eq!(pull(&charts, &repository, "1.x").await.unwrap().version, "1.1.0");
}

/// What a repository withdraws is gone, as far as it says that this is all.
#[tokio::test]
async fn what_is_withdrawn_is_gone() {
    let (world, _server, repository) = published(&["1.0.0", "1.1.0"]);
    let charts = world.charts();
    assert_eq!(pull(&charts, &repository, "1.x").await.unwrap().version, "1.1.0");
    std::fs::remove_file(world.path("served/web-1.1.0.tgz")).unwrap();
    world.index();
    assert_eq!(pull(&charts, &repository, "1.x").await.unwrap().version, "1.0.0");
}
