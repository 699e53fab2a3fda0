//! Talking with a container's own standard descriptors.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::{Entry, blocking};
use crate::attach::{self, Frames, Kind};
use crate::layout;
use crate::{ContainerError, Exit, Status};

/// A connection with a container that has a standard input or a terminal. Dropping it changes nothing for the container,
/// except for one whose input is open once.
#[derive(Debug)]
pub struct Attachment {
    pub input: AttachedInput,
    pub output: AttachedOutput,
}

/// Where the container's standard input comes from.
#[derive(Debug)]
pub struct AttachedInput(OwnedWriteHalf);

/// What the container writes from now on.
#[derive(Debug)]
pub struct AttachedOutput {
    socket: OwnedReadHalf,
    frames: Frames,
    status: watch::Receiver<Status>,
}

/// A piece of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Of the standard output, or of the terminal.
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
}

pub(super) async fn attach(entry: &Arc<Entry>) -> Result<Attachment, ContainerError> {
    if !entry.status.borrow().is_running() {
        return Err(ContainerError::NotRunning(entry.id.clone()));
    }
    let path = entry.layout.attach();
    let connected = blocking(move || {
        layout::with_short_name(&path, |path| std::os::unix::net::UnixStream::connect(path))
    });
    let failed = |source| ContainerError::Io { id: entry.id.clone(), action: "attach to", source };
    let socket = connected.await.map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let (read, write) = UnixStream::from_std(socket).map_err(failed)?.into_split();
    let output = AttachedOutput { socket: read, frames: Frames::default(), status: entry.status.subscribe() };
    Ok(Attachment { input: AttachedInput(write), output })
}

impl AttachedInput {
    /// Writes all of it; waits while the container does not read.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send(Kind::Input, bytes).await
    }

    /// Says that nothing more comes: types a terminal's character for it, closes an input that is open once, and changes
    /// nothing for one that stays open.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.send(Kind::End, &[]).await
    }

    /// Sets the size of the terminal.
    pub async fn resize(&mut self, columns: u16, rows: u16) -> io::Result<()> {
        self.send(Kind::Size, &attach::size(columns, rows)).await
    }

    async fn send(&mut self, kind: Kind, bytes: &[u8]) -> io::Result<()> {
        let mut frame = Vec::new();
        attach::append(&mut frame, kind, bytes);
        self.0.write_all(&frame).await
    }
}

impl AttachedOutput {
    /// The next piece; `None` when the container has ended or does not want to be listened to any more. Cancelling loses
    /// nothing.
    pub async fn next(&mut self) -> io::Result<Option<Piece>> {
        loop {
            match self.frames.take()? {
                Some((Kind::Stdout, bytes)) => return Ok(Some(Piece::Stdout(bytes))),
                Some((Kind::Stderr, bytes)) => return Ok(Some(Piece::Stderr(bytes))),
                Some(_) => continue,
                None => {}
            }
            let mut buffer = [0; 8 << 10];
            match self.socket.read(&mut buffer).await {
                Ok(0) => return Ok(None),
                Ok(read) => self.frames.push(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// How the container ended, if it has; waits for it. `None` if it was deleted meanwhile.
    pub async fn ended(&mut self) -> Option<Exit> {
        let status = self.status.wait_for(|status| status.exit().is_some()).await.ok()?;
        status.exit().cloned()
    }
}
