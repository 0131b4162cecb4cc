//! What providers say is left of their limits: the headers `x-ratelimit-…` of OpenAI, which many
//! others send, too.

use std::time::Duration;

use jiff::SignedDuration;

use crate::request::Response;

/// How much is left, and when all of it is back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Remaining {
    pub(crate) requests: Option<(u64, Duration)>,
    pub(crate) tokens: Option<(u64, Duration)>,
}

impl Remaining {
    /// Reads the headers of an answer, whatever its status. A limit of 0 is Azure's way of saying
    /// none, and without a time of reset nothing can be waited for.
    pub(crate) fn of(response: &Response) -> Self {
        let header = |name: String| response.headers().get(name)?.to_str().ok();
        let read = |what: &str| {
            let number = |part: &str| {
                header(format!("x-ratelimit-{part}-{what}"))?
                    .trim()
                    .parse::<u64>()
                    .ok()
            };
            let left = number("remaining")?;
            let is_none = number("limit") == Some(0);
            let reset = duration(header(format!("x-ratelimit-reset-{what}"))?)?;
            (!is_none).then_some((left, reset))
        };
        Self {
            requests: read("requests"),
            tokens: read("tokens"),
        }
    }
}

/// `6m0s`, `20ms`, `1.5s`; a bare number counts seconds.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => Duration::try_from(text.parse::<SignedDuration>().ok()?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &str)]) -> Remaining {
        let mut response = Response::new(vec![]);
        for (name, value) in headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        Remaining::of(&response)
    }

    #[test]
    fn headers_are_read_where_they_say_enough() {
        let both = of(&[
            ("x-ratelimit-limit-requests", "3000"),
            ("x-ratelimit-remaining-requests", "2999"),
            ("x-ratelimit-reset-requests", "20ms"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ]);
        assert_eq!(both.requests, Some((2999, Duration::from_millis(20))));
        assert_eq!(both.tokens, Some((0, Duration::from_secs(360))));
        // As Azure has it.
        let azure = of(&[
            ("x-ratelimit-limit-requests", "0"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-remaining-tokens", "10"),
        ]);
        assert_eq!(azure, Remaining::default());
        assert_eq!(of(&[]), Remaining::default());
    }

    #[test]
    fn times_of_reset_come_in_several_forms() {
        for (text, millis) in [
            ("1s", 1000),
            ("1.5s", 1500),
            ("1h2m3s", 3_723_000),
            ("0", 0),
            ("2.5", 2500),
        ] {
            assert_eq!(
                duration(text),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
        assert_eq!(duration("soon"), None);
        assert_eq!(duration("-1s"), None);
    }
}
