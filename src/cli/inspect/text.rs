//! The table and the tree on stdout.

use std::fmt::Write;

use super::lines::{Inspection, Line};
use crate::cli::ingest::groups;

/// The stacks as lines of a table, and the counts below it.
pub(super) fn table(inspection: &Inspection, most: usize) -> String {
    let header =
        ["subject", "view", "kind", "slices x phases", "complete", "vendor", "model", "field", "site", "label"];
    let cells = inspection.stacks.iter().take(most).map(cells);
    let stacks = columns(std::iter::once(header.map(str::to_owned)).chain(cells).collect());
    framed(inspection, &stacks, most)
}

/// Subject, study and stack as a tree, and the counts below it.
pub(super) fn tree(inspection: &Inspection, most: usize) -> String {
    let lines = &inspection.stacks[..inspection.stacks.len().min(most)];
    let mut text = String::new();
    for subject in lines.chunk_by(|a, b| a.subject == b.subject) {
        let _ = writeln!(text, "subject {}", subject[0].subject);
        let mut studies = subject.chunk_by(|a, b| a.study == b.study).peekable();
        while let Some(study) = studies.next() {
            let (branch, trunk) = branches(studies.peek().is_none());
            let name = study[0].study.map_or_else(|| "no study".to_owned(), |number| format!("study {number}"));
            // What all stacks of a study share is said once.
            let scanner = scanner(&study[0]);
            let shared = study.iter().all(|line| self::scanner(line) == scanner);
            let _ = writeln!(text, "{branch}{name}{}", if shared { scanner } else { String::new() });
            for (index, line) in study.iter().enumerate() {
                let (branch, _) = branches(index + 1 == study.len());
                let own = if shared { String::new() } else { self::scanner(line) };
                let _ = writeln!(text, "{trunk}{branch}{}{own}", stack(line));
            }
        }
    }
    framed(inspection, &text, most)
}

/// How a line is tied to the tree, and those below it.
fn branches(is_last: bool) -> (&'static str, &'static str) {
    if is_last { ("\u{2514}\u{2500} ", "   ") } else { ("\u{251c}\u{2500} ", "\u{2502}  ") }
}

fn scanner(line: &Line) -> String {
    let site = line.site.as_ref().map(|site| format!("site {site}"));
    let known = [line.vendor.clone(), line.model.clone(), line.field(), site];
    known.into_iter().flatten().map(|value| format!(", {value}")).collect()
}

fn stack(line: &Line) -> String {
    let complete = if line.complete { "complete".to_owned() } else { format!("incomplete: {}", line.completeness()) };
    let label = line.label.as_ref().map_or_else(String::new, |label| format!(", label {label}"));
    format!("{} {}, {} x {}, {complete}{label}", line.view, line.kind, line.slices, line.phases)
}

/// Totals, the stacks, and counts of files, views and groups.
fn framed(inspection: &Inspection, stacks: &str, most: usize) -> String {
    let counts = &inspection.counts;
    let mut text = format!(
        "{} files, {} subjects, {} stacks, {} images\n\n",
        counts.files, counts.subjects, counts.stacks, counts.frames
    );
    text += stacks;
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
    [
        line.subject.to_string(),
        line.view.clone(),
        line.kind.clone(),
        format!("{} x {}", line.slices, line.phases),
        line.completeness(),
        known(&line.vendor),
        known(&line.model),
        line.field().unwrap_or_else(|| "-".to_owned()),
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
    use crate::cli::inspect::lines::line;
    use crate::formats::cohort::{CohortCounts, GroupsJson, StackRow};

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![["a".to_owned(), "b".to_owned()], ["Größe".to_owned(), "c".to_owned()]];
        assert_eq!(columns(rows), "a      b\nGröße  c\n");
    }

    #[test]
    fn the_tree_says_once_what_a_study_shares() {
        let row = |kind: &str, vendor: &str| StackRow {
            view: "sax".into(),
            kind: kind.into(),
            slices: 9,
            phases: 2,
            phases_expected: 20,
            vendor: Some(vendor.into()),
            field_strength_t: Some(1.5),
            ..StackRow::default()
        };
        let numbered = |stack: &StackRow, subject, study| Line { subject, study, ..line(stack) };
        let stacks = vec![
            numbered(&row("cine", "ge"), 1, Some(1)),
            numbered(&row("static", "ge"), 1, Some(1)),
            numbered(&row("cine", "ge"), 1, Some(2)),
            numbered(&row("cine", "ge"), 2, None),
            numbered(&StackRow { label: Some("DCM".into()), complete: true, ..row("cine", "philips") }, 2, None),
        ];
        let groups = GroupsJson {
            schema: String::new(),
            group_by: Vec::new(),
            groups: Vec::new(),
            acquisition_groups: Vec::new(),
            held_out: Vec::new(),
            warnings: Vec::new(),
        };
        let inspection = Inspection { counts: CohortCounts::default(), stacks, groups, warnings: Vec::new() };
        let text = tree(&inspection, 5);
        let expected = "\
subject 1
├─ study 1, ge, 1.5 T
│  ├─ sax cine, 9 x 2, incomplete: 2 of 20
│  └─ sax static, 9 x 2, incomplete: 2 of 20
└─ study 2, ge, 1.5 T
   └─ sax cine, 9 x 2, incomplete: 2 of 20
subject 2
└─ no study
   ├─ sax cine, 9 x 2, incomplete: 2 of 20, ge, 1.5 T
   └─ sax cine, 9 x 2, complete, label DCM, philips, 1.5 T
";
        assert!(text.contains(expected), "{text}");
        assert!(
            tree(&inspection, 1)
                .contains("└─ study 1, ge, 1.5 T\n   └─ sax cine, 9 x 2, incomplete: 2 of 20\n... and 4 more")
        );
    }
}
