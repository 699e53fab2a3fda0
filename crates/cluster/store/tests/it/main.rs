//! The store as its users rely on it: against a simple model, against failing disks, against `kill -9`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod kill;
mod model;
mod watches;

use store::{Config, Draft, Key, Store};

fn key(name: &str) -> Key {
    Key::new("things", Some("space"), name)
}

fn draft(text: &str) -> Draft {
    Draft::plain(text.as_bytes().to_vec())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn in_memory() -> Store {
    Store::in_memory(&Config::default()).unwrap()
}
