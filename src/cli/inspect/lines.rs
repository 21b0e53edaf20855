//! What is shown of every stack: numbers in place of pseudonyms, in an order that no key changes.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::formats::cohort::{CohortCounts, GroupsJson, StackRow};
use crate::ingest::Scan;

/// One stack without its pseudonyms.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Line {
    /// Index of the stack in the scan.
    #[serde(skip)]
    pub(super) index: usize,
    /// Number of the subject, from 1, in the order of the files.
    pub(super) subject: usize,
    /// Number of the study among the subject's, from 1; `None` where the files name no study.
    pub(super) study: Option<usize>,
    pub(super) view: String,
    pub(super) kind: String,
    pub(super) slices: i32,
    pub(super) phases: i32,
    pub(super) phases_expected: i32,
    pub(super) positions_incomplete: i32,
    pub(super) complete: bool,
    pub(super) rows: i32,
    pub(super) columns: i32,
    pub(super) vendor: Option<String>,
    pub(super) model: Option<String>,
    pub(super) field_strength_t: Option<f64>,
    pub(super) site: Option<String>,
    pub(super) label: Option<String>,
    pub(super) acquisition_group: String,
    pub(super) source_format: String,
}

/// Everything that is shown.
#[derive(Debug, Serialize)]
pub(super) struct Inspection {
    pub(super) counts: CohortCounts,
    pub(super) stacks: Vec<Line>,
    pub(super) groups: GroupsJson,
    pub(super) warnings: Vec<String>,
}

/// Subjects and their studies as numbers, in the order of their first file, so that equal folders give equal output under any key.
pub(super) fn inspection(scan: &Scan) -> Inspection {
    // No two stacks share a frame of a file.
    let mut first_frame: BTreeMap<&str, (&str, i32)> = BTreeMap::new();
    for frame in &scan.frames {
        let own = (frame.path.as_str(), frame.frame);
        let known = first_frame.entry(&frame.stack_id).or_insert(own);
        *known = (*known).min(own);
    }
    let mut stacks: Vec<(usize, &StackRow)> = scan.stacks.iter().enumerate().collect();
    stacks.sort_by_key(|(_, stack)| first_frame.get(stack.stack_id.as_str()));
    let mut subjects: BTreeMap<&str, usize> = BTreeMap::new();
    let mut studies: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut lines: Vec<Line> = Vec::with_capacity(stacks.len());
    for (index, stack) in stacks {
        let next = subjects.len() + 1;
        let subject = *subjects.entry(&stack.subject_id).or_insert(next);
        let known = studies.entry(&stack.subject_id).or_default();
        let next = known.len() + 1;
        let study = stack.study_id.as_deref().map(|study| *known.entry(study).or_insert(next));
        lines.push(Line { index, subject, study, ..line(stack) });
    }
    lines.sort_by_key(|line| (line.subject, line.study));
    let mut warnings: Vec<String> =
        scan.warnings.iter().map(|warning| without_pseudonyms(warning, &subjects)).collect();
    // Those that name subjects came in the order of their pseudonyms.
    warnings.sort();
    let groups = GroupsJson { warnings: Vec::new(), ..scan.groups.clone() };
    Inspection { counts: scan.counts.clone(), stacks: lines, groups, warnings }
}

fn without_pseudonyms(warning: &str, subjects: &BTreeMap<&str, usize>) -> String {
    let named = subjects.iter().find(|(id, _)| warning.contains(**id));
    named.map_or_else(|| warning.to_owned(), |(id, number)| warning.replace(id, &number.to_string()))
}

/// What is shown of a stack; the numbers come later.
pub(super) fn line(stack: &StackRow) -> Line {
    Line {
        index: 0,
        subject: 0,
        study: None,
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

impl Line {
    /// `yes`, or what is missing.
    pub(super) fn completeness(&self) -> String {
        match (self.complete, self.positions_incomplete) {
            (true, _) => "yes".to_owned(),
            (false, 0) => format!("{} of {}", self.phases, self.phases_expected),
            (false, left_out) => format!("{left_out} left out"),
        }
    }

    /// `1.5 T`.
    pub(super) fn field(&self) -> Option<String> {
        self.field_strength_t.map(|field| format!("{field} T"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let stack = StackRow { slices: 9, phases: 2, phases_expected: 20, ..StackRow::default() };
        assert_eq!(line(&stack).completeness(), "2 of 20");
        let left_out = StackRow { positions_incomplete: 3, ..stack.clone() };
        assert_eq!(line(&left_out).completeness(), "3 left out");
        assert_eq!(line(&StackRow { complete: true, ..stack }).completeness(), "yes");
    }
}
