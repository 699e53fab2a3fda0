//! Those who are attached to the container: they see its output as it comes, and write its standard input.
//!
//! Nothing here may hold the container up. Who does not read is left behind; what the container does not read waits in a
//! buffer of limited size, and while it waits nobody's input is taken.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::termios::Winsize;

use super::log::Stream;
use crate::attach::{self, Frames, Kind};
use crate::spec::StandardInput;

const MOST_CLIENTS: usize = 16;
/// Output that a client has not read yet; more, and it is left behind.
const MOST_UNREAD: usize = 1 << 20;
/// Input that the container has not read yet; more is not taken from clients.
const MOST_WAITING: usize = 64 << 10;
/// At the end, time for a client to read the rest.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What a terminal takes for the end of the file.
const END_OF_TRANSMISSION: u8 = 4;

pub(super) struct Attached {
    listener: Option<UnixListener>,
    clients: Vec<Client>,
    /// The other end of the container's standard input, a pipe or a terminal, until it is closed.
    input: Option<OwnedFd>,
    terminal: bool,
    mode: StandardInput,
    waiting: VecDeque<u8>,
    /// The input is to be closed once the container has read what waits.
    ending: bool,
}

struct Client {
    socket: UnixStream,
    frames: Frames,
    unread: VecDeque<u8>,
    gone: bool,
}

impl Attached {
    /// For a container that is only written down.
    pub(super) fn nobody() -> Self {
        Self {
            listener: None,
            clients: Vec::new(),
            input: None,
            terminal: false,
            mode: StandardInput::None,
            waiting: VecDeque::new(),
            ending: false,
        }
    }

    /// `input` is where the container's standard input comes from; the terminal, if it has one, in any mode.
    pub(super) fn new(
        listener: UnixListener,
        input: Option<OwnedFd>,
        terminal: bool,
        mode: StandardInput,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        if let Some(input) = &input {
            rustix::io::ioctl_fionbio(input, true)?;
        }
        Ok(Self { listener: Some(listener), input, terminal, mode, ..Self::nobody() })
    }

    /// What to wait for besides the container's output.
    pub(super) fn fds(&self) -> Vec<PollFd<'_>> {
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(self.clients.len() + 2);
        fds.extend(self.listener.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
        let takes_input = self.waiting.len() < MOST_WAITING;
        for client in &self.clients {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, takes_input);
            wanted.set(PollFlags::OUT, !client.unread.is_empty());
            fds.push(PollFd::new(&client.socket, wanted));
        }
        if let Some(input) = self.input.as_ref().filter(|_| !self.waiting.is_empty()) {
            fds.push(PollFd::from_borrowed_fd(input.as_fd(), PollFlags::OUT));
        }
        fds
    }

    /// Shows output to everybody.
    pub(super) fn show(&mut self, stream: Stream, bytes: &[u8]) {
        let kind = match stream {
            Stream::Stdout => Kind::Stdout,
            Stream::Stderr => Kind::Stderr,
        };
        for client in &mut self.clients {
            if client.unread.len() < MOST_UNREAD {
                attach::append(&mut client.unread, kind, bytes);
            } else {
                client.gone = true;
            }
        }
    }

    /// Moves what can be moved now. Never waits.
    pub(super) fn serve(&mut self) {
        self.accept();
        for at in 0..self.clients.len() {
            self.clients[at].flush();
            if self.waiting.len() < MOST_WAITING {
                self.hear(at);
            }
        }
        let before = self.clients.len();
        self.clients.retain(|client| !client.gone);
        if self.mode == StandardInput::Once && self.clients.len() < before {
            self.ending = true;
        }
        self.feed();
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        while let Ok((socket, _)) = listener.accept() {
            // More than a few are none that a person opened; closing tells them.
            if self.clients.len() < MOST_CLIENTS && socket.set_nonblocking(true).is_ok() {
                let (frames, unread) = (Frames::default(), VecDeque::new());
                self.clients.push(Client { socket, frames, unread, gone: false });
            }
        }
    }

    /// Reads once from one client.
    fn hear(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let mut buffer = [0; 8 << 10];
        match client.socket.read(&mut buffer) {
            Ok(0) => client.gone = true,
            Ok(read) => client.frames.push(&buffer[..read]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => client.gone = true,
        }
        loop {
            match self.clients[at].frames.take() {
                Ok(Some((kind, bytes))) => self.obey(kind, &bytes),
                Ok(None) => return,
                Err(_) => {
                    self.clients[at].gone = true;
                    return;
                }
            }
        }
    }

    fn obey(&mut self, kind: Kind, bytes: &[u8]) {
        match kind {
            Kind::Input if self.mode != StandardInput::None => self.waiting.extend(bytes),
            Kind::End if self.terminal => self.waiting.push_back(END_OF_TRANSMISSION),
            // An input that stays open is for the next one who attaches.
            Kind::End => self.ending |= self.mode == StandardInput::Once,
            Kind::Size => {
                if let (true, Some(terminal), Some((columns, rows))) =
                    (self.terminal, &self.input, attach::read_size(bytes))
                {
                    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
                    let _ = rustix::termios::tcsetwinsize(terminal, size);
                }
            }
            Kind::Input | Kind::Stdout | Kind::Stderr => {}
        }
    }

    /// Gives the container what waits for it, and closes its input after that if it is to end.
    fn feed(&mut self) {
        while let (Some(input), false) = (&self.input, self.waiting.is_empty()) {
            match rustix::io::write(input, self.waiting.as_slices().0) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                // The container does not read any more.
                Err(_) => {
                    self.waiting.clear();
                    self.ending = true;
                }
            }
        }
        if self.ending && !self.terminal {
            self.input = None;
            self.waiting.clear();
        }
    }

    /// Nothing more comes: lets everybody read the rest, for a while.
    pub(super) fn finish(self) {
        for client in self.clients {
            let Client { mut socket, unread, .. } = client;
            let patient =
                socket.set_nonblocking(false).and_then(|()| socket.set_write_timeout(Some(LAST_WORDS)));
            if patient.is_ok() {
                let (first, second) = unread.as_slices();
                let _ = socket.write_all(first).and_then(|()| socket.write_all(second));
            }
        }
    }
}

impl Client {
    fn flush(&mut self) {
        while !self.unread.is_empty() {
            match self.socket.write(self.unread.as_slices().0) {
                Ok(written) => drop(self.unread.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
        self.unread.shrink_to_fit();
    }
}
