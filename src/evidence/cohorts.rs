//! The cohort of a seed: from the phantom or the sources to a DATASET. A phantom's scans go once the DATASET is made, since a study
//! has many and each is written again from its seed.

use std::path::{Path, PathBuf};

use super::EvidenceError;
use crate::context::Context;
use crate::formats::dataset::{DatasetJson, read_dataset_json};
use crate::fsx;
use crate::outdir::{Collection, fingerprint};
use crate::settings::evidence::EvidenceSettings;
use crate::settings::ingest::IngestSettings;
use crate::settings::phantom::PhantomSettings;
use crate::{ingest, phantom, preprocess};

/// Holds what a phantom's DATASET was made from, since its scans are gone.
const MADE_FROM: &str = "cohort-made-from";

/// A seed's DATASET.
#[derive(Debug, Clone)]
pub struct Cohort {
    /// The seed.
    pub seed: u64,
    /// Its folder.
    pub dataset: PathBuf,
    /// `dataset.json`.
    pub json: DatasetJson,
}

/// Makes what is not there of a seed's cohort.
pub fn make(
    settings: &EvidenceSettings,
    seed: u64,
    folder: &Collection,
    context: Context<'_>,
) -> Result<Cohort, EvidenceError> {
    let root = folder.path(format!("seed-{seed}"));
    let dataset = root.join("dataset");
    match settings.phantom(seed) {
        Some(wanted) => of_phantom(settings, &wanted, &root, context)?,
        None => prepare(settings, &settings.ingest, &settings.sources(seed), &root, context)?,
    }
    let json = read_dataset_json(&dataset)?;
    Ok(Cohort { seed, dataset, json })
}

fn prepare(
    settings: &EvidenceSettings,
    ingesting: &IngestSettings,
    sources: &[PathBuf],
    root: &Path,
    context: Context<'_>,
) -> Result<(), EvidenceError> {
    let cohort = root.join("cohort");
    ingest::ingest(ingesting, sources, &cohort, true, context)?;
    preprocess::preprocess(&settings.preprocess, &cohort, &root.join("dataset"), true, context)?;
    Ok(())
}

fn of_phantom(
    settings: &EvidenceSettings,
    wanted: &PhantomSettings,
    root: &Path,
    context: Context<'_>,
) -> Result<(), EvidenceError> {
    let text = |key: &str| settings.resolved.get(key).map_or_else(String::new, ToString::to_string);
    let parts = ["phantom", "ingest", "preprocess"].map(text);
    let generations = [phantom::GENERATION, ingest::GENERATION, preprocess::GENERATION];
    let parts = parts.iter().map(String::as_str).chain(generations).map(str::as_bytes);
    let made_from = fingerprint(parts.chain([wanted.seed.to_le_bytes().as_slice()]));
    let marker = root.join(MADE_FROM);
    let is_made = marker.is_file() && fsx::read_text(&marker, 1024)? == made_from;
    if is_made && root.join("dataset").join("dataset.json").is_file() {
        return Ok(());
    }
    let scans = root.join("phantom");
    phantom::write(wanted, &scans, true, context)?;
    let ingesting = phantom::ingest_settings(&settings.ingest, &scans, root.join("phantom-key"))?;
    prepare(settings, &ingesting, &[scans.join(phantom::SCANS)], root, context)?;
    // The marker last: where it is, the scans are gone.
    fsx::remove_folder(&scans)?;
    Ok(fsx::write_atomic(&marker, made_from.as_bytes())?)
}
