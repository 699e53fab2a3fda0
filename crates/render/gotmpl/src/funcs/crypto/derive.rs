//! SHA-1, and the Master Password algorithm behind `derivePassword`.

use sha2::{Digest, Sha256};

use crate::value::Str;

pub(super) fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];
    let mut message = bytes.to_vec();
    message.push(0x80);
    message.resize(message.len().next_multiple_of(64), 0);
    if bytes.len() % 64 >= 56 {
        message.resize(message.len() + 64, 0);
    }
    let end = message.len();
    message[end - 8..].copy_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    for block in message.chunks_exact(64) {
        sha1_block(&mut state, block);
    }
    let mut out = [0; 20];
    for (chunk, word) in out.chunks_exact_mut(4).zip(state) {
        chunk.copy_from_slice(&word.to_be_bytes());
    }
    out
}

fn sha1_block(state: &mut [u32; 5], block: &[u8]) {
    let mut words = [0u32; 80];
    for (word, chunk) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
    }
    for at in 16..80 {
        words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (at, word) in words.into_iter().enumerate() {
        let (mix, key) = match at / 20 {
            0 => ((b & c) | (!b & d), 0x5A82_7999),
            1 => (b ^ c ^ d, 0x6ED9_EBA1),
            2 => ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC),
            _ => (b ^ c ^ d, 0xCA62_C1D6_u32),
        };
        let next = a.rotate_left(5).wrapping_add(mix).wrapping_add(e).wrapping_add(key).wrapping_add(word);
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
    }
    for (slot, value) in state.iter_mut().zip([a, b, c, d, e]) {
        *slot = slot.wrapping_add(value);
    }
}

const SEED: &[u8] = b"com.lyndir.masterpassword";

fn templates(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "maximum" => &["anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"],
        "long" => &[
            "CvcvnoCvcvCvcv",
            "CvcvCvcvnoCvcv",
            "CvcvCvcvCvcvno",
            "CvccnoCvcvCvcv",
            "CvccCvcvnoCvcv",
            "CvccCvcvCvcvno",
            "CvcvnoCvccCvcv",
            "CvcvCvccnoCvcv",
            "CvcvCvccCvcvno",
            "CvcvnoCvcvCvcc",
            "CvcvCvcvnoCvcc",
            "CvcvCvcvCvccno",
            "CvccnoCvccCvcv",
            "CvccCvccnoCvcv",
            "CvccCvccCvcvno",
            "CvcvnoCvccCvcc",
            "CvcvCvccnoCvcc",
            "CvcvCvccCvccno",
            "CvccnoCvcvCvcc",
            "CvccCvcvnoCvcc",
            "CvccCvcvCvccno",
        ],
        "medium" => &["CvcnoCvc", "CvcCvcno"],
        "short" => &["Cvcn"],
        "basic" => &["aaanaaan", "aannaaan", "aaannaaa"],
        "pin" => &["nnnn"],
        _ => return None,
    })
}

fn characters(class: u8) -> &'static [u8] {
    match class {
        b'V' => b"AEIOU",
        b'C' => b"BCDFGHJKLMNPQRSTVWXYZ",
        b'v' => b"aeiou",
        b'c' => b"bcdfghjklmnpqrstvwxyz",
        b'A' => b"AEIOUBCDFGHJKLMNPQRSTVWXYZ",
        b'a' => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
        b'n' => b"0123456789",
        b'o' => b"@&%?,=[]_:-+*$#!'^~;()/.",
        _ => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
    }
}

fn length(text: &[u8]) -> [u8; 4] {
    u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes()
}

pub(super) fn password(counter: i64, kind: &Str, password: &Str, user: &Str, site: &Str) -> String {
    let Some(templates) = templates(&kind.text()) else {
        return format!("cannot find password template {kind}");
    };
    let salt = [SEED, &length(user), user].concat();
    let key = scrypt(password, &salt);
    let counter = u32::try_from(counter).unwrap_or(u32::MAX).to_be_bytes();
    let seed = hmac(&key, &[SEED, &length(site), site, &counter].concat());
    let template = templates[usize::from(seed[0]) % templates.len()];
    template
        .bytes()
        .zip(&seed[1..])
        .map(|(class, &byte)| {
            let set = characters(class);
            char::from(set[usize::from(byte) % set.len()])
        })
        .collect()
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0u8; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |byte: u8| block.map(|key| key ^ byte);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5C)).chain_update(inner).finalize().into()
}

/// PBKDF2 with HMAC-SHA-256 and one iteration.
fn pbkdf2(password: &[u8], salt: &[u8], length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length + 32);
    let mut block = 1u32;
    while out.len() < length {
        out.extend_from_slice(&hmac(password, &[salt, &block.to_be_bytes()].concat()));
        block += 1;
    }
    out.truncate(length);
    out
}

/// scrypt with N = 32768, r = 8, p = 2 and a key of 64 bytes.
fn scrypt(password: &[u8], salt: &[u8]) -> Vec<u8> {
    const N: usize = 32768;
    const WORDS: usize = 32 * 8;
    let mut blocks = pbkdf2(password, salt, 2 * WORDS * 4);
    let mut table = vec![0u32; N * WORDS];
    for block in blocks.chunks_exact_mut(WORDS * 4) {
        let mut state: Vec<u32> = block
            .chunks_exact(4)
            .map(|chunk| u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]))
            .collect();
        for row in table.chunks_exact_mut(WORDS) {
            row.copy_from_slice(&state);
            state = block_mix(&state);
        }
        for _ in 0..N {
            let row = state[WORDS - 16] as usize % N * WORDS;
            for (word, other) in state.iter_mut().zip(&table[row..row + WORDS]) {
                *word ^= other;
            }
            state = block_mix(&state);
        }
        for (chunk, word) in block.chunks_exact_mut(4).zip(&state) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
    }
    pbkdf2(password, &blocks, 64)
}

fn block_mix(state: &[u32]) -> Vec<u32> {
    let mut last: [u32; 16] = std::array::from_fn(|at| state[state.len() - 16 + at]);
    let (mut even, mut odd) = (Vec::with_capacity(state.len()), Vec::with_capacity(state.len() / 2));
    for (index, chunk) in state.chunks_exact(16).enumerate() {
        for (word, other) in last.iter_mut().zip(chunk) {
            *word ^= other;
        }
        last = salsa(last);
        if index % 2 == 0 { &mut even } else { &mut odd }.extend_from_slice(&last);
    }
    even.append(&mut odd);
    even
}

/// Salsa20/8
fn salsa(input: [u32; 16]) -> [u32; 16] {
    const ROUNDS: [[usize; 4]; 8] = [
        [0, 4, 8, 12],
        [5, 9, 13, 1],
        [10, 14, 2, 6],
        [15, 3, 7, 11],
        [0, 1, 2, 3],
        [5, 6, 7, 4],
        [10, 11, 8, 9],
        [15, 12, 13, 14],
    ];
    let mut x = input;
    for _ in 0..4 {
        for [a, b, c, d] in ROUNDS {
            x[b] ^= x[a].wrapping_add(x[d]).rotate_left(7);
            x[c] ^= x[b].wrapping_add(x[a]).rotate_left(9);
            x[d] ^= x[c].wrapping_add(x[b]).rotate_left(13);
            x[a] ^= x[d].wrapping_add(x[c]).rotate_left(18);
        }
    }
    std::array::from_fn(|at| x[at].wrapping_add(input[at]))
}
