//! libpq's other way to write where a database is: `host=db.example.com dbname='my database'`.

use std::collections::BTreeMap;

use super::parameters;

/// Whether a text is written so, and is not a URL.
pub(super) fn are_in(text: &str) -> bool {
    let name = text.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| !name.contains("://"))
}

/// Reads pairs of a name and a value, with white space between them. A value with white space is in single quotes;
/// a backslash takes the next character as it is.
pub(super) fn read(text: &str) -> Result<BTreeMap<&'static str, String>, String> {
    let mut values = BTreeMap::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest
            .split_once('=')
            .ok_or("after the last value there is a word without =")?;
        let name = parameters::known(name.trim())?;
        let (value, after) = value(name, after.trim_start())?;
        values.insert(name, value);
        rest = after.trim_start();
    }
    Ok(values)
}

/// A value, and what comes after it.
fn value<'a>(name: &str, text: &'a str) -> Result<(String, &'a str), String> {
    let quoted = text.strip_prefix('\'');
    let text = quoted.unwrap_or(text);
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, character)| character)),
            '\'' if quoted.is_some() => return Ok((value, &text[at + 1..])),
            _ if quoted.is_none() && character.is_whitespace() => return Ok((value, &text[at..])),
            _ => value.push(character),
        }
    }
    match quoted {
        Some(_) => Err(format!("the value of {name} has no ' at its end")),
        None => Ok((value, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_libpq_reads_them() {
        for (text, expected) in [
            ("host=h dbname=d", vec![("dbname", "d"), ("host", "h")]),
            ("  host = h\tport=5 ", vec![("host", "h"), ("port", "5")]),
            (r"password='it''", vec![]),
            (
                r"password='it\'s \\ here' user=u",
                vec![("password", r"it's \ here"), ("user", "u")],
            ),
            (r"password=a\ b", vec![("password", "a b")]),
            ("user='' host=h", vec![("host", "h"), ("user", "")]),
            ("password=a=b", vec![("password", "a=b")]),
        ] {
            match read(text) {
                Ok(values) => {
                    let values: Vec<_> = values
                        .iter()
                        .map(|(name, value)| (*name, value.as_str()))
                        .collect();
                    assert_eq!(values, expected, "{text}");
                }
                Err(error) => assert!(expected.is_empty(), "{text}: {error}"),
            }
        }
        assert!(are_in("host=h") && !are_in("postgres://h/d?sslmode=require") && !are_in("h"));
    }

    #[test]
    fn a_refusal_names_parameters_and_repeats_no_value() {
        for (text, words) in [
            ("hsot=h", "there is no parameter hsot: write host"),
            ("password='s3cret", "the value of password has no '"),
            ("host=h s3cret", "a word without ="),
            ("password=s3 cret=x", "there is no parameter cret"),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains(words) && !error.contains("s3"),
                "{text}: {error}"
            );
        }
    }
}
