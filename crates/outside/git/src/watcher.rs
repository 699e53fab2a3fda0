//! Notices changes of a local repository: its saved files, its HEAD and its branches.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{CreateKind, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::repository;

/// A running watch. The task ends with its token or when nobody listens any more.
pub(crate) struct Watcher {
    pub(crate) changes: watch::Receiver<u64>,
    complete: Arc<AtomicBool>,
}

impl Watcher {
    /// The state of the counter, if every change since then would have moved it.
    pub(crate) fn seen(&self) -> Option<u64> {
        self.complete.load(Ordering::Acquire).then(|| *self.changes.borrow())
    }
}

/// Editors and Git write in bursts: wait for this much silence …
const QUIET: Duration = Duration::from_millis(60);
/// … but no longer than this.
const LONGEST_BURST: Duration = Duration::from_millis(400);
/// How often to look where the kernel's limit of watches is reached.
const FALLBACK_PERIOD: Duration = Duration::from_secs(2);
/// A directory deeper than this is not watched.
const MAX_DEPTH: usize = 64;

pub(crate) fn start(path: PathBuf, shutdown: CancellationToken) -> Watcher {
    let (counter, changes) = watch::channel(0);
    let complete = Arc::new(AtomicBool::new(false));
    tokio::spawn(run(path, counter, Arc::clone(&complete), shutdown));
    Watcher { changes, complete }
}

async fn run(
    path: PathBuf,
    counter: watch::Sender<u64>,
    complete: Arc<AtomicBool>,
    shutdown: CancellationToken,
) {
    let (wake, mut woken) = mpsc::channel(1);
    let mut directories = match Directories::new(path.clone(), wake) {
        Ok(directories) => Some(directories),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot watch files, looking every two seconds instead");
            None
        }
    };
    loop {
        let work = directories.take();
        let watched = tokio::task::spawn_blocking(move || {
            work.map(|mut directories| {
                directories.follow();
                directories
            })
        });
        directories = watched.await.unwrap_or_default();
        let all = directories.as_ref().is_some_and(|directories| !directories.limited);
        complete.store(all, Ordering::Release);
        counter.send_modify(|count| *count += 1);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = counter.closed() => return,
            Some(()) = woken.recv() => settle(&mut woken).await,
            () = tokio::time::sleep(FALLBACK_PERIOD), if !all => {}
        }
        // Until the directories were followed again, a change could be missed.
        complete.store(false, Ordering::Release);
    }
}

/// Waits until a burst of changes is over.
async fn settle(woken: &mut mpsc::Receiver<()>) {
    let burst = async { while let Ok(Some(())) = tokio::time::timeout(QUIET, woken.recv()).await {} };
    let _ = tokio::time::timeout(LONGEST_BURST, burst).await;
}

/// The directories that are watched, one watch each, so that ignored ones cost nothing.
struct Directories {
    root: PathBuf,
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    /// A directory came, went, or an ignore file changed.
    stale: Arc<AtomicBool>,
    /// The kernel refused a watch.
    limited: bool,
}

impl Directories {
    fn new(root: PathBuf, wake: mpsc::Sender<()>) -> notify::Result<Self> {
        let stale = Arc::new(AtomicBool::new(true));
        let handler = {
            let stale = Arc::clone(&stale);
            move |event: notify::Result<Event>| {
                let Ok(event) = event else { return };
                if !is_change(&event) {
                    return;
                }
                if changes_directories(&event) {
                    stale.store(true, Ordering::Release);
                }
                // A full channel already says that there is something to look at.
                let _ = wake.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(handler)?;
        Ok(Self { root, watcher, watched: BTreeSet::new(), stale, limited: false })
    }

    /// Watches every directory that is there now.
    fn follow(&mut self) {
        while self.stale.swap(false, Ordering::AcqRel) {
            let mut present = BTreeSet::new();
            self.find(&mut present);
            for gone in self.watched.difference(&present).cloned().collect::<Vec<_>>() {
                // It no longer exists: the kernel dropped the watch with it.
                let _ = self.watcher.unwatch(&gone);
                self.watched.remove(&gone);
            }
            for path in present {
                if self.watched.contains(&path) {
                    continue;
                }
                match self.watcher.watch(&path, RecursiveMode::NonRecursive) {
                    Ok(()) => {
                        self.watched.insert(path);
                        // What came into it before the watch did is found by looking again.
                        self.stale.store(true, Ordering::Release);
                    }
                    Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => {}
                    Err(error) => {
                        if !self.limited {
                            tracing::warn!(path = %path.display(), %error, "cannot watch every directory");
                        }
                        self.limited = true;
                    }
                }
            }
        }
    }

    fn find(&self, found: &mut BTreeSet<PathBuf>) {
        let repository = repository::open(&self.root).ok();
        if let Some(repository) = &repository {
            for git in [repository.path(), repository.commondir()] {
                found.insert(git.to_owned());
                below(&git.join("refs"), found, &|_| true);
            }
        }
        match &repository {
            Some(repository) if repository.is_bare() => {}
            Some(repository) => below(&self.root, found, &|path| {
                let relative = path.strip_prefix(&self.root).unwrap_or(path);
                path.file_name().is_none_or(|name| name != ".git")
                    && !repository.is_path_ignored(relative.join("")).unwrap_or(false)
            }),
            None => below(&self.root, found, &|path| path.file_name().is_none_or(|name| name != ".git")),
        }
    }
}

/// Adds a directory and those below it that are wanted, without following links.
fn below(start: &Path, found: &mut BTreeSet<PathBuf>, wanted: &dyn Fn(&Path) -> bool) {
    let mut pending = vec![(start.to_owned(), 0)];
    while let Some((directory, depth)) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        found.insert(directory);
        if depth == MAX_DEPTH {
            continue;
        }
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && wanted(&entry.path()) {
                pending.push((entry.path(), depth + 1));
            }
        }
    }
}

fn is_change(event: &Event) -> bool {
    !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(|path| matters(path))
        || event.need_rescan()
}

/// Git's own files matter only where they say which commit is checked out.
fn matters(path: &Path) -> bool {
    if path.extension().is_some_and(|extension| extension == "lock") {
        return false;
    }
    let mut components = path.components().skip_while(|part| part.as_os_str() != ".git").skip(1);
    match components.next().map(|part| part.as_os_str()) {
        None => true,
        Some(first) => first == "HEAD" || first == "packed-refs" || first == "refs" || first == "worktrees",
    }
}

fn changes_directories(event: &Event) -> bool {
    let ignore_file =
        event.paths.iter().any(|path| path.file_name().is_some_and(|name| name == ".gitignore"));
    let directory = match event.kind {
        EventKind::Create(CreateKind::Folder | CreateKind::Any) | EventKind::Remove(_) => true,
        EventKind::Modify(ModifyKind::Name(
            RenameMode::From | RenameMode::To | RenameMode::Any | RenameMode::Both,
        )) => event.paths.iter().any(|path| !path.is_file()),
        _ => false,
    };
    directory || ignore_file || event.need_rescan()
}
