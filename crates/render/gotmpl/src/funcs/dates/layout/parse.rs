//! Reading a time by a layout: `time.ParseInLocation` in UTC.

use jiff::Zoned;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::{DAYS, MONTHS, Part, next_part};

/// What was read so far.
#[derive(Default)]
struct Fields {
    year: i16,
    month: Option<i8>,
    day: Option<i8>,
    year_day: Option<i16>,
    hour: i8,
    minute: i8,
    second: i8,
    nanosecond: i32,
    afternoon: Option<bool>,
    /// Seconds east of UTC.
    offset: Option<i32>,
    zone: Option<String>,
    /// Whether the text says that it is UTC.
    utc: bool,
    /// What was read but cannot be.
    out_of_range: Option<&'static str>,
}

/// The time, or Go's words for what is wrong.
pub(in super::super) fn parse(layout: &str, value: &str) -> Result<Zoned, String> {
    let wrong = |message: &str| format!("parsing time {}: {message}", quote(value));
    let unread = |rest: &str, part: &str| {
        let (value, layout) = (quote(value), quote(layout));
        format!("parsing time {value} as {layout}: cannot parse {} as {}", quote(rest), quote(part))
    };
    let mut fields = Fields::default();
    let (mut layout_rest, mut rest) = (layout, value);
    loop {
        let (before, part, after) = next_part(layout_rest);
        rest = skip(rest, before).map_err(|at| unread(at, before))?;
        let Some(part) = part else { break };
        let shown = &layout_rest[before.len()..layout_rest.len() - after.len()];
        let start = rest;
        layout_rest = after;
        let read = read_part(part, layout_rest, &mut rest, &mut fields);
        if let Some(what) = fields.out_of_range {
            return Err(wrong(&format!("{what} out of range")));
        }
        read.ok_or_else(|| unread(start, shown))?;
    }
    if !rest.is_empty() {
        return Err(wrong(&format!("extra text: {}", quote(rest))));
    }
    made(&fields).map_err(wrong)
}

fn made(fields: &Fields) -> Result<Zoned, &'static str> {
    let hour = match fields.afternoon {
        Some(true) if fields.hour < 12 => fields.hour + 12,
        Some(false) if fields.hour == 12 => 0,
        _ => fields.hour,
    };
    let (mut month, mut day) = (fields.month, fields.day);
    if let Some(year_day) = fields.year_day {
        let first = DateTime::new(fields.year, 1, 1, 0, 0, 0, 0).map_err(|_| "day out of range")?;
        if !(1..=first.date().days_in_year()).contains(&year_day) {
            return Err("day-of-year out of range");
        }
        let date = first.date().saturating_add(jiff::Span::new().days(i64::from(year_day) - 1));
        if month.is_some_and(|month| month != date.month()) {
            return Err("day-of-year does not match month");
        }
        if day.is_some_and(|day| day != date.day()) {
            return Err("day-of-year does not match day");
        }
        (month, day) = (Some(date.month()), Some(date.day()));
    }
    let (minute, second) = (fields.minute, fields.second);
    let (month, day) = (month.unwrap_or(1), day.unwrap_or(1));
    let date = DateTime::new(fields.year, month, day, hour, minute, second, fields.nanosecond);
    date.and_then(|date| date.to_zoned(zone(fields))).map_err(|_| "day out of range")
}

/// Names of zones say nothing by themselves where the local zone is UTC, apart from "GMT+3".
fn zone(fields: &Fields) -> TimeZone {
    let name = fields.zone.as_deref().unwrap_or_default();
    if fields.utc || (fields.offset.unwrap_or(0) == 0 && name.is_empty()) {
        return TimeZone::UTC;
    }
    let given = name.strip_prefix("GMT").and_then(|hours| hours.parse::<i32>().ok());
    let seconds = fields.offset.unwrap_or_else(|| given.unwrap_or(0) * 3600);
    if name.is_empty() {
        return Offset::from_seconds(seconds).map_or(TimeZone::UTC, TimeZone::fixed);
    }
    // POSIX counts west of UTC.
    let (sign, size) = (if seconds > 0 { "-" } else { "" }, seconds.unsigned_abs());
    let posix = format!("<{name}>{sign}{:02}:{:02}:{:02}", size / 3600, size / 60 % 60, size % 60);
    TimeZone::posix(&posix).unwrap_or(TimeZone::UTC)
}

/// Quotes as package `time` does, which writes the bytes of what is not ASCII.
pub(in super::super) fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            ' '..='\x7F' => out.push(character),
            _ => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    out.push_str(&format!("\\x{byte:02x}"));
                }
            }
        }
    }
    out.push('"');
    out
}

/// Takes the text before a part away; where they part is the error. Any number of spaces is as good as one.
fn skip<'v>(mut value: &'v str, mut before: &str) -> Result<&'v str, &'v str> {
    while let Some(wanted) = before.chars().next() {
        if wanted == ' ' {
            if !value.is_empty() && !value.starts_with(' ') {
                return Err(value);
            }
            before = before.trim_start_matches(' ');
            value = value.trim_start_matches(' ');
            continue;
        }
        value = value.strip_prefix(wanted).ok_or(value)?;
        before = &before[wanted.len_utf8()..];
    }
    Ok(value)
}

fn digits(rest: &mut &str, least: usize, most: usize) -> Option<i32> {
    let count = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count < least {
        return None;
    }
    let (text, after) = rest.split_at(count);
    *rest = after;
    text.parse().ok()
}

/// One or two digits.
fn small(rest: &mut &str, fixed: bool) -> Option<i8> {
    i8::try_from(digits(rest, if fixed { 2 } else { 1 }, 2)?).ok()
}

fn name(rest: &mut &str, names: &[&str], length: Option<usize>) -> Option<i8> {
    let position = names.iter().position(|name| {
        let name = length.map_or(*name, |length| &name[..length]);
        rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
    })?;
    *rest = &rest[length.unwrap_or(names[position].len())..];
    i8::try_from(position + 1).ok()
}

impl Fields {
    /// Notes that a number is none of those that can be.
    fn check(&mut self, number: i8, allowed: std::ops::RangeInclusive<i8>, what: &'static str) -> i8 {
        if !allowed.contains(&number) {
            self.out_of_range = Some(what);
        }
        number
    }
}

fn read_part(part: Part, after: &str, rest: &mut &str, fields: &mut Fields) -> Option<()> {
    match part {
        Part::LongMonth => fields.month = Some(name(rest, &MONTHS, None)?),
        Part::Month => fields.month = Some(name(rest, &MONTHS, Some(3))?),
        Part::ZeroMonth | Part::NumMonth => {
            let month = small(rest, part == Part::ZeroMonth)?;
            fields.month = Some(fields.check(month, 1..=12, "month"));
        }
        Part::LongWeekday | Part::Weekday => {
            name(rest, &DAYS, (part == Part::Weekday).then_some(3))?;
        }
        Part::Day | Part::PadDay | Part::ZeroDay => {
            if part == Part::PadDay {
                *rest = rest.strip_prefix(' ').unwrap_or(rest);
            }
            fields.day = Some(small(rest, part == Part::ZeroDay)?);
        }
        Part::YearDay => fields.year_day = i16::try_from(digits(rest, 3, 3)?).ok(),
        Part::PadYearDay => {
            for _ in 0..2 {
                *rest = rest.strip_prefix(' ').unwrap_or(rest);
            }
            fields.year_day = i16::try_from(digits(rest, 1, 3)?).ok();
        }
        Part::Hour | Part::Hour12 | Part::ZeroHour12 => {
            let hour = small(rest, part == Part::ZeroHour12)?;
            fields.hour = fields.check(hour, 0..=if part == Part::Hour { 23 } else { 12 }, "hour");
        }
        Part::Minute | Part::ZeroMinute => {
            let minute = small(rest, part == Part::ZeroMinute)?;
            fields.minute = fields.check(minute, 0..=59, "minute");
        }
        Part::Second | Part::ZeroSecond => read_second(part, after, rest, fields)?,
        Part::LongYear => fields.year = i16::try_from(digits(rest, 4, 4)?).ok()?,
        Part::Year => {
            let year = i16::try_from(digits(rest, 2, 2)?).ok()?;
            fields.year = if year >= 69 { 1900 + year } else { 2000 + year };
        }
        Part::UpperPm | Part::LowerPm => {
            let names = if part == Part::UpperPm { ["AM", "PM"] } else { ["am", "pm"] };
            let found = names.iter().position(|name| rest.starts_with(name))?;
            fields.afternoon = Some(found == 1);
            *rest = &rest[2..];
        }
        Part::Zone => read_zone(rest, fields)?,
        Part::Offset { z: true, .. } if rest.starts_with('Z') => {
            fields.utc = true;
            *rest = &rest[1..];
        }
        Part::Offset { colon, minutes, seconds, .. } => read_offset(rest, fields, colon, minutes, seconds)?,
        Part::Fraction { digits, trim: false, .. } => fraction(rest, 1 + digits, fields)?,
        Part::Fraction { .. } if starts_fraction(rest) => fraction(rest, fraction_length(rest), fields)?,
        Part::Fraction { .. } => {}
    }
    Some(())
}

fn read_second(part: Part, after: &str, rest: &mut &str, fields: &mut Fields) -> Option<()> {
    let second = small(rest, part == Part::ZeroSecond)?;
    fields.second = fields.check(second, 0..=59, "second");
    // A fraction may follow even where the layout has none.
    if starts_fraction(rest) && !matches!(next_part(after).1, Some(Part::Fraction { .. })) {
        fraction(rest, fraction_length(rest), fields)?;
    }
    Some(())
}

fn starts_fraction(rest: &str) -> bool {
    let mut characters = rest.chars();
    matches!(characters.next(), Some('.' | ','))
        && characters.next().is_some_and(|character| character.is_ascii_digit())
}

/// How many bytes a fraction has, with its mark.
fn fraction_length(rest: &str) -> usize {
    1 + rest.bytes().skip(1).take_while(u8::is_ascii_digit).count()
}

fn fraction(rest: &mut &str, length: usize, fields: &mut Fields) -> Option<()> {
    let text = rest.get(..length)?;
    let number = text.strip_prefix(['.', ','])?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    fields.nanosecond = format!("{:0<9}", &number[..number.len().min(9)]).parse().ok()?;
    *rest = &rest[length..];
    Some(())
}

fn read_zone(rest: &mut &str, fields: &mut Fields) -> Option<()> {
    if let Some(after) = rest.strip_prefix("UTC") {
        fields.utc = true;
        *rest = after;
        return Some(());
    }
    let length = zone_length(rest)?;
    fields.zone = Some(rest[..length].to_owned());
    *rest = &rest[length..];
    Some(())
}

/// How long what looks like the name of a zone is.
fn zone_length(text: &str) -> Option<usize> {
    if text.starts_with("ChST") || text.starts_with("MeST") {
        return Some(4);
    }
    if let Some(after) = text.strip_prefix("GMT") {
        return Some(3 + signed_offset(after));
    }
    if text.len() >= 3 && text.starts_with(['+', '-']) {
        return Some(signed_offset(text)).filter(|length| *length > 0);
    }
    let upper = text.bytes().take(6).take_while(u8::is_ascii_uppercase).count();
    match upper {
        3 => Some(3),
        4 if text.as_bytes()[3] == b'T' || text.starts_with("WITA") => Some(4),
        5 if text.as_bytes()[4] == b'T' => Some(5),
        _ => None,
    }
}

/// How long "+3" is; 0 if it is no offset in hours.
fn signed_offset(text: &str) -> usize {
    let Some(number) = text.strip_prefix(['+', '-']) else { return 0 };
    let count = number.bytes().take_while(u8::is_ascii_digit).count();
    match number[..count].parse::<u64>() {
        Ok(0..=23) => 1 + count,
        _ => 0,
    }
}

fn read_offset(
    rest: &mut &str,
    fields: &mut Fields,
    colon: bool,
    minutes: bool,
    seconds: bool,
) -> Option<()> {
    let mark = usize::from(colon);
    let length = 3 + usize::from(minutes) * (2 + mark) + usize::from(seconds) * (2 + mark);
    let text = rest.get(..length)?;
    let number = |at: usize| -> Option<i8> { small(&mut text.get(at..at + 2)?, true) };
    if colon && [3, 6].iter().any(|&at| at < length && text.as_bytes()[at] != b':') {
        return None;
    }
    let (hours, minute, second) = (
        number(1)?,
        if minutes { number(3 + mark)? } else { 0 },
        if seconds { number(5 + 2 * mark)? } else { 0 },
    );
    // Of several that do not fit the last is told.
    fields.check(hours, 0..=24, "time zone offset hour");
    fields.check(minute, 0..=60, "time zone offset minute");
    fields.check(second, 0..=60, "time zone offset second");
    let total = (i32::from(hours) * 60 + i32::from(minute)) * 60 + i32::from(second);
    fields.offset = Some(match text.as_bytes()[0] {
        b'+' => total,
        b'-' => -total,
        _ => return None,
    });
    *rest = &rest[length..];
    Some(())
}
