//! The wait time that a provider requests, in every format that servers use.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, tz};

use super::refusal::details;
use crate::request::Response;

/// The longest wait: after it the provider is called again, whatever it requested.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(3600);

/// A number from this one on is a time since 1970 in seconds (this one is in the year 2001);
/// larger numbers are in milliseconds, microseconds or nanoseconds.
const UNIX_SECONDS: f64 = 1e9;
const UNIX_MILLIS: f64 = 1e11;
const UNIX_MICROS: f64 = 1e14;
const UNIX_NANOS: f64 = 1e17;

/// Parses a wait time: seconds (`2`, `0.25`), Go's durations (`1m30s`, `20ms`), ISO 8601 durations
/// (`PT90S`), or a point in time: since 1970 in seconds or milliseconds, as an ISO 8601 or HTTP
/// date (RFC 9110, section 5.6.7). `wall` is the time since 1970. The result is at most
/// [`WAIT_MAX`].
pub(super) fn parse(text: &str, wall: Duration) -> Option<Duration> {
    let text = text.trim().trim_matches('"');
    let wait = match text.parse::<f64>() {
        Ok(number) => number_of(number, wall),
        Err(_) => match text.parse::<SignedDuration>() {
            Ok(duration) => Duration::try_from(duration).ok(),
            Err(_) => Some(since_1970(text)?.saturating_sub(wall)),
        },
    };
    wait.map(|wait| wait.min(WAIT_MAX))
}

fn number_of(number: f64, wall: Duration) -> Option<Duration> {
    if !number.is_finite() || number < 0.0 {
        return None;
    }
    let unit = match number {
        UNIX_NANOS.. => 1e-9,
        UNIX_MICROS.. => 1e-6,
        UNIX_MILLIS.. => 1e-3,
        _ => 1.0,
    };
    // Longer than any wait, and than any date's year.
    let time = Duration::try_from_secs_f64(number * unit).unwrap_or(Duration::MAX);
    Some(if number >= UNIX_SECONDS {
        time.saturating_sub(wall)
    } else {
        time
    })
}

/// The time of a date, since 1970; zero for a date before that.
fn since_1970(text: &str) -> Option<Duration> {
    let http = || {
        jiff::fmt::rfc2822::parse(text)
            .ok()
            .map(|date| date.timestamp())
    };
    let without_zone = || text.parse::<DateTime>().ok().and_then(in_utc);
    // RFC 9110 has two more, which are old and must still be read.
    let old = |format: &str| DateTime::strptime(format, text).ok().and_then(in_utc);
    let moment = text
        .parse::<Timestamp>()
        .ok()
        .or_else(http)
        .or_else(without_zone)
        .or_else(|| old("%A, %d-%b-%y %H:%M:%S GMT"))
        .or_else(|| old("%a %b %e %H:%M:%S %Y"))?;
    let millis = u64::try_from(moment.as_millisecond()).unwrap_or(0);
    Some(Duration::from_millis(millis))
}

fn in_utc(date: DateTime) -> Option<Timestamp> {
    Some(date.to_zoned(tz::TimeZone::UTC).ok()?.timestamp())
}

/// The wait time that an error answer requests, if any.
pub(super) fn asked_for(response: &Response, wall: Duration) -> Option<Duration> {
    let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.trim());
    let millis = |name: &str| {
        let millis: f64 = header(name)?.parse().ok()?;
        let wait = Duration::try_from_secs_f64(millis / 1000.0).ok()?;
        Some(wait.min(WAIT_MAX))
    };
    let time = |name: &str| parse(header(name)?, wall);
    millis("retry-after-ms")
        .or_else(|| millis("x-ms-retry-after-ms"))
        .or_else(|| time("retry-after"))
        .or_else(|| time("x-ratelimit-reset-after"))
        .or_else(|| time("x-ratelimit-reset"))
        .or_else(|| time("ratelimit-reset"))
        // Google says it in the body.
        .or_else(|| parse(details(response.body(), "retryDelay").first()?, wall))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-25T12:00:00Z.
    const NOON: Duration = Duration::from_secs(1_795_608_000);

    #[test]
    fn every_form_of_a_time_is_read() {
        for (text, millis) in [
            ("0", 0),
            ("2", 2000),
            (" 2 ", 2000),
            ("0.25", 250),
            ("2.5", 2500),
            ("1s", 1000),
            ("1.5s", 1500),
            ("20ms", 20),
            ("1m30s", 90_000),
            ("6m0s", 360_000),
            ("2m59.56s", 179_560),
            ("PT90S", 90_000),
            // A minute from now, in each form of a moment.
            ("1795608060", 60_000),
            ("1795608060.5", 60_500),
            ("1795608060000", 60_000),
            ("1795608060000000", 60_000),
            ("1795608060000000000", 60_000),
            ("2026-11-25T12:01:00Z", 60_000),
            ("\"2026-11-25T12:01:00Z\"", 60_000),
            ("2026-11-25T12:01:00.250Z", 60_250),
            ("2026-11-25T13:01:00+01:00", 60_000),
            ("2026-11-25T12:01:00", 60_000),
            ("2026-11-25 12:01:00Z", 60_000),
            ("Wed, 25 Nov 2026 12:01:00 GMT", 60_000),
            ("Wednesday, 25-Nov-26 12:01:00 GMT", 60_000),
            ("Wed Nov 25 12:01:00 2026", 60_000),
            // What is over is not waited for.
            ("1795607000", 0),
            ("2026-11-25T11:59:00Z", 0),
            ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
            ("Fri, 01 Jan 1960 00:00:00 GMT", 0),
        ] {
            let wait = parse(text, NOON);
            assert_eq!(wait, Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn no_wait_is_longer_than_an_hour() {
        for text in [
            "3601",
            "86400",
            "999999999",
            "1e19",
            "1e300",
            "25h",
            "1795694400",
            "1795694400000",
            "99999999999",
            "2030-01-01T00:00:00Z",
            "Thu, 30 Dec 9999 12:00:00 GMT",
        ] {
            assert_eq!(parse(text, NOON), Some(WAIT_MAX), "{text}");
        }
        // Nor where the worker's own clock is wrong.
        assert_eq!(parse("1795608060", Duration::ZERO), Some(WAIT_MAX));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "soon",
            "-1",
            "-1s",
            "NaN",
            "inf",
            "2026-13-45",
            "1 2 3",
            "12:00",
        ] {
            assert_eq!(parse(text, NOON), None, "{text}");
        }
    }

    #[test]
    fn a_wait_is_asked_for_in_several_headers() {
        for (headers, millis) in [
            (&[("retry-after", "2")][..], Some(2000)),
            (&[("retry-after", "9"), ("retry-after-ms", "40")], Some(40)),
            (&[("x-ms-retry-after-ms", "40")], Some(40)),
            (&[("retry-after-ms", "1e18")], Some(3_600_000)),
            (&[("retry-after", "1795608060")], Some(60_000)),
            (&[("x-ratelimit-reset", "1795608060000")], Some(60_000)),
            (
                &[("retry-after", "soon"), ("ratelimit-reset", "7")],
                Some(7000),
            ),
            (&[("retry-after", "-1")], None),
            (&[], None),
        ] {
            let mut response = Response::new(vec![]);
            for (name, value) in headers {
                response.headers_mut().insert(*name, value.parse().unwrap());
            }
            let wait = asked_for(&response, NOON);
            assert_eq!(wait, millis.map(Duration::from_millis), "{headers:?}");
        }
    }
}
