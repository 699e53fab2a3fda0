//! The secret that random functions of charts draw from.
//!
//! A chart that makes up a password would make up another one at every rendering, and the application would never
//! come to rest. So they draw from a stream that nobody can foresee and that stays the same for an application.

use client::{Api, Client, Key, resource};
use objects::Value;
use serde_json::json;
use sha2::{Digest, Sha256};

/// The Secret that holds it, beside the Applications.
const NAME: &str = "mainstay-render-seed";
const FIELD: &str = "seed";

/// Reads the seed, or makes it where there is none yet.
pub(crate) async fn read_or_make(client: &Client, namespace: &str) -> Result<[u8; 32], client::Error> {
    let secrets = Api::new(client, &resource::SECRETS);
    let key = Key::namespaced(namespace, NAME);
    if let Some(secret) = secrets.find(&key).await? {
        return Ok(digest(&secret));
    }
    // Two random ids hold 244 random bits; the digest spreads them.
    let random = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": NAME, "namespace": namespace},
        "stringData": {FIELD: random},
    });
    match secrets.create(&secret).await {
        Ok(created) => Ok(digest(&created)),
        Err(error) if error.is_already_exists() => Ok(digest(&secrets.get(&key).await?)),
        Err(error) => Err(error),
    }
}

/// The stored form is as good as the text it encodes.
fn digest(secret: &Value) -> [u8; 32] {
    Sha256::digest(secret["data"][FIELD].as_str().unwrap_or_default()).into()
}
