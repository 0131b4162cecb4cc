//! What is known of the accounts that are asked for vectors: when each may be asked, and what its servers
//! do not take.

mod credentials;
mod parameters;
mod sizes;
mod throttle;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::provider::{Account, Remaining};
use crate::settings::Settings;
use crate::time::Time;

use credentials::Credentials;
use parameters::Parameters;
pub(super) use parameters::RefusedParameter;
use sizes::Limits;
pub(super) use sizes::Sizes;
use throttle::Allowance;
pub(super) use throttle::{Throttle, bytes_of, tokens_of};

/// Requests of a model in this process: one at work, and the next ones at hand.
const REQUESTS_HERE_MAX: usize = 4;

/// All accounts that were asked so far. Of one that was not, nothing speaks against asking it.
#[derive(Debug)]
pub(super) struct Accounts {
    throttles: BTreeMap<Account, Throttle>,
    credentials: BTreeMap<Account, Credentials>,
    /// By account and model.
    parameters: BTreeMap<(Account, String), Parameters>,
    sizes: BTreeMap<(Account, String), Sizes>,
    limits: BTreeMap<(Account, String), Limits>,
    allowance: Allowance,
    requests_max: usize,
}

/// How an account stands at a moment.
#[derive(Debug, Default)]
pub(super) struct Standing {
    pub(super) in_flight: usize,
    pub(super) in_flight_max: usize,
    /// Until it may be asked again.
    pub(super) opens_in: Duration,
    /// Why it is not asked now, or with one request at a time only.
    pub(super) reason: Option<String>,
}

impl Accounts {
    pub(super) const fn new(settings: &Settings) -> Self {
        Self {
            throttles: BTreeMap::new(),
            credentials: BTreeMap::new(),
            parameters: BTreeMap::new(),
            sizes: BTreeMap::new(),
            limits: BTreeMap::new(),
            allowance: Allowance {
                requests_per_minute: settings.requests_per_minute,
                tokens_per_minute: settings.tokens_per_minute,
            },
            requests_max: settings.limits.requests,
        }
    }

    /// Requests in flight towards an account, at most. A model in this process has all processors at
    /// work with one request.
    pub(super) fn requests_max(&self, account: &Account) -> usize {
        if account.is_here() {
            self.requests_max.min(REQUESTS_HERE_MAX)
        } else {
            self.requests_max
        }
    }

    /// How many requests may be in flight towards an account by now.
    pub(super) fn width(&self, account: &Account) -> usize {
        let max = self.requests_max(account);
        self.known(account)
            .map_or(1, |throttle| throttle.width(max))
    }

    /// Whether a request with so many tokens may be sent now.
    pub(super) fn is_open(&self, now: Time, account: &Account, tokens: u64) -> bool {
        let max = self.requests_max(account);
        self.known(account)
            .is_none_or(|throttle| throttle.is_open(now, max, tokens))
    }

    /// Whether an account is asked at all now.
    pub(super) fn is_asked(&self, now: Time, account: &Account) -> bool {
        self.known(account)
            .is_none_or(|throttle| throttle.opens(now) <= now)
    }

    /// The accounts that were asked.
    pub(super) fn asked(&self) -> impl Iterator<Item = &Account> {
        self.throttles.keys()
    }

    /// How an account stands at a moment.
    pub(super) fn standing(&self, now: Time, account: &Account) -> Standing {
        let Some(throttle) = self.known(account) else {
            return Standing::default();
        };
        Standing {
            in_flight: throttle.in_flight(),
            in_flight_max: throttle.width(self.requests_max(account)),
            opens_in: throttle
                .opens(now)
                .max(throttle.kept_back(now, 1).0)
                .since(now),
            reason: throttle.why_it_waits(now).map(str::to_owned),
        }
    }

    pub(super) fn known(&self, account: &Account) -> Option<&Throttle> {
        self.throttles.get(account)
    }

    pub(super) fn throttle(&mut self, now: Time, account: &Account) -> &mut Throttle {
        // What runs in this process costs nobody anything.
        let allowance = if account.is_here() {
            Allowance::default()
        } else {
            self.allowance
        };
        self.throttles
            .entry(account.clone())
            .or_insert_with(|| Throttle::new(allowance, now))
    }

    /// The headers of an answer say how much is left of the provider's limits.
    pub(super) fn heard(&mut self, now: Time, account: &Account, said: &Remaining) {
        self.throttle(now, account).heard(now, said);
    }

    /// The moments at which something may be sent again.
    pub(super) fn wakes(&self, now: Time) -> impl Iterator<Item = Time> {
        let throttles = self.throttles.values();
        throttles.flat_map(move |throttle| throttle.wakes(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(base_url: &str) -> Account {
        Account {
            provider: "openai",
            base_url: base_url.to_owned(),
            secret: None,
        }
    }

    #[test]
    fn accounts_do_not_share_their_limits() {
        let settings = Settings {
            requests_per_minute: Some(1),
            ..Settings::new("test")
        };
        let mut accounts = Accounts::new(&settings);
        let (here, there) = (account("http://a/"), account("http://b/"));
        let now = Time::ZERO;
        while accounts.is_open(now, &here, 1) {
            accounts.throttle(now, &here).sent(now, 1);
            accounts.throttle(now, &here).back(1);
        }
        assert!(accounts.is_open(now, &there, 1));
        let opens = accounts.wakes(now).max().unwrap();
        assert!(accounts.is_open(opens, &here, 1));
    }

    #[test]
    fn what_runs_in_this_process_has_no_limit_but_few_requests_at_a_time() {
        let settings = Settings {
            requests_per_minute: Some(1),
            ..Settings::new("test")
        };
        let mut accounts = Accounts::new(&settings);
        let (here, now) = (account(""), Time::ZERO);
        for _ in 0..100 {
            assert!(accounts.is_open(now, &here, 1));
            accounts.throttle(now, &here).sent(now, 1);
            accounts.throttle(now, &here).back(1);
        }
        assert_eq!(accounts.requests_max(&here), REQUESTS_HERE_MAX);
    }
}
