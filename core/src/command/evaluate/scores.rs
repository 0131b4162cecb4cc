//! The measures of a ranking: normalized discounted cumulative gain (Järvelin and Kekäläinen, 2002), with the grade as
//! gain, as in `trec_eval`; recall; the reciprocal rank of the first answer.

use std::collections::BTreeMap;

/// The sums over some questions.
#[derive(Clone, Debug, Default)]
pub(super) struct Scores {
    sums: [f64; 3],
    questions: u32,
}

impl Scores {
    /// Counts the rows that were found for a question, the best first.
    pub(super) fn add(&mut self, found: &[String], answers: &BTreeMap<String, f64>, k: u32) {
        let found = &found[..found.len().min(k as usize)];
        let grades = found
            .iter()
            .map(|key| answers.get(key).copied().unwrap_or(0.0));
        let grades: Vec<f64> = grades.collect();
        let mut best: Vec<f64> = answers.values().copied().collect();
        best.sort_by(|a, b| b.total_cmp(a));
        best.truncate(k as usize);
        let right = grades.iter().filter(|grade| **grade > 0.0).count();
        let first = grades.iter().position(|grade| *grade > 0.0);
        self.sums[0] += ratio(gain(&grades), gain(&best));
        self.sums[1] += ratio(right as f64, answers.len() as f64);
        self.sums[2] += first.map_or(0.0, |place| 1.0 / (place + 1) as f64);
        self.questions += 1;
    }

    /// nDCG, recall and the mean reciprocal rank.
    pub(super) fn means(&self) -> [f64; 3] {
        self.sums.map(|sum| ratio(sum, self.questions.into()))
    }
}

fn gain(grades: &[f64]) -> f64 {
    let grades = grades.iter().enumerate();
    grades
        .map(|(at, grade)| grade / ((at + 2) as f64).log2())
        .sum()
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two questions, computed by hand.
    #[test]
    fn means_are_those_of_the_formulas() {
        let answers = |of: &[(&str, f64)]| {
            let of = of.iter().map(|(key, grade)| ((*key).to_owned(), *grade));
            of.collect::<BTreeMap<_, _>>()
        };
        let found = |of: &[&str]| of.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        let mut scores = Scores::default();
        scores.add(
            &found(&["a", "x", "b"]),
            &answers(&[("a", 1.0), ("b", 3.0), ("c", 1.0)]),
            10,
        );
        let log = f64::log2;
        let ndcg = (1.0 + 3.0 / log(4.0)) / (3.0 + 1.0 / log(3.0) + 1.0 / log(4.0));
        let check = |scores: &Scores, expect: [f64; 3]| {
            for (got, expect) in scores.means().into_iter().zip(expect) {
                assert!((got - expect).abs() < 1e-12, "{got} {expect}");
            }
        };
        check(&scores, [ndcg, 2.0 / 3.0, 1.0]);
        scores.add(&found(&["x", "a"]), &answers(&[("a", 1.0)]), 1);
        check(&scores, [ndcg / 2.0, 1.0 / 3.0, 0.5]);
        check(&Scores::default(), [0.0; 3]);
    }
}
