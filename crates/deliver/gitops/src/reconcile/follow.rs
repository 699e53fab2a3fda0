//! Who is woken when a repository changes: at once those Applications whose files it touched, and after them, at a
//! bounded pace, the others, so that their status names the new revision too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use client::Key;
use git::{Changes, Freshness, Snapshot};
use tokio::sync::watch::Receiver;
use tokio::time::{MissedTickBehavior, interval};
use webhooks::Push;

use super::shared::{Shared, lock};

/// The pause between two Applications that a commit did not touch: 200 a second.
const PACE: Duration = Duration::from_millis(5);

/// What became of a repository, by the revision that sources track.
#[derive(Debug, Default)]
pub(super) struct News(BTreeMap<String, Option<Moved>>);

/// From which revision to which, and what differs.
#[derive(Debug)]
struct Moved {
    from: String,
    to: String,
    changes: Changes,
}

impl News {
    /// What changed for whoever was rendered at `rendered` of what it tracks; `None` if that is not known.
    pub(super) fn of(&self, tracked: &str, rendered: &str) -> Option<&Changes> {
        let moved = self.0.get(tracked)?.as_ref()?;
        (moved.from == rendered).then_some(&moved.changes)
    }

    /// Whether everything that is tracked stayed where it was.
    fn is_none(&self) -> bool {
        self.0.values().all(|moved| moved.as_ref().is_some_and(|moved| moved.from == moved.to))
    }
}

impl Shared {
    /// Wakes these Applications when one of their repositories changes; the state of each repository's counter.
    pub(super) fn follow_repositories(self: &Arc<Self>, key: &Key, urls: &BTreeSet<String>) -> Vec<u64> {
        let mut counters = Vec::new();
        for url in urls {
            let Ok(mut changes) = self.places.repositories.watch(url) else {
                counters.push(0);
                continue;
            };
            counters.push(*changes.borrow_and_update());
            let new = {
                let mut users = lock(&self.users);
                let new = !users.contains_key(url);
                users.entry(url.clone()).or_default().insert(key.clone());
                new
            };
            if new && !self.stop.is_cancelled() {
                let (shared, url) = (Arc::clone(self), url.clone());
                lock(&self.watched).spawn(async move { shared.wake_users(&url, changes).await });
            }
        }
        counters
    }

    /// The URLs of repositories that a push may have changed for some Application.
    pub(crate) fn pushed(&self, push: &Push) -> BTreeSet<String> {
        let of_it: Vec<(String, Vec<Key>)> = {
            let users = lock(&self.users);
            let of_it = users.iter().filter(|(url, _)| push.is_of(url));
            of_it.map(|(url, keys)| (url.clone(), keys.iter().cloned().collect())).collect()
        };
        let memories = lock(&self.memories);
        let concerned = |url: &str, key: &Key| match memories.get(key) {
            Some(Some(memory)) => memory.concerned_by_push(url, push),
            // A pass looks at it just now.
            Some(None) => true,
            None => false,
        };
        let moved = of_it.into_iter().filter(|(url, keys)| keys.iter().any(|key| concerned(url, key)));
        moved.map(|(url, _)| url).collect()
    }

    async fn wake_users(&self, url: &str, mut changes: Receiver<u64>) {
        let mut known = BTreeMap::new();
        // Those that wait for their turn to take the new revision into their status.
        let mut untouched: BTreeSet<Key> = BTreeSet::new();
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let news = self.news(url, &mut known).await;
                    if news.is_none() {
                        continue;
                    }
                    for key in self.users_of(url) {
                        if self.untouched(&key, url, &news) {
                            untouched.insert(key);
                        } else if self.triggers.send(key).await.is_err() {
                            return;
                        }
                    }
                }
                _ = pace.tick(), if !untouched.is_empty() => {
                    if let Some(key) = untouched.pop_first() && self.triggers.send(key).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn users_of(&self, url: &str) -> Vec<Key> {
        lock(&self.users).get(url).into_iter().flatten().cloned().collect()
    }

    /// Opens what the users of a repository track, and compares it with what was `known`.
    async fn news(&self, url: &str, known: &mut BTreeMap<String, Snapshot>) -> News {
        let tracked = self.tracked(url);
        known.retain(|revision, _| tracked.contains_key(revision));
        let mut news = News::default();
        for (revision, rendered) in tracked {
            let then = match known.remove(&revision) {
                Some(then) => Some(then),
                // An empty revision would mean the newest.
                None if rendered.is_empty() => None,
                None => self.places.repositories.open(url, &rendered, Freshness::Recent).await.ok(),
            };
            let now = self.places.repositories.open(url, &revision, Freshness::Recent).await.ok();
            let moved = then.zip(now.as_ref()).and_then(|(then, now)| {
                let changes = now.changes_since(&then)?;
                Some(Moved { from: then.revision, to: now.revision.clone(), changes })
            });
            known.extend(now.map(|now| (revision.clone(), now)));
            news.0.insert(revision, moved);
        }
        news
    }

    /// What the users of a repository track, each with a revision that one of them was rendered at; empty where none
    /// was.
    fn tracked(&self, url: &str) -> BTreeMap<String, String> {
        let users = self.users_of(url);
        let memories = lock(&self.memories);
        let memories = users.iter().filter_map(|key| memories.get(key)?.as_ref());
        let tracked = memories.flat_map(|memory| memory.tracked(url));
        let mut revisions: BTreeMap<String, String> = BTreeMap::new();
        for (_, revision, rendered) in tracked {
            let known = revisions.entry(revision.to_owned()).or_default();
            if known.is_empty() {
                rendered.clone_into(known);
            }
        }
        revisions
    }

    /// Whether an Application is as it would be after the news; not if a pass is looking at it right now.
    fn untouched(&self, key: &Key, url: &str, news: &News) -> bool {
        let memories = lock(&self.memories);
        matches!(memories.get(key), Some(Some(memory)) if memory.untouched(url, news))
    }
}
