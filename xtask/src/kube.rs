//! The reference: the real kube-apiserver with etcd, built from the Go module proxy and run on loopback.
//!
//! No package registry carries the binaries, so they are built once (some minutes) into `target/tools`. The module
//! `k8s.io/kubernetes` names its siblings with `replace` lines that only hold inside its own repository, which is why
//! `go install` refuses it: a module of ours requires it and gives those siblings their published versions.

mod run;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

pub(crate) use run::{Audit, Reference};

/// The Kubernetes that our API is compared with.
const KUBERNETES: &str = "1.34.4";
/// The etcd below it.
const ETCD: &str = "3.6.16";

/// Where the two binaries are.
#[derive(Debug)]
pub(crate) struct Binaries {
    pub(crate) kube_apiserver: PathBuf,
    pub(crate) etcd: PathBuf,
}

/// `cargo xtask kube [build]`: builds the reference; without `build` also runs it until Ctrl-c.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let binaries = ensure(root)?;
    match arguments.first().map(String::as_str) {
        Some("build") => {
            println!("{}\n{}", binaries.kube_apiserver.display(), binaries.etcd.display());
            Ok(())
        }
        None => {
            let reference = Reference::start(root)?;
            println!("export KUBECONFIG={}", reference.kubeconfig().display());
            println!("Ctrl-c stops it");
            reference.wait()
        }
        Some(other) => bail!("`cargo xtask kube` takes `build` or nothing, not {other:?}"),
    }
}

/// Builds what is missing.
pub(crate) fn ensure(root: &Path) -> Result<Binaries> {
    let tools = root.join("target/tools");
    fs::create_dir_all(&tools).with_context(|| format!("create {}", tools.display()))?;
    let kube_apiserver = tools.join(format!("kube-apiserver-{KUBERNETES}"));
    let etcd = tools.join(format!("etcd-{ETCD}"));
    if !kube_apiserver.is_file() {
        build_kubernetes(&kube_apiserver)?;
    }
    if !etcd.is_file() {
        let go_mod = format!("module reference\n\ngo 1.24.0\n\nrequire go.etcd.io/etcd/server/v3 v{ETCD}\n");
        build(&etcd, &go_mod, "go.etcd.io/etcd/server/v3", "-s -w")?;
    }
    Ok(Binaries { kube_apiserver, etcd })
}

fn build_kubernetes(target: &Path) -> Result<()> {
    need_go()?;
    let module = format!("k8s.io/kubernetes@v{KUBERNETES}");
    let said = process::output(Command::new("go").args(["mod", "download", "-json", &module]))?;
    let said: serde_json::Value = serde_json::from_str(&said).context("read what `go mod download` said")?;
    let directory = said["Dir"].as_str().context("`go mod download` did not say where the module is")?;
    let text = fs::read_to_string(Path::new(directory).join("go.mod")).context("read the module's go.mod")?;
    // v1.34.4 of Kubernetes goes with v0.34.4 of its libraries.
    let library = KUBERNETES.replacen("1.", "0.", 1);
    let mut go_mod =
        format!("module reference\n\ngo 1.24.0\n\nrequire k8s.io/kubernetes v{KUBERNETES}\n\nreplace (\n");
    for line in text.lines().filter(|line| line.contains("=> ./staging/")) {
        let name = line.split_whitespace().next().context("a replace line names a module")?;
        go_mod.push_str(&format!("\t{name} => {name} v{library}\n"));
    }
    go_mod.push_str(")\n");
    let version = "k8s.io/component-base/version";
    let minor = KUBERNETES.split('.').nth(1).unwrap_or_default();
    let flags = format!(
        "-s -w -X {version}.gitVersion=v{KUBERNETES} -X {version}.gitMajor=1 -X {version}.gitMinor={minor} -X {version}.gitTreeState=clean"
    );
    build(target, &go_mod, "k8s.io/kubernetes/cmd/kube-apiserver", &flags)
}

/// Builds a program from a module of ours that requires the one it is in.
fn build(target: &Path, go_mod: &str, package: &str, linker: &str) -> Result<()> {
    need_go()?;
    println!("building {package}: this takes some minutes, once");
    let directory = target.with_extension("build");
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    let write = |name: &str, text: &str| {
        fs::write(directory.join(name), text)
            .with_context(|| format!("write {name} in {}", directory.display()))
    };
    write("go.mod", go_mod)?;
    // The import makes `go mod tidy` resolve the program; the tag keeps it out of every build.
    write("reference.go", &format!("//go:build tools\n\npackage reference\n\nimport _ \"{package}\"\n"))?;
    let partial = target.with_extension("partial");
    let go = |arguments: &[&str]| {
        let mut command = Command::new("nice");
        command.args(["-n", "10", "go"]).args(arguments).current_dir(&directory);
        process::run(command.env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=mod"))
    };
    go(&["mod", "tidy"])?;
    go(&["build", "-trimpath", "-ldflags", linker, "-o", &partial.to_string_lossy(), package])?;
    fs::rename(&partial, target).with_context(|| format!("put {} in place", target.display()))?;
    fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))
}

fn need_go() -> Result<()> {
    if !process::exists("go") {
        bail!("building the reference needs Go 1.24 or newer: install it and put `go` on PATH");
    }
    Ok(())
}
