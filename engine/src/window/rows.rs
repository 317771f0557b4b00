//! The rows that window functions still look at, by their number in the operator's input.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Weak};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::BooleanBuffer;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::spill::get_record_batch_memory_size;

use super::borders::Borders;
use super::compact::compact;
use super::spill::{Share, SpillPlace, Spiller};

/// A window: the rows of one partition of PARTITION BY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub start: usize,
    /// `None` while rows of it may yet come.
    pub end: Option<usize>,
}

/// Rows in the order in which they came. Chunks that do not fit into memory are in files, and come back while someone
/// looks at them.
pub struct Rows {
    chunks: VecDeque<Chunk>,
    /// First rows of the windows that have rows here.
    starts: VecDeque<usize>,
    end: usize,
    complete: bool,
    windows: Borders,
    peers: Borders,
    memory: Arc<MemoryReservation>,
    spiller: Spiller,
}

struct Chunk {
    start: usize,
    rows: usize,
    /// Rows that differ in PARTITION BY or ORDER BY from the one before.
    peers: BooleanBuffer,
    place: Place,
    /// Memory of what is known about the chunk.
    _share: Share,
}

enum Place {
    Memory(Arc<Loaded>),
    Disk {
        place: SpillPlace,
        /// Memory that the rows take when they are read.
        bytes: usize,
        /// Whoever looks at them shares them.
        loaded: Weak<Loaded>,
    },
}

/// Rows of a chunk in memory.
#[derive(Debug)]
pub struct Loaded {
    pub batch: RecordBatch,
    /// Number of the first.
    pub start: usize,
    _share: Share,
}

impl Loaded {
    /// Numbers of the rows.
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.batch.num_rows()
    }
}

impl Rows {
    /// Rows sorted by `partition_by` and then by `order_by`, in `memory` as far as it reaches.
    pub fn new(
        partition_by: Vec<Arc<dyn PhysicalExpr>>,
        order_by: Vec<Arc<dyn PhysicalExpr>>,
        memory: MemoryReservation,
        spiller: Spiller,
    ) -> Self {
        let peers = partition_by.iter().cloned().chain(order_by).collect();
        Rows {
            chunks: VecDeque::new(),
            starts: VecDeque::new(),
            end: 0,
            complete: false,
            windows: Borders::new(partition_by),
            peers: Borders::new(peers),
            memory: Arc::new(memory),
            spiller,
        }
    }

    /// Takes the next rows.
    ///
    /// # Errors
    /// When there is no room on disk for those before them.
    pub fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let windows = self.windows.of(&batch)?;
        let peers = self.peers.of(&batch)?;
        let (start, before) = (self.end, self.starts.len());
        self.starts.extend(windows.set_indices().map(|row| start + row));
        let known = rows.div_ceil(8) + (self.starts.len() - before) * size_of::<usize>() + size_of::<Chunk>();
        let batch = compact(batch)?;
        let share = self.room(known)?;
        let held = self.room(get_record_batch_memory_size(&batch))?;
        self.chunks.push_back(Chunk {
            start,
            rows,
            peers,
            place: Place::Memory(Arc::new(Loaded {
                batch,
                start,
                _share: held,
            })),
            _share: share,
        });
        self.end += rows;
        Ok(())
    }

    /// No more rows come.
    pub fn finish(&mut self) {
        self.complete = true;
    }

    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Number of the row after the last one.
    pub fn end(&self) -> usize {
        self.end
    }

    /// The window of a row that is here.
    pub fn window_from(&self, start: usize) -> Window {
        let next = self.starts.partition_point(|first| *first <= start);
        let open = self.complete.then_some(self.end);
        Window {
            start,
            end: self.starts.get(next).copied().or(open),
        }
    }

    fn position(&self, row: usize) -> Option<usize> {
        let position = self
            .chunks
            .partition_point(|chunk| chunk.start + chunk.rows <= row);
        let chunk = self.chunks.get(position)?;
        (chunk.start <= row).then_some(position)
    }

    /// Numbers of the rows that came with a row, while they are here.
    pub fn chunk_of(&self, row: usize) -> Option<Range<usize>> {
        let chunk = self.chunks.get(self.position(row)?)?;
        Some(chunk.start..chunk.start + chunk.rows)
    }

    /// The first row from `from` on and before `to` that differs from the one before it in PARTITION BY or ORDER BY.
    pub fn next_group(&self, from: usize, to: usize) -> Option<usize> {
        let mut position = self.position(from)?;
        let mut from = from;
        while from < to {
            let chunk = self.chunks.get(position)?;
            let offset = from - chunk.start;
            let looked_at = chunk.peers.slice(offset, chunk.rows - offset);
            if let Some(found) = looked_at.set_indices().next() {
                return Some(from + found).filter(|row| *row < to);
            }
            from = chunk.start + chunk.rows;
            position += 1;
        }
        None
    }

    /// Whether a row differs from the one before it in PARTITION BY or ORDER BY.
    pub fn begins_group(&self, row: usize) -> bool {
        self.position(row)
            .and_then(|position| self.chunks.get(position))
            .is_some_and(|chunk| chunk.peers.value(row - chunk.start))
    }

    /// The rows that came with a row.
    ///
    /// # Errors
    /// When they are on disk and cannot be read.
    pub fn load(&mut self, row: usize) -> Result<Arc<Loaded>> {
        let position = self
            .position(row)
            .ok_or_else(|| internal_datafusion_err!("row {row} of a window was let go"))?;
        let (place, bytes) = match self.chunks.get(position).map(|chunk| &chunk.place) {
            Some(Place::Memory(loaded)) => return Ok(Arc::clone(loaded)),
            Some(Place::Disk { place, bytes, loaded }) => match loaded.upgrade() {
                Some(loaded) => return Ok(loaded),
                None => (place.clone(), *bytes),
            },
            None => return Err(internal_datafusion_err!("row {row} of a window was let go")),
        };
        let share = self.room(bytes)?;
        let batch = place.read()?;
        let chunk = self.chunks.get_mut(position);
        let chunk = chunk.ok_or_else(|| internal_datafusion_err!("row {row} of a window was let go"))?;
        let read = Arc::new(Loaded {
            batch,
            start: chunk.start,
            _share: share,
        });
        chunk.place = Place::Disk {
            place,
            bytes,
            loaded: Arc::downgrade(&read),
        };
        Ok(read)
    }

    /// Lets go of chunks whose rows are all before `below`.
    pub fn release(&mut self, below: usize) {
        while let Some(chunk) = self.chunks.front()
            && chunk.start + chunk.rows <= below
        {
            self.chunks.pop_front();
        }
        while let Some(second) = self.starts.get(1)
            && *second <= below
        {
            self.starts.pop_front();
        }
    }

    /// Memory for so many bytes; rows that are in memory make room for it. One batch is there in any case: it has been read,
    /// and what is worked on must be in memory.
    fn room(&mut self, bytes: usize) -> Result<Share> {
        if let Ok(share) = Share::take(&self.memory, bytes) {
            return Ok(share);
        }
        self.spill()?;
        Ok(Share::take(&self.memory, bytes).unwrap_or_else(|_| Share::overdraw(&self.memory, bytes)))
    }

    fn spill(&mut self) -> Result<()> {
        for chunk in &mut self.chunks {
            if let Place::Memory(loaded) = &chunk.place {
                let place = self.spiller.write(&loaded.batch)?;
                chunk.place = Place::Disk {
                    place,
                    bytes: get_record_batch_memory_size(&loaded.batch),
                    loaded: Arc::downgrade(loaded),
                };
            }
        }
        Ok(())
    }
}

/// Looks at values of one row after another.
pub struct Cursor {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    at: Option<(Arc<Loaded>, Vec<ArrayRef>)>,
}

impl Cursor {
    pub fn new(exprs: Vec<Arc<dyn PhysicalExpr>>) -> Self {
        Cursor { exprs, at: None }
    }

    /// The values of the rows that came with `row`, and these rows' numbers.
    ///
    /// # Errors
    /// When the rows cannot be read, or those of the expressions.
    pub fn at(&mut self, rows: &mut Rows, row: usize) -> Result<(&[ArrayRef], Range<usize>)> {
        let current = match self.at.take() {
            Some(current) if current.0.range().contains(&row) => current,
            // What was looked at goes before more is read.
            other => {
                drop(other);
                let loaded = rows.load(row)?;
                let count = loaded.batch.num_rows();
                let values = self
                    .exprs
                    .iter()
                    .map(|expr| expr.evaluate(&loaded.batch)?.into_array(count))
                    .collect::<Result<_>>()?;
                (loaded, values)
            }
        };
        let (loaded, values) = self.at.insert(current);
        Ok((values.as_slice(), loaded.range()))
    }

    /// Whether a row can be looked at without being read.
    pub fn has(&self, row: usize) -> bool {
        matches!(&self.at, Some((loaded, _)) if loaded.range().contains(&row))
    }

    /// The first row that is still to be read, where `row` or later ones are looked at next.
    pub fn needed(&self, row: usize) -> usize {
        match &self.at {
            Some((loaded, _)) if loaded.range().contains(&row) => loaded.range().end,
            _ => row,
        }
    }
}
