//! The Python and the JavaScript client, unchanged, against a server with a node.
//!
//! `cargo xtask tools` installs them into `target/tools/clients`; each program prints a line for what it has done.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::nodes::Echo;
use crate::server::Server;

fn installed(name: &str) -> PathBuf {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/tools/clients");
    let path = clients.join(name);
    assert!(path.exists(), "{} is missing: `cargo xtask tools` installs it", path.display());
    path
}

async fn run(command: impl FnOnce(&Path) -> Command + Send + 'static) -> Vec<String> {
    let server = Server::start().await;
    server.api.set_node(Arc::new(Echo));
    let listening = server.listen().await;
    tokio::task::spawn_blocking(move || {
        let output = command(listening.kubeconfig()).stdin(Stdio::null()).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}{err}");
        out.lines().map(str::to_owned).collect()
    })
    .await
    .unwrap()
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_works_unchanged() {
    let python = installed("python/bin/python");
    let done = run(move |kubeconfig| {
        let mut command = Command::new(python);
        command.arg(script("client.py")).arg(kubeconfig);
        command
    })
    .await;
    let expected = [
        "list",
        "watch",
        "create",
        "replace",
        "apply",
        "scale",
        "errors",
        "log",
        "exec",
        "exec with input",
        "port-forward",
    ];
    assert_eq!(done, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn javascript_works_unchanged() {
    let modules = installed("javascript");
    let done = run(move |kubeconfig| {
        let mut command = Command::new("node");
        command.arg(script("client.mjs")).arg(kubeconfig).arg(modules);
        command
    })
    .await;
    let expected =
        ["list", "watch", "create", "apply", "errors", "log", "exec", "exec with input", "port-forward"];
    assert_eq!(done, expected);
}
