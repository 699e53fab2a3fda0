//! Sprig's `encryptAES` and `decryptAES`: AES-256 in CBC mode, the initialisation vector in front, as base64.

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
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

/// # Errors
/// With Sprig's words if the text is not base64; if it is shorter than a block or was not made with this password.
pub(super) fn decrypt(password: &[u8], text: &[u8]) -> Result<Vec<u8>, String> {
    let bytes = crate::funcs::encoding::decode_base64(text)?;
    let (start, rest) = bytes.split_at_checked(BLOCK).ok_or("the text is shorter than a block of AES")?;
    let start: [u8; BLOCK] = start.try_into().map_err(|_| "the text is shorter than a block of AES")?;
    let cipher = cbc::Decryptor::<Aes256>::new(&key(password).into(), &start.into());
    cipher
        .decrypt_padded_vec_mut::<Pkcs7>(rest)
        .map_err(|_| "the text was not encrypted with this password".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_can_be_decrypted() {
        let text = encrypt(b"secretkey", b"plaintext", [7; BLOCK]);
        assert_eq!(decrypt(b"secretkey", text.as_bytes()).unwrap(), b"plaintext");
        assert!(decrypt(b"other", text.as_bytes()).is_err());
        // Real Helm 4.1.4 decrypts it to the same, and what either encrypts the other decrypts.
        let known = b"30tEfhuJSVRhpG97XCuWgz2okj7L8vQ1s6V9zVUPeDQ=";
        assert_eq!(decrypt(b"secretkey", known).unwrap(), b"plaintext");
    }
}
