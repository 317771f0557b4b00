//! Functions of a row's place in its window.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, UInt64Array};
use datafusion::common::Result;

use super::function::{Function, Progress};
use super::rows::{Rows, Window};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankKind {
    RowNumber,
    Rank,
    DenseRank,
    PercentRank,
    CumeDist,
    /// NTILE of so many.
    Tile(u64),
}

/// A ranking function.
#[derive(Debug)]
pub struct Rank {
    kind: RankKind,
    /// First row of the current one's group, and the row after it where it is looked for.
    group_start: usize,
    group_end: Option<usize>,
    searched: usize,
    /// Groups up to it.
    groups: u64,
    progress: Progress,
    whole: Vec<u64>,
    parts: Vec<f64>,
}

impl Rank {
    pub fn new(kind: RankKind) -> Self {
        Rank {
            kind,
            group_start: 0,
            group_end: None,
            searched: 0,
            groups: 0,
            progress: Progress::default(),
            whole: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// `None` while it is not known.
    fn row(&mut self, rows: &Rows, row: usize, window: Window) -> Option<()> {
        if row == window.start || (rows.begins_group(row) && row != self.group_start) {
            self.groups = if row == window.start { 1 } else { self.groups + 1 };
            self.group_start = row;
            self.group_end = None;
            self.searched = row + 1;
        }
        let size = |window: Window| window.end.map(|end| end - window.start);
        let place = row - window.start;
        match self.kind {
            RankKind::RowNumber => self.whole.push(place as u64 + 1),
            RankKind::Rank => self.whole.push((self.group_start - window.start) as u64 + 1),
            RankKind::DenseRank => self.whole.push(self.groups),
            RankKind::PercentRank => {
                let others = (size(window)? as f64 - 1.0).max(1.0);
                self.parts.push((self.group_start - window.start) as f64 / others);
            }
            RankKind::CumeDist => {
                let size = size(window)?;
                let end = self.end_of_group(rows, window)?;
                self.parts.push((end - window.start) as f64 / size as f64);
            }
            RankKind::Tile(tiles) => self.whole.push(tile(place as u64, size(window)? as u64, tiles)),
        }
        Some(())
    }

    fn end_of_group(&mut self, rows: &Rows, window: Window) -> Option<usize> {
        if self.group_end.is_none() {
            let known = window.end?;
            self.group_end = Some(rows.next_group(self.searched, known).unwrap_or(known));
        }
        self.group_end
    }
}

/// Which of `tiles` parts of `size` rows a row is in: parts of one row more come first.
fn tile(row: u64, size: u64, tiles: u64) -> u64 {
    let (least, more) = (size / tiles, size % tiles);
    let in_larger = more * (least + 1);
    match (row < in_larger, row.checked_sub(in_larger)) {
        (false, Some(behind)) => more + behind / least.max(1) + 1,
        _ => row / (least + 1) + 1,
    }
}

impl Function for Rank {
    fn fill(&mut self, rows: &mut Rows, to: usize) -> Result<bool> {
        while let Some((row, window)) = self.progress.next(rows, to) {
            if self.row(rows, row, window).is_none() {
                return Ok(false);
            }
            self.progress.done();
        }
        Ok(true)
    }

    fn needed(&self) -> usize {
        usize::MAX
    }

    fn take(&mut self) -> Result<ArrayRef> {
        Ok(match self.kind {
            RankKind::PercentRank | RankKind::CumeDist => {
                Arc::new(Float64Array::from(std::mem::take(&mut self.parts)))
            }
            _ => Arc::new(UInt64Array::from(std::mem::take(&mut self.whole))),
        })
    }

    fn state_bytes(&self) -> usize {
        0
    }
}
