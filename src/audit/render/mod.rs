//! `audit.html` from the numbers of a report; nothing is computed here. [`crate::page`] is the shell.

mod charts;
mod forest;
mod method;
mod models;
mod shown;
mod tables;
mod verdict;

use maud::{Markup, html};

use super::report::AuditReport;
use crate::formats::dataset::Split;
use crate::page::{Page, Section, shell};

/// The page.
pub fn html(report: &AuditReport) -> String {
    let title = &report.audited().identity.name;
    shell(Page {
        title,
        kind: "Audit report",
        subtitle: &subtitle(report),
        lead: verdict::lead(report),
        sections: sections(report),
        style: "",
        script: None,
        footer: html! {
            p { "groupdistil " (report.groupdistil_version) ", report format " code { (report.schema) } ". A research tool's report; no medical device." }
        },
    })
}

fn subtitle(report: &AuditReport) -> String {
    let data = &report.data;
    let subjects = shown::counted(data.counts.subjects, "subject", "subjects");
    let which = match (data.split, data.folds) {
        (Split::Test, Some(folds)) => format!("out-of-fold predictions of {folds} folds"),
        (Split::Test, None) => "test data".to_owned(),
        (Split::Val, _) => "validation data".to_owned(),
        (Split::Train, _) => "training data".to_owned(),
    };
    let groups = shown::counted(data.acquisition_groups, "acquisition group", "acquisition groups");
    format!("{subjects}, {groups}, classes {}; {which}", shown::list(&data.classes, "and"))
}

fn sections(report: &AuditReport) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut add = |id: &'static str, title: &'static str, body: Markup| sections.push(Section { id, title, body });
    if !report.gates.is_empty() {
        add("gates", "Acceptance criteria", tables::gates(report));
    }
    add("limits", "What limits this report", method::limits(report));
    add("data", "Data under report", tables::data(report));
    add(
        "sites",
        "Results by site",
        html! { (models::by_site(report)) (tables::accuracy(report)) (tables::recall(report)) },
    );
    if report.models.len() > 1 {
        add("models", "Models beside each other", html! { (models::table(report)) (models::differences(report)) });
    } else {
        add("averages", "Averages and worst group", models::table(report));
    }
    add("errors", "Errors", tables::confusion(report));
    add("calibration", "Probabilities", calibration(report));
    add("subgroups", "Subgroups", tables::subgroups(report));
    add("training", "Training", models::training(report));
    add("method", "Method", method::method_section(report));
    add("trace", "Where the numbers come from", method::traceability(report));
    add("tripod", "TRIPOD+AI", method::tripod(report));
    sections
}

fn calibration(report: &AuditReport) -> Markup {
    html! {
        div.pair {
            figure {
                h3 { "Do the probabilities come true?" }
                (charts::reliability(&report.audited().calibration.bins))
                figcaption { (method::calibration_note(report)) }
            }
            div { (tables::recalibration(report)) }
        }
        (tables::probabilities(report))
    }
}
