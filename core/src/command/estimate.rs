//! `estimate`: estimates the cost of embedding a whole source table.

use std::sync::Arc;

use serde_json::json;

use super::table::grouped;
use super::{Answer, Ask, Steps, field, named};
use crate::call::{Call, Reply};
use crate::document::Parts;
use crate::model::{ModelAnswer, Tokenizer};
use crate::provider::Purpose;
use crate::query::{Key, Param, Query, Rows};
use crate::rows::{Bounds, TextError};
use crate::settings::Settings;
use crate::text::Vectors;
use crate::vectorizer::Profile;

/// The arguments of `estimate`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct EstimateArgs {
    /// The vectorizer's name or id
    name: String,

    /// How many rows to look at, chosen at random
    #[arg(
        long,
        default_value = "1000",
        value_name = "ROWS",
        conflicts_with = "all"
    )]
    sample: u32,

    /// Look at all rows
    #[arg(long)]
    all: bool,

    /// The provider's price for a million tokens
    #[arg(long, value_name = "PRICE", value_parser = price)]
    price: Option<f64>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn price(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(price) if (0.0..f64::INFINITY).contains(&price) => Ok(price),
        _ => Err(format!("{text:?} is not a price")),
    }
}

/// Bytes of text that one read returns.
const READ_BYTES: usize = 4 * 1024 * 1024;
/// Keys in one read.
const READ_KEYS: usize = 500;
/// The number of standard deviations around a normal distribution's mean that contain 95 % of
/// all values.
const Z95: f64 = 1.96;

#[derive(Debug)]
pub(super) struct Estimate {
    args: EstimateArgs,
    settings: Settings,
    /// The operator's ceiling for an account, in millionths of a dollar.
    spend_per_day: Option<u64>,
    profile: Option<Arc<Profile>>,
    size: Option<Size>,
    /// Keys that have not been read yet; `None` until they are known.
    keys: Option<Vec<Key>>,
    /// The size of each row that was read.
    rows: Vec<Taken>,
    /// Of a model in this process.
    tokenizer: Option<Tokenizer>,
    failed: u64,
}

/// The source table.
#[derive(Clone, Copy, Debug)]
struct Size {
    rows: u64,
    with_text: u64,
}

/// The size of one row.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    chunks: f64,
    /// The chunks, and what the chunker compares before.
    texts: f64,
    tokens: f64,
}

/// An estimated total, and its error.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Total {
    value: f64,
    /// Half the width of the interval that contains the true total in 95 of 100 samples.
    error: f64,
}

impl Estimate {
    pub(super) fn new(args: EstimateArgs, settings: Settings) -> Self {
        Self {
            args,
            spend_per_day: settings.spend_per_day,
            settings: named::without_secrets(settings),
            profile: None,
            size: None,
            keys: None,
            rows: vec![],
            tokenizer: None,
            failed: 0,
        }
    }

    fn go_on(&self, profile: &Profile) -> Ask {
        match &self.keys {
            Some(keys) if !keys.is_empty() => Ask::Query(Query::Read {
                plan: Arc::clone(&profile.plan),
                keys: keys[..keys.len().min(READ_KEYS)].to_vec(),
                bytes_max: READ_BYTES,
            }),
            _ => Ask::done(self.report(profile)),
        }
    }

    /// Takes the rows of a read, and requests the rows that it left out again.
    fn read(&mut self, profile: &Profile, rows: &Rows) -> Ask {
        let Some(keys) = &mut self.keys else {
            return self.go_on(profile);
        };
        // The first row always comes; a row without an answer would be asked for without an end.
        let came = rows.len().clamp(1, keys.len());
        keys.drain(..came);
        for row in rows {
            let columns = row.get(3..).unwrap_or_default();
            let text = field(row, 2);
            let parts = Parts::default();
            let chunked = |vectors: &Vectors| {
                let mut bounds = Bounds::new(text, self.settings.limits);
                profile.texts(text, &parts, columns, vectors, &mut bounds)
            };
            let compared = match chunked(&Vectors::default()) {
                Err(TextError::Vectors(texts)) => texts,
                _ => vec![],
            };
            match chunked(&Vectors::Absent) {
                Ok(chunks) => {
                    let texts = chunks.iter().map(|chunk| Arc::clone(&chunk.text));
                    let texts = Vec::from_iter(texts.chain(compared));
                    let sent = profile.provider.prompted(&texts, Purpose::Document);
                    let tokenizer = self.tokenizer.as_ref();
                    let tokens = sent
                        .iter()
                        .map(|text| profile.provider.count_tokens(text, tokenizer));
                    self.rows.push(Taken {
                        chunks: as_float(chunks.len()),
                        texts: as_float(texts.len()),
                        tokens: as_float(tokens.sum()),
                    });
                }
                Err(_) => self.failed += 1,
            }
        }
        self.go_on(profile)
    }

    /// Asks for the size of the source.
    fn ask_size(profile: &Profile) -> Ask {
        Ask::query(profile.plan.size.clone(), vec![])
    }

    /// The number of requests for the rows that were read, with the worker's packing.
    fn requests(&self, profile: &Profile) -> f64 {
        let inputs = profile
            .provider
            .limits
            .inputs
            .min(self.settings.limits.inputs);
        let batches = self.rows.chunks(profile.rows);
        let requests = batches.map(|batch| {
            let texts: f64 = batch.iter().map(|row| row.texts).sum();
            (texts / as_float(inputs)).ceil()
        });
        requests.sum()
    }

    /// How many days it takes under the lowest ceiling of a day, if there is one.
    fn days(&self, profile: &Profile, tokens: f64, dollars: Option<f64>) -> Option<u64> {
        #[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
        let ratio = |all: f64, of_a_day: u64| as_whole((all / of_a_day as f64).ceil());
        let by_tokens = profile.tokens_per_day.map(|max| ratio(tokens, max));
        let spend = self.spend_per_day.zip(dollars);
        let by_dollars = spend.map(|(max, dollars)| ratio(dollars * 1e6, max));
        by_tokens.into_iter().chain(by_dollars).max()
    }

    fn report(&self, profile: &Profile) -> String {
        let size = self.size.unwrap_or(Size {
            rows: 0,
            with_text: 0,
        });
        let all = size.with_text;
        let chunks = Total::new(all, self.rows.iter().map(|row| row.chunks));
        let tokens = Total::new(all, self.rows.iter().map(|row| row.tokens));
        let looked_at = self.rows.len();
        let share = if looked_at == 0 {
            0.0
        } else {
            as_float(usize::try_from(all).unwrap_or(usize::MAX)) / as_float(looked_at)
        };
        let requests = (self.requests(profile) * share).ceil();
        let known = profile.price.map(|price| price.dollars(1_000_000));
        let cost = self.args.price.or(known).map(|price| Total {
            value: tokens.value * price / 1e6,
            error: tokens.error * price / 1e6,
        });
        let days = self.days(profile, tokens.value, cost.map(|cost| cost.value));
        if self.args.json {
            let total = |total: Total| json!({"estimate": total.value, "error": total.error});
            return json!({"vectorizer": profile.name, "rows": size.rows,
                "rows_with_text": all, "rows_looked_at": looked_at, "rows_failed": self.failed,
                "chunks": total(chunks), "tokens": total(tokens), "requests": requests,
                "cost": cost.map(total), "days": days, "token_measure": profile.provider.token_measure()})
            .to_string();
        }
        let mut lines = vec![
            format!(
                "rows      {} ({} with a text)",
                grouped(size.rows),
                grouped(all)
            ),
            format!("chunks    {chunks}"),
            format!("tokens    {tokens}, {}", profile.provider.token_measure()),
            format!("requests  {}", grouped(as_whole(requests))),
        ];
        if let Some(cost) = cost {
            lines.push(format!("cost      {:.4} ± {:.4}", cost.value, cost.error));
        }
        if let Some(days) = days {
            lines.push(format!(
                "days      {} under the ceiling of a day",
                grouped(days)
            ));
        }
        lines.push(if looked_at as u64 + self.failed >= all {
            "from all rows".to_owned()
        } else {
            let looked_at = grouped(looked_at as u64);
            format!("from {looked_at} rows chosen at random; ± holds in 95 of 100 samples")
        });
        if self.failed > 0 {
            let failed = grouped(self.failed);
            lines.push(format!("{failed} of them cannot be chunked or formatted"));
        }
        lines.join("\n")
    }
}

impl Steps for Estimate {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        let Some(profile) = self.profile.clone() else {
            if let Answer::Begin = answer {
                return Ok(named::ask());
            }
            let profile = named::profile(&answer.rows()?, &self.args.name, &self.settings)?;
            if profile.documents.is_some() {
                return Err(format!(
                    "{} embeds documents, whose texts are not known before they are parsed: let it embed some, and see \
                     `{} usage`",
                    profile.name, self.settings.program
                ));
            }
            let asked = match profile.provider.tokenizer_request() {
                Some(request) => Ask::Call(Call::Model(request)),
                None => Self::ask_size(&profile),
            };
            self.profile = Some(Arc::new(profile));
            return Ok(asked);
        };
        match answer {
            Answer::Reply(Reply::Model(answer)) => {
                match answer.map_err(|error| error.to_string())? {
                    ModelAnswer::Tokenizer(tokenizer) => {
                        profile.chunker.set_tokenizer(&tokenizer);
                        self.tokenizer = Some(tokenizer);
                        Ok(Self::ask_size(&profile))
                    }
                    ModelAnswer::Scores(_) | ModelAnswer::Vectors { .. } => {
                        Err("the model did not give its tokenizer".to_owned())
                    }
                }
            }
            Answer::Begin
            | Answer::Reply(_)
            | Answer::Read(_)
            | Answer::Rows(_)
            | Answer::Waited
            | Answer::Written(_) => {
                let rows = answer.rows()?;
                if self.size.is_none() {
                    let row = rows.first().map_or(&[][..], Vec::as_slice);
                    let number = |at: usize| field(row, at).parse().unwrap_or_default();
                    self.size = Some(Size {
                        rows: number(0),
                        with_text: number(1),
                    });
                    let limit = if self.args.all {
                        i64::MAX
                    } else {
                        self.args.sample.into()
                    };
                    let sample = profile.plan.sample.clone();
                    return Ok(Ask::query(sample, vec![Param::Int(limit)]));
                }
                if self.keys.is_none() {
                    let key = |row: &Vec<Option<String>>| {
                        Key(row.iter().cloned().map(Option::unwrap_or_default).collect())
                    };
                    self.keys = Some(rows.iter().map(key).collect());
                    return Ok(self.go_on(&profile));
                }
                Ok(self.read(&profile, &rows))
            }
        }
    }
}

impl Total {
    /// From a sample without replacement out of `all` (Cochran, Sampling Techniques, 2.6: the mean,
    /// its variance with the finite population's correction).
    fn new(all: u64, sample: impl Iterator<Item = f64> + Clone) -> Self {
        let n = as_float(sample.clone().count());
        #[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
        let all = all as f64;
        if n == 0.0 {
            return Self {
                value: 0.0,
                error: if all == 0.0 { 0.0 } else { f64::INFINITY },
            };
        }
        let mean = sample.clone().sum::<f64>() / n;
        let squares: f64 = sample.map(|x| (x - mean).powi(2)).sum();
        let error = if n >= all {
            0.0
        } else if n < 2.0 {
            f64::INFINITY
        } else {
            let variance = squares / (n - 1.0) / n * (1.0 - n / all);
            Z95 * all * variance.sqrt()
        };
        Self {
            value: mean * all.max(n),
            error,
        }
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&grouped(as_whole(self.value)))?;
        match self.error {
            0.0 => Ok(()),
            error if error.is_infinite() => f.write_str(" ± unknown"),
            error => write!(f, " ± {}", grouped(as_whole(error))),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
const fn as_float(number: usize) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts of floats saturate, and no number here is negative"
)]
fn as_whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rows_leave_no_error_and_a_sample_some() {
        let rows = [1.0, 2.0, 3.0, 4.0];
        let all = Total::new(4, rows.into_iter());
        assert_eq!((all.value, all.error), (10.0, 0.0));
        // By hand: mean 2.5, s² = 5/3, se = sqrt(5/3/4 * (1 - 4/100)), times 100 and 1.96.
        let sample = Total::new(100, rows.into_iter());
        assert_eq!(sample.value, 250.0);
        assert!((sample.error - 123.961).abs() < 1e-3, "{sample:?}");
        assert_eq!(sample.to_string(), "250 ± 124");
        assert_eq!(Total::new(9, [5.0].into_iter()).to_string(), "45 ± unknown");
    }
}
