//! The whole stage: cohort in, dataset folder out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::cohort::{self, Cohort};
use super::decide;
use super::error::PreprocessError;
use super::golden;
use super::landmarks::FirstPass;
use super::memory;
use super::parts::{self, PartRecord, StackRecord, Work};
use super::rejected::StackRejected;
use super::report::numbers::{self, Report, ReportStack};
use super::report::{self, REPORT_JSON};
use super::rows::{self, Rows};
use super::sheets;
use super::source::{self, ReadFrames};
use super::split_file::SplitFile;
use crate::context::Context;
use crate::dataset::splits::{self, Method, Place, SplitOptions, Subject};
use crate::dataset::summary::{self, Parts};
use crate::formats::dataset::{DATASET_JSON, DatasetJson, SiteFolds, read_dataset_json, read_exclusions, read_json};
use crate::formats::plan::{IntensityPlan, Normalisation, Plan, Scope};
use crate::formats::quality::{QUALITY_PARQUET, quality_to_table};
use crate::outdir::{Opened, OutDir, Provenance, fingerprint};
use crate::settings::preprocess::{Colour, PreprocessSettings, SplitMethod, Stratum};

/// Raised when the same cohort and settings give other bytes.
pub const GENERATION: &str = "preprocess/3";

/// Images looked at to tell grey from RGB.
const PROBES: usize = 16;

/// What a run did.
#[derive(Debug, Clone)]
pub struct PreprocessSummary {
    /// The folder.
    pub out: PathBuf,
    /// `dataset.json`.
    pub dataset: DatasetJson,
    /// Stacks left out, by reason.
    pub excluded: BTreeMap<String, usize>,
    /// `report.json`.
    pub report: Report,
    /// Nothing had to be done.
    pub up_to_date: bool,
}

/// Makes the dataset of a COHORT folder.
///
/// # Errors
/// [`PreprocessError`]; bad stacks are no error but rows of `exclusions.parquet`.
pub fn preprocess(
    settings: &PreprocessSettings,
    cohort: &Path,
    out: &Path,
    force: bool,
    context: Context<'_>,
) -> Result<PreprocessSummary, PreprocessError> {
    let read = source::reader();
    let settings = &settings.with_held_out(cohort::held_out(cohort)?);
    preprocess_with(settings, Cohort::read(cohort)?, &*read, (out, force), context)
}

/// Makes the dataset of `cohort`, whose pixels `read` brings.
///
/// # Errors
/// [`PreprocessError`]; bad stacks are no error but rows of `exclusions.parquet`.
pub fn preprocess_with(
    settings: &PreprocessSettings,
    mut cohort: Cohort,
    read: &ReadFrames<'_>,
    (out, force): (&Path, bool),
    context: Context<'_>,
) -> Result<PreprocessSummary, PreprocessError> {
    let split_file = settings.split_file.as_deref().map(SplitFile::read).transpose()?;
    let chosen = choose(settings, split_file.as_ref(), &mut cohort)?;
    let stacks: Vec<_> = chosen.selected.iter().map(|&index| &cohort.stacks[index]).collect();
    let plan = decide::decide(settings, &stacks, frame_channels(settings, &cohort, &chosen.selected, read));
    let settings_toml = toml::to_string(settings.wire())?;
    let plan_bytes = summary::plan_bytes(&plan, Path::new("plan.json"))?;
    let inputs = fingerprint([
        GENERATION.as_bytes(),
        env!("CARGO_PKG_VERSION").as_bytes(),
        settings_toml.as_bytes(),
        &plan_bytes,
        cohort.content_hash.as_bytes(),
        split_file.as_ref().map_or(b"".as_slice(), |file| &file.bytes),
    ]);
    let folder = match OutDir::open(out, DATASET_JSON, &inputs, force)? {
        Opened::UpToDate => return summarise(out, read_dataset_json(out)?, true),
        Opened::Work(folder) => folder,
    };
    let provenance = Provenance::begin(context.pool.current_num_threads(), "cpu");
    folder.write("settings.toml", settings_toml.as_bytes())?;
    let max_memory_bytes = settings.max_memory_bytes.unwrap_or_else(memory::default_cap_bytes);
    let plan = if settings.standardise_histogram {
        let (selected, places) = (&chosen.selected, &chosen.places);
        FirstPass { cohort: &cohort, selected, places, read, max_memory_bytes }.fit(plan, context)?
    } else {
        plan
    };
    let work = Work { plan: &plan, cohort: &cohort, selected: &chosen.selected, read, max_memory_bytes };
    let done = parts::run(&work, &folder, context)?;
    let json = finish(settings, &cohort, &chosen, (&plan, &done), (&folder, context))?;
    parts::forget(&folder)?;
    folder.complete(&provenance.end(), &json)?;
    summarise(out, json, false)
}

fn summarise(out: &Path, dataset: DatasetJson, up_to_date: bool) -> Result<PreprocessSummary, PreprocessError> {
    let mut excluded = BTreeMap::new();
    for row in read_exclusions(out)? {
        *excluded.entry(row.reason).or_insert(0) += 1;
    }
    let report = read_json(&out.join(REPORT_JSON))?;
    Ok(PreprocessSummary { out: out.to_path_buf(), dataset, excluded, report, up_to_date })
}

/// What is decided before any pixel is read.
struct Chosen {
    /// Indices of usable stacks.
    selected: Vec<usize>,
    /// The others, with why.
    unselected: BTreeMap<usize, StackRecord>,
    classes: Vec<String>,
    subjects: Vec<Subject>,
    places: BTreeMap<String, Place>,
    method: Method,
}

fn choose(
    settings: &PreprocessSettings,
    split_file: Option<&SplitFile>,
    cohort: &mut Cohort,
) -> Result<Chosen, PreprocessError> {
    let selection = decide::selection(settings);
    let (mut selected, mut unselected) = (Vec::new(), BTreeMap::new());
    for (index, stack) in cohort.stacks.iter().enumerate() {
        let usable = decide::select(&selection, stack).and_then(|()| match (&stack.label, &settings.classes) {
            (None, _) => Err(StackRejected::NoLabel),
            (Some(label), Some(classes)) if !classes.contains(label) => {
                Err(StackRejected::NotAClass { found: label.clone() })
            }
            _ => Ok(()),
        });
        match usable {
            Ok(()) => selected.push(index),
            Err(rejected) => drop(unselected.insert(index, StackRecord::rejected(&rejected))),
        }
    }
    if selected.is_empty() {
        let reasons = count_reasons(unselected.values());
        return Err(PreprocessError::NothingSelected { stacks: cohort.stacks.len(), reasons });
    }
    let classes = classes(settings, cohort, &selected)?;
    check_group_names(settings, cohort, &selected)?;
    merge_small_groups(settings, cohort, &selected);
    let mut subjects = subjects(settings, cohort, &selected);
    if let Some(file) = split_file {
        file.apply(cohort, &mut subjects)?;
    }
    let method = if split_file.is_some() { by_source(settings) } else { method(settings, &subjects) };
    let options = SplitOptions {
        method,
        by_group: settings.stratify.contains(&Stratum::Group),
        by_label: settings.stratify.contains(&Stratum::Label),
        seed: settings.seed,
    };
    let places = splits::assign(&subjects, &options)?;
    Ok(Chosen { selected, unselected, classes, subjects, places, method })
}

fn count_reasons<'a>(records: impl Iterator<Item = &'a StackRecord>) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for record in records {
        if let StackRecord::Rejected { reason, .. } = record {
            *counts.entry(reason).or_default() += 1;
        }
    }
    counts.iter().map(|(reason, count)| format!("{reason}: {count}")).collect::<Vec<_>>().join(", ")
}

fn classes(settings: &PreprocessSettings, cohort: &Cohort, selected: &[usize]) -> Result<Vec<String>, PreprocessError> {
    let found: BTreeSet<&String> = selected.iter().filter_map(|&index| cohort.stacks[index].label.as_ref()).collect();
    let Some(classes) = &settings.classes else { return Ok(found.into_iter().cloned().collect()) };
    match classes.iter().find(|class| !found.contains(class)) {
        None => Ok(classes.clone()),
        Some(class) => Err(PreprocessError::UnusedClass {
            class: class.clone(),
            found: found.into_iter().cloned().collect::<Vec<_>>().join(", "),
        }),
    }
}

fn check_group_names(
    settings: &PreprocessSettings,
    cohort: &Cohort,
    selected: &[usize],
) -> Result<(), PreprocessError> {
    let mut known = BTreeSet::new();
    for &index in selected {
        known.insert(cohort.stacks[index].group.as_str());
        known.insert(cohort.stacks[index].acquisition_group.as_str());
    }
    let keys =
        [("held_out_groups", &settings.held_out_groups), ("training_only_groups", &settings.training_only_groups)];
    for (key, names) in keys {
        if let Some(found) = names.iter().find(|name| !known.contains(name.as_str())) {
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            return Err(PreprocessError::UnknownGroup { key, found: found.clone(), known });
        }
    }
    Ok(())
}

/// Groups with fewer subjects than a split needs are renamed to the one of the settings.
fn merge_small_groups(settings: &PreprocessSettings, cohort: &mut Cohort, selected: &[usize]) {
    let Some(target) = &settings.merge_small_groups_into else { return };
    let needed = match settings.split {
        SplitMethod::KFold => settings.folds,
        SplitMethod::LeaveOneSiteOut => 2,
        _ => 3,
    };
    let mut members: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for &index in selected {
        let stack = &cohort.stacks[index];
        members.entry(stack.group.clone()).or_default().insert(stack.subject_id.clone());
    }
    for &index in selected {
        let stack = &mut cohort.stacks[index];
        let named = [&settings.held_out_groups, &settings.training_only_groups]
            .iter()
            .any(|groups| groups.contains(&stack.group) || groups.contains(&stack.acquisition_group));
        if !named && members[&stack.group].len() < needed {
            tracing::info!(group = stack.group, into = target, "small group merged");
            stack.group.clone_from(target);
        }
    }
}

fn subjects(settings: &PreprocessSettings, cohort: &Cohort, selected: &[usize]) -> Vec<Subject> {
    let mut found: BTreeMap<&str, Subject> = BTreeMap::new();
    for &index in selected {
        let stack = &cohort.stacks[index];
        let named =
            |groups: &BTreeSet<String>| groups.contains(&stack.group) || groups.contains(&stack.acquisition_group);
        let subject = found.entry(&stack.subject_id).or_insert_with(|| Subject {
            id: stack.subject_id.clone(),
            group: stack.group.clone(),
            label: stack.label.clone().unwrap_or_default(),
            site: stack.site.clone(),
            source_split: stack.source_split.clone(),
            held_out: false,
            training_only: false,
        });
        // One stack in a held-out group keeps the whole subject out of training.
        subject.held_out |= named(&settings.held_out_groups);
        subject.training_only |= named(&settings.training_only_groups);
        subject.training_only &= !subject.held_out;
    }
    found.into_values().collect()
}

/// The share of validation among what is not tested.
fn validation_share(settings: &PreprocessSettings) -> f64 {
    let [train, validation, _] = settings.fractions;
    validation / (train + validation)
}

fn by_source(settings: &PreprocessSettings) -> Method {
    Method::Source { validation: validation_share(settings) }
}

fn method(settings: &PreprocessSettings, subjects: &[Subject]) -> Method {
    let random = Method::Random { fractions: settings.fractions };
    let complete =
        subjects.iter().all(|subject| subject.source_split.is_some() || subject.held_out || subject.training_only);
    match settings.split {
        SplitMethod::Auto if complete => by_source(settings),
        SplitMethod::Auto | SplitMethod::Random => random,
        SplitMethod::Source => by_source(settings),
        SplitMethod::KFold => Method::KFold { folds: settings.folds },
        SplitMethod::LeaveOneSiteOut => Method::LeaveOneSiteOut { validation: validation_share(settings) },
    }
}

/// 3 where the settings or the first readable image say RGB, else 1.
fn frame_channels(settings: &PreprocessSettings, cohort: &Cohort, selected: &[usize], read: &ReadFrames<'_>) -> usize {
    match settings.colour {
        Colour::Grey => return 1,
        Colour::Rgb => return 3,
        Colour::Auto => {}
    }
    let images = selected.iter().map(|&index| &cohort.stacks[index]).filter(|stack| stack.is_plain_image);
    let first = images.take(PROBES).find_map(|stack| {
        let frame = cohort.frames_of(stack).first()?;
        read(&frame.path, &[frame.frame]).ok()?.first().map(Vec::len)
    });
    if first == Some(3) { 3 } else { 1 }
}

/// Tables, contact sheets, report and the JSON, from what all parts gave.
fn finish(
    settings: &PreprocessSettings,
    cohort: &Cohort,
    chosen: &Chosen,
    (plan, done): (&Plan, &[PartRecord]),
    (folder, context): (&OutDir, Context<'_>),
) -> Result<DatasetJson, PreprocessError> {
    let tables = tracing::trace_span!("tables").entered();
    rows::check_leakage(cohort, &chosen.selected, done, &chosen.places, settings.allow_shared_pixels)?;
    let rows = rows::assemble(cohort, &chosen.selected, &chosen.unselected, done, &chosen.places);
    check_survivors(chosen, &rows)?;
    let shards: Vec<_> = done.iter().map(|part| part.shard.clone()).collect();
    let site_folds = site_folds(chosen);
    let folds = match chosen.method {
        Method::KFold { folds } => Some(folds),
        _ => site_folds.as_ref().map(|sites| sites.sites.len()),
    };
    let parts = Parts {
        plan,
        samples: &rows.samples,
        exclusions: &rows.exclusions,
        shards: &shards,
        classes: &chosen.classes,
        held_out_groups: &settings.held_out_groups,
        folds,
        site_folds,
        cohort_hash: &cohort.content_hash,
        golden_stack_hash: context.pool.install(|| golden::tensor_sha256(plan)),
    };
    drop(tables);
    let write_numbers = || -> Result<(), PreprocessError> {
        let tables = tracing::trace_span!("tables").entered();
        summary::write_tables(folder.root(), &parts)?;
        let quality = quality_to_table(&rows.quality);
        let path = folder.path(QUALITY_PARQUET);
        quality.write_parquet(&path)?;
        quality.write_csv(&path.with_extension("csv"))?;
        drop(tables);
        let _reported = tracing::trace_span!("report").entered();
        report::write(&grey_report(cohort, &rows, &plan.intensity, context), folder)
    };
    let sheets = sheets::Source { plan, cohort, rows: &rows };
    let (drawn, written) = context.pool.join(|| sheets::write(&sheets, folder, context), write_numbers);
    drawn?;
    written?;
    Ok(summary::dataset_json(&parts)?)
}

/// How much of the scanner shows in the grey values.
fn grey_report(cohort: &Cohort, rows: &Rows, intensity: &IntensityPlan, context: Context<'_>) -> Report {
    let by_id = cohort.by_id();
    let pairs = rows.quality.iter().zip(&rows.grey);
    let stacks: Vec<ReportStack<'_>> = pairs
        .filter_map(|(quality, grey)| Some(ReportStack { stack: by_id.get(quality.stack_id.as_str())?, quality, grey }))
        .collect();
    numbers::report(&stacks, rows.exclusions.len(), intensity_steps(intensity), context.pool)
}

/// The intensity steps in words.
fn intensity_steps(plan: &IntensityPlan) -> String {
    let mut steps = Vec::new();
    if plan.bias_correction {
        steps.push("smooth bias removed".to_owned());
    }
    if plan.standard_landmarks.is_some() {
        steps.push("mapped to the standard histogram of the training subjects".to_owned());
    }
    if let Some([low, high]) = plan.clip_percentiles {
        steps.push(format!("clipped to the percentiles {low} and {high}"));
    }
    let scope = if plan.scope == Scope::Stack { "stack" } else { "sample" };
    match plan.normalisation {
        Normalisation::ZScore => steps.push(format!("mean 0 and standard deviation 1 per {scope}")),
        Normalisation::Unit => steps.push("scaled to 0 to 1".to_owned()),
        Normalisation::None => {}
    }
    if steps.is_empty() { "none".to_owned() } else { steps.join(", ") }
}

/// Where the folds are sites: which, and who validates.
fn site_folds(chosen: &Chosen) -> Option<SiteFolds> {
    if !matches!(chosen.method, Method::LeaveOneSiteOut { .. }) {
        return None;
    }
    let validating = chosen.places.iter().filter(|(_, place)| place.validates);
    Some(SiteFolds {
        sites: splits::sites(&chosen.subjects),
        validation_subjects: validating.map(|(subject, _)| subject.clone()).collect(),
    })
}

/// Stacks that could not be prepared may have emptied a class or group.
fn check_survivors(chosen: &Chosen, rows: &Rows) -> Result<(), PreprocessError> {
    let survivors = rows::surviving_subjects(rows);
    let left: Vec<Subject> =
        chosen.subjects.iter().filter(|subject| survivors.contains(subject.id.as_str())).cloned().collect();
    if left.is_empty() {
        return Err(splits::SplitError::NoSubjects.into());
    }
    Ok(splits::check(&left, &chosen.places, chosen.method)?)
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
