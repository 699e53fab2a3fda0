//! `base32.StdEncoding`

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for chunk in bytes.chunks(5) {
        let mut group = [0; 8];
        group[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(group);
        let digits = (chunk.len() * 8).div_ceil(5);
        for digit in 0..8 {
            if digit < digits {
                let index = (bits >> (35 - 5 * digit)) & 31;
                out.push(char::from(ALPHABET[usize::try_from(index).unwrap_or(0)]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, String> {
    let corrupt = |at: usize| format!("illegal base32 data at input byte {at}");
    let plain: Vec<(usize, u8)> =
        text.iter().copied().enumerate().filter(|(_, byte)| !matches!(byte, b'\n' | b'\r')).collect();
    let mut out = Vec::with_capacity(plain.len() / 8 * 5);
    for (group, quantum) in plain.chunks(8).enumerate() {
        let mut bits = 0u64;
        let mut digits = 0;
        for &(at, byte) in quantum {
            if byte == b'=' {
                break;
            }
            let Some(value) = ALPHABET.iter().position(|&known| known == byte) else {
                return Err(corrupt(at));
            };
            bits = bits << 5 | value as u64;
            digits += 1;
        }
        let padding = quantum[digits..].iter().all(|(_, byte)| *byte == b'=');
        let last = group == (plain.len() - 1) / 8;
        if quantum.len() < 8 || !padding || !matches!(digits, 2 | 4 | 5 | 7 | 8) || (digits < 8 && !last) {
            return Err(corrupt(quantum.get(digits).map_or(text.len(), |(at, _)| *at)));
        }
        bits <<= 5 * (8 - digits);
        let bytes = bits.to_be_bytes();
        out.extend_from_slice(&bytes[3..3 + digits * 5 / 8]);
    }
    Ok(out)
}
