//! Where a chunk comes from, for a terminal.

use serde_json::Value;

/// A location in words; empty if it says nothing.
pub(super) fn place(location: &Value) -> String {
    let mut words = vec![];
    if let Some(page) = location["page"].as_u64() {
        words.push(format!("page {page}"));
    }
    if let (Some(start), Some(end)) = (location["span"][0].as_u64(), location["span"][1].as_u64()) {
        words.push(format!("bytes {start} to {end}"));
    }
    let titles = location["headings"].as_array();
    let titles = titles.map(|titles| titles.iter().filter_map(Value::as_str));
    let path = titles.map(|titles| Vec::from_iter(titles).join(" > "));
    if let Some(path) = path.filter(|path| !path.is_empty()) {
        words.push(format!("in {path}"));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_place_is_said_in_words() {
        let location = json!({"page": 2, "span": [3, 9], "headings": ["A", "B"]});
        assert_eq!(place(&location), "page 2, bytes 3 to 9, in A > B");
        assert_eq!(place(&Value::Null), "");
    }
}
