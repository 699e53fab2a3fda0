//! Feeds the decoder with spoiled frames for a time: it may refuse them, and must neither panic nor grow.
//!
//! `cargo xtask soak fuzz spdy` runs it. An input is known by its number.
#![expect(clippy::print_stdout, reason = "it prints what it did")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use spdy::{Decoder, Encoder, Frame, Headers};

/// A generator of numbers (xorshift), so that a number names an input for ever.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).unwrap_or_default() % limit.max(1)
    }
}

fn frame(numbers: &mut Numbers) -> Frame {
    let stream = u32::try_from(numbers.below(9)).unwrap_or_default();
    let last = numbers.below(2) == 0;
    let text = |numbers: &mut Numbers| "streamtype-port-accept"[..numbers.below(22)].to_owned();
    let headers = Headers((0..numbers.below(4)).map(|_| (text(numbers), text(numbers))).collect());
    match numbers.below(6) {
        0 => Frame::Open { stream, headers, last },
        1 => Frame::Reply { stream, headers, last },
        2 => Frame::Headers { stream, headers, last },
        3 => Frame::Ping { id: stream },
        4 => Frame::Reset { stream, status: 5 },
        _ => Frame::Data { stream, bytes: Bytes::from(vec![0; numbers.below(300)]), last },
    }
}

fn spoiled(numbers: &mut Numbers) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let count = 1 + numbers.below(6);
    let mut bytes: Vec<u8> = (0..count).flat_map(|_| encoder.encode(&frame(numbers))).collect();
    for _ in 0..numbers.below(5) {
        let at = numbers.below(bytes.len());
        match numbers.below(3) {
            0 => bytes[at] = u8::try_from(numbers.next() & 0xff).unwrap_or_default(),
            1 => bytes.insert(at, u8::try_from(numbers.next() & 0xff).unwrap_or_default()),
            _ => bytes.truncate(at),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

fn main() {
    let argument = |at: usize| std::env::args().nth(at).and_then(|text| text.parse::<u64>().ok());
    // The first argument names the target, of which there is one.
    let end = Instant::now() + Duration::from_secs(argument(2).unwrap_or(10));
    let (mut inputs, mut frames, mut refused) = (0_u64, 0_u64, 0_u64);
    while Instant::now() < end {
        inputs += 1;
        let bytes = spoiled(&mut Numbers(inputs.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1));
        let mut decoder = Decoder::default();
        let cut = Numbers(inputs).below(bytes.len());
        'input: for piece in [&bytes[..cut], &bytes[cut..]] {
            decoder.push(piece);
            loop {
                match decoder.take() {
                    Ok(Some(_)) => frames += 1,
                    Ok(None) => break,
                    Err(_) => {
                        refused += 1;
                        break 'input;
                    }
                }
            }
        }
    }
    println!("{inputs} inputs, {frames} frames, {refused} refused");
}
