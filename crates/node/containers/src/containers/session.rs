//! Running a command inside a container while somebody talks to it.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use super::launch::{self, Helper};
use super::{Entry, Inner, blocking, exec};
use crate::exec_helper::{Command, Outcome};
use crate::nursery::Mode;
use crate::{ContainerError, ExecError, sys};

/// A session that nobody ends is ended after this long.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What to run, and what of it to be connected with.
#[derive(Clone, Debug)]
pub struct SessionRequest {
    pub args: Vec<String>,
    /// Whether the command gets a standard input; otherwise it reads the end of the file at once.
    pub input: bool,
    /// Whether its descriptors are a terminal. Then there is no separate standard error.
    pub terminal: bool,
}

/// A running command. Dropping it ends the command.
#[derive(Debug)]
pub struct Session {
    pub input: Option<Input>,
    pub stdout: Output,
    /// Absent for a terminal.
    pub stderr: Option<Output>,
    pub terminal: Option<Terminal>,
    /// How it ends: 0 to 255, 128 + n when signal n ended it.
    pub ended: Ended,
}

/// Where the command's standard input comes from. Dropping it is the end of the file, except for a terminal.
#[derive(Debug)]
pub struct Input(End<pipe::Sender>);

/// What the command writes.
#[derive(Debug)]
pub struct Output(End<pipe::Receiver>);

/// The terminal's size can be set.
#[derive(Clone, Debug)]
pub struct Terminal(Arc<AsyncFd<OwnedFd>>);

#[derive(Debug)]
enum End<T> {
    Pipe(T),
    Terminal(Terminal),
}

impl Input {
    /// Writes all of it; waits while the command does not read.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            End::Pipe(pipe) => pipe.write_all(bytes).await,
            End::Terminal(Terminal(master)) => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    let mut ready = master.writable().await?;
                    if let Ok(written) = ready.try_io(|master| Ok(rustix::io::write(master.get_ref(), rest)?))
                    {
                        rest = &rest[written?..];
                    }
                }
                Ok(())
            }
        }
    }

    /// The end of the file: closes a pipe, and types the terminal's character for it.
    pub async fn finish(mut self) -> io::Result<()> {
        const END_OF_TRANSMISSION: u8 = 4;
        match self.0 {
            End::Pipe(_) => Ok(()),
            End::Terminal(_) => self.write_all(&[END_OF_TRANSMISSION]).await,
        }
    }
}

impl Output {
    /// Reads what there is; 0 at the end. Cancelling loses nothing.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            End::Pipe(pipe) => pipe.read(buffer).await,
            End::Terminal(Terminal(master)) => loop {
                let mut ready = master.readable().await?;
                match ready.try_io(|master| Ok(rustix::io::read(master.get_ref(), &mut *buffer)?)) {
                    // Nobody has the other side open any more.
                    Ok(Err(error)) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                        return Ok(0);
                    }
                    Ok(result) => return result,
                    Err(_) => {}
                }
            },
        }
    }
}

impl Terminal {
    /// Sets the size, of which the programs in the foreground are told.
    pub fn resize(&self, columns: u16, rows: u16) -> io::Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(rustix::termios::tcsetwinsize(self.0.get_ref(), size)?)
    }
}

/// The end of a session's command.
#[derive(Debug)]
pub struct Ended(JoinHandle<Result<i32, ExecError>>);

impl Ended {
    /// Waits for the end and returns the exit code. Cancelling loses nothing.
    pub async fn wait(&mut self) -> Result<i32, ExecError> {
        match (&mut self.0).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(ExecError::Process("the session was given up".to_owned())),
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // Its socket goes with the task, at which the helper kills the command.
        self.0.abort();
    }
}

struct Started {
    helper: Helper,
    input: Option<Input>,
    stdout: Output,
    stderr: Option<Output>,
    terminal: Option<Terminal>,
}

pub(super) async fn start(
    inner: &Arc<Inner>,
    entry: &Arc<Entry>,
    request: SessionRequest,
) -> Result<Session, ExecError> {
    if !entry.status.borrow().is_running() {
        return Err(ContainerError::NotRunning(entry.id.clone()).into());
    }
    let exe = inner.launcher.exe().to_owned();
    let failed = move |source| ExecError::Helper { exe: exe.clone(), source };
    let runtime = tokio::runtime::Handle::current();
    let Started { helper, input, stdout, stderr, terminal } = {
        let (inner, entry, request) = (Arc::clone(inner), Arc::clone(entry), request.clone());
        let spawned = blocking(move || {
            // Descriptors are registered with the runtime as they are made.
            let _entered = runtime.enter();
            if request.terminal {
                on_terminal(&inner, &entry)
            } else {
                on_pipes(&inner, &entry, request.input)
            }
        });
        spawned.await.map_err(&failed)?
    };
    let process = sys::watch_readable(helper.process).map_err(&failed)?;
    let command = Command { args: request.args, timeout: LONGEST, terminal: request.terminal };
    let id = entry.id.clone();
    let ended = tokio::spawn(async move {
        let outcome = exec::ask(helper.socket, &command).await.map_err(&failed)?;
        launch::ended(&process).await.map_err(&failed)?;
        match outcome {
            Outcome::Ended { code } => Ok(code),
            Outcome::TimedOut => Err(ExecError::Timeout(LONGEST)),
            Outcome::NotRunning => Err(ContainerError::NotRunning(id).into()),
            Outcome::Failed(reason) => Err(ExecError::Process(reason)),
        }
    });
    let input = input.filter(|_| request.input);
    Ok(Session { input, stdout, stderr, terminal, ended: Ended(ended) })
}

fn on_pipes(inner: &Inner, entry: &Entry, with_input: bool) -> io::Result<Started> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC);
    let ((stdout, stdout_in), (stderr, stderr_in)) = (pipe()?, pipe()?);
    let stdin = with_input.then(pipe).transpose()?;
    let read_end = stdin.as_ref().map(|(read, _)| read.as_fd());
    let helper = inner.launcher.launch(
        Mode::Exec,
        entry.layout.dir(),
        stdout_in.as_fd(),
        stderr_in.as_fd(),
        read_end,
    )?;
    let input = stdin.map(|(_, write)| pipe::Sender::from_owned_fd(write)).transpose()?;
    Ok(Started {
        helper,
        input: input.map(|pipe| Input(End::Pipe(pipe))),
        stdout: Output(End::Pipe(pipe::Receiver::from_owned_fd(stdout)?)),
        stderr: Some(Output(End::Pipe(pipe::Receiver::from_owned_fd(stderr)?))),
        terminal: None,
    })
}

fn on_terminal(inner: &Inner, entry: &Entry) -> io::Result<Started> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = rustix::pty::openpt(flags)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    let side = slave.as_fd();
    let helper = inner.launcher.launch(Mode::Exec, entry.layout.dir(), side, side, Some(side))?;
    rustix::io::ioctl_fionbio(&master, true)?;
    let terminal = Terminal(Arc::new(sys::watch(master)?));
    Ok(Started {
        helper,
        input: Some(Input(End::Terminal(terminal.clone()))),
        stdout: Output(End::Terminal(terminal.clone())),
        stderr: None,
        terminal: Some(terminal),
    })
}
