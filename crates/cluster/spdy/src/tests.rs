use flate2::{Compress, Compression, FlushCompress};

use super::*;

fn frames() -> Vec<Frame> {
    let headers =
        Headers(vec![("streamtype".to_owned(), "data".to_owned()), ("port".to_owned(), "8080".to_owned())]);
    vec![
        Frame::Open { stream: 1, headers: headers.clone(), last: true },
        Frame::Reply { stream: 1, headers: Headers::default(), last: false },
        Frame::Open { stream: 3, headers: headers.clone(), last: false },
        Frame::Data { stream: 3, bytes: Bytes::from_static(b"bytes"), last: false },
        Frame::Data { stream: 3, bytes: Bytes::new(), last: true },
        Frame::Headers { stream: 3, headers, last: false },
        Frame::Ping { id: 7 },
        Frame::Reset { stream: 3, status: status::CANCEL },
        Frame::Other { kind: 9 },
        Frame::GoAway { last: 3, status: 0 },
    ]
}

fn encoded(frames: &[Frame]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    frames.iter().flat_map(|frame| encoder.encode(frame)).collect()
}

fn decoded(decoder: &mut Decoder, bytes: &[u8]) -> Result<Vec<Frame>, Error> {
    decoder.push(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.take()? {
        frames.push(frame);
    }
    Ok(frames)
}

#[test]
fn frames_come_back_whole_however_they_are_cut() {
    let bytes = encoded(&frames());
    assert_eq!(decoded(&mut Decoder::default(), &bytes).unwrap(), frames());
    let mut decoder = Decoder::default();
    let single: Vec<Frame> = bytes.iter().flat_map(|byte| decoded(&mut decoder, &[*byte]).unwrap()).collect();
    assert_eq!(single, frames());
}

#[test]
fn the_dictionary_is_the_protocols() {
    let bytes = dictionary::bytes();
    assert_eq!(bytes.len(), 1423);
    let (low, high) = bytes.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65521;
        (low, (high + low) % 65521)
    });
    assert_eq!(high << 16 | low, dictionary::ADLER32);
}

/// The blocks that a peer compresses as Go's do: with the dictionary, flushed after each.
fn compressed(blocks: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut stream = Compress::new(Compression::best(), false);
    let words = dictionary::bytes();
    let deflate = |stream: &mut Compress, plain: &[u8]| {
        let mut out = Vec::with_capacity(plain.len() + 4096);
        stream.compress_vec(plain, &mut out, FlushCompress::Sync).unwrap();
        out
    };
    // What precedes is known to both sides, so it is compressed and thrown away.
    deflate(&mut stream, &words);
    let mut first = vec![0x78, 0xbb];
    first.extend(dictionary::ADLER32.to_be_bytes());
    blocks
        .iter()
        .enumerate()
        .map(|(at, block)| {
            let mut out = if at == 0 { first.clone() } else { Vec::new() };
            out.extend(deflate(&mut stream, block));
            out
        })
        .collect()
}

fn reply(block: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80, 3, 0, 2, 0, 0, 0, 0];
    bytes[5..8].copy_from_slice(&u32::try_from(block.len() + 4).unwrap().to_be_bytes()[1..]);
    bytes.extend([0, 0, 0, 1]);
    bytes.extend(block);
    bytes
}

#[test]
fn headers_are_compressed_against_the_dictionary_and_each_other() {
    let plain = b"\0\0\0\x01\0\0\0\x0daccept-ranges\0\0\0\x07chunked";
    let blocks = compressed(&[plain, plain]);
    assert!(blocks[0].len() < plain.len() && blocks[1].len() < blocks[0].len(), "{blocks:?}");
    let mut decoder = Decoder::default();
    for block in &blocks {
        let headers = Headers(vec![("accept-ranges".to_owned(), "chunked".to_owned())]);
        let expected = Frame::Reply { stream: 1, headers, last: false };
        assert_eq!(decoded(&mut decoder, &reply(block)).unwrap(), [expected]);
    }
}

#[test]
fn what_is_no_spdy_is_refused() {
    let plain = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap();
        let mut block = vec![0x78, 0x01, 0];
        block.extend(length.to_le_bytes());
        block.extend((!length).to_le_bytes());
        block.extend(bytes);
        reply(&block)
    };
    let bomb = compressed(&[&vec![0; 1 << 20]]);
    let cases: [(Vec<u8>, Error); 11] = [
        (vec![0x80, 2, 0, 1, 0, 0, 0, 0], Error::Version(2)),
        (b"HTTP/1.1 200 OK".to_vec(), Error::TooLong(0x312e31)),
        (vec![0, 0, 0, 1, 0, 0xff, 0xff, 0xff], Error::TooLong(0xff_ffff)),
        (vec![0x80, 3, 0, 6, 0, 0, 0, 1, 0], Error::Short(PING)),
        (vec![0x80, 3, 0, 1, 0, 0, 0, 4, 0, 0, 0, 1], Error::Short(SYN_STREAM)),
        (reply(b""), Error::Compression),
        (reply(b"\x78\xbb\0\0\0\0"), Error::Compression),
        (plain(b"\0\0\0\x01\0\0\0\x09short"), Error::Compression),
        (plain(b"\0\0\0\x01\0\0\0\x01\xff\0\0\0\0"), Error::Compression),
        (plain(b"\xff\xff\xff\xff"), Error::Headers),
        (reply(&bomb[0]), Error::Headers),
    ];
    for (bytes, expected) in cases {
        assert_eq!(decoded(&mut Decoder::default(), &bytes).unwrap_err(), expected, "{bytes:?}");
    }
}
