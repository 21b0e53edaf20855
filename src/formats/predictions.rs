//! `predictions.parquet` of a RUN: one row per sample of every split, with the logits of the selected epoch in eval mode.

use std::path::{Path, PathBuf};

use super::dataset::{SampleRow, Split};
use super::table::{Column, Table, TableError};
use crate::failure::Classify;

/// What comes before the class name in a logit's column.
const LOGIT_PREFIX: &str = "logit_";

/// Why predictions cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictionsError {
    /// A table that cannot be read or written.
    #[error("`{}`: not the predictions of a run", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: TableError,
    },
    /// A value outside the format.
    #[error("`{}`: {column} is `{found}` in row {row}, expected {expected}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// 0-based row.
        row: usize,
        /// What is there.
        found: String,
        /// What the format says.
        expected: &'static str,
    },
    /// No `logit_` column.
    #[error("`{}` has no column `logit_<label>`", path.display())]
    NoLogits {
        /// The file.
        path: PathBuf,
    },
}

impl Classify for PredictionsError {}

/// One sample with its logits. `None` is unknown.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionRow {
    /// As in `samples.parquet`.
    pub sample_id: String,
    /// Pseudonym of the patient.
    pub subject_id: String,
    /// The stack the sample was cut from.
    pub stack_id: String,
    /// As this run saw it (with `--fold K`, not as `samples.parquet` has it).
    pub split: Split,
    /// True class name.
    pub label: String,
    /// Group without the label.
    pub acquisition_group: String,
    /// Group of q and of the worst-group accuracy.
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
    /// Age, years.
    pub age_years: Option<f64>,
    /// One per class, in the order of [`Predictions::classes`]; finite.
    pub logits: Vec<f32>,
}

impl PredictionRow {
    /// The row of a sample, as a run sees it.
    pub fn of(sample: &SampleRow, split: Split, logits: Vec<f32>) -> Self {
        Self {
            sample_id: sample.sample_id.clone(),
            subject_id: sample.subject_id.clone(),
            stack_id: sample.stack_id.clone(),
            split,
            label: sample.label.clone(),
            acquisition_group: sample.acquisition_group.clone(),
            group: sample.group.clone(),
            site: sample.site.clone(),
            vendor: sample.vendor.clone(),
            model: sample.model.clone(),
            field_strength_t: sample.field_strength_t,
            sex: sample.sex.clone(),
            age_years: sample.age_years,
            logits,
        }
    }
}

/// The whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// Class names; the position is the index in `logits`.
    pub classes: Vec<String>,
    /// In the order of `samples.parquet`.
    pub rows: Vec<PredictionRow>,
}

impl Predictions {
    /// As a table: the columns of the design, then `logit_<label>` per class.
    ///
    /// # Panics
    /// When a row has another number of logits than there are classes: a caller's bug.
    pub fn to_table(&self) -> Table {
        let text = |value: fn(&PredictionRow) -> Option<&String>| {
            Column::Text(self.rows.iter().map(|row| value(row).cloned()).collect())
        };
        let float = |value: fn(&PredictionRow) -> Option<f64>| Column::Float64(self.rows.iter().map(value).collect());
        let split = self.rows.iter().map(|row| Some(row.split.as_str().to_owned())).collect();
        let table = Table::new()
            .with("sample_id", text(|row| Some(&row.sample_id)))
            .with("subject_id", text(|row| Some(&row.subject_id)))
            .with("stack_id", text(|row| Some(&row.stack_id)))
            .with("split", Column::Text(split))
            .with("label", text(|row| Some(&row.label)))
            .with("acquisition_group", text(|row| Some(&row.acquisition_group)))
            .with("group", text(|row| Some(&row.group)))
            .with("site", text(|row| row.site.as_ref()))
            .with("vendor", text(|row| row.vendor.as_ref()))
            .with("model", text(|row| row.model.as_ref()))
            .with("field_strength_t", float(|row| row.field_strength_t))
            .with("sex", text(|row| row.sex.as_ref()))
            .with("age_years", float(|row| row.age_years));
        self.classes.iter().enumerate().fold(table, |table, (index, class)| {
            let logits = self.rows.iter().map(|row| Some(row.logits[index])).collect();
            table.with(&format!("{LOGIT_PREFIX}{class}"), Column::Float32(logits))
        })
    }

    /// From a table that was read from `path`.
    ///
    /// # Errors
    /// [`PredictionsError::Table`] for a missing column or null, [`PredictionsError::Value`] for a split of another name or a
    /// logit that is not finite, [`PredictionsError::NoLogits`].
    pub fn from_table(table: &Table, path: &Path) -> Result<Self, PredictionsError> {
        let wrong = |source| PredictionsError::Table { path: path.to_path_buf(), source };
        let classes: Vec<String> =
            table.names().filter_map(|name| name.strip_prefix(LOGIT_PREFIX)).map(str::to_owned).collect();
        if classes.is_empty() {
            return Err(PredictionsError::NoLogits { path: path.to_path_buf() });
        }
        let required = ["sample_id", "subject_id", "stack_id", "split", "label", "acquisition_group", "group"];
        let required = required.map(|name| table.required_text(name));
        let [sample_id, subject_id, stack_id, split, label, acquisition_group, group] = required;
        let required = [
            sample_id.map_err(wrong)?,
            subject_id.map_err(wrong)?,
            stack_id.map_err(wrong)?,
            split.map_err(wrong)?,
            label.map_err(wrong)?,
            acquisition_group.map_err(wrong)?,
            group.map_err(wrong)?,
        ];
        let site = table.text("site").map_err(wrong)?;
        let vendor = table.text("vendor").map_err(wrong)?;
        let model = table.text("model").map_err(wrong)?;
        let sex = table.text("sex").map_err(wrong)?;
        let field_strength_t = table.float64("field_strength_t").map_err(wrong)?;
        let age_years = table.float64("age_years").map_err(wrong)?;
        let logits = classes.iter().map(|class| table.required_float32(&format!("{LOGIT_PREFIX}{class}")));
        let logits = logits.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        let row = |row: usize| {
            let [sample_id, subject_id, stack_id, split, label, acquisition_group, group] =
                std::array::from_fn(|column| required[column][row].clone());
            Ok(PredictionRow {
                split: split_of(split, row, path)?,
                logits: logits_of(&logits, &classes, row, path)?,
                sample_id,
                subject_id,
                stack_id,
                label,
                acquisition_group,
                group,
                site: site[row].clone(),
                vendor: vendor[row].clone(),
                model: model[row].clone(),
                field_strength_t: field_strength_t[row],
                sex: sex[row].clone(),
                age_years: age_years[row],
            })
        };
        let rows = (0..table.rows()).map(row).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { classes, rows })
    }

    /// Writes the file atomically.
    ///
    /// # Errors
    /// [`PredictionsError::Table`].
    pub fn write(&self, path: &Path) -> Result<(), PredictionsError> {
        let wrong = |source| PredictionsError::Table { path: path.to_path_buf(), source };
        self.to_table().write_parquet(path).map_err(wrong)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// As [`Self::from_table`].
    pub fn read(path: &Path) -> Result<Self, PredictionsError> {
        let wrong = |source| PredictionsError::Table { path: path.to_path_buf(), source };
        Self::from_table(&Table::read_parquet(path).map_err(wrong)?, path)
    }
}

fn split_of(found: String, row: usize, path: &Path) -> Result<Split, PredictionsError> {
    Split::from_name(&found).ok_or_else(|| PredictionsError::Value {
        path: path.to_path_buf(),
        column: "split".to_owned(),
        row,
        found,
        expected: "train, val or test",
    })
}

fn logits_of(columns: &[Vec<f32>], classes: &[String], row: usize, path: &Path) -> Result<Vec<f32>, PredictionsError> {
    let value = |(column, class): (&Vec<f32>, &String)| {
        let logit = column[row];
        if logit.is_finite() {
            return Ok(logit);
        }
        Err(PredictionsError::Value {
            path: path.to_path_buf(),
            column: format!("{LOGIT_PREFIX}{class}"),
            row,
            found: logit.to_string(),
            expected: "a finite number",
        })
    };
    columns.iter().zip(classes).map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions() -> Predictions {
        let row = PredictionRow {
            sample_id: "sample".into(),
            subject_id: "subject".into(),
            stack_id: "stack".into(),
            split: Split::Val,
            label: "DCM".into(),
            acquisition_group: "site=a".into(),
            group: "label=DCM;site=a".into(),
            site: Some("a".into()),
            vendor: None,
            model: None,
            field_strength_t: Some(1.5),
            sex: None,
            age_years: Some(61.0),
            logits: vec![0.25, -1.5],
        };
        let other = PredictionRow { split: Split::Test, logits: vec![1.0, 2.0], ..row.clone() };
        Predictions { classes: vec!["DCM".into(), "NOR".into()], rows: vec![row, other] }
    }

    #[test]
    fn predictions_come_back_as_written_with_the_columns_of_the_design() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.parquet");
        predictions().write(&path).unwrap();
        assert_eq!(Predictions::read(&path).unwrap(), predictions());
        let names = predictions().to_table().names().map(str::to_owned).collect::<Vec<_>>().join(", ");
        // Copied from the design, section 3, RUN.
        let design = "sample_id, subject_id, stack_id, split, label, acquisition_group, group, site, vendor, model, \
                      field_strength_t, sex, age_years, logit_DCM, logit_NOR";
        assert_eq!(names, design);
    }

    #[test]
    fn a_logit_that_is_not_finite_is_named_with_its_row() {
        let mut broken = predictions();
        broken.rows[1].logits[0] = f32::NAN;
        let error = Predictions::from_table(&broken.to_table(), Path::new("p")).unwrap_err();
        assert!(matches!(&error, PredictionsError::Value { row: 1, column, .. } if column == "logit_DCM"), "{error}");
    }
}
