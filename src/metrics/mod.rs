//! Metrics of classifiers in pure f64: what training selects by and what the audit reports.
//!
//! Conventions: classes and groups are 0-based indices into the byte-sorted lists of the dataset; a subject or sample is one
//! entry of parallel slices. An undefined number is `None` (an empty group, one class for an AUROC), never 0, 0.5 or NaN.
//! No result depends on the order of its input. Nothing here reads files or prints.

pub mod bootstrap;
pub mod calibration;
pub mod cases;
pub mod groups;
pub mod interval;
pub mod permutation;
pub mod seeds;

/// Class of the highest score; ties go to the lower class index.
///
/// `None` for an empty slice or one that holds a NaN.
pub fn argmax(scores: &[f64]) -> Option<usize> {
    if scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let better = |best: usize, index: usize| if scores[index] > scores[best] { index } else { best };
    (0..scores.len()).reduce(better)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argmax_gives_ties_to_the_lower_class_and_refuses_nan() {
        assert_eq!(argmax(&[0.4, 0.4, 0.2]), Some(0));
        assert_eq!(argmax(&[0.1, 0.4, 0.4]), Some(1));
        assert_eq!(argmax(&[f64::NEG_INFINITY, -1.0]), Some(1));
        assert_eq!(argmax(&[0.1, f64::NAN]), None);
        assert_eq!(argmax(&[]), None);
    }
}
