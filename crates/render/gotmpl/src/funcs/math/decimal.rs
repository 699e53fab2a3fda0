//! Decimal arithmetic as shopspring/decimal does it for Sprig's `addf` and its kin.

/// `mantissa × 10^exponent`
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal {
    mantissa: i128,
    exponent: i32,
}

/// How many digits after the point a quotient has.
const PRECISION: i32 = 16;

fn power(exponent: i32) -> Option<i128> {
    10i128.checked_pow(u32::try_from(exponent).ok()?)
}

impl Decimal {
    /// The shortest decimal that reads as the float; `None` if it is not finite.
    pub(super) fn new(value: f64) -> Option<Self> {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent: i32 = exponent.parse().ok()?;
        let places = i32::try_from(fraction.len()).ok()?;
        Some(Self { mantissa: format!("{whole}{fraction}").parse().ok()?, exponent: exponent - places })
    }

    pub(super) fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// With no more than eighteen digits.
    pub(super) fn short(mut self) -> Self {
        while self.mantissa.unsigned_abs() >= 10u128.pow(18) {
            self.mantissa /= 10;
            self.exponent += 1;
        }
        self
    }

    fn at_exponent(self, exponent: i32) -> Option<i128> {
        if self.mantissa == 0 {
            return Some(0);
        }
        self.mantissa.checked_mul(power(self.exponent.checked_sub(exponent)?)?)
    }

    pub(super) fn add(self, other: Self) -> Option<Self> {
        // Beside a number this much larger, the smaller one is lost in any float.
        const NEGLIGIBLE: i32 = 36;
        match self.exponent.checked_sub(other.exponent)? {
            NEGLIGIBLE.. if self.mantissa != 0 => return Some(self),
            ..=-36 if other.mantissa != 0 => return Some(other),
            _ => {}
        }
        let exponent = self.exponent.min(other.exponent);
        let mantissa = self.at_exponent(exponent)?.checked_add(other.at_exponent(exponent)?)?;
        Some(Self { mantissa, exponent })
    }

    pub(super) fn sub(self, other: Self) -> Option<Self> {
        self.add(Self { mantissa: -other.mantissa, ..other })
    }

    pub(super) fn mul(self, other: Self) -> Option<Self> {
        Some(Self {
            mantissa: self.mantissa.checked_mul(other.mantissa)?,
            exponent: self.exponent.checked_add(other.exponent)?,
        })
    }

    /// Rounded half away from zero at sixteen digits; `None` also when the divisor is zero.
    pub(super) fn div(self, other: Self) -> Option<Self> {
        if other.mantissa == 0 {
            return None;
        }
        if self.mantissa == 0 {
            return Some(self);
        }
        let (mut shift, mut places) = (self.exponent - other.exponent + PRECISION, PRECISION);
        let (numerator, divisor) = if shift >= 0 {
            // Digits beyond those that fit are beyond those of a float as well.
            let scaled = |shift| power(shift).and_then(|power| self.mantissa.checked_mul(power));
            while scaled(shift).is_none() {
                (shift, places) = (shift - 1, places - 1);
            }
            (scaled(shift)?, other.mantissa)
        } else {
            match power(-shift).and_then(|power| other.mantissa.checked_mul(power)) {
                Some(divisor) => (self.mantissa, divisor),
                // The quotient is smaller than all that has a digit.
                None => return Some(Self { mantissa: 0, exponent: 0 }),
            }
        };
        let (mut quotient, rest) = (numerator / divisor, numerator % divisor);
        if rest.unsigned_abs() * 2 >= divisor.unsigned_abs() {
            quotient += if (numerator < 0) == (divisor < 0) { 1 } else { -1 };
        }
        Some(Self { mantissa: quotient, exponent: -places })
    }

    pub(super) fn to_float(self) -> f64 {
        format!("{}e{}", self.mantissa, self.exponent).parse().unwrap_or(f64::NAN)
    }
}
