//! What the files say when the store is opened: the newest snapshot, and the logs since.
//!
//! A snapshot `N` is written while writes go on, so it alone is no moment of the store; with everything in the logs from `N`
//! on it is. A log may end in a frame that was never acknowledged, whole or torn; anything else that does not check is
//! damage, and the store refuses to open rather than guess.

use std::io;
use std::sync::mpsc;

use crate::contents::Contents;
use crate::directory::{Directory, File};
use crate::frame::{Content, FORMAT, Frame, HEAD, Head, Record};
use crate::{Error, Revision, failed};

/// Frames read ahead of the one that is being taken in.
const AHEAD: usize = 4;

/// The names of files, by what they are and their number.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) snapshots: Vec<u64>,
    pub(crate) logs: Vec<u64>,
    /// Files that were never finished.
    pub(crate) drafts: Vec<String>,
}

pub(crate) fn snapshot_name(number: u64) -> String {
    format!("snapshot-{number:016x}")
}

pub(crate) fn log_name(number: u64) -> String {
    format!("log-{number:016x}")
}

pub(crate) const DRAFT: &str = ".new";

impl Files {
    pub(crate) fn list(directory: &dyn Directory) -> Result<Files, Error> {
        let mut files = Files::default();
        for name in directory.names().map_err(|source| failed("list the store's files", source))? {
            let number = |kind: &str| u64::from_str_radix(name.strip_prefix(kind)?, 16).ok();
            if let Some(number) = number("snapshot-") {
                files.snapshots.push(number);
            } else if let Some(number) = number("log-") {
                files.logs.push(number);
            } else if name.ends_with(DRAFT) {
                files.drafts.push(name);
            }
        }
        files.snapshots.sort_unstable();
        files.logs.sort_unstable();
        Ok(files)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.logs.is_empty()
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) contents: Contents,
    /// The last log; zero if there is none yet.
    pub(crate) number: u64,
    /// Where its last whole frame begins and ends; both zero if not even its first is whole.
    pub(crate) last: (u64, u64),
    /// Its length, with what is torn.
    pub(crate) length: u64,
    /// Bytes in logs since the snapshot.
    pub(crate) since: u64,
    pub(crate) snapshot_bytes: u64,
}

fn corrupt(file: &str, offset: u64) -> Error {
    Error::Corrupt { file: file.to_owned(), offset }
}

/// Reads everything. Changes nothing, so that it also serves a reader beside an open store.
pub(crate) fn load(directory: &dyn Directory) -> Result<Recovered, Error> {
    let files = Files::list(directory)?;
    let mut found = Recovered::default();
    let first = match files.snapshots.last() {
        Some(number) => {
            load_snapshot(directory, *number, &mut found)?;
            *number
        }
        None => 1,
    };
    let logs: Vec<u64> = files.logs.iter().copied().filter(|number| *number >= first).collect();
    if logs.is_empty() && files.is_empty() {
        return Ok(found);
    }
    for (position, number) in logs.iter().enumerate() {
        if *number != first + position as u64 {
            return Err(corrupt(&log_name(first + position as u64), 0));
        }
        load_log(directory, *number, position + 1 == logs.len(), &mut found)?;
    }
    if logs.is_empty() {
        return Err(corrupt(&log_name(first), 0));
    }
    Ok(found)
}

/// Hands the frames of a file to `take` with their offsets, reading ahead on another thread. Returns the file, the offset
/// after the last whole frame, and the file's length.
fn each_frame(
    name: &str,
    file: Box<dyn File>,
    mut take: impl FnMut(u64, &Frame) -> Result<(), Error>,
) -> Result<(Box<dyn File>, u64, u64), Error> {
    let read = |source| failed("read the store's files", source);
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<(u64, Frame)>(AHEAD);
        let (give_back, used) = mpsc::channel::<Vec<u8>>();
        let reader = std::thread::Builder::new().name("store-reader".to_owned());
        let reader = reader.spawn_scoped(scope, move || -> io::Result<(Box<dyn File>, u64, u64)> {
            let (length, mut offset) = (file.length()?, 0);
            while let Some(frame) = Frame::read(&*file, offset, length, used.try_recv().unwrap_or_default())?
            {
                let at = offset;
                offset += frame.size();
                if sender.send((at, frame)).is_err() {
                    break;
                }
            }
            Ok((file, offset, length))
        });
        let reader = reader.map_err(read)?;
        for (offset, frame) in receiver {
            take(offset, &frame)?;
            // It fails when the reader has ended, which needs no more buffers.
            drop(give_back.send(frame.into_buffer()));
        }
        match reader.join() {
            Ok(result) => result.map_err(read),
            Err(_) => Err(corrupt(name, 0)),
        }
    })
}

fn check_format(format: u32) -> Result<(), Error> {
    if format > FORMAT {
        return Err(Error::Format { found: format.into(), supported: FORMAT.into() });
    }
    Ok(())
}

fn load_snapshot(directory: &dyn Directory, number: u64, found: &mut Recovered) -> Result<(), Error> {
    let name = snapshot_name(number);
    let file = directory.open(&name).map_err(|source| failed("open a snapshot", source))?;
    found.snapshot_bytes = read_snapshot(&name, file, &mut found.contents)?;
    Ok(())
}

/// Reads a snapshot into `contents`; returns its size.
pub(crate) fn read_snapshot(name: &str, file: Box<dyn File>, contents: &mut Contents) -> Result<u64, Error> {
    let mut counted = 0_u64;
    let mut ended = None;
    let (_, end, length) = each_frame(name, file, |offset, frame| {
        match frame.content() {
            Some(Content::Begin { format }) if offset == 0 => {
                check_format(format)?;
                contents.revision = frame.revision;
                return Ok(());
            }
            Some(Content::Records(mut rest)) if offset > 0 && ended.is_none() => {
                while !rest.is_empty() {
                    let Some((record, after)) = Record::parse(rest) else {
                        return Err(corrupt(name, offset));
                    };
                    contents.apply(&record);
                    counted += 1;
                    rest = after;
                }
                return Ok(());
            }
            Some(Content::End { objects }) if objects == counted && ended.is_none() => {
                ended = Some(offset);
                return Ok(());
            }
            _ => {}
        }
        Err(corrupt(name, offset))
    })?;
    if ended.is_none() || end != length {
        return Err(corrupt(name, end));
    }
    Ok(length)
}

fn load_log(
    directory: &dyn Directory,
    number: u64,
    is_last: bool,
    found: &mut Recovered,
) -> Result<(), Error> {
    let name = log_name(number);
    let file = directory.open(&name).map_err(|source| failed("open a log", source))?;
    let Recovered { contents, last, .. } = found;
    *last = (0, 0);
    let mut abandoned = false;
    let (file, end, length) = each_frame(&name, file, |offset, frame| {
        *last = (offset, offset + frame.size());
        match frame.content() {
            Some(Content::Begin { format }) if offset == 0 => {
                check_format(format)?;
                // A log whose beginning failed is begun again; until then writes go on in the one before it.
                abandoned = is_last && frame.revision < contents.revision;
                if frame.revision != contents.revision && !abandoned {
                    return Err(corrupt(&name, offset));
                }
                Ok(())
            }
            Some(Content::Records(rest)) if offset > 0 && !abandoned => {
                replay(contents, rest, frame.revision).ok_or_else(|| corrupt(&name, offset))
            }
            _ => Err(corrupt(&name, offset)),
        }
    })?;
    if end < length {
        let acknowledged =
            follows(&*file, end, length, contents.revision).map_err(|source| failed("read a log", source))?;
        if !is_last || acknowledged {
            return Err(corrupt(&name, end));
        }
        tracing::warn!(
            log = name,
            at = end,
            bytes = length - end,
            "a write that was never finished is dropped"
        );
    } else if !is_last && last.1 == 0 {
        return Err(corrupt(&name, 0));
    }
    if abandoned {
        *last = (0, 0);
    }
    found.number = number;
    found.length = length;
    found.since += end;
    Ok(())
}

/// Applies the records of a frame, which must carry on where the last one ended.
fn replay(contents: &mut Contents, mut rest: &[u8], revision: Revision) -> Option<()> {
    while !rest.is_empty() {
        let (record, after) = Record::parse(rest)?;
        if record.revision != contents.revision + 1 {
            return None;
        }
        contents.apply(&record);
        contents.revision = record.revision;
        rest = after;
    }
    (contents.revision == revision).then_some(())
}

/// Whether a later frame follows what cannot be read: then that was acknowledged once, since a frame is only written when
/// the one before it is durable. No object can pretend to be one: a head holds zero bytes, which JSON text does not.
fn follows(file: &dyn File, from: u64, length: u64, revision: Revision) -> io::Result<bool> {
    const WINDOW: usize = 1 << 20;
    let mut buffer = vec![0; WINDOW + HEAD];
    let mut offset = from;
    while offset < length {
        let read = file.read(offset, &mut buffer)?;
        let starts = read.saturating_sub(HEAD).min(WINDOW - 1);
        for at in 0..=starts {
            let head = buffer[..read].get(at..at + HEAD).and_then(Head::parse);
            if head.is_some_and(|head| head.revision > revision)
                && Frame::read(file, offset + at as u64, length, Vec::new())?
                    .is_some_and(|frame| frame.content().is_some())
                && offset + at as u64 > from
            {
                return Ok(true);
            }
        }
        offset += WINDOW as u64;
    }
    Ok(false)
}

/// The files that nothing needs any more once snapshot `newest` is durable.
pub(crate) fn superseded(files: &Files, newest: u64) -> impl Iterator<Item = String> {
    let older = move |number: &&u64| **number < newest;
    let logs = files.logs.iter().filter(older).map(|number| log_name(*number));
    logs.chain(files.snapshots.iter().filter(older).map(|number| snapshot_name(*number)))
}
