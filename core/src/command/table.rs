//! Text in columns, for a terminal.

use crate::log::on_one_line;

/// Lines with a head, each column as wide as its widest cell, two spaces between.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|&title| title.to_owned()).collect();
    let clean = |row: &Vec<String>| row.iter().map(|cell| on_one_line(cell)).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(clean).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&head).chain(&rows).collect();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &Vec<String>| {
        let cells = cells.iter().zip(&widths);
        let padded: Vec<String> = cells
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    lines.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A text on one line, of at most this many characters.
pub(super) fn short(text: &str, max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= max {
        return line;
    }
    let kept: String = line.chars().take(max.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// The width of a terminal, in characters.
pub(super) const WIDTH: usize = 80;

/// A timestamp without fractions of a second and time zone.
pub(super) fn second(timestamp: &str) -> String {
    timestamp
        .chars()
        .take(19)
        .collect::<String>()
        .replace('T', " ")
}

/// The words of a text in lines of at most `width` characters, each after `indent`. A longer word is
/// not split.
pub(super) fn wrapped(text: &str, indent: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split_whitespace().map(on_one_line) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(format!("{indent}{word}")),
        }
    }
    lines
}

/// A whole number with separated thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows =
            [["1", "é", "x"], ["22", "long one", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(
            table(&["id", "name", "z"], &rows),
            "id  name      z\n1   é         x\n22  long one"
        );
    }

    #[test]
    fn a_long_text_is_cut_and_on_one_line() {
        assert_eq!(short("a  b\nc", 5), "a b c");
        assert_eq!(short("abc def", 5), "abc…");
    }

    #[test]
    fn long_lines_are_wrapped() {
        assert_eq!(
            wrapped("a bc d\nefghi j", "  ", 6),
            ["  a bc", "  d", "  efghi", "  j"]
        );
    }

    #[test]
    fn thousands_are_separated() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
