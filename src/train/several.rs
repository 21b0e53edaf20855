//! Several trainings at once on one machine: each has an equal share of the threads, and what starts from other RUNs waits for them.
//!
//! Small networks leave most of a second core idle, so two trainings on one thread each end sooner than one after the other on
//! two. Weights depend on the number of threads of their own run, and on nothing that runs beside it.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{TrainError, TrainSummary, train};
use crate::context::{Context, Silent};
use crate::failure::{Classify, FailureKind};
use crate::fsx;
use crate::settings::train::TrainSettings;

/// What one training on a CPU is taken to need at most: a ResNet-18's with batches of 64 images of 128 x 128 is 1.2 GiB.
const BYTES_EACH: u64 = 2 << 30;

/// One training.
#[derive(Debug, Clone)]
pub struct Job {
    /// What it is called in messages.
    pub name: String,
    /// 0 for what starts from nothing, and higher than the waves of the RUNs it starts from.
    pub wave: usize,
    /// Its settings.
    pub settings: TrainSettings,
    /// The DATASET.
    pub dataset: PathBuf,
    /// The RUN.
    pub out: PathBuf,
}

/// How they are trained.
#[derive(Debug, Clone, Copy)]
pub struct Manner<'a> {
    /// Trainings at once; `None`: one per thread on a CPU as far as memory goes, one on a GPU.
    pub at_once: Option<usize>,
    /// Make RUNs anew that were made from other settings or inputs.
    pub force: bool,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: &'a str,
}

/// The training that failed.
#[derive(Debug, thiserror::Error)]
#[error("`{name}`")]
pub struct SeveralError {
    /// Which.
    pub name: String,
    /// Why.
    pub source: Box<TrainError>,
}

impl Classify for SeveralError {
    fn kind(&self) -> FailureKind {
        self.source.kind()
    }
}

/// Trains all of them, wave after wave; the results are in the order of the jobs.
///
/// # Errors
/// The first failure that is no interruption, in the order of the jobs. Trainings that run beside it end first, none is begun after it.
pub fn train_several(
    jobs: &[Job],
    manner: &Manner<'_>,
    context: Context<'_>,
) -> Result<Vec<TrainSummary>, SeveralError> {
    let waves = jobs.iter().map(|job| job.wave).max().map_or(0, |last| last + 1);
    let of_wave = |wave| (0..jobs.len()).filter(|&at| jobs[at].wave == wave).collect::<Vec<_>>();
    let widest = (0..waves).map(|wave| of_wave(wave).len()).max().unwrap_or(1);
    let at_once = at_once(manner, context.pool.current_num_threads()).min(widest);
    let mut done: Vec<Option<TrainSummary>> = jobs.iter().map(|_| None).collect();
    if at_once > 1 {
        context.observer.begin("trainings", Some(jobs.len() as u64));
    }
    for wave in (0..waves).map(of_wave) {
        let mut results = match at_once {
            1 => in_turn(jobs, &wave, manner, context),
            _ => side_by_side(jobs, &wave, at_once, manner, context),
        };
        results.sort_by_key(|(at, _)| *at);
        if let Some(error) = first_failure(jobs, &mut results) {
            context.observer.end();
            return Err(error);
        }
        for (at, result) in results {
            done[at] = result.ok();
        }
    }
    context.observer.end();
    Ok(done.into_iter().flatten().collect())
}

type Results = Vec<(usize, Result<TrainSummary, TrainError>)>;

fn at_once(manner: &Manner<'_>, threads: usize) -> usize {
    let is_cpu = crate::torch::choose_device(manner.device).is_ok_and(|device| device == tch::Device::Cpu);
    let by_memory = usize::try_from(fsx::memory_bytes() / BYTES_EACH).unwrap_or(usize::MAX);
    manner.at_once.unwrap_or(if is_cpu { threads.min(by_memory) } else { 1 }).max(1)
}

fn run(job: &Job, manner: &Manner<'_>, context: Context<'_>) -> Result<TrainSummary, TrainError> {
    train(&job.settings, &job.dataset, &job.out, manner.force, manner.device, context)
}

fn in_turn(jobs: &[Job], wave: &[usize], manner: &Manner<'_>, context: Context<'_>) -> Results {
    let mut results = Vec::new();
    for &at in wave {
        context.observer.stage(&format!("    {}", jobs[at].name));
        let result = run(&jobs[at], manner, context);
        let failed = result.is_err();
        results.push((at, result));
        if failed {
            break;
        }
    }
    results
}

fn side_by_side(jobs: &[Job], wave: &[usize], at_once: usize, manner: &Manner<'_>, context: Context<'_>) -> Results {
    let workers = at_once.min(wave.len());
    // The same share in a wave of few, so that all RUNs of a study are computed alike.
    let threads = (context.pool.current_num_threads() / at_once).max(1);
    let (next, failed, results) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(Vec::new()));
    let work = || {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        // Where no more threads can be had, the common ones serve.
        let pool = pool.as_ref().unwrap_or(context.pool);
        let own = Context { observer: &Silent, interrupt: context.interrupt, pool };
        while !failed.load(Ordering::SeqCst) {
            let Some(&at) = wave.get(next.fetch_add(1, Ordering::SeqCst)) else { return };
            let result = run(&jobs[at], manner, own);
            failed.fetch_or(result.is_err(), Ordering::SeqCst);
            context.observer.remark(&jobs[at].name);
            context.observer.advance(1);
            if let Ok(mut results) = results.lock() {
                results.push((at, result));
            }
        }
    };
    std::thread::scope(|scope| {
        // One on this thread, so that work goes on even where no other thread can be had.
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        work();
        for other in others {
            // A bug in one must not look like a training that was never asked for.
            other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    results.into_inner().unwrap_or_default()
}

/// An interruption stops all of them, so a failure beside it is what the user must hear of.
fn first_failure(jobs: &[Job], results: &mut Results) -> Option<SeveralError> {
    let is = |wanted: bool| {
        move |(_, result): &(usize, Result<TrainSummary, TrainError>)| {
            result.as_ref().is_err_and(|error| (error.kind() == FailureKind::Interrupted) == wanted)
        }
    };
    let position = results.iter().position(is(false)).or_else(|| results.iter().position(is(true)))?;
    let (at, result) = results.swap_remove(position);
    result.err().map(|source| SeveralError { name: jobs[at].name.clone(), source: Box::new(source) })
}
