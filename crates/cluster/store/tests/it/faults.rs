//! Disks that fail and power that is cut.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use store::{Config, Directory, Error, Expected, File, ListOptions, Scope, Store};

use crate::{draft, key, runtime};

/// A disk in memory that knows what has been synced, and that can be told to fail.
#[derive(Debug, Clone, Default)]
struct Disk {
    inner: Arc<Mutex<Platters>>,
}

#[derive(Debug, Default)]
struct Platters {
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    durable: BTreeMap<String, Arc<Mutex<Content>>>,
    /// Operations until everything fails; `None` for a healthy disk.
    fuse: Option<usize>,
    /// Bytes that fit; `None` for a disk without end.
    room: Option<usize>,
    /// Whether the next sync of a file fails.
    bad_sync: bool,
}

#[derive(Debug, Clone, Default)]
struct Content {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// Writes since the last sync.
    pending: Vec<Change>,
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

    /// What is on the disk when the power comes back: what was synced, and of the rest what chance kept.
    fn after_power_cut(&self, mut chance: impl FnMut() -> u64) -> Disk {
        self.with(|platters| {
            let names = if chance().is_multiple_of(2) { &platters.durable } else { &platters.files };
            let mut files = BTreeMap::new();
            for (name, content) in names {
                let content = content.lock().unwrap();
                let mut bytes = content.durable.clone();
                for change in &content.pending {
                    match (change, chance() % 3) {
                        (_, 0) => {}
                        (Change::Write(offset, data), 1) => {
                            let part = usize::try_from(chance() % (data.len() as u64 + 1)).unwrap();
                            put(&mut bytes, &Change::Write(*offset, data[..part].to_vec()));
                        }
                        _ => put(&mut bytes, change),
                    }
                }
                let content = Content { durable: bytes.clone(), current: bytes, pending: Vec::new() };
                files.insert(name.clone(), Arc::new(Mutex::new(content)));
            }
            let platters = Platters { durable: files.clone(), files, ..Platters::default() };
            Disk { inner: Arc::new(Mutex::new(platters)) }
        })
    }

    fn open(&self) -> Result<Store, Error> {
        // So few bytes that snapshots are taken all the time.
        Store::open_in(Arc::new(self.clone()), &Config { log_bytes: 500, ..Config::default() })
    }
}

impl Platters {
    fn burn(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            Some(0) => Err(io::Error::other("the disk is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn used(&self) -> usize {
        self.files.values().map(|content| content.lock().unwrap().current.len()).sum()
    }
}

impl Directory for Disk {
    fn names(&self) -> io::Result<Vec<String>> {
        self.with(|platters| Ok(platters.files.keys().cloned().collect()))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.with(|platters| {
            let content = platters.files.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
            Ok(Box::new(Handle { disk: self.clone(), content }) as Box<dyn File>)
        })
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.with(|platters| {
            platters.burn()?;
            let content = Arc::new(Mutex::new(Content::default()));
            platters.files.insert(name.to_owned(), content.clone());
            Ok(Box::new(Handle { disk: self.clone(), content }) as Box<dyn File>)
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|platters| {
            platters.burn()?;
            let content = platters.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
            platters.files.insert(to.to_owned(), content);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|platters| {
            platters.burn()?;
            platters.files.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|platters| {
            platters.burn()?;
            platters.durable = platters.files.clone();
            Ok(())
        })
    }
}

#[derive(Debug)]
struct Handle {
    disk: Disk,
    content: Arc<Mutex<Content>>,
}

impl Handle {
    fn change(&self, change: Change) -> io::Result<()> {
        self.disk.with(|platters| platters.burn())?;
        let mut content = self.content.lock().unwrap();
        put(&mut content.current, &change);
        content.pending.push(change);
        Ok(())
    }
}

impl File for Handle {
    fn length(&self) -> io::Result<u64> {
        Ok(self.content.lock().unwrap().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let content = self.content.lock().unwrap();
        let from = content.current.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let length = from.len().min(out.len());
        out[..length].copy_from_slice(&from[..length]);
        Ok(length)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let (used, room) = self.disk.with(|platters| (platters.used(), platters.room));
        let grows = (offset + data.len()).saturating_sub(self.content.lock().unwrap().current.len());
        if let Some(room) = room
            && used + grows > room
        {
            let part = data[..data.len().min(room.saturating_sub(used))].to_vec();
            self.change(Change::Write(offset, part))?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.change(Change::Write(offset, data.to_vec()))
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.change(Change::Length(usize::try_from(length).unwrap()))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.with(|platters| platters.burn())?;
        let failing = self.disk.with(|platters| std::mem::take(&mut platters.bad_sync));
        let mut content = self.content.lock().unwrap();
        // As Linux does: after a failed write-back the pages count as clean, and a second sync succeeds without them.
        let pending = std::mem::take(&mut content.pending);
        if failing {
            return Err(io::Error::other("write-back failed"));
        }
        for change in pending {
            put(&mut content.durable, &change);
        }
        Ok(())
    }
}

/// Numbers that look random, from a seed.
fn chance(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 8
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
            let store = disk.open().unwrap();
            disk.with(|platters| platters.fuse = Some(healthy));
            let (acknowledged, failed) = write_until_failure(&store).await;
            prop_assert_eq!(&contents(&store), &acknowledged, "what failed is not seen");
            let refused = store.create(key("late"), draft("x")).await;
            prop_assert!(matches!(refused, Err(Error::Stopped)), "{:?}", refused);
            drop(store);
            // The power goes as well: of what was never synced, chance decides what stays.
            let store = disk.after_power_cut(chance(kept)).open().unwrap();
            check(&store, &acknowledged, &failed);
            store.create(key("late"), draft("x")).await.unwrap();
            Ok(())
        })?;
    }

    #[test]
    fn damage_is_told_and_never_taken_for_data(at in any::<u64>(), writes in 1_u64..30) {
        runtime().block_on(async {
            let disk = Disk::default();
            let store = disk.open().unwrap();
            let mut states = vec![contents(&store)];
            for write in 0..writes {
                let name = (write % 7).to_string();
                match store.get(&key(&name)) {
                    Some(_) => store.update(key(&name), Expected::Any, draft(&write.to_string())).await.unwrap(),
                    None => store.create(key(&name), draft(&write.to_string())).await.unwrap(),
                };
                states.push(contents(&store));
            }
            drop(store);
            disk.with(|platters| {
                let used = u64::try_from(platters.used()).unwrap();
                let mut at = usize::try_from(at % used).unwrap();
                for content in platters.files.values() {
                    let mut content = content.lock().unwrap();
                    if at < content.current.len() {
                        content.current[at] ^= 0x10;
                        break;
                    }
                    at -= content.current.len();
                }
            });
            match disk.open() {
                Err(Error::Corrupt { .. } | Error::Format { .. }) => {}
                Err(other) => prop_assert!(false, "{}", other),
                // Only the last frame may go: it looks like one that was never finished.
                Ok(store) => prop_assert!(states[states.len() - 2..].contains(&contents(&store))),
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    store.create(key("early"), draft("x")).await.unwrap();
    disk.with(|platters| platters.room = Some(platters.used() + 60));
    let large = "y".repeat(500);
    let refused = store.create(key("large"), draft(&large)).await.unwrap_err();
    assert!(matches!(&refused, Error::Disk { source, .. } if source.kind() == io::ErrorKind::StorageFull));
    assert_eq!(contents(&store).len(), 1, "what failed is not seen");
    disk.with(|platters| platters.room = None);
    store.create(key("late"), draft("x")).await.unwrap();
    assert_eq!(store.revision(), 2, "what failed took no revision");
    drop(store);
    let store = disk.after_power_cut(chance(1)).open().unwrap();
    assert_eq!(contents(&store).into_keys().collect::<Vec<_>>(), ["space/early", "space/late"]);
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_written_until_the_store_is_opened_anew() {
    for seed in 0..20 {
        let disk = Disk::default();
        let store = disk.open().unwrap();
        store.create(key("early"), draft("x")).await.unwrap();
        disk.with(|platters| platters.bad_sync = true);
        let failed = store.create(key("unknown"), draft("x")).await.unwrap_err();
        assert!(matches!(failed, Error::Disk { .. }), "{failed}");
        let refused = store.create(key("late"), draft("x")).await.unwrap_err();
        assert!(matches!(refused, Error::Stopped), "{refused}");
        drop(store);
        let store = disk.open().unwrap();
        let seen = contents(&store);
        drop(store);
        // What was seen after opening is durable, although the sync that succeeded since had nothing to do.
        let store = disk.after_power_cut(chance(seed)).open().unwrap();
        assert_eq!(contents(&store), seen);
    }
}

#[tokio::test]
async fn a_later_format_is_refused_not_rewritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Store::open(&path, &Config::default()).unwrap();
    store.create(key("one"), draft("x")).await.unwrap();
    drop(store);
    let log = path.join("log-0000000000000001");
    let mut bytes = std::fs::read(&log).unwrap();
    // The format is the number after the first frame's head and tag; its checksums follow suit.
    bytes[25] = 99;
    let sum = crc32fast::hash(&bytes[24..29]);
    bytes[16..20].copy_from_slice(&sum.to_le_bytes());
    let sum = crc32fast::hash(&bytes[..20]);
    bytes[20..24].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(&log, &bytes).unwrap();
    let refused = Store::open(&path, &Config::default()).unwrap_err();
    assert!(matches!(refused, Error::Format { found: 99, .. }), "{refused}");
    assert_eq!(std::fs::read(&log).unwrap(), bytes);
}

#[tokio::test]
async fn a_store_of_format_1_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let old = directory.path().join("objects.redb");
    {
        let database = redb::Database::create(&old).unwrap();
        let transaction = database.begin_write().unwrap();
        let figures: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("figures");
        let objects: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("objects");
        {
            let mut figures = transaction.open_table(figures).unwrap();
            figures.insert("format", 1).unwrap();
            figures.insert("revision", 9).unwrap();
            let mut objects = transaction.open_table(objects).unwrap();
            for (name, revision) in [("one", 3_u64), ("two", 7)] {
                let value = [&revision.to_be_bytes()[..], name.as_bytes()].concat();
                objects.insert(format!("things\0space/{name}").as_str(), value.as_slice()).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
    let store = Store::open(directory.path(), &Config::default()).unwrap();
    assert!(store.revision() == 9 && !old.exists());
    assert_eq!(store.get(&key("one")).unwrap().revision, 3);
    assert_eq!(&store.get(&key("two")).unwrap().bytes[..], b"two");
    store.update(key("one"), Expected::At(3), draft("new")).await.unwrap();
    drop(store);
    let store = Store::open(directory.path(), &Config::default()).unwrap();
    assert_eq!((store.get(&key("one")).unwrap().revision, store.revision()), (10, 10));
}

#[test]
fn a_directory_has_one_user_at_a_time_and_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let first = Store::open(&path, &Config::default()).unwrap();
    assert!(matches!(Store::open(&path, &Config::default()), Err(Error::InUse)));
    drop(first);
    drop(Store::open(&path, &Config::default()).unwrap());
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for entry in std::fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[tokio::test]
async fn a_backup_of_an_open_store_makes_the_same_store_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let (path, file, other) =
        (directory.path().join("store"), directory.path().join("backup"), directory.path().join("other"));
    assert!(matches!(store::backup(&path, &file), Err(Error::Empty { .. } | Error::Disk { .. })));
    let config = Config { log_bytes: 500, ..Config::default() };
    let store = Store::open(&path, &config).unwrap();
    for number in 0..40 {
        store.create(key(&number.to_string()), draft(&number.to_string())).await.unwrap();
    }
    store.delete(key("7"), Expected::Any, draft("")).await.unwrap();
    let backup = store::backup(&path, &file).unwrap();
    assert_eq!((backup.revision, backup.objects), (41, 39));
    assert!(matches!(store::restore(&file, &path), Err(Error::InUse)));
    assert_eq!(store::restore(&file, &other).unwrap(), backup);
    assert!(matches!(store::restore(&file, &other), Err(Error::Occupied { .. })));
    let restored = Store::open(&other, &config).unwrap();
    assert_eq!((contents(&restored), restored.revision()), (contents(&store), 41));
    let mut spoiled = std::fs::read(&file).unwrap();
    spoiled[300] ^= 1;
    std::fs::write(&file, &spoiled).unwrap();
    let refused = store::restore(&file, &directory.path().join("third")).unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
}
