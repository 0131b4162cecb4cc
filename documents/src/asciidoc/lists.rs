//! Lists of AsciiDoc.
//!
//! By the book, the number of marks is an item's level, and its indentation means nothing. People
//! who come from Markdown indent: so an indented item with one mark is in the list of the item that
//! is indented less.

/// A line that is an item.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Item<'a> {
    mark: Mark<'a>,
    pub(super) text: &'a str,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mark<'a> {
    /// `*`, `**`, `-`.
    Bullet(&'a str),
    /// `.`, `..`, `1.`, `a.`: the same marks are the same list.
    Number(&'a str),
    /// `term::`.
    Term(&'a str),
}

impl<'a> Item<'a> {
    /// The item on a line, if it is one.
    pub(super) fn of(line: &'a str) -> Option<Self> {
        let bare = line.trim();
        if let Some((term, text)) = bare
            .split_once(":: ")
            .or_else(|| Some((bare.strip_suffix("::")?, "")))
            && !term.is_empty()
            && !term.contains("::")
        {
            return Some(Self {
                mark: Mark::Term(term),
                text: text.trim(),
            });
        }
        let (mark, text) = bare.split_once(' ')?;
        let is_all = |c: char| !mark.is_empty() && mark.chars().all(|other| other == c);
        let number = mark.strip_suffix('.').unwrap_or_default();
        let is_number = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
            || number.len() == 1 && number.chars().all(|c| c.is_ascii_lowercase());
        let mark = if is_all('*') || mark == "-" || mark == "•" {
            Mark::Bullet(mark)
        } else if is_all('.') {
            Mark::Number(mark)
        } else if is_number {
            Mark::Number("1.")
        } else {
            return None;
        };
        Some(Self {
            mark,
            text: text.trim(),
        })
    }
}

/// The list that is being read.
#[derive(Default)]
pub(super) struct Lists {
    /// For each open level: its indentation, its marks, and the number of its last item.
    levels: Vec<(usize, String, usize)>,
    lines: Vec<String>,
}

/// Deeper levels are written at this one.
const LEVELS_MAX: usize = 16;

impl Lists {
    pub(super) const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds an item.
    pub(super) fn add(&mut self, line: &str, item: &Item<'_>, text: &str) {
        let indent = line.len() - line.trim_start().len();
        let key = match item.mark {
            Mark::Bullet(mark) | Mark::Number(mark) => mark,
            Mark::Term(_) => "::",
        };
        self.levels.truncate(self.level(indent, key));
        let last = self.levels.last().filter(|(_, of, _)| of == key);
        if last.is_none_or(|(at, _, _)| *at < indent) && self.levels.len() < LEVELS_MAX {
            self.levels.push((indent, key.to_owned(), 0));
        }
        let depth = self.levels.len().saturating_sub(1);
        let Some((_, _, number)) = self.levels.last_mut() else {
            return;
        };
        *number += 1;
        let mark = match item.mark {
            Mark::Bullet(_) => "- ".to_owned(),
            Mark::Number(_) => format!("{number}. "),
            Mark::Term(term) => format!("- {term}: "),
        };
        self.lines.push(
            format!("{}{mark}{text}", "    ".repeat(depth))
                .trim_end()
                .to_owned(),
        );
    }

    /// How many levels stay open before an item: up to the list of its marks at its indentation,
    /// or to those that are indented less.
    fn level(&self, indent: usize, key: &str) -> usize {
        let same = self
            .levels
            .iter()
            .rposition(|(at, of, _)| of == key && *at == indent);
        if let Some(same) = same {
            return same + 1;
        }
        // Among indented items the indentation says it, whatever the marks are.
        let is_beside = |at: usize| at > indent || indent > 0 && at == indent;
        let deeper = self.levels.iter().position(|(at, _, _)| is_beside(*at));
        deeper.unwrap_or(self.levels.len())
    }

    /// Adds a line to the last item.
    pub(super) fn continue_with(&mut self, text: &str) {
        if let Some(last) = self.lines.last_mut() {
            last.push(' ');
            last.push_str(text);
        }
    }

    /// The list as Markdown; the next item begins another.
    pub(super) fn end(&mut self) -> String {
        self.levels.clear();
        std::mem::take(&mut self.lines).join("\n")
    }
}
