//! The frames of SPDY/3.1: bytes to frames and back.
//!
//! Kubernetes has kept this protocol for port-forwarding, inside a WebSocket, and for the upgrades of older clients.
//! Owns the framing and the compression of headers. What must hold: whatever a peer sends, a [`Decoder`] keeps at most
//! one frame of [`FRAME_LIMIT`] bytes and one block of headers of [`HEADERS_LIMIT`] bytes, and never panics.
//!
//! Keeps out connections, streams and their states: those belong to whoever reads and writes.

#![forbid(unsafe_code)]

mod decode;
mod dictionary;
mod encode;
mod inflate;

use bytes::Bytes;

pub use decode::{Decoder, Error};
pub use encode::Encoder;

/// Bytes of one frame from a peer. Go's clients write at most what one `Write` was given, usually 32 KiB.
pub const FRAME_LIMIT: usize = 1 << 20;
/// Bytes of one block of headers, compressed or not.
pub const HEADERS_LIMIT: usize = 16 << 10;
/// Headers of one block.
const HEADERS_MOST: u32 = 64;

/// Status of a [`Frame::Reset`].
pub mod status {
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: u32 = 1;
    /// The stream is refused before anything was done for it.
    pub const REFUSED_STREAM: u32 = 3;
    /// The stream is not wanted any more.
    pub const CANCEL: u32 = 5;
    /// The reader of the stream does not keep up.
    pub const FLOW_CONTROL_ERROR: u32 = 7;
}

/// Names in lower case and their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value of a name, which is given in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What is sent at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// SYN_STREAM: the sender opens a stream. With `last` it sends nothing on it.
    Open {
        /// Odd from a client, and higher than all before.
        stream: u32,
        /// What it is for.
        headers: Headers,
        /// Whether the sender has sent all it will.
        last: bool,
    },
    /// SYN_REPLY: the stream is accepted.
    Reply {
        /// The stream.
        stream: u32,
        /// Usually none.
        headers: Headers,
        /// Whether the sender has sent all it will.
        last: bool,
    },
    /// RST_STREAM: the stream is over in both directions.
    Reset {
        /// The stream.
        stream: u32,
        /// One of [`status`].
        status: u32,
    },
    /// PING: answered with itself by whoever did not begin it.
    Ping {
        /// Odd from a client.
        id: u32,
    },
    /// GOAWAY: the sender takes no more streams.
    GoAway {
        /// The last stream that it took.
        last: u32,
        /// 0 if all is well.
        status: u32,
    },
    /// HEADERS: more headers of a stream.
    Headers {
        /// The stream.
        stream: u32,
        /// The headers.
        headers: Headers,
        /// Whether the sender has sent all it will.
        last: bool,
    },
    /// Bytes of a stream.
    Data {
        /// The stream.
        stream: u32,
        /// The bytes.
        bytes: Bytes,
        /// Whether the sender has sent all it will.
        last: bool,
    },
    /// A control frame without meaning here: settings, windows (Kubernetes' peers ignore them) and unknown ones.
    Other {
        /// Its type.
        kind: u16,
    },
}

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

const VERSION: u16 = 3;
const CONTROL: u8 = 0x80;
const LAST: u8 = 1;
/// The bit above a stream's number is reserved.
const STREAM_MASK: u32 = 0x7fff_ffff;

#[cfg(test)]
mod tests;
