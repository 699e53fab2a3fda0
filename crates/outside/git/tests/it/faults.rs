//! What goes wrong with repositories: hosts that break off, histories that are rewritten, copies that are damaged,
//! files that are being written.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use git::Freshness::{Latest, Recent};
use git::{Error, Repositories};
use test_kit::{GitFault, GitManner, GitServer, GitTrouble};
use tokio::time::timeout;
use tree::{Tree as _, TreePath};

use super::{Sample, URL, mapped, names, read, remote, write};

fn served(sample: &Sample) -> String {
    let server = GitServer::start(&sample.path(), GitManner::default());
    let url = format!("{}/.git", server.url());
    // It serves until the test's process ends.
    std::mem::forget(server);
    url
}

/// The one repository in a cache.
fn copy_in(cache: &Path) -> PathBuf {
    let mut all: Vec<_> = std::fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(all.len(), 1, "nothing is left beside it: {all:?}");
    all.remove(0)
}

/// Every file below a directory.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let (mut found, mut pending) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { pending.push(path) } else { found.push(path) }
        }
    }
    found
}

fn damage(path: &Path, how: &str) {
    // Packs are written read-only.
    let mut permissions = std::fs::metadata(path).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "a file in a temporary directory")]
    permissions.set_readonly(false);
    std::fs::set_permissions(path, permissions).unwrap();
    match how {
        "gone" => std::fs::remove_file(path).unwrap(),
        "empty" => std::fs::write(path, "").unwrap(),
        _ => {
            let content = std::fs::read(path).unwrap();
            std::fs::write(path, &content[..content.len() / 2]).unwrap();
        }
    }
}

#[tokio::test]
async fn a_damaged_copy_is_fetched_anew() {
    let sample = Sample::new();
    for number in 0..20 {
        sample.write(&format!("files/{number}.yaml"), &format!("content {number}").repeat(50));
    }
    let first = sample.commit("first");
    let url = served(&sample);
    for (what, how) in [
        ("pack", "gone"),
        ("pack", "half"),
        ("idx", "gone"),
        ("HEAD", "empty"),
        ("HEAD", "gone"),
        ("config", "half"),
        ("main", "empty"),
        ("main", "gone"),
    ] {
        let (repositories, cache) = remote();
        repositories.open(&url, "HEAD", Recent).await.unwrap();
        drop(repositories);
        let copy = copy_in(cache.path());
        let broken = files_below(&copy).into_iter().filter(|path| path.to_string_lossy().ends_with(what));
        broken.for_each(|path| damage(&path, how));
        // Another process comes to the copy.
        let config = git::Config { plain_http: git::PlainHttp::Loopback, ..git::Config::new(cache.path()) };
        let repositories = Repositories::new(config).unwrap();
        let mut last = String::new();
        let mut healed = false;
        for _ in 0..3 {
            match repositories.open(&url, "HEAD", Recent).await {
                Ok(snapshot) => {
                    assert_eq!(snapshot.revision, first);
                    let path = TreePath::parse("files/7.yaml").unwrap();
                    match snapshot.tree.read(&path) {
                        Ok(content) => {
                            assert!(content.unwrap().starts_with(b"content 7"), "{what} {how}");
                            healed = true;
                            break;
                        }
                        Err(error) => last = error.to_string(),
                    }
                }
                Err(error) => last = error.to_string(),
            }
        }
        assert!(healed, "{what} {how}: {last}");
        copy_in(cache.path());
    }
}

#[tokio::test]
async fn a_lock_that_a_crash_left_stops_nobody() {
    let sample = Sample::new();
    sample.write("a.yaml", "one");
    sample.commit("first");
    let url = served(&sample);
    let (repositories, cache) = remote();
    repositories.open(&url, "HEAD", Recent).await.unwrap();
    write(&copy_in(cache.path()), "refs/heads/main.lock", "");
    sample.write("a.yaml", "two");
    let second = sample.commit("second");
    let snapshot = repositories.open(&url, "HEAD", Latest).await.unwrap();
    assert_eq!(snapshot.revision, second);
}

#[tokio::test]
async fn rewritten_histories_are_followed() {
    let sample = Sample::new();
    sample.write("a.yaml", "one");
    let first = sample.commit("first");
    sample.tag("v1.0.0");
    let branch = sample.repository.find_commit(first.parse().unwrap()).unwrap();
    sample.repository.branch("release", &branch, false).unwrap();
    let url = served(&sample);
    let (repositories, _cache) = remote();
    let opened = |revision: &'static str| {
        let (repositories, url) = (repositories.clone(), url.clone());
        async move { repositories.open(&url, revision, Latest).await }
    };
    assert_eq!(opened("release").await.unwrap().revision, first);

    // Another history without a common commit takes the branch's place, and the tag moves along.
    let tree = {
        sample.write("a.yaml", "unrelated");
        let mut index = sample.repository.index().unwrap();
        index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
        sample.repository.find_tree(index.write_tree().unwrap()).unwrap()
    };
    let author = git2::Signature::now("A Person", "person@example.org").unwrap();
    let other = sample.repository.commit(None, &author, &author, "orphan", &tree, &[]).unwrap();
    sample.repository.reference("refs/heads/main", other, true, "forced").unwrap();
    sample.repository.reference("refs/tags/v1.0.0", other, true, "moved").unwrap();
    for revision in ["main", "HEAD", "v1.0.0", "1.x"] {
        let snapshot = opened(revision).await.unwrap();
        assert_eq!(snapshot.revision, other.to_string(), "{revision}");
        assert_eq!(read(&snapshot.tree, "a.yaml").as_deref(), Some("unrelated"));
    }
    // What was fetched once stays, whatever became of its branch.
    assert_eq!(repositories.open(&url, &first, Latest).await.unwrap().revision, first);

    // A branch becomes a directory of branches, another one goes.
    sample.repository.find_reference("refs/heads/release").unwrap().delete().unwrap();
    sample.repository.reference("refs/heads/release/2", other, true, "new").unwrap();
    assert_eq!(opened("release/2").await.unwrap().revision, other.to_string());
    let gone = opened("release").await.map(|snapshot| snapshot.revision).unwrap_err();
    assert!(matches!(gone, Error::Revision { .. }), "{gone}");

    // The default branch goes: nothing is named by HEAD any more, and nothing is taken for it.
    sample.repository.find_reference("refs/heads/main").unwrap().delete().unwrap();
    assert!(opened("HEAD").await.is_err());
}

#[tokio::test]
async fn a_host_that_breaks_off_is_asked_again() {
    let sample = Sample::new();
    for number in 0..50 {
        // What cannot be packed small, so that a pack has a middle.
        let text: String =
            (0..200).map(|i| char::from(b'a' + ((number * 7919 + i * i * 31) % 26) as u8)).collect();
        sample.write(&format!("files/{number}.yaml"), &text);
    }
    let first = sample.commit("first");
    for fault in [
        GitFault::Half,
        GitFault::Garbage,
        GitFault::Silence,
        GitFault::Status(500),
        GitFault::Status(503),
        GitFault::Status(429),
    ] {
        for advertised in [false, true] {
            let trouble = GitTrouble { how: fault, advertised };
            let manner = GitManner { trouble: Some(trouble), ..GitManner::default() };
            let server = GitServer::start(&sample.path(), manner);
            let url = format!("{}/.git", server.url());
            let cache = tempfile::tempdir().unwrap();
            let config = git::Config {
                plain_http: git::PlainHttp::Loopback,
                stall_deadline: Duration::from_secs(1),
                ..git::Config::new(cache.path())
            };
            let repositories = Repositories::new(config).unwrap();
            let begun = Instant::now();
            let error = repositories.open(&url, "HEAD", Recent).await.map(|snapshot| snapshot.revision);
            let error = error.unwrap_err();
            let wrong = matches!(error, Error::Unreachable { .. } | Error::Fetch { .. } | Error::Read { .. });
            assert!(wrong && error.retryable(), "{fault:?} {advertised}: {error:?}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{fault:?} {advertised}");
            server.end_trouble();
            let snapshot = repositories.open(&url, "HEAD", Latest).await.unwrap();
            assert_eq!(snapshot.revision, first, "{fault:?} {advertised}");
            assert_eq!(names(&snapshot.tree, "files").len(), 50);
            let left = files_below(&copy_in(cache.path()));
            let left: Vec<_> = left
                .iter()
                .filter(|path| path.file_name().unwrap().to_string_lossy().contains("tmp"))
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

#[tokio::test]
async fn a_repository_without_its_past_serves_what_it_has() {
    let sample = Sample::new();
    sample.write("a.yaml", "one");
    let first = sample.commit("first");
    sample.write("a.yaml", "two");
    let second = sample.commit("second");
    let shallow = tempfile::tempdir().unwrap();
    let path = shallow.path().join("clone");
    let cloned = std::process::Command::new("git")
        .args(["clone", "--quiet", "--depth=1", "--branch=main"])
        .arg(format!("file://{}", sample.path().display()))
        .arg(&path)
        .status()
        .unwrap();
    assert!(cloned.success());
    let (repositories, _cache) = mapped(&path, None);
    assert_eq!(repositories.open(URL, "HEAD", Recent).await.unwrap().revision, second);
    let error = repositories.open(URL, &first, Recent).await.map(|snapshot| snapshot.revision).unwrap_err();
    assert!(matches!(error, Error::Revision { .. }), "{error}");
}

/// A file is emptied, and filled half a second later; meanwhile it is what it was before or what it will be.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_being_saved_is_waited_for() {
    let sample = Sample::new();
    sample.write("a.yaml", "one");
    sample.commit("first");
    let (repositories, _cache) = mapped(&sample.path(), None);
    for way in ["emptied", "removed", "halved"] {
        let path = sample.path().join("a.yaml");
        let pause = Duration::from_millis(if way == "emptied" { 500 } else { 40 });
        match way {
            "emptied" => std::fs::write(&path, "").unwrap(),
            "removed" => std::fs::remove_file(&path).unwrap(),
            _ => std::fs::write(&path, "tw").unwrap(),
        }
        let saved = std::thread::spawn(move || {
            #[expect(clippy::disallowed_methods, reason = "an editor takes its time")]
            std::thread::sleep(pause);
            std::fs::write(path, "two").unwrap();
        });
        let snapshot = repositories.open(URL, "HEAD", Recent).await.unwrap();
        assert_eq!(read(&snapshot.tree, "a.yaml").as_deref(), Some("two"), "{way}");
        saved.join().unwrap();
    }
    // One that stays empty is meant to be.
    sample.write("a.yaml", "");
    let snapshot =
        timeout(Duration::from_secs(10), repositories.open(URL, "HEAD", Recent)).await.unwrap().unwrap();
    assert_eq!(read(&snapshot.tree, "a.yaml").as_deref(), Some(""));
    std::fs::remove_file(sample.path().join("a.yaml")).unwrap();
    let snapshot = repositories.open(URL, "HEAD", Recent).await.unwrap();
    assert_eq!(read(&snapshot.tree, "a.yaml"), None);
}

/// While Git's lock is there, its command may be half done.
#[tokio::test(flavor = "multi_thread")]
async fn a_git_command_is_waited_for() {
    let sample = Sample::new();
    for number in 0..5 {
        sample.write(&format!("{number}.yaml"), "one");
    }
    sample.commit("first");
    let (repositories, _cache) = mapped(&sample.path(), None);
    let root = sample.path();
    let lock = root.join(".git/index.lock");
    std::fs::write(&lock, "").unwrap();
    let command = std::thread::spawn(move || {
        for number in 0..5 {
            write(&root, &format!("{number}.yaml"), "two");
            #[expect(clippy::disallowed_methods, reason = "a command takes its time")]
            std::thread::sleep(Duration::from_millis(300));
        }
        std::fs::remove_file(&lock).unwrap();
    });
    let snapshot = repositories.open(URL, "HEAD", Recent).await.unwrap();
    for number in 0..5 {
        assert_eq!(read(&snapshot.tree, &format!("{number}.yaml")).as_deref(), Some("two"));
    }
    command.join().unwrap();
    // A lock beside which nothing moves was left by somebody.
    sample.write(".git/index.lock", "");
    let snapshot =
        timeout(Duration::from_secs(10), repositories.open(URL, "HEAD", Recent)).await.unwrap().unwrap();
    assert_eq!(read(&snapshot.tree, "0.yaml").as_deref(), Some("two"));
}

#[tokio::test]
async fn an_unmerged_file_is_refused_until_it_is_resolved() {
    let sample = Sample::new();
    sample.write("a.yaml", "one\n");
    sample.write("b.yaml", "other\n");
    sample.commit("first");
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git")
            .current_dir(sample.path())
            .args(["-c", "user.name=Tests", "-c", "user.email=tests@example.com"])
            .args(arguments)
            .output()
            .unwrap();
        output.status.success()
    };
    assert!(git(&["checkout", "--quiet", "-b", "theirs"]));
    sample.write("a.yaml", "theirs\n");
    assert!(git(&["commit", "--quiet", "-am", "theirs"]));
    assert!(git(&["checkout", "--quiet", "main"]));
    sample.write("a.yaml", "ours\n");
    assert!(git(&["commit", "--quiet", "-am", "ours"]));
    assert!(!git(&["merge", "theirs"]));
    let (repositories, _cache) = mapped(&sample.path(), None);
    let snapshot = repositories.open(URL, "HEAD", Recent).await.unwrap();
    let error = snapshot.tree.read(&TreePath::parse("a.yaml").unwrap()).unwrap_err();
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(one) = cause {
        text.push_str(&one.to_string());
        cause = one.source();
    }
    assert!(text.contains("merge conflicts"), "{text}");
    assert_eq!(read(&snapshot.tree, "b.yaml").as_deref(), Some("other\n"), "others are not held up");
    sample.write("a.yaml", "both\n");
    let snapshot = repositories.open(URL, "HEAD", Recent).await.unwrap();
    assert_eq!(read(&snapshot.tree, "a.yaml").as_deref(), Some("both\n"), "saved is resolved");
}
