//! Go's layouts, in which a reference time stands for the parts: "2006-01-02 15:04:05".

mod parse;

use jiff::Zoned;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
pub(super) use parse::{parse, quote};

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
    PadYearDay,
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
    /// A fraction of so many digits, with or without zeros at its end, after a point or a comma.
    Fraction {
        digits: usize,
        trim: bool,
        comma: bool,
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
    ("__2", Part::PadYearDay),
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
                let part = Part::Fraction { digits, trim: nines > 0, comma: character == ',' };
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
        Part::PadYearDay => format!("{:3}", time.day_of_year()),
        Part::Hour => format!("{:02}", time.hour()),
        Part::Hour12 => hour12.to_string(),
        Part::ZeroHour12 => format!("{hour12:02}"),
        Part::Minute => time.minute().to_string(),
        Part::ZeroMinute => format!("{:02}", time.minute()),
        Part::Second => time.second().to_string(),
        Part::ZeroSecond => format!("{:02}", time.second()),
        Part::LongYear => {
            let sign = if time.year() < 0 { "-" } else { "" };
            format!("{sign}{:04}", time.year().unsigned_abs())
        }
        Part::Year => format!("{:02}", time.year().unsigned_abs() % 100),
        Part::UpperPm => if time.hour() >= 12 { "PM" } else { "AM" }.to_owned(),
        Part::LowerPm => if time.hour() >= 12 { "pm" } else { "am" }.to_owned(),
        Part::Zone => zone_name(time),
        Part::Offset { z: true, .. } if time.offset().seconds() == 0 => "Z".to_owned(),
        Part::Offset { colon, minutes, seconds, .. } => offset_text(time.offset(), colon, minutes, seconds),
        Part::Fraction { digits, trim, comma } => {
            let nanoseconds = format!("{:09}", time.subsec_nanosecond());
            let kept = &nanoseconds[..digits.min(9)];
            let kept = if trim { kept.trim_end_matches('0') } else { kept };
            let mark = if comma { ',' } else { '.' };
            if kept.is_empty() { String::new() } else { format!("{mark}{kept}") }
        }
    };
    out.push_str(&text);
}

fn zone_name(time: &Zoned) -> String {
    if time.offset().seconds() == 0 && *time.time_zone() == TimeZone::UTC {
        return "UTC".to_owned();
    }
    // A zone that is only an offset has no name; Go writes the offset in its place.
    if let Ok(offset) = time.time_zone().to_fixed_offset()
        && time.time_zone().iana_name().is_none()
    {
        return offset_text(offset, false, true, false);
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
