//! `train`: a DATASET becomes a RUN (design, sections 3 and 4).
//!
//! [`data`] splits, [`images`] pixels; [`streams`] order and random numbers; [`augment`]; [`teacher`], [`teachers`] and [`start`], networks that a
//! run begins with; [`several`] runs at once; [`session`] the epochs with [`step`] inside; [`jtt`] trains twice; [`dfr`] refits the last layer of a run;
//! [`evaluate`] and [`selection`]; [`checkpoint`] and [`events`] on disk; [`clock`]; [`finish`] and [`record`] the RUN's last files, with [`curves`].
//! What is random follows from seed and position alone, so an interrupted run goes on bit for bit.

mod areas;
mod arithmetic;
mod augment;
mod average;
mod checkpoint;
mod clock;
mod curves;
mod data;
mod dfr;
mod epoch_table;
mod error;
mod evaluate;
mod events;
mod finish;
mod images;
mod jtt;
mod optimiser;
mod record;
mod selection;
mod session;
pub mod several;
mod start;
mod step;
mod streams;
mod teacher;
mod teachers;

use std::path::Path;
use std::time::Instant;

use tch::Device;

use crate::context::Context;
use crate::formats::dataset::Split;
use crate::formats::plan::{PLAN_JSON, PlanGeometry, read_plan};
use crate::formats::run::{RUN_JSON, RunJson, read_run_json};
use crate::model::{Architecture, ModelSpec};
use crate::objective::tensor::TensorObjective;
use crate::outdir::{Opened, OutDir, Provenance, fingerprint};
use crate::settings::methods::DfrSettings;
use crate::settings::train::TrainSettings;
use crate::torch::choose_device;
use crate::torch::memory::KeptMemory;
use data::Samples;
use images::Images;
use session::{Session, Work};
use start::Start;
use teacher::TeacherFile;
use teachers::TeacherFiles;

pub use error::TrainError;

/// What a training run gave.
#[derive(Debug, Clone)]
pub struct TrainSummary {
    /// `run.json`.
    pub run: RunJson,
    /// Whether the RUN was there already.
    pub up_to_date: bool,
    /// Wall time of this call.
    pub seconds: f64,
}

/// Trains on the DATASET at `dataset` into the RUN at `out`.
///
/// An equal run that is complete is up to date; an equal one that was interrupted is resumed, bit for bit.
///
/// # Errors
/// [`TrainError`].
pub fn train(
    settings: &TrainSettings,
    dataset: &Path,
    out: &Path,
    force: bool,
    device: &str,
    context: Context<'_>,
) -> Result<TrainSummary, TrainError> {
    let started = Instant::now();
    let (device_name, device) = (device, choose_device(device)?);
    tch::set_num_threads(i32::try_from(context.pool.current_num_threads()).unwrap_or(i32::MAX));
    let samples = Samples::open(dataset, settings)?;
    areas::check_selection(&samples, settings.selection)?;
    let base = base(settings, &samples)?;
    // A refit network is the one it was.
    let arch = base.as_ref().and_then(TeacherFile::architecture).unwrap_or(settings.arch);
    let settings = &TrainSettings { arch, ..settings.clone() };
    check_size(settings.arch, &samples)?;
    check_flip(settings, &samples)?;
    let teacher = TeacherFiles::open(settings, &samples)?;
    // Refuses what depends on the number of groups before anything is written.
    TensorObjective::new(settings.objective, &samples.objective_counts(settings), Device::Cpu)?;
    let start = Start::open(settings, &samples)?;
    let fingerprint = run_fingerprint(settings, &samples, (teacher.as_ref(), base.as_ref()), start.as_ref());
    let folder = match OutDir::open(out, RUN_JSON, &fingerprint, force)? {
        Opened::UpToDate => {
            let run = read_run_json(out)?;
            return Ok(TrainSummary { run, up_to_date: true, seconds: started.elapsed().as_secs_f64() });
        }
        Opened::Work(folder) => folder,
    };
    let provenance = Provenance::begin(context.pool.current_num_threads(), &format!("{device:?}"));
    let run = match (&settings.dfr, &base) {
        (Some(dfr), Some(base)) => refit(settings, &samples, (dfr, base), (folder, provenance), device, context)?,
        _ => {
            let first = |jtt| jtt::identify(jtt, settings, &samples, (folder.root(), device_name), context);
            let errors = settings.jtt.as_ref().map(first).transpose()?;
            let sources = Sources { teacher: teacher.as_ref(), errors: errors.as_ref(), start: start.as_ref() };
            work(settings, &samples, sources, (folder, provenance), device, context)?
        }
    };
    Ok(TrainSummary { run, up_to_date: false, seconds: started.elapsed().as_secs_f64() })
}

/// Refuses images that the network cannot take.
fn check_size(architecture: Architecture, samples: &Samples) -> Result<(), TrainError> {
    let (_, rows, columns) = samples.dataset.image_shape();
    let least = architecture.least_side_px();
    if rows.min(columns) >= least {
        return Ok(());
    }
    Err(TrainError::TooSmall { architecture: architecture.name(), least, found: (rows, columns) })
}

/// Refuses to mirror images that lie in patient axes.
fn check_flip(settings: &TrainSettings, samples: &Samples) -> Result<(), TrainError> {
    if !settings.augment.is_some_and(|ranges| ranges.flip) {
        return Ok(());
    }
    let plan = read_plan(&samples.dataset.path().join(PLAN_JSON))?;
    match plan.geometry {
        PlanGeometry::Mm { .. } => Err(TrainError::FlipOfPatients),
        PlanGeometry::None { .. } => Ok(()),
    }
}

/// What a run begins with, besides its own random weights.
#[derive(Clone, Copy)]
struct Sources<'a> {
    teacher: Option<&'a TeacherFiles>,
    /// What the first run of `jtt` got wrong.
    errors: Option<&'a jtt::Errors>,
    start: Option<&'a Start>,
}

/// The RUN that is refit, for objectives that do.
fn base(settings: &TrainSettings, samples: &Samples) -> Result<Option<TeacherFile>, TrainError> {
    let objective = settings.objective.objective;
    match (objective.refits(), &settings.from) {
        (true, _) => TeacherFile::open_base(settings, samples).map(Some),
        (false, None) => Ok(None),
        (false, Some(_)) => Err(TrainError::UnwantedBase { objective: objective.as_str() }),
    }
}

/// What a RUN is made from.
fn run_fingerprint(
    settings: &TrainSettings,
    samples: &Samples,
    (teacher, base): (Option<&TeacherFiles>, Option<&TeacherFile>),
    start: Option<&Start>,
) -> String {
    let json = samples.dataset.json();
    let of_base = base.map(|base| base.info.weights_sha256.clone());
    let others = teacher.map(TeacherFiles::fingerprint).or(of_base).unwrap_or_default();
    let settings = settings_toml(settings);
    let mut parts = vec!["groupdistil.train/1", &settings, &json.content_hash, &json.plan_hash, &others];
    parts.extend(start.map(|start| start.weights.sha256.as_str()));
    fingerprint(parts.into_iter().map(str::as_bytes))
}

/// `settings.toml`: can be given to `--config`; seed and fold, which have flags of their own, are in its first line.
fn settings_toml(settings: &TrainSettings) -> String {
    let fold = settings.fold.map_or_else(String::new, |fold| format!(" --fold {fold}"));
    let text = toml::to_string(&settings.wire()).expect("settings are plain values and one table");
    format!("# --seed {}{fold}\n{text}", settings.seed)
}

fn refit(
    settings: &TrainSettings,
    samples: &Samples,
    (dfr, base): (&DfrSettings, &TeacherFile),
    (folder, mut provenance): (OutDir, Provenance),
    device: Device,
    context: Context<'_>,
) -> Result<RunJson, TrainError> {
    let started = Instant::now();
    let images = Images::load(samples, device, context)?;
    let (images, root) = (&images, folder.root());
    let work = Work { settings, samples, images, teacher: None, start: None, rows: &[], root, context };
    let run = dfr::refit(work, dfr, base)?;
    run.warnings.iter().for_each(|warning| tracing::info!("{warning}"));
    provenance.note("seconds_refitting", started.elapsed().as_secs_f64());
    folder.complete(&provenance.end(), &run)?;
    Ok(run)
}

fn work(
    settings: &TrainSettings,
    samples: &Samples,
    Sources { teacher, errors, start }: Sources<'_>,
    (folder, mut provenance): (OutDir, Provenance),
    device: Device,
    context: Context<'_>,
) -> Result<RunJson, TrainError> {
    let started = Instant::now();
    let _kept = (device == Device::Cpu).then(KeptMemory::begin);
    let images = Images::load(samples, device, context)?;
    let spec = ModelSpec {
        architecture: settings.arch,
        channels: samples.dataset.image_shape().0,
        classes: samples.dataset.classes().len(),
        mean: images.mean.clone(),
        std: images.std.clone(),
    };
    let root = folder.root().to_path_buf();
    let train = samples.rows(Split::Train);
    let rows = errors.map_or_else(|| train.clone(), |errors| errors.repeated(&train));
    let work = Work { settings, samples, images: &images, teacher, start, rows: &rows, root: &root, context };
    let mut session = Session::open(work, &spec)?;
    provenance.note("resumed_at_step", session.position().steps);
    let reading = started.elapsed().as_secs_f64();
    let before = session.position().steps;
    session.train()?;
    let training = started.elapsed().as_secs_f64() - reading;
    let mut run = finish::finish(&mut session)?;
    run.jtt = errors.map(|errors| errors.info(samples));
    run.warnings.extend(errors.and_then(jtt::Errors::warning));
    run.warnings.iter().for_each(|warning| tracing::info!("{warning}"));
    let steps = run.steps - before;
    provenance.note("seconds_reading", reading);
    provenance.note("seconds_training", training);
    provenance.note("seconds_finishing", started.elapsed().as_secs_f64() - reading - training);
    provenance.note("seconds_per_step", if steps > 0 { Some(training / steps as f64) } else { None });
    provenance.note("seconds_of_epochs", session.clock.epochs());
    provenance.note("bfloat16", session.arithmetic.bfloat16);
    provenance.note("channels_last", session.arithmetic.channels_last);
    drop(session);
    folder.complete(&provenance.end(), &run)?;
    Ok(run)
}
