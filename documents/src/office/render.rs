//! Writes anydoc's model of a document as Markdown.
//!
//! anydoc has a writer of its own, for people who look at the page. This one is for embeddings: a
//! merged cell is repeated in each of its places, so that every row of a table can be understood
//! alone; text is not escaped where a reader of the Markdown would not be misled; a cell is one line.

use std::collections::BTreeMap;

use anydoc::model::{
    Block, Cell, CellSlot, Document, ImageSource, Inline, LinkTarget, List, MarkerKind, Style,
    Table, TableKind, checkbox_text,
};

/// The nesting of lists, quotes and tables that is written; what is deeper is left out.
const DEPTH_MAX: usize = 64;

/// Writes a document.
pub(super) fn markdown(document: &Document) -> String {
    let writer = Writer {
        notes: document
            .notes
            .iter()
            .zip(1..)
            .map(|(note, n)| (note.id.as_str(), n))
            .collect(),
    };
    let mut parts = writer.blocks(&document.blocks, 0);
    for note in &document.notes {
        let text = writer.blocks(&note.blocks, 0).join(" ").replace('\n', " ");
        if let (false, Some(number)) = (text.is_empty(), writer.notes.get(note.id.as_str())) {
            parts.push(format!("[^{number}]: {text}"));
        }
    }
    let mut text = parts.join("\n\n");
    text.push('\n');
    text
}

struct Writer<'a> {
    /// The numbers of foot- and endnotes.
    notes: BTreeMap<&'a str, usize>,
}

impl Writer<'_> {
    /// Each block that is not empty.
    fn blocks(&self, blocks: &[Block], depth: usize) -> Vec<String> {
        if depth > DEPTH_MAX {
            return Vec::new();
        }
        let written = blocks.iter().map(|block| self.block(block, depth));
        written.filter(|text| !text.is_empty()).collect()
    }

    fn block(&self, block: &Block, depth: usize) -> String {
        match block {
            Block::Heading { level, content, .. } => {
                let text = one_line(&self.inlines(content));
                let level = usize::from((*level).clamp(1, 6));
                if text.is_empty() {
                    text
                } else {
                    format!("{} {text}", "#".repeat(level))
                }
            }
            Block::Paragraph(content) => paragraph(&self.inlines(content)),
            Block::List(list) => self.list(list, depth + 1),
            Block::Table(table) => self.table(table, depth + 1),
            Block::BlockQuote(inner) => {
                let inner = self.blocks(inner, depth + 1).join("\n\n");
                let lines = inner
                    .lines()
                    .map(|line| format!("> {line}").trim_end().to_owned());
                lines.collect::<Vec<_>>().join("\n")
            }
            Block::CodeBlock { lang, text } => {
                let fenced = crate::text::fenced(text, lang.as_deref().unwrap_or_default());
                fenced.trim_end().to_owned()
            }
            Block::Rule => "---".to_owned(),
            Block::Math(math) => format!("$$\n{}\n$$", math.trim()),
        }
    }

    fn list(&self, list: &List, depth: usize) -> String {
        let mut items = Vec::new();
        for (item, number) in list.items.iter().zip(list.start..) {
            let marker = match (&item.marker_label, list.marker) {
                (Some(label), _) => format!("- {} ", one_line(label)),
                (None, MarkerKind::Bullet) => "- ".to_owned(),
                (None, MarkerKind::Decimal) => format!("{number}. "),
                (None, kind) => format!("- {} ", kind.label(number)),
            };
            // A list in a list follows its line at once; anything else is a paragraph of its own.
            let mut text = String::new();
            for block in &item.blocks {
                let written = self.blocks(std::slice::from_ref(block), depth).join("\n");
                if !text.is_empty() && !written.is_empty() {
                    text.push_str(if matches!(block, Block::List(_)) {
                        "\n"
                    } else {
                        "\n\n"
                    });
                }
                text.push_str(&written);
            }
            let indent = format!(
                "\n{}",
                " ".repeat(if marker.starts_with('-') { 2 } else { 3 })
            );
            items.push(
                format!("{marker}{}", text.replace('\n', &indent))
                    .trim_end()
                    .to_owned(),
            );
        }
        items.join("\n")
    }

    fn table(&self, table: &Table, depth: usize) -> String {
        // A frame around a text is no table.
        if table.kind == TableKind::Layout
            && let [row] = table.grid.as_slice()
            && let [CellSlot::Origin(cell)] = row.as_slice()
        {
            return self.blocks(&cell.blocks, depth).join("\n\n");
        }
        let mut rows: Vec<Vec<String>> = Vec::with_capacity(table.grid.len());
        for row in &table.grid {
            let mut cells: Vec<String> = Vec::with_capacity(row.len());
            for slot in row {
                let text = match slot {
                    CellSlot::Origin(cell) => self.cell(cell, depth),
                    // It is above, or to the left in this row.
                    CellSlot::Covered {
                        origin_row,
                        origin_col,
                    } => {
                        let above = rows.get(*origin_row).unwrap_or(&cells);
                        above.get(*origin_col).cloned().unwrap_or_default()
                    }
                };
                cells.push(text);
            }
            rows.push(cells);
        }
        table_of(rows)
    }

    /// A cell as one line.
    fn cell(&self, cell: &Cell, depth: usize) -> String {
        let mut parts = Vec::new();
        for block in &cell.blocks {
            let text = match block {
                Block::Table(table) if depth <= DEPTH_MAX => self.nested(table, depth + 1),
                Block::BlockQuote(_)
                | Block::CodeBlock { .. }
                | Block::Heading { .. }
                | Block::List(_)
                | Block::Math(_)
                | Block::Paragraph(_)
                | Block::Rule
                | Block::Table(_) => self.blocks(std::slice::from_ref(block), depth).join(" "),
            };
            parts.push(one_line(text.trim_start_matches("# ")));
        }
        parts.retain(|part| !part.is_empty());
        parts.join(" ").replace('|', "\\|")
    }

    /// A table in a cell: the texts of its cells.
    fn nested(&self, table: &Table, depth: usize) -> String {
        let cells = table.grid.iter().flatten().map(|slot| match slot {
            CellSlot::Origin(cell) => self.cell(cell, depth).replace("\\|", "|"),
            CellSlot::Covered { .. } => String::new(),
        });
        cells
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn inlines(&self, inlines: &[Inline]) -> String {
        let mut text = String::new();
        let mut runs = inlines.iter().peekable();
        while let Some(inline) = runs.next() {
            match inline {
                Inline::Text { text: words, style } => {
                    let mut words = words.clone();
                    // Word divides a word into runs of the same style.
                    while let Some(Inline::Text { text: more, .. }) = runs
                        .next_if(|next| matches!(next, Inline::Text { style: s, .. } if s == style))
                    {
                        words.push_str(more);
                    }
                    text.push_str(&styled(&words, *style));
                }
                Inline::Link { content, target } => {
                    let words = self.inlines(content);
                    match target {
                        LinkTarget::External(url) | LinkTarget::Relative(url)
                            if !words.trim().is_empty() && !url.is_empty() =>
                        {
                            text.push_str(&format!("[{words}]({url})"));
                        }
                        LinkTarget::Anchor(_)
                        | LinkTarget::External(_)
                        | LinkTarget::Relative(_) => {
                            text.push_str(&words);
                        }
                    }
                }
                Inline::Image { alt, source } => match source {
                    ImageSource::External(url) => text.push_str(&format!("![{alt}]({url})")),
                    ImageSource::Asset(_) | ImageSource::Unavailable => text.push_str(alt),
                },
                Inline::Anchor(_) => {}
                Inline::NoteRef(id) => {
                    if let Some(number) = self.notes.get(id.as_str()) {
                        text.push_str(&format!("[^{number}]"));
                    }
                }
                Inline::LineBreak => text.push('\n'),
                Inline::Math(math) => text.push_str(&format!("${}$", math.trim())),
                Inline::Checkbox(checked) => text.push_str(checkbox_text(*checked)),
            }
        }
        text
    }
}

/// Rows of cells as a table, without what is empty at its right and at its end.
pub(crate) fn table_of(mut rows: Vec<Vec<String>>) -> String {
    let filled = |row: &Vec<String>| {
        row.iter()
            .rposition(|cell| !cell.is_empty())
            .map(|at| at + 1)
    };
    while rows.last().is_some_and(|row| filled(row).is_none()) {
        rows.pop();
    }
    let Some(width) = rows.iter().filter_map(filled).max() else {
        return String::new();
    };
    let mut lines = Vec::with_capacity(rows.len() + 1);
    for mut row in rows {
        row.resize(width, String::new());
        lines.push(format!("| {} |", row.join(" | ")));
        if lines.len() == 1 {
            lines.push(format!("|{}", " --- |".repeat(width)));
        }
    }
    lines.join("\n")
}

/// A run of text with its style; spaces at its ends stay outside of the marks.
fn styled(text: &str, style: Style) -> String {
    let words = text.trim();
    if words.is_empty() || style == Style::PLAIN {
        return text.to_owned();
    }
    let (before, rest) = text.split_at(text.len() - text.trim_start().len());
    let after = &rest[words.len()..];
    let mut marked = words.to_owned();
    for (is_set, mark) in [
        (style.code, "`"),
        (style.strike, "~~"),
        (style.italic, "*"),
        (style.bold, "**"),
    ] {
        if is_set {
            marked = format!("{mark}{marked}{mark}");
        }
    }
    format!("{before}{marked}{after}")
}

/// A paragraph: no line of it looks like a heading, a list or a table.
fn paragraph(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.map(|line| {
        let is_marker = line.starts_with(['#', '|', '>'])
            || line.starts_with("```")
            || line.starts_with("- ")
            || line.starts_with("+ ");
        if is_marker {
            format!("\\{line}")
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
