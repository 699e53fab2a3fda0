//! Miller-Rabin rounds on eight numbers, by Montgomery multiplication. The numbers are 3 modulo 4 and have their highest
//! bit set.

#[cfg(target_arch = "x86_64")]
mod wide;

/// Whether each number passes a round with base 2.
pub(super) fn first_round<const W: usize, const L: usize>(numbers: &[[u64; W]; 8]) -> [bool; 8] {
    #[cfg(target_arch = "x86_64")]
    if let Some(passed) = wide::first_round::<W, L>(numbers) {
        return passed;
    }
    numbers.each_ref().map(first_round_of)
}

/// Whether each number passes a round with its base. The base is what the words are the Montgomery form of: which one
/// that is does not matter where it is random.
pub(super) fn round<const W: usize, const L: usize>(
    numbers: &[[u64; W]; 8],
    bases: &[[u64; W]; 8],
) -> [bool; 8] {
    #[cfg(target_arch = "x86_64")]
    if let Some(passed) = wide::round::<W, L>(numbers, bases) {
        return passed;
    }
    std::array::from_fn(|at| round_of(&numbers[at], &bases[at]))
}

/// `2^(64 * W)` modulo a number whose highest bit is set.
fn one<const W: usize>(number: &[u64; W]) -> [u64; W] {
    let mut rest = [0; W];
    subtract(&mut rest, number);
    rest
}

/// What is left when the number is taken away as often as it fits; the highest word of the value is `high`.
fn reduce<const W: usize>(value: &mut [u64; W], mut high: u64, number: &[u64; W]) {
    while high > 0 || !is_less(value, number) {
        high -= u64::from(subtract(value, number));
    }
}

fn subtract<const W: usize>(from: &mut [u64; W], number: &[u64; W]) -> bool {
    let mut borrow = false;
    for (word, other) in from.iter_mut().zip(number) {
        let (value, first) = word.overflowing_sub(*other);
        let (value, second) = value.overflowing_sub(u64::from(borrow));
        *word = value;
        borrow = first || second;
    }
    borrow
}

fn is_less<const W: usize>(left: &[u64; W], right: &[u64; W]) -> bool {
    left.iter().rev().lt(right.iter().rev())
}

/// The value times a small number, modulo the number.
fn times<const W: usize>(value: &[u64; W], small: u64, number: &[u64; W]) -> [u64; W] {
    let mut product = [0; W];
    let mut carry = 0u128;
    for (word, factor) in product.iter_mut().zip(value) {
        carry += u128::from(*factor) * u128::from(small);
        *word = carry as u64;
        carry >>= 64;
    }
    reduce(&mut product, carry as u64, number);
    product
}

/// The inverse of an odd number modulo 2^64, negated.
pub(super) fn negative_inverse(number: u64) -> u64 {
    let inverse = (0..6)
        .fold(number, |inverse, _| inverse.wrapping_mul(2u64.wrapping_sub(number.wrapping_mul(inverse))));
    inverse.wrapping_neg()
}

fn multiply<const W: usize>(a: &[u64; W], b: &[u64; W], number: &[u64; W], inverse: u64) -> [u64; W] {
    let mut sum = [0u64; W];
    let mut high = 0u64;
    for &factor in a {
        let low = u128::from(sum[0]) + u128::from(factor) * u128::from(b[0]);
        let multiple = (low as u64).wrapping_mul(inverse);
        let mut carry = low >> 64;
        let mut folded = (u128::from(low as u64) + u128::from(multiple) * u128::from(number[0])) >> 64;
        for at in 1..W {
            carry += u128::from(sum[at]) + u128::from(factor) * u128::from(b[at]);
            folded += u128::from(carry as u64) + u128::from(multiple) * u128::from(number[at]);
            sum[at - 1] = folded as u64;
            carry >>= 64;
            folded >>= 64;
        }
        let top = u128::from(high) + carry + folded;
        sum[W - 1] = top as u64;
        high = (top >> 64) as u64;
    }
    reduce(&mut sum, high, number);
    sum
}

/// The first round on any processor.
pub(super) fn first_round_of<const W: usize>(number: &[u64; W]) -> bool {
    let double = |power: &[u64; W]| times(power, 2, number);
    passes(number, &double(&one(number)), double)
}

/// A round on any processor.
pub(super) fn round_of<const W: usize>(number: &[u64; W], base: &[u64; W]) -> bool {
    let inverse = negative_inverse(number[0]);
    let mut start = *base;
    reduce(&mut start, 0, number);
    passes(number, &start, |power| multiply(power, &start, number, inverse))
}

/// Whether the base to the power of `(number - 1) / 2`, which is all bits of the number but the lowest, is 1 or -1.
fn passes<const W: usize>(
    number: &[u64; W],
    base: &[u64; W],
    times_base: impl Fn(&[u64; W]) -> [u64; W],
) -> bool {
    let inverse = negative_inverse(number[0]);
    let mut power = *base;
    for bit in (1..64 * W - 1).rev() {
        power = multiply(&power, &power, number, inverse);
        if number[bit / 64] >> (bit % 64) & 1 == 1 {
            power = times_base(&power);
        }
    }
    let one = one(number);
    let mut negative = *number;
    subtract(&mut negative, &one);
    power == one || power == negative
}
