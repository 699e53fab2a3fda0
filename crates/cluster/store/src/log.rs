//! The log that writes go to, and the snapshots that let it be short.
//!
//! A group of writes is one frame at the end of the newest log, durable before it is answered. When the logs have grown, the
//! writer begins a new one and a thread of its own writes a snapshot of what is in memory; the older files then go.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use crate::contents::Contents;
use crate::directory::{Directory, File};
use crate::frame::{Builder, Change};
use crate::memory::State;
use crate::recovery::{DRAFT, Files, Recovered, log_name, snapshot_name, superseded};
use crate::{Error, Key, Object, Revision, failed};

/// Bytes of objects that a frame of a snapshot holds, about.
const FRAME: usize = 512 << 10;
/// Bytes of a snapshot that may wait to be synced: more of them would hold up the syncs of the log.
const UNSYNCED: u64 = 8 << 20;
/// Objects looked up at once while a snapshot is written.
const BATCH: usize = 256;

/// Why a group was not written.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// The log is as it was: later groups may do better.
    Refused(Error),
    /// What the log holds is unknown until it is read anew.
    Broken(Error),
}

/// The newest log, open for writing.
#[derive(Debug)]
pub(crate) struct Log {
    directory: Arc<dyn Directory>,
    file: Box<dyn File>,
    number: u64,
    end: u64,
    /// Bytes in logs that no snapshot has made superfluous.
    since: u64,
    snapshot_bytes: u64,
    /// A snapshot is due when so many bytes are in the logs.
    due: u64,
    least: u64,
    checkpoint: Option<Checkpoint>,
}

#[derive(Debug)]
struct Checkpoint {
    thread: JoinHandle<Result<u64, Error>>,
    stop: Arc<AtomicBool>,
    /// Bytes that were in the logs when it began.
    covers: u64,
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(checkpoint) = self.checkpoint.take() {
            checkpoint.stop.store(true, Ordering::Relaxed);
            // What it did not finish is a draft, which the next start removes.
            drop(checkpoint.thread.join());
        }
    }
}

impl Log {
    /// Makes the files what [`Recovered`] says they mean, and durable, then removes those that are not needed.
    pub(crate) fn resume(directory: Arc<dyn Directory>, found: &Recovered, least: u64) -> Result<Log, Error> {
        let attempt = "prepare the store's log";
        let failed = |source| failed(attempt, source);
        let number = found.number.max(1);
        let (begin, end) = found.last;
        let (file, end) = if end == 0 {
            // Not even the head of this log was finished, so nothing in it was acknowledged.
            begin_log(&*directory, number, found.contents.revision).map_err(failed)?
        } else {
            let file = directory.open(&log_name(number)).map_err(failed)?;
            // The sync of the last frame may have failed in an earlier life, with its bytes only in the page cache and
            // not even marked as unwritten: written anew, they are synced for certain.
            let mut last = vec![0; usize::try_from(end - begin).unwrap_or(0)];
            file.read(begin, &mut last).map_err(failed)?;
            if found.length > end {
                file.set_length(end).map_err(failed)?;
            }
            file.write(begin, &last).map_err(failed)?;
            file.sync().map_err(failed)?;
            (file, end)
        };
        directory.sync().map_err(failed)?;
        let mut log = Log {
            directory,
            file,
            number,
            end,
            since: found.since.max(end),
            snapshot_bytes: found.snapshot_bytes,
            due: 0,
            least,
            checkpoint: None,
        };
        log.due = log.allowance();
        log.tidy()?;
        Ok(log)
    }

    fn allowance(&self) -> u64 {
        self.least.max(self.snapshot_bytes / 2)
    }

    /// Removes drafts and what the newest snapshot has superseded.
    fn tidy(&self) -> Result<(), Error> {
        let files = Files::list(&*self.directory)?;
        let newest = files.snapshots.last().copied().unwrap_or(0);
        for name in files.drafts.iter().cloned().chain(superseded(&files, newest)) {
            self.directory
                .remove(&name)
                .map_err(|source| failed("remove an old file of the store", source))?;
        }
        Ok(())
    }

    /// Makes a group of changes durable, all or none; `revision` is that of the last one.
    pub(crate) fn append<'a>(
        &mut self,
        changes: impl Iterator<Item = Change<'a>>,
        revision: Revision,
    ) -> Result<(), Unwritten> {
        let mut frame = Builder::records();
        for change in changes {
            frame.push(change);
        }
        let bytes = frame.finish(revision);
        if let Err(source) = self.file.write(self.end, &bytes) {
            let error = failed("write to the store's log", source);
            // A full disk takes a part of the frame at most; without that part the log is as before.
            return Err(match self.file.set_length(self.end) {
                Ok(()) => Unwritten::Refused(error),
                Err(_) => Unwritten::Broken(error),
            });
        }
        self.file.sync().map_err(|source| Unwritten::Broken(failed("sync the store's log", source)))?;
        self.end += bytes.len() as u64;
        self.since += bytes.len() as u64;
        Ok(())
    }

    /// Begins a snapshot when one is due, takes note of one that is finished. Between groups only: `state` must be what
    /// the log holds.
    pub(crate) fn look_after(&mut self, state: &Arc<RwLock<State>>) {
        if let Some(checkpoint) = self.checkpoint.take_if(|checkpoint| checkpoint.thread.is_finished()) {
            match checkpoint.thread.join() {
                Ok(Ok(bytes)) => {
                    self.snapshot_bytes = bytes;
                    self.since -= checkpoint.covers;
                    self.due = self.allowance();
                }
                Ok(Err(error)) => self.postpone(&error),
                Err(_) => tracing::error!("the store's snapshot thread panicked"),
            }
        }
        if self.since >= self.due && self.checkpoint.is_none() {
            match self.begin_checkpoint(state) {
                Ok(checkpoint) => self.checkpoint = Some(checkpoint),
                Err(error) => self.postpone(&error),
            }
        }
    }

    /// The log goes on without a snapshot, and grows meanwhile.
    fn postpone(&mut self, error: &Error) {
        tracing::warn!(error = error as &dyn std::error::Error, "the store's snapshot is tried again later");
        self.due = self.since + self.allowance();
    }

    fn begin_checkpoint(&mut self, state: &Arc<RwLock<State>>) -> Result<Checkpoint, Error> {
        let base = state.read().unwrap_or_else(PoisonError::into_inner).revision;
        let number = self.number + 1;
        let (file, end) = begin_log(&*self.directory, number, base).map_err(|source| {
            // Left there, it would end the older log at the next start.
            drop(self.directory.remove(&log_name(number)));
            failed("begin a new log", source)
        })?;
        let covers = self.since;
        (self.file, self.number, self.end) = (file, number, end);
        self.since += end;
        let stop = Arc::new(AtomicBool::new(false));
        let (directory, state, stopped) = (self.directory.clone(), state.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("store-snapshot".to_owned())
            .spawn(move || checkpoint(&*directory, number, base, &state, &stopped))
            .map_err(|source| failed("start the store's snapshot thread", source))?;
        Ok(Checkpoint { thread, stop, covers })
    }
}

fn begin_log(directory: &dyn Directory, number: u64, base: Revision) -> io::Result<(Box<dyn File>, u64)> {
    let head = Builder::begin(base);
    let file = directory.create(&log_name(number))?;
    file.write(0, &head)?;
    file.sync()?;
    directory.sync()?;
    Ok((file, head.len() as u64))
}

/// Writes the current objects while writes go on: those go to log `number`, which is read after the snapshot.
fn checkpoint(
    directory: &dyn Directory,
    number: u64,
    base: Revision,
    state: &RwLock<State>,
    stopped: &AtomicBool,
) -> Result<u64, Error> {
    let failed = |source| failed("write a snapshot of the store", source);
    let draft = snapshot_name(number) + DRAFT;
    let mut snapshot = Snapshot::begin(directory.create(&draft).map_err(failed)?, base).map_err(failed)?;
    let mut after: Option<Key> = None;
    loop {
        if stopped.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        let batch = state.read().unwrap_or_else(PoisonError::into_inner).objects_after(after.as_ref(), BATCH);
        for (key, object) in &batch {
            snapshot.push(key, object).map_err(failed)?;
        }
        match batch.into_iter().next_back() {
            Some((key, _)) => after = Some(key),
            None => break,
        }
    }
    let bytes = snapshot.finish(base).map_err(failed)?;
    directory.rename(&draft, &snapshot_name(number)).map_err(failed)?;
    directory.sync().map_err(failed)?;
    let files = Files::list(directory)?;
    for name in superseded(&files, number) {
        directory.remove(&name).map_err(failed)?;
    }
    tracing::debug!(number, bytes, "the store's snapshot is written");
    Ok(bytes)
}

/// A snapshot being written.
#[derive(Debug)]
pub(crate) struct Snapshot {
    file: Box<dyn File>,
    end: u64,
    synced: u64,
    frame: Builder,
    base: Revision,
    objects: u64,
}

impl Snapshot {
    pub(crate) fn begin(file: Box<dyn File>, base: Revision) -> io::Result<Snapshot> {
        let head = Builder::begin(base);
        file.write(0, &head)?;
        let end = head.len() as u64;
        Ok(Snapshot { file, end, synced: 0, frame: Builder::records(), base, objects: 0 })
    }

    pub(crate) fn push(&mut self, key: &Key, object: &Object) -> io::Result<()> {
        self.frame.push(Change::Put(key, object));
        self.objects += 1;
        if self.frame.len() >= FRAME { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let frame = std::mem::replace(&mut self.frame, Builder::records()).finish(self.base);
        self.write(&frame)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write(self.end, bytes)?;
        self.end += bytes.len() as u64;
        if self.end - self.synced > UNSYNCED {
            self.file.sync()?;
            self.synced = self.end;
        }
        Ok(())
    }

    /// Completes it and makes it durable; its size.
    pub(crate) fn finish(mut self, revision: Revision) -> io::Result<u64> {
        self.flush()?;
        self.write(&Builder::end(self.objects, revision))?;
        self.file.sync()?;
        Ok(self.end)
    }
}

/// Writes a whole store as `name` of a directory, durable when it returns; its size.
pub(crate) fn write_snapshot(directory: &dyn Directory, name: &str, contents: &Contents) -> io::Result<u64> {
    let draft = format!("{name}{DRAFT}");
    let mut snapshot = Snapshot::begin(directory.create(&draft)?, contents.revision)?;
    for (resource, objects) in &contents.resources {
        for (path, object) in objects {
            snapshot.push(&Key::from_parts(resource.clone(), path.clone()), object)?;
        }
    }
    let bytes = snapshot.finish(contents.revision)?;
    directory.rename(&draft, name)?;
    directory.sync()?;
    Ok(bytes)
}

/// Makes the files of a store that holds `contents` and nothing else: log 1, then snapshot 1, which makes them count.
pub(crate) fn found(directory: &dyn Directory, contents: &Contents) -> io::Result<()> {
    begin_log(directory, 1, contents.revision)?;
    write_snapshot(directory, &snapshot_name(1), contents).map(drop)
}
