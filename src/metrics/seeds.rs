//! One figure over several seeds: mean, standard deviation, and the interval of a paired difference by Student's t.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::interval::Interval;

/// Mean of the values; `None` without one.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Sample standard deviation (divided by n - 1); `None` for fewer than two values.
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let centre = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// Student's interval of the mean with `tail` outside on each side; `None` for fewer than two values.
///
/// Given differences between two methods seed by seed, it is the paired t interval.
pub fn t_interval(values: &[f64], tail: f64) -> Option<Interval> {
    let (centre, deviation) = (mean(values)?, standard_deviation(values)?);
    let quantile = StudentsT::new(0.0, 1.0, (values.len() - 1) as f64).ok()?.inverse_cdf(1.0 - tail);
    let half = quantile * deviation / (values.len() as f64).sqrt();
    Some(Interval { low: centre - half, high: centre + half })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy.stats.ttest_1samp([0.1, 0.3, 0.2, 0.6], 0).confidence_interval(0.95), numpy.std(ddof=1).
    #[test]
    fn the_interval_equals_scipys() {
        let values = [0.1, 0.3, 0.2, 0.6];
        let interval = t_interval(&values, 0.025).unwrap();
        assert!((standard_deviation(&values).unwrap() - 0.216_024_689_946_928_8).abs() < 1e-12);
        assert!((interval.low - -0.04374348818583079).abs() < 1e-6, "{interval:?}");
        assert!((interval.high - 0.6437434881858308).abs() < 1e-6, "{interval:?}");
    }

    #[test]
    fn one_seed_has_no_deviation_and_no_interval() {
        assert_eq!((standard_deviation(&[0.5]), t_interval(&[0.5], 0.025)), (None, None));
        assert_eq!((mean(&[0.5]), mean(&[])), (Some(0.5), None));
        assert_eq!(t_interval(&[0.5, 0.5], 0.025), Some(Interval { low: 0.5, high: 0.5 }));
    }
}
