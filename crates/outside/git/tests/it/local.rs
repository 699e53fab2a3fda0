use std::time::{Duration, Instant};

use git::Freshness::Recent;
use tokio::time::timeout;
use tree::{Tree as _, TreePath};

use super::{Sample, URL, mapped, names, read, write};

#[tokio::test]
async fn a_working_copy_is_served_as_it_is_saved() {
    let sample = Sample::new();
    sample.write("apps/a.yaml", "one");
    sample.write("apps/gone.yaml", "x");
    sample.write("charts/only.yaml", "x");
    sample.write(".gitignore", "ignored/\n");
    let commit = sample.commit("first");
    let (repositories, _cache) = mapped(&sample.path(), None);

    let clean = repositories.open("git@example.org:team/platform", "HEAD", Recent).await.unwrap();
    assert_eq!(clean.revision, commit);
    assert_eq!(names(&clean.tree, ""), [".gitignore", "apps", "charts"]);

    sample.write("apps/a.yaml", "two");
    sample.write("apps/new/b.yaml", "untracked");
    sample.write("ignored/c.yaml", "x");
    std::fs::remove_file(sample.path().join("apps/gone.yaml")).unwrap();
    std::fs::remove_dir_all(sample.path().join("charts")).unwrap();
    let dirty = repositories.open(URL, "main", Recent).await.unwrap();
    let marker = dirty.revision.strip_prefix(&format!("{commit}-dirty.")).unwrap();
    assert_eq!(marker.len(), 12);
    assert_eq!(read(&dirty.tree, "apps/a.yaml").as_deref(), Some("two"));
    assert_eq!(read(&dirty.tree, "apps/gone.yaml"), None);
    assert_eq!(names(&dirty.tree, ""), [".gitignore", "apps"], "no empty or ignored directory");
    assert_eq!(names(&dirty.tree, "apps"), ["a.yaml", "new"]);
    assert_eq!(read(&clean.tree, "apps/a.yaml").as_deref(), Some("one"), "a snapshot never changes");
    let again = repositories.open(URL, "HEAD", Recent).await.unwrap();
    assert_eq!(again.revision, dirty.revision);

    let committed = repositories.open(URL, &commit, Recent).await.unwrap();
    assert_eq!(read(&committed.tree, "apps/a.yaml").as_deref(), Some("one"));
}

#[tokio::test]
async fn revisions_are_resolved_and_can_be_pinned() {
    let sample = Sample::new();
    sample.write("version", "1.0.0");
    let first = sample.commit("first");
    sample.tag("v1.0.0");
    sample.write("version", "1.1.0");
    let second = sample.commit("second");
    sample.tag("v1.1.0");
    sample.write("version", "3");
    let third = sample.commit("third");
    let branch = sample.repository.find_commit(first.parse().unwrap()).unwrap();
    sample.repository.branch("release", &branch, false).unwrap();

    let (repositories, _cache) = mapped(&sample.path(), None);
    for (revision, expected) in [
        ("HEAD", &third),
        ("", &third),
        ("master", &third),
        ("release", &first),
        ("v1.0.0", &first),
        ("1.x", &second),
        (first.as_str(), &first),
        (&second[..8], &second),
        ("refs/heads/release", &first),
    ] {
        let snapshot = repositories.open(URL, revision, Recent).await.unwrap();
        assert_eq!(&snapshot.revision, expected, "{revision}");
    }
    let error = repositories.open(URL, "nowhere", Recent).await.unwrap_err();
    assert_eq!(error.to_string(), "unable to resolve 'nowhere' to a commit SHA");

    let (pinned, _cache) = mapped(&sample.path(), Some("release"));
    sample.write("version", "edited");
    let snapshot = pinned.open(URL, "HEAD", Recent).await.unwrap();
    assert_eq!(snapshot.revision, first);
    assert_eq!(read(&snapshot.tree, "version").as_deref(), Some("1.0.0"));
}

#[tokio::test]
async fn links_are_followed_inside_and_refused_outside() {
    let sample = Sample::new();
    sample.write("values/dev.yaml", "inside");
    sample.write("charts/a/Chart.yaml", "name: a");
    let link =
        |target: &str, path: &str| std::os::unix::fs::symlink(target, sample.path().join(path)).unwrap();
    link("../../values/dev.yaml", "charts/a/values.yaml");
    link("charts", "alias");
    link("../../../../../../etc/passwd", "charts/a/up.yaml");
    link("/etc/passwd", "charts/a/absolute.yaml");
    link("loop", "loop");
    sample.commit("links");
    sample.write("changed", "so that both kinds of tree are read");
    let (repositories, _cache) = mapped(&sample.path(), None);
    let dirty = repositories.open(URL, "HEAD", Recent).await.unwrap();
    let commit = dirty.revision.split('-').next().unwrap();
    let clean = repositories.open(URL, commit, Recent).await.unwrap();
    for tree in [&dirty.tree, &clean.tree] {
        assert_eq!(read(tree, "charts/a/values.yaml").as_deref(), Some("inside"));
        assert_eq!(read(tree, "alias/a/Chart.yaml").as_deref(), Some("name: a"));
        for path in ["charts/a/up.yaml", "charts/a/absolute.yaml", "loop"] {
            let error = tree.read(&TreePath::parse(path).unwrap()).unwrap_err();
            assert!(matches!(error, tree::Error::Escapes { .. }), "{path}: {error}");
        }
        assert!(names(tree, "charts/a").contains(&"up.yaml".to_owned()));
    }
}

#[tokio::test]
async fn a_directory_inside_a_checkout_is_no_repository() {
    let sample = Sample::new();
    sample.write("examples/demo/app.yaml", "one");
    sample.commit("first");
    let (repositories, _cache) = mapped(&sample.path().join("examples/demo"), None);
    let first = repositories.open(URL, "HEAD", Recent).await.unwrap();
    assert_eq!(first.revision.len(), 40);
    assert_eq!(names(&first.tree, ""), ["app.yaml"]);
    sample.write("other", "does not matter");
    assert_eq!(repositories.open(URL, "main", Recent).await.unwrap().revision, first.revision);
    sample.write("examples/demo/app.yaml", "two");
    let second = repositories.open(URL, "HEAD", Recent).await.unwrap();
    assert_ne!(second.revision, first.revision);
    assert_eq!(read(&second.tree, "app.yaml").as_deref(), Some("two"));
}

#[tokio::test]
async fn files_and_commits_are_noticed_within_a_second() {
    let sample = Sample::new();
    sample.write("a.yaml", "one");
    sample.write(".gitignore", "ignored/\n");
    let first = sample.commit("first");
    std::fs::create_dir(sample.path().join("ignored")).unwrap();
    let (repositories, _cache) = mapped(&sample.path(), None);
    let mut changes = repositories.watch(URL).unwrap();
    // The first count says that the watch stands.
    timeout(Duration::from_secs(10), changes.changed()).await.unwrap().unwrap();
    assert_eq!(repositories.open(URL, "HEAD", Recent).await.unwrap().revision, first);

    sample.write("deep/er/new.yaml", "in a new directory");
    assert!(noticed(&repositories, &mut changes, |revision| revision.contains("-dirty.")).await < 1000);
    sample.write("deep/er/new.yaml", "and changed there");
    let before = repositories.open(URL, "HEAD", Recent).await.unwrap().revision;
    assert!(
        noticed(&repositories, &mut changes, |revision| revision != before || !revision.is_empty()).await
            < 1000
    );
    let second = sample.commit("second");
    assert!(noticed(&repositories, &mut changes, |revision| revision == second).await < 1000);

    write(&sample.path(), "ignored/x", "not watched");
    let quiet = timeout(Duration::from_millis(500), changes.changed()).await;
    assert!(quiet.is_err(), "an ignored directory wakes nobody");
}

/// Milliseconds until the revision is as expected, looking only when the watch says so.
async fn noticed(
    repositories: &git::Repositories,
    changes: &mut tokio::sync::watch::Receiver<u64>,
    expected: impl Fn(&str) -> bool,
) -> u128 {
    let start = Instant::now();
    loop {
        timeout(Duration::from_secs(10), changes.changed()).await.unwrap().unwrap();
        let snapshot = repositories.open(URL, "HEAD", Recent).await.unwrap();
        if expected(&snapshot.revision) {
            return start.elapsed().as_millis();
        }
    }
}

#[test]
fn a_revision_is_named_as_git_names_it() {
    let sample = Sample::new();
    sample.write("a", "one");
    let first = sample.commit("first");
    sample.write("a", "two");
    sample.commit("second");
    sample.write("a", "not committed");
    for (name, expected) in
        [("HEAD", "two"), ("HEAD~1", "one"), (first.as_str(), "one"), ("main^{commit}", "two")]
    {
        let snapshot = git::revision(&sample.path(), name).unwrap();
        assert_eq!(read(&snapshot.tree, "a").as_deref(), Some(expected), "{name}");
    }
    assert!(matches!(git::revision(&sample.path(), "no-such"), Err(git::Error::Revision { .. })));
    assert!(matches!(git::revision(&sample.path().join("below"), "HEAD"), Err(git::Error::Read { .. })));
}

#[tokio::test]
async fn what_changed_between_two_snapshots_is_told_without_reading_them() {
    use tree::Read;
    let sample = Sample::new();
    for path in ["apps/a/x.yaml", "apps/b/x.yaml", "charts/c/values.yaml"] {
        sample.write(path, "one");
    }
    sample.commit("first");
    let (repositories, _cache) = mapped(&sample.path(), None);
    let first = repositories.open(URL, "HEAD", Recent).await.unwrap();
    sample.write("apps/a/x.yaml", "two");
    sample.write("apps/new/y.yaml", "one");
    std::fs::remove_dir_all(sample.path().join("charts/c")).unwrap();
    let saved = repositories.open(URL, "HEAD", Recent).await.unwrap();
    sample.commit("second");
    let second = repositories.open(URL, "HEAD", Recent).await.unwrap();

    let path = |text: &str| TreePath::parse(text).unwrap();
    let (file, directory) = (Read::File(None), Read::Directory(None));
    for (what, changes) in [
        ("saved", saved.changes_since(&first).unwrap()),
        ("committed", second.changes_since(&first).unwrap()),
    ] {
        for (text, read, touched) in [
            ("apps/a/x.yaml", &file, true),
            ("apps/a/x.yaml/below", &file, true),
            ("apps/new/y.yaml", &file, true),
            ("charts/c/values.yaml", &file, true),
            ("apps/b/x.yaml", &file, false),
            ("apps", &directory, true),
            ("charts/c", &directory, true),
            ("", &directory, true),
            ("apps/b", &directory, false),
        ] {
            assert_eq!(changes.touches(&path(text), read), touched, "{what}: {text:?}");
        }
    }
    let only_content = {
        sample.write("apps/b/x.yaml", "three");
        sample.commit("third");
        let third = repositories.open(URL, "HEAD", Recent).await.unwrap();
        third.changes_since(&second).unwrap()
    };
    assert!(only_content.touches(&path("apps/b/x.yaml"), &file));
    assert!(!only_content.touches(&path("apps/b"), &directory), "no name came or went");
    assert!(second.changes_since(&second).unwrap().is_empty());

    let elsewhere = Sample::new();
    elsewhere.write("apps/a/x.yaml", "one");
    let (others, _cache) = mapped(&elsewhere.path(), None);
    let other = others.open(URL, "HEAD", Recent).await.unwrap();
    assert_eq!(other.changes_since(&first), None, "another repository");
}
