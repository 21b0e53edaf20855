//! PNG and JPEG files as images: who and where they are, by the first that knows:
//!
//! 1. `[ingest.images]`: a pattern over the path below the source (subject, and optionally label, slice, phase or order);
//! 2. `metadata.csv` in the Waterbirds layout (`img_filename, y, split, ...`): each picture is a subject of its own;
//! 3. a label table with a `file` column: each picture is a stack of the row's `patient_id`, else a subject of its own.
//!
//! Pictures have no geometry: the slice number stands for the position (see `stacks`). A picture that nobody explains stays one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::IngestError;
use super::content::Opener;
use super::discover::Found;
use super::image::{Format, Image, Person, Series, Timing};
use super::join::Joiner;
use super::labels::{self, LabelRow};
use super::ledger::Verdict;
use super::look::Look;
use super::pixels::{PixelsError, picture};
use super::sidecars::waterbirds;
use crate::context::Context;
use crate::settings::ingest::{ImagesSettings, IngestSettings};

/// What pictures are explained by.
pub struct Pictures<'a> {
    /// `[ingest]`.
    pub settings: &'a IngestSettings,
    /// All files.
    pub found: &'a [Found],
    /// Rows of the label tables.
    pub label_rows: &'a [LabelRow],
    /// Opens pictures in archives.
    pub opener: &'a Opener,
}

/// Where a picture stands among those of its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    slice: i64,
    phase: i64,
}

/// One explained picture, before its size is known.
#[derive(Debug, Clone)]
struct Explained {
    file: usize,
    place: Place,
    series: Arc<Series>,
}

/// Turns pictures that are explained into images; the others stay pictures.
///
/// # Errors
/// [`IngestError::Interrupted`] alone: a picture that cannot be read is rejected, the rest goes on.
pub fn explain(pictures: &Pictures<'_>, looks: &mut [Look], context: Context<'_>) -> Result<(), IngestError> {
    let open: Vec<usize> =
        looks.iter().enumerate().filter(|(_, look)| matches!(look, Look::Picture)).map(|(file, _)| file).collect();
    if open.is_empty() {
        return Ok(());
    }
    let mut explained: Vec<Explained> = Vec::new();
    let mut rest = open;
    if let Some(settings) = &pictures.settings.images {
        let (by_pattern, verdicts, others) = by_pattern(settings, pictures.found, rest);
        verdicts.into_iter().for_each(|(file, verdict)| looks[file] = Look::Verdict(verdict));
        explained.extend(by_pattern);
        rest = others;
    }
    let (by_metadata, others) = by_metadata(pictures, looks, rest);
    explained.extend(by_metadata);
    explained.extend(by_label_rows(pictures, others));
    explained.sort_by_key(|one| one.file);
    let images = measured(pictures, &explained, context)?;
    for (one, found) in explained.iter().zip(images) {
        looks[one.file] = found;
    }
    Ok(())
}

/// Reads the sizes, in parallel.
fn measured(pictures: &Pictures<'_>, explained: &[Explained], context: Context<'_>) -> Result<Vec<Look>, IngestError> {
    context.observer.begin("reading pictures", Some(explained.len() as u64));
    let one = |one: &Explained| {
        context.observer.advance(1);
        (!context.interrupt.is_set()).then(|| image(pictures.opener, &pictures.found[one.file], one))
    };
    let looks: Option<Vec<Look>> = context.pool.install(|| explained.par_iter().map(one).collect());
    context.observer.end();
    looks.ok_or(IngestError::Interrupted)
}

fn image(opener: &Opener, file: &Found, one: &Explained) -> Look {
    let (rows, columns) = match picture::size(opener, &file.path) {
        Ok(size) => size,
        // The message without the path, which may name a patient.
        Err(PixelsError::Picture { reason, .. }) => {
            return Look::Verdict(Verdict::rejected("malformed", &format!("not readable as an image: {reason}")));
        }
        Err(_) => return Look::Verdict(Verdict::rejected("unreadable", "not readable as an image; copy it again")),
    };
    Look::Images(vec![Image {
        file: one.file,
        frame: 0,
        instance: file.relative.clone(),
        rows,
        columns,
        plane: None,
        position: None,
        timing: Timing {
            temporal_position: Some(one.place.phase),
            acquisition_number: Some(one.place.slice),
            instance_number: Some(one.place.phase),
            ..Timing::default()
        },
        series: Arc::clone(&one.series),
    }])
}

/// What a picture shares with those of its stack.
fn series(subject: String, stack: String) -> Series {
    let person = Person { patient_id: Some(subject), ..Person::default() };
    Series { format: Format::Image, person, series_uid: stack, ..Series::default() }
}

/// What the pattern says of one file.
#[derive(Debug, Clone)]
struct Captured {
    file: usize,
    label: Option<String>,
    slice: Option<String>,
    phase: Option<String>,
    order: Option<String>,
}

type ByPattern = (Vec<Explained>, Vec<(usize, Verdict)>, Vec<usize>);

/// Explained pictures, verdicts on those that contradict each other, and pictures that the pattern does not fit.
fn by_pattern(settings: &ImagesSettings, found: &[Found], files: Vec<usize>) -> ByPattern {
    let (mut explained, mut verdicts, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let mut stacks: BTreeMap<(usize, String), Vec<Captured>> = BTreeMap::new();
    for file in files {
        let Some(captures) = settings.pattern.captures(&found[file].relative) else {
            others.push(file);
            continue;
        };
        let text = |name: &str| captures.name(name).map(|part| part.as_str().to_owned());
        let captured =
            Captured { file, label: text("label"), slice: text("slice"), phase: text("phase"), order: text("order") };
        let subject = text("subject").filter(|subject| !subject.trim().is_empty());
        match subject {
            Some(subject) => stacks.entry((found[file].source, subject)).or_default().push(captured),
            None => others.push(file),
        }
    }
    for ((source, subject), members) in stacks {
        let shared = series(subject.clone(), format!("{source}/{subject}"));
        let places = places(settings, found, &members);
        let shared = Series { phases_expected: most_phases(&places), ..shared };
        // One label for a subject's stack: where its pictures disagree, each keeps its own and the stack is split by it.
        let mut by_label: BTreeMap<Option<String>, Arc<Series>> = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for (captured, place) in members.iter().zip(places) {
            let series = by_label.entry(captured.label.clone()).or_insert_with_key(|label| {
                let uid = format!("{}/{}", shared.series_uid, label.as_deref().unwrap_or_default());
                Arc::new(Series { label: label.clone(), series_uid: uid, ..shared.clone() })
            });
            match place {
                Ok(place) if taken.insert((captured.label.clone(), place)) => {
                    explained.push(Explained { file: captured.file, place, series: Arc::clone(series) });
                }
                Ok(_) => {
                    let message = "another picture of the subject has the same slice and phase by the pattern";
                    verdicts.push((captured.file, Verdict::rejected("ambiguous-picture", message)));
                }
                Err(message) => verdicts.push((captured.file, Verdict::rejected("malformed", message))),
            }
        }
    }
    (explained, verdicts, others)
}

/// The most phases at any slice: what a slice with fewer lacks. `None` where there is one phase only.
fn most_phases(places: &[Result<Place, &'static str>]) -> Option<i32> {
    let distinct: BTreeSet<Place> = places.iter().flatten().copied().collect();
    let mut phases: BTreeMap<i64, i32> = BTreeMap::new();
    distinct.iter().for_each(|place| *phases.entry(place.slice).or_default() += 1);
    phases.into_values().max().filter(|most| *most > 1)
}

/// Slice and phase of each picture of a subject.
fn places(settings: &ImagesSettings, found: &[Found], members: &[Captured]) -> Vec<Result<Place, &'static str>> {
    if members.iter().any(|one| one.order.is_some()) {
        return places_by_order(settings, members);
    }
    let paths: Vec<Option<String>> = members.iter().map(|one| Some(found[one.file].relative.clone())).collect();
    let slices: Vec<Option<String>> = members.iter().map(|one| one.slice.clone()).collect();
    let phases: Vec<Option<String>> = members.iter().map(|one| one.phase.clone()).collect();
    let known = |texts: &[Option<String>]| texts.iter().any(Option::is_some);
    let place = |(slice, phase)| Ok(Place { slice, phase });
    match (known(&slices), known(&phases)) {
        (true, true) => numbers(&slices).into_iter().zip(numbers(&phases)).map(place).collect(),
        (false, true) => numbers(&phases).into_iter().map(|phase| place((0, phase))).collect(),
        // Without a phase each picture is a slice.
        (true, false) => numbers(&slices).into_iter().map(|slice| place((slice, 0))).collect(),
        (false, false) => numbers(&paths).into_iter().map(|slice| place((slice, 0))).collect(),
    }
}

/// The numbers that texts are; where one is none, all are ranked in byte order.
fn numbers(texts: &[Option<String>]) -> Vec<i64> {
    let parsed: Option<Vec<i64>> = texts.iter().map(|text| text.as_ref()?.trim().parse().ok()).collect();
    parsed.unwrap_or_else(|| {
        let distinct: BTreeSet<&Option<String>> = texts.iter().collect();
        let rank: BTreeMap<&Option<String>, i64> = distinct.into_iter().zip(0..).collect();
        texts.iter().map(|text| rank[text]).collect()
    })
}

fn places_by_order(settings: &ImagesSettings, members: &[Captured]) -> Vec<Result<Place, &'static str>> {
    let phases = i64::from(settings.phases_per_slice);
    let parsed: Vec<Option<i64>> = members.iter().map(|one| one.order.as_ref()?.trim().parse().ok()).collect();
    let distinct: BTreeSet<i64> = parsed.iter().flatten().copied().collect();
    let rank: BTreeMap<i64, i64> = distinct.into_iter().zip(0..).collect();
    let place = |order: &Option<i64>| {
        let order = order.ok_or("its `order` by the pattern is no whole number")?;
        let counted = if settings.is_sparse { order.saturating_sub(1) } else { rank[&order] };
        if counted < 0 {
            return Err("its `order` is below 1, from which `sparse` pictures are counted");
        }
        Ok(Place { slice: counted / phases, phase: counted % phases })
    };
    parsed.iter().map(place).collect()
}

/// Pictures that a Waterbirds table lists, and the others. The tables become sidecars.
fn by_metadata(pictures: &Pictures<'_>, looks: &mut [Look], files: Vec<usize>) -> (Vec<Explained>, Vec<usize>) {
    let found = pictures.found;
    let mut rows: BTreeMap<PathBuf, waterbirds::Row> = BTreeMap::new();
    for (index, file) in found.iter().enumerate() {
        let is_table = file.path.file_name().is_some_and(|name| name == waterbirds::NAME);
        if !is_table || !matches!(&looks[index], Look::Verdict(verdict) if verdict.reason == "not-an-image") {
            continue;
        }
        let Some(listed) = read_metadata(pictures.opener, &file.path) else { continue };
        let folder = file.path.parent().unwrap_or(Path::new(""));
        rows.extend(listed.into_iter().map(|(name, row)| (folder.join(name), row)));
        looks[index] = Look::Verdict(Verdict::used("sidecar", "read as a table of pictures (Waterbirds layout)"));
    }
    let (mut explained, mut others) = (Vec::new(), Vec::new());
    for file in files {
        match rows.get(&found[file].path) {
            Some(row) => explained.push(of_row(found, file, row)),
            None => others.push(file),
        }
    }
    (explained, others)
}

/// A Waterbirds table on the disk or in an archive.
fn read_metadata(opener: &Opener, path: &Path) -> Option<BTreeMap<String, waterbirds::Row>> {
    let content = opener.open(path).ok().filter(|content| content.bytes() <= waterbirds::CAP_BYTES)?;
    waterbirds::read(&labels::decoded(&content.start(usize::MAX).ok()?))
}

fn of_row(found: &[Found], file: usize, row: &waterbirds::Row) -> Explained {
    let shared = alone(found, file, None);
    let series =
        Series { label: row.label.clone(), split: row.split.clone(), attributes: row.attributes.clone(), ..shared };
    Explained { file, place: Place { slice: 0, phase: 0 }, series: Arc::new(series) }
}

/// A picture that is a stack of its own.
fn alone(found: &[Found], file: usize, subject: Option<String>) -> Series {
    let Found { relative, source, .. } = &found[file];
    series(subject.unwrap_or_else(|| relative.clone()), format!("{source}/{relative}"))
}

/// Pictures that a label table names by their file.
fn by_label_rows(pictures: &Pictures<'_>, files: Vec<usize>) -> Vec<Explained> {
    let mut joiner = Joiner::new(pictures.label_rows);
    let explained = |file: usize| {
        let unknown = Series { person: Person::default(), ..alone(pictures.found, file, None) };
        let matches = joiner.rows_of(&unknown, pictures.found[file].source, &pictures.found[file].relative);
        matches.get("file")?;
        let series = Arc::new(alone(pictures.found, file, matches.get("patient_id").cloned()));
        Some(Explained { file, place: Place { slice: 0, phase: 0 }, series })
    };
    files.into_iter().filter_map(explained).collect()
}

#[cfg(test)]
#[path = "image_csv_tests.rs"]
mod tests;
