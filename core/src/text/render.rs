//! x
use std::borrow::Cow;
/// x
pub fn python_text<'a>(value: Option<&'a str>, type_name: &str) -> Cow<'a, str> {
    python_text_in(value, type_name, "UTC")
}
/// x
pub fn python_text_in<'a>(
    value: Option<&'a str>,
    type_name: &str,
    time_zone: &str,
) -> Cow<'a, str> {
    let _ = time_zone;
    match (value, type_name) {
        (None, _) => Cow::Borrowed("None"),
        (Some("t" | "true"), "boolean") => Cow::Borrowed("True"),
        (Some("f" | "false"), "boolean") => Cow::Borrowed("False"),
        (Some(v), _) => Cow::Borrowed(v),
    }
}
