//! Names of pod templates.

use serde_json::Value;

/// The letters of generated names: none that could spell words (apimachinery's `rand`).
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash by which a ReplicaSet and its Pods carry their template's name: 32-bit FNV-1a of the template's JSON and of
/// the collision count, in letters. Two templates that are equal have the same one; a collision is resolved by
/// counting up.
pub(crate) fn template_hash(template: &Value, collisions: Option<u32>) -> String {
    let json = serde_json::to_vec(template).expect("a JSON value has only string keys");
    let mut hash = fnv1a(0x811c_9dc5, &json);
    if let Some(collisions) = collisions {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&collisions.to_le_bytes());
        hash = fnv1a(hash, &bytes);
    }
    safe(&hash.to_string())
}

/// The name of the list of steps, by which a change of them is noticed.
pub(crate) fn steps_hash(steps: &Value) -> String {
    template_hash(steps, None)
}

fn fnv1a(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn safe(digits: &str) -> String {
    digits.bytes().map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fnv_and_letters_are_the_known_ones() {
        // Published test vectors of FNV-1a, 32 bits.
        assert_eq!(fnv1a(0x811c_9dc5, b""), 0x811c_9dc5);
        assert_eq!(fnv1a(0x811c_9dc5, b"a"), 0xe40c_292c);
        assert_eq!(fnv1a(0x811c_9dc5, b"foobar"), 0xbf9c_f968);
        // '0' is byte 48, and 48 modulo 27 letters is 21.
        assert_eq!(safe("0"), "4");
    }

    #[test]
    fn equal_templates_share_a_hash_and_collisions_part_them() {
        let (one, two) = (json!({"spec": {"a": 1, "b": 2}}), json!({"spec": {"b": 2, "a": 1}}));
        assert_eq!(template_hash(&one, None), template_hash(&two, None));
        assert_ne!(template_hash(&one, None), template_hash(&one, Some(1)));
        assert_ne!(template_hash(&one, None), template_hash(&json!({"spec": {"a": 2}}), None));
    }
}
