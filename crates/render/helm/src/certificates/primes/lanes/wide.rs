//! Eight Montgomery multiplications at once, by the instructions for integer multiply-add on 52 bits (AVX-512 IFMA).
#![expect(unsafe_code, reason = "code for instructions that not every processor has must be called so")]

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64,
    _mm512_mask_add_epi64, _mm512_mask_blend_epi64, _mm512_mullo_epi64, _mm512_set_epi64, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_srli_epi64,
};

/// Eight numbers, limb by limb: the first limb of each, then the second of each.
type Numbers<const L: usize> = [__m512i; L];

const BITS: usize = 52;
const MASK: u64 = (1 << BITS) - 1;
/// How many limbs are multiplied at a time with as many: what fits the registers.
const PART: usize = 4;

/// `None` if this processor cannot.
pub(super) fn rounds<const W: usize, const L: usize>(
    numbers: &[[u64; W]; 8],
    bases: [u64; 8],
) -> Option<[bool; 8]> {
    // Products of up to 2^7 times the number each must stay small when they are reduced: 2^16 is enough room.
    const { assert!(L * BITS >= 64 * W + 16, "the limbs have bits to spare") };
    if !is_x86_feature_detected!("avx512f")
        || !is_x86_feature_detected!("avx512dq")
        || !is_x86_feature_detected!("avx512ifma")
    {
        return None;
    }
    // SAFETY: the processor has all the instructions that the function is compiled for, as asked right above.
    Some(unsafe { all_rounds::<W, L>(numbers, bases) })
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

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn all_rounds<const W: usize, const L: usize>(numbers: &[[u64; W]; 8], bases: [u64; 8]) -> [bool; 8] {
    let modulus = gather::<W, L>(numbers);
    let inverse = vector(std::array::from_fn(|lane| super::negative_inverse(numbers[lane][0]) & MASK));
    let start: [[u64; W]; 8] = std::array::from_fn(|lane| {
        let double = |value, _| super::times(&value, 2, &numbers[lane]);
        let one = (64 * W..L * BITS).fold(super::one(&numbers[lane]), double);
        super::times(&one, bases[lane], &numbers[lane])
    });
    let mut power = gather::<W, L>(&start);
    let (ones, factors) = (_mm512_set1_epi64(1), vector(bases));
    let doubled = bases == [2; 8];
    let mut product = [power; 2];
    for bit in (1..64 * W - 1).rev() {
        square(&mut power, &mut product, &modulus, inverse);
        let set =
            (0..8).fold(0u8, |set, lane| set | ((numbers[lane][bit / 64] >> (bit % 64) & 1) as u8) << lane);
        if doubled {
            for limb in &mut power {
                *limb = _mm512_mask_add_epi64(*limb, set, *limb, *limb);
            }
        } else {
            carry(&mut power);
            let factors = _mm512_mask_blend_epi64(set, ones, factors);
            for limb in &mut power {
                *limb = _mm512_mullo_epi64(*limb, factors);
            }
        }
        carry(&mut power);
    }
    let mut unit = [_mm512_setzero_si512(); L];
    unit[0] = ones;
    let plain = multiply(&power, &unit, &modulus, inverse);
    let limbs: [[u64; 8]; L] = std::array::from_fn(|at| lanes_of(plain[at]));
    std::array::from_fn(|lane| {
        let is = |wanted: &[u64; W]| (0..L).all(|at| limbs[at][lane] == limb(wanted, at));
        let mut negative = numbers[lane];
        negative[0] -= 1;
        let mut one = [0; W];
        one[0] = 1;
        is(&one) || is(&negative)
    })
}

#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn lanes_of(vector: __m512i) -> [u64; 8] {
    let mut lanes = [0; 8];
    // SAFETY: the array has the 64 bytes that are stored, and the instruction asks for no alignment.
    unsafe { std::arch::x86_64::_mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) };
    lanes
}
