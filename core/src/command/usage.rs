//! `usage`: shows what each vectorizer has used, and what that costs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::table::{grouped, table};
use super::{Answer, Ask, Steps, field, named};
use crate::provider::{Price, Prices, shown};
use crate::query::{Param, Rows};
use crate::settings::Settings;

/// The arguments of `usage`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct UsageArgs {
    /// The vectorizer's name or id [default: all]
    name: Option<String>,

    /// How many days (in UTC) to show, today included
    #[arg(long, default_value = "30", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Parameters: how many days, today included. The database knows which day it is: a command that runs on, such as
/// `status --watch`, started yesterday. A model in the worker's own process costs nothing.
const USAGE: &str = "\
select v.id::text, v.name, u.model, u.day::text, u.requests::text, u.tokens::text,
  u.estimated_tokens::text,
  (v.config #>> '{embedding,implementation}' = 'sentence_transformers'
    and v.config #>> '{embedding,model}' = u.model)::text
from ai.vectorizer v
left join ai.vectorizer_usage u
  on u.vectorizer_id = v.id and u.day > (now() at time zone 'utc')::date - $1::bigint::int
order by u.day desc, v.name, u.model";

/// Requests the usage of all vectorizers in the last days.
pub(super) fn ask(days: u32) -> Ask {
    Ask::query(USAGE, vec![Param::Int(days.into())])
}

#[derive(Debug)]
pub(super) struct Usage {
    args: UsageArgs,
    settings: Settings,
}

/// What one vectorizer has used of one model on one day.
struct Used<'a> {
    vectorizer: &'a str,
    id: &'a str,
    model: &'a str,
    day: &'a str,
    requests: u64,
    tokens: u64,
    estimated: u64,
    price: Option<Price>,
}

/// A sum over several models.
#[derive(Debug, Default)]
pub(super) struct Total {
    requests: u64,
    tokens: u64,
    estimated: u64,
    dollars: f64,
    /// Tokens without a known price.
    unpriced: u64,
}

impl Usage {
    pub(super) const fn new(args: UsageArgs, settings: Settings) -> Self {
        Self { args, settings }
    }

    fn report(&self, rows: &Rows) -> Result<String, String> {
        if let Some(wanted) = &self.args.name {
            let is_known = |row: &Vec<_>| field(row, 1) == wanted || field(row, 0) == wanted;
            if !rows.iter().any(is_known) {
                let names: BTreeSet<&str> = rows.iter().map(|row| field(row, 1)).collect();
                let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
                return Err(named::unknown(wanted, &names));
            }
        }
        let used = all(rows, &self.settings.prices);
        let used: Vec<Used<'_>> = used
            .filter(|used| {
                let wanted = self.args.name.as_deref();
                wanted.is_none_or(|wanted| used.vectorizer == wanted || used.id == wanted)
            })
            .collect();
        let total = Total::of(&used);
        if self.args.json {
            let usage: Vec<Value> = used.iter().map(Used::json).collect();
            return Ok(json!({"usage": usage, "total": total.json()}).to_string());
        }
        if used.is_empty() {
            return Ok(format!("nothing was used in {} days", self.args.days));
        }
        let head = ["day", "vectorizer", "model", "requests", "tokens", "cost"];
        let cells: Vec<Vec<String>> = used.iter().map(Used::cells).collect();
        Ok(format!("{}\ntotal: {total}", table(&head, &cells)))
    }
}

impl Steps for Usage {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        if matches!(answer, Answer::Begin) {
            return Ok(ask(self.args.days));
        }
        self.report(&answer.rows()?).map(Ask::done)
    }
}

fn all<'a>(rows: &'a Rows, prices: &'a Prices) -> impl Iterator<Item = Used<'a>> {
    let used = rows.iter().filter(|row| !field(row, 3).is_empty());
    used.map(|row| {
        let number = |at: usize| field(row, at).parse().unwrap_or_default();
        let model = field(row, 2);
        let is_here = field(row, 7) == "true";
        Used {
            id: field(row, 0),
            vectorizer: field(row, 1),
            model,
            day: field(row, 3),
            requests: number(4),
            tokens: number(5),
            estimated: number(6),
            price: if is_here {
                Some(Price::FREE)
            } else {
                prices.of(model)
            },
        }
    })
}

/// The sum of the rows of [`ask`], if anything was used.
pub(super) fn total(rows: &Rows, prices: &Prices) -> Option<Total> {
    let used: Vec<Used<'_>> = all(rows, prices).collect();
    (!used.is_empty()).then(|| Total::of(&used))
}

impl Used<'_> {
    fn dollars(&self) -> Option<f64> {
        self.price.map(|price| price.dollars(self.tokens))
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.day.to_owned(),
            self.vectorizer.to_owned(),
            self.model.to_owned(),
            grouped(self.requests),
            tokens(self.tokens, self.estimated),
            self.dollars().map_or_else(|| "unknown".to_owned(), shown),
        ]
    }

    fn json(&self) -> Value {
        json!({"day": self.day, "vectorizer": self.vectorizer, "vectorizer_id": self.id.parse::<i64>().ok(),
            "model": self.model, "requests": self.requests, "tokens": self.tokens,
            "estimated_tokens": self.estimated, "cost": self.dollars()})
    }
}

/// A number of tokens; one that is estimated, even in part, is marked.
fn tokens(tokens: u64, estimated: u64) -> String {
    let mark = if estimated > 0 { "~" } else { "" };
    format!("{mark}{}", grouped(tokens))
}

impl Total {
    fn of(used: &[Used<'_>]) -> Self {
        let mut total = Self::default();
        for used in used {
            total.requests += used.requests;
            total.tokens += used.tokens;
            total.estimated += used.estimated;
            match used.dollars() {
                Some(dollars) => total.dollars += dollars,
                None => total.unpriced += used.tokens,
            }
        }
        total
    }

    pub(super) const fn tokens(&self) -> u64 {
        self.tokens
    }

    /// In US dollars, if the price of all tokens is known.
    pub(super) fn cost(&self) -> Option<f64> {
        (self.unpriced == 0).then_some(self.dollars)
    }

    pub(super) fn json(&self) -> Value {
        // Where a price is not known, neither is the sum.
        json!({"requests": self.requests, "tokens": self.tokens, "estimated_tokens": self.estimated,
            "cost": self.cost(), "known_cost": self.dollars, "tokens_without_price": self.unpriced})
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let requests = grouped(self.requests);
        let tokens = tokens(self.tokens, self.estimated);
        write!(f, "{requests} requests, {tokens} tokens, ")?;
        match (self.unpriced, self.tokens - self.unpriced) {
            (0, _) => f.write_str(&shown(self.dollars)),
            (_, 0) => f.write_str("cost unknown: give the price with --prices"),
            (unpriced, _) => write!(
                f,
                "{} and the cost of {} tokens, which is unknown: give the price with --prices",
                shown(self.dollars),
                grouped(unpriced)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(model: &str, tokens: &str, estimated: &str, is_here: &str) -> Vec<Option<String>> {
        let fields = [
            "1",
            "blog",
            model,
            "2026-11-26",
            "2",
            tokens,
            estimated,
            is_here,
        ];
        fields.map(|field| Some(field.to_owned())).to_vec()
    }

    #[test]
    fn an_unknown_price_is_never_a_price_of_zero() {
        let prices = Prices::parse("known 2").unwrap();
        for (rows, text) in [
            (
                vec![row("known", "1000000", "0", "false")],
                "2 requests, 1,000,000 tokens, $2.00",
            ),
            (
                vec![row("other", "1000", "5", "false")],
                "2 requests, ~1,000 tokens, cost unknown: give the price with --prices",
            ),
            (
                vec![row("here", "1000", "1000", "true")],
                "2 requests, ~1,000 tokens, $0.00",
            ),
            (
                vec![
                    row("known", "500000", "0", "false"),
                    row("other", "7", "0", "false"),
                ],
                "4 requests, 500,007 tokens, $1.00 and the cost of 7 tokens, which is unknown: \
                 give the price with --prices",
            ),
        ] {
            assert_eq!(total(&rows, &prices).unwrap().to_string(), text);
        }
        assert!(total(&vec![], &prices).is_none());
    }
}
