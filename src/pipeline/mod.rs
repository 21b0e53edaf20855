//! A whole pipeline: stage after stage into one output folder, each skipped where it is up to date.
//!
//! ```text
//! OUT/phantom   OUT/cohort   OUT/dataset   OUT/runs/teacher   OUT/runs/<student>   OUT/model.pt   OUT/report   OUT/pipeline.json
//! ```
//!
//! What is up to date is each stage's own decision (the fingerprint of its settings and inputs); this room only orders them and
//! passes results on. With folds, `runs/<name>/fold-<k>` are trained, the report pools them, and fold 0's student is exported.

mod error;
pub mod stages;
pub mod summary;

use std::path::{Path, PathBuf};

pub use error::PipelineError;
pub use summary::PipelineSummary;

use crate::context::Context;
use crate::fsx;
use crate::outdir::{Collection, Provenance};
use crate::settings::pipeline::PipelineSettings;
use stages::Stages;

/// The last file written: settings and results.
pub const PIPELINE_JSON: &str = "pipeline.json";

/// Settings and a line per method.
const PIPELINE_CAP_BYTES: u64 = 64 << 20;

/// A pipeline that is part of the program: name and text.
pub const EMBEDDED: [(&str, &str); 2] = [
    ("demo", include_str!("../../pipelines/demo.toml")),
    ("demo-quick", include_str!("../../pipelines/demo-quick.toml")),
];

/// A stage by the name that `--from` takes, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The synthetic cohort.
    Phantom,
    /// COHORT.
    Ingest,
    /// DATASET.
    Preprocess,
    /// The teacher's RUN.
    Teacher,
    /// The students' RUNs.
    Students,
    /// MODEL.pt.
    Export,
    /// REPORT.
    Audit,
}

impl Stage {
    /// All of them in order.
    pub const ALL: [Self; 7] =
        [Self::Phantom, Self::Ingest, Self::Preprocess, Self::Teacher, Self::Students, Self::Export, Self::Audit];

    /// As `--from` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Phantom => "phantom",
            Self::Ingest => "ingest",
            Self::Preprocess => "preprocess",
            Self::Teacher => "teacher",
            Self::Students => "students",
            Self::Export => "export",
            Self::Audit => "audit",
        }
    }
}

/// Where and how a pipeline runs.
#[derive(Debug, Clone)]
pub struct RunOptions<'a> {
    /// Folder of all stages.
    pub out: &'a Path,
    /// This stage and all after it are done anew.
    pub from: Option<Stage>,
    /// `auto`, `cpu` or `cuda[:N]`.
    pub device: &'a str,
    /// Trainings of a stage at once, each with its share of the threads; `None`: one after the other.
    pub jobs: Option<usize>,
    /// The program that checks the exported model in a fresh process: this one.
    pub checker: &'a Path,
}

/// Runs every stage of `settings` that is not up to date.
///
/// A folder that an earlier run of a changed pipeline left is made anew: the folders below `out` are this pipeline's own.
///
/// # Errors
/// [`PipelineError`]: the failed stage's error with its name. What is finished stays.
pub fn run(
    settings: &PipelineSettings,
    options: &RunOptions<'_>,
    context: Context<'_>,
) -> Result<PipelineSummary, PipelineError> {
    let mut provenance = Provenance::begin(context.pool.current_num_threads(), options.device);
    let collection = Collection::open(options.out)?;
    if let Some(from) = options.from {
        forget(&collection, settings, from)?;
    }
    let stages = Stages { settings, options, collection: &collection, context };
    let (summary, seconds) = stages.run()?;
    for (stage, seconds) in seconds {
        provenance.note(&format!("{}_s", stage.name()), seconds);
    }
    let (path, json) = (collection.path(PIPELINE_JSON), summary.json(settings)?);
    // A run that finds everything up to date keeps the times of the one that did the work.
    if !path.is_file() || fsx::read(&path, PIPELINE_CAP_BYTES)? != json {
        fsx::write_atomic(&collection.path("provenance.json"), &summary::json_bytes(&provenance.end())?)?;
        fsx::write_atomic(&path, &json)?;
    }
    Ok(summary)
}

/// Removes what `from` and the stages after it made.
fn forget(collection: &Collection, settings: &PipelineSettings, from: Stage) -> Result<(), PipelineError> {
    fsx::remove_file(&collection.path(PIPELINE_JSON))?;
    for stage in Stage::ALL.into_iter().filter(|stage| *stage >= from) {
        let made: Vec<PathBuf> = match stage {
            Stage::Phantom => vec!["phantom".into()],
            Stage::Ingest => vec!["cohort".into()],
            Stage::Preprocess => vec!["dataset".into()],
            Stage::Teacher => vec!["runs/teacher".into()],
            Stage::Students => settings.students.iter().map(|one| Path::new("runs").join(&one.name)).collect(),
            Stage::Export => vec![stages::MODEL.into()],
            Stage::Audit => vec!["report".into()],
        };
        for path in made.into_iter().map(|path| collection.path(path)) {
            if path.is_dir() { fsx::remove_folder(&path)? } else { fsx::remove_file(&path)? }
        }
    }
    Ok(())
}
