//! The bytes of the store's files: frames with checksums, and the records inside them.
//!
//! A file is a row of frames, the first of which names the format. One frame of a log is one group of writes, so that a
//! group is there whole or not at all. All numbers are little endian.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::directory::File;
use crate::{Key, Object, Revision};

/// What this version writes. Format 1 was a redb file; see [`crate::migrate`].
pub(crate) const FORMAT: u32 = 2;

/// Of a frame: magic, length of the payload, revision, checksum of the payload, checksum of what is before it.
pub(crate) const HEAD: usize = 24;
const MAGIC: u32 = 0x6d73_7466;
/// No frame is longer: a group ends long before.
const LONGEST: usize = 1 << 30;

/// The first byte of a payload.
const BEGIN: u8 = 0;
const RECORDS: u8 = 1;
const END: u8 = 2;

const PUT: u8 = 1;
const REMOVE: u8 = 2;

/// A write as the files have it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'a> {
    Put(&'a Key, &'a Object),
    Remove(&'a Key, Revision),
}

/// A frame under construction.
#[derive(Debug)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    fn new(tag: u8) -> Builder {
        let mut bytes = vec![0; HEAD];
        bytes.push(tag);
        Builder { bytes }
    }

    pub(crate) fn records() -> Builder {
        Builder::new(RECORDS)
    }

    /// The first frame of a file: `base` is the revision before its first record.
    pub(crate) fn begin(base: Revision) -> Vec<u8> {
        let mut frame = Builder::new(BEGIN);
        frame.bytes.extend_from_slice(&FORMAT.to_le_bytes());
        frame.finish(base)
    }

    /// The last frame of a snapshot.
    pub(crate) fn end(objects: u64, revision: Revision) -> Vec<u8> {
        let mut frame = Builder::new(END);
        frame.bytes.extend_from_slice(&objects.to_le_bytes());
        frame.finish(revision)
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn push(&mut self, change: Change<'_>) {
        let (kind, key, revision, bytes) = match change {
            Change::Put(key, object) => (PUT, key, object.revision, &object.bytes[..]),
            Change::Remove(key, revision) => (REMOVE, key, revision, &[][..]),
        };
        let out = &mut self.bytes;
        out.push(kind);
        out.extend_from_slice(&revision.to_le_bytes());
        for part in [key.resource().as_bytes(), key.path().as_bytes(), bytes] {
            let length = u32::try_from(part.len()).expect("no part of an object is as large as 4 GiB");
            out.extend_from_slice(&length.to_le_bytes());
        }
        for part in [key.resource().as_bytes(), key.path().as_bytes(), bytes] {
            out.extend_from_slice(part);
        }
    }

    /// The whole frame; `revision` is the store's once it is applied.
    pub(crate) fn finish(mut self, revision: Revision) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len() - HEAD).expect("a frame is shorter than 4 GiB");
        let sum = crc32fast::hash(&self.bytes[HEAD..]);
        self.bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        self.bytes[4..8].copy_from_slice(&length.to_le_bytes());
        self.bytes[8..16].copy_from_slice(&revision.to_le_bytes());
        self.bytes[16..20].copy_from_slice(&sum.to_le_bytes());
        let sum = crc32fast::hash(&self.bytes[..20]);
        self.bytes[20..HEAD].copy_from_slice(&sum.to_le_bytes());
        self.bytes
    }
}

/// The head of a frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) length: usize,
    pub(crate) revision: Revision,
    sum: u32,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

impl Head {
    /// `None` if these bytes are no head.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Head> {
        if u32_at(bytes, 0)? != MAGIC || u32_at(bytes, 20)? != crc32fast::hash(bytes.get(..20)?) {
            return None;
        }
        let length = usize::try_from(u32_at(bytes, 4)?).ok()?;
        (length <= LONGEST).then_some(Head { length, revision: u64_at(bytes, 8)?, sum: u32_at(bytes, 16)? })
    }
}

/// A frame that was read.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) revision: Revision,
    payload: Vec<u8>,
}

/// What a frame says.
#[derive(Debug)]
pub(crate) enum Content<'a> {
    Begin { format: u32 },
    Records(&'a [u8]),
    End { objects: u64 },
}

impl Frame {
    /// The frame at `offset`; `None` if there is none that is whole. The `buffer` is taken for its payload: one that is used
    /// again spares filling fresh memory with zeros first.
    pub(crate) fn read(
        file: &dyn File,
        offset: u64,
        length: u64,
        buffer: Vec<u8>,
    ) -> io::Result<Option<Frame>> {
        let mut head = [0; HEAD];
        if offset + HEAD as u64 > length || file.read(offset, &mut head)? < HEAD {
            return Ok(None);
        }
        let Some(head) = Head::parse(&head) else { return Ok(None) };
        if offset + (HEAD + head.length) as u64 > length {
            return Ok(None);
        }
        let mut payload = buffer;
        payload.resize(head.length, 0);
        if file.read(offset + HEAD as u64, &mut payload)? < head.length
            || crc32fast::hash(&payload) != head.sum
        {
            return Ok(None);
        }
        Ok(Some(Frame { revision: head.revision, payload }))
    }

    /// Its memory, for another frame.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.payload
    }

    /// Bytes of it in the file.
    pub(crate) fn size(&self) -> u64 {
        (HEAD + self.payload.len()) as u64
    }

    /// `None` if the payload is nothing that this version knows.
    pub(crate) fn content(&self) -> Option<Content<'_>> {
        let (tag, rest) = self.payload.split_first()?;
        match *tag {
            BEGIN => Some(Content::Begin { format: u32_at(rest, 0)? }),
            RECORDS => Some(Content::Records(rest)),
            END => Some(Content::End { objects: u64_at(rest, 0)? }),
            _ => None,
        }
    }
}

/// A write that was read.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) revision: Revision,
    pub(crate) resource: &'a str,
    pub(crate) path: &'a str,
    /// `None` for a removal.
    pub(crate) bytes: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// The first record of `bytes`, and the rest; `None` if there is no such record.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<(Record<'a>, &'a [u8])> {
        let (kind, revision) = (*bytes.first()?, u64_at(bytes, 1)?);
        let mut rest = bytes.get(21..)?;
        let mut part = |at: usize| -> Option<&'a [u8]> {
            let length = usize::try_from(u32_at(bytes, at)?).ok()?;
            let (part, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(part)
        };
        let resource = std::str::from_utf8(part(9)?).ok()?;
        let path = std::str::from_utf8(part(13)?).ok()?;
        let content = part(17)?;
        let bytes = match kind {
            PUT => Some(content),
            REMOVE => None,
            _ => return None,
        };
        Some((Record { revision, resource, path, bytes }, rest))
    }

    pub(crate) fn object(&self) -> Option<(Arc<str>, Object)> {
        let bytes = Bytes::copy_from_slice(self.bytes?);
        Some((self.path.into(), Object { revision: self.revision, bytes }))
    }
}
