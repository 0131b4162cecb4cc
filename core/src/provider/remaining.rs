//! The remaining rate limits that providers report: the `x-ratelimit-…` headers of OpenAI, which
//! many others send, too.

use std::time::Duration;

use super::wait;
use crate::request::Response;

/// What is left of a limit, and when it is fully reset.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Remaining {
    pub(crate) requests: Option<(u64, Duration)>,
    pub(crate) tokens: Option<(u64, Duration)>,
}

impl Remaining {
    /// Reads the headers of an answer with any status. A limit of 0 means no limit at Azure. A
    /// limit without a reset time is ignored, because the worker would not know how long to wait.
    /// `wall` is the time since 1970.
    pub(crate) fn of(response: &Response, wall: Duration) -> Self {
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
            let reset = wait::parse(header(format!("x-ratelimit-reset-{what}"))?, wall)?;
            (!is_none).then_some((left, reset))
        };
        Self {
            requests: read("requests"),
            tokens: read("tokens"),
        }
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
        Remaining::of(&response, Duration::from_secs(1_795_608_000))
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
    fn a_reset_may_be_a_moment() {
        for reset in ["1795608060", "1795608060000", "2026-11-25T12:01:00Z"] {
            let said = of(&[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", reset),
            ]);
            assert_eq!(said.requests, Some((0, Duration::from_secs(60))), "{reset}");
        }
    }
}
