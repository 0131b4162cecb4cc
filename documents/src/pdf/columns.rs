//! Tables without lines around them.
//!
//! pdf-inspector finds tables by their lines, and some by their columns; it writes the others as
//! paragraphs, row after row. Here a paragraph becomes a table if its text is, letter for letter, that
//! of lines of the page which are divided by wide gaps at the same places. Text in two columns is not
//! touched: pdf-inspector reads it one column after the other, so no paragraph has the text of its
//! lines.

use std::collections::BTreeMap;

use pdf_inspector::{TextItem, extract_text_with_positions_mem};

use crate::office::table_of;

/// A gap of this many font sizes divides cells; between words it is a quarter, and in justified text
/// rarely more than a half.
const GAP: f32 = 0.8;

/// The items of a page that are looked at.
const ITEMS_MAX: usize = 20_000;

/// The columns of a table.
const COLUMNS_MAX: usize = 40;

/// The blocks that a table may be divided into.
const BLOCKS_MAX: usize = 8;

/// The lines of a page at which a table is tried.
const BEGINS_MAX: usize = 50;

/// The letters of a paragraph that is looked for.
const LETTERS_MAX: usize = 20_000;

/// Makes tables of the paragraphs that are tables.
pub(super) fn add_tables(bytes: &[u8], pages: &mut BTreeMap<u32, String>) {
    let Ok(items) = extract_text_with_positions_mem(bytes) else {
        return;
    };
    let mut by_page: BTreeMap<u32, Vec<TextItem>> = BTreeMap::new();
    for item in items
        .into_iter()
        .filter(|item| !item.text.trim().is_empty())
    {
        by_page.entry(item.page).or_default().push(item);
    }
    for (number, items) in by_page {
        if let Some(page) = pages.get_mut(&number)
            && items.len() <= ITEMS_MAX
        {
            let lines = lines(items);
            if lines.iter().filter(|line| line.cells.len() > 1).count() > 1 {
                *page = with_tables(page, &lines);
            }
        }
    }
}

/// A line of a page.
#[derive(Debug)]
struct Line {
    cells: Vec<Cell>,
    /// The letters and digits of its text.
    letters: String,
}

/// The texts of a line between two gaps.
#[derive(Clone, Debug)]
struct Cell {
    left: f32,
    right: f32,
    text: String,
}

/// The lines of a page, from the top, each divided at its gaps.
fn lines(mut items: Vec<TextItem>) -> Vec<Line> {
    items.sort_by(|a, b| b.y.total_cmp(&a.y));
    let mut rows: Vec<Vec<TextItem>> = Vec::new();
    for item in items {
        match rows.last_mut() {
            Some(row) if row[0].y - item.y < 0.5 * size(&row[0]).min(size(&item)) => row.push(item),
            Some(_) | None => rows.push(vec![item]),
        }
    }
    rows.into_iter().map(line).collect()
}

fn size(item: &TextItem) -> f32 {
    item.font_size.abs().clamp(1.0, 100.0)
}

fn line(mut row: Vec<TextItem>) -> Line {
    row.sort_by(|a, b| a.x.total_cmp(&b.x));
    let mut cells: Vec<Cell> = Vec::new();
    for item in &row {
        let right = item.x + item.width.max(0.0);
        match cells.last_mut() {
            Some(cell) if item.x - cell.right < GAP * size(item) => {
                if item.x - cell.right > 0.15 * size(item) && !cell.text.ends_with(' ') {
                    cell.text.push(' ');
                }
                cell.text.push_str(&item.text);
                cell.right = cell.right.max(right);
            }
            Some(_) | None => cells.push(Cell {
                left: item.x,
                right,
                text: item.text.clone(),
            }),
        }
    }
    let letters = cells.iter().map(|cell| letters(&cell.text)).collect();
    Line { cells, letters }
}

/// What is compared: marks of Markdown, spaces and hyphens may differ.
fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

fn with_tables(markdown: &str, lines: &[Line]) -> String {
    let blocks: Vec<&str> = markdown.split("\n\n").collect();
    let texts: Vec<String> = blocks.iter().map(|block| block_letters(block)).collect();
    let mut written: Vec<String> = Vec::with_capacity(blocks.len());
    let mut is_code = false;
    let mut at = 0;
    while at < blocks.len() {
        let block = blocks[at];
        let was_code = is_code;
        is_code ^= block.lines().filter(|line| line.starts_with("```")).count() % 2 == 1;
        let found = if was_code || is_code {
            None
        } else {
            table_at(&texts[at..], lines)
        };
        match found {
            Some((table, count)) => {
                written.push(table);
                at += count;
            }
            None => {
                written.push(block.to_owned());
                at += 1;
            }
        }
    }
    written.join("\n\n")
}

/// The letters of a block that may be a table: nothing of code and of tables that are known.
fn block_letters(block: &str) -> String {
    let block = block.trim();
    if block.starts_with(['|', '`']) {
        return String::new();
    }
    let mut text = block.replace("<u>", "").replace("</u>", "");
    // The targets of links are no text of the page.
    while let (Some(from), true) = (text.find("]("), text.len() < LETTERS_MAX) {
        let Some(length) = text[from..].find(')') else {
            break;
        };
        text.replace_range(from..from + length, "]");
    }
    letters(&text)
}

/// The table that begins with the first block, and the blocks that it takes.
fn table_at(texts: &[String], lines: &[Line]) -> Option<(String, usize)> {
    let first = texts
        .first()
        .filter(|text| !text.is_empty() && text.len() < LETTERS_MAX)?;
    let begins = |line: &Line| {
        !line.letters.is_empty() && line.cells.len() > 1 && first.starts_with(&line.letters)
    };
    // The same head may stand over several tables.
    let begins = (0..lines.len()).filter(|at| begins(&lines[*at]));
    let begins: Vec<usize> = begins.take(BEGINS_MAX).collect();
    let mut text = String::new();
    for (block, count) in texts.iter().zip(1..=BLOCKS_MAX) {
        if block.is_empty() || text.len() > LETTERS_MAX {
            break;
        }
        text.push_str(block);
        for begin in &begins {
            let lines = &lines[*begin..];
            if let Some(table) = end_of(&text, lines).and_then(|end| table(&lines[..end])) {
                return Some((table, count));
            }
        }
    }
    None
}

/// How many lines have exactly this text.
fn end_of(text: &str, lines: &[Line]) -> Option<usize> {
    let mut rest = text;
    for (line, count) in lines.iter().zip(1..) {
        rest = rest.strip_prefix(line.letters.as_str())?;
        if rest.is_empty() {
            return Some(count);
        }
    }
    None
}

/// The lines as a table, if most are divided, and at the same places.
fn table(lines: &[Line]) -> Option<String> {
    let divided = lines.iter().filter(|line| line.cells.len() > 1).count();
    let width = lines.iter().map(|line| line.cells.len()).max()?;
    if divided < 2 || divided * 10 < lines.len() * 6 || width > COLUMNS_MAX {
        return None;
    }
    let columns = columns(lines, width)?;
    let rows = lines.iter().map(|line| {
        let mut row = vec![String::new(); width];
        for cell in &line.cells {
            for (at, column) in columns.iter().enumerate() {
                if is_in(cell, column, &columns) {
                    if !row[at].is_empty() {
                        row[at].push(' ');
                    }
                    row[at].push_str(&cell.text.trim().replace('|', "\\|"));
                }
            }
        }
        row
    });
    Some(table_of(rows.collect()))
}

/// The places of the columns: those of the lines with most cells, which must not overlap.
fn columns(lines: &[Line], width: usize) -> Option<Vec<(f32, f32)>> {
    let mut columns = vec![(f32::MAX, f32::MIN); width];
    for line in lines.iter().filter(|line| line.cells.len() == width) {
        for (column, cell) in columns.iter_mut().zip(&line.cells) {
            *column = (column.0.min(cell.left), column.1.max(cell.right));
        }
    }
    let is_apart = columns.windows(2).all(|pair| pair[0].1 < pair[1].0);
    is_apart.then_some(columns)
}

/// Whether a cell stands in a column: it covers the middle of it, or is nearest to it.
fn is_in(cell: &Cell, column: &(f32, f32), columns: &[(f32, f32)]) -> bool {
    let middle = |from: f32, to: f32| f32::midpoint(from, to);
    let covers = |column: &(f32, f32)| {
        let at = middle(column.0, column.1);
        cell.left <= at && at <= cell.right
    };
    if columns.iter().any(covers) {
        return covers(column);
    }
    let center = middle(cell.left, cell.right);
    let distance = |column: &(f32, f32)| {
        if center < column.0 {
            column.0 - center
        } else {
            (center - column.1).max(0.0)
        }
    };
    let nearest = columns
        .iter()
        .min_by(|a, b| distance(a).total_cmp(&distance(b)));
    nearest == Some(column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(cells: &[(f32, f32, &str)]) -> Line {
        let cells: Vec<_> = cells
            .iter()
            .map(|(left, right, text)| Cell {
                left: *left,
                right: *right,
                text: (*text).to_owned(),
            })
            .collect();
        let letters = cells.iter().map(|cell| letters(&cell.text)).collect();
        Line { cells, letters }
    }

    fn page() -> Vec<Line> {
        vec![
            line(&[(10.0, 90.0, "Some words before.")]),
            line(&[(10.0, 40.0, "Year"), (100.0, 130.0, "Ducks")]),
            line(&[(10.0, 30.0, "2019"), (110.0, 130.0, "1-20")]),
            line(&[(10.0, 130.0, "none in 2020")]),
            line(&[(10.0, 30.0, "2021"), (110.0, 130.0, "90")]),
        ]
    }

    #[test]
    fn a_paragraph_with_the_text_of_divided_lines_is_a_table() {
        let text = "Some words before.\n\n**Year Ducks** 2019 120 none in 2020 2021 90\n\nafter";
        assert_eq!(
            with_tables(text, &page()),
            "Some words before.\n\n| Year | Ducks |\n| --- | --- |\n| 2019 | 1-20 |\n\
             | none in 2020 | none in 2020 |\n| 2021 | 90 |\n\nafter"
        );
    }

    #[test]
    fn any_other_paragraph_stays() {
        for text in [
            // Its text goes on where the lines do not.
            "Year Ducks 2019 120 none in 2020 2021 90 geese",
            // In another order, as columns are read.
            "Year 2019 none in 2020 2021 Ducks 120 90",
            "```\nYear Ducks 2019 120 none in 2020 2021 90\n```",
            // One line is no table.
            "Year Ducks",
        ] {
            assert_eq!(with_tables(text, &page()), text);
        }
        // The gaps are not at the same places.
        let lines = [
            line(&[(10.0, 40.0, "a"), (60.0, 130.0, "b")]),
            line(&[(10.0, 80.0, "c"), (100.0, 130.0, "d")]),
        ];
        assert_eq!(with_tables("a b c d", &lines), "a b c d");
    }
}
