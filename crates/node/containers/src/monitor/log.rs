//! A container's output, line by line into files of the CRI log format.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::attached::Attached;

/// Longer lines are written in pieces marked `P`; containerd's limit.
const LINE_LIMIT: usize = 16 << 10;
/// Read at once; a pipe holds 64 KiB, and a monitor should be small.
const READ_SIZE: usize = 8 << 10;

#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The current log file and its predecessors `<path>.1`, `<path>.2` …
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    max_bytes: u64,
    max_files: u32,
}

impl LogFile {
    /// Appends to what is there: a container that is restarted under the same path goes on in its file.
    pub(super) fn open(path: &Path, max_bytes: u64, max_files: u32) -> io::Result<Self> {
        let file = append_to(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            max_bytes: max_bytes.max(1),
            max_files: max_files.max(1),
        })
    }

    /// Writes whole lines, as many into each file as fit. A full disk loses them; it must not stop the container.
    fn write(&mut self, mut lines: &[u8]) {
        while !lines.is_empty() {
            let room = usize::try_from(self.max_bytes.saturating_sub(self.size)).unwrap_or(usize::MAX);
            let fitting = if lines.len() <= room {
                lines.len()
            } else {
                match lines[..room].iter().rposition(|byte| *byte == b'\n') {
                    Some(end) => end + 1,
                    None if self.size > 0 => {
                        self.rotate();
                        continue;
                    }
                    // One line longer than a whole file is not cut.
                    None => lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1),
                }
            };
            let (now, later) = lines.split_at(fitting);
            if self.file.write_all(now).is_ok() {
                self.size += now.len() as u64;
            }
            lines = later;
        }
    }

    fn rotate(&mut self) {
        let numbered = |n: u32| {
            let mut path = self.path.clone().into_os_string();
            path.push(format!(".{n}"));
            PathBuf::from(path)
        };
        for n in (1..self.max_files.saturating_sub(1)).rev() {
            let _ = fs::rename(numbered(n), numbered(n + 1));
        }
        let moved = if self.max_files > 1 {
            fs::rename(&self.path, numbered(1))
        } else {
            fs::remove_file(&self.path)
        };
        // When nothing can be renamed or opened, the old file goes on growing: too much log beats none.
        if let (Ok(()), Ok(file)) = (moved, append_to(&self.path)) {
            self.file = file;
        }
        self.size = 0;
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// One output of the container, up to its end.
#[derive(Debug)]
pub(super) struct Pump {
    pipe: Option<OwnedFd>,
    stream: Stream,
    /// The beginning of a line whose end has not come yet.
    pending: Vec<u8>,
    /// Whether pieces of the pending line have been written.
    continued: bool,
}

impl Pump {
    pub(super) fn new(pipe: OwnedFd, stream: Stream) -> Self {
        // Reading must never wait: the poll that precedes it watches several descriptors.
        let _ = rustix::fs::fcntl_setfl(&pipe, rustix::fs::OFlags::NONBLOCK);
        Self { pipe: Some(pipe), stream, pending: Vec::new(), continued: false }
    }

    /// What to poll; `None` after the end.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(|pipe| pipe.as_fd())
    }

    /// Moves what is there now into the log and to those attached, at most one buffer, so that neither output starves the other.
    pub(super) fn pump(&mut self, log: &mut LogFile, attached: &mut Attached) -> bool {
        let Some(pipe) = &self.pipe else { return false };
        let mut buffer = [0; READ_SIZE];
        match rustix::io::read(pipe, &mut buffer) {
            Ok(0) => {
                self.pipe = None;
                false
            }
            Ok(read) => {
                attached.show(self.stream, &buffer[..read]);
                self.take(&buffer[..read], log, Timestamp::now());
                true
            }
            Err(rustix::io::Errno::INTR) => true,
            Err(rustix::io::Errno::AGAIN) => false,
            Err(_) => {
                self.pipe = None;
                false
            }
        }
    }

    /// Moves all that is left, and ends the last line. Processes that still hold the other end are not waited for.
    pub(super) fn finish(&mut self, log: &mut LogFile, attached: &mut Attached) {
        while self.pump(log, attached) {}
        if !self.pending.is_empty() {
            let mut lines = Vec::new();
            append(&mut lines, Timestamp::now(), self.stream, "F", &self.pending);
            log.write(&lines);
            self.pending.clear();
        }
    }

    fn take(&mut self, mut bytes: &[u8], log: &mut LogFile, now: Timestamp) {
        let mut lines = Vec::new();
        while !bytes.is_empty() {
            let room = LINE_LIMIT - self.pending.len();
            let (piece, rest, tag) = match bytes.iter().take(room + 1).position(|byte| *byte == b'\n') {
                Some(end) => (&bytes[..end], &bytes[end + 1..], Some("F")),
                None if bytes.len() >= room => (&bytes[..room], &bytes[room..], Some("P")),
                None => (bytes, &bytes[..0], None),
            };
            self.pending.extend_from_slice(piece);
            bytes = rest;
            if let Some(tag) = tag {
                append(&mut lines, now, self.stream, tag, &self.pending);
                self.pending.clear();
                self.continued = tag == "P";
            }
        }
        // Idle containers should hold no buffers.
        self.pending.shrink_to_fit();
        log.write(&lines);
    }
}

fn append(lines: &mut Vec<u8>, now: Timestamp, stream: Stream, tag: &str, line: &[u8]) {
    // Nine digits always, as readers of these files sort and cut by column.
    let _ = write!(lines, "{now:.9} {} {tag} ", stream.name());
    lines.extend_from_slice(line);
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        _dir: tempfile::TempDir,
        path: PathBuf,
        log: LogFile,
        pump: Pump,
        input: File,
    }

    fn fixture(max_bytes: u64, max_files: u32) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let (read, write) = rustix::pipe::pipe().unwrap();
        Fixture {
            log: LogFile::open(&path, max_bytes, max_files).unwrap(),
            pump: Pump::new(read, Stream::Stdout),
            input: write.into(),
            path,
            _dir: dir,
        }
    }

    fn tagged(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn writes_lines_with_time_stream_and_tag() {
        let mut f = fixture(1 << 20, 3);
        f.input.write_all(b"one\n\ntw").unwrap();
        f.pump.pump(&mut f.log, &mut Attached::nobody());
        assert_eq!(tagged(&f.path), ["stdout F one", "stdout F "]);
        f.input.write_all(b"o\nlast").unwrap();
        drop(f.input);
        f.pump.finish(&mut f.log, &mut Attached::nobody());
        assert_eq!(tagged(&f.path), ["stdout F one", "stdout F ", "stdout F two", "stdout F last"]);
        let text = fs::read_to_string(&f.path).unwrap();
        let stamp = text.split(' ').next().unwrap();
        assert_eq!(stamp.len(), "2024-01-01T00:00:00.000000000Z".len(), "{stamp}");
        stamp.parse::<Timestamp>().unwrap();
    }

    #[test]
    fn splits_long_lines() {
        let mut f = fixture(1 << 20, 3);
        let line = vec![b'x'; LINE_LIMIT * 2 + 5];
        f.input.write_all(&line).unwrap();
        f.input.write_all(b"\nnext\n").unwrap();
        while f.pump.pump(&mut f.log, &mut Attached::nobody()) {}
        let lines = tagged(&f.path);
        let shape: Vec<_> = lines.iter().map(|line| (&line[7..8], line.len() - 9)).collect();
        assert_eq!(shape, [("P", LINE_LIMIT), ("P", LINE_LIMIT), ("F", 5), ("F", 4)]);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole() {
        let mut f = fixture(1 << 20, 3);
        let mut line = vec![b'x'; LINE_LIMIT];
        line.push(b'\n');
        f.input.write_all(&line).unwrap();
        while f.pump.pump(&mut f.log, &mut Attached::nobody()) {}
        let tags: Vec<_> = tagged(&f.path).iter().map(|line| line[7..8].to_owned()).collect();
        // The limit may be reached before its line end is read; then an empty rest follows, as in containerd.
        assert!(tags == ["F"] || tags == ["P", "F"], "{tags:?}");
    }

    #[test]
    fn keeps_the_newest_files() {
        let mut f = fixture(100, 3);
        for n in 0..20 {
            f.input.write_all(format!("line number {n}\n").as_bytes()).unwrap();
            f.pump.pump(&mut f.log, &mut Attached::nobody());
        }
        let names: Vec<_> =
            fs::read_dir(f.path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(tagged(&f.path).last().unwrap().ends_with("line number 19"));
        for name in names {
            assert!(fs::metadata(f.path.with_file_name(name)).unwrap().len() <= 100);
        }
    }
}
