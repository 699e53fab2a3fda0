//! Sprig's `encryptAES` and `decryptAES`: AES-256 in CBC mode, the initialisation vector in front, as base64.

use aes::Aes256;
use aes::cipher::block_padding::{NoPadding, Pkcs7};
use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a block, and of the initialisation vector.
pub(super) const BLOCK: usize = 16;

/// A password is cut or filled with zeros to the length of a key.
fn key(password: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    let length = password.len().min(key.len());
    key[..length].copy_from_slice(&password[..length]);
    key
}

pub(super) fn encrypt(password: &[u8], plain: &[u8], start: [u8; BLOCK]) -> String {
    let cipher = cbc::Encryptor::<Aes256>::new(&key(password).into(), &start.into());
    let mut out = start.to_vec();
    out.extend(cipher.encrypt_padded_vec_mut::<Pkcs7>(plain));
    STANDARD.encode(out)
}

/// Sprig cuts off as many bytes as the last one says, whatever they are.
///
/// # Errors
/// With the words of Go's decoder, of its cipher, or of the slices that Sprig takes.
pub(super) fn decrypt(password: &[u8], text: &[u8]) -> Result<Vec<u8>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = crate::funcs::encoding::decode_base64(text)?;
    let Some((start, rest)) = bytes.split_first_chunk::<BLOCK>() else {
        let room = text.len() / 4 * 3;
        return Err(format!("runtime error: slice bounds out of range [:{BLOCK}] with capacity {room}"));
    };
    let partial = || "crypto/cipher: input not full blocks".to_owned();
    if rest.len() % BLOCK != 0 {
        return Err(partial());
    }
    let cipher = cbc::Decryptor::<Aes256>::new(&key(password).into(), start.into());
    let mut plain = cipher.decrypt_padded_vec_mut::<NoPadding>(rest).map_err(|_| partial())?;
    let Some(&last) = plain.last() else { return Err("runtime error: index out of range [-1]".to_owned()) };
    match plain.len().checked_sub(usize::from(last)) {
        Some(length) => plain.truncate(length),
        None => {
            let before = usize::from(last) - plain.len();
            return Err(format!("runtime error: slice bounds out of range [:-{before}]"));
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_can_be_decrypted() {
        let text = encrypt(b"secretkey", b"plaintext", [7; BLOCK]);
        assert_eq!(decrypt(b"secretkey", text.as_bytes()).unwrap(), b"plaintext");
        assert_ne!(decrypt(b"other", text.as_bytes()).ok().as_deref(), Some(&b"plaintext"[..]));
        // Real Helm 4.1.4 decrypts it to the same, and what either encrypts the other decrypts.
        let known = b"30tEfhuJSVRhpG97XCuWgz2okj7L8vQ1s6V9zVUPeDQ=";
        assert_eq!(decrypt(b"secretkey", known).unwrap(), b"plaintext");
    }
}
