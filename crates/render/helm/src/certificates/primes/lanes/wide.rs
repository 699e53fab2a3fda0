//! Eight Montgomery multiplications at once, by the instructions for integer multiply-add on 52 bits (AVX-512 IFMA).
#![expect(unsafe_code, reason = "code for instructions that not every processor has must be called so")]

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64,
    _mm512_mask_add_epi64, _mm512_mask_blend_epi64, _mm512_set_epi64, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_srli_epi64,
};

/// Eight numbers, limb by limb: the first limb of each, then the second of each.
type Numbers<const L: usize> = [__m512i; L];

const BITS: usize = 52;
const MASK: u64 = (1 << BITS) - 1;
/// How many limbs are multiplied at a time with as many: what fits the registers.
const PART: usize = 4;

/// How many bits of an exponent are looked at together, and how many powers of the base that takes.
const WINDOW: usize = 4;
const POWERS: usize = 1 << WINDOW;

/// `None` if this processor cannot.
pub(super) fn first_round<const W: usize, const L: usize>(numbers: &[[u64; W]; 8]) -> Option<[bool; 8]> {
    // SAFETY: the processor has all the instructions that the function is compiled for, as asked before.
    has_instructions().then(|| unsafe { Test::<W, L>::new(numbers).first_round() })
}

/// `None` if this processor cannot.
pub(super) fn round<const W: usize, const L: usize>(
    numbers: &[[u64; W]; 8],
    bases: &[[u64; W]; 8],
) -> Option<[bool; 8]> {
    // SAFETY: the processor has all the instructions that the function is compiled for, as asked before.
    has_instructions().then(|| unsafe { Test::<W, L>::new(numbers).round(bases) })
}

fn has_instructions() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512ifma")
}

/// The limb of 52 bits at a place.
fn limb<const W: usize>(number: &[u64; W], at: usize) -> u64 {
    let (word, shift) = (at * BITS / 64, at * BITS % 64);
    let low = number.get(word).map_or(0, |word| word >> shift);
    let high = number.get(word + 1).filter(|_| shift > 64 - BITS).map_or(0, |word| word << (64 - shift));
    (low | high) & MASK
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn vector(values: [u64; 8]) -> __m512i {
    let [a, b, c, d, e, f, g, h] = values.map(u64::cast_signed);
    _mm512_set_epi64(h, g, f, e, d, c, b, a)
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn gather<const W: usize, const L: usize>(numbers: &[[u64; W]; 8]) -> Numbers<L> {
    std::array::from_fn(|at| vector(std::array::from_fn(|lane| limb(&numbers[lane], at))))
}

/// Makes every limb smaller than 2^52 again.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn carry<const L: usize>(numbers: &mut Numbers<L>) {
    let mask = _mm512_set1_epi64(MASK.cast_signed());
    let mut carried = _mm512_setzero_si512();
    for limb in numbers {
        let sum = _mm512_add_epi64(*limb, carried);
        *limb = _mm512_and_si512(sum, mask);
        carried = _mm512_srli_epi64::<52>(sum);
    }
}

/// `a * b / 2^(52 * L)` modulo the numbers, not wholly reduced.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn multiply<const L: usize>(
    a: &Numbers<L>,
    b: &Numbers<L>,
    modulus: &Numbers<L>,
    inverse: __m512i,
) -> Numbers<L> {
    let zero = _mm512_setzero_si512();
    let mut sum = [zero; L];
    for &factor in a {
        let low = _mm512_madd52lo_epu64(sum[0], factor, b[0]);
        let multiple = _mm512_madd52lo_epu64(zero, low, inverse);
        let mut over = _mm512_srli_epi64::<52>(_mm512_madd52lo_epu64(low, multiple, modulus[0]));
        for at in 1..L {
            let mut limb = _mm512_add_epi64(sum[at], over);
            over = zero;
            limb = _mm512_madd52lo_epu64(limb, factor, b[at]);
            limb = _mm512_madd52lo_epu64(limb, multiple, modulus[at]);
            limb = _mm512_madd52hi_epu64(limb, factor, b[at - 1]);
            sum[at - 1] = _mm512_madd52hi_epu64(limb, multiple, modulus[at - 1]);
        }
        let top = _mm512_madd52hi_epu64(zero, factor, b[L - 1]);
        sum[L - 1] = _mm512_madd52hi_epu64(top, multiple, modulus[L - 1]);
    }
    carry(&mut sum);
    sum
}

/// Replaces a number by `a * a / 2^(52 * L)` modulo the numbers, not wholly reduced, and with limbs that are not carried.
/// What `product` holds does not matter.
///
/// This takes a quarter less than a multiplication, because products of two different limbs occur twice.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
#[inline(never)]
fn square<const L: usize>(
    a: &mut Numbers<L>,
    product: &mut [Numbers<L>; 2],
    modulus: &Numbers<L>,
    inverse: __m512i,
) {
    const { assert!(L.is_multiple_of(PART), "the limbs are whole parts") };
    let zero = _mm512_setzero_si512();
    let product = product.as_flattened_mut();
    let parts = a.as_chunks::<PART>().0;
    let mut carried = [zero; PART];
    for (step, limbs) in product.as_chunks_mut::<PART>().0.iter_mut().enumerate() {
        let (mut low, mut high) = ([zero; 2 * PART], [zero; 2 * PART]);
        for left in (step + 1).saturating_sub(parts.len())..step.div_ceil(2) {
            let (left, right) = (&parts[left], &parts[step - left]);
            for at in 0..PART {
                for other in 0..PART {
                    low[at + other] = _mm512_madd52lo_epu64(low[at + other], left[at], right[other]);
                    high[at + other] = _mm512_madd52hi_epu64(high[at + other], left[at], right[other]);
                }
            }
        }
        let own = parts.get(step / 2).filter(|_| step.is_multiple_of(2));
        if let Some(own) = own {
            for at in 0..PART {
                for other in at + 1..PART {
                    low[at + other] = _mm512_madd52lo_epu64(low[at + other], own[at], own[other]);
                    high[at + other] = _mm512_madd52hi_epu64(high[at + other], own[at], own[other]);
                }
            }
        }
        for at in (1..2 * PART).rev() {
            low[at] = _mm512_add_epi64(low[at], high[at - 1]);
            low[at] = _mm512_add_epi64(low[at], low[at]);
        }
        low[0] = _mm512_add_epi64(low[0], low[0]);
        if let Some(own) = own {
            for at in 0..PART {
                low[2 * at] = _mm512_madd52lo_epu64(low[2 * at], own[at], own[at]);
                low[2 * at + 1] = _mm512_madd52hi_epu64(low[2 * at + 1], own[at], own[at]);
            }
        }
        for at in 0..PART {
            limbs[at] = _mm512_add_epi64(low[at], carried[at]);
            carried[at] = low[PART + at];
        }
    }
    let (low, high) = product.split_at(L);
    let mut sum = [zero; L];
    sum.copy_from_slice(low);
    for &next in high {
        let multiple = _mm512_madd52lo_epu64(zero, sum[0], inverse);
        let mut over = _mm512_srli_epi64::<52>(_mm512_madd52lo_epu64(sum[0], multiple, modulus[0]));
        for at in 1..L {
            let limb = _mm512_madd52lo_epu64(_mm512_add_epi64(sum[at], over), multiple, modulus[at]);
            over = zero;
            sum[at - 1] = _mm512_madd52hi_epu64(limb, multiple, modulus[at - 1]);
        }
        sum[L - 1] = _mm512_madd52hi_epu64(next, multiple, modulus[L - 1]);
    }
    *a = sum;
}

/// Eight numbers under test.
struct Test<'n, const W: usize, const L: usize> {
    numbers: &'n [[u64; W]; 8],
    modulus: Numbers<L>,
    inverse: __m512i,
}

impl<'n, const W: usize, const L: usize> Test<'n, W, L> {
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn new(numbers: &'n [[u64; W]; 8]) -> Self {
        // Products of up to twice the number each must stay small when they are reduced: 2^16 is more than enough room.
        const { assert!(L * BITS >= 64 * W + 16, "the limbs have bits to spare") };
        let inverse = vector(std::array::from_fn(|lane| super::negative_inverse(numbers[lane][0]) & MASK));
        Self { numbers, modulus: gather::<W, L>(numbers), inverse }
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn first_round(&self) -> [bool; 8] {
        let mut power = self.powers_of_two(1);
        let mut product = [power; 2];
        for bit in (1..64 * W - 1).rev() {
            square(&mut power, &mut product, &self.modulus, self.inverse);
            let set = (0..8).fold(0u8, |set, lane| set | (self.bits(lane, bit, 1) as u8) << lane);
            for limb in &mut power {
                *limb = _mm512_mask_add_epi64(*limb, set, *limb, *limb);
            }
            carry(&mut power);
        }
        self.is_unit(&power)
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn round(&self, bases: &[[u64; W]; 8]) -> [bool; 8] {
        let mut powers = [gather::<W, L>(bases); POWERS];
        powers[0] = self.powers_of_two(0);
        for at in 2..POWERS {
            powers[at] = multiply(&powers[at - 1], &powers[1], &self.modulus, self.inverse);
        }
        // The exponent has a bit less than whole words; those that are left after whole windows come first.
        let bits = 64 * W - 1;
        let first = bits / WINDOW * WINDOW;
        let mut power = self.chosen(&powers, first + 1, bits - first);
        let mut product = [power; 2];
        for window in (0..first / WINDOW).rev() {
            for _ in 0..WINDOW {
                square(&mut power, &mut product, &self.modulus, self.inverse);
                carry(&mut power);
            }
            let factor = self.chosen(&powers, window * WINDOW + 1, WINDOW);
            power = multiply(&power, &factor, &self.modulus, self.inverse);
        }
        self.is_unit(&power)
    }

    /// `2^exponent`, in Montgomery's form.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn powers_of_two(&self, exponent: usize) -> Numbers<L> {
        let powers: [[u64; W]; 8] = std::array::from_fn(|lane| {
            let double = |value, _| super::times(&value, 2, &self.numbers[lane]);
            (64 * W..L * BITS + exponent).fold(super::one(&self.numbers[lane]), double)
        });
        gather(&powers)
    }

    /// So many bits of a number, from one on.
    fn bits(&self, lane: usize, from: usize, count: usize) -> usize {
        let bit = |at: usize| (self.numbers[lane][at / 64] >> (at % 64) & 1) as usize;
        (from..from + count).rev().fold(0, |bits, at| bits << 1 | bit(at))
    }

    /// The power of each lane's base that bits of its number call for.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn chosen(&self, powers: &[Numbers<L>; POWERS], from: usize, count: usize) -> Numbers<L> {
        let mut masks = [0u8; POWERS];
        for lane in 0..8 {
            masks[self.bits(lane, from, count)] |= 1 << lane;
        }
        let mut chosen = powers[0];
        for (power, mask) in powers.iter().zip(masks).skip(1).filter(|(_, mask)| *mask != 0) {
            for (limb, other) in chosen.iter_mut().zip(power) {
                *limb = _mm512_mask_blend_epi64(mask, *limb, *other);
            }
        }
        chosen
    }

    /// Whether each number is 1 or -1.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn is_unit(&self, value: &Numbers<L>) -> [bool; 8] {
        let mut unit = [_mm512_setzero_si512(); L];
        unit[0] = _mm512_set1_epi64(1);
        let plain = multiply(value, &unit, &self.modulus, self.inverse);
        let limbs: [[u64; 8]; L] = std::array::from_fn(|at| lanes_of(plain[at]));
        std::array::from_fn(|lane| {
            let is = |wanted: &[u64; W]| (0..L).all(|at| limbs[at][lane] == limb(wanted, at));
            let mut negative = self.numbers[lane];
            negative[0] -= 1;
            let mut one = [0; W];
            one[0] = 1;
            is(&one) || is(&negative)
        })
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn lanes_of(vector: __m512i) -> [u64; 8] {
    let mut lanes = [0; 8];
    // SAFETY: the array has the 64 bytes that are stored, and the instruction asks for no alignment.
    unsafe { std::arch::x86_64::_mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) };
    lanes
}
