//! `mainstay cluster backup` of a cluster that runs, and `restore` into one that does not.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use test_kit::eventually;

use crate::platform::Platform;

const SOON: Duration = Duration::from_secs(60);

fn cluster(verb: &str, data: &Path, file: &Path) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .args(["cluster", verb, "--data-dir"])
        .args([data, file])
        .output()
        .expect("start mainstay cluster");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(text) } else { Err(text) }
}

#[test]
fn a_backup_brings_the_objects_back() {
    let mut platform = Platform::up(&["--bare", "--no-node"]);
    platform.kubectl(&["create", "configmap", "kept", "--from-literal=a=1"]);
    let kept = platform.get(&["configmap", "kept"]).expect("the object");
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let file = elsewhere.path().join("backup");
    cluster("backup", &platform.data_dir(), &file).expect("back up while it runs");
    platform.kubectl(&["delete", "configmap", "kept"]);
    platform.kubectl(&["create", "configmap", "later"]);

    let refused = cluster("restore", &platform.data_dir(), &file).expect_err("it runs");
    assert!(refused.contains("is in use by process"), "{refused}");
    platform.interrupt();
    let refused = cluster("restore", &platform.data_dir(), &file).expect_err("objects are never overwritten");
    assert!(refused.contains("already holds a store"), "{refused}");

    // Back to that moment, with the same keys: the kubeconfig from before still opens it.
    fs::remove_dir_all(platform.data_dir().join("store")).expect("put the objects away");
    cluster("restore", &platform.data_dir(), &file).expect("restore");
    platform.start();
    assert_eq!(platform.get(&["configmap", "kept"]).expect("it is back"), kept, "to the field");
    let later = platform.try_kubectl(&["get", "configmap", "later"]);
    assert!(later.as_ref().is_err_and(|error| error.contains("NotFound")), "{later:?}");
    platform.interrupt();

    // On another machine: the same objects under an authority of its own, which is published anew.
    let before = platform.data_dir().join("kubeconfig");
    let before = fs::read_to_string(before).expect("the kubeconfig");
    fs::remove_dir_all(platform.data_dir()).expect("a new machine");
    cluster("restore", &platform.data_dir(), &file).expect("restore into a directory that is made");
    platform.start();
    assert_ne!(fs::read_to_string(platform.kubeconfig()).expect("the kubeconfig"), before);
    assert_eq!(platform.get(&["configmap", "kept"]).expect("it is back"), kept, "to the field");
    let authority = fs::read_to_string(platform.data_dir().join("pki/ca.crt")).expect("the new authority");
    eventually("Pods are told the new authority", SOON, || {
        let told = platform.get(&["configmap", "kube-root-ca.crt"])?;
        let told = told["data"]["ca.crt"].as_str().unwrap_or_default();
        if told == authority { Ok(()) } else { Err(told.to_owned()) }
    });
}

#[test]
fn a_damaged_backup_is_refused_whole() {
    let platform = Platform::up(&["--bare", "--no-node"]);
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let file = elsewhere.path().join("backup");
    cluster("backup", &platform.data_dir(), &file).expect("back up");
    let whole = fs::read(&file).expect("the backup");
    let middle = whole.len() / 2;
    let mut flipped = whole.clone();
    flipped[middle] ^= 1;
    let empty = Vec::new();
    for damaged in [&whole[..middle], &whole[..whole.len() - 1], &flipped, &empty] {
        fs::write(&file, damaged).expect("damage it");
        let data = elsewhere.path().join("data");
        let refused = cluster("restore", &data, &file).expect_err("it is damaged");
        assert!(refused.contains("backup"), "{refused}");
        assert!(!data.join("store").exists(), "nothing half is left: {refused}");
    }
}
