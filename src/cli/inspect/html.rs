//! `inspect --html`: the page. What is on it is what the table shows, with pictures; no path, no id, no name.

use std::collections::BTreeSet;
use std::path::Path;

use maud::{Markup, html};

use super::lines::{Inspection, Line};
use super::pictures::{self, Job};
use super::reasons;
use crate::cli::failure::CliError;
use crate::context::Context;
use crate::failure::FailureKind;
use crate::formats::cohort::{GroupCounts, StackRow};
use crate::fsx;
use crate::ingest::Scan;
use crate::page::{self, Align, DataTable, Section, TableRow};
use crate::sheet::{self, Card, ContactSheet, Edges, Pill};

const KIND: &str = "Inspection";
/// Stacks on a page unless `--all` is given.
const MOST_CARDS: usize = 1000;
/// Cines that move: each may take half a megabyte of the page.
const MOST_MOVING: usize = 60;

/// What the page shows.
pub(super) struct Shown<'a> {
    pub(super) scan: &'a Scan,
    pub(super) inspection: &'a Inspection,
    /// Every stack, however many.
    pub(super) all: bool,
}

/// Refuses early to replace a file that is no page of this kind.
pub(super) fn check_target(page: &Path, force: bool) -> Result<(), CliError> {
    let refuse = |problem: &str| Err(CliError::new(FailureKind::Usage, format!("`{}` {problem}", page.display())));
    if page.is_dir() {
        return refuse("is a folder; give --html the name of a file");
    }
    if page.exists() && !force && !fsx::starts_with(page, page::start(KIND).as_bytes()) {
        return refuse("is there and is no page of inspect; give another name, or --force to replace it");
    }
    Ok(())
}

/// Draws the pictures and writes the page.
pub(super) fn write(page: &Path, shown: &Shown<'_>, context: Context<'_>) -> Result<(), CliError> {
    let text = render(shown, context)?;
    if let Some(folder) = page.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fsx::create_folder(folder)?;
    }
    fsx::write_atomic(page, text.as_bytes())?;
    Ok(())
}

fn render(shown: &Shown<'_>, context: Context<'_>) -> Result<String, CliError> {
    let Shown { scan, inspection, all } = shown;
    let stack = |line: &Line| &scan.stacks[line.index];
    let most = if *all { usize::MAX } else { MOST_CARDS };
    let lines = chosen(&inspection.stacks.iter().collect::<Vec<_>>(), most);
    let cines: Vec<&Line> = lines.iter().copied().filter(|line| line.phases > 1).collect();
    let moving: Vec<usize> = chosen(&cines, MOST_MOVING).iter().map(|line| line.index).collect();
    let is_animated = |line: &Line| moving.contains(&line.index);
    let jobs: Vec<Job<'_>> =
        lines.iter().map(|line| Job { stack: stack(line), is_animated: is_animated(line) }).collect();
    let stopped = || {
        let message = "interrupted before the page was written; run the same command again";
        CliError::new(FailureKind::Interrupted, message)
    };
    let pictures = pictures::draw(scan, &jobs, context).ok_or_else(stopped)?;
    let mut notes = Vec::new();
    if lines.len() < inspection.stacks.len() {
        notes.push(format!(
            "{} of {} stacks are shown, from all groups alike. --all shows every one; a folder further down shows fewer.",
            lines.len(),
            inspection.stacks.len()
        ));
    }
    if moving.len() < cines.len() {
        let still = "the others show their first phase, so that the page stays small";
        notes.push(format!("{} of {} cines move, from all groups alike; {still}.", moving.len(), cines.len()));
    }
    let left_out = |(line, picture): (&&Line, &sheet::Shown)| {
        let frames = if let sheet::Shown::Picture(picture) = picture { picture.frames } else { 0 };
        frames > 1 && usize::try_from(line.phases).is_ok_and(|phases| frames < phases)
    };
    let shortened = lines.iter().zip(&pictures).filter(|pair| left_out((pair.0, pair.1))).count();
    if shortened > 0 {
        notes.push(format!("{shortened} cines with many phases show every second, third, ... of them."));
    }
    let studies: BTreeSet<(usize, Option<usize>)> =
        inspection.stacks.iter().map(|line| (line.subject, line.study)).collect();
    let several = |line: &Line| studies.range((line.subject, None)..(line.subject + 1, None)).nth(1).is_some();
    let cards: Vec<Card> =
        lines.iter().zip(pictures).map(|(line, picture)| card(line, stack(line), picture, several(line))).collect();
    let counts = &inspection.counts;
    let subtitle = format!(
        "{} files, {} subjects, {} stacks, {} images",
        counts.files, counts.subjects, counts.stacks, counts.frames
    );
    Ok(sheet::html(ContactSheet {
        kind: KIND,
        title: "What is in these scans",
        subtitle: &subtitle,
        lead: lead(inspection),
        cards: &cards,
        notes: &notes,
        legend: sheet::stored_legend(),
        sections: sections(inspection),
    }))
}

/// At most `most` lines, from all groups alike.
fn chosen<'a>(lines: &[&'a Line], most: usize) -> Vec<&'a Line> {
    let groups: Vec<&str> = lines.iter().map(|line| line.acquisition_group.as_str()).collect();
    lines.iter().zip(sheet::spread(&groups, most)).filter(|(_, chosen)| *chosen).map(|(line, _)| *line).collect()
}

/// Views in words.
fn view_name(line: &Line) -> &str {
    match line.view.as_str() {
        "other" if line.source_format == "image" => "picture",
        "sax" => "short axis",
        "2ch" => "2-chamber",
        "3ch" => "3-chamber",
        "4ch" => "4-chamber",
        "other" => "other view",
        other => other,
    }
}

fn card(line: &Line, stack: &StackRow, shown: sheet::Shown, name_study: bool) -> Card {
    let mut pills =
        vec![Pill { kind: "plain", text: view_name(line).to_owned() }, Pill { kind: "plain", text: line.kind.clone() }];
    let mut doubts = Vec::new();
    match (line.complete, line.positions_incomplete) {
        (true, _) => pills.push(Pill { kind: "good", text: "complete".to_owned() }),
        (false, 0) => doubts.push(format!("{} of {} phases", line.phases, line.phases_expected)),
        (false, 1) => doubts.push("1 position left out".to_owned()),
        (false, left_out) => doubts.push(format!("{left_out} positions left out")),
    }
    if stack.axes.is_none() && line.source_format != "image" {
        doubts.push("no geometry".to_owned());
    }
    match &shown {
        sheet::Shown::Picture(picture) if picture.is_flat => doubts.push("no contrast".to_owned()),
        sheet::Shown::Picture(_) => {}
        sheet::Shown::Unreadable(_) => pills.push(Pill { kind: "bad", text: "unreadable".to_owned() }),
    }
    let is_doubtful = !doubts.is_empty() || matches!(shown, sheet::Shown::Unreadable(_));
    pills.extend(doubts.into_iter().map(|text| Pill { kind: "doubt", text }));
    let study = line.study.filter(|_| name_study).map_or_else(String::new, |study| format!(", study {study}"));
    let slices = usize::try_from(line.slices).unwrap_or(0);
    Card {
        heading: format!("Subject {}{study}", line.subject),
        shown,
        edges: stack.axes.map(|(row, column)| Edges::of(row, column)),
        slices_towards: stack
            .axes
            .filter(|_| slices > 1)
            .map(|(row, column)| sheet::towards(crate::geometry::cross(row, column))),
        slices,
        view: view_name(line).to_owned(),
        site: line.site.clone().unwrap_or_else(|| "unknown".to_owned()),
        pills,
        facts: facts(line, stack),
        is_doubtful,
    }
}

fn facts(line: &Line, stack: &StackRow) -> Vec<(&'static str, Option<String>)> {
    let spacing = stack.pixel_spacing_row_mm.zip(stack.pixel_spacing_column_mm);
    let mm = |value: f64| format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned();
    let mut facts = vec![
        ("Slices x phases", Some(format!("{} x {}", line.slices, line.phases))),
        ("Rows x columns", Some(format!("{} x {}", line.rows, line.columns))),
        ("Pixel", spacing.map(|(row, column)| format!("{} x {} mm", mm(row), mm(column)))),
    ];
    // Pictures have an order and no distance.
    if line.slices > 1 && stack.axes.is_some() {
        facts.push(("Slice distance", stack.slice_spacing_mm.map(|spacing| format!("{} mm", mm(spacing)))));
    }
    facts.extend([
        ("Vendor", line.vendor.clone()),
        ("Model", line.model.clone()),
        ("Field", line.field()),
        ("Site", line.site.clone()),
        ("Label", Some(line.label.clone().unwrap_or_else(|| "none".to_owned()))),
        ("Group", Some(stack.group.clone())),
    ]);
    facts
}

fn lead(inspection: &Inspection) -> Markup {
    let counts = &inspection.counts;
    let outcome = |name: &str| counts.outcomes.get(name).copied().unwrap_or(0);
    let rejected = outcome("rejected");
    let views: Vec<String> = counts.views.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let labels = format!("{} stacks with a label", counts.labelled_stacks);
    let groups = inspection.groups.acquisition_groups.len();
    let files = format!("{} used, {} skipped, {rejected} rejected", outcome("used"), outcome("skipped"));
    html! {
        (page::tiles(&[
            (html! { "Subjects" }, html! { (counts.subjects) }, html! { (labels) }),
            (html! { "Stacks" }, html! { (counts.stacks) }, html! { (views.join(", ")) }),
            (html! { "Groups that can be trained on" }, html! { (groups) }, html! { "by " (inspection.groups.group_by.join(", ")) }),
            (html! { "Files" }, html! { (counts.files) }, html! { (files) }),
        ]))
        @if !inspection.warnings.is_empty() {
            div.verdict.doubt {
                h3 { "What to look at" }
                ul.limits { @for warning in &inspection.warnings { li { (with_code(warning)) } } }
            }
        }
    }
}

fn sections(inspection: &Inspection) -> Vec<Section> {
    let groups = &inspection.groups.groups;
    let what = "Short-axis cines and pictures alone: what preprocess selects unless told otherwise.";
    vec![
        Section {
            id: "groups",
            title: "Groups",
            body: html! {
                p.note { (what) }
                @if groups.is_empty() { p { "There is none here." } } @else { (groups_table(groups)) }
            },
        },
        Section { id: "files", title: "Files", body: files_table(inspection) },
    ]
}

fn groups_table(groups: &[GroupCounts]) -> Markup {
    let row = |group: &GroupCounts| {
        let labels: Vec<String> = group.labels.iter().map(|(label, count)| format!("{label} {count}")).collect();
        let cells = vec![
            html! { code { (group.name) } },
            html! { (group.subjects) },
            html! { (group.stacks) },
            html! { (labels.join(", ")) },
        ];
        TableRow { class: "", cells }
    };
    let header = [
        ("Group", Align::Left),
        ("Subjects", Align::Right),
        ("Stacks", Align::Right),
        ("Subjects by label", Align::Left),
    ];
    table("What a classifier would be trained on", &header, groups.iter().map(row).collect())
}

/// One row per reason: paths are in the ledger of `ingest`, or in `inspect --files`.
fn files_table(inspection: &Inspection) -> Markup {
    let row = |(name, count): (&String, &usize)| {
        let (outcome, reason) = name.split_once(' ').unwrap_or((name, ""));
        let guide = reasons::guide(outcome, reason);
        let said = |text: Option<&'static str>| text.map_or_else(|| html! {}, with_code);
        let kind = match outcome {
            "used" => "good",
            "rejected" => "bad",
            _ => "plain",
        };
        let cells = vec![
            html! { code { (reason) } },
            page::pill(kind, outcome),
            html! { (count) },
            said(guide.map(|guide| guide.meaning)),
            said(guide.map(|guide| guide.remedy)),
        ];
        TableRow { class: "", cells }
    };
    let header = [
        ("Reason", Align::Left),
        ("Outcome", Align::Left),
        ("Files", Align::Right),
        ("What it means", Align::Left),
        ("What to do", Align::Left),
    ];
    table(
        "Every file has one reason; inspect --files lists them by name",
        &header,
        inspection.counts.reasons.iter().map(row).collect(),
    )
}

fn table(caption: &str, header: &[(&str, Align)], rows: Vec<TableRow>) -> Markup {
    let header = header.iter().map(|(name, align)| (page::text(name), *align)).collect();
    DataTable { caption: page::text(caption), header, rows }.render()
}

/// Text with `code` in it.
fn with_code(text: &str) -> Markup {
    html! { @for (index, part) in text.split('`').enumerate() {
        @if index % 2 == 1 { code { (part) } } @else { (part) }
    } }
}
