use std::net::TcpListener;
use std::time::{Duration, Instant};

use git::Freshness::{Latest, Recent};
use git::{Config, Credentials, PlainHttp, Repositories};
use test_kit::{GitManner, GitServer};
use tokio::time::timeout;

use super::{Sample, names, read, remote};

#[tokio::test]
async fn fetches_over_http_and_notices_a_rewritten_branch() {
    let sample = Sample::new();
    for number in 0..50 {
        sample.write(&format!("files/{number}.yaml"), &format!("content {number}").repeat(100));
    }
    let first = sample.commit("first");
    sample.tag("v1.0.0");
    sample.write("a.yaml", "two");
    sample.commit("second");
    let backend = GitServer::start(&sample.path(), GitManner::default());
    let url = format!("{}/.git", backend.url());
    let (repositories, _cache) = remote();

    let head = repositories.open(&url, "HEAD", Recent).await.unwrap();
    assert_eq!(read(&head.tree, "a.yaml").as_deref(), Some("two"));
    assert_eq!(names(&head.tree, "files").len(), 50);
    assert_eq!(repositories.open(&url, "v1.x", Recent).await.unwrap().revision, first);

    let before = backend.requests();
    repositories.open(&url, &first, Latest).await.unwrap();
    assert_eq!(backend.requests(), before, "a known commit needs no request");

    let mut changes = repositories.watch(&url).unwrap();
    let first_commit = sample.repository.find_commit(first.parse().unwrap()).unwrap();
    sample.repository.reset(first_commit.as_object(), git2::ResetType::Hard, None).unwrap();
    sample.write("a.yaml", "rewritten");
    let rewritten = sample.commit("instead");
    timeout(Duration::from_secs(10), changes.changed()).await.unwrap().unwrap();
    let mut revision = repositories.open(&url, "main", Recent).await.unwrap().revision;
    while revision != rewritten {
        timeout(Duration::from_secs(10), changes.changed()).await.unwrap().unwrap();
        revision = repositories.open(&url, "main", Recent).await.unwrap().revision;
    }
}

#[tokio::test]
async fn authenticates_where_told_and_follows_redirects_without_credentials() {
    let sample = Sample::new();
    sample.write("a.yaml", "one");
    sample.commit("first");
    let basic = "Basic dXNlcjpwYXNzOndvcmQ=".to_owned();
    let backend =
        GitServer::start(&sample.path(), GitManner { authorization: Some(basic), ..GitManner::default() });
    let url = format!("{}/.git", backend.url());

    let (anonymous, _cache) = remote();
    let error = anonymous.open(&url, "HEAD", Recent).await.unwrap_err().to_string();
    assert_eq!(error, format!("fetch {url}: authentication required or refused"));

    let cache = tempfile::tempdir().unwrap();
    let credentials = Credentials {
        url_prefix: backend.url(),
        username: "user".to_owned(),
        password: "pass:word".to_owned(),
    };
    let config = || Config {
        plain_http: PlainHttp::Loopback,
        credentials: vec![credentials.clone()],
        ..Config::new(cache.path())
    };
    let repositories = Repositories::new(config()).unwrap();
    let snapshot = repositories.open(&url, "HEAD", Recent).await.unwrap();
    assert_eq!(read(&snapshot.tree, "a.yaml").as_deref(), Some("one"));

    let open = GitServer::start(&sample.path(), GitManner::default());
    let moving =
        GitServer::start(&sample.path(), GitManner { moved_to: Some(open.url()), ..GitManner::default() });
    let moved = format!("{}/moved/.git", moving.url());
    let snapshot = repositories.open(&moved, "HEAD", Recent).await.unwrap();
    assert_eq!(read(&snapshot.tree, "a.yaml").as_deref(), Some("one"));
}

#[tokio::test]
async fn an_absent_repository_and_a_too_large_one_say_so() {
    let sample = Sample::new();
    sample.write("a.yaml", &"incompressible? no, but large enough. ".repeat(1000));
    sample.commit("first");
    let backend = GitServer::start(&sample.path(), GitManner::default());
    let (repositories, _cache) = remote();
    let url = format!("{}/nothing.git", backend.url());
    let error = repositories.open(&url, "HEAD", Recent).await.unwrap_err().to_string();
    assert_eq!(error, format!("fetch {url}: repository not found"));

    let cache = tempfile::tempdir().unwrap();
    let mut config = Config { plain_http: PlainHttp::Loopback, ..Config::new(cache.path()) };
    config.limits.download = 300;
    let small = Repositories::new(config).unwrap();
    let url = format!("{}/.git", backend.url());
    let error = small.open(&url, "HEAD", Recent).await.unwrap_err().to_string();
    assert!(error.contains("larger than allowed"), "{error}");
}

#[tokio::test]
async fn a_silent_host_ends_by_the_deadline_and_holds_up_nobody() {
    let sample = Sample::new();
    sample.write("a.yaml", "one");
    sample.commit("first");
    let backend = GitServer::start(&sample.path(), GitManner::default());
    // Accepts connections (the kernel does) and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("http://{}/x.git", silent.local_addr().unwrap());
    let cache = tempfile::tempdir().unwrap();
    let config = Config {
        plain_http: PlainHttp::Loopback,
        stall_deadline: Duration::from_secs(1),
        ..Config::new(cache.path())
    };
    let repositories = Repositories::new(config).unwrap();

    let start = Instant::now();
    let stuck = repositories.open(&silent_url, "HEAD", Recent);
    let url = format!("{}/.git", backend.url());
    let other = async {
        repositories.open(&url, "HEAD", Recent).await.unwrap();
        start.elapsed()
    };
    let (stuck, other) = tokio::join!(stuck, other);
    let error = stuck.unwrap_err();
    assert!(matches!(&error, git::Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().starts_with(&format!("{silent_url} is unreachable: ")), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(other < start.elapsed(), "the other repository did not wait");

    let again = Instant::now();
    repositories.open(&silent_url, "HEAD", Recent).await.unwrap_err();
    assert!(again.elapsed() < Duration::from_millis(500), "a failure is remembered for a while");
    drop(silent);
}
