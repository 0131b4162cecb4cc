//! What requests of an account carry: one of several keys in turn, or a token that was issued.

use std::collections::BTreeMap;

use super::Accounts;
use crate::call::Call;
use crate::provider::{IssuedToken, Provider};
use crate::request::{Credential, Token};
use crate::time::Time;

/// What is known of an account's keys and its token.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    token: Option<(Token, Time)>,
    /// A request for a token is in flight.
    token_out: bool,
    /// The key that was used last.
    last: usize,
    /// The keys that are not used before these moments.
    paused: BTreeMap<usize, Time>,
}

impl Accounts {
    /// Whether requests of this provider wait for a token.
    pub(in crate::worker) fn waits_for_token(&self, now: Time, provider: &Provider) -> bool {
        let known = self.credentials.get(&provider.account());
        let token = known.and_then(|known| known.token.as_ref());
        provider.wants_token() && token.is_none_or(|(_, until)| *until <= now)
    }

    /// Whether a token is to be requested.
    pub(in crate::worker) fn wants_token(&self, now: Time, provider: &Provider) -> bool {
        let known = self.credentials.get(&provider.account());
        self.waits_for_token(now, provider) && !known.is_some_and(|known| known.token_out)
    }

    /// A token was requested.
    pub(in crate::worker) fn token_asked(&mut self, provider: &Provider) {
        self.credentials_of(provider).token_out = true;
    }

    /// The request for a token was answered.
    pub(in crate::worker) fn token_came(
        &mut self,
        now: Time,
        provider: &Provider,
        issued: Option<IssuedToken>,
    ) {
        let known = self.credentials_of(provider);
        known.token_out = false;
        known.token = issued.map(|issued| (issued.token, now + issued.valid));
    }

    /// A request was refused for its token, which is not used again.
    pub(in crate::worker) fn token_refused(&mut self, provider: &Provider) {
        self.credentials_of(provider).token = None;
    }

    /// Lets a request carry the account's token, or the key whose turn it is. Returns the number of the
    /// key.
    pub(in crate::worker) fn equip(
        &mut self,
        now: Time,
        provider: &Provider,
        call: &mut Call,
    ) -> usize {
        let Call::Http(request) = call else {
            return 0;
        };
        let keys = provider.keys;
        let known = self.credentials_of(provider);
        if let Some((token, _)) = &known.token {
            request.carry(token);
        }
        let number = known.next(now, keys);
        known.last = number;
        if let Some(Credential::Key(secret)) = &mut request.credential {
            secret.number = number;
        }
        number
    }

    /// A request was refused for its key. Says whether there is another one to be used meanwhile.
    pub(in crate::worker) fn key_refused(
        &mut self,
        now: Time,
        provider: &Provider,
        key: usize,
        until: Time,
    ) -> bool {
        let keys = provider.keys;
        let known = self.credentials_of(provider);
        known.paused.insert(key, until);
        (0..keys).any(|key| known.is_open(now, key))
    }

    fn credentials_of(&mut self, provider: &Provider) -> &mut Credentials {
        self.credentials.entry(provider.account()).or_default()
    }
}

impl Credentials {
    fn is_open(&self, now: Time, key: usize) -> bool {
        self.paused.get(&key).is_none_or(|until| *until <= now)
    }

    /// The next key after the last one that is not paused; with all of them paused, the next one.
    fn next(&self, now: Time, keys: usize) -> usize {
        let keys = keys.max(1);
        let mut turns = (1..=keys).map(|step| (self.last + step) % keys);
        turns
            .find(|key| self.is_open(now, *key))
            .unwrap_or((self.last + 1) % keys)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn keys_take_turns_and_a_paused_one_is_left_out() {
        let mut known = Credentials::default();
        let (now, later) = (Time::ZERO, Time::new(Duration::from_secs(9)));
        let turns = |known: &mut Credentials, now| {
            let turns = (0..4).map(|_| {
                known.last = known.next(now, 3);
                known.last
            });
            Vec::from_iter(turns)
        };
        assert_eq!(turns(&mut known, now), [1, 2, 0, 1]);
        known.paused.insert(2, later);
        assert_eq!(turns(&mut known, now), [0, 1, 0, 1]);
        assert_eq!(turns(&mut known, later), [2, 0, 1, 2]);
        known.paused = (0..3).map(|key| (key, later)).collect();
        assert_eq!(turns(&mut known, now), [0, 1, 2, 0]);
    }
}
