//! `groupdistil inspect`: what is there and what ingest would make of it. Writes nothing, names nobody.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::failure::CliError;
use super::ingest::{SourceArgs, groups, source_settings};
use super::{Global, print_result};
use crate::context::Context;
use crate::failure::FailureKind;
use crate::formats::cohort::{CohortCounts, GroupsJson, Outcome, StackRow};
use crate::ingest::{self, Scan};

const EXAMPLES: &str = "\
Examples:
  groupdistil inspect /export/mri
  groupdistil inspect /export/mri --labels labels.csv --group-by vendor,field_strength_t
  groupdistil inspect slices --config sunnybrook-ingest.toml --all
  groupdistil inspect /export/mri --files 2> files.txt      what becomes of every file (paths: keep them in the hospital)

Nothing is written. Subjects are numbered; no name, id or path appears on stdout.";

/// Lines of the table of stacks unless `--all` is given.
const LINES: usize = 40;

/// Arguments of `groupdistil inspect`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InspectArgs {
    /// Folders or files with DICOM, NIfTI or pictures.
    #[arg(value_name = "PATH", required = true)]
    sources: Vec<PathBuf>,
    #[command(flatten)]
    about: SourceArgs,
    /// What a group would be made of (default: vendor,site).
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    group_by: Vec<String>,
    /// Show every stack.
    #[arg(long)]
    all: bool,
    /// List every file that would not be used, with the reason, on stderr.
    #[arg(long)]
    files: bool,
}

/// One stack without its pseudonyms.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Line {
    /// Number of the subject, from 1, in the order of the files.
    subject: usize,
    view: String,
    kind: String,
    slices: i32,
    phases: i32,
    phases_expected: i32,
    positions_incomplete: i32,
    complete: bool,
    rows: i32,
    columns: i32,
    vendor: Option<String>,
    model: Option<String>,
    field_strength_t: Option<f64>,
    site: Option<String>,
    label: Option<String>,
    acquisition_group: String,
    source_format: String,
}

/// Everything that is shown.
#[derive(Debug, Serialize)]
struct Inspection {
    counts: CohortCounts,
    stacks: Vec<Line>,
    groups: GroupsJson,
    warnings: Vec<String>,
}

/// Runs `groupdistil inspect`.
pub fn inspect(args: &InspectArgs, global: &Global, context: Context<'_>) -> Result<(), CliError> {
    let InspectArgs { sources, about, group_by, all, files } = args;
    let settings = source_settings(about, group_by, None)?;
    let key = ingest::throw_away_key()?;
    let scan = ingest::scan(&settings, sources, &key, context)?;
    if *files {
        list_files(&scan);
    }
    let inspection = inspection(scan);
    if global.json {
        let text = serde_json::to_string(&inspection).map_err(|error| CliError::new(FailureKind::Unusable, error))?;
        return print_result(&format!("{text}\n"));
    }
    print_result(&table(&inspection, if *all { usize::MAX } else { LINES }))
}

/// Files that would not be used. Paths may name patients: stderr alone.
#[expect(clippy::print_stderr, reason = "asked for by --files, and stdout may not hold paths")]
fn list_files(scan: &Scan) {
    for row in scan.ledger.iter().filter(|row| row.outcome != Outcome::Used) {
        eprintln!("{}\t{}\t{}\t{}", row.outcome.as_str(), row.reason, row.path, row.message);
    }
}

/// Subjects as numbers, in the order of their first file, so that equal folders give equal output under any key.
fn inspection(scan: Scan) -> Inspection {
    let mut first_path: BTreeMap<&str, &str> = BTreeMap::new();
    for frame in &scan.frames {
        let known = first_path.entry(&frame.stack_id).or_insert(&frame.path);
        *known = (*known).min(frame.path.as_str());
    }
    let mut stacks: Vec<(&str, &StackRow)> = scan
        .stacks
        .iter()
        .map(|stack| (first_path.get(stack.stack_id.as_str()).copied().unwrap_or(""), stack))
        .collect();
    // Several stacks of one file are told apart by what is shown of them.
    stacks.sort_by(|(a_path, a), (b_path, b)| {
        let shown = |stack: &StackRow| (stack.view.clone(), stack.kind.clone(), stack.slices, stack.phases, stack.rows);
        a_path.cmp(b_path).then_with(|| shown(a).cmp(&shown(b)))
    });
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, stack) in &stacks {
        let next = numbers.len() + 1;
        numbers.entry(&stack.subject_id).or_insert(next);
    }
    let mut lines: Vec<Line> =
        stacks.iter().map(|(_, stack)| line(stack, numbers[stack.subject_id.as_str()])).collect();
    lines.sort_by_key(|line| line.subject);
    let without_pseudonyms = |warning: &String| {
        let named = numbers.iter().find(|(id, _)| warning.contains(**id));
        named.map_or_else(|| warning.clone(), |(id, number)| warning.replace(id, &number.to_string()))
    };
    let mut warnings: Vec<String> = scan.warnings.iter().map(without_pseudonyms).collect();
    // Those that name subjects came in the order of their pseudonyms.
    warnings.sort();
    let groups = GroupsJson { warnings: Vec::new(), ..scan.groups.clone() };
    Inspection { counts: scan.counts.clone(), stacks: lines, groups, warnings }
}

fn line(stack: &StackRow, subject: usize) -> Line {
    Line {
        subject,
        view: stack.view.clone(),
        kind: stack.kind.clone(),
        slices: stack.slices,
        phases: stack.phases,
        phases_expected: stack.phases_expected,
        positions_incomplete: stack.positions_incomplete,
        complete: stack.complete,
        rows: stack.rows,
        columns: stack.columns,
        vendor: stack.vendor.clone(),
        model: stack.model.clone(),
        field_strength_t: stack.field_strength_t,
        site: stack.site.clone(),
        label: stack.label.clone(),
        acquisition_group: stack.acquisition_group.clone(),
        source_format: stack.source_format.clone(),
    }
}

fn table(inspection: &Inspection, most: usize) -> String {
    let counts = &inspection.counts;
    let mut text = format!(
        "{} files, {} subjects, {} stacks, {} images\n\n",
        counts.files, counts.subjects, counts.stacks, counts.frames
    );
    let header =
        ["subject", "view", "kind", "slices x phases", "complete", "vendor", "model", "field", "site", "label"];
    let cells = inspection.stacks.iter().take(most).map(cells);
    text += &columns(std::iter::once(header.map(str::to_owned)).chain(cells).collect());
    if inspection.stacks.len() > most {
        let _ = writeln!(text, "... and {} more stacks; --all shows them", inspection.stacks.len() - most);
    }
    let _ = writeln!(text, "\n{:<10}{:<26}{:>8}", "files", "reason", "count");
    for (name, count) in &counts.reasons {
        let (outcome, reason) = name.split_once(' ').unwrap_or((name, ""));
        let _ = writeln!(text, "{outcome:<10}{reason:<26}{count:>8}");
    }
    let _ = writeln!(text, "\n{:<10}{:<26}{:>8}", "view", "kind", "stacks");
    for (name, count) in &counts.views {
        let (view, kind) = name.split_once(' ').unwrap_or((name, ""));
        let _ = writeln!(text, "{view:<10}{kind:<26}{count:>8}");
    }
    text += &groups(&inspection.groups.groups);
    for (index, warning) in inspection.warnings.iter().enumerate() {
        let _ = writeln!(text, "{}warning: {warning}", if index == 0 { "\n" } else { "" });
    }
    text
}

fn cells(line: &Line) -> [String; 10] {
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let complete = match (line.complete, line.positions_incomplete) {
        (true, _) => "yes".to_owned(),
        (false, 0) => format!("{} of {}", line.phases, line.phases_expected),
        (false, left_out) => format!("{left_out} left out"),
    };
    [
        line.subject.to_string(),
        line.view.clone(),
        line.kind.clone(),
        format!("{} x {}", line.slices, line.phases),
        complete,
        known(&line.vendor),
        known(&line.model),
        line.field_strength_t.map_or_else(|| "-".to_owned(), |field| format!("{field} T")),
        known(&line.site),
        known(&line.label),
    ]
}

/// Rows as columns of equal width.
fn columns<const N: usize>(rows: Vec<[String; N]>) -> String {
    let mut widths = [0; N];
    for row in &rows {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = (*width).max(cell.chars().count()));
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(&row) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![["a".to_owned(), "b".to_owned()], ["Größe".to_owned(), "c".to_owned()]];
        assert_eq!(columns(rows), "a      b\nGröße  c\n");
    }

    #[test]
    fn what_is_missing_is_said_in_the_complete_column() {
        let stack = StackRow { slices: 9, phases: 2, phases_expected: 20, ..StackRow::default() };
        assert_eq!(cells(&line(&stack, 1))[4], "2 of 20");
        let left_out = StackRow { positions_incomplete: 3, ..stack.clone() };
        assert_eq!(cells(&line(&left_out, 1))[4], "3 left out");
        assert_eq!(cells(&line(&StackRow { complete: true, ..stack }, 1))[4], "yes");
    }
}
