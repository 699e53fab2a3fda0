//! What differs every time.

use super::Type::{Int, Str as Text};
use super::{Function, fixed, int, text};
use crate::error::Error;
use crate::exec::Machine;
use crate::value::Value;

const ONE: &[super::Type] = &[Int];

/// No chart needs more characters; Go would take whatever memory there is.
const MAX_COUNT: i64 = 1 << 20;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("randAlphaNum", ONE, |machine, args| {
        pick(machine, int(args, 0), b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
    }),
    fixed("randAlpha", ONE, |machine, args| {
        pick(machine, int(args, 0), b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    }),
    fixed("randNumeric", ONE, |machine, args| pick(machine, int(args, 0), b"0123456789")),
    fixed("randAscii", ONE, |machine, args| {
        let printable: Vec<u8> = (b' '..=b'~').collect();
        pick(machine, int(args, 0), &printable)
    }),
    fixed("randInt", &[Int, Int], |machine, args| {
        let (low, high) = (int(args, 0), int(args, 1));
        let span = high.checked_sub(low).and_then(|span| u64::try_from(span).ok()).filter(|&span| span > 0);
        let Some(span) = span else { return Err("invalid argument to Intn".into()) };
        let offset = i64::try_from(below(machine, span)?).unwrap_or(0);
        Ok(Value::int(low + offset))
    }),
    fixed("randBytes", ONE, |machine, args| {
        let mut bytes = vec![0; count(int(args, 0))?];
        fill(machine, &mut bytes)?;
        Ok(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes).into())
    }),
    fixed("uuidv4", &[], |machine, _| {
        let mut bytes = [0; 16];
        fill(machine, &mut bytes)?;
        bytes[6] = bytes[6] & 0x0F | 0x40;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        let hex = super::crypto::hex(&bytes);
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        Ok(parts.join("-").into())
    }),
    fixed("shuffle", &[Text], |machine, args| {
        let mut characters: Vec<char> = text(args, 0).text().chars().collect();
        for at in (1..characters.len()).rev() {
            let other = below(machine, at as u64 + 1)?;
            characters.swap(at, usize::try_from(other).unwrap_or(0));
        }
        Ok(characters.into_iter().collect::<String>().into())
    }),
];

fn count(wanted: i64) -> Result<usize, Error> {
    match usize::try_from(wanted) {
        Ok(count) if wanted <= MAX_COUNT => Ok(count),
        Ok(_) => Err(format!("more than {MAX_COUNT} random characters are not supported").into()),
        Err(_) => Ok(0),
    }
}

fn fill(machine: &mut Machine<'_>, buffer: &mut [u8]) -> Result<(), Error> {
    machine.mark_nondeterministic();
    machine.environment().random(buffer).map_err(Error::new)
}

/// A number below `limit`, each as likely as the others.
fn below(machine: &mut Machine<'_>, limit: u64) -> Result<u64, Error> {
    let fair = u64::MAX - u64::MAX % limit;
    loop {
        let mut bytes = [0; 8];
        fill(machine, &mut bytes)?;
        let number = u64::from_be_bytes(bytes);
        if number < fair {
            return Ok(number % limit);
        }
    }
}

fn pick(machine: &mut Machine<'_>, wanted: i64, set: &[u8]) -> Result<Value, Error> {
    let mut out = Vec::new();
    for _ in 0..count(wanted)? {
        let index = below(machine, set.len() as u64)?;
        out.push(set[usize::try_from(index).unwrap_or(0)]);
    }
    Ok(out.into())
}
