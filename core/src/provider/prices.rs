//! What providers charge for embedding a million tokens, in US dollars.

use std::collections::BTreeMap;

use crate::cut::cut;

/// The price of a token, in millionths of a millionth of a US dollar: so a sum of many small requests is not rounded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Price(u64);

/// Prices that the operator gives, and those that ship with the worker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    given: BTreeMap<String, Price>,
}

/// The list prices of models, found in November 2026 at the places named. Free quotas and discounts are left out.
const LIST: &[(&str, f64)] = &[
    // developers.openai.com/api/docs/models/text-embedding-3-large
    ("text-embedding-3-large", 0.13),
    ("text-embedding-3-small", 0.02),
    // vercel.com/ai-gateway/models/text-embedding-ada-002
    ("text-embedding-ada-002", 0.10),
    // docs.voyageai.com/pricing
    ("voyage-3", 0.06),
    ("voyage-3-lite", 0.02),
    ("voyage-code-2", 0.12),
    ("voyage-finance-2", 0.12),
    ("voyage-law-2", 0.12),
    ("voyage-multilingual-2", 0.12),
    // vercel.com/ai-gateway/models/voyage/voyage-3.5 and voyage-3.5-lite
    ("voyage-3.5", 0.06),
    ("voyage-3.5-lite", 0.02),
    // getmaxim.ai/bifrost/model-library/provider/voyage
    ("voyage-3-large", 0.18),
    // usagepricing.com/blueprint/voyage-ai, from docs.voyageai.com/docs/pricing
    ("voyage-4", 0.06),
    ("voyage-4-large", 0.12),
    ("voyage-4-lite", 0.02),
    // getmaxim.ai/bifrost/llm-cost-calculator/provider/cohere/model/embed-v4.0
    ("embed-v4.0", 0.12),
    // opencode.ai/data/mistral/mistral-embed, openrouter.ai/mistralai/codestral-embed-2505
    ("mistral-embed", 0.10),
    ("codestral-embed-2505", 0.15),
    // opencode.ai/data/google/gemini-embedding-001, embeddingcost.com/google
    ("gemini-embedding-001", 0.15),
    ("gemini-embedding-2-preview", 0.20),
];

/// Prefixes of the makers themselves. What a model costs elsewhere, such as at `azure/`, is not known.
const MAKERS: &[&str] = &["cohere/", "gemini/", "mistral/", "openai/", "voyage/"];

/// A higher price is a mistake.
const DOLLARS_MAX: f64 = 1e6;

impl Price {
    /// Of a model in the worker's own process.
    pub(crate) const FREE: Self = Self(0);

    /// From dollars for a million tokens.
    pub(crate) fn from_dollars(dollars: f64) -> Option<Self> {
        if !(0.0..=DOLLARS_MAX).contains(&dollars) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is neither negative nor too large"
        )]
        let picos = (dollars * 1e6).round() as u64;
        Some(Self(picos))
    }

    /// Millionths of a millionth of a dollar for one token.
    pub(crate) const fn of_a_token(self) -> u64 {
        self.0
    }

    /// Dollars for so many tokens.
    #[expect(clippy::cast_precision_loss, reason = "it is shown with few digits")]
    pub(crate) fn dollars(self, tokens: u64) -> f64 {
        (u128::from(self.0) * u128::from(tokens)) as f64 / 1e12
    }
}

impl Prices {
    /// Reads lines of a model's name and its price in US dollars for a million tokens, with spaces or a tab between.
    /// Empty lines are left out, and so are those that begin with `#`.
    ///
    /// # Errors
    /// What is wrong with which line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut given = BTreeMap::new();
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| format!("line {number}: {:?} {what}", cut(line));
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [model, price] = fields[..] else {
                return Err(wrong("is not a model and a price, such as: my-model 0.02"));
            };
            let price = price.parse().ok().and_then(Price::from_dollars);
            let price = price.ok_or_else(|| {
                wrong("has no price: give US dollars for a million tokens, such as 0.02")
            })?;
            if given.insert(model.to_owned(), price).is_some() {
                return Err(wrong("gives the model a second price"));
            }
        }
        Ok(Self { given })
    }

    /// The price of a model, by the name in a vectorizer's config.
    pub(crate) fn of(&self, model: &str) -> Option<Price> {
        let name = MAKERS
            .iter()
            .find_map(|maker| model.strip_prefix(maker))
            .unwrap_or(model);
        let given = self.given.get(model).or_else(|| self.given.get(name));
        given.copied().or_else(|| {
            let (_, dollars) = LIST.iter().find(|(known, _)| *known == name)?;
            Price::from_dollars(*dollars)
        })
    }
}

/// Dollars for people: cents, and for less than a dollar as many digits as say something.
pub(crate) fn shown(dollars: f64) -> String {
    if dollars >= 1.0 || dollars == 0.0 {
        format!("${dollars:.2}")
    } else if dollars >= 0.01 {
        format!("${dollars:.4}")
    } else {
        format!("${dollars:.6}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_makers_model_has_its_list_price_and_one_elsewhere_none() {
        let prices = Prices::default();
        for (model, dollars) in [
            ("text-embedding-3-small", Some(0.02)),
            ("openai/text-embedding-3-small", Some(0.02)),
            ("voyage/voyage-3.5", Some(0.06)),
            ("azure/text-embedding-3-small", None),
            ("embeddinggemma:300m", None),
        ] {
            let price = prices.of(model).map(|price| price.dollars(1_000_000));
            assert_eq!(price, dollars, "{model}");
        }
    }

    #[test]
    fn given_prices_win_and_the_full_name_wins_over_the_makers() {
        let text = "# ours\ntext-embedding-3-small\t0.01\n\nopenai/m 2\n m   1 \nazure/dep 0\n";
        let prices = Prices::parse(text).unwrap();
        let of = |model: &str| prices.of(model).map(|price| price.dollars(1_000_000));
        assert_eq!(of("text-embedding-3-small"), Some(0.01));
        assert_eq!(of("openai/m"), Some(2.0));
        assert_eq!(of("m"), Some(1.0));
        assert_eq!(of("azure/dep"), Some(0.0));
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, says) in [
            ("m 1\nm", "line 2"),
            ("m one", "US dollars"),
            ("m -1", "US dollars"),
            ("m inf", "US dollars"),
            ("m NaN", "US dollars"),
            ("m 1 2", "a model and a price"),
            ("m 1\nm 2", "second price"),
        ] {
            let error = Prices::parse(text).unwrap_err();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }

    #[test]
    fn small_sums_are_shown_with_more_digits() {
        for (dollars, text) in [
            (0.0, "$0.00"),
            (0.000_02, "$0.000020"),
            (0.25, "$0.2500"),
            (12.345, "$12.35"),
        ] {
            assert_eq!(shown(dollars), text);
        }
    }
}
