//! Just train twice (Liu et al. 2021): a short ERM run in `identify/` of the RUN finds the training samples that it gets wrong; the run itself
//! then sees each of them `jtt_upweight` times an epoch.
//!
//! The first run is a RUN like any other, resumed or up to date by itself, and the errors follow from its predictions: so the second
//! is resumed bit for bit as well.

use std::collections::BTreeMap;
use std::path::Path;

use super::TrainError;
use super::data::Samples;
use crate::context::Context;
use crate::formats::dataset::Split;
use crate::formats::predictions::Predictions;
use crate::formats::run::{JttInfo, PREDICTIONS};
use crate::metrics::argmax;
use crate::settings::methods::JttSettings;
use crate::settings::train::TrainSettings;

/// Folder of the first run within the RUN.
const IDENTIFY: &str = "identify";

/// The training samples that the first run got wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Errors {
    /// Rows of the dataset, ascending.
    rows: Vec<usize>,
    settings: JttSettings,
}

/// Trains the first run, or takes it as it is, and gives its errors.
///
/// # Errors
/// [`TrainError`] of the first run.
pub fn identify(
    jtt: &JttSettings,
    settings: &TrainSettings,
    samples: &Samples,
    (root, device): (&Path, &str),
    context: Context<'_>,
) -> Result<Errors, TrainError> {
    let folder = root.join(IDENTIFY);
    super::train(&jtt.identification(settings), samples.dataset.path(), &folder, true, device, context)?;
    let predictions = Predictions::read(&folder.join(PREDICTIONS))?;
    let wrong: Vec<bool> =
        predictions.rows.iter().map(|row| is_wrong(&row.logits, &row.label, &predictions.classes)).collect();
    let is_error = |row: &usize| wrong.get(*row).copied().unwrap_or(false);
    Ok(Errors { rows: samples.rows(Split::Train).into_iter().filter(is_error).collect(), settings: *jtt })
}

fn is_wrong(logits: &[f32], label: &str, classes: &[String]) -> bool {
    let logits: Vec<f64> = logits.iter().copied().map(f64::from).collect();
    argmax(&logits).is_none_or(|best| classes[best] != label)
}

impl Errors {
    /// The samples of an epoch: every training sample, and each error as often as it counts.
    pub fn repeated(&self, train: &[usize]) -> Vec<usize> {
        let more = self.settings.upweight.saturating_sub(1) as usize;
        let times =
            |&row: &usize| std::iter::repeat_n(row, if self.rows.binary_search(&row).is_ok() { 1 + more } else { 1 });
        train.iter().flat_map(times).collect()
    }

    /// What `run.json` says.
    pub fn info(&self, samples: &Samples) -> JttInfo {
        let names = samples.dataset.groups();
        let mut errors: BTreeMap<String, u64> = names.iter().map(|name| (name.clone(), 0)).collect();
        for &row in &self.rows {
            *errors.entry(names[samples.groups[row]].clone()).or_default() += 1;
        }
        JttInfo { epochs: self.settings.epochs, upweight: self.settings.upweight, errors }
    }

    /// What a reader should know.
    pub fn warning(&self) -> Option<String> {
        self.rows.is_empty().then(|| {
            "the first run got every training sample right, so nothing was repeated and this is plain erm; fewer jtt_epochs or a larger \
             jtt_weight_decay leave errors"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_as_often_as_they_count_and_the_others_once() {
        let settings = JttSettings { epochs: 1, upweight: 3, learning_rate: None, weight_decay: None };
        let errors = Errors { rows: vec![4, 9], settings };
        assert_eq!(errors.repeated(&[2, 4, 7, 9]), [2, 4, 4, 4, 7, 9, 9, 9]);
        assert_eq!(errors.warning(), None);
        let none = Errors { rows: Vec::new(), settings };
        assert_eq!(none.repeated(&[2, 4]), [2, 4]);
        assert!(none.warning().unwrap().contains("plain erm"));
    }

    #[test]
    fn a_tie_goes_to_the_lower_class() {
        let classes = ["a".to_owned(), "b".to_owned()];
        assert!(is_wrong(&[1.0, 1.0], "b", &classes));
        assert!(!is_wrong(&[1.0, 1.0], "a", &classes));
    }
}
