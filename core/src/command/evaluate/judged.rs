//! Questions, and which rows answer them.

use std::collections::BTreeMap;

/// A question with the rows that answer it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judged {
    pub(super) text: String,
    /// The keys of the rows, with their grades.
    pub(super) answers: BTreeMap<String, f64>,
}

/// Reads both files. Questions that no row answers are left out.
///
/// # Errors
/// The number of the line that is none, or that there is nothing to measure.
pub(super) fn read(queries: &str, qrels: &str) -> Result<Vec<Judged>, String> {
    let mut answers = BTreeMap::<String, BTreeMap<String, f64>>::new();
    for (at, line) in lines(qrels) {
        let mut fields: Vec<&str> = line.split('\t').map(str::trim).collect();
        if fields.len() < 3 {
            fields = line.split_whitespace().collect();
        }
        let (question, row, grade) = match fields.as_slice() {
            [question, row, grade] | [question, _, row, grade] => (*question, *row, *grade),
            _ => {
                return Err(format!(
                    "line {at} of --qrels has not three columns: {line}"
                ));
            }
        };
        match grade.parse::<f64>() {
            Ok(grade) if grade > 0.0 => {
                let rows = answers.entry(question.to_owned()).or_default();
                rows.insert(row.to_owned(), grade);
            }
            Ok(_) => {}
            // The names of the columns.
            Err(_) if at == 1 => {}
            Err(_) => return Err(format!("line {at} of --qrels has no grade: {line}")),
        }
    }
    let mut judged = vec![];
    for (at, line) in lines(queries) {
        let (id, text) = question(line)
            .ok_or_else(|| format!("line {at} of --queries has not an id and a text: {line}"))?;
        if let Some(answers) = answers.remove(&id) {
            judged.push(Judged { text, answers });
        }
    }
    if judged.is_empty() {
        return Err("no question of --queries has an answer in --qrels".to_owned());
    }
    Ok(judged)
}

/// The lines that are not empty, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    lines.filter_map(|(at, line)| (!line.trim().is_empty()).then_some((at + 1, line)))
}

fn question(line: &str) -> Option<(String, String)> {
    if !line.trim_start().starts_with('{') {
        let (id, text) = line.split_once('\t')?;
        return Some((id.trim().to_owned(), text.trim().to_owned()));
    }
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    let id = value.get("id").or_else(|| value.get("_id"))?;
    let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    Some((id, value["text"].as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_formats_are_read() {
        let expect = Judged {
            text: "how so?".to_owned(),
            answers: BTreeMap::from([("7".to_owned(), 2.0), ("9 a".to_owned(), 1.0)]),
        };
        for queries in [
            "{\"id\": 1, \"text\": \"how so?\"}\n\n{\"_id\": \"2\", \"text\": \"unanswered\"}\n",
            "1\thow so?\n2\tunanswered",
        ] {
            for qrels in [
                "query_id\tdoc_id\tgrade\n1\t7\t2\n1\t9 a\t1\n1\t8\t0\n2\t8\t-1\n",
                "1\t0\t7\t2\n1\t0\t9 a\t1\n",
            ] {
                assert_eq!(read(queries, qrels), Ok(vec![expect.clone()]));
            }
        }
        let trec = read("1\tx", "1 0 7 2").unwrap();
        assert_eq!(trec[0].answers, BTreeMap::from([("7".to_owned(), 2.0)]));
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let check = |queries: &str, qrels: &str, expect: &str| {
            assert_eq!(read(queries, qrels), Err(expect.to_owned()));
        };
        check(
            "1\tx",
            "1\t7\t1\n1",
            "line 2 of --qrels has not three columns: 1",
        );
        check(
            "1\tx",
            "1\t7\t1\n1\t7\tx",
            "line 2 of --qrels has no grade: 1\t7\tx",
        );
        check(
            "nothing",
            "1\t7\t1",
            "line 1 of --queries has not an id and a text: nothing",
        );
        check(
            "2\tx",
            "1\t7\t1",
            "no question of --queries has an answer in --qrels",
        );
    }
}
