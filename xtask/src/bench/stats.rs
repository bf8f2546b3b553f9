//! A handful of measurements of the same thing.

/// Measurements, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample(Vec<f64>);

impl Sample {
    /// Adds a measurement.
    pub(super) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one, or what lies between the two middle ones.
    pub(super) fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match (sorted.len(), sorted.get(middle)) {
            (_, None) => None,
            (n, Some(upper)) if n % 2 == 1 => Some(*upper),
            (_, Some(upper)) => Some(f64::midpoint(sorted[middle - 1], *upper)),
        }
    }

    /// The least.
    pub(super) fn least(&self) -> Option<f64> {
        self.0.iter().copied().min_by(f64::total_cmp)
    }

    /// The most.
    pub(super) fn most(&self) -> Option<f64> {
        self.0.iter().copied().max_by(f64::total_cmp)
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        let median = |values: &[f64]| values.iter().copied().collect::<Sample>().median();
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 9.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 9.0, 2.0]), Some(3.0));
    }
}
