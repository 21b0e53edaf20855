//! Contact sheets of a dataset: a self-contained page per site with the samples as the network gets them, flagged stacks first, and
//! what was left out with its reason. Read back from the shards, one page at a time, so that memory stays bounded and a resumed run
//! writes the same bytes. Only pseudonyms; no path.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use maud::{Markup, html};
use ndarray::Array2;
use rayon::prelude::*;

use super::Cohort;
use super::error::PreprocessError;
use super::rows::Rows;
use super::source::CohortStack;
use crate::context::Context;
use crate::formats::dataset::{DatasetError, ExclusionRow, SampleRow};
use crate::formats::images::{OpenShard, Shard, shard_name};
use crate::formats::plan::{Normalisation, Plan, SampleKind};
use crate::formats::quality::{QualityFlag, QualityRow};
use crate::fsx;
use crate::outdir::OutDir;
use crate::page::{self, Align, DataTable, Page, Section, TableRow};
use crate::sheet::{self, Card, ContactSheet, Pill, SLICE_PIXELS, Shown, Sketch, Thumbnail};

/// Folder of the pages in a DATASET.
pub const SHEETS_FOLDER: &str = "sheets";
/// Cards of a page; flagged stacks are never dropped, but beyond this they have no picture.
const MOST_CARDS: usize = 300;
/// Rows of the table of what was left out; exclusions.csv has all.
const MOST_LEFT_OUT: usize = 300;
/// Longer side of a picture.
const PICTURE_PIXELS: usize = 168;
/// Frames of a moving picture.
const MOST_FRAMES: usize = 40;
/// Characters of a site's name in the name of its page.
const SLUG_CHARACTERS: usize = 40;
const UNKNOWN: &str = "unknown";

/// What the pages are made from.
pub struct Source<'a> {
    /// The plan of the images.
    pub plan: &'a Plan,
    /// Stacks.
    pub cohort: &'a Cohort,
    /// Rows of the dataset, whose shards are written.
    pub rows: &'a Rows,
}

/// One prepared stack.
struct Prepared<'a> {
    stack: &'a CohortStack,
    quality: &'a QualityRow,
    /// By slices, then phases.
    samples: &'a [SampleRow],
}

/// What is on one page.
#[derive(Default)]
struct Site<'a> {
    prepared: Vec<Prepared<'a>>,
    left_out: Vec<(&'a CohortStack, &'a ExclusionRow)>,
}

/// A written page, for the index.
struct Written {
    name: String,
    file: String,
    subjects: usize,
    stacks: usize,
    flagged: usize,
    left_out: usize,
}

/// Writes the pages anew.
///
/// # Errors
/// [`PreprocessError::Interrupted`], or a file that cannot be read or written.
pub fn write(source: &Source<'_>, folder: &OutDir, context: Context<'_>) -> Result<(), PreprocessError> {
    let _drawn = tracing::trace_span!("sheets").entered();
    let pages = folder.path(SHEETS_FOLDER);
    fsx::remove_folder(&pages)?;
    fsx::create_folder(&pages)?;
    let sites = sites(source);
    context.observer.begin("contact sheets", Some(source.rows.quality.len() as u64));
    let mut written = Vec::new();
    for (number, (name, site)) in sites.iter().enumerate() {
        let file = format!("{:02}-{}.html", number + 1, slug(name));
        let text = page(source, folder.root(), (name, site), context)?;
        fsx::write_atomic(&pages.join(&file), text.as_bytes())?;
        written.push(summary(name, file, site));
    }
    if written.len() > 1 {
        fsx::write_atomic(&pages.join("index.html"), index(&written).as_bytes())?;
    }
    context.observer.end();
    Ok(())
}

/// Stacks by site; by acquisition group where no site is known.
fn sites<'a>(source: &Source<'a>) -> BTreeMap<String, Site<'a>> {
    let by_id = source.cohort.by_id();
    let has_sites = source.rows.samples.iter().any(|sample| sample.site.is_some());
    let name = |stack: &CohortStack| match (&stack.site, has_sites) {
        (Some(site), true) => site.clone(),
        (None, true) => UNKNOWN.to_owned(),
        (_, false) => stack.acquisition_group.clone(),
    };
    let mut sites: BTreeMap<String, Site<'_>> = BTreeMap::new();
    let mut samples = source.rows.samples.as_slice();
    // Both tables are sorted by subject and stack.
    for quality in &source.rows.quality {
        let count = samples.iter().take_while(|sample| sample.stack_id == quality.stack_id).count();
        let (own, rest) = samples.split_at(count);
        samples = rest;
        let Some(stack) = by_id.get(quality.stack_id.as_str()) else { continue };
        sites.entry(name(stack)).or_default().prepared.push(Prepared { stack, quality, samples: own });
    }
    for row in &source.rows.exclusions {
        let Some(stack) = by_id.get(row.stack_id.as_str()) else { continue };
        sites.entry(name(stack)).or_default().left_out.push((stack, row));
    }
    for site in sites.values_mut() {
        site.prepared.sort_by(|a, b| doubt(a.quality).cmp(&doubt(b.quality)));
    }
    sites
}

/// Many flags first; the others by subject and stack.
fn doubt(quality: &QualityRow) -> (std::cmp::Reverse<usize>, &str, &str) {
    (std::cmp::Reverse(quality.flags.len()), &quality.subject_id, &quality.stack_id)
}

/// Letters and digits of a name in lower case, joined by hyphens: fit for any file system.
fn slug(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' }).collect();
    let joined = plain.split_whitespace().collect::<Vec<_>>().join("-");
    let short: String = joined.chars().take(SLUG_CHARACTERS).collect();
    if short.is_empty() { "site".to_owned() } else { short.trim_end_matches('-').to_owned() }
}

fn summary(name: &str, file: String, site: &Site<'_>) -> Written {
    let subjects: BTreeSet<&str> = site.prepared.iter().map(|one| one.stack.subject_id.as_str()).collect();
    Written {
        name: name.to_owned(),
        file,
        subjects: subjects.len(),
        stacks: site.prepared.len(),
        flagged: site.prepared.iter().filter(|one| !one.quality.flags.is_empty()).count(),
        left_out: site.left_out.len(),
    }
}

fn page(
    source: &Source<'_>,
    root: &Path,
    (name, site): (&String, &Site<'_>),
    context: Context<'_>,
) -> Result<String, PreprocessError> {
    let flagged = site.prepared.iter().filter(|one| !one.quality.flags.is_empty()).count();
    let shown = &site.prepared[..site.prepared.len().min(MOST_CARDS.max(flagged))];
    let card = |(position, one): (usize, &Prepared<'_>)| {
        if context.interrupt.is_set() {
            return Err(PreprocessError::Interrupted);
        }
        let picture = if position < MOST_CARDS {
            picture(source.plan, root, one.samples)?
        } else {
            Shown::Unreadable(format!("The first {MOST_CARDS} stacks alone have one."))
        };
        Ok(card(one, picture))
    };
    let cards: Vec<Result<Card, PreprocessError>> =
        context.pool.install(|| shown.par_iter().enumerate().map(card).collect());
    let cards = cards.into_iter().collect::<Result<Vec<_>, _>>()?;
    context.observer.advance(site.prepared.len() as u64);
    let mut notes = Vec::new();
    if shown.len() < site.prepared.len() {
        let all = site.prepared.len();
        notes.push(format!("{} of {all} stacks are shown, all {flagged} flagged ones among them.", shown.len()));
    }
    let summary = summary(name, String::new(), site);
    let subtitle = format!("{} stacks of {} subjects as the network gets them", summary.stacks, summary.subjects);
    Ok(sheet::html(ContactSheet {
        kind: "Contact sheet",
        title: name,
        subtitle: &subtitle,
        lead: lead(site, &summary),
        cards: &cards,
        notes: &notes,
        legend: legend(source.plan),
        sections: vec![
            Section { id: "flags", title: "Flags", body: flags() },
            Section { id: "left-out", title: "Left out", body: left_out(&site.left_out) },
        ],
    }))
}

fn legend(plan: &Plan) -> Markup {
    let moving = match plan.sample {
        SampleKind::Pair => "End-diastole and end-systole take turns.",
        SampleKind::Cycle { .. } => "It beats in the phases that the network gets.",
        SampleKind::Slab { .. } => "It runs through the slices, then the phases, that the network gets.",
        SampleKind::Single { .. } => "It runs through the phases that are samples.",
    };
    html! {
        p { "Each picture is the sample in the middle of the stack: turned to the standard orientation, cut around the heart, with its grey values made
            comparable. " (moving) " Below it are the first, the middle and the last slice that are samples. Black and white are the
            1st and the 98th percentile of what is shown." }
        p { "The numbers are those of quality.csv; docs/preprocess.md says how they are measured and where their limits come from." }
    }
}

fn lead(site: &Site<'_>, summary: &Written) -> Markup {
    let count = |flag: QualityFlag| site.prepared.iter().filter(|one| one.quality.flags.contains(&flag)).count();
    let raised: Vec<String> = QualityFlag::ALL
        .into_iter()
        .filter(|flag| count(*flag) > 0)
        .map(|flag| format!("{} {}", count(flag), flag.as_str()))
        .collect();
    page::tiles(&[
        (html! { "Subjects" }, html! { (summary.subjects) }, html! { "with samples" }),
        (html! { "Stacks" }, html! { (summary.stacks) }, html! { "with samples" }),
        (
            html! { "To look at" },
            html! { (summary.flagged) },
            html! { @if raised.is_empty() { "no flag" } @else { (raised.join(", ")) } },
        ),
        (
            html! { "Left out" },
            html! { (summary.left_out) },
            html! { @if summary.left_out > 0 { a href="#left-out" { "why" } } },
        ),
    ])
}

fn card(one: &Prepared<'_>, shown: Shown) -> Card {
    let Prepared { stack, quality, samples } = one;
    let pill = |kind, text: &str| Pill { kind, text: text.to_owned() };
    let view = if stack.is_plain_image { "picture" } else { stack.view.as_str() };
    let label = stack.label.clone().unwrap_or_default();
    let mut pills = vec![pill("plain", view), pill("plain", &label)];
    pills.extend(quality.flags.iter().map(|flag| pill("doubt", flag.as_str())));
    if quality.flags.is_empty() {
        pills.push(pill("good", "no flag"));
    }
    let split = samples.first().map(|sample| sample.split.as_str().to_owned());
    Card {
        heading: format!("Subject {}", quality.subject_id.chars().take(8).collect::<String>()),
        shown,
        edges: None,
        slices_towards: None,
        slices: stack.slices,
        view: view.to_owned(),
        site: stack.site.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
        pills,
        facts: facts(stack, quality, split, samples.len()),
        is_doubtful: !quality.flags.is_empty(),
    }
}

fn facts(
    stack: &CohortStack,
    quality: &QualityRow,
    split: Option<String>,
    samples: usize,
) -> Vec<(&'static str, Option<String>)> {
    let mut facts = vec![
        ("Stack", Some(quality.stack_id.clone())),
        ("Vendor", stack.vendor.clone()),
        ("Slices x phases", Some(format!("{} x {} of {}", stack.slices, stack.phases, stack.phases_expected))),
        ("Samples", Some(samples.to_string())),
        ("Split", split),
    ];
    let mut measured = |name, value: Option<String>| facts.extend(value.map(|value| (name, Some(value))));
    measured("Heart", quality.heart_confidence.map(|value| format!("confidence {value:.2}")));
    measured("Crop outside", (quality.outside_share > 0.0).then(|| format!("{:.0} %", 100.0 * quality.outside_share)));
    measured("Around the heart", quality.crop_margin_mm.map(|value| format!("{value:.0} mm")));
    measured("Contrast / noise", quality.contrast_to_noise.map(|value| format!("{value:.0}")));
    measured("Slice jump", quality.slice_jump_mm.map(|value| format!("{value:.1} mm")));
    measured("Phase jump", quality.phase_jump.map(|value| format!("{value:.2}")));
    measured("Cavity change", quality.cavity_change.map(|value| format!("{:.0} %", 100.0 * value)));
    measured("Axis angle", quality.axis_angle_deg.map(|value| format!("{value:.0} degrees")));
    facts
}

/// The stack's pictures, from the rows of its samples.
fn picture(plan: &Plan, root: &Path, samples: &[SampleRow]) -> Result<Shown, PreprocessError> {
    let Some(middle) = samples.get(samples.len() / 2) else {
        return Ok(Shown::Unreadable("The stack has no sample.".to_owned()));
    };
    // The samples of a stack lie in one shard.
    let number = usize::try_from(middle.shard).unwrap_or(0);
    let shard = Shard::check(&root.join(shard_name(number)), plan.image_shape())?;
    let shard = shard.open()?;
    let frames = |sample: &SampleRow| frames(plan, &shard, sample);
    let cine: Vec<Vec<Array2<f32>>> = match plan.sample {
        SampleKind::Single { .. } => {
            let own: Vec<_> = samples.iter().filter(|sample| sample.slices == middle.slices).collect();
            let step = own.len().div_ceil(MOST_FRAMES).max(1);
            let shown: Vec<&SampleRow> = own.into_iter().step_by(step).collect();
            shown
                .into_par_iter()
                .map(|sample| Ok(frames(sample)?.swap_remove(0)))
                .collect::<Result<_, DatasetError>>()?
        }
        _ => frames(middle)?,
    };
    let mut slices: Vec<&SampleRow> = Vec::new();
    for sample in samples {
        if slices.last().is_none_or(|last| last.slices != sample.slices) {
            slices.push(sample);
        }
    }
    let wanted = sheet::wanted(slices.len(), 1, false);
    let mut strip = Vec::new();
    for index in wanted.slices {
        let sample = slices[index];
        let size = sheet::fit(plan.geometry.size().0, plan.geometry.size().1, None, SLICE_PIXELS);
        let number = sample.slices.get(sample.slices.len() / 2).and_then(|&slice| usize::try_from(slice).ok());
        let frame = sheet::reduce(&frames(sample)?.swap_remove(0), size);
        strip.extend(frame.zip(number).map(|(frame, number)| (number, frame)));
    }
    // Small crops are stored pixel for pixel and enlarged by the browser: a page of cines takes a quarter of the time and the bytes.
    let (rows, columns) = plan.geometry.size();
    let longest = rows.max(columns).max(1);
    let size = sheet::fit(rows, columns, None, PICTURE_PIXELS.min(longest));
    let cine: Vec<Option<_>> = cine.par_iter().map(|frame| sheet::reduce(frame, size)).collect();
    let cine = cine.into_iter().flatten().collect();
    let sketch = Sketch { cine, slices: strip, beat_ms: None, enlarged: (PICTURE_PIXELS / longest).max(1) };
    let drawn = Thumbnail::draw(&sketch);
    Ok(drawn.map_or_else(|| Shown::Unreadable("It cannot be drawn.".to_owned()), |one| Shown::Picture(Box::new(one))))
}

/// Frames of a sample, each with its channels; at least one.
fn frames(plan: &Plan, shard: &OpenShard<'_>, sample: &SampleRow) -> Result<Vec<Vec<Array2<f32>>>, DatasetError> {
    let (channels, height, width) = plan.image_shape();
    let mut image = vec![0.0; channels * height * width];
    shard.read(usize::try_from(sample.row).unwrap_or(0), &mut image, &mut Vec::new())?;
    // Colours are shown from 0 to 255.
    if plan.frame_channels == 3 && plan.intensity.normalisation == Normalisation::Unit {
        image.iter_mut().for_each(|value| *value *= 255.0);
    }
    let channel = |pixels: &[f32]| {
        Array2::from_shape_vec((height, width), pixels.to_vec()).expect("a chunk has the size of a channel")
    };
    let all: Vec<Array2<f32>> = image.chunks_exact(height * width).map(channel).collect();
    Ok(all.chunks(plan.frame_channels).map(<[_]>::to_vec).collect())
}

fn flags() -> Markup {
    html! {
        p.note { "Flags report; they never leave a stack out." }
        dl.terms { @for flag in QualityFlag::ALL { dt { code { (flag.as_str()) } } dd { (flag.meaning()) } } }
    }
}

fn left_out(rows: &[(&CohortStack, &ExclusionRow)]) -> Markup {
    if rows.is_empty() {
        return html! { p { "Nothing." } };
    }
    let row = |(stack, row): &(&CohortStack, &ExclusionRow)| {
        let subject: String = row.subject_id.chars().take(8).collect();
        let cells = vec![
            html! { code { (row.stack_id) } },
            html! { (subject) },
            html! { (stack.view) ", " (stack.kind) },
            html! { code { (row.reason) } },
            html! { (row.message) },
        ];
        TableRow { class: "", cells }
    };
    let header = ["Stack", "Subject", "View, kind", "Reason", "Why"];
    html! {
        (DataTable {
            caption: page::text("Stacks of the cohort that gave no sample"),
            header: header.iter().map(|name| (page::text(name), Align::Left)).collect(),
            rows: rows.iter().take(MOST_LEFT_OUT).map(row).collect(),
        }.render())
        @if rows.len() > MOST_LEFT_OUT { p.note { (MOST_LEFT_OUT) " of " (rows.len()) " are shown; exclusions.csv has all." } }
    }
}

fn index(written: &[Written]) -> String {
    let row = |one: &Written| {
        let cells = vec![
            html! { a href=(one.file) { (one.name) } },
            html! { (one.subjects) },
            html! { (one.stacks) },
            html! { @if one.flagged > 0 { b { (one.flagged) } } @else { "0" } },
            html! { (one.left_out) },
        ];
        TableRow { class: "", cells }
    };
    let header = [
        ("Site", Align::Left),
        ("Subjects", Align::Right),
        ("Stacks", Align::Right),
        ("To look at", Align::Right),
        ("Left out", Align::Right),
    ];
    let table = DataTable {
        caption: page::text("Stacks as the network gets them, a page per site"),
        header: header.iter().map(|(name, align)| (page::text(name), *align)).collect(),
        rows: written.iter().map(row).collect(),
    };
    let stacks: usize = written.iter().map(|one| one.stacks).sum();
    let subtitle = format!("{stacks} stacks on {} pages", written.len());
    page::shell(Page {
        title: "Contact sheets",
        kind: "Dataset",
        subtitle: &subtitle,
        lead: html! {},
        sections: vec![Section { id: "sites", title: "Sites", body: table.render() }],
        style: "",
        script: None,
        footer: html! { p { "groupdistil " (env!("CARGO_PKG_VERSION")) ". Pictures of patients without names: treat these pages as you treat their scans." } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pages_are_fit_for_any_file_system() {
        assert_eq!(slug("St. Mary's / North"), "st-mary-s-north");
        assert_eq!(slug("../../etc"), "etc");
        assert_eq!(slug("Köln"), "k-ln");
        assert_eq!(slug("東京"), "site");
        assert_eq!(slug(&"ab ".repeat(40)).len(), 40);
    }
}
