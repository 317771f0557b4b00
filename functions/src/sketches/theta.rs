//! Theta sketches: DS_THETA, their counts, and set operations over them.
//!
//! Source: Druid, development/extensions-core/datasketches-theta.md.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, LargeStringArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::scalar::ScalarValue;
use datasketches::common::NumStdDev;
use datasketches::theta::{
    CompactThetaSketch, ThetaANotB, ThetaIntersection, ThetaSketch, ThetaSketchBuilder, ThetaUnion,
    ThetaUnionBuilder,
};

use super::aggregate::{Definition as Aggregate, Gives as Made, Settings, State};
use super::feed::{Encoding, Raw, feed};
use super::read::{all_sketches, combined, doubles, is_number, number, sketch, sketches};
use super::refused;
use crate::function::{Call, Definition, Gives};
use crate::number::print::double_text;
use crate::operand::Operand::{Any, Long};

/// Seed of all sketches whose seed is not said.
const SEED: u64 = 9001;

/// Entries are two to this power: Druid's default of 16,384.
const LG_K: u8 = 14;

pub(super) const AGGREGATES: [Aggregate; 2] = [
    Aggregate::of_any("ds_theta", 2, Made::Complex("thetaSketch"), |settings| {
        Ok(Box::new(Theta::new(settings, Makes::Sketch)?))
    }),
    Aggregate::of_any("approx_count_distinct_ds_theta", 2, Made::Long, |settings| {
        Ok(Box::new(Theta::new(settings, Makes::Count)?))
    }),
];

pub(super) const FUNCTIONS: [Definition; 5] = [
    Definition::new("theta_sketch_estimate", &[Any], Gives::Double, |call| {
        doubles(call, |bytes| {
            Ok(read(bytes)?.map_or(0.0, |sketch| sketch.estimate()))
        })
    }),
    Definition::new(
        "theta_sketch_estimate_with_error_bounds",
        &[Any, Long],
        Gives::Json,
        with_bounds,
    ),
    Definition::new("theta_sketch_union", &[Any, Any], sketch("thetaSketch"), |call| {
        set_operation(call, |lg_k, found| {
            let mut union = union_of(lg_k)?;
            for sketch in &found {
                union.update(sketch).map_err(refused)?;
            }
            trimmed(union.to_sketch(true), lg_k)
        })
    })
    .and_more(Any),
    Definition::new(
        "theta_sketch_intersect",
        &[Any, Any],
        sketch("thetaSketch"),
        |call| {
            set_operation(call, |_, found| {
                let mut intersection = ThetaIntersection::with_seed(SEED).map_err(refused)?;
                for sketch in &found {
                    intersection.update(sketch).map_err(refused)?;
                }
                match intersection.to_sketch(true) {
                    Some(sketch) => Ok(sketch),
                    None => exec_err!("nothing to intersect"),
                }
            })
        },
    )
    .and_more(Any),
    Definition::new("theta_sketch_not", &[Any, Any], sketch("thetaSketch"), |call| {
        set_operation(call, |_, found| {
            let operator = ThetaANotB::with_seed(SEED).map_err(refused)?;
            let mut found = found.into_iter();
            let Some(mut rest) = found.next() else {
                return exec_err!("THETA_SKETCH_NOT needs sketches");
            };
            for other in found {
                rest = operator.compute(&rest, &other, true).map_err(refused)?;
            }
            Ok(rest)
        })
    })
    .and_more(Any),
];

/// Nothing at all is an empty sketch, as in Druid's segments.
fn read(bytes: &[u8]) -> Result<Option<CompactThetaSketch>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    CompactThetaSketch::deserialize(bytes).map(Some).map_err(refused)
}

/// The bytes of a sketch as Java writes them: with a mark of a single entry, and the sampling probability of 1 where
/// there is a number of entries.
fn serialized(sketch: &CompactThetaSketch) -> Vec<u8> {
    const SINGLE: u8 = 1 << 5;
    let mut bytes = sketch.serialize();
    match bytes.as_mut_slice() {
        [1, _, _, _, _, flags, ..] if sketch.num_retained() == 1 => *flags |= SINGLE,
        [2 | 3, _, _, _, _, _, _, _, _, _, _, _, probability @ ..] => {
            if let Some(probability) = probability.first_chunk_mut::<4>() {
                *probability = 1_f32.to_le_bytes();
            }
        }
        _ => {}
    }
    bytes
}

/// The power of two of a number of entries.
pub(super) fn lg_entries(size: f64) -> Result<u8> {
    let lg = size.log2();
    if lg.fract() == 0.0 && (4.0..=26.0).contains(&lg) {
        Ok(lg as u8)
    } else {
        plan_err!(
            "The size of a sketch must be a power of 2 from 16 to 67108864, found {}",
            size as i64
        )
    }
}

/// The library's sketches have two to this power of entries at least; smaller ones are cut out of these.
const LEAST_LG_K: u8 = 5;

fn sketch_of(lg_k: u8) -> Result<ThetaSketch> {
    let builder = ThetaSketchBuilder::default().lg_k(lg_k.max(LEAST_LG_K));
    builder.build().map_err(refused)
}

fn union_of(lg_k: u8) -> Result<ThetaUnion> {
    let builder = ThetaUnionBuilder::default().lg_k(lg_k.max(LEAST_LG_K));
    builder.build().map_err(refused)
}

/// The least hashes of an ordered sketch, two to the power of `lg_k` at most: the next one becomes theta.
fn trimmed(sketch: CompactThetaSketch, lg_k: u8) -> Result<CompactThetaSketch> {
    let most = 1_usize << lg_k;
    if sketch.num_retained() <= most {
        return Ok(sketch);
    }
    let bytes = sketch.serialize();
    let (words, _) = bytes.as_chunks::<8>();
    let hashes = words
        .get(words.len() - sketch.num_retained()..)
        .unwrap_or_default();
    let (Some([_, header @ ..]), Some(theta), Some(kept)) =
        (words.first(), hashes.get(most), hashes.get(..most))
    else {
        return exec_err!("a theta sketch of {} bytes is cut off", bytes.len());
    };
    let mut made = vec![3];
    made.extend(header);
    made.extend((most as u32).to_le_bytes());
    made.extend(1_f32.to_le_bytes());
    made.extend(theta);
    made.extend(kept.as_flattened());
    CompactThetaSketch::deserialize(&made).map_err(refused)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Makes {
    Sketch,
    Count,
}

struct Theta {
    makes: Makes,
    lg_k: u8,
    own: ThetaSketch,
    others: ThetaUnion,
}

impl Theta {
    fn new(settings: &Settings, makes: Makes) -> Result<Self> {
        let lg_k = settings.number(1)?.map_or(Ok(LG_K), lg_entries)?;
        Ok(Theta {
            makes,
            lg_k,
            own: sketch_of(lg_k)?,
            others: union_of(lg_k)?,
        })
    }

    fn sketch(&mut self) -> Result<CompactThetaSketch> {
        self.others.update(&self.own).map_err(refused)?;
        trimmed(self.others.to_sketch(true), self.lg_k)
    }
}

impl State for Theta {
    fn update(&mut self, arguments: &[ArrayRef]) -> Result<()> {
        let Some(values) = arguments.first() else {
            return exec_err!("a value is missing");
        };
        if values.data_type().is_binary() {
            let sketches = arrow::compute::cast(values, &DataType::Binary)?;
            return sketches
                .as_binary::<i32>()
                .iter()
                .flatten()
                .try_for_each(|bytes| self.merge(bytes));
        }
        feed(values, Encoding::Utf8, |bytes| self.own.update(Raw(bytes)))
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        match read(bytes)? {
            Some(sketch) => self.others.update(&sketch).map_err(refused),
            None => Ok(()),
        }
    }

    fn bytes(&mut self) -> Result<Vec<u8>> {
        Ok(serialized(&self.sketch()?))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(match self.makes {
            Makes::Sketch => ScalarValue::Binary(Some(self.bytes()?)),
            Makes::Count => ScalarValue::Int64(Some(self.sketch()?.estimate().round() as i64)),
        })
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.own.estimated_size() + self.others.estimated_size()
    }
}

/// The sketches of each row, after a size that may stand before them.
fn set_operation(
    call: &Call<'_>,
    of: impl Fn(u8, Vec<CompactThetaSketch>) -> Result<CompactThetaSketch>,
) -> Result<ArrayRef> {
    let (first, lg_k) = if is_number(call, 0) {
        (1, lg_entries(number(call, 0)?)?)
    } else {
        (0, LG_K)
    };
    let columns = all_sketches(call, first..call.arguments.len())?;
    let empty = sketch_of(lg_k)?;
    combined(call, &columns, |found| {
        let found = found
            .iter()
            .map(|bytes| Ok(read(bytes)?.unwrap_or_else(|| empty.compact(true))));
        Ok(serialized(&of(lg_k, found.collect::<Result<_>>()?)?))
    })
}

/// `{"estimate": …, "highBound": …, "lowBound": …, "numStdDev": …}`.
fn with_bounds(call: &Call<'_>) -> Result<ArrayRef> {
    let deviations = match number(call, 1)? as i64 {
        1 => NumStdDev::One,
        2 => NumStdDev::Two,
        3 => NumStdDev::Three,
        _ => return exec_err!("errorBoundsStdDev must be 1, 2 or 3"),
    };
    let found = sketches(call, 0)?;
    let texts = found.iter().map(|bytes| {
        // NULL is an empty sketch here.
        let sketch = bytes.map(read).transpose()?.flatten();
        let [estimate, high, low] = sketch.map_or([0.0; 3], |sketch| {
            [
                sketch.estimate(),
                sketch.upper_bound(deviations),
                sketch.lower_bound(deviations),
            ]
        });
        Ok(Some(format!(
            "{{\"estimate\":{},\"highBound\":{},\"lowBound\":{},\"numStdDev\":{}}}",
            double_text(estimate),
            double_text(high),
            double_text(low),
            deviations as u8
        )))
    });
    Ok(Arc::new(texts.collect::<Result<LargeStringArray>>()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use arrow::array::{Array, BinaryArray, Int64Array, StringViewArray};
    use datafusion::logical_expr::ColumnarValue;

    use super::*;
    use crate::sketches::aggregate::tests::{aggregated, complaint};
    use crate::sketches::read::tests::{bytes, called, called_with_column};

    const DS_THETA: &Aggregate = &AGGREGATES[0];

    fn longs(values: std::ops::Range<i64>) -> ScalarValue {
        aggregated(
            DS_THETA,
            &[&[Arc::new(Int64Array::from_iter_values(values))]],
            &[],
        )
    }

    #[test]
    fn bytes_are_those_of_druid() {
        // What Druid 37 wrote for these pages.
        let table = [
            (vec!["GO:OD AM", "GO:OD AM"], "01030300003acc9399bca01cfd899b73"),
            (
                vec![
                    "Category:189 by country",
                    "Category:185 by country",
                    "Category:2013 SAFF Championship",
                ],
                "02030300001acc93030000000000803f7936cec6921fd414d03f70d4448ae22d6a2a72fe90b0ef4a",
            ),
        ];
        for (pages, expected) in table {
            let pages: ArrayRef = Arc::new(StringViewArray::from_iter_values(pages));
            let ScalarValue::Binary(Some(made)) = aggregated(DS_THETA, &[&[pages]], &[]) else {
                panic!("no sketch")
            };
            let hex: String = made.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected);
        }
    }

    #[test]
    fn merged_sketches_count_what_both_have_seen() {
        let parts: [ArrayRef; 2] = [
            Arc::new(Int64Array::from_iter_values(0..60_000)),
            Arc::new(Int64Array::from_iter_values(40_000..100_000)),
        ];
        let parts = parts.each_ref().map(std::slice::from_ref);
        let ScalarValue::Int64(Some(count)) = aggregated(&AGGREGATES[1], &parts, &[]) else {
            panic!("no count")
        };
        assert!((97_000..103_000).contains(&count), "{count}");
    }

    #[test]
    fn set_operations_take_a_size_first() {
        let size = ScalarValue::Int64(Some(4096));
        let table = [("union", 150.0), ("intersect", 50.0), ("not", 50.0)];
        for (operation, expected) in table {
            for before in [vec![], vec![size.clone()]] {
                let mut arguments = before;
                arguments.extend([longs(0..100), longs(50..150)]);
                let name = format!("theta_sketch_{operation}");
                let made = called(&FUNCTIONS, &name, &arguments).unwrap();
                let estimate = called(&FUNCTIONS, "theta_sketch_estimate", &[made]).unwrap();
                assert_eq!(estimate, ScalarValue::Float64(Some(expected)), "{operation}");
            }
        }
        let nothing = called(&FUNCTIONS, "theta_sketch_intersect", &[longs(0..9), bytes(&[])]).unwrap();
        let estimate = called(&FUNCTIONS, "theta_sketch_estimate", &[nothing]).unwrap();
        assert_eq!(estimate, ScalarValue::Float64(Some(0.0)));
    }

    #[test]
    fn bounds_of_an_exact_sketch_are_its_count() {
        let bounds = called(
            &FUNCTIONS,
            "theta_sketch_estimate_with_error_bounds",
            &[longs(0..10), ScalarValue::Int64(Some(2))],
        );
        let expected = r#"{"estimate":10.0,"highBound":10.0,"lowBound":10.0,"numStdDev":2}"#;
        assert_eq!(bounds.unwrap(), ScalarValue::LargeUtf8(Some(expected.to_owned())));
    }

    #[test]
    fn null_is_an_empty_sketch() {
        let null = || ScalarValue::Binary(None);
        let table = [
            ("not", [null(), longs(0..9)], 0.0),
            ("not", [longs(0..9), null()], 9.0),
            ("intersect", [longs(0..9), null()], 0.0),
            ("intersect", [null(), null()], 0.0),
            ("not", [null(), null()], 0.0),
            ("union", [null(), longs(0..9)], 9.0),
            ("union", [null(), null()], 0.0),
            ("not", [ScalarValue::Null, longs(0..9)], 0.0),
        ];
        for (operation, arguments, expected) in table {
            let made = called(&FUNCTIONS, &format!("theta_sketch_{operation}"), &arguments).unwrap();
            let estimate = called(&FUNCTIONS, "theta_sketch_estimate", &[made]).unwrap();
            assert_eq!(
                estimate,
                ScalarValue::Float64(Some(expected)),
                "{operation} {arguments:?}"
            );
        }
    }

    #[test]
    fn the_least_size_is_sixteen() {
        let size = ScalarValue::Int64(Some(16));
        for (values, exact) in [(0, true), (16, true), (17, false), (20, false), (1_000, false)] {
            let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..values));
            let made = aggregated(DS_THETA, &[&[column]], std::slice::from_ref(&size));
            let union = called(
                &FUNCTIONS,
                "theta_sketch_union",
                &[size.clone(), longs(0..values), bytes(&[])],
            );
            for made in [made, union.unwrap()] {
                let ScalarValue::Binary(Some(bytes)) = made else {
                    panic!("no sketch")
                };
                let sketch = read(&bytes).unwrap().unwrap();
                assert!(sketch.num_retained() <= 16, "{}", sketch.num_retained());
                if exact {
                    assert_eq!(sketch.estimate(), values as f64);
                } else {
                    assert_eq!(sketch.num_retained(), 16);
                    let share = sketch.estimate() / values as f64;
                    assert!((0.4..2.5).contains(&share), "{values}: {share}");
                }
            }
        }
    }

    #[test]
    fn deviations_are_a_literal() {
        let name = "theta_sketch_estimate_with_error_bounds";
        let sketches: ArrayRef = Arc::new(BinaryArray::from(vec![None, Some(&[][..])]));
        let none = sketches.slice(0, 0);
        let column = ColumnarValue::Array(Arc::new(Int64Array::from(vec![1, 2])));
        let wrong = called_with_column(&FUNCTIONS, name, sketches, column).unwrap_err();
        assert!(wrong.to_string().contains("must be a literal"), "{wrong}");
        let two = ColumnarValue::Scalar(ScalarValue::Int64(Some(2)));
        assert_eq!(called_with_column(&FUNCTIONS, name, none, two).unwrap().len(), 0);
    }

    #[test]
    fn other_sizes_are_refused() {
        for size in [0, 1_000, 1 << 30] {
            assert!(
                complaint(DS_THETA, &[ScalarValue::Int64(Some(size))]).contains("power of 2"),
                "{size}"
            );
        }
    }
}
