//! Cron expressions as Kubernetes reads them: five fields, names of months and days, ranges, steps, `@daily` and its kin,
//! `@every`, a time zone. (Upstream uses robfig/cron's standard parser; no Rust crate reads that dialect over `jiff`.)
//!
//! A day matches if both day fields match, or, when neither is a star, if either does. Times that a clock change skips do not
//! come; times it repeats come once. A search ends after five years, so a date that never comes (`0 0 31 2 *`) is told so.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::Value;

/// What is wrong with a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("expected exactly 5 fields, found {0}")]
    Fields(usize),
    #[error("{field}: cannot read {text:?}")]
    Field { field: &'static str, text: String },
    #[error("unrecognized descriptor: {0}")]
    Descriptor(String),
    #[error("unknown time zone {0}")]
    Zone(String),
}

/// A schedule in a time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    times: Times,
    zone: TimeZone,
}

#[derive(Debug, Clone)]
enum Times {
    Every(Duration),
    Fields(Box<Fields>),
}

/// Allowed values as bits.
#[derive(Debug, Clone, Default)]
struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day field is a star, which makes the other one decide alone.
    any_day: bool,
    any_weekday: bool,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// The search for a next time goes no further.
const HORIZON_DAYS: i64 = 5 * 366;

impl Schedule {
    /// The schedule of a CronJob, in its `timeZone` (UTC without one).
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(cron_job: &Value) -> Result<Schedule, ScheduleError> {
        let text = cron_job["spec"]["schedule"].as_str().unwrap_or("");
        Schedule::parse(text, cron_job["spec"]["timeZone"].as_str())
    }

    /// An expression in a time zone (UTC without one); `TZ=` before the expression counts where none is given.
    ///
    /// # Errors
    /// If a field, a descriptor or the zone cannot be read.
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Schedule, ScheduleError> {
        let mut text = text.trim();
        let mut zone = zone.map(str::to_owned);
        for prefix in ["CRON_TZ=", "TZ="] {
            if let Some(rest) = text.strip_prefix(prefix) {
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                zone.get_or_insert_with(|| name.to_owned());
                text = rest.trim();
            }
        }
        let zone = match zone.as_deref() {
            None | Some("" | "UTC" | "Etc/UTC") => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| ScheduleError::Zone(name.to_owned()))?,
        };
        let times =
            if text.starts_with('@') { descriptor(text)? } else { Times::Fields(Box::new(fields(text)?)) };
        Ok(Schedule { times, zone })
    }

    /// The first time after `after`; `None` if there is none in five years.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.times {
            Times::Every(step) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                whole.checked_add(SignedDuration::try_from(*step).ok()?).ok()
            }
            Times::Fields(fields) => fields.next(after, &self.zone),
        }
    }

    /// The last time after `since` and not after `now`.
    #[must_use]
    pub fn latest(&self, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        if let Times::Every(step) = &self.times {
            let step = i64::try_from(step.as_secs()).ok()?.max(1);
            let steps = (now.as_second() - since.as_second()) / step;
            return (steps > 0)
                .then(|| Timestamp::from_second(since.as_second() + steps * step).ok())
                .flatten();
        }
        let first = self.next(since).filter(|first| *first <= now)?;
        // Looking back in growing strides finds the last time without walking through a long outage minute by minute.
        let mut stride = SignedDuration::from_mins(2);
        let mut latest = first;
        loop {
            let from = (now - stride).max(latest);
            let mut next = self.next(from).filter(|next| *next <= now);
            if next.is_some() || from == latest {
                while let Some(found) = next {
                    latest = found;
                    next = self.next(found).filter(|next| *next <= now);
                }
                return Some(latest);
            }
            stride *= 4;
        }
    }
}

fn descriptor(text: &str) -> Result<Times, ScheduleError> {
    if let Some(duration) = text.strip_prefix("@every ") {
        let parsed = duration.trim().parse::<SignedDuration>().ok();
        let step = parsed.and_then(|step| Duration::try_from(step).ok());
        // Less than a second is rounded up to one, fractions are cut, as upstream.
        return step
            .map(|step| Times::Every(Duration::from_secs(step.as_secs().max(1))))
            .ok_or_else(|| ScheduleError::Descriptor(text.to_owned()));
    }
    let expression = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => return Err(ScheduleError::Descriptor(text.to_owned())),
    };
    Ok(Times::Fields(Box::new(fields(expression)?)))
}

fn fields(text: &str) -> Result<Fields, ScheduleError> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = parts[..] else {
        return Err(ScheduleError::Fields(parts.len()));
    };
    Ok(Fields {
        minutes: field("minute", minute, 0, 59, &[])?,
        hours: field("hour", hour, 0, 23, &[])?,
        days: field("day of month", day, 1, 31, &[])?,
        months: field("month", month, 1, 12, &MONTHS)?,
        weekdays: field("day of week", weekday, 0, 6, &WEEKDAYS)?,
        any_day: is_star(day),
        any_weekday: is_star(weekday),
    })
}

fn is_star(text: &str) -> bool {
    text.split(',').any(|part| matches!(part.split('/').next(), Some("*" | "?")) && !has_step(part))
}

/// `*/1` is a star; a wider step is not.
fn has_step(part: &str) -> bool {
    part.split_once('/').is_some_and(|(_, step)| step != "1")
}

fn field(
    name: &'static str,
    text: &str,
    least: u64,
    most: u64,
    names: &[&str],
) -> Result<u64, ScheduleError> {
    let refuse = || ScheduleError::Field { field: name, text: text.to_owned() };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u64>().ok().filter(|s| *s > 0).ok_or_else(refuse)?),
            None => (part, 1),
        };
        let value = |text: &str| -> Option<u64> {
            let lower = text.to_ascii_lowercase();
            let named = names.iter().position(|name| *name == lower).and_then(|i| u64::try_from(i).ok());
            named.map(|index| index + least).or_else(|| text.parse().ok())
        };
        let (first, last) = match range {
            "*" | "?" => (least, most),
            _ => match range.split_once('-') {
                Some((first, last)) => (value(first).ok_or_else(refuse)?, value(last).ok_or_else(refuse)?),
                None => {
                    let only = value(range).ok_or_else(refuse)?;
                    // `5/15` means from 5 on.
                    (only, if part.contains('/') { most } else { only })
                }
            },
        };
        if first < least || last > most || first > last {
            return Err(refuse());
        }
        let mut value = first;
        while value <= last {
            bits |= 1 << value;
            value += step;
        }
    }
    Ok(bits)
}

impl Fields {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let start = zone.to_datetime(after);
        let mut date = start.date();
        for _ in 0..HORIZON_DAYS {
            if self.day_matches(date)
                && let Some(found) = self.next_on(date, after, zone)
            {
                return Some(found);
            }
            date = date.checked_add(1.day()).ok()?;
        }
        None
    }

    fn day_matches(&self, date: Date) -> bool {
        let has = |bits: u64, value: i8| bits & (1 << value) != 0;
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let both = if self.any_day || self.any_weekday { day && weekday } else { day || weekday };
        has(self.months, date.month()) && both
    }

    fn next_on(&self, date: Date, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        for hour in (0..24).filter(|hour| self.hours & (1 << hour) != 0) {
            for minute in (0..60).filter(|minute| self.minutes & (1 << minute) != 0) {
                let time = DateTime::from_parts(date, jiff::civil::time(hour, minute, 0, 0));
                let ambiguous = zone.to_ambiguous_timestamp(time);
                // A time that a clock change skips does not exist; of one it repeats the first counts.
                if let Ok(found) = ambiguous.earlier()
                    && zone.to_datetime(found) == time
                    && found > after
                {
                    return Some(found);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn next(schedule: &str, after: &str) -> Option<String> {
        Schedule::parse(schedule, None).unwrap().next(at(after)).map(|time| time.to_string())
    }

    #[test]
    fn next_times() {
        let cases = [
            ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "2026-01-01T00:50:30Z", "2026-01-01T01:00:00Z"),
            ("5/15 * * * *", "2026-01-01T00:06:00Z", "2026-01-01T00:20:00Z"),
            ("30 3 * * *", "2026-01-01T03:30:00Z", "2026-01-02T03:30:00Z"),
            ("0 0 1 1 *", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("0 9-17/4 * * MON-FRI", "2026-01-02T17:30:00Z", "2026-01-05T09:00:00Z"),
            ("0 0 13 * FRI", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("0 0 */2 * FRI", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("0 0 13 * *", "2026-01-01T00:00:00Z", "2026-01-13T00:00:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 ? feb,Mar 1", "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"),
            ("@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("@every 1h30m", "2026-01-01T00:00:00.5Z", "2026-01-01T01:30:00Z"),
            ("TZ=Europe/Berlin 0 12 * * *", "2026-07-01T00:00:00Z", "2026-07-01T10:00:00Z"),
        ];
        for (schedule, after, expected) in cases {
            assert_eq!(next(schedule, after).as_deref(), Some(expected), "{schedule}");
        }
    }

    #[test]
    fn dates_that_never_come_end_the_search() {
        assert_eq!(next("0 0 31 2 *", "2026-01-01T00:00:00Z"), None);
        assert_eq!(next("0 0 30 2 *", "2026-01-01T00:00:00Z"), None);
        assert_eq!(next("0 0 31 4,6,9,11 *", "2026-01-01T00:00:00Z"), None);
    }

    #[test]
    fn clock_changes_neither_invent_nor_repeat_times() {
        let berlin = Schedule::parse("30 2 * * *", Some("Europe/Berlin")).unwrap();
        // 2026-03-29 has no 02:30 there; 2026-10-25 has two.
        assert_eq!(berlin.next(at("2026-03-28T12:00:00Z")), Some(at("2026-03-30T00:30:00Z")));
        let first = berlin.next(at("2026-10-24T12:00:00Z")).unwrap();
        assert_eq!(first, at("2026-10-25T00:30:00Z"));
        assert_eq!(berlin.next(first), Some(at("2026-10-26T01:30:00Z")));
    }

    #[test]
    fn the_latest_missed_time_is_found_over_any_gap() {
        let latest = |schedule: &str, since: &str, now: &str| {
            Schedule::parse(schedule, None).unwrap().latest(at(since), at(now)).map(|time| time.to_string())
        };
        assert_eq!(
            latest("*/5 * * * *", "2020-01-01T00:00:00Z", "2026-01-01T00:04:00Z").as_deref(),
            Some("2026-01-01T00:00:00Z")
        );
        assert_eq!(
            latest("0 0 1 * *", "2026-01-15T00:00:00Z", "2026-06-20T00:00:00Z").as_deref(),
            Some("2026-06-01T00:00:00Z")
        );
        assert_eq!(latest("0 0 1 * *", "2026-01-15T00:00:00Z", "2026-01-20T00:00:00Z"), None);
        assert_eq!(
            latest("@every 7s", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z").as_deref(),
            Some("2026-01-01T00:00:56Z")
        );
    }

    #[test]
    fn nonsense_is_refused_with_its_field() {
        for bad in [
            "",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "5-3 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "@never",
            "@every",
            "@every x",
            "* * * * * *",
            "99999999999999999999 * * * *",
        ] {
            assert!(Schedule::parse(bad, None).is_err(), "{bad:?} was accepted");
        }
        let error = Schedule::parse("* 25 * * *", None).unwrap_err();
        assert_eq!(error.to_string(), "hour: cannot read \"25\"");
        assert_eq!(
            Schedule::parse("* * * * *", Some("Mars/X")).unwrap_err(),
            ScheduleError::Zone("Mars/X".into())
        );
    }
}
