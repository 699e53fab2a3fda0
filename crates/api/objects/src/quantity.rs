//! Quantities: `500m`, `1.5Gi`, `1e3`. Same syntax, rounding and canonical form as `resource.Quantity`.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

#[cfg(test)]
mod tests;

/// Smallest unit that is kept; finer input rounds up, away from zero.
const NANO: i128 = 1_000_000_000;

/// Why a text is no quantity; worded as upstream does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format(String),
    #[error("unable to parse quantity's suffix")]
    Suffix(String),
}

/// Which family of suffixes a quantity was written with, and is printed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// `n u m k M G T P E`, powers of 1000.
    Decimal,
    /// `Ki Mi Gi Ti Pi Ei`, powers of 1024.
    Binary,
    /// `e3`, powers of ten.
    Exponent,
}

/// An exact amount. Two quantities are equal if their amounts are, however they are written.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

impl Quantity {
    pub const ZERO: Self = Self { nanos: 0, format: Format::Decimal };

    /// Parses `500m`, `1.5Gi`, `1e3`, `-2`.
    ///
    /// # Errors
    /// If the text has no number, or an unknown suffix.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let refuse = || ParseError::Format(text.to_owned());
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let negative = text.starts_with('-');
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(refuse());
        }
        let (scale, format) = scale(suffix).ok_or_else(|| ParseError::Suffix(text.to_owned()))?;
        let magnitude = scaled_nanos(whole, fraction, scale).ok_or_else(refuse)?;
        Ok(Self { nanos: if negative { -magnitude } else { magnitude }, format })
    }

    /// Reads a JSON value: a string, or a bare number as YAML has it.
    ///
    /// # Errors
    /// If it is neither or does not parse.
    pub fn from_value(value: &Value) -> Result<Self, ParseError> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            other => Err(ParseError::Format(other.to_string())),
        }
    }

    /// An amount of thousandths, printed with decimal suffixes (CPU).
    #[must_use]
    pub fn from_milli(milli: i64) -> Self {
        Self { nanos: i128::from(milli) * (NANO / 1000), format: Format::Decimal }
    }

    /// A number of bytes, printed with binary suffixes (memory).
    #[must_use]
    pub fn from_bytes(bytes: u64) -> Self {
        Self { nanos: i128::from(bytes) * NANO, format: Format::Binary }
    }

    /// A plain count, printed with decimal suffixes.
    #[must_use]
    pub fn from_units(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANO, format: Format::Decimal }
    }

    /// Thousandths, rounded up, saturating: 0.5 CPU is 500.
    #[must_use]
    pub fn as_milli(&self) -> i64 {
        saturate(ceiling(self.nanos, NANO / 1000))
    }

    /// Whole units, rounded up, saturating.
    #[must_use]
    pub fn as_units(&self) -> i64 {
        saturate(ceiling(self.nanos, NANO))
    }

    /// Bytes, rounded up; negative amounts are 0.
    #[must_use]
    pub fn as_bytes(&self) -> u64 {
        u64::try_from(ceiling(self.nanos, NANO).max(0)).unwrap_or(u64::MAX)
    }

    /// The nearest floating-point number of units.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the nearest float is what is asked for")]
    pub fn as_f64(&self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    #[must_use]
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// The sum, in this quantity's notation (or the other's, if this one is zero).
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos), format }
    }

    /// The difference, in this quantity's notation.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_sub(other.nanos), format: self.format }
    }
}

/// The factor of a suffix as (base, exponent), and its family; `None` for an unknown one.
fn scale(suffix: &str) -> Option<((u32, i32), Format)> {
    let decimal = |exponent| Some(((10, exponent), Format::Decimal));
    let binary = |exponent| Some(((2, exponent), Format::Binary));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            Some(((10, exponent), Format::Exponent))
        }
    }
}

/// `whole.fraction` times the factor, in nano units, rounded up; huge amounts saturate.
fn scaled_nanos(whole: &str, fraction: &str, (base, exponent): (u32, i32)) -> Option<i128> {
    // More digits than this cannot change a saturated amount, and further fraction digits only round up.
    const DIGITS: usize = 30;
    let fraction = fraction.trim_end_matches('0');
    let whole = whole.trim_start_matches('0');
    if whole.len() > DIGITS {
        return Some(i128::MAX / 2);
    }
    let lost = fraction.len() > DIGITS;
    let fraction = &fraction[..fraction.len().min(DIGITS)];
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let numerator: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let places = i32::try_from(fraction.len()).ok()?;
    let factor = |amount: i128, shift: i32| -> i128 {
        let (base, exponent) = (i128::from(base), exponent);
        let shift = shift + 9;
        let binary = if base == 2 { exponent.unsigned_abs() } else { 0 };
        let tens = if base == 10 { shift.saturating_add(exponent) } else { shift };
        multiply(multiply(amount, 2, i64::from(binary)), 10, i64::from(tens))
    };
    let total = factor(whole, 0).saturating_add(factor(numerator, -places));
    Some(if lost { total.saturating_add(1) } else { total })
}

/// `amount * base^power`, rounded up when the power is negative, saturating at half the range.
fn multiply(mut amount: i128, base: i128, power: i64) -> i128 {
    let mut power = power;
    while power > 0 && amount != 0 && amount < i128::MAX / 2 {
        amount = amount.saturating_mul(base).min(i128::MAX / 2);
        power -= 1;
    }
    let mut rounded = false;
    while power < 0 && amount != 0 {
        rounded |= amount % base != 0;
        amount /= base;
        power += 1;
    }
    amount + i128::from(rounded)
}

fn ceiling(amount: i128, unit: i128) -> i128 {
    amount.div_euclid(unit) + i128::from(amount.rem_euclid(unit) != 0)
}

fn saturate(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX })
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// The canonical form: no fraction, the largest suffix that keeps it exact. Binary amounts below 1024 or with a
/// fraction are printed with decimal suffixes.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let whole = self.nanos % NANO == 0;
        let units = self.nanos / NANO;
        if self.format == Format::Binary && whole && units.abs() >= 1024 {
            let (mut mantissa, mut power) = (units, 0);
            while mantissa % 1024 == 0 && power < 6 {
                mantissa /= 1024;
                power += 1;
            }
            return write!(f, "{mantissa}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power]);
        }
        let (mut mantissa, mut power) = (self.nanos, 0);
        while mantissa % 1000 == 0 && power < 9 {
            mantissa /= 1000;
            power += 1;
        }
        if self.format == Format::Exponent {
            let exponent = (i32::try_from(power).unwrap_or_default() - 3) * 3;
            return if exponent == 0 { write!(f, "{mantissa}") } else { write!(f, "{mantissa}e{exponent}") };
        }
        write!(f, "{mantissa}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][power])
    }
}
