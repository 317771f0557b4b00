//! What sketches tell, and sketches made of others.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array, StringViewArray};
use datafusion::common::{Result, exec_err};
use datasketches::common::SearchCriteria;
use datasketches::hll::{HllSketch, HllType, HllUnion};
use datasketches::kll::KllFloat;
use datasketches::theta::{CompactThetaSketch, ThetaANotB, ThetaIntersection, ThetaUnionBuilder};

use super::sketch::{Quantiles, refused};
use crate::function::{Call, Definition, Gives};
use crate::operand::Operand::{Any, Condition, Double};

/// Seed of all sketches whose seed is not said.
const SEED: u64 = 9001;

pub(super) const FUNCTIONS: [Definition; 11] = [
    Definition::new("hll_sketch_estimate", &[Any], Gives::Double, |call| {
        let rounds = call.has(1) && call.array(1)?.as_boolean().iter().next().flatten() == Some(true);
        doubles(call, |bytes| {
            let estimate = HllSketch::deserialize(bytes).map_err(refused)?.estimate();
            Ok(Some(if rounds { estimate.round() } else { estimate }))
        })
    })
    .or(&[Condition]),
    Definition::new("hll_sketch_union", &[Any, Any], SKETCH, hll_union).and_more(Any),
    Definition::new("theta_sketch_estimate", &[Any], Gives::Double, |call| {
        doubles(call, |bytes| {
            Ok(Some(
                CompactThetaSketch::deserialize(bytes)
                    .map_err(refused)?
                    .estimate(),
            ))
        })
    }),
    Definition::new("theta_sketch_union", &[Any, Any], SKETCH, |call| {
        thetas(call, |sketches| {
            let mut union = ThetaUnionBuilder::default().lg_k(14).build().map_err(refused)?;
            for sketch in &sketches {
                union.update(sketch).map_err(refused)?;
            }
            Ok(union.to_sketch(true))
        })
    })
    .and_more(Any),
    Definition::new("theta_sketch_intersect", &[Any, Any], SKETCH, |call| {
        thetas(call, |sketches| {
            let mut intersection = ThetaIntersection::with_seed(SEED).map_err(refused)?;
            for sketch in &sketches {
                intersection.update(sketch).map_err(refused)?;
            }
            match intersection.to_sketch(true) {
                Some(sketch) => Ok(sketch),
                None => exec_err!("nothing to intersect"),
            }
        })
    })
    .and_more(Any),
    Definition::new("theta_sketch_not", &[Any, Any], SKETCH, |call| {
        thetas(call, |sketches| {
            let operator = ThetaANotB::with_seed(SEED).map_err(refused)?;
            let mut sketches = sketches.into_iter();
            let Some(mut rest) = sketches.next() else {
                return exec_err!("THETA_SKETCH_NOT needs sketches");
            };
            for other in sketches {
                rest = operator.compute(&rest, &other, true).map_err(refused)?;
            }
            Ok(rest)
        })
    })
    .and_more(Any),
    Definition::new("ds_get_quantile", &[Any, Double], Gives::Double, |call| {
        let fraction = first(call, 1)?;
        doubles(call, |bytes| quantile(bytes, fraction))
    }),
    Definition::new("ds_get_quantiles", &[Any, Double], Gives::Text, |call| {
        lists(call, |sketch, fractions| {
            fractions
                .iter()
                .map(|fraction| {
                    let found = sketch
                        .quantile(**fraction, SearchCriteria::Inclusive)
                        .map_err(refused)?;
                    Ok(found.map_or(f64::NAN, KllFloat::into_inner))
                })
                .collect()
        })
    })
    .and_more(Double),
    Definition::new("ds_rank", &[Any, Double], Gives::Double, |call| {
        let value = KllFloat::<f64>::new(first(call, 1)?).map_err(refused)?;
        doubles(call, |bytes| {
            let sketch = Quantiles::deserialize(bytes).map_err(refused)?;
            Ok(sketch.rank(&value, SearchCriteria::Exclusive))
        })
    }),
    Definition::new("ds_cdf", &[Any, Double], Gives::Text, |call| {
        lists(call, |sketch, points| {
            Ok(sketch
                .cdf(points, SearchCriteria::Exclusive)
                .map_err(refused)?
                .unwrap_or_default())
        })
    })
    .and_more(Double),
    Definition::new("ds_histogram", &[Any, Double], Gives::Text, |call| {
        lists(call, |sketch, points| {
            let parts = sketch.pmf(points, SearchCriteria::Exclusive).map_err(refused)?;
            Ok(parts
                .unwrap_or_default()
                .iter()
                .map(|part| part * sketch.n() as f64)
                .collect())
        })
    })
    .and_more(Double),
];

const SKETCH: Gives = Gives::Of(|_| Ok(arrow::datatypes::DataType::Binary));

fn sketches(call: &Call<'_>, position: usize) -> Result<BinaryArray> {
    let array = call.array(position)?;
    match array.as_binary_opt::<i32>() {
        Some(sketches) => Ok(sketches.clone()),
        None if array.data_type().is_binary() => {
            Ok(arrow::compute::cast(&array, &arrow::datatypes::DataType::Binary)?
                .as_binary()
                .clone())
        }
        None => exec_err!(
            "argument {} of {} is no sketch",
            position + 1,
            call.name.to_uppercase()
        ),
    }
}

fn first(call: &Call<'_>, position: usize) -> Result<f64> {
    match call.doubles(position)?.iter().next().flatten() {
        Some(number) => Ok(number),
        None => exec_err!(
            "argument {} of {} is NULL",
            position + 1,
            call.name.to_uppercase()
        ),
    }
}

fn doubles(call: &Call<'_>, of: impl Fn(&[u8]) -> Result<Option<f64>>) -> Result<ArrayRef> {
    let found = sketches(call, 0)?;
    let found = found.iter().map(|bytes| bytes.map_or(Ok(None), &of));
    Ok(Arc::new(found.collect::<Result<Float64Array>>()?))
}

fn quantile(bytes: &[u8], fraction: f64) -> Result<Option<f64>> {
    let sketch = Quantiles::deserialize(bytes).map_err(refused)?;
    let found = sketch
        .quantile(fraction, SearchCriteria::Inclusive)
        .map_err(refused)?;
    Ok(Some(found.map_or(f64::NAN, KllFloat::into_inner)))
}

/// A text of several numbers for each sketch.
fn lists(call: &Call<'_>, of: impl Fn(&Quantiles, &[KllFloat<f64>]) -> Result<Vec<f64>>) -> Result<ArrayRef> {
    let points: Vec<KllFloat<f64>> = (1..call.arguments.len())
        .map(|position| KllFloat::<f64>::new(first(call, position)?).map_err(refused))
        .collect::<Result<_>>()?;
    let found = sketches(call, 0)?;
    let texts = found.iter().map(|bytes| {
        let Some(bytes) = bytes else { return Ok(None) };
        let sketch = Quantiles::deserialize(bytes).map_err(refused)?;
        let numbers: Vec<String> = of(&sketch, &points)?
            .into_iter()
            .map(crate::number::print::double_text)
            .collect();
        Ok(Some(format!("[{}]", numbers.join(","))))
    });
    Ok(Arc::new(texts.collect::<Result<StringViewArray>>()?))
}

/// The sketches of a row; numbers among the arguments are sizes, which a union does not need.
fn rows(call: &Call<'_>) -> Result<Vec<BinaryArray>> {
    let mut columns = Vec::new();
    for position in 0..call.arguments.len() {
        let is_sketch = call.array(position)?.data_type().is_binary();
        if is_sketch {
            columns.push(sketches(call, position)?);
        }
    }
    Ok(columns)
}

fn at(column: &BinaryArray, row: usize) -> Option<&[u8]> {
    column.is_valid(row).then(|| column.value(row))
}

fn thetas(
    call: &Call<'_>,
    of: impl Fn(Vec<CompactThetaSketch>) -> Result<CompactThetaSketch>,
) -> Result<ArrayRef> {
    let columns = rows(call)?;
    let made = (0..call.rows).map(|row| {
        let found = columns.iter().filter_map(|column| at(column, row));
        let found = found.map(|bytes| CompactThetaSketch::deserialize(bytes).map_err(refused));
        Ok(Some(of(found.collect::<Result<_>>()?)?.serialize()))
    });
    Ok(Arc::new(made.collect::<Result<BinaryArray>>()?))
}

fn hll_union(call: &Call<'_>) -> Result<ArrayRef> {
    let columns = rows(call)?;
    let made = (0..call.rows).map(|row| {
        let mut union = HllUnion::new(12).map_err(refused)?;
        for bytes in columns.iter().filter_map(|column| at(column, row)) {
            union.update(&HllSketch::deserialize(bytes).map_err(refused)?);
        }
        Ok(Some(union.to_sketch(HllType::Hll4).serialize()))
    });
    Ok(Arc::new(made.collect::<Result<BinaryArray>>()?))
}
