//! Arrays made of others.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_empty_array, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::DataType;
use datafusion::common::Result;

use super::{list_array, lists, span};
use crate::cast::to_type;
use crate::function::Call;

/// Gathers elements of several arrays into lists.
struct Gather {
    sources: Vec<ArrayRef>,
    picks: Vec<(usize, usize)>,
    lengths: Vec<usize>,
    valid: Vec<bool>,
}

impl Gather {
    fn new(sources: Vec<ArrayRef>) -> Self {
        Gather {
            sources,
            picks: Vec::new(),
            lengths: Vec::new(),
            valid: Vec::new(),
        }
    }

    /// Ends a row with what was picked for it; `None` makes it NULL.
    fn row(&mut self, picks: Option<Vec<(usize, usize)>>) {
        self.valid.push(picks.is_some());
        let picks = picks.unwrap_or_default();
        self.lengths.push(picks.len());
        self.picks.extend(picks);
    }

    fn finish(self, element: &DataType) -> Result<ArrayRef> {
        let values = if self.picks.is_empty() {
            new_empty_array(element)
        } else {
            let sources: Vec<&dyn Array> = self.sources.iter().map(AsRef::as_ref).collect();
            interleave(&sources, &self.picks)?
        };
        Ok(list_array(values, &self.lengths, self.valid))
    }
}

#[derive(Clone, Copy)]
enum End {
    Front,
    Back,
}

/// `(array, element)`.
pub(crate) fn append(call: &Call<'_>) -> Result<ArrayRef> {
    add(call, 0, End::Back)
}

/// `(element, array)`.
pub(crate) fn prepend(call: &Call<'_>) -> Result<ArrayRef> {
    add(call, 1, End::Front)
}

fn add(call: &Call<'_>, array: usize, end: End) -> Result<ArrayRef> {
    let lists = lists(call, array)?;
    let values = Arc::clone(lists.values());
    let element = values.data_type().clone();
    let added = to_type(&call.array(1 - array)?, &element)?;
    let mut gather = Gather::new(vec![values, added]);
    for row in 0..lists.len() {
        gather.row(span(&lists, row).map(|elements| {
            let old = elements.map(|position| (0, position));
            let new = std::iter::once((1, row));
            match end {
                End::Front => new.chain(old).collect(),
                End::Back => old.chain(new).collect(),
            }
        }));
    }
    gather.finish(&element)
}

/// `(array, array)`: NULL when either is.
pub(crate) fn concat(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (lists(call, 0)?, lists(call, 1)?);
    let element = left.values().data_type().clone();
    let mut gather = Gather::new(vec![
        Arc::clone(left.values()),
        to_type(right.values(), &element)?,
    ]);
    for row in 0..left.len() {
        let both = span(&left, row).zip(span(&right, row));
        gather.row(both.map(|(left, right)| {
            let left = left.map(|position| (0, position));
            left.chain(right.map(|position| (1, position))).collect()
        }));
    }
    gather.finish(&element)
}

/// `(array, start [, end])`: NULL for a start outside of the array or after the end; beyond the array there is NULL.
pub(crate) fn slice(call: &Call<'_>) -> Result<ArrayRef> {
    let (lists, starts) = (lists(call, 0)?, call.longs(1)?);
    let ends = if call.has(2) { Some(call.longs(2)?) } else { None };
    let element = lists.values().data_type().clone();
    let values = Arc::clone(lists.values());
    let mut gather = Gather::new(vec![values, new_null_array(&element, 1)]);
    for row in 0..lists.len() {
        let part = || {
            let elements = span(&lists, row)?;
            let start = usize::try_from(if starts.is_valid(row) {
                starts.value(row)
            } else {
                0
            })
            .ok()?;
            let end = match &ends {
                None => elements.len(),
                Some(ends) => usize::try_from(if ends.is_valid(row) { ends.value(row) } else { 0 }).ok()?,
            };
            if start > elements.len() || start > end {
                return None;
            }
            let pick = |index: usize| match index < elements.len() {
                true => (0, elements.start + index),
                false => (1, 0),
            };
            Some((start..end).map(pick).collect())
        };
        gather.row(part());
    }
    gather.finish(&element)
}

/// Lists without the elements that `keeps` says no to, by position among all; `keeps` sees NULL too.
pub(crate) fn filtered(
    lists: &arrow::array::ListArray,
    keeps: impl Fn(usize, usize) -> bool,
) -> Result<ArrayRef> {
    let element = lists.values().data_type().clone();
    let mut gather = Gather::new(vec![Arc::clone(lists.values())]);
    for row in 0..lists.len() {
        gather.row(span(lists, row).map(|elements| {
            elements
                .filter(|position| keeps(row, *position))
                .map(|position| (0, position))
                .collect()
        }));
    }
    gather.finish(&element)
}
