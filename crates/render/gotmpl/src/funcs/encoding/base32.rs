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

/// Line breaks are skipped; positions in errors are those of the text without them.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, String> {
    let corrupt = |at: usize| format!("illegal base32 data at input byte {at}");
    let plain: Vec<u8> = text.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    let mut out = Vec::with_capacity(plain.len() / 8 * 5);
    for (group, quantum) in plain.chunks(8).enumerate() {
        let start = group * 8;
        let rest = &plain[start..];
        let mut bits = 0u64;
        let mut digits = 0;
        for &byte in quantum {
            // Padding is only looked for at the end of the text.
            if byte == b'=' && digits >= 2 && rest.len() - digits <= 8 {
                if rest.len() < 8 {
                    return Err(corrupt(plain.len()));
                }
                if let Some(at) = rest[digits..8].iter().position(|byte| *byte != b'=') {
                    return Err(corrupt(start + digits + at - 1));
                }
                if matches!(digits, 3 | 6) {
                    return Err(corrupt(start + digits));
                }
                break;
            }
            let Some(value) = ALPHABET.iter().position(|&known| known == byte) else {
                return Err(corrupt(start + digits));
            };
            bits = bits << 5 | value as u64;
            digits += 1;
        }
        if digits == quantum.len() && digits < 8 {
            return Err(corrupt(start));
        }
        bits <<= 5 * (8 - digits);
        let bytes = bits.to_be_bytes();
        out.extend_from_slice(&bytes[3..3 + digits * 5 / 8]);
        if digits < 8 {
            break;
        }
    }
    Ok(out)
}
