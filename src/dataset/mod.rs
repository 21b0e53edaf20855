//! A DATASET as the trainer sees it: samples, classes, groups, splits, and images read by row.
//!
//! Images stay on disk: they are read by position (`formats::images`), or mapped by the trainer.

pub mod splits;
pub mod summary;

use std::path::{Path, PathBuf};

use crate::formats::dataset::{self, DatasetError, DatasetJson, SampleRow, Split};
use crate::formats::images::Shard;

pub use summary::write_in_memory;

/// An open DATASET. Reading is `&self` and safe from several threads.
#[derive(Debug)]
pub struct Dataset {
    path: PathBuf,
    json: DatasetJson,
    samples: Vec<SampleRow>,
    classes: Vec<String>,
    groups: Vec<String>,
    shards: Vec<Shard>,
}

impl Dataset {
    /// Opens a complete dataset and checks that tables, classes, groups and shards agree.
    ///
    /// # Errors
    /// [`DatasetError`] with the file and what is wrong in it.
    pub fn open(folder: &Path) -> Result<Self, DatasetError> {
        let json = dataset::read_dataset_json(folder)?;
        let samples = dataset::read_samples(folder)?;
        let shape = (json.image.channels, json.image.height, json.image.width);
        let check = |shard: &dataset::ShardInfo| Shard::check(&folder.join(&shard.file), shape);
        let shards = json.shards.iter().map(check).collect::<Result<Vec<_>, _>>()?;
        let classes = json.classes.clone();
        let groups = json.groups.iter().map(|group| group.name.clone()).collect();
        let dataset = Self { path: folder.to_path_buf(), json, samples, classes, groups, shards };
        dataset.check()?;
        Ok(dataset)
    }

    fn check(&self) -> Result<(), DatasetError> {
        let path = self.path.join(dataset::SAMPLES_PARQUET);
        let value = |name, found: String, expected: &str| DatasetError::Value {
            path: path.clone(),
            name,
            found,
            expected: expected.to_owned(),
        };
        for sample in &self.samples {
            if !self.classes.contains(&sample.label) {
                return Err(value("label", sample.label.clone(), "one of the classes of dataset.json"));
            }
            if self.groups.binary_search(&sample.group).is_err() {
                return Err(value("group", sample.group.clone(), "one of the groups of dataset.json"));
            }
            let shard = usize::try_from(sample.shard).ok().and_then(|shard| self.shards.get(shard));
            let Some(shard) = shard else {
                return Err(value("shard", sample.shard.to_string(), "one of the shards of dataset.json"));
            };
            if !usize::try_from(sample.row).is_ok_and(|row| row < shard.rows()) {
                return Err(value("row", sample.row.to_string(), "a row of its shard"));
            }
        }
        Ok(())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `dataset.json`.
    pub fn json(&self) -> &DatasetJson {
        &self.json
    }

    /// `samples.parquet`, in file order.
    pub fn samples(&self) -> &[SampleRow] {
        &self.samples
    }

    /// Class names; the position is the index of the logit.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Group names, byte-sorted; the position is the index in tables of q.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// (channels, rows, columns) of every image.
    pub fn image_shape(&self) -> (usize, usize, usize) {
        (self.json.image.channels, self.json.image.height, self.json.image.width)
    }

    /// Index of the class of sample `index`.
    ///
    /// # Panics
    /// When `index` is no sample: a caller's bug.
    pub fn class_index(&self, index: usize) -> usize {
        let label = &self.samples[index].label;
        self.classes.iter().position(|class| class == label).expect("checked when the dataset was opened")
    }

    /// Index of the group of sample `index`.
    ///
    /// # Panics
    /// When `index` is no sample: a caller's bug.
    pub fn group_index(&self, index: usize) -> usize {
        self.groups.binary_search(&self.samples[index].group).expect("checked when the dataset was opened")
    }

    /// The split of sample `index`; with `fold` = K: test = fold K, validation = fold (K + 1) mod k (with sites as folds: the
    /// validation subjects of the other sites), training = the rest and null.
    ///
    /// # Panics
    /// When `index` is no sample, or `fold` is given without k-fold in the dataset: a caller's bug.
    pub fn split(&self, index: usize, fold: Option<usize>) -> Split {
        let sample = &self.samples[index];
        let Some(test) = fold else { return sample.split };
        let folds = self.json.folds.expect("the caller checks that the dataset has folds");
        let found = sample.fold.and_then(|found| usize::try_from(found).ok());
        if let Some(sites) = &self.json.site_folds {
            return match found {
                Some(found) if found == test => Split::Test,
                _ if sites.validation_subjects.binary_search(&sample.subject_id).is_ok() => Split::Val,
                _ => Split::Train,
            };
        }
        match found {
            Some(found) if found == test => Split::Test,
            Some(found) if found == (test + 1) % folds => Split::Val,
            _ => Split::Train,
        }
    }

    /// The shards, in the order of their numbers.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Shard and row in it of the image of sample `index`.
    ///
    /// # Panics
    /// When `index` is no sample: a caller's bug.
    pub fn place(&self, index: usize) -> (usize, usize) {
        let sample = &self.samples[index];
        let (Ok(shard), Ok(row)) = (usize::try_from(sample.shard), usize::try_from(sample.row)) else {
            unreachable!("checked when the dataset was opened")
        };
        (shard, row)
    }

    /// Reads the images of samples `rows` (indices into [`Self::samples`]) one after the other into `images`
    /// (`rows.len()` x c x h x w, float32).
    ///
    /// # Errors
    /// [`DatasetError`] when a shard cannot be read.
    ///
    /// # Panics
    /// When an index is no sample or `images` has another length: a caller's bug.
    pub fn read_rows(&self, rows: &[usize], images: &mut [f32]) -> Result<(), DatasetError> {
        let (channels, height, width) = self.image_shape();
        let per_image = channels * height * width;
        assert_eq!(images.len(), rows.len() * per_image, "the batch's size");
        let (mut scratch, mut last) = (Vec::new(), None);
        for (&row, image) in rows.iter().zip(images.chunks_exact_mut(per_image)) {
            let (shard, row) = self.place(row);
            let open = match last.take() {
                Some((number, open)) if number == shard => open,
                _ => self.shards[shard].open()?,
            };
            open.read(row, image, &mut scratch)?;
            last = Some((shard, open));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
