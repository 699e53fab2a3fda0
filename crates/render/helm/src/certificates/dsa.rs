//! DSA keys, as Sprig makes them: a prime of 2048 bits, a group of 256.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rsa::BigUint;

use super::primes;

/// Bytes of the prime and of the group's order.
const PRIME: usize = 256;
const ORDER: usize = 32;

/// A new key in PEM.
pub(super) fn private_key(fill: &mut dyn FnMut(&mut [u8]) -> Result<(), String>) -> Result<String, String> {
    let one = BigUint::from(1u8);
    let order_words = primes::prime::<4, 8>(fill)?;
    let order = BigUint::from_bytes_le(&order_words.map(u64::to_le_bytes).concat());
    let prime = loop {
        if let Some(prime) = primes::prime_above_multiple(&order, PRIME, fill)? {
            break prime;
        }
    };
    let power = (&prime - &one) / &order;
    let generator = (2u8..)
        .map(|base| BigUint::from(base).modpow(&power, &prime))
        .find(|generator| *generator != one)
        .ok_or("no generator of the group")?;
    let mut secret = [0; ORDER + 8];
    fill(&mut secret)?;
    let secret = BigUint::from_bytes_be(&secret) % (&order - &one) + &one;
    let public = generator.modpow(&secret, &prime);
    let mut body = Vec::new();
    for number in [&BigUint::from(0u8), &prime, &order, &generator, &public, &secret] {
        integer(&mut body, number);
    }
    let mut der = Vec::new();
    element(&mut der, 0x30, &body);
    let text = STANDARD.encode(der);
    let mut pem = "-----BEGIN DSA PRIVATE KEY-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    Ok(pem + "-----END DSA PRIVATE KEY-----\n")
}

/// An element of DER.
fn element(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().position(|&byte| byte != 0).unwrap_or(length.len() - 1)..];
    match length {
        [short] if *short < 0x80 => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).expect("at most eight bytes"));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
}

fn integer(out: &mut Vec<u8>, number: &BigUint) {
    let mut bytes = number.to_bytes_be();
    if bytes.is_empty() || bytes[0] >= 0x80 {
        bytes.insert(0, 0);
    }
    element(out, 0x02, &bytes);
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_key_has_the_form_of_openssl() {
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut fill = |buffer: &mut [u8]| {
            for byte in buffer {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *byte = state.to_le_bytes()[0];
            }
            Ok(())
        };
        let pem = super::private_key(&mut fill).unwrap();
        assert!(pem.starts_with("-----BEGIN DSA PRIVATE KEY-----\nMIID"), "{pem}");
    }
}
