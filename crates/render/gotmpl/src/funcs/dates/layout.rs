//! Go's layouts, in which a reference time stands for the parts: "2006-01-02 15:04:05".

use jiff::Zoned;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    LongMonth,
    Month,
    ZeroMonth,
    NumMonth,
    LongWeekday,
    Weekday,
    Day,
    PadDay,
    ZeroDay,
    YearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperPm,
    LowerPm,
    Zone,
    /// An offset; `z` writes "Z" for UTC.
    Offset {
        z: bool,
        colon: bool,
        minutes: bool,
        seconds: bool,
    },
    /// A fraction of so many digits, with or without zeros at its end.
    Fraction {
        digits: usize,
        trim: bool,
    },
}

/// The texts of parts, in the order in which they are to be tried.
const PARTS: &[(&str, Part)] = &[
    ("January", Part::LongMonth),
    ("Jan", Part::Month),
    ("Monday", Part::LongWeekday),
    ("Mon", Part::Weekday),
    ("MST", Part::Zone),
    ("002", Part::YearDay),
    ("01", Part::ZeroMonth),
    ("02", Part::ZeroDay),
    ("03", Part::ZeroHour12),
    ("04", Part::ZeroMinute),
    ("05", Part::ZeroSecond),
    ("06", Part::Year),
    ("15", Part::Hour),
    ("1", Part::NumMonth),
    ("2006", Part::LongYear),
    ("2", Part::Day),
    ("_2", Part::PadDay),
    ("3", Part::Hour12),
    ("4", Part::Minute),
    ("5", Part::Second),
    ("PM", Part::UpperPm),
    ("pm", Part::LowerPm),
    ("-07:00:00", Part::Offset { z: false, colon: true, minutes: true, seconds: true }),
    ("-070000", Part::Offset { z: false, colon: false, minutes: true, seconds: true }),
    ("-07:00", Part::Offset { z: false, colon: true, minutes: true, seconds: false }),
    ("-0700", Part::Offset { z: false, colon: false, minutes: true, seconds: false }),
    ("-07", Part::Offset { z: false, colon: false, minutes: false, seconds: false }),
    ("Z07:00:00", Part::Offset { z: true, colon: true, minutes: true, seconds: true }),
    ("Z070000", Part::Offset { z: true, colon: false, minutes: true, seconds: true }),
    ("Z07:00", Part::Offset { z: true, colon: true, minutes: true, seconds: false }),
    ("Z0700", Part::Offset { z: true, colon: false, minutes: true, seconds: false }),
    ("Z07", Part::Offset { z: true, colon: false, minutes: false, seconds: false }),
];

/// The next part of a layout: the text before it, the part, and what follows.
fn next_part(layout: &str) -> (&str, Option<Part>, &str) {
    for (at, character) in layout.char_indices() {
        let rest = &layout[at..];
        if let Some(after) = rest.strip_prefix("_2006") {
            return (&layout[..=at], Some(Part::LongYear), after);
        }
        if matches!(character, '.' | ',') && rest.len() > 1 {
            let zeros = rest[1..].bytes().take_while(|&byte| byte == b'0').count();
            let nines = rest[1..].bytes().take_while(|&byte| byte == b'9').count();
            let digits = zeros.max(nines);
            let ends = !rest[1 + digits..].starts_with(|next: char| next.is_ascii_digit());
            if digits > 0 && ends {
                let part = Part::Fraction { digits, trim: nines > 0 };
                return (&layout[..at], Some(part), &rest[1 + digits..]);
            }
        }
        for (text, part) in PARTS {
            let Some(after) = rest.strip_prefix(text) else { continue };
            // "Jan" inside a longer word is no month.
            let word = matches!(part, Part::Month | Part::Weekday)
                && after.starts_with(|next: char| next.is_ascii_lowercase());
            if !word {
                return (&layout[..at], Some(*part), after);
            }
        }
    }
    (layout, None, "")
}

/// Year one, `time.Time{}`.
pub(super) fn zero() -> Zoned {
    DateTime::constant(1, 1, 1, 0, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap_or_default()
}

pub(super) fn weekday(time: &Zoned) -> &'static str {
    DAYS[usize::try_from(time.weekday().to_monday_zero_offset()).unwrap_or(0)]
}

pub(super) fn format(layout: &str, time: &Zoned) -> String {
    let mut out = String::new();
    let mut rest = layout;
    loop {
        let (before, part, after) = next_part(rest);
        out.push_str(before);
        let Some(part) = part else { return out };
        format_part(part, time, &mut out);
        rest = after;
    }
}

fn format_part(part: Part, time: &Zoned, out: &mut String) {
    let month = MONTHS[usize::try_from(time.month() - 1).unwrap_or(0)];
    let hour12 = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let text = match part {
        Part::LongMonth => month.to_owned(),
        Part::Month => month[..3].to_owned(),
        Part::ZeroMonth => format!("{:02}", time.month()),
        Part::NumMonth => time.month().to_string(),
        Part::LongWeekday => weekday(time).to_owned(),
        Part::Weekday => weekday(time)[..3].to_owned(),
        Part::Day => time.day().to_string(),
        Part::PadDay => format!("{:2}", time.day()),
        Part::ZeroDay => format!("{:02}", time.day()),
        Part::YearDay => format!("{:03}", time.day_of_year()),
        Part::Hour => format!("{:02}", time.hour()),
        Part::Hour12 => hour12.to_string(),
        Part::ZeroHour12 => format!("{hour12:02}"),
        Part::Minute => time.minute().to_string(),
        Part::ZeroMinute => format!("{:02}", time.minute()),
        Part::Second => time.second().to_string(),
        Part::ZeroSecond => format!("{:02}", time.second()),
        Part::LongYear => format!("{:04}", time.year()),
        Part::Year => format!("{:02}", time.year().rem_euclid(100)),
        Part::UpperPm => if time.hour() >= 12 { "PM" } else { "AM" }.to_owned(),
        Part::LowerPm => if time.hour() >= 12 { "pm" } else { "am" }.to_owned(),
        Part::Zone => zone_name(time),
        Part::Offset { z: true, .. } if time.offset().seconds() == 0 => "Z".to_owned(),
        Part::Offset { colon, minutes, seconds, .. } => offset_text(time.offset(), colon, minutes, seconds),
        Part::Fraction { digits, trim } => {
            let nanoseconds = format!("{:09}", time.subsec_nanosecond());
            let kept = &nanoseconds[..digits.min(9)];
            let kept = if trim { kept.trim_end_matches('0') } else { kept };
            if kept.is_empty() { String::new() } else { format!(".{kept}") }
        }
    };
    out.push_str(&text);
}

fn zone_name(time: &Zoned) -> String {
    if time.offset().seconds() == 0 && *time.time_zone() == TimeZone::UTC {
        return "UTC".to_owned();
    }
    time.time_zone().to_offset_info(time.timestamp()).abbreviation().to_owned()
}

fn offset_text(offset: Offset, colon: bool, minutes: bool, seconds: bool) -> String {
    let total = offset.seconds();
    let size = total.unsigned_abs();
    let mark = if colon { ":" } else { "" };
    let mut text = format!("{}{:02}", if total < 0 { '-' } else { '+' }, size / 3600);
    if minutes {
        text.push_str(&format!("{mark}{:02}", size / 60 % 60));
    }
    if seconds {
        text.push_str(&format!("{mark}{:02}", size % 60));
    }
    text
}

/// What was read so far.
struct Fields {
    year: i16,
    month: i8,
    day: i8,
    hour: i8,
    minute: i8,
    second: i8,
    nanosecond: i32,
    afternoon: Option<bool>,
    offset: Option<Offset>,
}

/// `time.ParseInLocation` in UTC.
pub(super) fn parse(layout: &str, value: &str) -> Result<Zoned, String> {
    let error = |rest: &str, part: &str| {
        let quote = |text: &str| crate::quote::quote(text.as_bytes());
        format!(
            "parsing time {} as {}: cannot parse {} as {}",
            quote(value),
            quote(layout),
            quote(rest),
            quote(part)
        )
    };
    let mut fields = Fields {
        year: 0,
        month: 1,
        day: 1,
        hour: 0,
        minute: 0,
        second: 0,
        nanosecond: 0,
        afternoon: None,
        offset: None,
    };
    let (mut layout_rest, mut rest) = (layout, value);
    loop {
        let (before, part, after) = next_part(layout_rest);
        rest = rest.strip_prefix(before).ok_or_else(|| error(rest, before))?;
        let Some(part) = part else { break };
        let shown = &layout_rest[before.len()..layout_rest.len() - after.len()];
        let start = rest;
        read_part(part, &mut rest, &mut fields).ok_or_else(|| error(start, shown))?;
        layout_rest = after;
    }
    if !rest.is_empty() {
        let quote = |text: &str| crate::quote::quote(text.as_bytes());
        return Err(format!("parsing time {}: extra text: {}", quote(value), quote(rest)));
    }
    let hour = match fields.afternoon {
        Some(true) if fields.hour < 12 => fields.hour + 12,
        Some(false) if fields.hour == 12 => 0,
        _ => fields.hour,
    };
    let out_of_range = || format!("parsing time {}: day out of range", crate::quote::quote(value.as_bytes()));
    let date = DateTime::new(
        fields.year,
        fields.month,
        fields.day,
        hour,
        fields.minute,
        fields.second,
        fields.nanosecond,
    );
    let zone = fields.offset.map_or(TimeZone::UTC, TimeZone::fixed);
    date.and_then(|date| date.to_zoned(zone)).map_err(|_| out_of_range())
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

fn small(rest: &mut &str, least: usize, limit: std::ops::RangeInclusive<i32>) -> Option<i8> {
    let number = digits(rest, least, 2).filter(|number| limit.contains(number))?;
    i8::try_from(number).ok()
}

fn name(rest: &mut &str, names: &[&str], length: Option<usize>) -> Option<i8> {
    let position = names.iter().position(|name| {
        let name = length.map_or(*name, |length| &name[..length]);
        rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
    })?;
    *rest = &rest[length.unwrap_or(names[position].len())..];
    i8::try_from(position + 1).ok()
}

fn read_part(part: Part, rest: &mut &str, fields: &mut Fields) -> Option<()> {
    match part {
        Part::LongMonth => fields.month = name(rest, &MONTHS, None)?,
        Part::Month => fields.month = name(rest, &MONTHS, Some(3))?,
        Part::ZeroMonth => fields.month = small(rest, 2, 1..=12)?,
        Part::NumMonth => fields.month = small(rest, 1, 1..=12)?,
        Part::LongWeekday => {
            name(rest, &DAYS, None)?;
        }
        Part::Weekday => {
            name(rest, &DAYS, Some(3))?;
        }
        Part::Day | Part::PadDay => {
            *rest = rest.trim_start_matches(' ');
            fields.day = small(rest, 1, 1..=31)?;
        }
        Part::ZeroDay => fields.day = small(rest, 2, 1..=31)?,
        Part::YearDay => return None,
        Part::Hour => fields.hour = small(rest, 1, 0..=23)?,
        Part::Hour12 => fields.hour = small(rest, 1, 0..=12)?,
        Part::ZeroHour12 => fields.hour = small(rest, 2, 0..=12)?,
        Part::Minute => fields.minute = small(rest, 1, 0..=59)?,
        Part::ZeroMinute => fields.minute = small(rest, 2, 0..=59)?,
        Part::Second | Part::ZeroSecond => {
            fields.second = small(rest, if part == Part::Second { 1 } else { 2 }, 0..=59)?;
            // A fraction may follow even where the layout has none.
            if let Some(after) = rest.strip_prefix('.')
                && after.starts_with(|next: char| next.is_ascii_digit())
            {
                fraction(rest, fields)?;
            }
        }
        Part::LongYear => fields.year = i16::try_from(digits(rest, 4, 4)?).ok()?,
        Part::Year => {
            let year = i16::try_from(digits(rest, 2, 2)?).ok()?;
            fields.year = if year >= 69 { 1900 + year } else { 2000 + year };
        }
        Part::UpperPm | Part::LowerPm => {
            let mark = rest.get(..2)?;
            let names = if part == Part::UpperPm { ["AM", "PM"] } else { ["am", "pm"] };
            fields.afternoon =
                Some(mark == names[names.iter().position(|name| *name == mark)?] && mark == names[1]);
            *rest = &rest[2..];
        }
        Part::Zone => {
            let count = rest.bytes().take_while(u8::is_ascii_uppercase).count();
            if !(3..=5).contains(&count) {
                return None;
            }
            fields.offset = Some(Offset::UTC);
            *rest = &rest[count..];
        }
        Part::Offset { z, colon, minutes, seconds } => {
            if z && rest.starts_with('Z') {
                fields.offset = Some(Offset::UTC);
                *rest = &rest[1..];
                return Some(());
            }
            fields.offset = Some(read_offset(rest, colon, minutes, seconds)?);
        }
        Part::Fraction { .. } if rest.starts_with('.') => fraction(rest, fields)?,
        Part::Fraction { .. } => {}
    }
    Some(())
}

fn fraction(rest: &mut &str, fields: &mut Fields) -> Option<()> {
    let after = rest.strip_prefix('.')?;
    let count = after.bytes().take_while(u8::is_ascii_digit).count();
    let text = format!("{:0<9}", &after[..count.min(9)]);
    fields.nanosecond = text.parse().ok()?;
    *rest = &after[count..];
    Some(())
}

fn read_offset(rest: &mut &str, colon: bool, minutes: bool, seconds: bool) -> Option<Offset> {
    let sign = match rest.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    *rest = &rest[1..];
    let mut total = digits(rest, 2, 2)? * 3600;
    for (wanted, unit) in [(minutes, 60), (seconds, 1)] {
        if wanted {
            if colon {
                *rest = rest.strip_prefix(':')?;
            }
            total += digits(rest, 2, 2)? * unit;
        }
    }
    Offset::from_seconds(sign * total).ok()
}
