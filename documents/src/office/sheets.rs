//! The tables of a sheet.
//!
//! A spreadsheet has one grid for each sheet, and people put several tables on it, with empty rows
//! and columns between. Each group of cells that touch each other, but at a corner, becomes a table.

use anydoc::model::{Block, Cell, CellSlot, Table};

/// The cells of a sheet that are looked at. A sheet with more is one table: dividing it would need
/// as much memory again.
const CELLS_MAX: usize = 1 << 20;

/// The tables that a sheet is divided into.
const REGIONS_MAX: usize = 1 << 10;

/// Divides every table into those that it is made of.
pub(super) fn divided(blocks: Vec<Block>) -> Vec<Block> {
    let divide = |block| {
        if let Block::Table(table) = block {
            split(table).into_iter().map(Block::Table).collect()
        } else {
            vec![block]
        }
    };
    blocks.into_iter().flat_map(divide).collect()
}

fn split(table: Table) -> Vec<Table> {
    let width = table.grid.iter().map(Vec::len).max().unwrap_or(0);
    let height = table.grid.len();
    if width == 0 || width.saturating_mul(height) > CELLS_MAX {
        return vec![table];
    }
    let mut regions = apart(regions(&table, width));
    if regions.is_empty() {
        return vec![table];
    }
    regions.sort_by_key(|region| (region.top, region.left));
    let header = table.header_rows;
    let cut = |region: &Region| {
        let rows = table
            .grid
            .iter()
            .skip(region.top)
            .take(region.bottom - region.top + 1);
        let rows = rows.map(|row| {
            let cells = row
                .iter()
                .skip(region.left)
                .take(region.right - region.left + 1);
            cells.map(|slot| copied(slot, &table)).collect()
        });
        Table::from_rows(rows.collect(), header.min(1), table.kind)
    };
    regions.iter().map(cut).collect()
}

/// The content of a place; that of a merged cell in each of its places.
fn copied(slot: &CellSlot, table: &Table) -> Cell {
    match slot {
        CellSlot::Origin(cell) => cell.clone(),
        CellSlot::Covered {
            origin_row,
            origin_col,
        } => {
            let origin = table
                .grid
                .get(*origin_row)
                .and_then(|row| row.get(*origin_col));
            match origin {
                Some(CellSlot::Origin(cell)) => cell.clone(),
                Some(CellSlot::Covered { .. }) | None => Cell::default(),
            }
        }
    }
}

/// A rectangle around cells that touch each other. The ends are included.
#[derive(Clone, Copy)]
struct Region {
    top: usize,
    left: usize,
    bottom: usize,
    right: usize,
}

impl Region {
    /// Whether the rectangles share a place or an edge.
    const fn touches(&self, other: &Self) -> bool {
        let rows = self.top <= other.bottom + 1 && other.top <= self.bottom + 1;
        let columns = self.left <= other.right && other.left <= self.right;
        rows && columns
    }

    const fn overlaps(&self, other: &Self) -> bool {
        self.touches(other) && self.top <= other.bottom && other.top <= self.bottom
    }

    fn with(self, other: Self) -> Self {
        Self {
            top: self.top.min(other.top),
            left: self.left.min(other.left),
            bottom: self.bottom.max(other.bottom),
            right: self.right.max(other.right),
        }
    }
}

/// The rectangles, found row by row: each run of filled cells joins those that it touches.
fn regions(table: &Table, width: usize) -> Vec<Region> {
    let mut done: Vec<Region> = Vec::new();
    let mut open: Vec<Region> = Vec::new();
    for (top, row) in table.grid.iter().enumerate() {
        let (reached, over): (Vec<_>, Vec<_>) =
            open.drain(..).partition(|region| region.bottom + 1 >= top);
        done.extend(over);
        open = reached;
        let mut left = 0;
        while left < width {
            let filled = row
                .iter()
                .skip(left)
                .take_while(|slot| is_filled(slot))
                .count();
            if filled == 0 {
                left += 1;
                continue;
            }
            let mut run = Region {
                top,
                left,
                bottom: top,
                right: left + filled - 1,
            };
            left += filled;
            // What has grown may touch more.
            while let Some(at) = open.iter().position(|region| region.touches(&run)) {
                run = run.with(open.swap_remove(at));
            }
            open.push(run);
        }
    }
    done.extend(open);
    done
}

/// The rectangles without those that share a place: an L and what stands in its corner are one
/// table. So is a sheet of very many.
fn apart(regions: Vec<Region>) -> Vec<Region> {
    let mut apart: Vec<Region> = Vec::new();
    for mut region in regions {
        while let Some(at) = apart.iter().position(|other| other.overlaps(&region)) {
            region = region.with(apart.swap_remove(at));
        }
        apart.push(region);
        if apart.len() > REGIONS_MAX {
            return Vec::new();
        }
    }
    apart
}

fn is_filled(slot: &CellSlot) -> bool {
    match slot {
        CellSlot::Origin(cell) => !cell.is_empty(),
        CellSlot::Covered { .. } => true,
    }
}
