//! What window functions have in common, and which there are.

use arrow::array::ArrayRef;
use datafusion::common::Result;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::window::{
    PlainAggregateWindowExpr, SlidingAggregateWindowExpr, StandardWindowExpr, WindowExpr,
};
use datafusion::physical_plan::windows::WindowUDFExpr;
use datafusion::scalar::ScalarValue;

use super::aggregate::Aggregate;
use super::pick::Pick;
use super::rank::{Rank, RankKind};
use super::rows::{Rows, Window};

/// A window function at work on rows that come one batch after another.
pub trait Function: Send {
    /// Works out the results of the rows before `to`, as far as they are known. `true` when all of them are.
    ///
    /// # Errors
    /// When rows cannot be read, and those of the function.
    fn fill(&mut self, rows: &mut Rows, to: usize) -> Result<bool>;

    /// The first row that may be looked at again, apart from those that have no result yet.
    fn needed(&self) -> usize;

    /// The results since the last call.
    ///
    /// # Errors
    /// When they are no array.
    fn take(&mut self) -> Result<ArrayRef>;

    /// Memory of what the function keeps.
    fn state_bytes(&self) -> usize;
}

/// How far a function is.
#[derive(Debug, Default)]
pub struct Progress {
    row: usize,
    window: Option<Window>,
    /// The window's first row has been begun.
    begun: bool,
}

impl Progress {
    /// The next row before `to`, which are here, and its window.
    pub fn next(&mut self, rows: &Rows, to: usize) -> Option<(usize, Window)> {
        if self.row >= to {
            return None;
        }
        let window = match self.window {
            Some(window) if window.end == Some(self.row) => {
                self.begun = false;
                rows.window_from(self.row)
            }
            Some(window) if window.end.is_some() => window,
            // The end may have come.
            Some(window) => {
                let window = rows.window_from(window.start);
                if window.end == Some(self.row) {
                    self.begun = false;
                    rows.window_from(self.row)
                } else {
                    window
                }
            }
            None => rows.window_from(self.row),
        };
        self.window = Some(window);
        Some((self.row, window))
    }

    /// Whether the window has to be begun; it then has been.
    pub fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.begun, true)
    }

    /// The row has its result.
    pub fn done(&mut self) {
        self.row += 1;
    }
}

/// The aggregate function of an expression; `None` for another one.
pub fn aggregate_of(expr: &dyn WindowExpr) -> Option<&AggregateFunctionExpr> {
    let any = expr.as_any();
    let plain = any.downcast_ref::<PlainAggregateWindowExpr>();
    let sliding = any.downcast_ref::<SlidingAggregateWindowExpr>();
    plain
        .map(PlainAggregateWindowExpr::get_aggregate_expr)
        .or_else(|| sliding.map(SlidingAggregateWindowExpr::get_aggregate_expr))
}

/// The function of an expression; `None` for one that is not known here.
///
/// # Errors
/// For arguments that the function does not take.
pub fn function(expr: &dyn WindowExpr) -> Result<Option<Box<dyn Function>>> {
    let (frame, order_by) = (expr.get_window_frame(), expr.order_by());
    let any = expr.as_any();
    if let Some(aggregate) = aggregate_of(expr) {
        return Ok(Some(Box::new(Aggregate::new(
            aggregate.clone(),
            frame,
            order_by,
        )?)));
    }
    let Some(standard) = any.downcast_ref::<StandardWindowExpr>() else {
        return Ok(None);
    };
    let Some(call) = standard
        .get_standard_func_expr()
        .as_any()
        .downcast_ref::<WindowUDFExpr>()
    else {
        return Ok(None);
    };
    // The function itself says what is wrong with its arguments.
    expr.create_window_fn()?;
    let rank = |kind| Ok(Some(Box::new(Rank::new(kind)) as Box<dyn Function>));
    let number = |index: usize| literal(call, index).and_then(|value| integer(&value));
    match call.fun().name() {
        "row_number" => rank(RankKind::RowNumber),
        "rank" => rank(RankKind::Rank),
        "dense_rank" => rank(RankKind::DenseRank),
        "percent_rank" => rank(RankKind::PercentRank),
        "cume_dist" => rank(RankKind::CumeDist),
        "ntile" => match literal(call, 0).and_then(|value| tiles(&value)) {
            Some(tiles) => rank(RankKind::Tile(tiles)),
            None => Ok(None),
        },
        "lag" => Ok(Some(Box::new(Pick::shifted(
            expr,
            -number(1).unwrap_or(1),
            literal(call, 2),
        )?))),
        "lead" => Ok(Some(Box::new(Pick::shifted(
            expr,
            number(1).unwrap_or(1),
            literal(call, 2),
        )?))),
        "first_value" => Ok(Some(Box::new(Pick::nth(expr, 1)?))),
        "last_value" => Ok(Some(Box::new(Pick::nth(expr, -1)?))),
        "nth_value" => match number(1) {
            Some(nth) => Ok(Some(Box::new(Pick::nth(expr, nth)?))),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

fn literal(call: &WindowUDFExpr, index: usize) -> Option<ScalarValue> {
    let literal = call.args().get(index)?.downcast_ref::<Literal>()?;
    Some(literal.value().clone())
}

/// A number of rows; none for NULL.
fn integer(value: &ScalarValue) -> Option<i64> {
    match value.cast_to(&arrow::datatypes::DataType::Int64) {
        Ok(ScalarValue::Int64(number)) => Some(number.unwrap_or(0)),
        _ => None,
    }
}

fn tiles(value: &ScalarValue) -> Option<u64> {
    match value.cast_to(&arrow::datatypes::DataType::UInt64) {
        Ok(ScalarValue::UInt64(tiles)) => tiles.filter(|tiles| *tiles > 0),
        _ => None,
    }
}
