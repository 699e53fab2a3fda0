//! `kill -9` at random moments: whatever was acknowledged is there afterwards, whole, and watches resume or are told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use store::{Config, Error, Expected, Key, Scope, Store};

use crate::{draft, runtime};

/// Set for the process that is to be killed: the file of its store.
const FILE: &str = "MAINSTAY_STORE_TEST_FILE";
const WRITERS: usize = 6;
const NAMES: u64 = 5;
/// Times that a value repeats its number: long enough to lie on several pages.
const REPEATED: usize = 400;

/// Snapshots come often, so that many kills hit one.
fn config() -> Config {
    Config { log_bytes: 200 << 10, ..Config::default() }
}

fn value(number: &str) -> String {
    format!("{number},").repeat(REPEATED)
}

/// The number of a value, which must be whole.
fn number(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).unwrap();
    let number = text.split_once(',').map_or("-", |(number, _)| number);
    assert!(text == value(number), "half a value of {number}");
    number.to_owned()
}

/// Not a test of its own: the body of the child process, which ends only by being killed.
#[test]
fn child() {
    let Some(path) = std::env::var_os(FILE) else { return };
    runtime().block_on(async {
        let store = Store::open(path.as_ref(), &config()).unwrap();
        let seed = store.revision();
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| tokio::spawn(write(store.clone(), writer, seed))).collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

async fn write(store: Store, writer: usize, seed: u64) {
    let mut chance = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(writer as u64 + 1) | 1;
    loop {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        // Each writer has names of its own, so that it alone knows what each must hold.
        let name = format!("{writer}-{}", chance % NAMES);
        let key = Key::new("things", None, &name);
        let value = value(&chance.to_string());
        let result = match store.get(&key) {
            None => store.create(key, draft(&value)).await,
            Some(_) if chance.is_multiple_of(4) => store.delete(key, Expected::Any, draft("")).await,
            Some(_) => store.update(key, Expected::Any, draft(&value)).await,
        };
        let object = result.unwrap();
        let text = if object.bytes.is_empty() { "-".to_owned() } else { number(&object.bytes) };
        // One write call, so that a line is whole or absent.
        let line = format!("ack {name} {} {}\n", object.revision, text);
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    }
}

#[test]
fn acknowledged_writes_survive_a_kill() {
    #[expect(clippy::disallowed_methods, reason = "`cargo xtask soak store` asks for more")]
    let rounds = std::env::var("MAINSTAY_SOAK_STORE_KILLS")
        .map_or(50, |rounds| rounds.parse::<usize>().expect("MAINSTAY_SOAK_STORE_KILLS is a number"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    // The last acknowledged write of each name: revision, and value unless it was a removal.
    let mut acknowledged: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--nocapture"])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The moment is random enough: the writers go on while these lines are read.
        let mut wanted = 1 + round * 37 % 131;
        for line in lines {
            let line = line.unwrap();
            let Some(rest) = line.split_once("ack ").map(|(_, rest)| rest) else { continue };
            let words: Vec<&str> = rest.split(' ').collect();
            let [name, revision, value] = words.as_slice() else { continue };
            acknowledged.insert((*name).to_owned(), (revision.parse().unwrap(), (*value).to_owned()));
            wanted = wanted.saturating_sub(1);
            if wanted == 0 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        verify(&path, &mut acknowledged);
    }
    assert!(!acknowledged.is_empty());
}

/// Compares the store with what was acknowledged, then takes over what the process wrote without getting to say so:
/// at most one write of each writer.
fn verify(path: &std::path::Path, acknowledged: &mut BTreeMap<String, (u64, String)>) {
    let store = Store::open(path, &config()).unwrap();
    let seen = acknowledged.values().map(|(revision, _)| *revision).max().unwrap_or(0);
    match store.watch(Scope::new("things", None), seen) {
        // Nothing has happened since.
        Ok(mut watch) => assert!(watch.poll(1).unwrap().is_empty() && store.revision() == seen),
        Err(Error::Compacted { .. }) => assert!(seen < store.revision()),
        Err(other) => panic!("a watch from {seen}: {other}"),
    }
    let mut unacknowledged = [0; WRITERS];
    for (name, (revision, value)) in acknowledged.iter_mut() {
        let found = store.get(&Key::new("things", None, name));
        let found = found.map(|object| (object.revision, number(&object.bytes)));
        match found {
            Some(found) if found.0 == *revision => assert_eq!(&found.1, value),
            None if value == "-" => {}
            other => {
                let writer: usize = name.split_once('-').unwrap().0.parse().unwrap();
                unacknowledged[writer] += 1;
                let (at, now) = other.unwrap_or_else(|| (store.revision(), "-".to_owned()));
                assert!(at > *revision, "{name} went back from {revision} to {at}");
                (*revision, *value) = (at, now);
            }
        }
    }
    assert!(
        unacknowledged.iter().all(|count| *count <= 1),
        "acknowledged writes are gone: {unacknowledged:?}"
    );
}
