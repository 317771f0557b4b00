//! What a quantiles sketch tells.

use datafusion::common::{Result, exec_err};

use super::Quantiles;

impl Quantiles {
    /// Values in order, each with the number of values up to it.
    fn view(&self) -> Vec<(f64, u64)> {
        let base = self.base.iter().map(|value| (*value, 1));
        let levels = self.levels.iter().zip(1_u32..);
        let levels =
            levels.flat_map(|(level, exponent)| level.iter().map(move |value| (*value, 1_u64 << exponent)));
        let mut view: Vec<(f64, u64)> = base.chain(levels).collect();
        view.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let mut total = 0;
        for (_, weight) in &mut view {
            total += *weight;
            *weight = total;
        }
        view
    }

    /// The values at some fractions of all; NaN for an empty sketch.
    ///
    /// # Errors
    /// For a fraction that is not from 0 to 1.
    pub(in crate::sketches) fn quantiles(&self, fractions: &[f64]) -> Result<Vec<f64>> {
        let view = self.view();
        let at = |fraction: &f64| {
            if !(0.0..=1.0).contains(fraction) {
                return exec_err!(
                    "A fraction of a quantiles sketch must be between 0 and 1, found {fraction}"
                );
            }
            let rank = (fraction * self.n as f64).ceil() as u64;
            let position = view.partition_point(|(_, up_to)| *up_to < rank);
            Ok(view
                .get(position)
                .or(view.last())
                .map_or(f64::NAN, |(value, _)| *value))
        };
        fractions.iter().map(at).collect()
    }

    /// One of [`Self::quantiles`].
    pub(in crate::sketches) fn quantile(&self, fraction: f64) -> Result<f64> {
        Ok(self.quantiles(&[fraction])?.pop().unwrap_or(f64::NAN))
    }

    fn rank_in(&self, view: &[(f64, u64)], value: f64) -> f64 {
        let position = view.partition_point(|(found, _)| *found <= value);
        let below = position.checked_sub(1).and_then(|position| view.get(position));
        below.map_or(0.0, |(_, up_to)| *up_to as f64 / self.n as f64)
    }

    /// The fraction of values that are not above one; NaN for an empty sketch.
    pub(in crate::sketches) fn rank(&self, value: f64) -> f64 {
        if self.is_empty() {
            f64::NAN
        } else {
            self.rank_in(&self.view(), value)
        }
    }

    /// The fraction of values up to each point, and 1; NaN for an empty sketch.
    ///
    /// # Errors
    /// When the points do not ascend.
    pub(in crate::sketches) fn cdf(&self, points: &[f64]) -> Result<Vec<f64>> {
        if points.iter().any(|point| point.is_nan()) || !points.is_sorted_by(|one, next| one < next) {
            return exec_err!("Split points must be unique, in ascending order and no NaN");
        }
        if self.is_empty() {
            return Ok(vec![f64::NAN; points.len() + 1]);
        }
        let view = self.view();
        let ranks = points.iter().map(|point| self.rank_in(&view, *point));
        Ok(ranks.chain([1.0]).collect())
    }

    /// How many values lie between the points.
    ///
    /// # Errors
    /// As [`Self::cdf`].
    pub(in crate::sketches) fn histogram(&self, points: &[f64]) -> Result<Vec<f64>> {
        let mut before = 0.0;
        let parts = self.cdf(points)?.into_iter().map(|up_to| {
            let part = up_to - before;
            before = up_to;
            part * self.n as f64
        });
        Ok(parts.collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn digits() -> Quantiles {
        let mut sketch = Quantiles::new(128).unwrap();
        (0..10).for_each(|value| sketch.update(value.into()));
        sketch
    }

    #[test]
    fn a_quantile_is_the_first_value_that_reaches_the_fraction() {
        let table = [
            (0.0, 0.0),
            (0.1, 0.0),
            (0.11, 1.0),
            (0.5, 4.0),
            (0.51, 5.0),
            (1.0, 9.0),
        ];
        for (fraction, value) in table {
            assert_eq!(digits().quantile(fraction).unwrap(), value, "{fraction}");
        }
        assert!(digits().quantile(1.1).is_err());
        assert!(Quantiles::new(128).unwrap().quantile(0.5).unwrap().is_nan());
    }

    #[test]
    fn ranks_include_the_value() {
        for (value, rank) in [(-1.0, 0.0), (0.0, 0.1), (4.0, 0.5), (4.5, 0.5), (99.0, 1.0)] {
            assert_eq!(digits().rank(value), rank, "{value}");
        }
        assert!(Quantiles::new(128).unwrap().rank(1.0).is_nan());
    }

    #[test]
    fn points_cut_the_values() {
        assert_eq!(digits().cdf(&[1.0, 4.0]).unwrap(), [0.2, 0.5, 1.0]);
        assert_eq!(digits().histogram(&[1.0, 4.0]).unwrap(), [2.0, 3.0, 5.0]);
        assert!(digits().cdf(&[4.0, 4.0]).is_err());
        assert!(
            Quantiles::new(128)
                .unwrap()
                .cdf(&[1.0])
                .unwrap()
                .iter()
                .all(|part| part.is_nan())
        );
    }
}
