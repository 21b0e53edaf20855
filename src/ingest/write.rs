//! The COHORT folder: private, one writer, complete only with `cohort.json`; and the crosswalk, on request.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::deidentify::{DeidentifySummary, Export};
use super::discover::{Found, discover};
use super::privacy::Pseudonyms;
use super::scan::{CrosswalkRow, Scan, absolute, scan_found};
use super::{IngestError, groups, key};
use crate::context::Context;
use crate::formats::cohort::{
    COHORT_JSON, COHORT_SCHEMA, CohortCounts, CohortJson, FRAMES_PARQUET, GROUPS_JSON, GroupsJson, LEDGER_PARQUET,
    STACKS_PARQUET, frames_to_table, ledger_to_table, stacks_to_table,
};
use crate::formats::table::{Column, Table};
use crate::fsx;
use crate::outdir::{Opened, OutDir, OutDirError, Provenance, fingerprint};
use crate::settings::ingest::IngestSettings;

/// Raised when the same input gives other rows, so that an old cohort is not taken for up to date.
pub const GENERATION: &str = "ingest generation 3";
/// A CSV twin for people.
const LEDGER_CSV: &str = "ledger.csv";
/// Lines of label tables that speak of no scan.
const UNMATCHED_CSV: &str = "unmatched_labels.csv";
/// Scans without a label, by pseudonym.
const UNLABELLED_CSV: &str = "unlabelled_stacks.csv";
/// A label table is small.
const TABLE_CAP_BYTES: u64 = 256 << 20;
/// `cohort.json` and `groups.json` are small.
const JSON_CAP_BYTES: u64 = 64 << 20;
const CROSSWALK_HEADER: &str = "subject_id,study_id,subject_source,issuer,patient_id,study_uid";

/// What ingest made; holds neither paths of scans nor identifiers.
#[derive(Debug, Clone, Serialize)]
pub struct IngestSummary {
    /// Nothing was done: the cohort was there.
    pub up_to_date: bool,
    /// Totals.
    pub counts: CohortCounts,
    /// Groups, labels and warnings.
    pub groups: GroupsJson,
    /// Of the stack and frame rows.
    pub content_hash: String,
    /// The de-identified copies, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deidentified: Option<DeidentifySummary>,
}

impl IngestSummary {
    /// Files that could not be understood.
    pub fn rejected(&self) -> usize {
        self.counts.outcomes.get("rejected").copied().unwrap_or(0)
    }
}

/// Turns sources into the COHORT folder `out`.
///
/// # Errors
/// [`IngestError`]: nothing usable, labels that match nobody, an unknown group key, a folder of other settings or inputs, or
/// interruption. A single bad file is a row of the ledger.
pub fn ingest(
    settings: &IngestSettings,
    sources: &[PathBuf],
    out: &Path,
    force: bool,
    context: Context<'_>,
) -> Result<IngestSummary, IngestError> {
    let provenance = Provenance::begin(context.pool.current_num_threads(), "cpu").with_private_paths(sources);
    let sources = absolute(sources)?;
    let ids = Pseudonyms::new(key::read_or_create(settings.key.as_deref())?);
    let copies = settings.export_deidentified.as_deref();
    // What was made here and lies below a source is not part of it.
    let made: Vec<&Path> = [Some(out), copies].into_iter().flatten().collect();
    context.observer.begin("finding files", None);
    let found = discover(&sources, &made);
    context.observer.end();
    let found = found?;
    let inputs = inputs(settings, &found, &ids)?;
    let opened = OutDir::open(out, COHORT_JSON, &inputs, force)?;
    fsx::make_private(out)?;
    let threads = context.pool.current_num_threads();
    let export = copies.map(|copies| Export::open(copies, force, &inputs, threads)).transpose()?;
    let folder = match opened {
        Opened::UpToDate => None,
        Opened::Work(folder) => Some(folder),
    };
    if folder.is_none() && settings.crosswalk.is_none() && !matches!(export, Some(Export::Work(..))) {
        let deidentified = if let Some(Export::UpToDate(summary)) = export { Some(summary) } else { None };
        return Ok(IngestSummary { deidentified, ..read_summary(out)? });
    }
    let scan = match scan_found(settings, &sources, &found, &ids, context) {
        Ok(scan) if !context.interrupt.is_set() => scan,
        Ok(_) | Err(IngestError::Interrupted) => return Err(IngestError::Interrupted),
        // Nothing was written: the same --out is free for the next attempt, with mended labels for example.
        Err(error) => {
            folder.map_or(Ok(()), OutDir::abandon)?;
            export.map_or(Ok(()), Export::abandon)?;
            return Err(error);
        }
    };
    let up_to_date = folder.is_none();
    if let Some(folder) = folder {
        write(settings, &scan, folder, provenance)?;
    }
    if let Some(crosswalk) = &settings.crosswalk {
        write_crosswalk(crosswalk, &scan.crosswalk)?;
    }
    let deidentified = export.map(|export| export.write(&scan, &ids, context)).transpose()?;
    let Scan { counts, groups, content_hash, .. } = scan;
    Ok(IngestSummary { up_to_date, counts, groups, content_hash, deidentified })
}

/// What the cohort is made from, as one hash: settings, key, label tables, and the files by path, size and time of change.
fn inputs(settings: &IngestSettings, found: &[Found], ids: &Pseudonyms) -> Result<String, IngestError> {
    let mut parts: Vec<Vec<u8>> = vec![GENERATION.into(), settings_toml(settings)?.into(), ids.of("key", &[]).into()];
    for table in &settings.labels {
        parts.push(fsx::read(&table.file, TABLE_CAP_BYTES)?);
    }
    for file in found {
        let path = file.path.as_os_str().as_encoded_bytes();
        parts.push([path, &file.bytes.to_le_bytes(), &file.modified_ns.to_le_bytes()].concat());
    }
    Ok(fingerprint(parts.iter().map(Vec::as_slice)))
}

fn settings_toml(settings: &IngestSettings) -> Result<String, IngestError> {
    toml::to_string(&settings.wire).map_err(IngestError::Settings)
}

fn write(settings: &IngestSettings, scan: &Scan, folder: OutDir, provenance: Provenance) -> Result<(), IngestError> {
    stacks_to_table(&scan.stacks).write_parquet(&folder.path(STACKS_PARQUET))?;
    frames_to_table(&scan.frames).write_parquet(&folder.path(FRAMES_PARQUET))?;
    let ledger = ledger_to_table(&scan.ledger);
    ledger.write_parquet(&folder.path(LEDGER_PARQUET))?;
    ledger.write_csv(&folder.path(LEDGER_CSV))?;
    unmatched_table(settings, scan).write_csv(&folder.path(UNMATCHED_CSV))?;
    unlabelled_table(scan).write_csv(&folder.path(UNLABELLED_CSV))?;
    folder.write("settings.toml", settings_toml(settings)?.as_bytes())?;
    folder.write_json(GROUPS_JSON, &scan.groups)?;
    let json_error = |source| OutDirError::Json { path: folder.path(COHORT_JSON), source };
    let json = CohortJson {
        schema: COHORT_SCHEMA.to_owned(),
        settings: serde_json::to_value(&settings.wire).map_err(json_error)?,
        counts: scan.counts.clone(),
        group_by: settings.group_by.clone(),
        content_hash: scan.content_hash.clone(),
    };
    folder.complete(&provenance.end(), &json)?;
    Ok(())
}

/// Lines of label tables that need a look; a line number names no patient.
fn unmatched_table(settings: &IngestSettings, scan: &Scan) -> Table {
    let rows = &scan.label_problems;
    let path = |table: usize| settings.labels.get(table).map(|labels| labels.file.to_string_lossy().into_owned());
    let line = |line: usize| i32::try_from(line).ok();
    Table::new()
        .with("path", Column::Text(rows.iter().map(|row| path(row.table)).collect()))
        .with("line", Column::Int32(rows.iter().map(|row| line(row.line)).collect()))
        .with("problem", Column::Text(rows.iter().map(|row| Some(row.problem.to_owned())).collect()))
}

/// Stacks that training could use and that no table and no sidecar gives a label.
fn unlabelled_table(scan: &Scan) -> Table {
    let rows: Vec<_> =
        scan.stacks.iter().filter(|stack| groups::is_for_training(stack) && stack.label.is_none()).collect();
    Table::new()
        .with("stack_id", Column::Text(rows.iter().map(|row| Some(row.stack_id.clone())).collect()))
        .with("subject_id", Column::Text(rows.iter().map(|row| Some(row.subject_id.clone())).collect()))
        .with("acquisition_group", Column::Text(rows.iter().map(|row| Some(row.acquisition_group.clone())).collect()))
}

fn read_summary(out: &Path) -> Result<IngestSummary, IngestError> {
    let wrong = |name: &str| {
        let path = out.join(name);
        move |source| OutDirError::Json { path, source }
    };
    let cohort = fsx::read_text(&out.join(COHORT_JSON), JSON_CAP_BYTES)?;
    let cohort: CohortJson = serde_json::from_str(&cohort).map_err(wrong(COHORT_JSON))?;
    let groups = fsx::read_text(&out.join(GROUPS_JSON), JSON_CAP_BYTES)?;
    let groups: GroupsJson = serde_json::from_str(&groups).map_err(wrong(GROUPS_JSON))?;
    let CohortJson { counts, content_hash, .. } = cohort;
    Ok(IngestSummary { up_to_date: true, counts, groups, content_hash, deidentified: None })
}

/// Writes the map from pseudonyms to ids, readable by its owner alone; only an older crosswalk is replaced.
fn write_crosswalk(path: &Path, rows: &[CrosswalkRow]) -> Result<(), IngestError> {
    if path.exists() && !fsx::read_text(path, JSON_CAP_BYTES).is_ok_and(|text| text.starts_with(CROSSWALK_HEADER)) {
        return Err(IngestError::Crosswalk { path: path.to_path_buf() });
    }
    let csv_error = |_| IngestError::Crosswalk { path: path.to_path_buf() };
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(CROSSWALK_HEADER.split(',')).map_err(csv_error)?;
    for row in rows {
        let CrosswalkRow { subject_id, study_id, subject_source, issuer, patient_id, study_uid } = row;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let cells = [
            subject_id.clone(),
            text(study_id),
            (*subject_source).to_owned(),
            issuer.clone(),
            text(patient_id),
            text(study_uid),
        ];
        writer.write_record(cells).map_err(csv_error)?;
    }
    let bytes = writer.into_inner().map_err(|_| IngestError::Crosswalk { path: path.to_path_buf() })?;
    let temporary = fsx::temporary_sibling(path);
    fsx::remove_file(&temporary)?;
    fsx::write_private(&temporary, &bytes)?;
    Ok(fsx::rename(&temporary, path)?)
}
