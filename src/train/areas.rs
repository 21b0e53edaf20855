//! Areas under the ROC curve of an evaluated split: over all its samples, and of the acquisition group where it is least.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::TrainError;
use super::data::Samples;
use crate::formats::dataset::Split;
use crate::metrics::cases::{Case, MacroRoc, softmax};
use crate::settings::train::Selection;

/// Mean over the classes of each against all others; `None` where a class has no sample.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Areas {
    /// Of all samples.
    pub all: Option<f64>,
    /// Least over the acquisition groups that hold every class. Groups may be made with the label, acquisition groups are not.
    pub worst_group: Option<f64>,
}

impl Areas {
    /// From logits `[n, K]` on the CPU, finite, of samples in this order.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn of(samples: &Samples, rows: &[usize], logits: &Tensor) -> Result<Self, TrainError> {
        let values = Vec::<f64>::try_from(&logits.f_to_kind(Kind::Double)?.f_contiguous()?.f_view([-1])?)?;
        Ok(Self::of_logits(samples, rows, &values))
    }

    /// The same from logits `[n x K]` one sample after the other.
    pub fn of_logits(samples: &Samples, rows: &[usize], values: &[f64]) -> Self {
        let classes = samples.dataset.classes().len();
        let case = |(&row, logits): (&usize, &[f64])| Case::new(0, samples.labels[row], softmax(logits));
        let cases: Vec<Case> = rows.iter().zip(values.chunks_exact(classes)).filter_map(case).collect();
        let mut groups: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
        for (&row, case) in rows.iter().zip(&cases) {
            groups.entry(&samples.sample(row).acquisition_group).or_default().push(case);
        }
        let area = |cases: &[&Case]| MacroRoc::new(cases, classes).area(&[1]);
        let worst_group = groups.values().filter_map(|cases| area(cases)).reduce(f64::min);
        Self { all: area(&cases.iter().collect::<Vec<_>>()), worst_group }
    }
}

/// Refuses a selection by an area that the validation split cannot have.
///
/// # Errors
/// [`TrainError::NoArea`].
pub fn check_selection(samples: &Samples, selection: Selection) -> Result<(), TrainError> {
    let classes = samples.dataset.classes().len();
    let validated = samples.rows(Split::Val);
    let holds_all = |rows: &[usize]| {
        let labels: std::collections::BTreeSet<usize> = rows.iter().map(|&row| samples.labels[row]).collect();
        labels.len() == classes
    };
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    validated.iter().for_each(|&row| groups.entry(&samples.sample(row).acquisition_group).or_default().push(row));
    match selection {
        Selection::Auroc if !holds_all(&validated) => Err(TrainError::NoArea { what: "the validation split" }),
        Selection::WorstGroupAuroc if !groups.values().any(|rows| holds_all(rows)) => {
            Err(TrainError::NoArea { what: "any acquisition group of the validation split" })
        }
        _ => Ok(()),
    }
}
