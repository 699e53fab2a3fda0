//! Running a command inside a container from the caller's side.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;

use super::launch::{self, Helper};
use super::{Entry, ExecOutput, ExecRequest, Inner, blocking};
use crate::exec_helper::{Command, Outcome};
use crate::nursery::Mode;
use crate::{ContainerError, ExecError, sys};

/// The helper keeps the deadline; this is for a helper that hangs.
const MARGIN: Duration = Duration::from_secs(10);

struct Started {
    helper: Helper,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

pub(super) async fn exec(
    inner: &Arc<Inner>,
    entry: &Arc<Entry>,
    request: ExecRequest,
) -> Result<ExecOutput, ExecError> {
    if !entry.status.borrow().is_running() {
        return Err(ContainerError::NotRunning(entry.id.clone()).into());
    }
    let failed = |source| ExecError::Helper { exe: inner.launcher.exe().to_owned(), source };
    let started = {
        let (inner, entry) = (Arc::clone(inner), Arc::clone(entry));
        blocking(move || spawn(&inner, &entry)).await.map_err(failed)?
    };
    let process = sys::watch_readable(started.helper.process).map_err(failed)?;
    let mut stdout = Capture::new(started.stdout, request.output_limit).map_err(failed)?;
    let mut stderr = Capture::new(started.stderr, request.output_limit).map_err(failed)?;
    let talk = converse(started.helper.socket, &request);
    let talk = tokio::time::timeout(request.timeout.saturating_add(MARGIN), talk);
    tokio::pin!(talk);
    let outcome = loop {
        tokio::select! {
            outcome = &mut talk => break outcome,
            () = stdout.read() => {}
            () = stderr.read() => {}
        }
    };
    if outcome.is_err() {
        // The command dies with it.
        let _ = pidfd_send_signal(process.get_ref(), Signal::KILL);
    }
    launch::ended(&process).await.map_err(failed)?;
    // What a command left running still holds the pipes; take what is there and leave it.
    stdout.drain();
    stderr.drain();
    match outcome.unwrap_or(Ok(Outcome::TimedOut)).map_err(failed)? {
        Outcome::Ended { code } => Ok(ExecOutput { code, stdout: stdout.kept, stderr: stderr.kept }),
        Outcome::TimedOut => Err(ExecError::Timeout(request.timeout)),
        Outcome::NotRunning => Err(ContainerError::NotRunning(entry.id.clone()).into()),
        Outcome::Failed(reason) => Err(ExecError::Process(reason)),
    }
}

fn spawn(inner: &Inner, entry: &Entry) -> io::Result<Started> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let ((stdout, stdout_in), (stderr, stderr_in)) = (pipe()?, pipe()?);
    let helper =
        inner.launcher.launch(Mode::Exec, entry.layout.dir(), stdout_in.as_fd(), stderr_in.as_fd(), None)?;
    Ok(Started { helper, stdout, stderr })
}

async fn converse(socket: std::os::unix::net::UnixStream, request: &ExecRequest) -> io::Result<Outcome> {
    ask(socket, &Command { args: request.args.clone(), timeout: request.timeout, terminal: false }).await
}

/// Tells the helper what to run and waits for how it ended. The helper ends the command when the socket is dropped.
pub(super) async fn ask(socket: std::os::unix::net::UnixStream, command: &Command) -> io::Result<Outcome> {
    socket.set_nonblocking(true)?;
    let mut socket = tokio::net::UnixStream::from_std(socket)?;
    socket.write_all(&serde_json::to_vec(command)?).await?;
    socket.shutdown().await?;
    let mut text = Vec::new();
    socket.read_to_end(&mut text).await?;
    Ok(serde_json::from_slice(&text)?)
}

/// An output of which the beginning is kept.
struct Capture {
    pipe: Option<pipe::Receiver>,
    kept: Vec<u8>,
    limit: usize,
}

impl Capture {
    fn new(pipe: OwnedFd, limit: usize) -> io::Result<Self> {
        Ok(Self { pipe: Some(pipe::Receiver::from_owned_fd(pipe)?), kept: Vec::new(), limit })
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Reads once; after the end it waits for ever, so that a select goes to its other branches.
    async fn read(&mut self) {
        let mut buffer = [0; 4096];
        let Some(pipe) = &mut self.pipe else { return std::future::pending().await };
        match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => self.pipe = None,
            Ok(read) => self.keep(&buffer[..read]),
        }
    }

    /// Takes what is there without waiting.
    fn drain(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(pipe) = &self.pipe {
            match pipe.try_read(&mut buffer) {
                Ok(read) if read > 0 && self.kept.len() < self.limit => self.keep(&buffer[..read]),
                _ => self.pipe = None,
            }
        }
    }
}
