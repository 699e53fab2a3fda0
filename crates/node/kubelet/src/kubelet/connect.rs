//! Connections with ports inside Pods.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use link::{Connection, LinkError};
use nix::sched::{CloneFlags, setns};
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;

use super::Kubelet;
use crate::pod;

/// Time for a connection within the machine.
const LIMIT: Duration = Duration::from_secs(5);

impl Kubelet {
    pub(super) async fn connect_with(
        &self,
        namespace: String,
        name: String,
        port: u16,
    ) -> Result<Connection, LinkError> {
        let (handle, latest) = self.find(&namespace, &name)?;
        let failed = |source| LinkError::Connect { pod: name.clone(), port, source };
        let inside = if pod::spec(&latest).host_network == Some(true) {
            None
        } else {
            let attached = self.inner.shared.runtime().attach(&handle.id.uid).await;
            let attached =
                attached.map_err(|error| failed(io::Error::other(client::chain(&error).to_string())))?;
            Some(attached.namespace)
        };
        let connected = tokio::task::spawn_blocking(move || dial(inside, port)).await;
        let stream = connected.map_err(io::Error::other).flatten().map_err(failed)?;
        let stream = tokio::net::TcpStream::from_std(stream).map_err(failed)?;
        let (read, write) = stream.into_split();
        let pod = name.clone();
        let output = ReaderStream::new(read)
            .map(move |chunk| chunk.map_err(|source| LinkError::Connect { pod: pod.clone(), port, source }))
            .boxed();
        let input = futures::sink::unfold(write, move |mut write, bytes: Bytes| {
            let pod = name.clone();
            async move {
                let written =
                    if bytes.is_empty() { write.shutdown().await } else { write.write_all(&bytes).await };
                written.map_err(|source| LinkError::Connect { pod, port, source })?;
                Ok(write)
            }
        });
        Ok(Connection { input: Box::pin(input), output })
    }
}

/// Connects with the loopback address inside a network namespace, on a thread that goes there and ends with it.
fn dial(inside: Option<PathBuf>, port: u16) -> io::Result<TcpStream> {
    let thread = std::thread::Builder::new().name("dial".to_owned()).spawn(move || {
        if let Some(path) = inside {
            setns(File::open(path)?, CloneFlags::CLONE_NEWNET)?;
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    })?;
    thread.join().map_err(|_| io::Error::other("the thread that connects panicked"))?
}
