//! `mainstay down`: stops what a data directory still runs and leaves nothing on the machine but the data.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use containers::Containers;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cli::Down;
use crate::data_dir::DataDir;
use crate::environment::Environment;
use crate::{privilege, up};

/// How long a running Mainstay may take to stop its Pods: their longest usual grace period, and some more.
const GRACE: Duration = Duration::from_secs(150);

/// How often the lock is tried: it is the kernel's, and nothing announces that it is free.
const INTERVAL: Duration = Duration::from_millis(50);

pub(crate) async fn run(down: &Down, environment: &Environment) -> Result<()> {
    let path = environment.data_dir(&down.data)?;
    let data = DataDir::open(&path)?;
    let node = data.containers().exists() || data.node().exists();
    if node && !environment.root {
        return Err(privilege::become_root(&Environment::executable()?, &environment.arguments, &path));
    }
    end_holder(&data).await?;
    let _held = data.hold()?;
    if !node {
        return Ok(());
    }
    let containers =
        Containers::open(up::node::containers_config(&data)?).await.context("open the containers")?;
    containers.destroy().await.context("remove the containers")?;
    kubelet::unmount_all(&up::node::kubelet_dir(&data)).context("unmount the volumes")?;
    network::remove(&data.node()).await.context("remove the network")?;
    Ok(())
}

/// Ends the process that holds the directory as Ctrl-c does, and waits for it.
async fn end_holder(data: &DataDir) -> Result<()> {
    let Some(process) = data.holder()? else { return Ok(()) };
    match kill(Pid::from_raw(process), Signal::SIGINT) {
        // It ended by itself just now.
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(error) => return Err(error).with_context(|| format!("stop process {process}")),
    }
    let ended = async {
        while data.holder()?.is_some() {
            tokio::time::sleep(INTERVAL).await;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(GRACE, ended).await {
        Ok(result) => result,
        Err(_) => {
            bail!("process {process} did not stop in {} s; kill it and run this again", GRACE.as_secs())
        }
    }
}
