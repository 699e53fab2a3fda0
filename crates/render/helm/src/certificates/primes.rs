//! Random primes for RSA keys.
//!
//! A key needs two primes, and finding one takes dozens of exponentiations of 1024-bit numbers: most of the time that
//! rendering a chart with certificates takes. Candidates that a sieve leaves are tested eight at a time where the
//! processor multiplies eight numbers at once, and one after the other elsewhere.
//!
//! Every prime is 3 modulo 4, so that one exponentiation to `(n - 1) / 2` is a whole Miller-Rabin round: the result is
//! 1 or -1 for a prime. A prime of an RSA key passed five rounds: as many as Go makes, or one more for the larger of the two
//! sizes. The first has base 2, which finds the composite numbers; those that confirm it have random bases, as Go's, and
//! are made for both primes of a key at once. Primes of DSA keys are confirmed by 64 rounds, as many as Go makes.

#![expect(clippy::cast_possible_truncation, reason = "arithmetic on limbs takes numbers apart")]

mod lanes;

use std::sync::OnceLock;

/// The largest factor the sieve knows: more would take longer to divide by than it saves.
const LARGEST_FACTOR: usize = 1 << 16;
/// The same for numbers that are divided one by one.
const LARGEST_DIVISOR: u32 = 1 << 14;
/// How many factors the sieve divides by at once.
const TOGETHER: usize = 8;
/// How many candidates a window has, four apart. One window in three hundred has no prime (of 1024 bits).
const WINDOW: usize = 2048;
/// The public exponent of every key; it must not divide `p - 1`.
pub(super) const EXPONENT: u64 = 65537;
/// How many batches of eight rounds confirm a prime of a DSA key.
const CONFIRMING: usize = 8;

/// Gives random bytes.
type Fill<'f> = &'f mut dyn FnMut(&mut [u8]) -> Result<(), String>;

/// Two random primes of `64 * W` bits with their two highest bits set, as little-endian words. `L` is how many limbs of
/// 52 bits they have, with some bits to spare.
pub(super) fn pair<const W: usize, const L: usize>(fill: Fill<'_>) -> Result<[[u64; W]; 2], String> {
    loop {
        let (p, q) = (likely::<W, L>(fill)?, likely::<W, L>(fill)?);
        if confirmed::<W, L>(&[p, p, p, p, q, q, q, q], fill)? {
            return Ok([p, q]);
        }
    }
}

/// One such prime.
pub(super) fn prime<const W: usize, const L: usize>(fill: Fill<'_>) -> Result<[u64; W], String> {
    loop {
        let found = likely::<W, L>(fill)?;
        if confirmed_often::<W, L>(&found, fill)? {
            return Ok(found);
        }
    }
}

fn confirmed_often<const W: usize, const L: usize>(
    number: &[u64; W],
    fill: Fill<'_>,
) -> Result<bool, String> {
    for _ in 0..CONFIRMING {
        if !confirmed::<W, L>(&[*number; 8], fill)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether all pass a round with random bases.
fn confirmed<const W: usize, const L: usize>(
    numbers: &[[u64; W]; 8],
    fill: Fill<'_>,
) -> Result<bool, String> {
    let mut bases = [[0; W]; 8];
    for base in &mut bases {
        *base = random(fill)?;
    }
    Ok(lanes::round::<W, L>(numbers, &bases).iter().all(|passed| *passed))
}

fn random<const W: usize>(fill: Fill<'_>) -> Result<[u64; W], String> {
    let mut words = [0; W];
    for word in &mut words {
        let mut bytes = [0; 8];
        fill(&mut bytes)?;
        *word = u64::from_le_bytes(bytes);
    }
    Ok(words)
}

/// A random number that passed the first round.
fn likely<const W: usize, const L: usize>(fill: Fill<'_>) -> Result<[u64; W], String> {
    loop {
        let mut start: [u64; W] = random(fill)?;
        start[0] |= 3;
        start[W - 1] |= 3 << 62;
        if let Some(found) = search::<W, L>(&start) {
            return Ok(found);
        }
    }
}

/// A random prime of so many bytes (256) that is one more than a multiple of `order`, from one window; mostly there is
/// none.
pub(super) fn prime_above_multiple(
    order: &rsa::BigUint,
    bytes: usize,
    fill: Fill<'_>,
) -> Result<Option<rsa::BigUint>, String> {
    let mut random = vec![0; bytes];
    fill(&mut random)?;
    random[0] |= 0x80;
    let double = order << 1;
    let number = rsa::BigUint::from_bytes_be(&random);
    let mut number = &number - &number % &double + rsa::BigUint::from(1u8);
    let mut batch = Vec::new();
    while batch.len() < 8 {
        let mut little = number.to_bytes_le();
        little.resize(bytes + 8, 0);
        let words: Vec<u64> =
            little.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let Some(words) = words.first_chunk::<32>().filter(|words| words[31] >> 63 == 1) else {
            return Ok(None);
        };
        let mut divisors = small_primes().iter().copied().take_while(|&prime| prime < LARGEST_DIVISOR);
        let mut divisible = || divisors.any(|factor| remainder(words, factor) == 0);
        if words[0] % 4 == 3 && !divisible() {
            batch.push(*words);
        }
        number += &double;
    }
    let batch: [[u64; 32]; 8] = batch.try_into().map_err(|_| "a batch has eight numbers")?;
    let passed = lanes::first_round::<32, 40>(&batch);
    let likely = batch.iter().zip(passed).find(|(_, passed)| *passed).map(|(candidate, _)| candidate);
    match likely {
        Some(words) if confirmed_often::<32, 40>(words, fill)? => {
            Ok(Some(rsa::BigUint::from_bytes_le(&words.map(u64::to_le_bytes).concat())))
        }
        _ => Ok(None),
    }
}

/// The first number from `start` on, in steps of four, that passes the first round.
fn search<const W: usize, const L: usize>(start: &[u64; W]) -> Option<[u64; W]> {
    let mut left = candidates(start).into_iter().filter_map(|step| plus(start, 4 * step as u64));
    loop {
        let mut batch = [left.next()?; 8];
        for slot in &mut batch[1..] {
            // A batch that is not full repeats its first candidate.
            if let Some(next) = left.next() {
                *slot = next;
            }
        }
        let passed = lanes::first_round::<W, L>(&batch);
        let likely = batch.iter().zip(passed).filter(|(_, passed)| *passed).map(|(candidate, _)| candidate);
        for candidate in likely {
            if remainder(candidate, EXPONENT as u32) != 1 {
                return Some(*candidate);
            }
        }
    }
}

/// The steps from `start` at which no small factor divides the number.
fn candidates<const W: usize>(start: &[u64; W]) -> Vec<usize> {
    let mut composite = vec![false; WINDOW];
    let (groups, rest) = small_primes().as_chunks::<TOGETHER>();
    let mut last = [3; TOGETHER];
    last[..rest.len()].copy_from_slice(rest);
    for factors in groups.iter().chain([&last]) {
        for (first, factor) in first_multiples(start, factors).into_iter().zip(factors) {
            composite.iter_mut().skip(first).step_by(*factor as usize).for_each(|slot| *slot = true);
        }
    }
    (0..WINDOW).filter(|&step| !composite[step]).collect()
}

/// At which step from `start`, four apart, each factor divides the number first. Factors are below 2^16.
fn first_multiples<const W: usize>(start: &[u64; W], factors: &[u32; TOGETHER]) -> [usize; TOGETHER] {
    let factors = factors.map(u64::from);
    // Montgomery's reduction divides by 2^32 at every half of a word, and that goes for eight factors at once.
    let inverses = factors.map(|factor| u64::from(lanes::negative_inverse(factor) as u32));
    let mut rest = [0u64; TOGETHER];
    for half in start.iter().flat_map(|word| [word & 0xFFFF_FFFF, word >> 32]) {
        for ((rest, factor), inverse) in rest.iter_mut().zip(factors).zip(inverses) {
            let sum = *rest + half;
            let multiple = ((sum & 0xFFFF_FFFF) * inverse) & 0xFFFF_FFFF;
            *rest = (sum + multiple * factor) >> 32;
        }
    }
    // start = rest * 2^(64 * W), and start + 4 * step = 0, so step = -rest * 2^(64 * W - 2).
    std::array::from_fn(|at| {
        let (factor, rest) = (factors[at], rest[at] % factors[at]);
        let power = (0..(64 * W).ilog2()).fold(2, |power, _| power * power % factor);
        let quarter =
            (0..2).fold(power, |half, _| if half % 2 == 0 { half / 2 } else { (half + factor) / 2 });
        ((factor - rest) * quarter % factor) as usize
    })
}

/// The odd primes below [`LARGEST_FACTOR`].
fn small_primes() -> &'static [u32] {
    static PRIMES: OnceLock<Vec<u32>> = OnceLock::new();
    PRIMES.get_or_init(|| {
        let mut composite = vec![false; LARGEST_FACTOR];
        let mut primes = Vec::new();
        for number in (3..LARGEST_FACTOR).step_by(2) {
            if !composite[number] {
                primes.push(number as u32);
                (number * number..LARGEST_FACTOR).step_by(number).for_each(|at| composite[at] = true);
            }
        }
        primes
    })
}

fn remainder<const W: usize>(number: &[u64; W], divisor: u32) -> u32 {
    let divisor = u64::from(divisor);
    let halves = number.iter().rev().flat_map(|word| [word >> 32, word & 0xFFFF_FFFF]);
    halves.fold(0, |rest, half| (rest << 32 | half) % divisor) as u32
}

/// The sum, unless it has more words.
fn plus<const W: usize>(number: &[u64; W], small: u64) -> Option<[u64; W]> {
    let mut sum = *number;
    let mut carry = small;
    for word in &mut sum {
        let (value, over) = word.overflowing_add(carry);
        *word = value;
        carry = u64::from(over);
    }
    (carry == 0).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeded() -> impl FnMut(&mut [u8]) -> Result<(), String> {
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        move |buffer| {
            for byte in buffer {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *byte = state as u8;
            }
            Ok(())
        }
    }

    fn is_prime<const W: usize>(number: &[u64; W]) -> bool {
        let bytes: Vec<u8> = number.iter().flat_map(|word| word.to_le_bytes()).collect();
        let number = rsa::BigUint::from_bytes_le(&bytes);
        let two = rsa::BigUint::from(2u32);
        let one = rsa::BigUint::from(1u32);
        two.modpow(&(&number - &one), &number) == one
    }

    #[test]
    fn finds_primes_of_both_sizes() {
        let mut fill = seeded();
        for found in pair::<16, 20>(&mut fill).unwrap().into_iter().chain(pair::<16, 20>(&mut fill).unwrap())
        {
            assert!(is_prime(&found));
            assert_eq!(found[15] >> 62, 3);
        }
        assert!(is_prime(&likely::<32, 40>(&mut fill).unwrap()));
    }

    /// The sieve takes out what a factor divides and nothing else.
    #[test]
    fn sieves_by_all_factors() {
        let mut fill = seeded();
        let mut bytes = [0; 128];
        fill(&mut bytes).unwrap();
        let mut start: [u64; 16] = std::array::from_fn(|at| u64::from_le_bytes(bytes.as_chunks::<8>().0[at]));
        start[0] |= 3;
        let left = candidates::<16>(&start);
        for step in 0..100 {
            let number = plus(&start, 4 * step as u64).unwrap();
            let divisible = small_primes().iter().any(|&factor| remainder(&number, factor) == 0);
            assert_eq!(left.contains(&step), !divisible, "{step}");
        }
    }

    /// Both ways of testing give the same answer, also for numbers that are no primes.
    #[test]
    fn one_at_a_time_is_eight_at_a_time() {
        let mut fill = seeded();
        let prime = likely::<16, 20>(&mut fill).unwrap();
        let mut batch = [prime; 8];
        for (distance, slot) in batch.iter_mut().enumerate().skip(1) {
            *slot = plus(&prime, 4 * distance as u64).unwrap();
        }
        let expected = batch.map(|candidate| is_prime(&candidate));
        assert!(expected[0]);
        assert_eq!(lanes::first_round::<16, 20>(&batch), expected);
        assert_eq!(batch.map(|number| lanes::first_round_of(&number)), expected);
        let bases: [[u64; 16]; 8] = std::array::from_fn(|_| random(&mut fill).unwrap());
        assert_eq!(lanes::round::<16, 20>(&batch, &bases), expected);
        let one_by_one: [bool; 8] = std::array::from_fn(|at| lanes::round_of(&batch[at], &bases[at]));
        assert_eq!(one_by_one, expected);
    }

    /// 2147483123 times 8589932489: base 2 takes it for a prime.
    #[test]
    fn random_bases_find_what_base_two_does_not() {
        let mut fill = seeded();
        let numbers = [[18_446_735_047_836_883_147u64]; 8];
        assert_eq!(lanes::first_round::<1, 4>(&numbers), [true; 8]);
        assert!(!confirmed::<1, 4>(&numbers, &mut fill).unwrap());
    }
}
