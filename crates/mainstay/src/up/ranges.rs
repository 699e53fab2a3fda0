//! The address ranges of a data directory: chosen once, since Services keep their addresses.

use std::fs;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;

use anyhow::{Context, Result};
use network::Ranges;

use crate::data_dir::DataDir;

/// The ranges of this data directory: as chosen before, otherwise free ones of this machine.
pub(crate) async fn of(data: &DataDir) -> Result<Ranges> {
    let file = data.node().join("ranges");
    if let Some(ranges) = read(&file)? {
        return Ok(ranges);
    }
    let chosen = network::choose_ranges(&data.id(), reserve).await;
    let ranges = chosen.context("choose address ranges for Pods and Services")?;
    fs::create_dir_all(data.node()).with_context(|| format!("create {}", data.node().display()))?;
    let draft = file.with_extension("new");
    fs::write(&draft, format!("{}\n{}\n", ranges.pods, ranges.services))
        .and_then(|()| fs::rename(&draft, &file))
        .with_context(|| format!("write {}", file.display()))?;
    Ok(ranges)
}

/// Whether this process is the first to want a pair of ranges. Its routes show only once the network stands; until then
/// a name in the abstract namespace of sockets keeps others from choosing the same. Such names belong to a network
/// namespace, as routes do, and end with the process.
fn reserve(ranges: &Ranges) -> bool {
    let name = format!("mainstay ranges {}", ranges.pods);
    let bound = SocketAddr::from_abstract_name(name).and_then(|name| UnixListener::bind_addr(&name));
    // Held until the process is gone.
    bound.map(std::mem::forget).is_ok()
}

fn read(file: &Path) -> Result<Option<Ranges>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {}", file.display())),
    };
    let mut lines = text.lines().map(str::parse);
    match (lines.next(), lines.next()) {
        (Some(Ok(pods)), Some(Ok(services))) => Ok(Some(Ranges { pods, services })),
        _ => anyhow::bail!("{} does not hold the ranges of Pods and Services, a line each", file.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_that_choose_at_once_choose_differently() {
        let (first, second) =
            tokio::join!(network::choose_ranges("same", reserve), network::choose_ranges("same", reserve));
        assert_ne!(first.unwrap().pods, second.unwrap().pods);
    }

    #[tokio::test]
    async fn ranges_are_chosen_once() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDir::create(&parent.path().join("data"), None).unwrap();
        let first = of(&data).await.unwrap();
        let second = of(&data).await.unwrap();
        assert_eq!((first.pods, first.services), (second.pods, second.services));
        fs::write(data.node().join("ranges"), "10.1.0.0/16\n").unwrap();
        assert!(of(&data).await.unwrap_err().to_string().contains("ranges"));
    }
}
