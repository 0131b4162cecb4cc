//! The text form of a row's key: the text of a single column, or a JSON array for several
//! columns.

/// Formats a key.
pub(super) fn text(key: &[String]) -> String {
    match key {
        [only] => only.clone(),
        parts => serde_json::Value::from(parts.to_vec()).to_string(),
    }
}

/// Parses a key.
pub(super) fn parse(text: &str, columns: &[&str]) -> Result<Vec<String>, String> {
    if columns.len() == 1 {
        return Ok(vec![text.to_owned()]);
    }
    let parts = serde_json::from_str::<Vec<serde_json::Value>>(text).unwrap_or_default();
    if parts.len() != columns.len() {
        return Err(format!(
            "the key {text:?} must be a JSON array of the columns {}, such as '[1, \"a\"]'",
            columns.join(", ")
        ));
    }
    let part = |part: serde_json::Value| {
        part.as_str()
            .map_or_else(|| part.to_string(), str::to_owned)
    };
    Ok(parts.into_iter().map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_it_was_written() {
        for key in [&["a,b"][..], &["1", "x\"y"], &["", "é", "[]"]] {
            let key: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
            let columns = vec!["c"; key.len()];
            assert_eq!(parse(&text(&key), &columns), Ok(key));
        }
        assert_eq!(parse("[1, true]", &["a", "b"]).unwrap(), ["1", "true"]);
        assert!(parse("1", &["a", "b"]).is_err());
        assert!(parse("[1]", &["a", "b"]).is_err());
    }
}
