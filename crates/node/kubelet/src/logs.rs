//! Reading container logs: files in the CRI format (`<time> stdout|stderr F|P <text>`), rotated by the runtime
//! (`0.log`, then `0.log.1` for what is older).

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use containers::Event;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, stream};
use jiff::Timestamp;
use link::LogRequest;
use notify::{RecursiveMode, Watcher as _};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncSeekExt as _, BufReader};
use tokio::sync::Notify;

use crate::runtime::Runtime;

/// Bytes handed on at a time.
const CHUNK: usize = 64 << 10;
/// Rotated files that are looked for.
const MAX_ROTATED: u32 = 100;

/// The log of one attempt of a container.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) container_id: String,
    pub(crate) runtime: Arc<dyn Runtime>,
}

/// Opens a log. A file that is not there is an empty log.
pub(crate) async fn open(
    source: Source,
    request: &LogRequest,
) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static> {
    // Watched before anything is read, so that nothing written meanwhile is missed.
    let follow = if request.follow { Some(Follow::new(&source)?) } else { None };
    let mut files = existing(&source.path).await;
    let skip = match request.tail_lines {
        Some(lines) => keep_tail(&mut files, lines).await?,
        None => 0,
    };
    let reader = Reader {
        source,
        files,
        skip,
        open: None,
        inode: None,
        since: request.since,
        timestamps: request.timestamps,
        left: request.limit_bytes,
        at_line_start: true,
        line: Vec::new(),
        follow,
    };
    Ok(stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}

/// Removes a log with its rotated files.
pub(crate) fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
    for number in 1..=MAX_ROTATED {
        if std::fs::remove_file(rotated(path, number)).is_err() {
            return;
        }
    }
}

fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// The files of a log, oldest first.
async fn existing(path: &Path) -> VecDeque<PathBuf> {
    let mut files = VecDeque::from([path.to_owned()]);
    for number in 1..=MAX_ROTATED {
        let older = rotated(path, number);
        if tokio::fs::symlink_metadata(&older).await.is_err() {
            break;
        }
        files.push_front(older);
    }
    files
}

/// Leaves only the files with the last lines; the answer says where in the first of them these begin.
async fn keep_tail(files: &mut VecDeque<PathBuf>, lines: u64) -> io::Result<u64> {
    let mut wanted = lines;
    let mut kept = VecDeque::new();
    while let Some(path) = files.pop_back() {
        kept.push_front(path.clone());
        let Ok(mut file) = File::open(&path).await else { continue };
        let (offset, found) = tail_offset(&mut file, wanted).await?;
        wanted -= found.min(wanted);
        if wanted == 0 {
            *files = kept;
            return Ok(offset);
        }
    }
    *files = kept;
    Ok(0)
}

/// Where the last `lines` lines of a file begin, and how many of them it has.
async fn tail_offset(file: &mut File, lines: u64) -> io::Result<(u64, u64)> {
    let length = file.metadata().await?.len();
    if lines == 0 {
        return Ok((length, 0));
    }
    let mut found = 0;
    let mut end = length;
    let mut buffer = vec![0; CHUNK];
    while end > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        let size = usize::try_from(end - start).unwrap_or(CHUNK);
        file.seek(SeekFrom::Start(start)).await?;
        file.read_exact(&mut buffer[..size]).await?;
        for at in (0..size).rev() {
            // The line break at the very end closes the last line and begins none.
            if buffer[at] == b'\n' && start + at as u64 + 1 < length {
                found += 1;
                if found == lines {
                    return Ok((start + at as u64 + 1, found));
                }
            }
        }
        end = start;
    }
    Ok((0, found + u64::from(length > 0)))
}

/// What wakes a reader at the end of the file.
struct Follow {
    /// The directory changed.
    written: Arc<Notify>,
    _watcher: notify::RecommendedWatcher,
    events: BoxStream<'static, Event>,
}

impl Follow {
    fn new(source: &Source) -> io::Result<Follow> {
        let written = Arc::new(Notify::new());
        let wake = Arc::clone(&written);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| event.kind.is_access()) {
                wake.notify_one();
            }
        })
        .map_err(io::Error::other)?;
        let dir = source.path.parent().unwrap_or(Path::new("/"));
        watcher.watch(dir, RecursiveMode::NonRecursive).map_err(io::Error::other)?;
        Ok(Follow { written, _watcher: watcher, events: source.runtime.events() })
    }

    /// Waits until there may be something new: a write, or the end of the container.
    async fn changed(&mut self, id: &str) {
        loop {
            tokio::select! {
                () = self.written.notified() => return,
                event = self.events.next() => match event {
                    Some(Event::Changed { id: changed, .. } | Event::Deleted { id: changed }) if changed != id => {}
                    _ => return,
                },
            }
        }
    }
}

struct Reader {
    source: Source,
    /// Not opened yet, oldest first.
    files: VecDeque<PathBuf>,
    /// Bytes to leave out of the next file.
    skip: u64,
    open: Option<BufReader<File>>,
    inode: Option<u64>,
    since: Option<Timestamp>,
    timestamps: bool,
    left: Option<u64>,
    at_line_start: bool,
    /// Of the log, not yet complete.
    line: Vec<u8>,
    follow: Option<Follow>,
}

impl Reader {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.left == Some(0) {
                return Ok(None);
            }
            // Asked before reading: what was written before the end is then read after the answer.
            let ended = self.follow.is_none() || self.has_ended();
            let out = self.read().await?;
            if !out.is_empty() {
                return Ok(Some(self.limited(out)));
            }
            if self.open_next().await? {
                continue;
            }
            match &mut self.follow {
                Some(follow) if !ended => follow.changed(&self.source.container_id).await,
                _ => return Ok(None),
            }
        }
    }

    fn has_ended(&self) -> bool {
        !matches!(
            self.source.runtime.status(&self.source.container_id),
            Ok(containers::Status::Running(_) | containers::Status::Created)
        )
    }

    fn limited(&mut self, mut out: Vec<u8>) -> Bytes {
        if let Some(left) = &mut self.left {
            out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= out.len() as u64;
        }
        Bytes::from(out)
    }

    /// Opens the next file, or the one that took the place of the file read so far.
    async fn open_next(&mut self) -> io::Result<bool> {
        let path = match self.files.pop_front() {
            Some(path) => path,
            None if self.follow.is_some() => {
                let inode = tokio::fs::metadata(&self.source.path).await.ok().map(|meta| meta.ino());
                if inode.is_none() || inode == self.inode {
                    return Ok(false);
                }
                self.source.path.clone()
            }
            None => return Ok(false),
        };
        let mut file = match File::open(&path).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(!self.files.is_empty()),
            Err(error) => return Err(error),
        };
        self.inode = Some(file.metadata().await?.ino());
        file.seek(SeekFrom::Start(std::mem::take(&mut self.skip))).await?;
        self.open = Some(BufReader::with_capacity(CHUNK, file));
        Ok(true)
    }

    /// What can be read without waiting, at most about [`CHUNK`].
    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < CHUNK {
            let Some(reader) = &mut self.open else { break };
            if reader.read_until(b'\n', &mut self.line).await? == 0 {
                break;
            }
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.take(&line, &mut out);
            }
        }
        Ok(out)
    }

    fn take(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(entry) = Entry::parse(line) else { return };
        if self.since.is_some_and(|since| entry.time.parse::<Timestamp>().is_ok_and(|time| time < since)) {
            return;
        }
        if self.timestamps && self.at_line_start {
            out.extend_from_slice(entry.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(entry.text);
        self.at_line_start = !entry.partial;
        if !entry.partial {
            out.push(b'\n');
        }
    }
}

/// One line of the file.
struct Entry<'a> {
    time: &'a str,
    /// The line of the container goes on in the next entry.
    partial: bool,
    text: &'a [u8],
}

impl<'a> Entry<'a> {
    fn parse(line: &'a [u8]) -> Option<Entry<'a>> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let _stream = parts.next()?;
        let tag = parts.next()?;
        Some(Entry { time, partial: tag.split(|b| *b == b':').next() == Some(b"P"), text: parts.next()? })
    }
}
