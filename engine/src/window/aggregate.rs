//! Aggregates over frames.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, WindowFrame};
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::frame::Frame;
use super::function::{Function, Progress};
use super::results::Results;
use super::rows::{Cursor, Rows, Window};

/// An aggregate whose accumulator follows the frame.
pub struct Aggregate {
    function: Arc<AggregateFunctionExpr>,
    follow: Follow,
    frame: Frame,
    accumulator: Box<dyn Accumulator>,
    /// Rows that the accumulator has.
    held: Range<usize>,
    entering: Cursor,
    leaving: Cursor,
    /// Frame of the last row, where its result may be repeated.
    last: Option<Range<usize>>,
    progress: Progress,
    results: Results,
}

/// How an accumulator follows a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follow {
    /// Rows never leave the frame.
    Growing,
    /// Rows that leave are taken back.
    Sliding,
    /// Nothing can be taken back: once rows leave, the frame is looked at anew.
    Anew,
}

impl Aggregate {
    /// # Errors
    /// When the function has no accumulator for its arguments, or the frame is none.
    pub fn new(
        function: AggregateFunctionExpr,
        frame: &WindowFrame,
        order_by: &[PhysicalSortExpr],
    ) -> Result<Self> {
        let follow = if frame.start_bound.is_unbounded() {
            Follow::Growing
        } else if function.create_sliding_accumulator().is_ok() {
            Follow::Sliding
        } else {
            Follow::Anew
        };
        let args = function.expressions();
        Ok(Aggregate {
            accumulator: accumulator(&function, follow)?,
            results: Results::new(function.field().data_type().clone()),
            function: Arc::new(function),
            follow,
            frame: Frame::new(frame, order_by)?,
            held: 0..0,
            entering: Cursor::new(args.clone()),
            leaving: Cursor::new(args),
            last: None,
            progress: Progress::default(),
        })
    }

    fn begin(&mut self, window: Window) -> Result<()> {
        self.frame.begin(window);
        self.held = window.start..window.start;
        self.last = None;
        self.accumulator = accumulator(&self.function, self.follow)?;
        Ok(())
    }

    /// The result of a row; `false` while its frame is not known.
    fn row(&mut self, rows: &mut Rows, row: usize, window: Window) -> Result<bool> {
        let Some(start) = self.frame.start(rows, row, window)? else {
            return Ok(false);
        };
        let Some(end) = self.frame.end(rows, row, window)? else {
            self.come_along(rows)?;
            return Ok(false);
        };
        let frame = start..end;
        if self.last.as_ref() == Some(&frame) && !self.results.is_empty() {
            self.results.repeat()?;
            return Ok(true);
        }
        let value = self.value(rows, &frame)?;
        self.results.push(value)?;
        self.last = Some(frame);
        Ok(true)
    }

    /// Takes in rows that an end of the frame which is far away will have, while they are in memory.
    fn come_along(&mut self, rows: &mut Rows) -> Result<()> {
        if self.follow == Follow::Anew || !self.frame.is_open_ended() {
            return Ok(());
        }
        let end = rows.end();
        self.take_in(rows, end)
    }

    fn value(&mut self, rows: &mut Rows, frame: &Range<usize>) -> Result<ScalarValue> {
        if self.follow == Follow::Anew && frame.start != self.held.start {
            self.accumulator = accumulator(&self.function, self.follow)?;
            self.held = frame.start..frame.start;
        }
        if frame.start >= frame.end {
            if self.follow == Follow::Sliding {
                // What was in the frame has left it, and what comes next is behind it.
                self.take_back(rows, self.held.end)?;
                self.held = frame.end.max(self.held.end)..frame.end.max(self.held.end);
            }
            return self.function.default_value(self.function.field().data_type());
        }
        self.take_in(rows, frame.end)?;
        if self.follow == Follow::Sliding {
            self.take_back(rows, frame.start)?;
        }
        self.accumulator.evaluate()
    }

    fn take_in(&mut self, rows: &mut Rows, end: usize) -> Result<()> {
        while self.held.end < end {
            let (values, chunk) = self.entering.at(rows, self.held.end)?;
            let until = end.min(chunk.end);
            let entering = slices(values, self.held.end - chunk.start..until - chunk.start);
            self.accumulator.update_batch(&entering)?;
            self.held.end = until;
        }
        Ok(())
    }

    fn take_back(&mut self, rows: &mut Rows, start: usize) -> Result<()> {
        while self.held.start < start {
            let (values, chunk) = self.leaving.at(rows, self.held.start)?;
            let until = start.min(chunk.end);
            let leaving = slices(values, self.held.start - chunk.start..until - chunk.start);
            self.accumulator.retract_batch(&leaving)?;
            self.held.start = until;
        }
        Ok(())
    }
}

impl Function for Aggregate {
    fn fill(&mut self, rows: &mut Rows, to: usize) -> Result<bool> {
        while let Some((row, window)) = self.progress.next(rows, to) {
            if row == window.start && self.progress.begins() {
                self.begin(window)?;
            }
            if !self.row(rows, row, window)? {
                return Ok(false);
            }
            self.progress.done();
        }
        Ok(true)
    }

    fn needed(&self) -> usize {
        let held = match self.follow {
            Follow::Growing => self.held.end,
            Follow::Sliding | Follow::Anew => self.held.start,
        };
        held.min(self.frame.needed_for_start())
            .min(self.frame.needed_for_end())
    }

    fn take(&mut self) -> Result<ArrayRef> {
        self.results.take()
    }

    fn state_bytes(&self) -> usize {
        self.accumulator.size()
    }
}

fn accumulator(function: &AggregateFunctionExpr, follow: Follow) -> Result<Box<dyn Accumulator>> {
    match follow {
        Follow::Sliding => function.create_sliding_accumulator(),
        Follow::Growing | Follow::Anew => function.create_accumulator(),
    }
}

fn slices(values: &[ArrayRef], range: Range<usize>) -> Vec<ArrayRef> {
    values
        .iter()
        .map(|values| values.slice(range.start, range.len()))
        .collect()
}
