//! Tables of the model under audit: gates, data, results by site, recall, calibration, subgroups, confusion.

use maud::{Markup, html};

use super::shown::{Style, cell_name, counted, estimate, header, p_value, percent, plain, points, sentence, status};
use crate::audit::facet::Facet;
use crate::audit::gate::GateOutcome;
use crate::audit::report::{AuditReport, Breakdown, Cell, ClassRecall, Estimate, Evidence, ModelReport, Performance};
use crate::metrics::calibration::NoRecalibration;
use crate::page::{Align, DataTable, TableRow, pill, text};

fn right(name: &str) -> (Markup, Align) {
    (text(name), Align::Right)
}

fn left(name: &str) -> (Markup, Align) {
    (text(name), Align::Left)
}

fn dash() -> Markup {
    text("\u{2013}")
}

/// Gates with outcome.
pub(super) fn gates(report: &AuditReport) -> Markup {
    let row = |gate: &crate::audit::gate::GateResult| {
        let outcome = match gate.outcome {
            GateOutcome::Pass => pill("good", "pass"),
            GateOutcome::Fail => pill("bad", "fail"),
            GateOutcome::InsufficientEvidence => pill("doubt", "insufficient evidence"),
        };
        let value = gate.value.map_or_else(dash, |value| text(&plain(value, 3)));
        TableRow {
            class: "",
            cells: vec![html! { code { (gate.gate) } }, outcome, value, text(&sentence(&gate.reason))],
        }
    };
    DataTable {
        caption: html! { "Criteria set beforehand. Too few subjects is neither a pass nor a fail." },
        header: vec![left("Criterion"), left("Outcome"), right("Found"), left("Why")],
        rows: report.gates.iter().map(row).collect(),
    }
    .render()
}

/// Breakdowns worth a table of their own: by acquisition group first, then those that divide the subjects differently.
pub(super) fn main_breakdowns(model: &ModelReport) -> Vec<&Breakdown> {
    let main = [Facet::AcquisitionGroup, Facet::Group, Facet::Site];
    model.breakdowns.iter().filter(|found| main.contains(&found.facet) && found.same_as.is_none()).collect()
}

fn name(facet: Facet, cell: &Cell) -> Markup {
    html! {
        (cell_name(facet, cell.name.as_deref()))
        @for (kind, word) in status(cell) { " " (pill(kind, word)) }
    }
}

fn class(cell: &Cell) -> &'static str {
    let is_few = cell.performance.as_ref().is_none_or(|found| found.evidence == Evidence::Insufficient);
    if is_few { "few" } else { "" }
}

/// One table over the cells of a breakdown, with a total.
struct CellTable<'a> {
    caption: Markup,
    columns: Vec<(Markup, Align)>,
    /// Cells of a row that was tested.
    row: &'a dyn Fn(&Performance) -> Vec<Markup>,
}

fn cell_table(breakdown: &Breakdown, model: &ModelReport, table: CellTable<'_>) -> Markup {
    let CellTable { caption, columns, row } = table;
    let width = columns.len();
    let mut rows: Vec<TableRow> = Vec::new();
    for cell in &breakdown.cells {
        let mut cells = vec![name(breakdown.facet, cell)];
        match &cell.performance {
            Some(performance) => cells.extend(row(performance)),
            None => cells.extend((0..width).map(|_| dash())),
        }
        rows.push(TableRow { class: class(cell), cells });
    }
    let mut total = vec![text("All subjects")];
    total.extend(row(&model.overall));
    rows.push(TableRow { class: "total", cells: total });
    let mut names = vec![left(&header(breakdown))];
    names.extend(columns);
    DataTable { caption, header: names, rows }.render()
}

/// Who was tested and trained on.
pub(super) fn data(report: &AuditReport) -> Markup {
    let model = report.audited();
    html! { @for breakdown in main_breakdowns(model) { (data_table(report, breakdown)) } }
}

fn data_table(report: &AuditReport, breakdown: &Breakdown) -> Markup {
    let classes = &report.data.classes;
    let has_training = breakdown.cells.iter().any(|cell| cell.train.is_some());
    let mut header = vec![left(&header(breakdown)), right("Test subjects")];
    header.extend(classes.iter().map(|class| right(class)));
    header.extend([right("Scans"), right("Images")]);
    if has_training {
        header.push(right("Training subjects"));
        header.push(right("Training images"));
    }
    let mut rows = Vec::new();
    for cell in &breakdown.cells {
        let mut cells = vec![name(breakdown.facet, cell)];
        match &cell.performance {
            Some(performance) => cells.extend(sizes(performance)),
            None => cells.extend((0..classes.len() + 3).map(|_| text("0"))),
        }
        if has_training {
            let train = cell.train.unwrap_or_default();
            cells.extend([train.subjects, train.samples].map(|count| text(&count.to_string())));
        }
        rows.push(TableRow { class: "", cells });
    }
    let mut total = vec![text("All subjects")];
    total.extend(sizes(&report.audited().overall));
    if has_training {
        let sum = |count: fn(&crate::audit::report::TrainCounts) -> u64| {
            breakdown.cells.iter().filter_map(|cell| cell.train.as_ref()).map(count).sum::<u64>().to_string()
        };
        total.extend(match report.data.folds {
            Some(_) => [dash(), dash()],
            None => [text(&sum(|train| train.subjects)), text(&sum(|train| train.samples))],
        });
    }
    rows.push(TableRow { class: "total", cells: total });
    let folds =
        if report.data.folds.is_some() { " Training: the fewest over the folds that tested the group." } else { "" };
    let caption = html! { b { "By " (breakdown.facet.title()) "." } " Subjects per class, and what the model was trained on." (folds) };
    DataTable { caption, header, rows }.render()
}

fn sizes(performance: &Performance) -> Vec<Markup> {
    let mut cells = vec![text(&performance.counts.subjects.to_string())];
    cells.extend(performance.subject.recall.iter().map(|recall| text(&recall.n.to_string())));
    cells.extend([performance.counts.stacks, performance.counts.samples].map(|count| text(&count.to_string())));
    cells
}

/// Whether images are something else than subjects: one image per subject needs no second column.
pub(super) fn has_images(model: &ModelReport) -> bool {
    model.overall.sample.n != model.overall.subject.n
}

/// A share with its interval and the counts behind it.
fn with_counts(share: &Estimate, correct: u64, n: u64) -> Markup {
    html! { (estimate(share, Style::Percent)) small { (correct) " of " (n) } }
}

/// Accuracy by site and group.
pub(super) fn accuracy(report: &AuditReport) -> Markup {
    let model = report.audited();
    let has_images = has_images(model);
    let row = |performance: &Performance| {
        let (subject, sample) = (&performance.subject, &performance.sample);
        let mut cells = vec![
            with_counts(&subject.accuracy, subject.correct, subject.n),
            estimate(&subject.balanced_accuracy, Style::Percent),
        ];
        if has_images {
            cells.push(with_counts(&sample.accuracy, sample.correct, sample.n));
            cells.push(estimate(&sample.balanced_accuracy, Style::Percent));
        }
        cells
    };
    let mut columns = vec!["Accuracy per subject", "Balanced accuracy per subject"];
    if has_images {
        columns.extend(["Accuracy per image", "Balanced accuracy per image"]);
    }
    html! { @for breakdown in main_breakdowns(model) {
        (cell_table(breakdown, model, CellTable {
            caption: html! { b { "Accuracy by " (breakdown.facet.title()) "." } " Below each number its interval." },
            columns: columns.iter().map(|column| right(column)).collect(),
            row: &row,
        }))
        @if let Some(found) = &breakdown.heterogeneity { p.note {
            "Largest difference between " (found.cells) " cells with enough subjects: " (points(found.gap).trim_start_matches('+')) " points"
            "; permutation test within the true class: " (p_value(found.p_value)) "."
        } }
    } }
}

/// Recall per class and site; empty cells are shown as such.
pub(super) fn recall(report: &AuditReport) -> Markup {
    let model = report.audited();
    let cell = |recall: &ClassRecall| {
        if recall.n == 0 {
            return html! { span.v { "empty" } small { "no subject" } };
        }
        with_counts(&recall.recall, recall.correct, recall.n)
    };
    let row = |performance: &Performance| performance.subject.recall.iter().map(cell).collect::<Vec<_>>();
    html! { @for breakdown in main_breakdowns(model) {
        (cell_table(breakdown, model, CellTable {
            caption: html! {
                b { "Recall (sensitivity) by " (breakdown.facet.title()) "." }
                " Of the subjects who truly have the class, how many were recognised."
            },
            columns: report.data.classes.iter().map(|class| right(class)).collect(),
            row: &row,
        }))
    } }
}

/// AUROC and calibration by site.
pub(super) fn probabilities(report: &AuditReport) -> Markup {
    let model = report.audited();
    let row = |performance: &Performance| {
        let subject = &performance.subject;
        vec![
            estimate(&subject.auroc, Style::Plain),
            estimate(&subject.brier, Style::Plain),
            estimate(&subject.log_loss, Style::Plain),
            estimate(&subject.confidence_gap, Style::Points),
            subject.calibration_error.map_or_else(dash, |value| text(&plain(value, 3))),
        ]
    };
    html! { @for breakdown in main_breakdowns(model) {
        (cell_table(breakdown, model, CellTable {
            caption: html! {
                b { "Probabilities by " (breakdown.facet.title()) "." }
                " AUROC: 1 is best, 0.5 is chance. Brier score and log loss: 0 is best. Confidence minus accuracy, in points: above 0 the \
                  model is surer than it should be."
            },
            columns: vec![
                right("AUROC"), right("Brier score"), right("Log loss"), right("Confidence \u{2212} accuracy"),
                right("Calibration error"),
            ],
            row: &row,
        }))
    } }
}

/// Vendor, scanner, sex, age: accuracy alone.
pub(super) fn subgroups(report: &AuditReport) -> Markup {
    let model = report.audited();
    let others = [Facet::Vendor, Facet::Model, Facet::FieldStrength, Facet::Sex, Facet::Age];
    let row = |performance: &Performance| {
        let subject = &performance.subject;
        vec![with_counts(&subject.accuracy, subject.correct, subject.n)]
    };
    let is_shown = |breakdown: &&Breakdown| {
        others.contains(&breakdown.facet) && breakdown.same_as.is_none() && breakdown.cells.len() > 1
    };
    let found: Vec<&Breakdown> = model.breakdowns.iter().filter(is_shown).collect();
    if found.is_empty() {
        return html! { p { "The source says nothing about vendor, scanner, sex or age that divides the subjects further." } };
    }
    html! { div.pair { @for breakdown in found {
        div { (cell_table(breakdown, model, CellTable {
            caption: html! { b { "By " (breakdown.facet.title()) "." } },
            columns: vec![right("Accuracy per subject")],
            row: &row,
        })) }
    } } }
}

/// Confusion matrix over subjects.
pub(super) fn confusion(report: &AuditReport) -> Markup {
    let subject = &report.audited().overall.subject;
    let classes = &report.data.classes;
    let shade = |count: u64, of: u64, is_right: bool| {
        #[expect(clippy::cast_precision_loss, reason = "a shade")]
        let share = if of == 0 { 0.0 } else { count as f64 / of as f64 };
        let (red, green, blue) = if is_right { (26, 107, 60) } else { (163, 35, 31) };
        let ink = if share > 0.55 { "#fff" } else { "#1b2733" };
        format!("background:rgba({red},{green},{blue},{share:.2});color:{ink}")
    };
    let share = |count: u64, of: u64| {
        #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
        let value = (of > 0).then(|| count as f64 / of as f64);
        value.map_or("no subject".to_owned(), percent)
    };
    html! {
        div.scroll tabindex="0" role="group" {
            table.matrix {
                caption { span { b { "Confusion matrix" } ", per subject. Rows: true class; columns: what the model said." } }
                thead { tr {
                    th scope="col" { "True class" }
                    @for class in classes { th scope="col" { "said " (class) } }
                    th.n scope="col" { "Subjects" }
                } }
                tbody { @for (index, (class, counts)) in classes.iter().zip(&subject.confusion).enumerate() {
                    @let of = counts.iter().sum::<u64>();
                    tr {
                        th scope="row" { (class) }
                        @for (said, count) in counts.iter().enumerate() {
                            td style=(shade(*count, of, said == index)) { (count) small { (share(*count, of)) } }
                        }
                        td.n { (of) }
                    }
                } }
            }
        }
    }
}

/// Logistic recalibration per class.
pub(super) fn recalibration(report: &AuditReport) -> Markup {
    let calibration = &report.audited().calibration;
    let row = |(class, found): (&String, &crate::audit::report::ClassCalibration)| {
        let reason = match found.missing {
            Some(NoRecalibration::OneOutcome) => "only one outcome",
            Some(NoRecalibration::NoFiniteFit) => "no finite fit (separated)",
            None => "",
        };
        let cells = match found.fit {
            Some(fit) => vec![text(class), text(&plain(fit.intercept, 2)), text(&plain(fit.slope, 2))],
            None => vec![text(class), html! { "\u{2013}" small { (reason) } }, dash()],
        };
        TableRow { class: "", cells }
    };
    DataTable {
        caption: html! {
            b { "Recalibration, class against the rest." } " Intercept 0 and slope 1 are perfect; a slope below 1 means too extreme \
            probabilities. " (counted(report.audited().overall.counts.subjects, "subject", "subjects")) "."
        },
        header: vec![left("Class"), right("Intercept"), right("Slope")],
        rows: report.data.classes.iter().zip(&calibration.recalibration).map(row).collect(),
    }
    .render()
}
