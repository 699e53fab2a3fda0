//! Times and durations.

mod duration;
mod layout;

use std::any::Any as StdAny;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

use super::Type::{Any, Str as Text, Time};
use super::{Function, fixed, text};
use crate::error::Error;
use crate::exec::Machine;
use crate::value::{Field, IntKind, Object, Value};
pub(crate) use duration::text as duration_text;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("now", &[], |machine, _| Ok(Value::object(now(machine)))),
    fixed("date", &[Text, Any], |machine, args| {
        Ok(in_zone(machine, &text(args, 0).text(), &args[1], "Local"))
    }),
    fixed("dateInZone", &[Text, Any, Text], date_in_zone),
    fixed("date_in_zone", &[Text, Any, Text], date_in_zone),
    fixed("htmlDate", &[Any], |machine, args| Ok(in_zone(machine, "2006-01-02", &args[0], "Local"))),
    fixed("htmlDateInZone", &[Any, Text], |machine, args| {
        Ok(in_zone(machine, "2006-01-02", &args[0], &text(args, 1).text()))
    }),
    fixed("dateModify", &[Text, Time], |_, args| Ok(modified(args).unwrap_or_else(|_| args[1].clone()))),
    fixed("date_modify", &[Text, Time], |_, args| Ok(modified(args).unwrap_or_else(|_| args[1].clone()))),
    fixed("mustDateModify", &[Text, Time], |_, args| modified(args)),
    fixed("must_date_modify", &[Text, Time], |_, args| modified(args)),
    fixed("ago", &[Any], |machine, args| {
        let then = time_of(&args[0]);
        let now = now(machine).0.timestamp();
        let seconds = then.map_or(0, |then| now.as_second() - then.timestamp().as_second());
        Ok(duration::text(seconds.saturating_mul(1_000_000_000)).into())
    }),
    fixed("duration", &[Any], |_, args| {
        let seconds = match &args[0] {
            // What does not fit is the nearest number that does, as strconv.ParseInt gives it beside its error.
            Value::Str(text) => match text.text().parse::<i64>().map_err(|error| *error.kind()) {
                Ok(seconds) => seconds,
                Err(std::num::IntErrorKind::PosOverflow) => i64::MAX,
                Err(std::num::IntErrorKind::NegOverflow) => i64::MIN,
                Err(_) => 0,
            },
            Value::Int(IntKind::Int64, seconds) => *seconds,
            _ => 0i64,
        };
        Ok(duration::text(seconds.wrapping_mul(1_000_000_000)).into())
    }),
    fixed("durationRound", &[Any], duration_round),
    fixed("toDate", &[Text, Text], |_, args| {
        let parsed = layout::parse(&text(args, 0).text(), &text(args, 1).text());
        Ok(Value::object(GoTime(parsed.unwrap_or_else(|_| layout::zero()))))
    }),
    fixed("mustToDate", &[Text, Text], |_, args| {
        let parsed = layout::parse(&text(args, 0).text(), &text(args, 1).text());
        Ok(Value::object(GoTime(parsed.map_err(Error::new)?)))
    }),
    fixed("unixEpoch", &[Time], |_, args| {
        Ok(time_of(&args[0]).map_or(0, |time| seconds(&time)).to_string().into())
    }),
];

/// `time.Time`
#[derive(Debug, Clone, PartialEq, Eq)]
struct GoTime(Zoned);

fn now(machine: &mut Machine<'_>) -> GoTime {
    machine.mark_nondeterministic();
    GoTime(machine.environment().now().to_zoned(TimeZone::UTC))
}

/// Whole seconds since the epoch, rounded down.
fn seconds(time: &Zoned) -> i64 {
    let stamp = time.timestamp();
    stamp.as_second() - i64::from(stamp.subsec_nanosecond() < 0)
}

fn time_of(value: &Value) -> Option<Zoned> {
    match value {
        Value::Object(object) => object.as_any().downcast_ref::<GoTime>().map(|time| time.0.clone()),
        Value::Int(IntKind::Int | IntKind::Int32 | IntKind::Int64, seconds) => {
            Timestamp::from_second(*seconds).ok().map(|time| time.to_zoned(TimeZone::UTC))
        }
        _ => None,
    }
}

/// A date and time of a TOML document; without an offset it is taken as UTC, and a time without a date stays text.
pub(super) fn from_toml(time: &toml::value::Datetime) -> Value {
    let text = time.to_string();
    let instant = text.parse::<Timestamp>().map(|time| time.to_zoned(TimeZone::UTC));
    let found = instant.or_else(|_| text.parse::<jiff::civil::DateTime>()?.to_zoned(TimeZone::UTC));
    found.map_or_else(|_| text.into(), |time| Value::object(GoTime(time)))
}

/// Helm's processes run in UTC, so "Local" means that.
fn zone(name: &str) -> TimeZone {
    match name {
        "" | "UTC" | "Local" => TimeZone::UTC,
        name => TimeZone::get(name).unwrap_or(TimeZone::UTC),
    }
}

fn in_zone(machine: &mut Machine<'_>, format: &str, date: &Value, zone_name: &str) -> Value {
    let time = time_of(date).unwrap_or_else(|| now(machine).0);
    layout::format(format, &time.with_time_zone(zone(zone_name))).into()
}

fn date_in_zone(machine: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    Ok(in_zone(machine, &text(args, 0).text(), &args[1], &text(args, 2).text()))
}

fn modified(args: &[Value]) -> Result<Value, Error> {
    let nanoseconds = duration::parse(&text(args, 0).text()).map_err(Error::new)?;
    let time = time_of(&args[1]).unwrap_or_else(layout::zero);
    add(&time, nanoseconds).map_err(Error::new)
}

fn add(time: &Zoned, nanoseconds: i64) -> Result<Value, String> {
    let sum = time.checked_add(SignedDuration::from_nanos(nanoseconds));
    sum.map(|time| Value::object(GoTime(time))).map_err(|_| "time out of range".to_owned())
}

fn duration_round(machine: &mut Machine<'_>, args: &[Value]) -> Result<Value, Error> {
    let nanoseconds = match &args[0] {
        Value::Str(text) => duration::parse(&text.text()).unwrap_or(0),
        Value::Int(IntKind::Int64, value) => *value,
        Value::Object(_) => match time_of(&args[0]) {
            Some(then) => {
                let since = now(machine).0.timestamp().duration_since(then.timestamp());
                i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
            }
            None => 0,
        },
        _ => 0,
    };
    const HOUR: u64 = 3_600_000_000_000;
    let size = nanoseconds.unsigned_abs();
    let units = [
        (HOUR * 24 * 365, "y"),
        (HOUR * 24 * 30, "mo"),
        (HOUR * 24, "d"),
        (HOUR, "h"),
        (HOUR / 60, "m"),
        (HOUR / 3600, "s"),
    ];
    let found = units.iter().find(|(unit, _)| size > *unit);
    Ok(found.map_or_else(|| "0s".to_owned(), |(unit, name)| format!("{}{name}", size / unit)).into())
}

fn argument<'a>(arguments: &'a [Value], method: &str) -> Result<&'a GoTime, String> {
    match arguments {
        [Value::Object(object)] => object.as_any().downcast_ref(),
        _ => None,
    }
    .ok_or_else(|| format!("wrong type for value of {method}; expected time.Time"))
}

impl Object for GoTime {
    fn type_name(&self) -> &'static str {
        "time.Time"
    }

    fn field(&self, name: &str) -> Option<Field> {
        match name {
            "Year" | "Month" | "Day" | "Hour" | "Minute" | "Second" | "Nanosecond" | "Weekday"
            | "YearDay" | "Unix" | "UnixMilli" | "UnixMicro" | "UnixNano" | "UTC" | "Local" | "IsZero"
            | "String" => Some(Field::Method { arguments: 0 }),
            "Format" | "Add" | "Sub" | "Before" | "After" | "Equal" => Some(Field::Method { arguments: 1 }),
            "AddDate" => Some(Field::Method { arguments: 3 }),
            _ => None,
        }
    }

    fn call(&self, method: &str, arguments: &[Value]) -> Result<Value, String> {
        let time = &self.0;
        let stamp = time.timestamp();
        Ok(match method {
            "Year" => Value::int(time.year().into()),
            "Month" => layout::MONTHS[usize::try_from(time.month() - 1).unwrap_or(0)].into(),
            "Day" => Value::int(time.day().into()),
            "Hour" => Value::int(time.hour().into()),
            "Minute" => Value::int(time.minute().into()),
            "Second" => Value::int(time.second().into()),
            "Nanosecond" => Value::int(time.subsec_nanosecond().into()),
            "Weekday" => layout::weekday(time).into(),
            "YearDay" => Value::int(time.day_of_year().into()),
            "Unix" => Value::int64(seconds(time)),
            "UnixMilli" => Value::int64(stamp.as_millisecond()),
            "UnixMicro" => Value::int64(stamp.as_microsecond()),
            "UnixNano" => Value::int64(i64::try_from(stamp.as_nanosecond()).unwrap_or(i64::MAX)),
            "UTC" | "Local" => Value::object(Self(time.with_time_zone(TimeZone::UTC))),
            "IsZero" => Value::Bool(*time == layout::zero()),
            "Format" => match arguments {
                [Value::Str(layout)] => layout::format(&layout.text(), time).into(),
                _ => return Err("wrong type for value; expected string".to_owned()),
            },
            "Add" => match arguments {
                [Value::Int(_, nanoseconds)] => add(time, *nanoseconds)?,
                _ => return Err("wrong type for value; expected time.Duration".to_owned()),
            },
            "AddDate" => match arguments {
                [Value::Int(_, years), Value::Int(_, months), Value::Int(_, days)] => {
                    let span = jiff::Span::new().try_years(*years);
                    let span = span.and_then(|span| span.try_months(*months));
                    let span = span.and_then(|span| span.try_days(*days));
                    let sum = span.and_then(|span| time.checked_add(span));
                    Value::object(Self(sum.map_err(|_| "time out of range".to_owned())?))
                }
                _ => return Err("wrong type for value; expected int".to_owned()),
            },
            "Sub" => {
                let since = stamp.duration_since(argument(arguments, method)?.0.timestamp());
                Value::Int(IntKind::Duration, i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
            }
            "Before" => Value::Bool(stamp < argument(arguments, method)?.0.timestamp()),
            "After" => Value::Bool(stamp > argument(arguments, method)?.0.timestamp()),
            "Equal" => Value::Bool(stamp == argument(arguments, method)?.0.timestamp()),
            _ => self.display().into(),
        })
    }

    fn display(&self) -> String {
        layout::format("2006-01-02 15:04:05.999999999 -0700 MST", &self.0)
    }

    fn plain(&self) -> Value {
        layout::format("2006-01-02T15:04:05.999999999Z07:00", &self.0).into()
    }

    fn timestamp(&self) -> Option<String> {
        Some(layout::format("2006-01-02T15:04:05.999999999Z07:00", &self.0))
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.as_any().downcast_ref::<Self>().is_some_and(|other| self == other)
    }

    fn as_any(&self) -> &dyn StdAny {
        self
    }
}
