//! Models from CSV files of probabilities, whoever made them, and the labels that may come in a file of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::AuditError;
use super::facet::{Facet, Facets, age_band, field_strength};
use super::model::{Model, Row, sha256};
use super::report::{Identity, SourceKind};
use crate::fsx;

/// A table of predictions is smaller than this.
const CAP_BYTES: u64 = 1 << 30;
/// What comes before the class name in a probability's column.
const PROBABILITY_PREFIX: &str = "prob_";
/// Probabilities of a row may miss a sum of 1 by rounding.
const SUM_TOLERANCE: f64 = 0.01;

/// A CSV in memory: headers, and cells with their 1-based lines.
struct Csv {
    path: PathBuf,
    headers: Vec<String>,
    rows: Vec<(u64, Vec<String>)>,
}

impl Csv {
    fn read(path: &Path) -> Result<Self, AuditError> {
        let text = fsx::read_text(path, CAP_BYTES)?;
        let wrong = |source| AuditError::Csv { path: path.to_path_buf(), source };
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let headers: Vec<String> = reader.headers().map_err(wrong)?.iter().map(str::to_owned).collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(wrong)?;
            let line = record.position().map_or(0, csv::Position::line);
            rows.push((line, record.iter().map(str::to_owned).collect()));
        }
        Ok(Self { path: path.to_path_buf(), headers, rows })
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.headers.iter().position(|header| header == name)
    }

    fn missing(&self, expected: &'static str, remedy: &'static str) -> AuditError {
        AuditError::Column { path: self.path.clone(), expected, found: self.headers.clone(), remedy }
    }

    fn cell_error(&self, line: u64, column: &str, problem: String) -> AuditError {
        AuditError::Cell { path: self.path.clone(), line, column: column.to_owned(), problem }
    }

    /// A non-empty cell.
    fn text(cells: &[String], column: Option<usize>) -> Option<&str> {
        cells.get(column?).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A number, or an error that says what was found; empty is unknown.
    fn number(&self, (line, cells): (u64, &[String]), name: &str) -> Result<Option<f64>, AuditError> {
        let Some(text) = Self::text(cells, self.column(name)) else { return Ok(None) };
        let parsed = text.parse::<f64>().ok().filter(|value| value.is_finite());
        parsed
            .map(Some)
            .ok_or_else(|| self.cell_error(line, name, format!("`{text}` is no number; write 0.5, not 0,5 or 50 %")))
    }
}

/// What a labels file says of one subject or stack.
#[derive(Debug, Clone, PartialEq)]
struct LabelEntry {
    line: u64,
    label: String,
    group: Option<String>,
    site: Option<String>,
}

/// Labels for predictions that have none.
#[derive(Debug)]
pub(super) struct Labels {
    path: PathBuf,
    by_stack: BTreeMap<String, LabelEntry>,
    by_subject: BTreeMap<String, LabelEntry>,
    /// Of the file.
    pub(super) sha256: String,
}

impl Labels {
    /// Reads the file of `--labels`.
    pub(super) fn read(path: &Path) -> Result<Self, AuditError> {
        let csv = Csv::read(path)?;
        let (subject, stack) = (csv.column("subject_id"), csv.column("stack_id"));
        if subject.is_none() && stack.is_none() {
            return Err(csv.missing("`subject_id` or `stack_id`", "name the ids as in the predictions"));
        }
        let label = csv.column("label").ok_or_else(|| csv.missing("`label`", "name the true class of each row"))?;
        let (group, site) = (csv.column("group"), csv.column("site"));
        let mut labels = Self {
            path: path.to_path_buf(),
            by_stack: BTreeMap::new(),
            by_subject: BTreeMap::new(),
            sha256: sha256(path)?,
        };
        for (line, cells) in &csv.rows {
            let Some(label) = Csv::text(cells, Some(label)) else { continue };
            let owned = |column| Csv::text(cells, column).map(str::to_owned);
            let entry = LabelEntry { line: *line, label: label.to_owned(), group: owned(group), site: owned(site) };
            // A row with a stack is about that stack, and about the subject only where no row has one.
            let (map, id) = match (Csv::text(cells, stack), Csv::text(cells, subject)) {
                (Some(id), _) => (&mut labels.by_stack, id),
                (None, Some(id)) => (&mut labels.by_subject, id),
                (None, None) => return Err(csv.cell_error(*line, "subject_id", "is empty".to_owned())),
            };
            let before = map.entry(id.to_owned()).or_insert_with(|| entry.clone());
            if before.label != entry.label {
                let problem = format!("`{label}`, but line {} has `{}` for the same id", before.line, before.label);
                return Err(csv.cell_error(*line, "label", problem));
            }
        }
        Ok(labels)
    }

    fn find(&self, subject: &str, stack: Option<&str>) -> Option<&LabelEntry> {
        stack.and_then(|stack| self.by_stack.get(stack)).or_else(|| self.by_subject.get(subject))
    }
}

/// Where the columns of a predictions CSV are.
struct Columns {
    subject: usize,
    stack: Option<usize>,
    label: Option<usize>,
    group: Option<usize>,
    acquisition: Option<usize>,
    site: Option<usize>,
    probabilities: Vec<(String, usize)>,
}

impl Columns {
    fn find(csv: &Csv, has_labels_file: bool) -> Result<Self, AuditError> {
        let subject = csv.column("subject_id");
        let subject =
            subject.ok_or_else(|| csv.missing("`subject_id`", "add one id per patient, the same in all rows"))?;
        let label = csv.column("label");
        if label.is_none() && !has_labels_file {
            return Err(csv.missing("`label`", "add it, or give the labels with --labels CSV"));
        }
        let (group, acquisition) = (csv.column("group"), csv.column("acquisition_group"));
        if group.is_none() && acquisition.is_none() {
            return Err(csv.missing("`group`", "add the site or scanner of each row"));
        }
        let class = |(index, header): (usize, &String)| {
            header.strip_prefix(PROBABILITY_PREFIX).map(|class| (class.to_owned(), index))
        };
        let probabilities: Vec<_> = csv.headers.iter().enumerate().filter_map(class).collect();
        if probabilities.len() < 2 {
            return Err(csv.missing("`prob_<label>` for two classes or more", "add one column per class"));
        }
        let (stack, site) = (csv.column("stack_id"), csv.column("site"));
        Ok(Self { subject, stack, label, group, acquisition, site, probabilities })
    }
}

/// The model of a CSV.
pub(super) fn read_csv(path: &Path, labels: Option<&Labels>) -> Result<Model, AuditError> {
    let csv = Csv::read(path)?;
    let columns = Columns::find(&csv, labels.is_some())?;
    let mut rows = Vec::new();
    let (mut unlabelled, mut unpredicted) = (0_usize, 0_usize);
    for (line, cells) in &csv.rows {
        let at = (*line, cells.as_slice());
        let Some(probabilities) = probabilities(&csv, at, &columns)? else {
            unpredicted += 1;
            continue;
        };
        match row(&csv, at, &columns, labels, probabilities)? {
            Some(row) => rows.push(row),
            None => unlabelled += 1,
        }
    }
    if rows.is_empty() {
        let problem = if csv.rows.is_empty() {
            "no row below the header".to_owned()
        } else {
            format!(
                "none of {} rows has a label and probabilities; check that the ids of --labels are those of the predictions",
                csv.rows.len()
            )
        };
        return Err(AuditError::Labels { path: path.to_path_buf(), problem });
    }
    let mut warnings = Vec::new();
    let mut warn = |count: usize, what: &str| {
        if count > 0 {
            warnings.push(format!("{count} of {} rows {what}; they are not in this report.", csv.rows.len()));
        }
    };
    warn(unlabelled, "have no label");
    warn(unpredicted, "have no probabilities: the model gave none for them");
    let classes = columns.probabilities.into_iter().map(|(class, _)| class).collect();
    Ok(Model { identity: identity(sha256(path)?), classes, rows, training: None, warnings })
}

/// Probabilities of a row, scaled to a sum of exactly 1; `None` when all are empty.
fn probabilities(csv: &Csv, at: (u64, &[String]), columns: &Columns) -> Result<Option<Vec<f64>>, AuditError> {
    let (line, cells) = at;
    if columns.probabilities.iter().all(|(_, index)| Csv::text(cells, Some(*index)).is_none()) {
        return Ok(None);
    }
    let mut values = Vec::new();
    for (class, _) in &columns.probabilities {
        let name = format!("{PROBABILITY_PREFIX}{class}");
        let value = csv.number(at, &name)?.ok_or_else(|| csv.cell_error(line, &name, "is empty".to_owned()))?;
        if !(0.0..=1.0).contains(&value) {
            return Err(csv.cell_error(
                line,
                &name,
                format!("{value} is no probability from 0 to 1; logits need a softmax"),
            ));
        }
        values.push(value);
    }
    let sum: f64 = values.iter().sum();
    if (sum - 1.0).abs() > SUM_TOLERANCE {
        let problem = format!("the probabilities of this row sum to {sum}, expected 1; give one column per class");
        return Err(csv.cell_error(line, "prob_*", problem));
    }
    values.iter_mut().for_each(|value| *value /= sum);
    Ok(Some(values))
}

/// A row with its label; `None` when nobody labels it.
fn row(
    csv: &Csv,
    (line, cells): (u64, &[String]),
    columns: &Columns,
    labels: Option<&Labels>,
    probabilities: Vec<f64>,
) -> Result<Option<Row>, AuditError> {
    let subject = Csv::text(cells, Some(columns.subject));
    let subject = subject.ok_or_else(|| csv.cell_error(line, "subject_id", "is empty".to_owned()))?;
    let stack = Csv::text(cells, columns.stack);
    let entry = labels.and_then(|labels| labels.find(subject, stack));
    let own = Csv::text(cells, columns.label);
    let Some(label) = own.or(entry.map(|entry| entry.label.as_str())) else { return Ok(None) };
    let classes = &columns.probabilities;
    let Some(index) = classes.iter().position(|(class, _)| class == label) else {
        let names: Vec<&str> = classes.iter().map(|(class, _)| class.as_str()).collect();
        let problem = format!("`{label}` has no column prob_{label}; the classes are {}", names.join(", "));
        // The label is wrong where it was written: in the labels file or here.
        return Err(match (own, entry, labels) {
            (None, Some(entry), Some(labels)) => {
                AuditError::Cell { path: labels.path.clone(), line: entry.line, column: "label".to_owned(), problem }
            }
            _ => csv.cell_error(line, "label", problem),
        });
    };
    let facets = facets(csv, (line, cells), columns, entry)?;
    let stack = stack.unwrap_or(subject).to_owned();
    Ok(Some(Row { subject: subject.to_owned(), stack, label: index, facets, probabilities }))
}

fn facets(
    csv: &Csv,
    at: (u64, &[String]),
    columns: &Columns,
    entry: Option<&LabelEntry>,
) -> Result<Facets, AuditError> {
    let cells = at.1;
    let owned = |column| Csv::text(cells, column).map(str::to_owned);
    let group = owned(columns.group).or_else(|| entry.and_then(|entry| entry.group.clone()));
    let acquisition = owned(columns.acquisition).or_else(|| group.clone());
    let group = group.or_else(|| acquisition.clone());
    let (Some(group), Some(acquisition)) = (group, acquisition) else {
        return Err(csv.cell_error(at.0, "group", "is empty; write `unknown` where it is not known".to_owned()));
    };
    let site = owned(columns.site).or_else(|| entry.and_then(|entry| entry.site.clone()));
    let site = if columns.site.is_none() && site.is_none() { Some(acquisition.clone()) } else { site };
    let named = |name: &str| owned(csv.column(name));
    let mut facets = Facets::default();
    facets.set(Facet::AcquisitionGroup, Some(acquisition));
    facets.set(Facet::Group, Some(group));
    facets.set(Facet::Site, site);
    facets.set(Facet::Vendor, named("vendor"));
    facets.set(Facet::Model, named("model"));
    facets.set(Facet::FieldStrength, csv.number(at, "field_strength_t")?.and_then(field_strength));
    facets.set(Facet::Sex, named("sex"));
    facets.set(Facet::Age, csv.number(at, "age_years")?.and_then(age_band));
    Ok(facets)
}

fn identity(csv_sha256: String) -> Identity {
    Identity {
        name: "predictions".to_owned(),
        source: SourceKind::Csv,
        objective: None,
        architecture: None,
        parameters: None,
        seed: None,
        selection: None,
        teacher: None,
        held_out: None,
        dataset_hash: None,
        plan_hash: None,
        train_counts: BTreeMap::new(),
        networks: Vec::new(),
        csv_sha256: Some(csv_sha256),
        warnings: Vec::new(),
    }
}
