//! The hash that names ReplicaSets and revisions: FNV-1a over JSON, written in the alphabet of generated names.

use serde_json::Value;

/// Letters and digits that form no words, as apimachinery's generated names use them.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash of a pod template (or any other value) together with a count of collisions met before.
///
/// JSON is taken with sorted keys, so two equal values hash alike however they were written.
pub fn template_hash(value: &Value, collisions: Option<i64>) -> String {
    let mut sum = fnv1a(0x811c_9dc5, value.to_string().as_bytes());
    if let Some(collisions) = collisions {
        let count = u32::try_from(collisions).unwrap_or(u32::MAX);
        sum = fnv1a(sum, &u64::from(count).to_le_bytes());
    }
    safe_encode(&sum.to_string())
}

fn fnv1a(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Maps each byte into the safe alphabet.
pub fn safe_encode(text: &str) -> String {
    text.bytes().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}

/// Random letters of the same alphabet, as the server appends to `generateName`.
pub fn random_suffix(length: usize) -> String {
    (0..length).map(|_| char::from(ALPHABET[fastrand::usize(..ALPHABET.len())])).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fnv_has_its_published_values() {
        assert_eq!(fnv1a(0x811c_9dc5, b""), 0x811c_9dc5);
        assert_eq!(fnv1a(0x811c_9dc5, b"a"), 0xe40c_292c);
        assert_eq!(fnv1a(0x811c_9dc5, b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn a_collision_count_changes_the_hash() {
        let template = json!({ "spec": { "containers": [] } });
        let hashes = [None, Some(0), Some(1)].map(|count| template_hash(&template, count));
        assert_ne!(hashes[0], hashes[1]);
        assert_ne!(hashes[1], hashes[2]);
        assert!(hashes.iter().all(|hash| hash.bytes().all(|b| ALPHABET.contains(&b))));
        assert_eq!(safe_encode("0123456789"), "456789bcdf");
    }
}
