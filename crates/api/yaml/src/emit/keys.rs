//! The order of keys: numbers inside them count by value, letters come after everything else.

use std::cmp::Ordering;

/// The order in which go-yaml v2 writes the keys of a map: `a2` before `a10`, `a-b` before `ab`.
#[must_use]
pub fn compare_keys(a: &str, b: &str) -> Ordering {
    compare(a, b, false)
}

/// Version 3 puts a letter before a sign where digits stood before both.
pub(super) fn compare_keys_v3(a: &str, b: &str) -> Ordering {
    compare(a, b, true)
}

fn compare(a: &str, b: &str, digits_matter: bool) -> Ordering {
    let common = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    if common == a.len().min(b.len()) {
        return a.len().cmp(&b.len());
    }
    let mut common = common;
    while !a.is_char_boundary(common) || !b.is_char_boundary(common) {
        common -= 1;
    }
    let (Some(first), Some(second)) = (a[common..].chars().next(), b[common..].chars().next()) else {
        return a.len().cmp(&b.len());
    };
    match (first.is_alphabetic(), second.is_alphabetic()) {
        (true, true) => return first.cmp(&second),
        (true, false) | (false, true) => {
            let after_digit = digits_matter && a[..common].ends_with(|last: char| last.is_ascii_digit());
            let letter_last = first.is_alphabetic() != after_digit;
            return if letter_last { Ordering::Greater } else { Ordering::Less };
        }
        (false, false) => {}
    }
    let inside_number = (first == '0' || second == '0') && continues_number(&a[..common]);
    let (first_value, first_digits) = number(&a[common..], inside_number);
    let (second_value, second_digits) = number(&b[common..], inside_number);
    first_value.cmp(&second_value).then(first_digits.cmp(&second_digits)).then(first.cmp(&second))
}

/// Whether the digits before a zero make it more than a leading one.
fn continues_number(before: &str) -> bool {
    before.bytes().rev().take_while(u8::is_ascii_digit).any(|digit| digit != b'0')
}

fn number(text: &str, inside: bool) -> (i64, usize) {
    let digits = text.bytes().take_while(u8::is_ascii_digit);
    digits.fold((i64::from(inside), 0), |(value, count), digit| {
        (value.wrapping_mul(10).wrapping_add(i64::from(digit - b'0')), count + 1)
    })
}
