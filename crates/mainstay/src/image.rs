//! `mainstay image`: images of a data directory, without a cluster.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use images::{ImageStore, PackFile, PackRequest, PackSource};
use registry::{Keyring, Reference, Registry, RegistryConfig};

use crate::cli::{Pack, Push};
use crate::data_dir::DataDir;

/// Opens the image store of a data directory. `mirrors` are pairs of a registry's host and a base URL.
pub(crate) async fn open(data: &DataDir, mirrors: &[(String, String)]) -> Result<ImageStore> {
    let mut config = RegistryConfig::default();
    for (host, url) in mirrors {
        config.mirrors.entry(host.clone()).or_default().push(url.clone());
    }
    let registry = Registry::new(config).context("set up the registry client")?;
    ImageStore::open(data.images(), registry).await.context("open the image store")
}

pub(crate) async fn pack(data: &DataDir, pack: &Pack) -> Result<()> {
    let mut request = PackRequest::program(reference(&pack.tag)?, pack.source.clone());
    if pack.source.is_dir() {
        if pack.entrypoint.is_empty() && pack.cmd.is_empty() {
            bail!("{} is a directory: say what the image starts with --entrypoint", pack.source.display());
        }
        request.source = PackSource::Directory(pack.source.clone());
    }
    request.extra = pack.add.iter().map(|text| added(text)).collect::<Result<_>>()?;
    request.entrypoint.clone_from(&pack.entrypoint);
    request.cmd.clone_from(&pack.cmd);
    request.env.clone_from(&pack.env);
    request.user = pack.user.clone().unwrap_or_default();
    let image = open(data, &[])
        .await?
        .pack(request)
        .await
        .with_context(|| format!("pack {}", pack.source.display()))?;
    say(&format!("{} {}", pack.tag, image.id))
}

pub(crate) async fn list(data: &DataDir) -> Result<()> {
    for image in open(data, &[]).await?.list().await.context("list the images")? {
        say(&format!("{:<60} {} {:>8.1} MB", image.name, image.id, megabytes(image.size)))?;
    }
    Ok(())
}

pub(crate) async fn push(data: &DataDir, push: &Push) -> Result<()> {
    let name = reference(&push.image)?;
    let target = push.to.as_deref().map(reference).transpose()?.unwrap_or_else(|| name.clone());
    let store = open(data, &push.mirrors).await?;
    let digest =
        store.push(&name, &target, &Keyring::default()).await.with_context(|| format!("push {target}"))?;
    say(&format!("{target} {digest}"))
}

fn reference(name: &str) -> Result<Reference> {
    Reference::parse(name).with_context(|| format!("read the image name {name:?}"))
}

/// Reads `HOST-PATH` or `HOST-PATH:IMAGE-PATH`.
fn added(text: &str) -> Result<PackFile> {
    let (source, target) = text.split_once(':').unwrap_or((text, text));
    let source = std::fs::canonicalize(source).with_context(|| format!("find {source}"))?;
    let target = PathBuf::from(target);
    if !target.is_absolute() {
        bail!("{text}: name an absolute path in the image, as in {}:/path", source.display());
    }
    Ok(PackFile { source, target, with_libraries: true })
}

#[expect(clippy::cast_precision_loss, reason = "a size for a person to read")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").context("write to standard output")
}

/// The image of the demo's service: this very program with the libraries it links.
pub(crate) async fn pack_demo(store: &ImageStore, executable: &Path) -> Result<()> {
    let mut request = PackRequest::program(reference("localhost/demo-service:1")?, executable.to_path_buf());
    request.cmd = vec!["demo-service".to_owned()];
    request.exposed_ports = vec!["8080".to_owned()];
    request.user = "65532:65532".to_owned();
    store.pack(request).await.context("pack the demo's image")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_added_under_its_own_path_or_another() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = std::fs::canonicalize(file.path()).unwrap();
        let same = added(path.to_str().unwrap()).unwrap();
        assert_eq!((&same.source, &same.target), (&path, &path));
        let moved = added(&format!("{}:/etc/passwd", path.display())).unwrap();
        assert_eq!(moved.target, Path::new("/etc/passwd"));
        assert!(added(&format!("{}:etc", path.display())).is_err());
        assert!(format!("{:#}", added("/no/such/file").unwrap_err()).contains("/no/such/file"));
    }
}
