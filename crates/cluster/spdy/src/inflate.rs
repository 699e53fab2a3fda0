//! The compression of headers: one zlib stream for a connection's direction, begun with the protocol's dictionary and
//! flushed after each block.

use flate2::{Decompress, FlushDecompress, Status};

use crate::decode::Error;
use crate::{HEADERS_LIMIT, dictionary};

/// The flag in zlib's second byte that a dictionary is meant.
const WITH_DICTIONARY: u8 = 0x20;
/// "deflate" in the low half of zlib's first byte.
const DEFLATE: u8 = 8;

/// Decompresses blocks of headers in their order.
#[derive(Debug, Default)]
pub(crate) struct Inflater {
    /// From the first block on.
    stream: Option<Decompress>,
}

impl Inflater {
    pub(crate) fn block(&mut self, compressed: &[u8]) -> Result<Vec<u8>, Error> {
        let (stream, compressed) = match &mut self.stream {
            Some(stream) => (stream, compressed),
            None => {
                let (stream, rest) = begin(compressed)?;
                (self.stream.insert(stream), rest)
            }
        };
        inflate(stream, compressed)
    }
}

/// Reads zlib's own head. The raw stream behind it knows nothing of dictionaries on every backend of `flate2`, so the
/// dictionary is fed to it as a stored block, which leaves it where back references find it.
fn begin(compressed: &[u8]) -> Result<(Decompress, &[u8]), Error> {
    let [method, flags, rest @ ..] = compressed else { return Err(Error::Compression) };
    if method & 0x0f != DEFLATE || u16::from_be_bytes([*method, *flags]) % 31 != 0 {
        return Err(Error::Compression);
    }
    let mut stream = Decompress::new(false);
    if flags & WITH_DICTIONARY == 0 {
        return Ok((stream, rest));
    }
    let (sum, rest) = rest.split_first_chunk::<4>().ok_or(Error::Compression)?;
    if u32::from_be_bytes(*sum) != dictionary::ADLER32 {
        return Err(Error::Compression);
    }
    let words = dictionary::bytes();
    let length = u16::try_from(words.len()).map_err(|_| Error::Compression)?;
    let mut block = vec![0];
    block.extend(length.to_le_bytes());
    block.extend((!length).to_le_bytes());
    block.extend(&words);
    if inflate(&mut stream, &block)? != words {
        return Err(Error::Compression);
    }
    Ok((stream, rest))
}

/// All that comes out of these bytes, which have to be used up.
fn inflate(stream: &mut Decompress, mut compressed: &[u8]) -> Result<Vec<u8>, Error> {
    const PIECE: usize = 2048;
    let mut plain = Vec::new();
    let mut piece = [0; PIECE];
    loop {
        let (read, written) = (stream.total_in(), stream.total_out());
        let status = stream
            .decompress(compressed, &mut piece, FlushDecompress::Sync)
            .map_err(|_| Error::Compression)?;
        let used = usize::try_from(stream.total_in() - read).unwrap_or(usize::MAX);
        let made = usize::try_from(stream.total_out() - written).unwrap_or(usize::MAX);
        compressed = compressed.get(used..).ok_or(Error::Compression)?;
        plain.extend_from_slice(piece.get(..made).ok_or(Error::Compression)?);
        if plain.len() > HEADERS_LIMIT {
            return Err(Error::Headers);
        }
        if status == Status::StreamEnd {
            // The stream lasts as long as the connection.
            return Err(Error::Compression);
        }
        if made < PIECE && compressed.is_empty() {
            return Ok(plain);
        }
        if used == 0 && made == 0 {
            return Err(Error::Compression);
        }
    }
}
