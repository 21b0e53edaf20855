//! What a run trains on: samples by split, class and group as indices, and images as tensors.
//!
//! Images up to [`IN_MEMORY_BYTES`] are read once into one tensor on the device; more are read batch by batch.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::TrainError;
use crate::context::Context;
use crate::dataset::Dataset;
use crate::formats::dataset::{SampleRow, Split};
use crate::settings::train::{Selection, TrainSettings};

/// Float32 images of a dataset up to this size are held in memory.
const IN_MEMORY_BYTES: usize = 1 << 30;
/// Images read at a time while scanning.
const CHUNK: usize = 256;

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

/// Images, labels and groups of q on a device.
#[derive(Debug)]
pub struct Images<'a> {
    samples: &'a Samples,
    device: Device,
    /// `[N, c, h, w]` float32 on the device, where it is small enough.
    held: Option<Tensor>,
    /// `[N]` int64 on the device.
    labels: Tensor,
    /// `[N]` int64 on the device: index into q, -1 for groups that are not trained on.
    weights: Tensor,
    /// Mean per channel of the training split.
    pub mean: Vec<f64>,
    /// Standard deviation per channel of the training split; 1 for a constant channel.
    pub std: Vec<f64>,
}

/// Count, mean and summed squared deviations, merged as in Chan, Golub and LeVeque (1983).
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn of(values: &[f32]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
        let squares = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum();
        Self { count, mean, squares }
    }

    fn merge(self, other: Self) -> Self {
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + delta * other.count / count,
            squares: self.squares + other.squares + delta * delta * self.count * other.count / count,
        }
    }

    fn deviation(self) -> f64 {
        (self.squares / self.count).sqrt()
    }
}

impl<'a> Images<'a> {
    /// Reads the images: all of them into one tensor when they fit, otherwise the training split for its statistics.
    ///
    /// # Errors
    /// [`TrainError::Dataset`], [`TrainError::Pixel`], [`TrainError::InterruptedEarly`].
    pub fn load(samples: &'a Samples, device: Device, context: Context<'_>) -> Result<Self, TrainError> {
        let (channels, height, width) = samples.dataset.image_shape();
        let per_image = channels * height * width;
        let count = samples.splits.len();
        let fits = count.saturating_mul(per_image).saturating_mul(4) <= IN_MEMORY_BYTES;
        let rows = if fits { (0..count).collect() } else { samples.rows(Split::Train) };
        let held = if fits {
            let shape = [size(count), size(channels), size(height), size(width)];
            Some(Tensor::f_empty(shape, (Kind::Float, device))?)
        } else {
            None
        };
        let mut moments = vec![Moments::default(); channels];
        context.observer.begin("read images", Some(rows.len() as u64));
        let mut buffer = vec![0.0; CHUNK.min(rows.len()) * per_image];
        for (number, chunk) in rows.chunks(CHUNK).enumerate() {
            if context.interrupt.is_set() {
                return Err(TrainError::InterruptedEarly);
            }
            let pixels = &mut buffer[..chunk.len() * per_image];
            samples.dataset.read_rows(chunk, pixels)?;
            for (&row, image) in chunk.iter().zip(pixels.chunks_exact(per_image)) {
                if !image.iter().all(|value| value.is_finite()) {
                    return Err(TrainError::Pixel { sample_id: samples.sample(row).sample_id.clone() });
                }
                if samples.splits[row] == Split::Train {
                    for (total, channel) in moments.iter_mut().zip(image.chunks_exact(height * width)) {
                        *total =
                            if total.count == 0.0 { Moments::of(channel) } else { total.merge(Moments::of(channel)) };
                    }
                }
            }
            if let Some(held) = &held {
                let mut target = held.f_narrow(0, size(number * CHUNK), size(chunk.len()))?;
                target.f_copy_(&Tensor::f_from_slice(pixels)?.f_view_as(&target)?)?;
            }
            context.observer.advance(chunk.len() as u64);
        }
        context.observer.end();
        let mut weights = vec![-1; samples.train_counts.len()];
        for (index, &group) in samples.weighted.iter().enumerate() {
            weights[group] = size(index);
        }
        let weights: Vec<i64> = samples.groups.iter().map(|&group| weights[group]).collect();
        let positive = |deviation: f64| if deviation > 0.0 { deviation } else { 1.0 };
        Ok(Self {
            samples,
            device,
            held,
            labels: indices(&samples.labels, device)?,
            weights: Tensor::f_from_slice(&weights)?.f_to_device(device)?,
            mean: moments.iter().map(|total| total.mean).collect(),
            std: moments.iter().map(|total| positive(total.deviation())).collect(),
        })
    }

    /// Where the tensors are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Images `[n, c, h, w]` of samples, float32 on the device.
    ///
    /// # Errors
    /// [`TrainError::Dataset`] when a shard cannot be read.
    pub fn images(&self, rows: &[usize]) -> Result<Tensor, TrainError> {
        if let Some(held) = &self.held {
            return Ok(held.f_index_select(0, &indices(rows, self.device)?)?);
        }
        let (channels, height, width) = self.samples.dataset.image_shape();
        let mut pixels = vec![0.0; rows.len() * channels * height * width];
        self.samples.dataset.read_rows(rows, &mut pixels)?;
        let shape = [size(rows.len()), size(channels), size(height), size(width)];
        Ok(Tensor::f_from_slice(&pixels)?.f_view(shape)?.f_to_device(self.device)?)
    }

    /// Class indices `[n]` of samples, int64 on the device.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn labels(&self, rows: &[usize]) -> Result<Tensor, TrainError> {
        Ok(self.labels.f_index_select(0, &indices(rows, self.device)?)?)
    }

    /// Indices into q `[n]` of samples, int64 on the device.
    ///
    /// # Errors
    /// [`TrainError::Torch`].
    pub fn weights(&self, rows: &[usize]) -> Result<Tensor, TrainError> {
        Ok(self.weights.f_index_select(0, &indices(rows, self.device)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// numpy: np.mean and np.std (population) of [1, 2, 4, 8, 16, 32] are 10.5 and 10.828203913853857
    #[test]
    fn merged_moments_equal_those_of_the_whole() {
        let merged = Moments::of(&[1.0, 2.0, 4.0]).merge(Moments::of(&[8.0, 16.0, 32.0]));
        let whole = Moments::of(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0]);
        assert!((merged.mean - 10.5).abs() < 1e-12);
        assert!((merged.deviation() - whole.deviation()).abs() < 1e-12);
        assert!((whole.deviation() - 10.828_203_913_853_857).abs() < 1e-9, "{}", whole.deviation());
    }
}
