//! Service-account tokens: JSON web tokens signed with ES256, bound to the account and optionally to one object.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The key is no ECDSA P-256 key in PKCS#8.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the key is not an ECDSA P-256 key")]
pub struct KeyError;

/// Signs tokens and checks those it signed.
pub struct Key {
    pair: EcdsaKeyPair,
    id: String,
    random: SystemRandom,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a token says. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub sub: String,
    pub aud: Vec<String>,
    pub exp: i64,
    pub iat: i64,
    pub nbf: i64,
    pub jti: String,
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Bound,
}

/// What a token is bound to: it is void once any of these is gone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bound {
    pub namespace: String,
    pub serviceaccount: Reference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reference {
    pub name: String,
    #[serde(default)]
    pub uid: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

/// Longer than any token of ours.
const LONGEST: usize = 16 << 10;

impl Key {
    /// Reads a private key in PKCS#8, DER.
    ///
    /// # Errors
    /// If it is not an ECDSA P-256 key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Key, KeyError> {
        let random = SystemRandom::new();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random).map_err(|_| KeyError)?;
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(pair.public_key().as_ref()));
        Ok(Key { pair, id, random })
    }

    /// The key's name in token headers.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A signed token.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn sign(&self, claims: &Claims) -> Result<String, KeyError> {
        let header = json!({"alg": "ES256", "kid": self.id, "typ": "JWT"});
        let claims = serde_json::to_vec(claims).expect("claims have string keys only");
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(&self.random, signed.as_bytes()).map_err(|_| KeyError)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of a token that this key signed and that is valid at `now`; audiences are the caller's to check.
    #[must_use]
    pub fn verify(&self, token: &str, now: Timestamp) -> Option<Claims> {
        if token.len() > LONGEST {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header.alg != "ES256" || header.kid != self.id {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        let now = now.as_second();
        (claims.nbf <= now && now < claims.exp).then_some(claims)
    }

    /// The public key as a JSON web key set, for `/openid/v1/jwks`.
    #[must_use]
    pub fn key_set(&self) -> Value {
        // An uncompressed point: one byte of form, then both coordinates.
        let point = self.pair.public_key().as_ref();
        let (x, y) = point.get(1..).map_or((&[][..], &[][..]), |both| both.split_at(both.len() / 2));
        json!({"keys": [{"use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)}]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Key::from_pkcs8(&pair.serialize_der()).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            iss: "https://kubernetes.default.svc".to_owned(),
            sub: "system:serviceaccount:a:b".to_owned(),
            aud: vec!["api".to_owned()],
            exp: 200,
            iat: 100,
            nbf: 100,
            jti: "1".to_owned(),
            kubernetes: Bound { namespace: "a".to_owned(), ..Bound::default() },
        }
    }

    #[test]
    fn a_token_is_valid_in_its_time_and_for_its_key_only() {
        let key = key();
        let token = key.sign(&claims()).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(key.verify(&token, at(150)), Some(claims()));
        assert_eq!(key.verify(&token, at(99)), None);
        assert_eq!(key.verify(&token, at(200)), None);
        assert_eq!(self::key().verify(&token, at(150)), None);
    }

    #[test]
    fn a_changed_or_unsigned_token_is_refused() {
        let key = key();
        let token = key.sign(&claims()).unwrap();
        let at = Timestamp::from_second(150).unwrap();
        let mut parts: Vec<&str> = token.split('.').collect();
        let forged = URL_SAFE_NO_PAD.encode(
            serde_json::to_vec(&Claims { sub: "system:serviceaccount:a:admin".to_owned(), ..claims() })
                .unwrap(),
        );
        parts[1] = &forged;
        assert_eq!(key.verify(&parts.join("."), at), None);
        let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "kid": key.id()}).to_string());
        assert_eq!(key.verify(&format!("{none}.{forged}."), at), None);
        assert_eq!(key.verify("", at), None);
    }
}
