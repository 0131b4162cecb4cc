//! What a worker has in hand of each ceiling.

use std::collections::BTreeMap;
use std::fmt;

use crate::provider::{Account, Price};
use crate::query::BudgetTaken;
use crate::time::Time;

/// A worker takes this part of a ceiling at a time, or more if a request needs more.
const BLOCKS: u64 = 50;

/// What a ceiling is over.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::worker) enum Scope {
    Account(Account),
    Vectorizer(i64),
}

impl Scope {
    pub(super) const fn vectorizer(&self) -> Option<i64> {
        match self {
            Self::Account(_) => None,
            Self::Vectorizer(id) => Some(*id),
        }
    }
}

/// Its name in the database.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => match &account.secret {
                Some(secret) => write!(f, "{account} with {secret}"),
                None => write!(f, "{account}"),
            },
            Self::Vectorizer(id) => write!(f, "vectorizer {id}"),
        }
    }
}

/// A ceiling, and what a token costs under it. The database counts in tokens or millionths of a dollar; the worker
/// counts in grains, so that many small requests are not rounded up one by one.
#[derive(Clone, Debug)]
pub(in crate::worker) struct Ceiling {
    pub(super) scope: Scope,
    pub(super) units: u64,
    grains_of_a_unit: u64,
    grains_of_a_token: u64,
}

impl Ceiling {
    pub(super) const fn of_tokens(vectorizer: i64, tokens: u64) -> Self {
        Self {
            scope: Scope::Vectorizer(vectorizer),
            units: tokens,
            grains_of_a_unit: 1,
            grains_of_a_token: 1,
        }
    }

    pub(super) const fn of_dollars(account: Account, micros: u64, price: Price) -> Self {
        Self {
            scope: Scope::Account(account),
            units: micros,
            grains_of_a_unit: 1_000_000,
            grains_of_a_token: price.of_a_token(),
        }
    }

    /// Of one in dollars.
    #[expect(clippy::cast_precision_loss, reason = "it is shown with few digits")]
    pub(super) fn dollars(&self) -> f64 {
        self.units as f64 / 1e6
    }

    fn cost(&self, tokens: u64) -> i128 {
        i128::from(self.grains_of_a_token) * i128::from(tokens)
    }
}

#[derive(Debug)]
struct Budget {
    units: u64,
    grains_of_a_unit: u64,
    day: u64,
    /// In hand, in grains: less than nothing if answers have cost more than their requests were estimated to.
    left: i128,
    /// The grains of requests in flight.
    out: i128,
    is_asked: bool,
    not_before: Time,
    /// The database had less than was wanted: it is asked again at this moment.
    used_up: Option<Time>,
    /// Nothing is sent, for want of so many grains.
    rests: Option<i128>,
    /// The database said that no worker had met this ceiling before.
    is_news: bool,
    /// The operator was told today.
    is_told: bool,
}

/// All budgets, by what they are over.
#[derive(Debug, Default)]
pub(in crate::worker) struct Budgets(BTreeMap<Scope, Budget>);

impl Budget {
    const fn new(ceiling: &Ceiling, day: u64) -> Self {
        Self {
            units: ceiling.units,
            grains_of_a_unit: ceiling.grains_of_a_unit,
            day,
            left: 0,
            out: 0,
            is_asked: false,
            not_before: Time::ZERO,
            used_up: None,
            rests: None,
            is_news: false,
            is_told: false,
        }
    }

    /// The units to ask for if so many grains are missing.
    fn units_for(&self, missing: i128) -> i64 {
        let unit = i128::from(self.grains_of_a_unit);
        let units = (missing + unit - 1) / unit;
        let block = i128::from(self.units / BLOCKS);
        i64::try_from(units.max(block).max(1)).unwrap_or(i64::MAX)
    }

    fn may_ask(&self, now: Time) -> bool {
        let looks = self.used_up.is_none_or(|at| at <= now);
        !self.is_asked && self.not_before <= now && looks
    }
}

impl Budgets {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a ceiling as it is on this day. Says whether vectorizers that rested go on.
    pub(super) fn know(&mut self, ceiling: &Ceiling, today: u64) -> bool {
        let known = self
            .0
            .entry(ceiling.scope.clone())
            .or_insert_with(|| Budget::new(ceiling, today));
        if known.day != today {
            let rested = known.rests.is_some();
            *known = Budget::new(ceiling, today);
            return rested;
        }
        if known.units == ceiling.units {
            return false;
        }
        known.units = ceiling.units;
        (known.used_up, known.is_told) = (None, false);
        known.rests.take().is_some()
    }

    fn of(&self, ceiling: &Ceiling) -> Option<&Budget> {
        self.0.get(&ceiling.scope)
    }

    /// The tokens that may be sent.
    pub(super) fn tokens_left(&self, ceiling: &Ceiling) -> u64 {
        let left = self.of(ceiling).map_or(0, |budget| budget.left);
        let tokens = left / i128::from(ceiling.grains_of_a_token.max(1));
        u64::try_from(tokens.max(0)).unwrap_or(u64::MAX)
    }

    pub(super) fn is_used_up(&self, ceiling: &Ceiling) -> bool {
        let budget = self.of(ceiling);
        budget.is_some_and(|budget| budget.used_up.is_some())
    }

    /// Whether it is used up, and no answer can bring anything back.
    pub(super) fn is_final(&self, ceiling: &Ceiling) -> bool {
        let budget = self.of(ceiling);
        budget.is_some_and(|budget| {
            budget.used_up.is_some()
                && budget.out == 0
                && !budget.is_asked
                && budget.rests.is_none()
        })
    }

    pub(super) fn sent(&mut self, ceiling: &Ceiling, tokens: u64) {
        if let Some(budget) = self.0.get_mut(&ceiling.scope) {
            budget.left -= ceiling.cost(tokens);
            budget.out += ceiling.cost(tokens);
        }
    }

    pub(super) fn settled(&mut self, ceiling: &Ceiling, day: u64, estimate: u64, spent: u64) {
        let budget = self.0.get_mut(&ceiling.scope);
        if let Some(budget) = budget.filter(|budget| budget.day == day) {
            budget.out = (budget.out - ceiling.cost(estimate)).max(0);
            budget.left += ceiling.cost(estimate) - ceiling.cost(spent);
        }
    }

    pub(super) fn rests(&self, scope: &Scope) -> bool {
        let budget = self.0.get(scope);
        budget.is_some_and(|budget| budget.rests.is_some())
    }

    /// Rests until there is enough for so many tokens. Says whether the operator is to be told, and whether it is to be
    /// recorded.
    pub(super) fn rest(&mut self, ceiling: &Ceiling, tokens: u64) -> (bool, bool) {
        let Some(budget) = self.0.get_mut(&ceiling.scope) else {
            return (false, false);
        };
        budget.rests = Some(ceiling.cost(tokens));
        let tell = !std::mem::replace(&mut budget.is_told, true);
        (tell, std::mem::take(&mut budget.is_news))
    }

    /// The units to take so that a request of so many tokens can be sent, if that is not in hand.
    pub(super) fn wants(&self, ceiling: &Ceiling, now: Time, tokens: u64) -> Option<i64> {
        let budget = self.of(ceiling)?;
        let missing = ceiling.cost(tokens) - budget.left;
        (missing > 0 && budget.may_ask(now)).then(|| budget.units_for(missing))
    }

    /// The units to ask for because somebody may have raised a ceiling, or given something back.
    pub(super) fn looks_again(
        &self,
        now: Time,
        is_used: impl Fn(&Scope) -> bool,
    ) -> Option<(Scope, i64)> {
        self.0.iter().find_map(|(scope, budget)| {
            let missing = (budget.rests? - budget.left).max(0);
            let asks = budget.may_ask(now) && is_used(scope);
            asks.then(|| (scope.clone(), budget.units_for(missing)))
        })
    }

    /// The database is asked. Returns the day and the ceiling in units.
    pub(super) fn asked(&mut self, scope: &Scope) -> (u64, u64) {
        let Some(budget) = self.0.get_mut(scope) else {
            return (0, 0);
        };
        budget.is_asked = true;
        (budget.day, budget.units)
    }

    /// The database has granted something. Says whether vectorizers that rested go on.
    pub(super) fn taken(
        &mut self,
        scope: &Scope,
        day: u64,
        wanted: i64,
        taken: BudgetTaken,
        look_at: Time,
    ) -> bool {
        let budget = self.0.get_mut(scope);
        // What was given back is out of hand already, and what was taken of another day is of no use.
        let Some(budget) = budget.filter(|budget| budget.day == day) else {
            return false;
        };
        budget.is_asked = false;
        if wanted < 0 {
            return false;
        }
        budget.left += i128::from(taken.granted) * i128::from(budget.grains_of_a_unit);
        budget.is_news |= taken.is_news;
        budget.used_up = (taken.granted < wanted).then_some(look_at);
        let goes_on = budget.rests.is_some_and(|short| budget.left >= short);
        if goes_on {
            budget.rests = None;
        }
        goes_on
    }

    pub(super) fn refused(&mut self, scope: &Scope, not_before: Time) {
        if let Some(budget) = self.0.get_mut(scope) {
            (budget.is_asked, budget.not_before) = (false, not_before);
        }
    }

    /// The next whole units in hand, which are out of hand then.
    pub(super) fn give_back(&mut self) -> Option<(Scope, i64)> {
        self.0.iter_mut().find_map(|(scope, budget)| {
            let unit = i128::from(budget.grains_of_a_unit);
            let units = budget.left / unit;
            if units <= 0 {
                return None;
            }
            budget.left -= units * unit;
            Some((scope.clone(), i64::try_from(units).unwrap_or(i64::MAX)))
        })
    }

    /// When the database is to be asked again.
    pub(super) fn wakes(&self) -> impl Iterator<Item = Time> {
        let budgets = self.0.values();
        budgets.flat_map(|budget| {
            let used_up = budget.used_up.filter(|_| !budget.is_asked);
            used_up.into_iter().chain([budget.not_before])
        })
    }
}
