//! Log lines, as text or as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use crate::event::{Event, Level};

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// One JSON object for each line.
    Json,
    /// Text.
    #[default]
    Text,
}

/// One line for an event, without its line end. `wall` is the time since 1970.
#[must_use]
pub fn line(event: &Event, wall: Duration, format: Format) -> String {
    write(
        event.level(),
        &event.message(),
        &event.fields(),
        wall,
        format,
    )
}

/// One line for a message of the shell itself.
#[must_use]
pub fn note(level: Level, message: &str, wall: Duration, format: Format) -> String {
    write(level, message, &[], wall, format)
}

fn write(
    level: Level,
    message: &str,
    fields: &[(&'static str, String)],
    wall: Duration,
    format: Format,
) -> String {
    let stamp = i64::try_from(wall.as_millis())
        .ok()
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let line = match format {
        Format::Json => {
            let mut object = serde_json::Map::new();
            object.insert("time".to_owned(), stamp.to_string().into());
            object.insert("level".to_owned(), level.name().into());
            object.insert("message".to_owned(), message.into());
            for (name, value) in fields {
                object.insert((*name).to_owned(), number_or_text(value));
            }
            serde_json::Value::Object(object).to_string()
        }
        Format::Text => {
            let stamp = stamp.strftime("%Y-%m-%d %H:%M:%S");
            let message = message.replace(char::is_control, " ");
            let mut line = format!("{stamp} [{:<8}] {message:<30}", level.name());
            for (name, value) in fields {
                // A formatter that writes to a string cannot fail.
                let _ = if value.is_empty()
                    || value.contains([' ', '"', '='])
                    || value.contains(char::is_control)
                {
                    write!(line, " {name}={value:?}")
                } else {
                    write!(line, " {name}={value}")
                };
            }
            line.truncate(line.trim_end().len());
            line
        }
    };
    printable(&line)
}

/// Escapes everything that could move a terminal's cursor, change its colour or its writing
/// direction, except line ends and tabs. The result of a JSON text is the same JSON value.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\n' | '\t') || !is_unprintable(character) {
            out.push(character);
        } else {
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        }
    }
    out
}

/// The same, on one line.
pub(crate) fn on_one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// Control characters, line and paragraph separators, and characters that change the writing
/// direction.
fn is_unprintable(character: char) -> bool {
    let turns = matches!(character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || turns || matches!(character, '\u{2028}' | '\u{2029}')
}

fn number_or_text(value: &str) -> serde_json::Value {
    value
        .parse::<i64>()
        .map_or_else(|_| value.into(), Into::into)
}

impl Level {
    /// The level's name in log lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Error => "error",
            Self::Info => "info",
            Self::Warning => "warning",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: Duration = Duration::from_millis(1_700_000_000_250);

    #[test]
    fn a_line_for_people_reads_like_pgais() {
        let event = Event::Running {
            vectorizer: 1,
            name: "blog".to_owned(),
        };
        assert_eq!(
            line(&event, WALL, Format::Text),
            "2023-11-14 22:13:20 [info    ] running vectorizer             vectorizer_id=1 name=blog"
        );
    }

    #[test]
    fn a_value_with_spaces_or_lines_is_quoted() {
        let event = Event::VectorizerBroken {
            vectorizer: 7,
            reason: "no\nsuch \"x\"".to_owned(),
        };
        let line = line(&event, WALL, Format::Text);
        assert!(
            line.ends_with(r#"vectorizer_id=7 reason="no\nsuch \"x\"""#),
            "{line}"
        );
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_printed() {
        let hostile = "a\u{1b}[2J\r\n\u{9b}31m\u{7f}\u{202e}b\u{2028}c";
        assert_eq!(
            printable(hostile),
            "a\\u001b[2J\\u000d\n\\u009b31m\\u007f\\u202eb\\u2028c"
        );
        let event = Event::VectorizerBroken {
            vectorizer: 7,
            reason: hostile.to_owned(),
        };
        for format in [Format::Text, Format::Json] {
            let line = line(&event, WALL, format);
            assert!(!line.contains(is_unprintable), "{line:?}");
        }
        let line = line(&event, WALL, Format::Json);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["reason"], hostile, "JSON keeps what it says");
    }

    #[test]
    fn a_json_line_is_one_object() {
        let event = Event::Finished {
            vectorizer: 1,
            items: 3,
            failed: 0,
        };
        let line = line(&event, WALL, Format::Json);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["items"], 3);
        assert_eq!(object["level"], "info");
        assert_eq!(object["time"], "2023-11-14T22:13:20.25Z");
    }
}
