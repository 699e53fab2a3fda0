//! Frames to bytes.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    CONTROL, Frame, GOAWAY, HEADERS, Headers, LAST, PING, RST_STREAM, SYN_REPLY, SYN_STREAM, VERSION,
};

/// Bytes of one stored block of deflate, at most.
const STORED: usize = 0xffff;
/// zlib's head: deflate, no dictionary, the fastest level.
const ZLIB: [u8; 2] = [0x78, 0x01];
/// Bytes of a frame's payload, at most: its length has three bytes.
const LONGEST: usize = (1 << 24) - 1;

/// Writes frames, in the order in which they are sent.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Whether zlib's head was written.
    begun: bool,
}

impl Encoder {
    /// The bytes of a frame. Headers are stored, not compressed: a server has next to none to send. Data beyond what
    /// one frame takes goes into several.
    pub fn encode(&mut self, frame: &Frame) -> Bytes {
        let mut out = BytesMut::new();
        match frame {
            Frame::Open { stream, headers, last } => {
                let block = self.block(headers);
                // No associated stream, the middle priority, no slot.
                head(&mut out, SYN_STREAM, *last, 10 + block.len());
                out.put_u32(*stream);
                out.put_u32(0);
                out.put_slice(&[0x80, 0]);
                out.put_slice(&block);
            }
            Frame::Reply { stream, headers, last } => {
                self.named(&mut out, SYN_REPLY, *stream, headers, *last)
            }
            Frame::Headers { stream, headers, last } => {
                self.named(&mut out, HEADERS, *stream, headers, *last)
            }
            Frame::Reset { stream, status } => numbers(&mut out, RST_STREAM, &[*stream, *status]),
            Frame::Ping { id } => numbers(&mut out, PING, &[*id]),
            Frame::GoAway { last, status } => numbers(&mut out, GOAWAY, &[*last, *status]),
            Frame::Data { stream, bytes, last } => data(&mut out, *stream, bytes, *last),
            Frame::Other { kind } => head(&mut out, *kind, false, 0),
        }
        out.freeze()
    }

    fn named(&mut self, out: &mut BytesMut, kind: u16, stream: u32, headers: &Headers, last: bool) {
        let block = self.block(headers);
        head(out, kind, last, 4 + block.len());
        out.put_u32(stream);
        out.put_slice(&block);
    }

    fn block(&mut self, headers: &Headers) -> Vec<u8> {
        let mut plain = Vec::new();
        plain.put_u32(length(headers.0.len()));
        for (name, value) in &headers.0 {
            for text in [name, value] {
                plain.put_u32(length(text.len()));
                plain.extend_from_slice(text.as_bytes());
            }
        }
        let mut block = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            block.extend_from_slice(&ZLIB);
        }
        // Go's readers hand out what they have read at an empty block, as a flush writes it, and not before.
        for chunk in plain.chunks(STORED).chain([&[][..]]) {
            let length = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
            // Three bits say "not the last block, stored"; the rest of their byte is padding.
            block.put_u8(0);
            block.put_u16_le(length);
            block.put_u16_le(!length);
            block.extend_from_slice(chunk);
        }
        block
    }
}

fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn head(out: &mut BytesMut, kind: u16, last: bool, payload: usize) {
    out.put_u16(VERSION | u16::from(CONTROL) << 8);
    out.put_u16(kind);
    sized(out, last, payload);
}

fn sized(out: &mut BytesMut, last: bool, payload: usize) {
    let [_, high, middle, low] = length(payload.min(LONGEST)).to_be_bytes();
    out.put_slice(&[if last { LAST } else { 0 }, high, middle, low]);
}

fn numbers(out: &mut BytesMut, kind: u16, numbers: &[u32]) {
    head(out, kind, false, numbers.len() * 4);
    for number in numbers {
        out.put_u32(*number);
    }
}

fn data(out: &mut BytesMut, stream: u32, bytes: &Bytes, last: bool) {
    let count = bytes.len().div_ceil(LONGEST).max(1);
    for at in 0..count {
        let piece = &bytes[at * LONGEST..bytes.len().min((at + 1) * LONGEST)];
        out.put_u32(stream);
        sized(out, last && at + 1 == count, piece.len());
        out.put_slice(piece);
    }
}
