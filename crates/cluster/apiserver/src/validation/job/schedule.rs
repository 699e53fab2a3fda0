//! Cron expressions, time zones and lists of indexes, refused in the words of the parsers that upstream uses.

use serde_json::Value;

use super::{Field, Problems};

/// The schedule of a CronJob.
pub(super) fn check(spec: &Field<'_, '_>, old: Option<&Value>, problems: &mut Problems) {
    let schedule = spec.get("schedule");
    if !schedule.need(problems) {
        return;
    }
    if let Err(problem) = cron(schedule.text()) {
        schedule.invalid(problem, problems);
    }
    let with_zone = schedule.text().contains("TZ");
    let had_zone =
        old.is_some_and(|old| old["spec"]["schedule"].as_str().is_some_and(|text| text.contains("TZ")));
    if with_zone && !had_zone {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        schedule.invalid(detail, problems);
    } else if with_zone && spec.get("timeZone").is_set() {
        schedule.invalid("cannot use both timeZone field and TZ or CRON_TZ in schedule", problems);
    }
}

fn cron(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("empty spec string".to_owned());
    }
    let mut text = text;
    if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
        let (zone, rest) = text.split_once(' ').unwrap_or((text, ""));
        let zone = zone.split_once('=').map_or("", |(_, zone)| zone);
        if !is_zone(zone) {
            return Err(format!("provided bad location {zone}: unknown time zone {zone}"));
        }
        text = rest.trim();
    }
    if let Some(name) = text.strip_prefix('@') {
        return descriptor(text, name);
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    for (field, bounds) in fields.into_iter().zip(&BOUNDS) {
        field.split(',').filter(|range| !range.is_empty()).try_for_each(|range| bounds.range(range))?;
    }
    Ok(())
}

fn descriptor(text: &str, name: &str) -> Result<(), String> {
    const NAMES: [&str; 7] = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"];
    if NAMES.contains(&name) {
        return Ok(());
    }
    let Some(duration) = name.strip_prefix("every ") else {
        return Err(format!("unrecognized descriptor: {text}"));
    };
    match duration.parse::<jiff::SignedDuration>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("failed to parse duration {text}: time: invalid duration {duration:?}")),
    }
}

/// What a field of an expression may hold.
struct Bounds {
    least: u64,
    most: u64,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const BOUNDS: [Bounds; 5] = [
    Bounds { least: 0, most: 59, names: &[] },
    Bounds { least: 0, most: 23, names: &[] },
    Bounds { least: 1, most: 31, names: &[] },
    Bounds { least: 1, most: 12, names: &MONTHS },
    Bounds { least: 0, most: 6, names: &DAYS },
];

impl Bounds {
    /// `*`, `N`, `N-M`, each with `/STEP` or without.
    fn range(&self, text: &str) -> Result<(), String> {
        let mut parts = text.split('/');
        let range = parts.next().unwrap_or_default();
        let step = parts.next();
        let mut ends = range.split('-');
        let first = ends.next().unwrap_or_default();
        let last = ends.next();
        let (mut start, mut end) = (self.least, self.most);
        if first != "*" && first != "?" {
            start = self.number(first)?;
            end = match last {
                None => start,
                Some(last) if ends.next().is_none() => self.number(last)?,
                Some(_) => return Err(format!("too many hyphens: {text}")),
            };
        }
        let step = match step {
            None => 1,
            Some(step) if parts.next().is_none() => {
                // `N/STEP` goes on to the end.
                if last.is_none() {
                    end = self.most;
                }
                integer(step)?
            }
            Some(_) => return Err(format!("too many slashes: {text}")),
        };
        if start < self.least {
            return Err(format!("beginning of range ({start}) below minimum ({}): {text}", self.least));
        }
        if end > self.most {
            return Err(format!("end of range ({end}) above maximum ({}): {text}", self.most));
        }
        if start > end {
            return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
        }
        if step == 0 {
            return Err(format!("step of range should be a positive number: {text}"));
        }
        Ok(())
    }

    fn number(&self, text: &str) -> Result<u64, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        match named {
            Some(at) => Ok(self.least + at as u64),
            None => integer(text),
        }
    }
}

fn integer(text: &str) -> Result<u64, String> {
    match text.parse::<i64>() {
        Ok(number) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        Ok(number) => Ok(number.unsigned_abs()),
        Err(_) => {
            Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
        }
    }
}

fn is_zone(name: &str) -> bool {
    matches!(name, "" | "UTC") || jiff::tz::TimeZone::get(name).is_ok()
}

/// The name of a time zone.
pub(super) fn zone(zone: &Field<'_, '_>, problems: &mut Problems) {
    const LONGEST_PART: usize = 14;
    if !zone.is_set() {
        return;
    }
    let name = zone.text();
    if name.is_empty() {
        zone.invalid("timeZone must be nil or non-empty string", problems);
        return;
    }
    let right = |part: &str| {
        let fits = part.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b'+'));
        fits && (1..=LONGEST_PART).contains(&part.len())
            && !matches!(part, "." | "..")
            && !part.starts_with('-')
    };
    if !name.split('/').all(right) {
        zone.invalid(format!("unknown time zone {name}"), problems);
        return;
    }
    if name.eq_ignore_ascii_case("Local") {
        let detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        zone.invalid(detail, problems);
    }
    if name != "Local" && !is_zone(name) {
        zone.invalid(format!("unknown time zone {name}"), problems);
    }
}

/// How many indexes `0,2-4` are.
pub(super) fn indexes(text: &str, completions: i64) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let (mut total, mut last) = (0, None);
    for interval in text.split(',') {
        let (start, end) = self::interval(interval, completions)?;
        if let Some(last) = last.filter(|last| *last >= start) {
            return disorder(last, start);
        }
        total += end - start + 1;
        last = Some(end);
    }
    Ok(total)
}

/// The first and the last index of `first-last`, or of one index alone.
fn interval(text: &str, completions: i64) -> Result<(i64, i64), String> {
    let number = |text: &str| {
        let number: i64 =
            text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
        if number >= completions {
            return Err(format!("too large index: {text:?}"));
        }
        Ok(number)
    };
    let mut parts = text.split('-');
    let first = parts.next().unwrap_or_default();
    let second = parts.next();
    if parts.next().is_some() {
        return Err(format!(
            "the fragment {text:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        ));
    }
    let start = number(first)?;
    let end = second.map_or(Ok(start), number)?;
    if second.is_some() && start >= end {
        return disorder(start, end);
    }
    Ok((start, end))
}

fn disorder<T>(before: i64, after: i64) -> Result<T, String> {
    Err(format!("non-increasing order, previous: {before}, current: {after}"))
}

/// The first index that two lists have in common; intervals that cannot be read are passed over.
pub(super) fn common_index(one: &str, other: &str, completions: i64) -> Option<i64> {
    let intervals = |text: &str| -> Vec<(i64, i64)> {
        text.split(',').filter_map(|text| interval(text, completions).ok()).collect()
    };
    let (one, other) = (intervals(one), intervals(other));
    let (mut ones, mut others) = (one.iter().peekable(), other.iter().peekable());
    while let (Some((start, end)), Some((first, last))) = (ones.peek(), others.peek()) {
        if start <= last && first <= end {
            return Some(*start.max(first));
        }
        if start <= first {
            ones.next();
        } else {
            others.next();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_refused_in_the_words_of_upstreams_parser() {
        for (text, expected) in [
            ("*/5 0-6 ? jan,Feb MON-fri", None),
            ("@every 1h30m", None),
            ("@daily", None),
            ("@nope", Some("unrecognized descriptor: @nope")),
            ("* * *", Some("expected exactly 5 fields, found 3: [* * *]")),
            ("60 * * * *", Some("end of range (60) above maximum (59): 60")),
            ("* * 0 * *", Some("beginning of range (0) below minimum (1): 0")),
            ("5-1 * * * *", Some("beginning of range (5) beyond end of range (1): 5-1")),
            ("*/0 * * * *", Some("step of range should be a positive number: */0")),
            ("1-2-3 * * * *", Some("too many hyphens: 1-2-3")),
            ("x * * * *", Some("failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax")),
        ] {
            assert_eq!(cron(text).err().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn indexes_are_counted() {
        assert_eq!(indexes("0,2-4", 5), Ok(4));
        assert_eq!(indexes("0,5", 5), Err("too large index: \"5\"".to_owned()));
        assert_eq!(indexes("2,1", 5), Err("non-increasing order, previous: 2, current: 1".to_owned()));
        assert_eq!(common_index("0-1,4", "2,3-4", 5), Some(4));
        assert_eq!(common_index("0-1,x", "2", 5), None);
    }
}
