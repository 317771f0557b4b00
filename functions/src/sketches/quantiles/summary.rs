//! A quantiles sketch as text, as Java's `toString` has it.

use super::Quantiles;
use crate::sketches::text::{grouped, scientific};

impl Quantiles {
    /// What DS_QUANTILE_SUMMARY shows.
    pub(in crate::sketches) fn summary(&self) -> String {
        let k = u64::from(self.k);
        let pattern = self.n / (2 * k);
        let levels = u64::from(u64::BITS - pattern.leading_zeros());
        let in_base = self.n % (2 * k);
        let retained = self.retained() as u64;
        let compact = if self.is_empty() { 8 } else { 32 + 8 * retained };
        let updatable = match self.n {
            0 => 8,
            n if n <= k => 32 + 8 * n.next_power_of_two().max(4),
            _ => 32 + 8 * (2 + levels) * k,
        };
        let error = |scale: f64, exponent: f64| scale / f64::from(self.k).powf(exponent) * 100.0;
        let bytes = self.serialize().len();
        let lines = [
            ("Empty", self.is_empty().to_string()),
            ("Memory, Capacity bytes", format!("true, {bytes}")),
            ("Estimation Mode", (pattern != 0).to_string()),
            ("K", grouped(k)),
            ("N", grouped(self.n)),
            (
                "Levels (Needed, Total, Valid)",
                format!("{levels}, {levels}, {}", pattern.count_ones()),
            ),
            ("Level Bit Pattern", format!("{pattern:b}")),
            ("BaseBufferCount", grouped(in_base)),
            ("Combined Buffer Capacity", grouped(retained)),
            ("Retained Items", grouped(retained)),
            ("Compact Storage Bytes", grouped(compact)),
            ("Updatable Storage Bytes", grouped(updatable)),
            ("Normalized Rank Error", format!("{:.3}%", error(1.576, 0.9726))),
            (
                "Normalized Rank Error (PMF)",
                format!("{:.3}%", error(1.854, 0.9657)),
            ),
            ("Min Item", scientific(self.least)),
            ("Max Item", scientific(self.greatest)),
        ];
        let mut text = "\n### Quantiles DirectCompactDoublesSketch SUMMARY: \n".to_owned();
        for (name, value) in lines {
            text.push_str(&format!("   {name:<29}: {value}\n"));
        }
        text.push_str("### END SKETCH SUMMARY\n");
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The shape and the numbers of the example in Druid's documentation (566,138 values from 24 to 4962).
    #[test]
    fn a_summary_is_that_of_the_documentation() {
        let mut sketch = Quantiles::new(128).unwrap();
        sketch.update(24.0);
        sketch.update(4962.0);
        (2..566_138).for_each(|value| sketch.update(f64::from(value % 4000 + 100)));
        let expected = "
### Quantiles DirectCompactDoublesSketch SUMMARY: 
   Empty                        : false
   Memory, Capacity bytes       : true, 6128
   Estimation Mode              : true
   K                            : 128
   N                            : 566,138
   Levels (Needed, Total, Valid): 12, 12, 5
   Level Bit Pattern            : 100010100011
   BaseBufferCount              : 122
   Combined Buffer Capacity     : 762
   Retained Items               : 762
   Compact Storage Bytes        : 6,128
   Updatable Storage Bytes      : 14,368
   Normalized Rank Error        : 1.406%
   Normalized Rank Error (PMF)  : 1.711%
   Min Item                     : 2.400000e+01
   Max Item                     : 4.962000e+03
### END SKETCH SUMMARY
";
        assert_eq!(sketch.summary(), expected);
    }
}
