use std::time::Duration;

use base64::Engine as _;
use charts::{Charts, Config, Error, Freshness, Repository};
use test_kit::{FileServer, Serving, free_port};

use crate::world::World;

const RECENT: Freshness = Freshness::Recent;

fn basic(name: &str, password: &str) -> String {
    let secret = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    format!("Basic {secret}")
}

/// What `helm pull` gets, we get, byte for byte, whatever the version's form.
#[tokio::test]
async fn pulls_what_helm_pulls() {
    let world = World::new();
    for version in ["1.2.3", "1.10.0", "2.0.0-rc.1", "0.3.1", "1.10.0+build.5"] {
        world.chart("web", version);
    }
    world.index();
    let server = FileServer::start(&world.served());
    let (charts, repository) = (world.charts(), Repository::new(server.url()));
    for (at, version) in [
        "",
        "*",
        "1.x",
        "~1.2",
        "^0.3",
        "1.2 - 1.9",
        ">0.0.0-0",
        "2.0.0-rc.1",
        "v1.2.3",
        "1.10.0+build.5",
        ">=1, <1.5",
    ]
    .into_iter()
    .enumerate()
    {
        let directory = format!("pulled-{at}");
        let mut arguments = vec!["pull", "web", "--repo", &repository.url, "--destination", &directory];
        if !version.is_empty() {
            arguments.extend(["--version", version]);
        }
        std::fs::create_dir(world.path(&directory)).unwrap();
        world.helm(&arguments);
        let file = std::fs::read_dir(world.path(&directory)).unwrap().next().unwrap().unwrap();
        let ours = charts.pull(&repository, "web", version, RECENT).await.unwrap();
        assert_eq!(format!("web-{}.tgz", ours.version), file.file_name().to_str().unwrap(), "{version:?}");
        assert_eq!(ours.archive, std::fs::read(file.path()).unwrap(), "{version:?}");
    }
    for (chart, version) in [("web", "9.x"), ("other", "1.0.0"), ("web", "7.7.7")] {
        let theirs = world.helm_refuses(&["pull", chart, "--repo", &repository.url, "--version", version]);
        let ours = charts.pull(&repository, chart, version, RECENT).await.unwrap_err();
        assert!(matches!(ours, Error::NotFound { .. }), "{ours}");
        if chart == "web" {
            assert_eq!(ours.to_string(), theirs);
        }
    }
    let error = charts.pull(&repository, "web", "not a version", RECENT).await.unwrap_err();
    assert!(matches!(error, Error::Version { .. }), "{error}");
}

/// An index is read once for many, asked for again with its ETag, and a version that was fetched needs nobody.
#[tokio::test]
async fn what_is_here_is_not_fetched_again() {
    let world = World::new();
    world.chart("web", "1.0.0");
    world.index();
    let server = FileServer::start(&world.served());
    let repository = Repository::new(server.url());
    let charts = world.charts();
    let many = (0..20).map(|_| charts.pull(&repository, "web", "*", RECENT));
    for pulled in futures::future::join_all(many).await {
        assert_eq!(pulled.unwrap().version, "1.0.0");
    }
    assert_eq!(server.seen().len(), 2, "{:?}", server.seen());

    // Another process with the same cache: the index is young enough, the archive is known by its digest.
    let other = world.charts();
    other.pull(&repository, "web", "*", RECENT).await.unwrap();
    assert_eq!(server.seen().len(), 2);
    other.pull(&repository, "web", "*", Freshness::Latest).await.unwrap();
    assert_eq!((server.seen().len(), server.count("/index.yaml", 304)), (3, 1));

    // Something new is found although the index was young.
    charts.pull(&repository, "web", "1.0.0", RECENT).await.unwrap();
    world.chart("web", "1.1.0");
    world.index();
    assert_eq!(charts.pull(&repository, "web", "1.1.0", RECENT).await.unwrap().version, "1.1.0");

    // What is left out of a version may be filled in otherwise later.
    assert_eq!(charts.pull(&repository, "web", "1.0", RECENT).await.unwrap().version, "1.0.0");
    world.chart("web", "1.0.7");
    world.index();
    assert_eq!(charts.pull(&repository, "web", "1.0", Freshness::Latest).await.unwrap().version, "1.0.7");
    assert_eq!(charts.pull(&repository, "web", "1.0", RECENT).await.unwrap().version, "1.0.7");

    // And without the server what is known stays.
    drop(server);
    let third = world.charts();
    assert_eq!(third.pull(&repository, "web", "1.0.0", RECENT).await.unwrap().version, "1.0.0");
    assert!(third.pull(&repository, "web", "1.0.0", Freshness::Latest).await.is_err());
}

#[tokio::test]
async fn json_indexes_and_relative_urls_work() {
    let world = World::new();
    world.chart("web", "1.0.0");
    std::fs::create_dir_all(world.served().join("team/archives")).unwrap();
    std::fs::rename(world.served().join("web-1.0.0.tgz"), world.served().join("team/archives/web.tgz"))
        .unwrap();
    let entry = r#"{"apiVersion": "v1", "entries": {"web": [{"name": "web", "version": "1.0.0", "urls": ["../archives/web.tgz"]}]}}"#;
    world.write("served/team/charts/index.json", entry);
    let server = FileServer::start(&world.served());
    let repository = Repository::new(format!("{}/team/charts/", server.url()));
    let pulled = world.charts().pull(&repository, "web", "", RECENT).await.unwrap();
    assert_eq!(pulled.version, "1.0.0");
    assert_eq!(server.count("/team/charts/index.yaml", 404), 1);
    assert!(helm::load_archive(&pulled.archive).is_ok());
}

/// Credentials go to the repository's own host; to others only with `pass_credentials`, and never with a redirect.
#[tokio::test]
async fn credentials_stay_at_home() {
    let world = World::new();
    world.chart("web", "1.0.0");
    let elsewhere = FileServer::start(&world.served());
    world.helm(&["repo", "index", "served", "--url", &elsewhere.url()]);
    let serving = || Serving { authorization: Some(basic("alice", "sesame")), ..Serving::default() };
    let home = FileServer::serving(&world.served(), serving());
    let repository = Repository {
        username: "alice".to_owned(),
        password: "sesame".to_owned(),
        ..Repository::new(home.url())
    };
    world.charts().pull(&repository, "web", "1.0.0", RECENT).await.unwrap();
    assert_eq!(elsewhere.seen().last().unwrap().authorization, None);

    let passing = Repository { pass_credentials: true, ..repository.clone() };
    Charts::new(charts::Config { cache_dir: world.path("passing"), ..world.config() })
        .pull(&passing, "web", "1.0.0", RECENT)
        .await
        .unwrap();
    assert_eq!(elsewhere.seen().last().unwrap().authorization, Some(basic("alice", "sesame")));

    let redirecting = FileServer::serving(
        &world.served(),
        Serving { redirect: Some(elsewhere.url()), ..Serving::default() },
    );
    let redirected = Repository { url: redirecting.url(), ..passing };
    world.charts().pull(&redirected, "web", "1.0.0", RECENT).await.unwrap();
    assert!(redirecting.seen()[0].authorization.is_some());
    assert_eq!(elsewhere.seen().last().unwrap().authorization, None);

    // What one may read is not given to another from the cache.
    let stranger = Repository::new(home.url());
    let error = world.charts().pull(&stranger, "web", "1.0.0", RECENT).await.unwrap_err().to_string();
    assert!(error.contains("401 Unauthorized"), "{error}");
}

#[tokio::test]
async fn values_are_fetched_too() {
    let world = World::new();
    world.write("served/values.yaml", "key: fetched\n");
    let server = FileServer::start(&world.served());
    let charts = world.charts();
    let url = format!("{}/values.yaml", server.url());
    for _ in 0..3 {
        assert_eq!(charts.values(&url, RECENT).await.unwrap(), "key: fetched\n");
    }
    assert_eq!(server.seen().len(), 1);
    let absent = charts.values(&format!("{}/absent.yaml", server.url()), RECENT).await.unwrap_err();
    assert!(absent.to_string().contains("absent.yaml : 404 Not Found"), "{absent}");
    assert!(matches!(charts.values("file:///etc/passwd", RECENT).await, Err(Error::Url { .. })));
    assert!(matches!(charts.values("oci://host/values", RECENT).await, Err(Error::Url { .. })));
}

#[tokio::test]
async fn failures_name_the_repository_and_the_cause() {
    let world = World::new();
    let charts = world.charts();
    let url = format!("http://127.0.0.1:{}/charts", free_port());
    let repository =
        Repository { username: "alice".to_owned(), password: "sesame".to_owned(), ..Repository::new(&url) };
    let error = charts.pull(&repository, "web", "*", RECENT).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("{url} is unreachable: ")) && !text.contains("sesame"), "{text}");

    // A host that takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let began = std::time::Instant::now();
    let error = charts.pull(&Repository::new(&url), "web", "*", RECENT).await.unwrap_err().to_string();
    assert!(error.contains("does not answer in time"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(20));

    let server = FileServer::start(&world.served());
    let error = charts.pull(&Repository::new(server.url()), "web", "*", RECENT).await.unwrap_err();
    assert!(error.to_string().contains("404 Not Found"), "{error}");
    let asked = server.seen().len();
    charts.pull(&Repository::new(server.url()), "web", "*", RECENT).await.unwrap_err();
    assert_eq!(server.seen().len(), asked, "a failure is remembered");
}

#[tokio::test]
async fn mirrors_answer_for_a_host_and_get_no_secret() {
    let world = World::new();
    world.chart("web", "1.2.3");
    world.index();
    let (mirror, empty) = (FileServer::start(world.directory.path()), tempfile::tempdir().unwrap());
    let nothing = FileServer::start(empty.path());
    let mut config = Config::new(world.path("cache-of-mirrors"));
    let places = vec![format!("http://127.0.0.1:{}", free_port()), nothing.url(), mirror.url()];
    config.registry.mirrors.insert("charts.example.invalid".to_owned(), places);
    let charts = Charts::new(config);
    let repository = Repository {
        username: "alice".to_owned(),
        password: "sesame".to_owned(),
        pass_credentials: true,
        ..Repository::new("https://charts.example.invalid/served?token=t")
    };
    let pulled = charts.pull(&repository, "web", "^1", RECENT).await.unwrap();
    assert_eq!(pulled.version, "1.2.3");
    let seen = mirror.seen();
    assert!(seen.iter().any(|seen| seen.path == "/served/web-1.2.3.tgz"), "{seen:?}");
    assert!(seen.iter().all(|seen| seen.authorization.is_none() && !seen.path.contains("token")), "{seen:?}");
    // Who is not mirrored is asked as before.
    let error = charts.pull(&Repository::new("https://other.example.invalid"), "web", "", RECENT).await;
    assert!(matches!(error, Err(Error::Unreachable { .. })), "{error:?}");
}
