//! `IntOrString`: a number, or a string that is a percentage or a name.

use serde_json::Value;

/// How a percentage of a total becomes a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    Up,
    Down,
}

/// Why a value is neither a number nor a percentage; worded as upstream's `intstr` does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid value for IntOrString: {0}")]
pub struct ScaleError(String);

/// The number itself, or that percentage of `total`.
///
/// # Errors
/// If `value` is neither an integer nor a string like `25%`.
pub fn scaled(value: &Value, total: i64, round: Round) -> Result<i64, ScaleError> {
    match value {
        Value::Number(number) => {
            number.as_i64().ok_or_else(|| ScaleError(format!("invalid type: {number} is not an integer")))
        }
        Value::String(text) => {
            let percent = percentage(text)
                .ok_or_else(|| ScaleError(format!("invalid type: string is not a percentage ({text:?})")))?;
            let product = percent.saturating_mul(total);
            Ok(match round {
                Round::Up => product.saturating_add(99).div_euclid(100),
                Round::Down => product.div_euclid(100),
            })
        }
        _ => Err(ScaleError("invalid type: neither int nor percentage".to_owned())),
    }
}

/// The `25` of `25%`.
#[must_use]
pub fn percentage(text: &str) -> Option<i64> {
    text.strip_suffix('%')?.parse().ok()
}

/// The integer a value is, also when it is written as a string of digits (as `targetPort: "8080"`).
#[must_use]
pub fn as_int(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        assert_eq!(scaled(&json!("25%"), 3, Round::Up), Ok(1));
        assert_eq!(scaled(&json!("25%"), 3, Round::Down), Ok(0));
        assert_eq!(scaled(&json!("100%"), 3, Round::Down), Ok(3));
        assert_eq!(scaled(&json!("0%"), 3, Round::Up), Ok(0));
        assert_eq!(scaled(&json!(2), 10, Round::Up), Ok(2));
    }

    #[test]
    fn names_are_no_numbers() {
        assert!(scaled(&json!("http"), 3, Round::Up).is_err());
        assert!(scaled(&json!("25"), 3, Round::Up).is_err());
        assert!(scaled(&json!(null), 3, Round::Up).is_err());
    }
}
