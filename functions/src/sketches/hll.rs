//! HLL sketches: DS_HLL, the counts of APPROX_COUNT_DISTINCT, and what such sketches tell.
//!
//! Source: Druid, development/extensions-core/datasketches-hll.md.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Float64Builder, ListBuilder, StringViewArray};
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::scalar::ScalarValue;
use datasketches::common::NumStdDev;
use datasketches::hll::{HllSketch, HllType, HllUnion};

use super::aggregate::{Definition as Aggregate, Gives as Made, Settings, State};
use super::feed::{Encoding, Raw, feed};
use super::read::{all_sketches, combined, flag, is_number, number, sketch, sketches};
use super::refused;
use crate::function::{Call, Definition, Gives, list_of};
use crate::number::print::double_text;
use crate::operand::Operand::{Any, Condition, Long};

/// Buckets are two to this power: Druid's default.
const LG_K: u8 = 12;

pub(super) const AGGREGATES: [Aggregate; 4] = [
    Aggregate {
        aliases: &["approx_count_distinct_builtin"],
        count: (1, 1),
        ..Aggregate::of_any("approx_count_distinct", 3, Made::Long, count)
    },
    Aggregate::of_any("approx_count_distinct_ds_hll", 3, Made::Long, count),
    Aggregate::of_any("approx_count_distinct_ds_hll_utf8", 3, Made::Long, |settings| {
        Ok(Box::new(Hll::new(settings, Makes::Count, Encoding::Utf8)?))
    }),
    Aggregate::of_any("ds_hll", 3, Made::Complex("HLLSketch"), |settings| {
        Ok(Box::new(Hll::new(settings, Makes::Sketch, Encoding::Utf16)?))
    }),
];

fn count(settings: &Settings) -> Result<Box<dyn State>> {
    Ok(Box::new(Hll::new(settings, Makes::Count, Encoding::Utf16)?))
}

pub(super) const FUNCTIONS: [Definition; 4] = [
    Definition::new("hll_sketch_estimate", &[Any], Gives::Double, |call| {
        let rounds = flag(call, 1)?;
        // NULL is an empty sketch here.
        let found = sketches(call, 0)?;
        let found = found.iter().map(|bytes| {
            let sketch = bytes.map(read).transpose()?.flatten();
            let estimate = sketch.map_or(0.0, |sketch| sketch.estimate());
            Ok(Some(if rounds { estimate.round() } else { estimate }))
        });
        Ok(Arc::new(found.collect::<Result<Float64Array>>()?))
    })
    .or(&[Condition]),
    Definition::new(
        "hll_sketch_estimate_with_error_bounds",
        &[Any],
        BOUNDS,
        with_bounds,
    )
    .or(&[Long]),
    Definition::new("hll_sketch_to_string", &[Any], Gives::Text, |call| {
        let found = sketches(call, 0)?;
        let found = found
            .iter()
            .map(|bytes| summary(bytes.unwrap_or_default()).map(Some));
        Ok(Arc::new(found.collect::<Result<StringViewArray>>()?))
    }),
    Definition::new("hll_sketch_union", &[Any, Any], sketch("HLLSketch"), union).and_more(Any),
];

const BOUNDS: Gives = Gives::Of(|_| Ok(list_of(DataType::Float64)));

/// Nothing at all is an empty sketch, as in Druid's segments.
fn read(bytes: &[u8]) -> Result<Option<HllSketch>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    HllSketch::deserialize(bytes).map(Some).map_err(refused)
}

fn hll_type(name: &str) -> Result<HllType> {
    match name.to_ascii_uppercase().as_str() {
        "HLL_4" => Ok(HllType::Hll4),
        "HLL_6" => Ok(HllType::Hll6),
        "HLL_8" => Ok(HllType::Hll8),
        _ => plan_err!("Invalid tgtHllType [{name}]: expected HLL_4, HLL_6 or HLL_8"),
    }
}

fn lg_k(number: Option<f64>) -> Result<u8> {
    match number {
        None => Ok(LG_K),
        Some(lg_k) if (4.0..=21.0).contains(&lg_k) => Ok(lg_k as u8),
        Some(lg_k) => plan_err!(
            "The lgK of an HLL sketch must be between 4 and 21, found {}",
            lg_k as i64
        ),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Makes {
    Sketch,
    Count,
}

struct Hll {
    makes: Makes,
    encoding: Encoding,
    lg_k: u8,
    hll_type: HllType,
    own: HllSketch,
    /// What was merged; nothing before there is something.
    others: Option<HllUnion>,
}

impl Hll {
    fn new(settings: &Settings, makes: Makes, encoding: Encoding) -> Result<Self> {
        let lg_k = lg_k(settings.number(1)?)?;
        let hll_type = settings.text(2)?.map_or(Ok(HllType::Hll4), hll_type)?;
        let own = HllSketch::new(lg_k, hll_type).map_err(refused)?;
        Ok(Hll {
            makes,
            encoding,
            lg_k,
            hll_type,
            own,
            others: None,
        })
    }

    fn sketch(&mut self) -> Result<HllSketch> {
        let Some(others) = &mut self.others else {
            return Ok(self.own.clone());
        };
        if !self.own.is_empty() {
            others.update(&self.own);
            self.own = HllSketch::new(self.lg_k, self.hll_type).map_err(refused)?;
        }
        Ok(others.to_sketch(self.hll_type))
    }
}

impl State for Hll {
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
        feed(values, self.encoding, |bytes| self.own.update(Raw(bytes)))
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(sketch) = read(bytes)? else { return Ok(()) };
        let others = match self.others.take() {
            Some(others) => others,
            None => HllUnion::new(self.lg_k).map_err(refused)?,
        };
        self.others.insert(others).update(&sketch);
        Ok(())
    }

    fn bytes(&mut self) -> Result<Vec<u8>> {
        Ok(self.sketch()?.serialize())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(match self.makes {
            Makes::Sketch => ScalarValue::Binary(Some(self.bytes()?)),
            Makes::Count => ScalarValue::Int64(Some(self.sketch()?.estimate().round() as i64)),
        })
    }

    fn size(&self) -> usize {
        size_of::<Self>()
            + self.own.estimated_size()
            + self.others.as_ref().map_or(0, HllUnion::estimated_size)
    }
}

/// `[estimate, lower bound, upper bound]`.
fn with_bounds(call: &Call<'_>) -> Result<ArrayRef> {
    let deviations = if call.has(1) { number(call, 1)? } else { 1.0 };
    let deviations = match deviations as i64 {
        1 => NumStdDev::One,
        2 => NumStdDev::Two,
        3 => NumStdDev::Three,
        _ => return exec_err!("The number of standard deviations must be 1, 2 or 3"),
    };
    let mut lists = ListBuilder::new(Float64Builder::new());
    for bytes in &sketches(call, 0)? {
        let sketch = bytes.map(read).transpose()?.flatten();
        let bounds = sketch.map_or([0.0; 3], |sketch| {
            [
                sketch.estimate(),
                sketch.lower_bound(deviations),
                sketch.upper_bound(deviations),
            ]
        });
        lists.values().append_slice(&bounds);
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

/// `HLL_SKETCH_UNION([lgK, tgtHllType], sketch, …)`.
fn union(call: &Call<'_>) -> Result<ArrayRef> {
    let (first, lg, made) = if is_number(call, 0) {
        let made = call.literal_text(1)?.map_or(Ok(HllType::Hll4), hll_type)?;
        (2, lg_k(Some(number(call, 0)?))?, made)
    } else {
        (0, LG_K, HllType::Hll4)
    };
    let columns = all_sketches(call, first..call.arguments.len())?;
    combined(call, &columns, |found| {
        let mut union = HllUnion::new(lg).map_err(refused)?;
        for bytes in found {
            if let Some(sketch) = read(bytes)? {
                union.update(&sketch);
            }
        }
        Ok(union.to_sketch(made).serialize())
    })
}

/// What HLL_SKETCH_TO_STRING shows: Java's `toString`.
fn summary(bytes: &[u8]) -> Result<String> {
    let Some(sketch) = read(bytes)? else {
        return Ok("Null Sketch".to_owned());
    };
    // The compact form holds what the sketch does not tell.
    let bytes = sketch.serialize();
    let byte = |position: usize| bytes.get(position).copied().unwrap_or_default();
    let word = |position: usize| {
        let word = bytes
            .get(position..position + 8)
            .and_then(|word| word.try_into().ok());
        f64::from_le_bytes(word.unwrap_or_default())
    };
    let int = |position: usize| {
        let int = bytes
            .get(position..position + 4)
            .and_then(|int| int.try_into().ok());
        i32::from_le_bytes(int.unwrap_or_default())
    };
    let target = match sketch.target_type() {
        HllType::Hll4 => "HLL_4",
        HllType::Hll6 => "HLL_6",
        HllType::Hll8 => "HLL_8",
    };
    let mode = ["LIST", "SET", "HLL"]
        .get(usize::from(byte(7) & 3))
        .copied()
        .unwrap_or_default();
    let mut lines = vec![
        ("Log Config K", sketch.lg_config_k().to_string()),
        ("Hll Target", target.to_owned()),
        ("Current Mode", mode.to_owned()),
        ("Memory", "false".to_owned()),
        ("LB", double_text(sketch.lower_bound(NumStdDev::One))),
        ("Estimate", double_text(sketch.estimate())),
        ("UB", double_text(sketch.upper_bound(NumStdDev::One))),
        ("OutOfOrder Flag", (byte(5) & 16 != 0).to_string()),
    ];
    match mode {
        "HLL" => lines.extend([
            ("CurMin", byte(6).to_string()),
            ("NumAtCurMin", int(32).to_string()),
            ("HipAccum", double_text(word(8))),
            ("KxQ0", double_text(word(16))),
            ("KxQ1", double_text(word(24))),
            ("Rebuild KxQ Flg", "false".to_owned()),
        ]),
        "SET" => lines.push(("Coupon Count", int(8).to_string())),
        _ => lines.push(("Coupon Count", byte(6).to_string())),
    }
    let mut text = "### HLL SKETCH SUMMARY: \n".to_owned();
    for (name, value) in lines {
        text.push_str(&format!("  {name:<15}: {value}\n"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use arrow::array::{Array, BinaryArray, BooleanArray, Int64Array};
    use datafusion::logical_expr::ColumnarValue;

    use super::*;
    use crate::sketches::aggregate::tests::{aggregated, complaint};
    use crate::sketches::read::tests::{bytes, called, called_with_column};

    const DS_HLL: &Aggregate = &AGGREGATES[3];

    fn hex(value: &ScalarValue) -> String {
        let ScalarValue::Binary(Some(bytes)) = value else {
            panic!("no bytes: {value}")
        };
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn texts_of(texts: &[&str]) -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(texts))
    }

    #[test]
    fn bytes_are_those_of_druid() {
        // What Druid 37 wrote for these users.
        let table = [
            (
                vec!["Hugo999", "Hugo999", "Djln"],
                "0201070c03080200b02d0a07964f6306",
            ),
            (
                vec!["Камарад Че", "Michael Romanov", "Nikolay Kazak"],
                "0201070c0308030069a566078b184304dd000b09",
            ),
            (vec!["Koala15", "Koala15", "Koala15"], "0201070c03080100aeb8950a"),
        ];
        for (users, expected) in table {
            assert_eq!(
                hex(&aggregated(DS_HLL, &[&[texts_of(&users)]], &[])),
                expected,
                "{users:?}"
            );
        }
    }

    #[test]
    fn merged_sketches_count_what_both_have_seen() {
        let parts: [ArrayRef; 2] = [
            Arc::new(Int64Array::from_iter_values(0..60_000)),
            Arc::new(Int64Array::from_iter_values(40_000..100_000)),
        ];
        for count in &AGGREGATES[..3] {
            let ScalarValue::Int64(Some(count)) =
                aggregated(count, &parts.each_ref().map(std::slice::from_ref), &[])
            else {
                panic!("no count")
            };
            assert!((97_000..103_000).contains(&count), "{count}");
        }
    }

    #[test]
    fn sketches_are_values_too() {
        let sketch = aggregated(DS_HLL, &[&[texts_of(&["a", "b"])]], &[]);
        let other = aggregated(DS_HLL, &[&[texts_of(&["b", "c"])]], &[]);
        let column = ScalarValue::iter_to_array([sketch, other]).unwrap();
        assert_eq!(
            aggregated(&AGGREGATES[1], &[&[column]], &[]),
            ScalarValue::Int64(Some(3))
        );
    }

    #[test]
    fn settings_shape_the_sketch() {
        let settings = [ScalarValue::Int64(Some(10)), ScalarValue::from("HLL_8")];
        let made = hex(&aggregated(DS_HLL, &[&[texts_of(&["a"])]], &settings));
        assert!(made.starts_with("0201070a03080108"), "{made}");
        assert!(complaint(DS_HLL, &[ScalarValue::Int64(Some(30))]).contains("between 4 and 21"));
        let wrong = [ScalarValue::Int64(Some(12)), ScalarValue::from("HLL_5")];
        assert!(complaint(DS_HLL, &wrong).contains("HLL_4, HLL_6 or HLL_8"));
    }

    #[test]
    fn settings_of_functions_are_literals() {
        let of = |sketches: ArrayRef, name: &str, argument: ColumnarValue| {
            called_with_column(&FUNCTIONS, name, sketches, argument)
        };
        let sketches: ArrayRef = Arc::new(BinaryArray::from(vec![None, Some(&[][..])]));
        let none = sketches.slice(0, 0);
        let bounds = "hll_sketch_estimate_with_error_bounds";
        let column = ColumnarValue::Array(Arc::new(Int64Array::from(vec![1, 2])));
        let wrong = of(Arc::clone(&sketches), bounds, column).unwrap_err();
        assert!(wrong.to_string().contains("argument 2"), "{wrong}");
        assert!(wrong.to_string().contains("must be a literal"), "{wrong}");
        let column = ColumnarValue::Array(Arc::new(BooleanArray::from(vec![true, false])));
        assert!(of(sketches, "hll_sketch_estimate", column).is_err());
        let two = ColumnarValue::Scalar(ScalarValue::Int64(Some(2)));
        assert_eq!(of(none, bounds, two).unwrap().len(), 0);
    }

    #[test]
    fn functions_read_sketches() {
        let users = ["a", "b", "c"];
        let sketch = aggregated(DS_HLL, &[&[texts_of(&users)]], &[]);
        let call = |name: &str, arguments: &[ScalarValue]| called(&FUNCTIONS, name, arguments).unwrap();
        let estimate = call("hll_sketch_estimate", std::slice::from_ref(&sketch));
        assert_eq!(estimate, ScalarValue::Float64(Some(3.000000014901161)));
        let rounded = call("hll_sketch_estimate", &[sketch.clone(), true.into()]);
        assert_eq!(rounded, ScalarValue::Float64(Some(3.0)));
        let bounds = call(
            "hll_sketch_estimate_with_error_bounds",
            std::slice::from_ref(&sketch),
        )
        .to_string();
        assert_eq!(bounds, "[3.000000014901161, 3.0, 3.0001498026537594]");
        let union = call("hll_sketch_union", &[sketch.clone(), bytes(&[]), sketch.clone()]);
        assert_eq!(
            call("hll_sketch_estimate", &[union, true.into()]),
            ScalarValue::Float64(Some(3.0))
        );
        let smaller = [
            ScalarValue::Int64(Some(8)),
            ScalarValue::from("HLL_6"),
            sketch.clone(),
        ];
        assert!(hex(&call("hll_sketch_union", &smaller)).starts_with("0201070803080304"));
        let ScalarValue::Utf8View(Some(text)) = call("hll_sketch_to_string", &[sketch]) else {
            panic!("no text")
        };
        let null = ScalarValue::Binary(None);
        assert_eq!(
            call("hll_sketch_estimate", std::slice::from_ref(&null)),
            ScalarValue::Float64(Some(0.0))
        );
        assert_eq!(
            call("hll_sketch_to_string", &[null]),
            ScalarValue::Utf8View(Some("Null Sketch".to_owned()))
        );
        let expected = "### HLL SKETCH SUMMARY: \n  Log Config K   : 12\n  Hll Target     : HLL_4\n\
                        \u{20} Current Mode   : LIST\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("  Coupon Count   : 3\n"), "{text}");
    }
}
