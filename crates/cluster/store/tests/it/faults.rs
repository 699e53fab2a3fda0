//! Disks that fail and power that is cut.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use store::{Config, Error, Expected, ListOptions, Scope, StorageBackend, Store};

use crate::{draft, key, runtime};

/// A disk in memory that knows what has been synced, and that can be told to fail.
#[derive(Debug, Clone, Default)]
struct Disk {
    inner: Arc<Mutex<Platters>>,
}

#[derive(Debug, Default)]
struct Platters {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// Writes since the last sync.
    pending: Vec<Change>,
    /// Operations until everything fails; `None` for a healthy disk.
    fuse: Option<usize>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

fn put(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, data) => {
            let end = offset + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset..end].copy_from_slice(data);
        }
        Change::Length(length) => bytes.resize(*length, 0),
    }
}

impl Disk {
    fn with<T>(&self, use_it: impl FnOnce(&mut Platters) -> T) -> T {
        use_it(&mut self.inner.lock().unwrap())
    }

    fn fail_after(&self, operations: usize) {
        self.with(|platters| platters.fuse = Some(operations));
    }

    /// What is on the disk when the power comes back: what was synced, and of the rest what chance kept.
    fn after_power_cut(&self, mut kept: impl FnMut() -> bool) -> Disk {
        self.with(|platters| {
            let mut bytes = platters.durable.clone();
            for change in &platters.pending {
                // A file never shrinks to nothing by accident: lengths are metadata and journalled.
                if matches!(change, Change::Length(_)) || kept() {
                    put(&mut bytes, change);
                }
            }
            let platters = Platters { durable: bytes.clone(), current: bytes, ..Platters::default() };
            Disk { inner: Arc::new(Mutex::new(platters)) }
        })
    }
}

impl Platters {
    fn burn(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            Some(0) => Err(io::Error::other("the disk is full")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        self.burn()?;
        put(&mut self.current, &change);
        self.pending.push(change);
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.with(|platters| Ok(platters.current.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|platters| {
            let start = usize::try_from(offset).unwrap();
            let found = platters.current.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(found);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|platters| platters.change(Change::Length(usize::try_from(len).unwrap())))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|platters| {
            platters.burn()?;
            for change in std::mem::take(&mut platters.pending) {
                put(&mut platters.durable, &change);
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|platters| platters.change(Change::Write(usize::try_from(offset).unwrap(), data.to_vec())))
    }
}

fn contents(store: &Store) -> BTreeMap<String, String> {
    let page = store.list(&Scope::new("things", None), &ListOptions::default()).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    page.items.iter().map(|(path, object)| (path.to_string(), text(&object.bytes))).collect()
}

/// Writes until the disk fails; returns what was acknowledged and the write that was not.
async fn write_until_failure(store: &Store) -> (BTreeMap<String, String>, (String, String)) {
    let mut acknowledged = BTreeMap::new();
    for count in 0.. {
        let (name, value) = ((count % 7).to_string(), count.to_string());
        let path = format!("space/{name}");
        let result = if acknowledged.contains_key(&path) {
            store.update(key(&name), Expected::Any, draft(&value)).await
        } else {
            store.create(key(&name), draft(&value)).await
        };
        match result {
            Ok(_) => acknowledged.insert(path, value),
            Err(Error::Disk { .. }) => return (acknowledged, (path, value)),
            Err(other) => panic!("{other}"),
        };
    }
    unreachable!("the disk fails in the end")
}

/// After a restart everything acknowledged is there; the failed write may be there too, and nothing else.
fn check(store: &Store, acknowledged: &BTreeMap<String, String>, (path, value): &(String, String)) {
    let found = contents(store);
    let mut with_failed = acknowledged.clone();
    with_failed.insert(path.clone(), value.clone());
    assert!(found == *acknowledged || found == with_failed, "found {found:?}, acknowledged {acknowledged:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_failing_disk_loses_nothing_that_was_acknowledged(healthy in 0_usize..400, kept in any::<u64>()) {
        runtime().block_on(async {
            let disk = Disk::default();
            let store = Store::open_backend(disk.clone(), &Config::default()).unwrap();
            disk.fail_after(healthy);
            let (acknowledged, failed) = write_until_failure(&store).await;
            prop_assert_eq!(&contents(&store), &acknowledged, "what failed is not seen");
            let refused = store.create(key("late"), draft("x")).await;
            prop_assert!(matches!(refused, Err(Error::Stopped)), "{:?}", refused);
            // The power goes as well: of what was never synced, chance decides what stays.
            let mut chance = kept | 1;
            let disk = disk.after_power_cut(|| {
                chance ^= chance << 13;
                chance ^= chance >> 7;
                chance ^= chance << 17;
                chance & 1 == 1
            });
            drop(store);
            let store = Store::open_backend(disk, &Config::default()).unwrap();
            check(&store, &acknowledged, &failed);
            store.create(key("late"), draft("x")).await.unwrap();
            Ok(())
        })?;
    }
}

#[test]
fn a_file_of_a_later_format_is_refused_not_rewritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    {
        let database = redb::Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let table: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("figures");
        transaction.open_table(table).unwrap().insert("format", 99).unwrap();
        transaction.commit().unwrap();
    }
    let refused = Store::open(&path, &Config::default()).unwrap_err();
    assert!(matches!(refused, Error::Format { found: 99, .. }), "{refused}");
    std::fs::write(&path, b"not a database, but long enough to look at").unwrap();
    assert!(matches!(Store::open(&path, &Config::default()), Err(Error::Disk { .. })));
}

#[test]
fn a_file_has_one_user_at_a_time_and_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let first = Store::open(&path, &Config::default()).unwrap();
    assert!(matches!(Store::open(&path, &Config::default()), Err(Error::InUse)));
    drop(first);
    Store::open(&path, &Config::default()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
