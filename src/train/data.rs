//! What a run trains on: samples by split, class and group as indices. Their pixels are [`super::images`].

use std::path::Path;

use tch::{Device, Tensor};

use super::TrainError;
use crate::dataset::Dataset;
use crate::formats::dataset::{SampleRow, Split};
use crate::settings::train::{Selection, TrainSettings};

/// Samples, classes and groups of a run, checked for what training needs. No pixel has been read.
#[derive(Debug)]
pub struct Samples {
    /// The dataset.
    pub dataset: Dataset,
    /// Split per sample, as this run sees it.
    pub splits: Vec<Split>,
    /// Class index per sample.
    pub labels: Vec<usize>,
    /// Index into `dataset.groups()` per sample.
    pub groups: Vec<usize>,
    /// Training samples per group of the dataset.
    pub train_counts: Vec<u64>,
    /// Groups of q, as indices into `dataset.groups()`: those with a training sample.
    pub weighted: Vec<usize>,
}

/// Layer and batch sizes as tch counts them.
pub fn size(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Row numbers as an int64 tensor on the device.
pub fn indices(rows: &[usize], device: Device) -> Result<Tensor, TrainError> {
    let rows: Vec<i64> = rows.iter().map(|&row| size(row)).collect();
    Ok(Tensor::f_from_slice(&rows)?.f_to_device(device)?)
}

/// What a trained network has seen of the samples of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// What the run trains on.
    Training,
    /// Another fold: subjects that the run tests.
    Tested,
    /// Another dataset: nobody knows.
    Unknown,
}

impl Samples {
    /// What a network has seen that was trained on the dataset of `dataset_hash` and its `fold`; `own_fold` is the run's.
    pub fn seen_by(&self, dataset_hash: &str, fold: Option<usize>, own_fold: Option<usize>) -> Seen {
        let json = self.dataset.json();
        if dataset_hash != json.content_hash {
            Seen::Unknown
        } else if json.folds.is_some() && fold.unwrap_or(0) != own_fold.unwrap_or(0) {
            Seen::Tested
        } else {
            Seen::Training
        }
    }

    /// Opens the dataset and refuses what cannot be trained on.
    ///
    /// # Errors
    /// [`TrainError`] naming what is missing and the remedy.
    pub fn open(folder: &Path, settings: &TrainSettings) -> Result<Self, TrainError> {
        let dataset = Dataset::open(folder)?;
        if let Some(fold) = settings.fold {
            let folds = dataset.json().folds.ok_or(TrainError::NoFolds { fold })?;
            if fold >= folds {
                return Err(TrainError::FoldRange { fold, folds });
            }
        }
        let all = 0..dataset.samples().len();
        let splits: Vec<Split> = all.clone().map(|row| dataset.split(row, settings.fold)).collect();
        let labels = all.clone().map(|row| dataset.class_index(row)).collect();
        let groups: Vec<usize> = all.map(|row| dataset.group_index(row)).collect();
        let mut train_counts = vec![0; dataset.groups().len()];
        for (group, _) in groups.iter().zip(&splits).filter(|(_, split)| **split == Split::Train) {
            train_counts[*group] += 1;
        }
        let weighted = (0..train_counts.len()).filter(|&group| train_counts[group] > 0).collect();
        let samples = Self { dataset, splits, labels, groups, train_counts, weighted };
        samples.check(settings.selection)?;
        Ok(samples)
    }

    fn check(&self, selection: Selection) -> Result<(), TrainError> {
        let train = self.rows(Split::Train);
        if train.len() < 2 {
            return Err(TrainError::TooFewSamples { samples: train.len() });
        }
        let first = self.labels[train[0]];
        if train.iter().all(|&row| self.labels[row] == first) {
            return Err(TrainError::OneClass { class: self.dataset.classes()[first].clone() });
        }
        let validated = self.rows(Split::Val);
        if validated.is_empty() {
            return Err(TrainError::NoValidation);
        }
        let without = |group: &&usize| !validated.iter().any(|&row| self.groups[row] == **group);
        let groups: Vec<String> = self.weighted.iter().filter(without).map(|&group| self.group_name(group)).collect();
        let by_worst = matches!(selection, Selection::WorstGroupAccuracy | Selection::WorstGroupLoss);
        if by_worst && !groups.is_empty() {
            return Err(TrainError::GroupsWithoutValidation { groups });
        }
        Ok(())
    }

    fn group_name(&self, group: usize) -> String {
        self.dataset.groups()[group].clone()
    }

    /// The samples of a split, in file order.
    pub fn rows(&self, split: Split) -> Vec<usize> {
        (0..self.splits.len()).filter(|&row| self.splits[row] == split).collect()
    }

    /// A sample.
    pub fn sample(&self, row: usize) -> &SampleRow {
        &self.dataset.samples()[row]
    }

    /// Training samples per group of q; empty for objectives without group weights.
    pub fn objective_counts(&self, settings: &TrainSettings) -> Vec<u64> {
        let has_weights = settings.objective.objective.has_weights();
        self.weighted.iter().filter(|_| has_weights).map(|&group| self.train_counts[group]).collect()
    }

    /// Names of the groups of q.
    pub fn weighted_names(&self) -> Vec<String> {
        self.weighted.iter().map(|&group| self.group_name(group)).collect()
    }

    /// Classes of the dataset without a training sample.
    pub fn untrained_classes(&self) -> Vec<&str> {
        let train = self.rows(Split::Train);
        let absent = |class: &usize| !train.iter().any(|&row| self.labels[row] == *class);
        (0..self.dataset.classes().len()).filter(absent).map(|class| self.dataset.classes()[class].as_str()).collect()
    }
}
