//! The files of a DATASET (design, section 3): `dataset.json`, `samples.parquet`, `exclusions.parquet` and `.csv`. `plan.json` is
//! [`super::plan`], the image shards are [`super::images`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::table::{Column, Table, TableError};
use crate::failure::Classify;
use crate::fsx::{self, FsError};

/// The folder's JSON, written last.
pub const DATASET_JSON: &str = "dataset.json";
/// The table of samples.
pub const SAMPLES_PARQUET: &str = "samples.parquet";
/// The table of stacks that gave no sample; a CSV twin lies beside it.
pub const EXCLUSIONS_PARQUET: &str = "exclusions.parquet";
/// `schema` of `dataset.json`.
pub const DATASET_SCHEMA: &str = "groupdistil.dataset/1";

/// No JSON of a dataset is larger than this.
const JSON_CAP_BYTES: u64 = 256 << 20;

/// Why a DATASET cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// A file operation failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// A table that cannot be read.
    #[error("`{}`: not the table of a dataset", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: TableError,
    },
    /// A JSON that cannot be read.
    #[error("`{}`: not the JSON of a dataset", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// serde's reason.
        source: serde_json::Error,
    },
    /// A value outside the format.
    #[error("`{}`: {name} is `{found}`, expected {expected}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The field or column.
        name: &'static str,
        /// What is there.
        found: String,
        /// What the format says.
        expected: String,
    },
    /// The folder has no `dataset.json`.
    #[error("`{}` is no complete dataset (no dataset.json); run `groupdistil preprocess` to its end", path.display())]
    Incomplete {
        /// The folder.
        path: PathBuf,
    },
}

impl Classify for DatasetError {}

/// Which part of the data a sample belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Gradient steps.
    Train,
    /// Selection of the epoch.
    Val,
    /// The report.
    Test,
}

impl Split {
    /// All three, in this order everywhere.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// As written in `samples.parquet`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }

    /// The split of a written name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|split| split.as_str() == name)
    }
}

/// One row of `samples.parquet`: one image of `images-*.npy` with what it was made from. `None` is unknown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRow {
    /// 26 characters of base32, from stack, slices and phases.
    pub sample_id: String,
    /// Pseudonym of the patient.
    pub subject_id: String,
    /// The stack the sample was cut from.
    pub stack_id: String,
    /// 0-based slices of the stack that were used, in channel order without repetition.
    pub slices: Vec<i32>,
    /// 0-based phases of the stack that were used, in channel order.
    pub phases: Vec<i32>,
    /// Class name, one of `dataset.json`'s `classes`.
    pub label: String,
    /// Group without the label: scanner, site.
    pub acquisition_group: String,
    /// Group that drives q and worst-group accuracy.
    pub group: String,
    /// Site.
    pub site: Option<String>,
    /// Normalised vendor.
    pub vendor: Option<String>,
    /// Scanner model.
    pub model: Option<String>,
    /// Field strength, T.
    pub field_strength_t: Option<f64>,
    /// Sex as in the source.
    pub sex: Option<String>,
    /// Age, years, 90 for all above 89.
    pub age_years: Option<f64>,
    /// Train, validation or test; with k folds as fold 0 sees it.
    pub split: Split,
    /// Fold `0..k-1`; `None` = no folds, or training only in every fold.
    pub fold: Option<i32>,
    /// Number in the name of the image file.
    pub shard: i32,
    /// Row in that file.
    pub row: i32,
}

/// `samples.parquet` from its rows.
pub fn samples_to_table(rows: &[SampleRow]) -> Table {
    fn text(rows: &[SampleRow], value: impl Fn(&SampleRow) -> Option<&str>) -> Column {
        Column::Text(rows.iter().map(|row| value(row).map(str::to_owned)).collect())
    }
    fn float(rows: &[SampleRow], value: impl Fn(&SampleRow) -> Option<f64>) -> Column {
        Column::Float64(rows.iter().map(value).collect())
    }
    fn int(rows: &[SampleRow], value: impl Fn(&SampleRow) -> Option<i32>) -> Column {
        Column::Int32(rows.iter().map(value).collect())
    }
    Table::new()
        .with("sample_id", text(rows, |row| Some(&row.sample_id)))
        .with("subject_id", text(rows, |row| Some(&row.subject_id)))
        .with("stack_id", text(rows, |row| Some(&row.stack_id)))
        .with("slices", Column::Int32List(rows.iter().map(|row| Some(row.slices.clone())).collect()))
        .with("phases", Column::Int32List(rows.iter().map(|row| Some(row.phases.clone())).collect()))
        .with("label", text(rows, |row| Some(&row.label)))
        .with("acquisition_group", text(rows, |row| Some(&row.acquisition_group)))
        .with("group", text(rows, |row| Some(&row.group)))
        .with("site", text(rows, |row| row.site.as_deref()))
        .with("vendor", text(rows, |row| row.vendor.as_deref()))
        .with("model", text(rows, |row| row.model.as_deref()))
        .with("field_strength_t", float(rows, |row| row.field_strength_t))
        .with("sex", text(rows, |row| row.sex.as_deref()))
        .with("age_years", float(rows, |row| row.age_years))
        .with("split", text(rows, |row| Some(row.split.as_str())))
        .with("fold", int(rows, |row| row.fold))
        .with("shard", int(rows, |row| Some(row.shard)))
        .with("row", int(rows, |row| Some(row.row)))
}

/// The rows of a `samples.parquet` that was read from `path`.
///
/// # Errors
/// [`DatasetError::Table`] for a missing column or null, [`DatasetError::Value`] for a split of another name.
pub fn samples_from_table(table: &Table, path: &Path) -> Result<Vec<SampleRow>, DatasetError> {
    let wrong = |source| DatasetError::Table { path: path.to_path_buf(), source };
    let columns = SampleColumns::of(table).map_err(wrong)?;
    (0..table.rows()).map(|row| columns.row(row, path)).collect()
}

/// The columns of `samples.parquet`, found once.
struct SampleColumns<'a> {
    required: [Vec<String>; 7],
    slices: Vec<Vec<i32>>,
    phases: Vec<Vec<i32>>,
    optional: [&'a [Option<String>]; 4],
    field_strength_t: &'a [Option<f64>],
    age_years: &'a [Option<f64>],
    fold: &'a [Option<i32>],
    shard: Vec<i32>,
    row: Vec<i32>,
}

impl<'a> SampleColumns<'a> {
    fn of(table: &'a Table) -> Result<Self, TableError> {
        let required = |name| table.required_text(name);
        Ok(Self {
            required: [
                required("sample_id")?,
                required("subject_id")?,
                required("stack_id")?,
                required("label")?,
                required("acquisition_group")?,
                required("group")?,
                required("split")?,
            ],
            slices: table.required_int32_list("slices")?,
            phases: table.required_int32_list("phases")?,
            optional: [table.text("site")?, table.text("vendor")?, table.text("model")?, table.text("sex")?],
            field_strength_t: table.float64("field_strength_t")?,
            age_years: table.float64("age_years")?,
            fold: table.int32("fold")?,
            shard: table.required_int32("shard")?,
            row: table.required_int32("row")?,
        })
    }

    fn row(&self, row: usize, path: &Path) -> Result<SampleRow, DatasetError> {
        let [sample_id, subject_id, stack_id, label, acquisition_group, group, split] =
            std::array::from_fn(|column| self.required[column][row].clone());
        let [site, vendor, model, sex] = std::array::from_fn(|column| self.optional[column][row].clone());
        let split = Split::from_name(&split).ok_or_else(|| DatasetError::Value {
            path: path.to_path_buf(),
            name: "split",
            found: split,
            expected: "train, val or test".to_owned(),
        })?;
        Ok(SampleRow {
            sample_id,
            subject_id,
            stack_id,
            slices: self.slices[row].clone(),
            phases: self.phases[row].clone(),
            label,
            acquisition_group,
            group,
            site,
            vendor,
            model,
            field_strength_t: self.field_strength_t[row],
            sex,
            age_years: self.age_years[row],
            split,
            fold: self.fold[row],
            shard: self.shard[row],
            row: self.row[row],
        })
    }
}

/// One row of `exclusions.parquet`: a stack of the cohort that gave no sample, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExclusionRow {
    /// The stack.
    pub stack_id: String,
    /// Its subject.
    pub subject_id: String,
    /// Step that left it out: `selection`, `read`, `geometry`, `phases`, `intensity`.
    pub stage: String,
    /// Closed kebab-case list, see `preprocess::StackRejected`.
    pub reason: String,
    /// For people; without path or identity.
    pub message: String,
}

/// `exclusions.parquet` from its rows.
pub fn exclusions_to_table(rows: &[ExclusionRow]) -> Table {
    let text =
        |value: fn(&ExclusionRow) -> &str| Column::Text(rows.iter().map(|row| Some(value(row).to_owned())).collect());
    Table::new()
        .with("stack_id", text(|row| &row.stack_id))
        .with("subject_id", text(|row| &row.subject_id))
        .with("stage", text(|row| &row.stage))
        .with("reason", text(|row| &row.reason))
        .with("message", text(|row| &row.message))
}

/// The rows of an `exclusions.parquet`.
///
/// # Errors
/// [`TableError`] for a missing column or null.
pub fn exclusions_from_table(table: &Table) -> Result<Vec<ExclusionRow>, TableError> {
    let columns = ["stack_id", "subject_id", "stage", "reason", "message"].map(|name| table.required_text(name));
    let [stack_id, subject_id, stage, reason, message] = columns;
    let (stack_id, subject_id, stage, reason, message) = (stack_id?, subject_id?, stage?, reason?, message?);
    let row = |row: usize| ExclusionRow {
        stack_id: stack_id[row].clone(),
        subject_id: subject_id[row].clone(),
        stage: stage[row].clone(),
        reason: reason[row].clone(),
        message: message[row].clone(),
    };
    Ok((0..table.rows()).map(row).collect())
}

/// Shape and meaning of every image of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInfo {
    /// Channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Always `float16`.
    pub dtype: String,
    /// Distance of pixels in mm, or `None` where the sources have no spacing.
    pub pixel_spacing_mm: Option<f64>,
    /// What each channel shows, for example `end-diastole`.
    pub channel_names: Vec<String>,
}

/// How many there are of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Subjects.
    pub subjects: usize,
    /// Stacks.
    pub stacks: usize,
    /// Samples.
    pub samples: usize,
}

/// One group of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupInfo {
    /// As written in `samples.parquet`.
    pub name: String,
    /// Absent from training and validation on purpose.
    pub held_out: bool,
    /// Counts per split (as fold 0 sees it): `train`, `val`, `test`.
    pub splits: BTreeMap<Split, Counts>,
}

/// One image file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardInfo {
    /// `images-00000.npy`.
    pub file: String,
    /// Images in it.
    pub rows: usize,
    /// Lower-case hex SHA-256 of the file.
    pub sha256: String,
}

/// Folds that are sites: fold i tests all of site i.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteFolds {
    /// Names; the position is the fold.
    pub sites: Vec<String>,
    /// Subjects, sorted, that validate in every fold but their own site's; all others are trained on there.
    pub validation_subjects: Vec<String>,
}

/// `dataset.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetJson {
    /// [`DATASET_SCHEMA`].
    pub schema: String,
    /// `content_hash` of the cohort.
    pub cohort_hash: String,
    /// SHA-256 of `plan.json`.
    pub plan_hash: String,
    /// SHA-256 of what the plan makes of the golden raw stack (`preprocess::golden`); absent where the plan cannot be used on it, and
    /// in datasets of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden_stack_hash: Option<String>,
    /// SHA-256 over samples and images: what a RUN refers to.
    pub content_hash: String,
    /// Class names; the position is the index of the logit.
    pub classes: Vec<String>,
    /// Groups with at least one sample, byte-sorted; the position is the index in q's tables.
    pub groups: Vec<GroupInfo>,
    /// Acquisition groups with at least one sample, byte-sorted.
    pub acquisition_groups: Vec<String>,
    /// The images.
    pub image: ImageInfo,
    /// Number of folds, `None` without k-fold.
    pub folds: Option<usize>,
    /// With sites as folds: which, and who validates. Absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_folds: Option<SiteFolds>,
    /// Counts per split (as fold 0 sees it).
    pub splits: BTreeMap<Split, Counts>,
    /// Counts over everything.
    pub total: Counts,
    /// Stacks in `exclusions.parquet`.
    pub excluded_stacks: usize,
    /// Image files in order.
    pub shards: Vec<ShardInfo>,
}

/// Reads a JSON file of at most 256 MiB.
///
/// # Errors
/// [`DatasetError::Fs`] or [`DatasetError::Json`].
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, DatasetError> {
    let bytes = fsx::read(path, JSON_CAP_BYTES)?;
    serde_json::from_slice(&bytes).map_err(|source| DatasetError::Json { path: path.to_path_buf(), source })
}

/// Reads and checks `dataset.json` of the folder.
///
/// # Errors
/// [`DatasetError::Incomplete`] where it is absent, [`DatasetError::Value`] for another schema or image type.
pub fn read_dataset_json(folder: &Path) -> Result<DatasetJson, DatasetError> {
    let path = folder.join(DATASET_JSON);
    if !path.is_file() {
        return Err(DatasetError::Incomplete { path: folder.to_path_buf() });
    }
    let json: DatasetJson = read_json(&path)?;
    let value = |name, found: &str, expected: &str| DatasetError::Value {
        path: path.clone(),
        name,
        found: found.to_owned(),
        expected: expected.to_owned(),
    };
    if json.schema != DATASET_SCHEMA {
        return Err(value("schema", &json.schema, DATASET_SCHEMA));
    }
    if json.image.dtype != "float16" {
        return Err(value("image.dtype", &json.image.dtype, "float16"));
    }
    Ok(json)
}

/// Reads `samples.parquet` of the folder.
///
/// # Errors
/// As [`samples_from_table`].
pub fn read_samples(folder: &Path) -> Result<Vec<SampleRow>, DatasetError> {
    let path = folder.join(SAMPLES_PARQUET);
    let table = Table::read_parquet(&path).map_err(|source| DatasetError::Table { path: path.clone(), source })?;
    samples_from_table(&table, &path)
}

/// Reads `exclusions.parquet` of the folder.
///
/// # Errors
/// [`DatasetError::Table`].
pub fn read_exclusions(folder: &Path) -> Result<Vec<ExclusionRow>, DatasetError> {
    let path = folder.join(EXCLUSIONS_PARQUET);
    let wrong = |source| DatasetError::Table { path: path.clone(), source };
    exclusions_from_table(&Table::read_parquet(&path).map_err(wrong)?).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(number: i32) -> SampleRow {
        SampleRow {
            sample_id: format!("sample{number}"),
            subject_id: "subject".into(),
            stack_id: "stack".into(),
            slices: vec![number],
            phases: vec![0, 7],
            label: "NOR".into(),
            acquisition_group: "vendor=ge;site=a".into(),
            group: "vendor=ge;site=a".into(),
            site: Some("a".into()),
            vendor: Some("ge".into()),
            model: None,
            field_strength_t: Some(1.5),
            sex: None,
            age_years: Some(61.0),
            split: Split::Val,
            fold: (number > 0).then_some(number),
            shard: 0,
            row: number,
        }
    }

    #[test]
    fn samples_and_exclusions_come_back_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<_> = (0..3).map(sample).collect();
        samples_to_table(&rows).write_parquet(&folder.path().join(SAMPLES_PARQUET)).unwrap();
        assert_eq!(read_samples(folder.path()).unwrap(), rows);
        let exclusions = vec![ExclusionRow {
            stack_id: "stack".into(),
            subject_id: "subject".into(),
            stage: "selection".into(),
            reason: "view".into(),
            message: "a scout".into(),
        }];
        exclusions_to_table(&exclusions).write_parquet(&folder.path().join(EXCLUSIONS_PARQUET)).unwrap();
        assert_eq!(read_exclusions(folder.path()).unwrap(), exclusions);
    }

    #[test]
    fn a_folder_without_json_is_an_incomplete_dataset() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read_dataset_json(folder.path()), Err(DatasetError::Incomplete { .. })));
    }
}
