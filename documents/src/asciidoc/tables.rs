//! Tables of AsciiDoc.

use crate::office::table_of;

/// A table: the texts of its cells, row by row.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

/// A cell, the columns and rows that it spans, and how often it is repeated.
struct Cell {
    text: String,
    columns: usize,
    rows: usize,
    times: usize,
}

/// A cell spans, and is repeated, at most so often.
const SPAN_MAX: usize = 64;

impl Table {
    /// Reads the lines between `|===`. `attributes` may say how many columns there are.
    pub(super) fn of(lines: &[&str], attributes: &str) -> Self {
        let lines: Vec<_> = lines.iter().map(|line| line.trim()).collect();
        let first = lines.iter().find(|line| !line.is_empty());
        if let (Some(first), true) = (
            first,
            attributes.contains("csv") || attributes.contains("dsv"),
        ) {
            let mark = if first.contains(',') { ',' } else { ':' };
            let cells = |line: &&str| {
                line.split(mark)
                    .map(|cell| cell.trim().to_owned())
                    .collect()
            };
            let filled = lines.iter().filter(|line| !line.is_empty());
            return Self {
                rows: filled.map(cells).collect(),
            };
        }
        let width = columns(attributes).or_else(|| {
            // By the book, the first line has a cell for each column.
            first.map(|line| {
                cells(line)
                    .iter()
                    .map(|cell| cell.columns * cell.times)
                    .sum()
            })
        });
        let has_a_line_for_each_row = lines.iter().filter(|line| line.starts_with('|')).count() > 1
            && lines.iter().all(|line| {
                let count: usize = cells(line)
                    .iter()
                    .map(|cell| cell.columns * cell.times)
                    .sum();
                line.is_empty() || count > 1
            });
        if has_a_line_for_each_row {
            return Self::of_rows(&lines);
        }
        Self::filled(&lines, width.unwrap_or(1).max(1))
    }

    /// Each line is a row: a line that ends in a mark has an empty cell behind it.
    pub(super) fn of_rows(lines: &[&str]) -> Self {
        let lines = lines.iter().filter(|line| !line.is_empty());
        let rows: Vec<Vec<Cell>> = lines.map(|line| cells(line)).collect();
        let width = rows
            .iter()
            .map(|row| row.iter().map(|cell| cell.columns * cell.times).sum());
        let width = width.max().unwrap_or(0);
        let mut grid = Grid::new(width);
        for row in rows {
            grid.end_row();
            for cell in row {
                grid.place(&cell);
            }
        }
        Self { rows: grid.rows }
    }

    /// Cells fill the rows one after the other.
    fn filled(lines: &[&str], width: usize) -> Self {
        let mut grid = Grid::new(width);
        let mut last: Option<Cell> = None;
        for line in lines {
            let (before, _) = line.split_once('|').unwrap_or((line, ""));
            let is_text = !line.contains('|') || spans(before).is_none();
            if is_text && let Some(cell) = &mut last {
                let text = if line.contains('|') { before } else { line };
                cell.text = format!("{} {}", cell.text, text.trim()).trim().to_owned();
            }
            for cell in cells(line) {
                if let Some(done) = last.replace(cell) {
                    grid.place(&done);
                }
            }
        }
        if let Some(done) = last {
            grid.place(&done);
        }
        Self { rows: grid.rows }
    }

    pub(super) fn markdown(&self, marked: impl Fn(&str) -> String) -> String {
        let rows = self.rows.iter().map(|row| {
            let cells = row.iter().map(|cell| marked(cell).replace('|', "\\|"));
            cells.collect()
        });
        table_of(rows.collect())
    }
}

/// Where the next cell goes: places below a cell that spans rows are taken.
struct Grid {
    width: usize,
    rows: Vec<Vec<String>>,
    /// For each column, the text that covers it, and for how many rows more.
    covered: Vec<(String, usize)>,
}

impl Grid {
    fn new(width: usize) -> Self {
        let width = width.clamp(1, 1 << 10);
        Self {
            width,
            rows: Vec::new(),
            covered: vec![(String::new(), 0); width],
        }
    }

    fn end_row(&mut self) {
        self.cover();
        self.rows.push(Vec::new());
    }

    /// Puts what covers the next places into them.
    fn cover(&mut self) {
        let Some(row) = self.rows.last_mut() else {
            return;
        };
        while let Some((text, left @ 1..)) = self.covered.get_mut(row.len()) {
            *left -= 1;
            row.push(text.clone());
        }
    }

    fn place(&mut self, cell: &Cell) {
        for _ in 0..cell.times {
            self.cover();
            if self.rows.last().is_none_or(|row| row.len() >= self.width) {
                self.end_row();
                self.cover();
            }
            let Some(row) = self.rows.last_mut() else {
                return;
            };
            for _ in 0..cell.columns {
                if let Some(covered) = self.covered.get_mut(row.len()) {
                    *covered = (cell.text.clone(), cell.rows - 1);
                }
                row.push(cell.text.clone());
            }
        }
    }
}

/// The number of columns that `cols=` names.
fn columns(attributes: &str) -> Option<usize> {
    let (_, rest) = attributes.split_once("cols=")?;
    let value = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => rest.split(',').next()?,
    };
    let times = |column: &str| {
        let times = column
            .split_once('*')
            .and_then(|(times, _)| times.trim().parse().ok());
        times.unwrap_or(1_usize).min(SPAN_MAX)
    };
    Some(value.split([',', ';']).map(times).sum())
}

/// Stands for an escaped mark while a line is divided: a character of the private area.
const ESCAPED: &str = "\u{e000}";

/// The cells of a line: each begins with a mark, which spans may stand before.
fn cells(line: &str) -> Vec<Cell> {
    // A mark that is escaped is a part of the text.
    let line = line.replace("\\|", ESCAPED);
    let mut cells: Vec<Cell> = Vec::new();
    let mut parts = line.split('|');
    let mut spec = parts.next().unwrap_or_default();
    for part in parts {
        let (columns, rows, times) = spans(spec).unwrap_or((1, 1, 1));
        // What stands before the next mark may be its spans.
        let last = part.rsplit(' ').next().unwrap_or_default();
        let is_spec = !last.is_empty() && spans(last).is_some();
        let text = if is_spec {
            &part[..part.len() - last.len()]
        } else {
            part
        };
        spec = if is_spec { last } else { "" };
        cells.push(Cell {
            text: text.trim().replace(ESCAPED, "|"),
            columns,
            rows,
            times,
        });
    }
    // The last part is a cell, and no spans.
    if let (Some(cell), false) = (cells.last_mut(), spec.is_empty()) {
        cell.text = format!("{} {spec}", cell.text).trim().to_owned();
    }
    cells
}

/// `2+`, `.3+`, `2.3+`, `3*`, each with letters for style and alignment after it: columns, rows, and
/// how often.
fn spans(spec: &str) -> Option<(usize, usize, usize)> {
    let spec = spec.trim();
    let style = |rest: &str| rest.chars().all(|c| "<>^.adehlmsv".contains(c));
    let number = |text: &str| match text {
        "" => Some(1),
        text => text
            .parse()
            .ok()
            .map(|number: usize| number.clamp(1, SPAN_MAX)),
    };
    if spec.is_empty() {
        return Some((1, 1, 1));
    }
    if let Some((times, rest)) = spec.split_once('*') {
        return style(rest).then_some((1, 1, number(times)?));
    }
    if let Some((both, rest)) = spec.split_once('+') {
        let (columns, rows) = both.split_once('.').unwrap_or((both, ""));
        return style(rest).then_some((number(columns)?, number(rows)?, 1));
    }
    // Only alignment or style.
    (spec.len() <= 3 && style(spec)).then_some((1, 1, 1))
}
