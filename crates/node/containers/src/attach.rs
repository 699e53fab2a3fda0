//! What is said between a container's monitor and those who are attached to it: frames of one byte that names the
//! kind, four bytes of length (big-endian), and as many bytes.

use std::io;

/// The longest content of a frame.
pub(crate) const LONGEST: usize = 64 << 10;
const HEAD: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Stdout = 1,
    Stderr = 2,
    /// Bytes for the standard input.
    Input = 3,
    /// The end of the standard input.
    End = 4,
    /// Columns and lines of the terminal, two bytes each.
    Size = 5,
}

impl Kind {
    fn of(byte: u8) -> io::Result<Self> {
        Ok(match byte {
            1 => Self::Stdout,
            2 => Self::Stderr,
            3 => Self::Input,
            4 => Self::End,
            5 => Self::Size,
            other => return Err(malformed(format!("no frame is of kind {other}"))),
        })
    }
}

fn malformed(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// Appends a frame, or as many as the bytes need.
pub(crate) fn append(to: &mut impl Extend<u8>, kind: Kind, bytes: &[u8]) {
    let mut rest = bytes;
    loop {
        let (now, later) = rest.split_at(rest.len().min(LONGEST));
        let length = u32::try_from(now.len()).expect("a frame is short");
        to.extend([kind as u8]);
        to.extend(length.to_be_bytes());
        to.extend(now.iter().copied());
        rest = later;
        if rest.is_empty() {
            return;
        }
    }
}

/// Bytes that arrive in any pieces, taken out as frames.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: Vec<u8>,
}

impl Frames {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame. An error means that the other side speaks something else.
    pub(crate) fn take(&mut self) -> io::Result<Option<(Kind, Vec<u8>)>> {
        let Some((head, rest)) = self.buffer.split_first_chunk::<HEAD>() else { return Ok(None) };
        let kind = Kind::of(head[0])?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(malformed(format!("a frame of {length} bytes is too long")));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let bytes = rest[..length].to_vec();
        self.buffer.drain(..HEAD + length);
        Ok(Some((kind, bytes)))
    }
}

/// The content of a [`Kind::Size`].
pub(crate) fn size(columns: u16, rows: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (columns.to_be_bytes(), rows.to_be_bytes());
    [a, b, c, d]
}

/// Columns and lines out of a [`Kind::Size`].
pub(crate) fn read_size(bytes: &[u8]) -> Option<(u16, u16)> {
    let &[a, b, c, d] = bytes else { return None };
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cutting() {
        let mut bytes = Vec::new();
        append(&mut bytes, Kind::Input, b"hello");
        append(&mut bytes, Kind::End, b"");
        append(&mut bytes, Kind::Size, &size(80, 24));
        append(&mut bytes, Kind::Stdout, &vec![7; LONGEST + 1]);
        let mut frames = Frames::default();
        let mut found = Vec::new();
        for piece in bytes.chunks(3) {
            frames.push(piece);
            while let Some(frame) = frames.take().unwrap() {
                found.push(frame);
            }
        }
        let shape: Vec<_> = found.iter().map(|(kind, bytes)| (*kind, bytes.len())).collect();
        assert_eq!(
            shape,
            [(Kind::Input, 5), (Kind::End, 0), (Kind::Size, 4), (Kind::Stdout, LONGEST), (Kind::Stdout, 1)]
        );
        assert_eq!(read_size(&found[2].1), Some((80, 24)));
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        let mut frames = Frames::default();
        frames.push(&[9, 0, 0, 0, 0]);
        assert!(frames.take().is_err());
        let mut frames = Frames::default();
        frames.push(&[1, 255, 0, 0, 0]);
        assert!(frames.take().is_err());
    }
}
