//! The synthetic multi-site short-axis cine cohort: the embedded default, and the truth that every stage is tested against.
//!
//! ```text
//! cohort (site, diagnosis, split) -> person (anatomy, thorax, place) -> study (planes, phases, oddities)
//!   -> render (tissue, coil, noise, k-space) -> dicom | enhanced | nifti -> scans/, labels.csv, truth.json
//! ```
//!
//! Nobody was scanned: names, ids and UIDs say so. Every byte follows from the settings, whatever the number of threads; `scanner`
//! holds what the sites do differently, `cohort` what the diagnoses do. The phantom reads nothing and knows nothing of ingest.

pub mod anatomy;
pub mod cohort;
pub mod dicom;
pub mod enhanced;
pub mod nifti;
pub mod person;
pub mod random;
pub mod render;
pub mod scanner;
pub mod study;
pub mod thorax;
pub mod truth;
pub mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Classify, FailureKind};
use crate::fsx::{self, FsError};
use crate::outdir::{Opened, OutDir, OutDirError, Provenance, fingerprint};
use crate::settings::ingest::{IngestSettings, LabelsSettings};
use crate::settings::phantom::PhantomSettings;
use cohort::{Subject, subjects};
use scanner::{Site, Style, sites};
use study::Extras;
use truth::{FileTruth, SiteTruth, SubjectTruth, Truth};
use write::{Job, Written, write_subject};

/// Folder of the images inside the phantom's folder; `labels.csv` and `truth.json` lie beside it.
pub const SCANS: &str = "scans";
/// A key for pseudonyms of the phantom's persons, who do not exist: public, so that a cohort is the same on every machine.
const PUBLIC_KEY: &[u8] = b"the phantom's persons do not exist";
const FINAL: &str = "truth.json";
const SCHEMA: &str = "groupdistil.phantom-truth/1";
/// Raised when the same settings give other bytes, so that an old folder is not taken for up to date.
pub const GENERATION: &str = "phantom generation 5";

/// Why a phantom cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhantomError {
    /// The output folder cannot be used.
    #[error(transparent)]
    OutDir(#[from] OutDirError),
    /// A file cannot be written.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The DICOM writer refused a data set.
    #[error(transparent)]
    Dicom(#[from] dicom::DicomWriteError),
    /// The settings cannot be written down.
    #[error("the settings cannot be written as TOML")]
    Settings(#[from] toml::ser::Error),
    /// A table cannot be written.
    #[error("`{}`: cannot be written as CSV", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// The writer's reason.
        source: csv::Error,
    },
    /// The user stopped it.
    #[error("interrupted; run the same command again to finish `{}`", path.display())]
    Interrupted {
        /// The phantom's folder.
        path: PathBuf,
    },
}

impl Classify for PhantomError {
    fn kind(&self) -> FailureKind {
        match self {
            Self::OutDir(error) => error.kind(),
            Self::Interrupted { .. } => FailureKind::Interrupted,
            _ => FailureKind::Unusable,
        }
    }
}

/// What a phantom holds.
#[derive(Debug, Clone, Serialize)]
pub struct PhantomSummary {
    /// Nothing was written: it was there.
    pub up_to_date: bool,
    /// Subjects.
    pub subjects: usize,
    /// Files under `scans`; 0 when up to date.
    pub files: usize,
    /// Their bytes; 0 when up to date.
    pub bytes: u64,
    /// Subjects by site, then split, then diagnosis.
    pub by_site: BTreeMap<String, BTreeMap<String, BTreeMap<String, usize>>>,
}

/// Writes the cohort of `settings` into `out`: `scans/`, `labels.csv`, `settings.toml` and, last, `truth.json`.
///
/// Memory: one subject's images per worker thread.
///
/// # Errors
/// [`PhantomError::OutDir`] for a folder of other settings (`force` makes it anew), [`PhantomError::Interrupted`], or a failed write.
pub fn write(
    settings: &PhantomSettings,
    out: &Path,
    force: bool,
    context: Context<'_>,
) -> Result<PhantomSummary, PhantomError> {
    let provenance = Provenance::begin(context.pool.current_num_threads(), "cpu");
    let resolved = toml::to_string(settings)?;
    let sites = sites(settings.preset);
    let subjects = subjects(settings, &sites);
    let mut summary = PhantomSummary {
        up_to_date: true,
        subjects: subjects.len(),
        files: 0,
        bytes: 0,
        by_site: count(&subjects, &sites),
    };
    let print = fingerprint([GENERATION.as_bytes(), resolved.as_bytes()]);
    let Opened::Work(folder) = OutDir::open(out, FINAL, &print, force)? else { return Ok(summary) };
    folder.write("settings.toml", resolved.as_bytes())?;
    let written = write_subjects(settings, &subjects, &sites, folder.root(), context)?;
    write_labels(&folder, &subjects, &sites)?;
    let information = write_information(folder.root(), &subjects, &sites, &written)?;
    let truth = gather(settings, &sites, &subjects, written, information, &mut summary);
    folder.complete(&provenance.end(), &truth)?;
    summary.up_to_date = false;
    Ok(summary)
}

/// The settings by which a phantom in `folder` is ingested: the public key, written to `key`, and its own labels, where none are given.
///
/// # Errors
/// The key cannot be written.
pub fn ingest_settings(given: &IngestSettings, folder: &Path, key: PathBuf) -> Result<IngestSettings, FsError> {
    let mut settings = given.clone();
    if settings.key.is_none() {
        fsx::write_atomic(&key, PUBLIC_KEY)?;
        settings.key = Some(key);
    }
    if settings.labels.is_empty() {
        settings.labels.push(LabelsSettings::plain(folder.join("labels.csv")));
    }
    Ok(settings)
}

fn count(subjects: &[Subject], sites: &[Site]) -> BTreeMap<String, BTreeMap<String, BTreeMap<String, usize>>> {
    let mut by_site: BTreeMap<String, BTreeMap<String, BTreeMap<String, usize>>> = BTreeMap::new();
    for subject in subjects {
        let splits = by_site.entry(sites[subject.site].name.to_owned()).or_default();
        let labels = splits.entry(subject.split.name().to_owned()).or_default();
        *labels.entry(subject.diagnosis.name().to_owned()).or_default() += 1;
    }
    by_site
}

fn write_subjects(
    settings: &PhantomSettings,
    subjects: &[Subject],
    sites: &[Site],
    root: &Path,
    context: Context<'_>,
) -> Result<Vec<Written>, PhantomError> {
    let mut seen = vec![0; sites.len()];
    let jobs: Vec<Job<'_>> = subjects
        .iter()
        .map(|subject| {
            let rank = seen[subject.site];
            seen[subject.site] += 1;
            let extras = Extras::of(settings.preset, rank);
            Job { root, seed: settings.seed, subject, site: &sites[subject.site], extras }
        })
        .collect();
    context.observer.begin("writing the phantom", Some(jobs.len() as u64));
    let written = context.pool.install(|| {
        jobs.par_iter()
            .map(|job| {
                if context.interrupt.is_set() {
                    return Err(PhantomError::Interrupted { path: root.to_path_buf() });
                }
                let written = write_subject(job);
                context.observer.advance(1);
                written
            })
            .collect()
    });
    context.observer.end();
    written
}

fn csv_bytes(path: &Path, rows: Vec<Vec<String>>) -> Result<Vec<u8>, PhantomError> {
    let failed = |source| PhantomError::Csv { path: path.to_path_buf(), source };
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).map_err(failed)?;
    }
    writer.into_inner().map_err(|error| failed(error.into_error().into()))
}

fn write_labels(folder: &OutDir, subjects: &[Subject], sites: &[Site]) -> Result<(), PhantomError> {
    let header = ["patient_id", "label", "site", "vendor", "sex", "age_years", "split"].map(str::to_owned).to_vec();
    let row = |subject: &Subject| {
        let site = &sites[subject.site];
        vec![
            subject.id.clone(),
            subject.diagnosis.name().to_owned(),
            site.name.to_owned(),
            site.vendor.to_owned(),
            if subject.female { "F" } else { "M" }.to_owned(),
            subject.age_years.to_string(),
            subject.split.name().to_owned(),
        ]
    };
    let rows = std::iter::once(header).chain(subjects.iter().map(row)).collect();
    let bytes = csv_bytes(&folder.path("labels.csv"), rows)?;
    Ok(folder.write("labels.csv", &bytes)?)
}

/// The information CSV of each NIfTI site, with the columns of the M&Ms challenge.
fn write_information(
    root: &Path,
    subjects: &[Subject],
    sites: &[Site],
    written: &[Written],
) -> Result<Vec<FileTruth>, PhantomError> {
    let mut files = Vec::new();
    for (index, site) in sites.iter().enumerate().filter(|(_, site)| site.style == Style::Nifti) {
        let columns = ["", "External code", "VendorName", "Vendor", "Centre", "ED", "ES", "Age", "Pathology", "Sex"];
        let mut rows = vec![columns.map(str::to_owned).to_vec()];
        let (vendor, centre) = site.challenge;
        for (subject, written) in subjects.iter().zip(written).filter(|(subject, _)| subject.site == index) {
            let stack = &written.truth.stacks[0];
            rows.push(vec![
                (rows.len() - 1).to_string(),
                subject.id.clone(),
                "Canon".to_owned(),
                vendor.to_owned(),
                centre.to_string(),
                stack.end_diastole_phase.to_string(),
                stack.end_systole_phase.to_string(),
                subject.age_years.to_string(),
                subject.diagnosis.name().to_owned(),
                if subject.female { "F" } else { "M" }.to_owned(),
            ]);
        }
        if rows.len() == 1 {
            continue;
        }
        let relative = Path::new(SCANS).join(site.name).join("phantom_M&Ms_Dataset_information_diagnosis.csv");
        let path = root.join(&relative);
        fsx::write_atomic(&path, &csv_bytes(&path, rows)?)?;
        files.push(FileTruth {
            path: relative.to_string_lossy().into_owned(),
            role: "information-csv",
            outcome: "used",
            reason: None,
        });
    }
    Ok(files)
}

fn gather(
    settings: &PhantomSettings,
    sites: &[Site],
    subjects: &[Subject],
    written: Vec<Written>,
    mut files: Vec<FileTruth>,
    summary: &mut PhantomSummary,
) -> Truth {
    let mut truths: Vec<SubjectTruth> = Vec::with_capacity(written.len());
    for subject in written {
        truths.push(subject.truth);
        files.extend(subject.files);
        summary.bytes += subject.bytes;
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    summary.files = files.len();
    let site = |(index, site): (usize, &Site)| SiteTruth {
        site: site.name,
        vendor: site.vendor,
        manufacturer: site.manufacturer,
        model: site.model,
        subjects: subjects.iter().filter(|subject| subject.site == index).count(),
    };
    Truth {
        schema: SCHEMA,
        settings: settings.clone(),
        sites: sites.iter().enumerate().map(site).collect(),
        subjects: truths,
        files,
    }
}
