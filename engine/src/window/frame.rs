//! Which rows a row's frame has. Frames only move forwards from one row of a window to the next, and so do the borders.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion::common::utils::{compare_rows, get_row_at_idx};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err, internal_err};
use datafusion::logical_expr::{WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::physical_expr::PhysicalSortExpr;

use super::rows::{Cursor, Rows, Window};

/// A frame clause at work on one window after another.
pub struct Frame {
    start: Border,
    end: Border,
    /// Row that the frame was last asked for.
    row: Option<usize>,
    /// Groups of rows with equal ORDER BY before that row's.
    group: i64,
}

/// Where a frame begins, or the row after its end.
enum Border {
    /// At that of the window.
    Unbounded,
    /// So many rows after the current one.
    Rows(i64),
    Groups(GroupBorder),
    Values(Box<ValueBorder>),
}

/// At the beginning of the group that is so many groups after the current row's.
struct GroupBorder {
    offset: i64,
    /// A group at or before the one that is looked for, where it begins, and up to where another was looked for.
    group: i64,
    at: usize,
    searched: usize,
}

/// Before the first row whose ORDER BY is not less than that of the current row plus or minus something; behind the
/// last one that is not greater, for an end.
struct ValueBorder {
    is_end: bool,
    following: bool,
    delta: ScalarValue,
    options: Vec<SortOptions>,
    current: Cursor,
    ahead: Cursor,
    at: usize,
    /// What rows are compared with, and the group that it is for; `None` where the sum exceeds the type.
    target: Option<(i64, Option<Vec<ScalarValue>>)>,
}

impl Frame {
    /// # Errors
    /// For a frame that the planner would not make.
    pub fn new(frame: &WindowFrame, order_by: &[PhysicalSortExpr]) -> Result<Self> {
        Ok(Frame {
            start: border(frame.units, &frame.start_bound, false, order_by)?,
            end: border(frame.units, &frame.end_bound, true, order_by)?,
            row: None,
            group: 0,
        })
    }

    /// Another window begins.
    pub fn begin(&mut self, window: Window) {
        self.row = None;
        self.group = 0;
        self.start.begin(window);
        self.end.begin(window);
    }

    /// Whether the current row is in its frame, wherever it is.
    pub fn has_current_row(&self) -> bool {
        let before = match &self.start {
            Border::Unbounded => true,
            Border::Rows(offset) => *offset <= 0,
            Border::Groups(border) => border.offset <= 0,
            Border::Values(border) => !border.following,
        };
        let behind = match &self.end {
            Border::Unbounded => true,
            Border::Rows(offset) => *offset >= 1,
            Border::Groups(border) => border.offset >= 1,
            Border::Values(border) => border.following,
        };
        before && behind
    }

    /// Whether the frame begins with its window.
    pub fn is_open_started(&self) -> bool {
        matches!(self.start, Border::Unbounded)
    }

    /// Whether the frame ends with its window.
    pub fn is_open_ended(&self) -> bool {
        matches!(self.end, Border::Unbounded)
    }

    /// The first row of a row's frame; `None` while it is not known. Rows are asked for in their order.
    ///
    /// # Errors
    /// When rows cannot be read or compared.
    pub fn start(&mut self, rows: &mut Rows, row: usize, window: Window) -> Result<Option<usize>> {
        let group = self.group_of(rows, row, window);
        self.start.position(rows, row, window, group)
    }

    /// The row after a row's frame, as [`Frame::start`]. In an empty frame it may be before the start.
    ///
    /// # Errors
    /// As [`Frame::start`].
    pub fn end(&mut self, rows: &mut Rows, row: usize, window: Window) -> Result<Option<usize>> {
        if self.is_open_ended() {
            return Ok(window.end);
        }
        let group = self.group_of(rows, row, window);
        self.end.position(rows, row, window, group)
    }

    /// The first row that may be looked at again to find starts.
    pub fn needed_for_start(&self) -> usize {
        self.start.needed()
    }

    /// The first row that may be looked at again to find ends.
    pub fn needed_for_end(&self) -> usize {
        self.end.needed()
    }

    fn group_of(&mut self, rows: &Rows, row: usize, window: Window) -> i64 {
        if self.row != Some(row) {
            if row != window.start && rows.begins_group(row) {
                self.group += 1;
            }
            self.row = Some(row);
        }
        self.group
    }
}

impl Border {
    fn begin(&mut self, window: Window) {
        match self {
            Border::Unbounded | Border::Rows(_) => {}
            Border::Groups(border) => {
                border.group = 0;
                border.at = window.start;
                border.searched = window.start;
            }
            Border::Values(border) => {
                border.at = window.start;
                border.target = None;
            }
        }
    }

    fn position(&mut self, rows: &mut Rows, row: usize, window: Window, group: i64) -> Result<Option<usize>> {
        match self {
            // Of a start: an open end is the window's own.
            Border::Unbounded => Ok(Some(window.start)),
            Border::Rows(offset) => Ok(at_offset(rows, row, *offset, window)),
            Border::Groups(border) => Ok(border.position(rows, window, group)),
            Border::Values(border) => border.position(rows, row, window, group),
        }
    }

    fn needed(&self) -> usize {
        match self {
            Border::Unbounded | Border::Rows(_) => usize::MAX,
            Border::Groups(border) => border.at,
            Border::Values(border) => border.at,
        }
    }
}

/// The row that is `offset` rows after another, held to the window.
fn at_offset(rows: &Rows, row: usize, offset: i64, window: Window) -> Option<usize> {
    let distance = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
    if offset < 0 {
        return Some(row.saturating_sub(distance).max(window.start));
    }
    let position = row.saturating_add(distance);
    match window.end {
        Some(end) => Some(position.min(end)),
        None => (position <= rows.end()).then_some(position),
    }
}

impl GroupBorder {
    fn position(&mut self, rows: &Rows, window: Window, current: i64) -> Option<usize> {
        let wanted = current.saturating_add(self.offset);
        let known = window.end.unwrap_or(rows.end());
        while self.group < wanted {
            if window.end == Some(self.at) {
                return window.end;
            }
            match rows.next_group(self.searched.max(self.at + 1), known) {
                Some(next) => self.at = next,
                None => {
                    self.searched = known;
                    self.at = window.end?;
                }
            }
            self.group += 1;
        }
        Some(self.at)
    }
}

impl ValueBorder {
    fn position(&mut self, rows: &mut Rows, row: usize, window: Window, group: i64) -> Result<Option<usize>> {
        if !matches!(&self.target, Some((of, _)) if *of == group) {
            let (values, range) = self.current.at(rows, row)?;
            let values = get_row_at_idx(values, row - range.start)?;
            self.target = Some((group, self.target_of(values)?));
        }
        let Some((_, Some(target))) = &self.target else {
            if self.following
                && let Some(end) = window.end
            {
                self.at = end;
            }
            return Ok((!self.following || window.end.is_some()).then_some(self.at));
        };
        let known = window.end.unwrap_or(rows.end());
        while self.at < known {
            let (values, range) = self.ahead.at(rows, self.at)?;
            let values = get_row_at_idx(values, self.at - range.start)?;
            let order = compare_rows(&values, target, &self.options)?;
            if order == Ordering::Greater || (order == Ordering::Equal && !self.is_end) {
                return Ok(Some(self.at));
            }
            // The rest of the group is equal.
            self.at = rows.next_group(self.at + 1, known).unwrap_or(known);
        }
        Ok(window.end)
    }

    /// What rows at the border are compared with; `None` beyond all values.
    fn target_of(&self, values: Vec<ScalarValue>) -> Result<Option<Vec<ScalarValue>>> {
        let descending = self.options.first().is_some_and(|options| options.descending);
        let mut target = Vec::with_capacity(values.len());
        for value in values {
            let moved = if value.is_null() {
                Ok(value)
            } else if self.following != descending {
                value.add_checked(&self.delta)
            } else if value.is_unsigned() && value < self.delta {
                value.sub(&value)
            } else {
                value.sub_checked(&self.delta)
            };
            match moved {
                Ok(moved) => target.push(moved),
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(target))
    }
}

fn border(
    units: WindowFrameUnits,
    bound: &WindowFrameBound,
    is_end: bool,
    order_by: &[PhysicalSortExpr],
) -> Result<Border> {
    // Rows and groups of an end are counted to the one behind it.
    let behind = i64::from(is_end);
    let (delta, following) = match bound {
        WindowFrameBound::CurrentRow => {
            return Ok(match units {
                WindowFrameUnits::Rows => Border::Rows(behind),
                WindowFrameUnits::Range | WindowFrameUnits::Groups => groups(behind),
            });
        }
        WindowFrameBound::Preceding(delta) => (delta, false),
        WindowFrameBound::Following(delta) => (delta, true),
    };
    if delta.is_null() {
        return if following == is_end {
            Ok(Border::Unbounded)
        } else {
            internal_err!("a frame begins where it should end")
        };
    }
    if units == WindowFrameUnits::Range {
        let exprs: Vec<_> = order_by.iter().map(|sort| Arc::clone(&sort.expr)).collect();
        return Ok(Border::Values(Box::new(ValueBorder {
            is_end,
            following,
            delta: delta.clone(),
            options: order_by.iter().map(|sort| sort.options).collect(),
            current: Cursor::new(exprs.clone()),
            ahead: Cursor::new(exprs),
            at: 0,
            target: None,
        })));
    }
    let ScalarValue::UInt64(Some(distance)) = delta else {
        return Err(internal_datafusion_err!("a frame of {delta} rows"));
    };
    let distance = i64::try_from(*distance).unwrap_or(i64::MAX - 1).min(i64::MAX - 1);
    let offset = if following { distance } else { -distance } + behind;
    Ok(match units {
        WindowFrameUnits::Rows => Border::Rows(offset),
        _ => groups(offset),
    })
}

fn groups(offset: i64) -> Border {
    Border::Groups(GroupBorder {
        offset,
        group: 0,
        at: 0,
        searched: 0,
    })
}
