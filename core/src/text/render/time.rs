//! Loads dates, times and intervals.

use super::python::Python;

const SECOND: i128 = 1_000_000;
const DAY: i128 = 86_400 * SECOND;

/// How many days a Python timedelta has at most.
const DAYS_MAX: i128 = 999_999_999;

/// Loads a `date`.
pub(super) fn date(value: &str) -> Option<Python> {
    let [year, month, day] = date_parts(value)?;
    let repr = format!("datetime.date({year}, {month}, {day})");
    Some(Python::Object {
        text: value.to_owned(),
        repr,
    })
}

/// Loads a `time`.
pub(super) fn time(value: &str) -> Option<Python> {
    let clock = Clock::parse(value)?;
    let repr = format!("datetime.time({})", clock.arguments());
    Some(Python::Object {
        text: clock.text(),
        repr,
    })
}

/// Loads a `timetz`, which has an offset, but no zone.
pub(super) fn time_with_zone(value: &str) -> Option<Python> {
    let (time, offset) = split_offset(value)?;
    let clock = Clock::parse(time)?;
    let zone = match offset.seconds {
        0 => "datetime.timezone.utc".to_owned(),
        seconds => format!("datetime.timezone({})", timedelta_repr(seconds * SECOND)),
    };
    let repr = format!("datetime.time({}, tzinfo={zone})", clock.arguments());
    Some(Python::Object {
        text: clock.text() + &offset.text(),
        repr,
    })
}

/// Loads a `timestamp`.
pub(super) fn timestamp(value: &str) -> Option<Python> {
    let (text, arguments) = date_and_time(value)?;
    Some(Python::Object {
        text,
        repr: format!("datetime.datetime({arguments})"),
    })
}

/// Loads a `timestamptz`, of which PostgreSQL wrote the time in the session's zone.
pub(super) fn timestamp_with_zone(value: &str, zone: &str) -> Option<Python> {
    let (timestamp, offset) = split_offset(value)?;
    let (text, arguments) = date_and_time(timestamp)?;
    let zone = match zone {
        "UTC" => "datetime.timezone.utc".to_owned(),
        _ => format!(
            "zoneinfo.ZoneInfo(key={})",
            Python::Text(zone.to_owned()).repr()
        ),
    };
    let repr = format!("datetime.datetime({arguments}, tzinfo={zone})");
    Some(Python::Object {
        text: text + &offset.text(),
        repr,
    })
}

/// Loads an `interval` in the style `postgres`: `1 year 2 mons -3 days +04:05:06.7`. As for
/// psycopg, a year has 365 days and a month has 30.
pub(super) fn interval(value: &str) -> Option<Python> {
    let mut total: i128 = 0;
    let mut words = value.split(' ');
    while let Some(word) = words.next() {
        if word.contains(':') {
            total += clock_length(word)?;
            continue;
        }
        let count: i128 = word.parse().ok()?;
        let days = match words.next()? {
            "day" | "days" => 1,
            "mon" | "mons" => 30,
            "year" | "years" => 365,
            _ => return None,
        };
        total += count * days * DAY;
    }
    let days = total.div_euclid(DAY);
    if days.abs() > DAYS_MAX {
        return None;
    }
    let clock = Clock::of(total.rem_euclid(DAY))?;
    let text = match days {
        0 => clock.text_in_timedelta(),
        1 | -1 => format!("{days} day, {}", clock.text_in_timedelta()),
        _ => format!("{days} days, {}", clock.text_in_timedelta()),
    };
    Some(Python::Object {
        text,
        repr: timedelta_repr(total),
    })
}

/// Returns the microseconds of `-04:05:06.7`, with any number of hours.
fn clock_length(value: &str) -> Option<i128> {
    let (sign, unsigned) = match value.strip_prefix('-') {
        Some(unsigned) => (-1, unsigned),
        None => (1, value.strip_prefix('+').unwrap_or(value)),
    };
    let (hours, rest) = unsigned.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':')?;
    let (seconds, microseconds) = seconds_parts(seconds)?;
    let hours: i128 = hours.parse().ok()?;
    let minutes: i128 = minutes.parse().ok()?;
    let total = (hours * 60 + minutes) * 60 + i128::from(seconds);
    Some(sign * (total * SECOND + i128::from(microseconds)))
}

fn timedelta_repr(microseconds: i128) -> String {
    let rest = microseconds.rem_euclid(DAY);
    let parts = [
        ("days", microseconds.div_euclid(DAY)),
        ("seconds", rest / SECOND),
        ("microseconds", rest % SECOND),
    ];
    let parts = parts.iter().filter(|(_, count)| *count != 0);
    let parts: Vec<_> = parts
        .map(|(name, count)| format!("{name}={count}"))
        .collect();
    let arguments = if parts.is_empty() {
        "0".to_owned()
    } else {
        parts.join(", ")
    };
    format!("datetime.timedelta({arguments})")
}

/// Returns what `str()` and the arguments of `repr()` are.
fn date_and_time(value: &str) -> Option<(String, String)> {
    let (date, time) = value.split_once(' ')?;
    let [year, month, day] = date_parts(date)?;
    let clock = Clock::parse(time)?;
    let text = format!("{date} {}", clock.text());
    Some((
        text,
        format!("{year}, {month}, {day}, {}", clock.arguments()),
    ))
}

/// A date after Christ and before the year 10000.
fn date_parts(value: &str) -> Option<[u32; 3]> {
    let (year, rest) = value.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    Some([digits(year, 4)?, digits(month, 2)?, digits(day, 2)?])
}

fn digits(value: &str, count: usize) -> Option<u32> {
    let is_number = value.len() == count && value.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { value.parse().ok() } else { None }
}

/// Reads `06` or `06.7` as seconds and microseconds.
fn seconds_parts(value: &str) -> Option<(u32, u32)> {
    match value.split_once('.') {
        None => Some((digits(value, 2)?, 0)),
        Some((seconds, fraction)) => {
            Some((digits(seconds, 2)?, digits(&format!("{fraction:0<6}"), 6)?))
        }
    }
}

struct Clock {
    hour: u32,
    minute: u32,
    second: u32,
    microsecond: u32,
}

impl Clock {
    fn parse(value: &str) -> Option<Self> {
        let (hour, rest) = value.split_once(':')?;
        let (minute, seconds) = rest.split_once(':')?;
        let (second, microsecond) = seconds_parts(seconds)?;
        // PostgreSQL has 24:00:00, Python has not.
        let hour = digits(hour, 2).filter(|&hour| hour < 24)?;
        Some(Self {
            hour,
            minute: digits(minute, 2)?,
            second,
            microsecond,
        })
    }

    /// The time when so many microseconds of a day are over.
    fn of(microseconds: i128) -> Option<Self> {
        let seconds = u32::try_from(microseconds / SECOND).ok()?;
        let microsecond = u32::try_from(microseconds % SECOND).ok()?;
        let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
        Some(Self {
            hour,
            minute,
            second: seconds % 60,
            microsecond,
        })
    }

    fn text(&self) -> String {
        format!("{:02}:{}", self.hour, self.text_after_hour())
    }

    fn text_in_timedelta(&self) -> String {
        format!("{}:{}", self.hour, self.text_after_hour())
    }

    fn text_after_hour(&self) -> String {
        let Self {
            minute,
            second,
            microsecond,
            ..
        } = self;
        match microsecond {
            0 => format!("{minute:02}:{second:02}"),
            _ => format!("{minute:02}:{second:02}.{microsecond:06}"),
        }
    }

    /// What `repr()` shows: trailing zeros are left out, but for the minute.
    fn arguments(&self) -> String {
        let Self {
            hour,
            minute,
            second,
            microsecond,
        } = self;
        match (second, microsecond) {
            (0, 0) => format!("{hour}, {minute}"),
            (_, 0) => format!("{hour}, {minute}, {second}"),
            _ => format!("{hour}, {minute}, {second}, {microsecond}"),
        }
    }
}

/// A distance from UTC.
struct Offset {
    seconds: i128,
}

impl Offset {
    fn text(&self) -> String {
        let sign = if self.seconds < 0 { '-' } else { '+' };
        let total = self.seconds.abs();
        let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
        match seconds {
            0 => format!("{sign}{hours:02}:{minutes:02}"),
            _ => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"),
        }
    }
}

/// Splits off the offset at the end: `+02`, `+05:30` or `-04:56:02`.
fn split_offset(value: &str) -> Option<(&str, Offset)> {
    // A minus sign before the time is part of the date.
    let clock = value.find(':')?;
    let at = clock + value[clock..].find(['+', '-'])?;
    let (time, offset) = value.split_at(at);
    let mut seconds = 0;
    let mut unit = 3600;
    for part in offset[1..].split(':') {
        seconds += i128::from(digits(part, 2)?) * unit;
        unit /= 60;
    }
    let seconds = if offset.starts_with('-') {
        -seconds
    } else {
        seconds
    };
    Some((time, Offset { seconds }))
}
