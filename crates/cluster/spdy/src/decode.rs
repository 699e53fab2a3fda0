//! Bytes to frames.

use bytes::{Buf, Bytes, BytesMut};

use crate::inflate::Inflater;
use crate::{
    CONTROL, FRAME_LIMIT, Frame, GOAWAY, HEADERS, HEADERS_LIMIT, HEADERS_MOST, Headers, LAST, PING,
    RST_STREAM, STREAM_MASK, SYN_REPLY, SYN_STREAM, VERSION,
};

/// Bytes before a frame's own.
const HEAD: usize = 8;

/// Why what a peer sent is not SPDY/3.1. The connection cannot be read any further.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A control frame of another version.
    #[error("read a frame of SPDY version {0}, which is not 3")]
    Version(u16),
    /// A frame that would take too much memory.
    #[error("read a frame of {0} bytes, which is more than {FRAME_LIMIT}")]
    TooLong(usize),
    /// A control frame that is shorter than its type says.
    #[error("read a frame of type {0} that is cut short")]
    Short(u16),
    /// Headers beyond the limits.
    #[error("read headers beyond {HEADERS_LIMIT} bytes or {HEADERS_MOST} entries")]
    Headers,
    /// Headers that are not compressed as they have to be, or no text.
    #[error("read headers that do not decompress to text")]
    Compression,
}

/// Takes bytes as they come, and gives frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    inflater: Inflater,
}

impl Decoder {
    /// Adds what arrived. At most a frame's worth may wait: take frames until there are none before adding more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, if all of it is there.
    ///
    /// # Errors
    /// If the bytes are not SPDY/3.1 or beyond its limits here.
    pub fn take(&mut self) -> Result<Option<Frame>, Error> {
        let Some((head, _)) = self.buffer.split_first_chunk::<HEAD>() else { return Ok(None) };
        let [a, b, c, d, flags, high, middle, low] = *head;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if length > FRAME_LIMIT {
            return Err(Error::TooLong(length));
        }
        if self.buffer.len() < HEAD + length {
            self.buffer.reserve(HEAD + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        let body = self.buffer.split_to(length).freeze();
        let last = flags & LAST != 0;
        if a & CONTROL == 0 {
            let stream = u32::from_be_bytes([a, b, c, d]);
            return Ok(Some(Frame::Data { stream, bytes: body, last }));
        }
        let version = u16::from_be_bytes([a & !CONTROL, b]);
        if version != VERSION {
            return Err(Error::Version(version));
        }
        self.control(u16::from_be_bytes([c, d]), body, last).map(Some)
    }

    fn control(&mut self, kind: u16, mut body: Bytes, last: bool) -> Result<Frame, Error> {
        let mut number = || body.try_get_u32().map_err(|_| Error::Short(kind));
        Ok(match kind {
            SYN_STREAM => {
                let stream = number()? & STREAM_MASK;
                // The associated stream, then priority and slot: of no use here.
                number()?;
                body.try_get_u16().map_err(|_| Error::Short(kind))?;
                Frame::Open { stream, headers: self.headers(&body)?, last }
            }
            SYN_REPLY => {
                let stream = number()? & STREAM_MASK;
                Frame::Reply { stream, headers: self.headers(&body)?, last }
            }
            HEADERS => {
                let stream = number()? & STREAM_MASK;
                Frame::Headers { stream, headers: self.headers(&body)?, last }
            }
            RST_STREAM => Frame::Reset { stream: number()? & STREAM_MASK, status: number()? },
            PING => Frame::Ping { id: number()? },
            GOAWAY => Frame::GoAway { last: number()? & STREAM_MASK, status: number()? },
            kind => Frame::Other { kind },
        })
    }

    fn headers(&mut self, compressed: &[u8]) -> Result<Headers, Error> {
        if compressed.len() > HEADERS_LIMIT {
            return Err(Error::Headers);
        }
        let plain = self.inflater.block(compressed)?;
        let mut rest = plain.as_slice();
        let count = rest.try_get_u32().map_err(|_| Error::Compression)?;
        if count > HEADERS_MOST {
            return Err(Error::Headers);
        }
        let mut text = || {
            let length = rest.try_get_u32().map_err(|_| Error::Compression)? as usize;
            let (text, after) = rest.split_at_checked(length).ok_or(Error::Compression)?;
            rest = after;
            std::str::from_utf8(text).map_err(|_| Error::Compression)
        };
        let mut headers = Vec::new();
        for _ in 0..count {
            headers.push((text()?.to_ascii_lowercase(), text()?.to_owned()));
        }
        Ok(Headers(headers))
    }
}
