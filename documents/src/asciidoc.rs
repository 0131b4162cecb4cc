//! AsciiDoc.
//!
//! This reads lines, as people write them: headings, lists, tables, blocks, and marks within a
//! line. It does not carry out the language: no file is included, no attribute but those of the
//! header is put in, no condition is judged. docs/documents.md says what it brings.

mod inline;
mod lists;
mod tables;

use std::collections::BTreeMap;

use inline::marked;
use lists::Lists;
use tables::Table;

/// Converts a text.
pub(crate) fn to_markdown(text: &str) -> String {
    nested(text, 0)
}

/// The nesting of blocks that is read; what is deeper stays as it is.
const DEPTH_MAX: usize = 16;

fn nested(text: &str, depth: usize) -> String {
    if depth > DEPTH_MAX {
        return text.to_owned();
    }
    let mut page = Page {
        depth,
        ..Page::default()
    };
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let bare = line.trim();
        match Line::of(line) {
            Line::Block(block) => {
                let inner = lines.by_ref().take_while(|line| line.trim() != bare);
                let inner = inner.collect::<Vec<_>>();
                page.block(block, &inner.join("\n"));
            }
            Line::Table => {
                let inner = lines.by_ref().take_while(|line| line.trim() != bare);
                let inner = inner.collect::<Vec<_>>();
                page.table(&Table::of(&inner, &page.attributes_of_block));
            }
            Line::Row => {
                // Rows without the lines around a table.
                let mut rows = vec![bare];
                while let Some(row) = lines.next_if(|next| matches!(Line::of(next), Line::Row)) {
                    rows.push(row.trim());
                }
                page.table(&Table::of_rows(&rows));
            }
            Line::Blank => page.end(),
            Line::Attribute(name, value) => {
                page.names.insert(name.to_owned(), value.to_owned());
            }
            Line::Heading(level, title) => page.heading(level, title),
            Line::Item(item) => page.item(line, &item),
            Line::Of(attributes) => {
                page.end();
                page.attributes_of_block = attributes.to_owned();
            }
            Line::Title(title) => {
                page.end();
                let title = marked(title, &page.names);
                page.push(&title);
            }
            Line::Image(alt) => {
                page.end();
                page.push(alt);
            }
            Line::Rule => {
                page.end();
                page.push("---");
            }
            Line::Nothing => {}
            Line::Text => page.text(line),
        }
    }
    page.end();
    page.end_list();
    page.written
}

/// What a line is.
enum Line<'a> {
    /// `:name: value`.
    Attribute(&'a str, &'a str),
    /// An empty line.
    Blank,
    /// The beginning of a block of this kind.
    Block(Block),
    /// `== Title`, with the number of marks.
    Heading(usize, &'a str),
    /// `image::target[alt]`: its alternative text.
    Image(&'a str),
    /// An item of a list.
    Item(lists::Item<'a>),
    /// A comment, an anchor, or what is for the printer.
    Nothing,
    /// `[source,rust]`: what is said of the next block.
    Of(&'a str),
    /// `'''`.
    Rule,
    /// `|a |b`, outside of a table.
    Row,
    /// `|===`.
    Table,
    /// Any other.
    Text,
    /// `.Title` of the next block.
    Title(&'a str),
}

/// Blocks that a line of the same marks begins and ends.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Block {
    Comment,
    Code,
    /// An example, a sidebar or an open block: its text is read as usual.
    Inner,
    Quote,
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Self {
        let bare = line.trim();
        let is_all =
            |mark: char, least: usize| bare.len() >= least && bare.chars().all(|c| c == mark);
        if bare.is_empty() {
            return Self::Blank;
        }
        if is_all('-', 4) || is_all('.', 4) || bare.starts_with("```") {
            return Self::Block(Block::Code);
        }
        if is_all('/', 4) {
            return Self::Block(Block::Comment);
        }
        if is_all('=', 4) || is_all('*', 4) || bare == "--" || is_all('+', 4) {
            return Self::Block(Block::Inner);
        }
        if is_all('_', 4) {
            return Self::Block(Block::Quote);
        }
        if matches!(bare, "'''" | "---" | "***") {
            return Self::Rule;
        }
        if let Some(rest) = bare
            .strip_prefix(['|', ',', ':'])
            .and_then(|rest| rest.strip_prefix("==="))
        {
            return if rest.chars().all(|c| c == '=') {
                Self::Table
            } else {
                Self::Text
            };
        }
        if bare.starts_with('|') {
            return Self::Row;
        }
        if bare.starts_with("//") && !bare.starts_with("///") || bare == "<<<" || bare == "+" {
            return Self::Nothing;
        }
        Self::of_words(line, bare)
    }

    fn of_words(line: &'a str, bare: &'a str) -> Self {
        let marks = bare.chars().take_while(|c| *c == '=').count();
        let marks = if marks == 0 {
            bare.chars().take_while(|c| *c == '#').count()
        } else {
            marks
        };
        if (1..=6).contains(&marks) && bare[marks..].starts_with(' ') && !line.starts_with(' ') {
            return Self::Heading(
                marks,
                bare[marks..].trim().trim_end_matches(['=', '#']).trim_end(),
            );
        }
        if let Some((name, value)) = bare.strip_prefix(':').and_then(|rest| rest.split_once(':'))
            && !name.is_empty()
            && !name.contains(' ')
        {
            return Self::Attribute(name, value.trim());
        }
        for name in ["image::", "video::", "audio::"] {
            if let Some((_, rest)) = bare
                .strip_prefix(name)
                .and_then(|rest| rest.split_once('['))
            {
                let alt = rest
                    .trim_end_matches(']')
                    .split(',')
                    .next()
                    .unwrap_or_default();
                return Self::Image(if alt.contains('=') {
                    ""
                } else {
                    alt.trim().trim_matches('"')
                });
            }
        }
        for name in [
            "include::",
            "ifdef::",
            "ifndef::",
            "ifeval::",
            "endif::",
            "toc::",
        ] {
            if bare.starts_with(name) {
                return Self::Nothing;
            }
        }
        if bare.starts_with("[[") && bare.ends_with("]]") {
            return Self::Nothing;
        }
        if let Some(inner) = bare
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            && !inner.contains(['[', ']'])
            && !line.starts_with(' ')
        {
            return Self::Of(inner);
        }
        if let Some(title) = bare.strip_prefix('.')
            && title.starts_with(|c: char| c.is_alphanumeric() || "\"'_*`".contains(c))
        {
            return Self::Title(title);
        }
        lists::Item::of(line).map_or(Self::Text, Self::Item)
    }
}

/// The Markdown so far.
#[derive(Default)]
struct Page {
    written: String,
    /// The blocks around it.
    depth: usize,
    /// The lines of the paragraph that is being read.
    paragraph: Vec<String>,
    lists: Lists,
    /// What `:name: value` says.
    names: BTreeMap<String, String>,
    /// What the line before a block says of it.
    attributes_of_block: String,
    /// Whether an empty line came after an item: the next text is no part of it.
    is_apart: bool,
}

impl Page {
    fn push(&mut self, block: &str) {
        if block.is_empty() {
            return;
        }
        if !self.written.is_empty() {
            self.written.push('\n');
        }
        self.written.push_str(block);
        self.written.push('\n');
    }

    /// Ends the paragraph, and the list if a text that is no item follows.
    fn end(&mut self) {
        self.is_apart = true;
        if self.paragraph.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.paragraph).join(" ");
        let text = marked(&text, &self.names);
        self.push(&text);
    }

    fn end_list(&mut self) {
        let list = self.lists.end();
        self.push(&list);
    }

    fn heading(&mut self, level: usize, title: &str) {
        self.end();
        self.end_list();
        let title = marked(title, &self.names);
        self.push(&format!("{} {title}", "#".repeat(level)));
    }

    fn item(&mut self, line: &str, item: &lists::Item<'_>) {
        // In the middle of a paragraph a mark is a part of the sentence.
        if !self.paragraph.is_empty() {
            self.end();
        }
        let text = marked(item.text, &self.names);
        self.lists.add(line, item, &text);
        self.is_apart = false;
    }

    fn text(&mut self, line: &str) {
        if !self.lists.is_empty() && !self.is_apart {
            self.lists.continue_with(&marked(line.trim(), &self.names));
            return;
        }
        self.end_list();
        self.paragraph.push(line.trim().to_owned());
    }

    fn table(&mut self, table: &Table) {
        self.end();
        self.end_list();
        let text = table.markdown(|cell| marked(cell, &self.names));
        self.push(&text);
        self.attributes_of_block.clear();
    }

    fn block(&mut self, block: Block, inner: &str) {
        self.end();
        self.end_list();
        let said = std::mem::take(&mut self.attributes_of_block);
        match block {
            Block::Comment => {}
            Block::Code => {
                let mut said = said.split(',');
                let is_source = said.next() == Some("source");
                let language = said.next().filter(|_| is_source).unwrap_or_default();
                let code = crate::text::fenced(inner, language.trim());
                self.push(code.trim_end());
            }
            Block::Inner => self.push(nested(inner, self.depth + 1).trim_end()),
            Block::Quote => {
                let inner = nested(inner, self.depth + 1);
                let lines = inner.trim_end().lines();
                let lines = lines.map(|line| format!("> {line}").trim_end().to_owned());
                self.push(&lines.collect::<Vec<_>>().join("\n"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
