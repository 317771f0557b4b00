//! Functions that give a value of another row: the n-th of the frame, or the one so many rows away.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::compute::{concat, interleave};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};
use datafusion::physical_expr::window::WindowExpr;

use super::frame::Frame;
use super::function::{Function, Progress};
use super::rows::{Cursor, Rows, Window};

/// Chunks that results are taken from before they are copied together, and the chunks can go.
const MOST_SOURCES: usize = 4;

/// FIRST_VALUE, LAST_VALUE, NTH_VALUE, LAG and LEAD.
pub struct Pick {
    which: Which,
    cursor: Cursor,
    /// Where the last result came from.
    at: usize,
    /// Whether that was in the current window; otherwise a result may come from any row behind.
    found: bool,
    results: Picked,
    progress: Progress,
}

enum Which {
    /// Of the frame, from its start or, negative, from its end; 0 is none.
    Nth { nth: i64, frame: Frame },
    /// Rows after the current one.
    Shift(i64),
}

/// Results as references into arrays.
struct Picked {
    /// The value where there is no row comes first.
    sources: Vec<ArrayRef>,
    /// First row of the last source.
    source: Option<usize>,
    rows: Vec<(usize, usize)>,
    /// Results that were copied together.
    done: Vec<ArrayRef>,
    data_type: DataType,
}

impl Pick {
    /// The `nth` value of an expression's frame.
    ///
    /// # Errors
    /// For a frame that the planner would not make.
    pub fn nth(expr: &dyn WindowExpr, nth: i64) -> Result<Self> {
        let frame = Frame::new(expr.get_window_frame(), expr.order_by())?;
        Pick::new(expr, Which::Nth { nth, frame }, None)
    }

    /// The value `rows` after the current one, or `otherwise` outside of the window.
    ///
    /// # Errors
    /// When `otherwise` is of a type that the value is not.
    pub fn shifted(expr: &dyn WindowExpr, rows: i64, otherwise: Option<ScalarValue>) -> Result<Self> {
        Pick::new(expr, Which::Shift(rows), otherwise)
    }

    fn new(expr: &dyn WindowExpr, which: Which, otherwise: Option<ScalarValue>) -> Result<Self> {
        let value = expr.expressions().into_iter().next();
        let value = value.ok_or_else(|| internal_datafusion_err!("{} of nothing", expr.name()))?;
        let data_type = expr.field()?.data_type().clone();
        let otherwise = match otherwise {
            Some(value) if !value.is_null() => value.cast_to(&data_type)?,
            _ => ScalarValue::try_from(&data_type)?,
        };
        Ok(Pick {
            which,
            cursor: Cursor::new(vec![value]),
            at: 0,
            found: false,
            results: Picked {
                sources: vec![otherwise.to_array()?],
                source: None,
                rows: Vec::new(),
                done: Vec::new(),
                data_type,
            },
            progress: Progress::default(),
        })
    }

    /// The row whose value a row has, `Some(None)` for none, `None` while it is not known.
    fn source(&mut self, rows: &mut Rows, row: usize, window: Window) -> Result<Option<Option<usize>>> {
        match &mut self.which {
            Which::Shift(distance) => Ok(shifted(rows, row, *distance, window)),
            Which::Nth { nth, frame } => nth_of(frame, *nth, rows, row, window),
        }
    }
}

fn shifted(rows: &Rows, row: usize, distance: i64, window: Window) -> Option<Option<usize>> {
    let steps = usize::try_from(distance.unsigned_abs()).unwrap_or(usize::MAX);
    if distance < 0 {
        return Some(row.checked_sub(steps).filter(|source| *source >= window.start));
    }
    let source = row.saturating_add(steps);
    match window.end {
        Some(end) => Some((source < end).then_some(source)),
        None => (source < rows.end()).then_some(Some(source)),
    }
}

fn nth_of(
    frame: &mut Frame,
    nth: i64,
    rows: &mut Rows,
    row: usize,
    window: Window,
) -> Result<Option<Option<usize>>> {
    let distance = usize::try_from(nth.unsigned_abs()).unwrap_or(usize::MAX);
    // A frame that has its row has a first and a last one, wherever its other end is.
    let certain = distance == 1 && frame.has_current_row();
    if nth > 0 {
        let Some(start) = frame.start(rows, row, window)? else {
            return Ok(None);
        };
        if certain {
            return Ok(Some(Some(start)));
        }
        let Some(end) = frame.end(rows, row, window)? else {
            return Ok(None);
        };
        let source = start.saturating_add(distance - 1);
        return Ok(Some((source < end).then_some(source)));
    }
    let Some(end) = frame.end(rows, row, window)? else {
        return Ok(None);
    };
    if certain {
        return Ok(Some(Some(end - 1)));
    }
    let Some(start) = frame.start(rows, row, window)? else {
        return Ok(None);
    };
    let source = end.checked_sub(distance);
    Ok(Some(source.filter(|source| distance > 0 && *source >= start)))
}

impl Picked {
    fn nothing(&mut self) {
        self.rows.push((0, 0));
    }

    fn value(&mut self, values: &ArrayRef, first: usize, row: usize) -> Result<()> {
        if self.source != Some(first) {
            if self.sources.len() > MOST_SOURCES {
                self.copy()?;
            }
            self.sources.push(Arc::clone(values));
            self.source = Some(first);
        }
        self.rows.push((self.sources.len() - 1, row - first));
        Ok(())
    }

    /// What there is so far, in an array of its own.
    fn copy(&mut self) -> Result<()> {
        let sources: Vec<_> = self.sources.iter().map(AsRef::as_ref).collect();
        if !self.rows.is_empty() {
            self.done.push(interleave(&sources, &self.rows)?);
        }
        self.rows.clear();
        self.sources.truncate(1);
        self.source = None;
        Ok(())
    }

    fn take(&mut self) -> Result<ArrayRef> {
        self.copy()?;
        let done = std::mem::take(&mut self.done);
        match done.as_slice() {
            [] => Ok(new_empty_array(&self.data_type)),
            [only] => Ok(Arc::clone(only)),
            several => {
                let several: Vec<_> = several.iter().map(AsRef::as_ref).collect();
                Ok(concat(&several)?)
            }
        }
    }
}

impl Function for Pick {
    fn fill(&mut self, rows: &mut Rows, to: usize) -> Result<bool> {
        while let Some((row, window)) = self.progress.next(rows, to) {
            if row == window.start && self.progress.begins() {
                self.at = row;
                self.found = false;
                if let Which::Nth { frame, .. } = &mut self.which {
                    frame.begin(window);
                }
            }
            let Some(source) = self.source(rows, row, window)? else {
                return Ok(false);
            };
            match source {
                None => self.results.nothing(),
                Some(source) => {
                    self.at = source;
                    self.found = true;
                    let (values, chunk) = self.cursor.at(rows, source)?;
                    let values = values
                        .first()
                        .ok_or_else(|| internal_datafusion_err!("a cursor without values"))?;
                    self.results.value(values, chunk.start, source)?;
                }
            }
            self.progress.done();
        }
        Ok(true)
    }

    fn needed(&self) -> usize {
        match &self.which {
            // Later rows have later sources.
            Which::Shift(distance) if *distance >= 0 => usize::MAX,
            Which::Shift(_) => self.cursor.needed(self.at),
            Which::Nth { nth, frame } => {
                let certain = frame.has_current_row();
                let start = frame.needed_for_start();
                let end = frame.needed_for_end();
                let is_fixed = *nth > 0 && frame.is_open_started() && self.found;
                let source = if is_fixed && self.cursor.has(self.at) {
                    // The same row for the whole window.
                    usize::MAX
                } else {
                    self.cursor.needed(self.at)
                };
                source.min(match nth {
                    1 if certain => start,
                    -1 if certain => end,
                    _ => start.min(end),
                })
            }
        }
    }

    fn take(&mut self) -> Result<ArrayRef> {
        self.results.take()
    }

    fn state_bytes(&self) -> usize {
        0
    }
}
