//! The whole of ingest in memory: from sources to the rows of a cohort.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::content::Opener;
use super::discover::{Found, discover};
use super::image::{Format, Image};
use super::image_csv::{self, Pictures};
use super::join::{Joiner, Matches};
use super::labels::{self, LabelRow};
use super::ledger::{Ledger, Verdict};
use super::look::{Look, look};
use super::people::{self, People, Subject};
use super::privacy::Pseudonyms;
use super::rows::{Facts, frame_rows, stack_row};
use super::stack_label::{self, FileLabel, Place, StackLabel};
use super::stacks::{Assembly, Unused, assemble};
use super::{GROUP_KEYS, IngestError, duplicates, groups, nifti};
use crate::context::Context;
use crate::formats::cohort::{
    CohortCounts, FrameRow, GroupsJson, LedgerRow, Outcome, StackRow, frames_to_table, stacks_to_table,
};
use crate::formats::table::Table;
use crate::outdir::Fingerprint;
use crate::settings::ingest::IngestSettings;

/// A row of a label table that speaks of no scan, or not of one alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelProblem {
    /// Index of the table in the settings.
    pub table: usize,
    /// 1-based line in it.
    pub line: usize,
    /// `no-scan`, `contradiction` (another row gives the same scans another label) or `several-subjects` (it names one person and fits
    /// several).
    pub problem: &'static str,
}

/// Who is behind a pseudonym; written to `--crosswalk` alone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CrosswalkRow {
    pub subject_id: String,
    pub study_id: Option<String>,
    pub subject_source: &'static str,
    pub issuer: String,
    pub patient_id: Option<String>,
    pub study_uid: Option<String>,
}

/// What is in the sources.
pub struct Scan {
    /// By subject and stack.
    pub stacks: Vec<StackRow>,
    /// By subject, stack, slice and phase.
    pub frames: Vec<FrameRow>,
    /// One row per file found, by path.
    pub ledger: Vec<LedgerRow>,
    /// Groups with their counts.
    pub groups: GroupsJson,
    /// Totals.
    pub counts: CohortCounts,
    /// SHA-256 over the sorted stack and frame rows, without paths.
    pub content_hash: String,
    /// Label rows that speak of no scan, or not of one alone.
    pub label_problems: Vec<LabelProblem>,
    /// What a person should know; without identifiers.
    pub warnings: Vec<String>,
    pub(super) crosswalk: Vec<CrosswalkRow>,
}

/// Reads everything below the sources; writes nothing.
///
/// # Errors
/// [`IngestError`] when no cohort can be made: no file, no image, labels that match nobody, an unknown group key.
pub fn scan(
    settings: &IngestSettings,
    sources: &[PathBuf],
    key: &[u8],
    context: Context<'_>,
) -> Result<Scan, IngestError> {
    let sources = absolute(sources)?;
    context.observer.begin("finding files", None);
    let found = discover(&sources, &[]);
    context.observer.end();
    let found = found?;
    scan_found(settings, &sources, &found, &Pseudonyms::new(key.to_vec()), context)
}

/// Sources as absolute paths, so that the cohort can be used from anywhere.
pub(super) fn absolute(sources: &[PathBuf]) -> Result<Vec<PathBuf>, IngestError> {
    let wrong = |path: &Path| IngestError::Source { path: path.to_path_buf() };
    sources.iter().map(|path| std::path::absolute(path).map_err(|_| wrong(path))).collect()
}

/// [`scan`] of files that were found already on the disk.
pub(super) fn scan_found(
    settings: &IngestSettings,
    sources: &[PathBuf],
    files: &[Found],
    ids: &Pseudonyms,
    context: Context<'_>,
) -> Result<Scan, IngestError> {
    let mut label_rows: Vec<LabelRow> = Vec::new();
    let mut warnings: Vec<String> = Vec::new();
    for (index, table) in settings.labels.iter().enumerate() {
        let (rows, left_out) = labels::read(table, index)?;
        warnings.extend(labels::unread_numbers(&rows).iter().map(|what| format!("label table {}: {what}", index + 1)));
        label_rows.extend(rows);
        if !left_out.is_empty() {
            let names = left_out.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let remedy = "left out; keep one with columns = { attr_NAME = \"its header\" } in [[labels]]";
            warnings.push(format!("label table {}: columns {names} could identify patients: {remedy}", index + 1));
        }
    }
    let opener = Opener::new();
    let (found, mut looks) = look(settings, files, &opener, context)?;
    let found = found.as_slice();
    let pictures = Pictures { settings, found, label_rows: &label_rows, opener: &opener };
    image_csv::explain(&pictures, &mut looks, context)?;
    context.observer.begin("comparing copies", None);
    duplicates::set_aside(found, &mut looks, &opener, context);
    context.observer.end();
    let mut ledger = Ledger::new(found.len());
    let mut images = gather(found, looks, &mut label_rows, &mut ledger);
    if images.is_empty() {
        return Err(no_images(sources, ledger.rows(found)));
    }
    // Neither file names nor their order may matter for what is made of the images.
    images.sort_by(|a, b| order(a).cmp(&order(b)));
    context.observer.begin("assembling stacks", None);
    let mut joiner = Joiner::new(&label_rows);
    let matches = matches(&images, found, &mut joiner);
    let none = BTreeSet::new();
    let cohort = Cohort { settings, found, images: &images, matches: &matches, ambiguous: &none, ids };
    let subjects = cohort.subjects();
    let ambiguous = ambiguous(&images, &matches, &subjects);
    let cohort = Cohort { ambiguous: &ambiguous, ..cohort };
    let names: Vec<String> = subjects.iter().map(|subject| subject.id.clone()).collect();
    let assembly = assemble(&images, &names);
    account(&images, &assembly, &mut ledger);
    let labels = cohort.labels(&assembly);
    let disputes: BTreeSet<(Place, Place)> = labels.iter().filter_map(|label| label.dispute).collect();
    let (mut stacks, frames) = cohort.rows(&assembly, &labels, &subjects)?;
    warnings.extend(cohort.warnings(&subjects, &disputes));
    warnings.extend(one_person_by_name(&images, &assembly));
    warnings.extend(groups::conflicts(&stacks));
    if !settings.labels.is_empty() {
        check_labels(&joiner, &stacks, &mut warnings)?;
    }
    let label_problems = cohort.label_problems(&joiner, &disputes);
    let unmatched = joiner.unmatched().len();
    let crosswalk = cohort.crosswalk(&subjects);
    // What is made of the rows from here on needs no images: they are most of the memory.
    drop((matches, subjects, names, assembly, images));
    context.observer.end();
    let held_out = groups::apply_rule(&mut stacks, settings);
    let groups = groups::summarise(&stacks, settings, held_out, warnings);
    let ledger = ledger.rows(found);
    let counts = count(&stacks, &frames, &ledger, unmatched);
    Ok(Scan {
        content_hash: content_hash(&stacks, &frames),
        warnings: groups.warnings.clone(),
        crosswalk,
        label_problems,
        stacks,
        frames,
        ledger,
        groups,
        counts,
    })
}

/// Sorts what was seen into images, rows of sidecars and verdicts.
fn gather(found: &[Found], looks: Vec<Look>, rows: &mut Vec<LabelRow>, ledger: &mut Ledger) -> Vec<Image> {
    let mut images = Vec::new();
    let mut halves = Vec::new();
    let mut fates: BTreeMap<PathBuf, Option<Verdict>> = BTreeMap::new();
    for (index, one) in looks.into_iter().enumerate() {
        let path = &found[index].path;
        if nifti::is_nifti(path) {
            let verdict = if let Look::Verdict(verdict) = &one { Some(verdict.clone()) } else { None };
            fates.insert(path.clone(), verdict);
        }
        match one {
            Look::Images(found) => images.extend(found),
            Look::Picture => {
                let message = "a picture that neither metadata.csv nor [ingest.images] of the settings explains";
                ledger.record(index, Verdict::skipped("unmapped-picture", message));
            }
            Look::Sidecar(mut told) => {
                let scopes = told.iter_mut().filter_map(|row| row.scope.as_mut());
                scopes.for_each(|scope| scope.source = found[index].source);
                rows.extend(told);
                ledger.record(index, Verdict::used("sidecar", "read as an information file"));
            }
            Look::VolumeData => halves.push(index),
            Look::Verdict(verdict) => ledger.record(index, verdict),
        }
    }
    for index in halves {
        let header = nifti::header_of(&found[index].path).and_then(|header| fates.get(&header).cloned().flatten());
        let used = || Verdict::used("volume-data", "the voxels of the .hdr file of the same name");
        ledger.record(index, header.unwrap_or_else(used));
    }
    images
}

type Order<'a> = (&'a str, &'a str, i64, &'a str, &'a str, i32);

fn order(image: &Image) -> Order<'_> {
    let series = &image.series;
    let person = &series.person;
    (
        person.patient_id.as_deref().unwrap_or_default(),
        person.study_uid.as_deref().unwrap_or_default(),
        series.series_number,
        &series.series_uid,
        &image.instance,
        image.frame,
    )
}

fn no_images(sources: &[PathBuf], ledger: Vec<LedgerRow>) -> IngestError {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    ledger.iter().for_each(|row| *reasons.entry(row.reason.clone()).or_default() += 1);
    let shown: Vec<String> = reasons.into_iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    IngestError::NoImages { paths: sources.to_vec(), files: ledger.len(), reasons: shown.join(", ") }
}

/// What the label tables say of each file with images.
fn matches<'a>(images: &[Image], found: &[Found], joiner: &mut Joiner<'a>) -> BTreeMap<usize, Matches<'a>> {
    let mut by_file = BTreeMap::new();
    for image in images {
        by_file.entry(image.file).or_insert_with(|| {
            let Found { source, relative, .. } = &found[image.file];
            joiner.rows_of(&image.series, *source, relative)
        });
    }
    by_file
}

/// Writes into the ledger what became of the images.
fn account(images: &[Image], assembly: &Assembly, ledger: &mut Ledger) {
    for index in assembly.stacks.iter().flat_map(|stack| stack.frames.iter().flatten()) {
        ledger.record(images[*index].file, Verdict::used("image", "gave rows of frames"));
    }
    for (index, unused) in &assembly.unused {
        let verdict = match unused {
            Unused::IncompletePosition => {
                Verdict::skipped("incomplete-position", "its position has fewer phases than the rest of its stack")
            }
            Unused::Superseded => Verdict::skipped(
                "superseded-position",
                "its position was acquired again; the later or fuller one is used",
            ),
        };
        ledger.record(images[*index].file, verdict);
    }
}

/// NIfTI names no patient: where volumes replaced each other, several people may have been taken for one.
fn one_person_by_name(images: &[Image], assembly: &Assembly) -> Option<String> {
    let replaced = |(index, unused): &(usize, Unused)| {
        let image = &images[*index];
        (*unused == Unused::Superseded && image.series.format == Format::Nifti).then_some(image.file)
    };
    let files: BTreeSet<usize> = assembly.unused.iter().filter_map(replaced).collect();
    (!files.is_empty()).then(|| {
        format!(
            "{} NIfTI files lie at the place of others of the same person and were set aside (superseded-position in the ledger); if they \
             are of different people, begin their names with an id or put each person into a folder",
            files.len()
        )
    })
}

/// Labels that speak of nobody are an error, labels that speak of some a warning.
fn check_labels(joiner: &Joiner<'_>, stacks: &[StackRow], warnings: &mut Vec<String>) -> Result<(), IngestError> {
    let subjects: BTreeSet<&str> = stacks.iter().map(|stack| stack.subject_id.as_str()).collect();
    let open = joiner.unmatched().len();
    if joiner.matched() == 0 {
        return Err(IngestError::NoMatch { rows: open, subjects: subjects.len() });
    }
    if open > 0 {
        warnings.push(format!("{open} label rows match no scan; unmatched_labels.csv lists their lines"));
    }
    let wanted = |stack: &&StackRow| groups::is_for_training(stack) && stack.label.is_none();
    let unlabelled = stacks.iter().filter(wanted).count();
    if unlabelled > 0 {
        warnings.push(format!("{unlabelled} short-axis cines or pictures have no label and will not be trained on"));
    }
    Ok(())
}

/// What the rows are made from.
struct Cohort<'a> {
    settings: &'a IngestSettings,
    found: &'a [Found],
    images: &'a [Image],
    matches: &'a BTreeMap<usize, Matches<'a>>,
    /// Label rows that name one person and fit several.
    ambiguous: &'a BTreeSet<Place>,
    ids: &'a Pseudonyms,
}

impl<'a> Cohort<'a> {
    fn facts(&self, image: &'a Image) -> Facts<'a> {
        let relative = &self.found[image.file].relative;
        let (matches, settings) = (&self.matches[&image.file], self.settings);
        Facts { series: &image.series, matches, ambiguous: self.ambiguous, settings, relative }
    }

    /// The subject of each image.
    fn subjects(&self) -> Vec<Subject> {
        let people = People::new(self.images.iter().map(|image| image.series.as_ref()));
        let mut known: BTreeMap<usize, Subject> = BTreeMap::new();
        let mut subject = |image: &'a Image| {
            let make = || {
                let site = people.is_shared(&image.series).then(|| self.facts(image).site(self.ids).value).flatten();
                let folder = people::folder(&self.found[image.file]);
                people.subject(self.ids, &image.series, &folder, site.as_deref())
            };
            known.entry(image.file).or_insert_with(make).clone()
        };
        self.images.iter().map(&mut subject).collect()
    }

    /// The label of each stack, by all of its files.
    fn labels(&self, assembly: &Assembly) -> Vec<StackLabel> {
        let mut known: BTreeMap<usize, Option<FileLabel>> = BTreeMap::new();
        let mut of_file =
            |image: &'a Image| known.entry(image.file).or_insert_with(|| self.facts(image).label()).clone();
        let mut of_stack = |frames: &[Vec<usize>]| {
            let files: BTreeMap<usize, &Image> =
                frames.iter().flatten().map(|index| (self.images[*index].file, &self.images[*index])).collect();
            stack_label::of_files(files.into_values().filter_map(&mut of_file).collect())
        };
        assembly.stacks.iter().map(|stack| of_stack(&stack.frames)).collect()
    }

    fn rows(
        &self,
        assembly: &Assembly,
        labels: &[StackLabel],
        subjects: &[Subject],
    ) -> Result<(Vec<StackRow>, Vec<FrameRow>), IngestError> {
        let mut made: Vec<(StackRow, Vec<FrameRow>)> = Vec::with_capacity(assembly.stacks.len());
        for (stack, label) in assembly.stacks.iter().zip(labels) {
            let first = stack.frames[0][0];
            let facts = self.facts(&self.images[first]);
            let row = stack_row(self.images, stack, &subjects[first], &facts, self.ids);
            let row = StackRow { label: label.label.clone(), ..row };
            let frames = frame_rows(self.images, stack, &row.stack_id, self.found);
            made.push((row, frames));
        }
        for key in &self.settings.group_by {
            let name = key.strip_prefix("attr_").unwrap_or(key);
            let is_attribute = made.iter().any(|(row, _)| row.attributes.contains_key(name));
            if !GROUP_KEYS.contains(&key.as_str()) && !is_attribute {
                return Err(IngestError::GroupKey { key: key.clone(), known: GROUP_KEYS.join(", ") });
            }
        }
        groups::forget_personal_folders(made.iter_mut().map(|(row, _)| row));
        made.iter_mut().for_each(|(row, _)| groups::set_groups(row, &self.settings.group_by));
        made.sort_by(|(a, _), (b, _)| (&a.subject_id, &a.stack_id).cmp(&(&b.subject_id, &b.stack_id)));
        let mut frames = Vec::new();
        let mut stacks = Vec::with_capacity(made.len());
        for (row, own) in made {
            stacks.push(row);
            frames.extend(own);
        }
        Ok((stacks, frames))
    }

    /// Metadata that contradict each other.
    fn warnings(&self, subjects: &[Subject], disputes: &BTreeSet<(Place, Place)>) -> Vec<String> {
        let people = People::new(self.images.iter().map(|image| image.series.as_ref()));
        let mut shared = BTreeSet::new();
        let mut vendors = BTreeSet::new();
        let mut labels = disputes.clone();
        let mut differ = BTreeSet::new();
        let mut last = None;
        for (image, subject) in self.images.iter().zip(subjects) {
            if last == Some(image.file) {
                continue;
            }
            last = Some(image.file);
            if people.is_shared(&image.series) {
                shared.insert(&subject.id);
            }
            let facts = self.facts(image);
            if facts.vendors_differ() {
                vendors.insert(&subject.id);
            }
            labels.extend(facts.matches.contradiction().map(|(a, b)| (a.place, b.place)));
            if facts.labels_differ() {
                differ.insert(&subject.id);
            }
        }
        let mut warnings: Vec<String> = Vec::new();
        let several = "its id comes with several birth dates or sexes; taken for one person per site";
        warnings.extend(shared.into_iter().map(|subject| format!("subject {subject}: {several}")));
        let vendor = "the label table names another vendor than the files; the table's is used";
        warnings.extend(vendors.into_iter().map(|subject| format!("subject {subject}: {vendor}")));
        let both = "give the same scans different labels: taken as unlabelled";
        warnings.extend(labels.into_iter().map(|(a, b)| format!("label rows {} and {} {both}", place(a), place(b))));
        let label = "the label table gives another label than a sidecar or the file's name; the table's is used";
        warnings.extend(differ.into_iter().map(|subject| format!("subject {subject}: {label}")));
        let many = "fits scans of several people, and names one: taken as unlabelled";
        warnings.extend(self.ambiguous.iter().map(|row| format!("label row {} {many}", place(*row))));
        warnings
    }

    /// Rows of label tables that need a look, by table and line.
    fn label_problems(&self, joiner: &Joiner<'_>, disputes: &BTreeSet<(Place, Place)>) -> Vec<LabelProblem> {
        let mut found = BTreeSet::new();
        let mut add = |(table, line): Place, problem| {
            if table != labels::SIDECAR {
                found.insert(LabelProblem { table, line, problem });
            }
        };
        joiner.unmatched().into_iter().for_each(|row| add(row.place, "no-scan"));
        let within = self.matches.values().filter_map(|matches| matches.contradiction());
        for (a, b) in within.map(|(a, b)| (a.place, b.place)).chain(disputes.iter().copied()) {
            add(a, "contradiction");
            add(b, "contradiction");
        }
        self.ambiguous.iter().for_each(|row| add(*row, "several-subjects"));
        found.into_iter().collect()
    }

    fn crosswalk(&self, subjects: &[Subject]) -> Vec<CrosswalkRow> {
        let row = |(image, subject): (&Image, &Subject)| {
            let person = &image.series.person;
            CrosswalkRow {
                subject_id: subject.id.clone(),
                study_id: person.study_uid.as_ref().map(|uid| self.ids.of("study", &[uid])),
                subject_source: subject.source.as_str(),
                issuer: person.issuer.clone(),
                patient_id: person.patient_id.clone(),
                study_uid: person.study_uid.clone(),
            }
        };
        let rows: BTreeSet<CrosswalkRow> = self.images.iter().zip(subjects).map(row).collect();
        rows.into_iter().collect()
    }
}

/// Rows of label tables that name one person, study or file, and fit scans of several subjects.
fn ambiguous(images: &[Image], matches: &BTreeMap<usize, Matches<'_>>, subjects: &[Subject]) -> BTreeSet<Place> {
    let mut of_row: BTreeMap<Place, &str> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for (image, subject) in images.iter().zip(subjects) {
        // Sidecars' places are not unique, and they lie among the scans that they speak of.
        let rows = matches[&image.file].rows().filter(|row| row.place.0 != labels::SIDECAR && row.names_one());
        for row in rows {
            if *of_row.entry(row.place).or_insert(&subject.id) != subject.id {
                found.insert(row.place);
            }
        }
    }
    found
}

/// A label row named without its ids.
fn place((table, line): Place) -> String {
    if table == labels::SIDECAR { format!("sidecar:{line}") } else { format!("{}:{line}", table + 1) }
}

fn count(stacks: &[StackRow], frames: &[FrameRow], ledger: &[LedgerRow], unmatched: usize) -> CohortCounts {
    let mut counts = CohortCounts {
        files: ledger.len(),
        subjects: stacks.iter().map(|stack| &stack.subject_id).collect::<BTreeSet<_>>().len(),
        stacks: stacks.len(),
        frames: frames.len(),
        labelled_stacks: stacks.iter().filter(|stack| stack.label.is_some()).count(),
        labels_unmatched: unmatched,
        ..CohortCounts::default()
    };
    for outcome in [Outcome::Used, Outcome::Skipped, Outcome::Rejected] {
        counts.outcomes.insert(outcome.as_str().to_owned(), 0);
    }
    for row in ledger {
        *counts.outcomes.entry(row.outcome.as_str().to_owned()).or_default() += 1;
        *counts.reasons.entry(format!("{} {}", row.outcome.as_str(), row.reason)).or_default() += 1;
    }
    for stack in stacks {
        *counts.views.entry(format!("{} {}", stack.view, stack.kind)).or_default() += 1;
    }
    counts
}

/// SHA-256 over all cells but paths, with the names of their columns.
fn content_hash(stacks: &[StackRow], frames: &[FrameRow]) -> String {
    let mut hash = Fingerprint::default();
    let mut add = |table: Table| {
        let kept: Vec<(usize, &str)> = table.names().enumerate().filter(|(_, name)| *name != "path").collect();
        kept.iter().for_each(|(_, name)| hash.add(name.as_bytes()));
        for row in 0..table.rows() {
            kept.iter().for_each(|(index, _)| hash.add(table.cell(*index, row).as_bytes()));
        }
    };
    add(stacks_to_table(stacks));
    add(frames_to_table(frames));
    hash.finish()
}
