//! The first paragraph of a report, for readers who read no other, and its key figures.

use maud::{Markup, html};

use super::shown::{
    confidence, counted, in_text, list, p_value, parameters, percent, percent_range, points, points_range,
};
use crate::audit::facet::{Facet, sentence_name};
use crate::audit::gate::GateOutcome;
use crate::audit::report::{AuditReport, Comparison, Evidence, ModelReport, Role, Worst};
use crate::formats::dataset::Split;
use crate::page::tiles;

/// What the gates say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    NoGate,
    Pass,
    Fail,
    Insufficient,
}

pub(super) fn verdict(report: &AuditReport) -> Verdict {
    let any = |outcome: GateOutcome| report.gates.iter().any(|gate| gate.outcome == outcome);
    match () {
        () if report.gates.is_empty() => Verdict::NoGate,
        () if any(GateOutcome::Fail) => Verdict::Fail,
        () if any(GateOutcome::InsufficientEvidence) => Verdict::Insufficient,
        () => Verdict::Pass,
    }
}

/// Sentences of the verdict, one paragraph each.
pub(super) fn paragraphs(report: &AuditReport) -> Vec<String> {
    let mut paragraphs = vec![average(report), worst(report)];
    paragraphs.extend(spread(report));
    let others = report.comparisons.iter().zip(&report.models[1..]);
    let named = others.filter(|(_, other)| other.role == Role::Teacher || report.models.len() == 2);
    paragraphs.extend(named.map(|(comparison, other)| versus(report, comparison, other)));
    paragraphs.push(gates(report));
    paragraphs
}

fn average(report: &AuditReport) -> String {
    let model = report.audited();
    let (data, subject) = (&report.data, &model.overall.subject);
    let (what, note) = match (data.split, data.folds) {
        (Split::Train, _) => ("training subjects", ", which it was trained on"),
        (Split::Val, _) => ("validation subjects", ", by which its epoch was selected"),
        (Split::Test, Some(_)) => ("subjects", ", each predicted by a network that was not trained on that subject"),
        (Split::Test, None) if model.identity.networks.is_empty() => ("subjects", ""),
        (Split::Test, None) => ("test subjects", ", subjects that were not used for training"),
    };
    let places = match (data.sites, data.acquisition_groups) {
        (sites @ 2.., _) => format!(" from {sites} sites"),
        (_, groups @ 2..) => format!(" in {groups} acquisition groups"),
        _ => String::new(),
    };
    let interval = subject.accuracy.interval.map_or(String::new(), |interval| {
        format!(" ({} interval {})", confidence(report.settings.confidence), percent_range(interval))
    });
    format!(
        "The model “{}” gave the right class ({}) for {} of {} {what}{places}{note}: {}{interval}.",
        model.identity.name,
        list(&data.classes, "or"),
        subject.correct,
        subject.n,
        subject.accuracy.value.map_or("undefined".to_owned(), percent),
    )
}

fn worst(report: &AuditReport) -> String {
    let numbers = &report.audited().subject;
    let (all, enough) = (&numbers.worst, &numbers.worst_with_evidence);
    if all.groups < 2 {
        return "There is only one group, so nothing can be said about differences between groups.".to_owned();
    }
    let mut text = format!("It did worst in {}: {}.", worst_name(all), proportion(report, all));
    if let Some(interval) = all.accuracy.interval {
        text += &format!(
            " Whichever of the {} groups is truly the worst, its true accuracy lies between {} with {} confidence.",
            all.groups,
            percent_range(interval).replace(" to ", " and "),
            confidence(report.settings.confidence)
        );
    }
    if enough.groups < all.groups {
        let small = all.groups - enough.groups;
        text += &format!(
            " {small} of the {} groups {} fewer than {} subjects, too few to judge",
            all.groups,
            if small == 1 { "has" } else { "have" },
            report.settings.min_subjects
        );
        text += &match enough.accuracy.value {
            Some(_) if enough.group != all.group => {
                format!("; among the others the worst is {}: {}.", worst_name(enough), in_text(&enough.accuracy))
            }
            _ => ".".to_owned(),
        };
    }
    text
}

/// A group inside a sentence.
fn in_sentence(name: Option<&str>) -> String {
    name.map_or_else(|| "unknown".to_owned(), sentence_name)
}

/// The worst group, and those that are equally bad.
fn worst_name(worst: &Worst) -> String {
    let name = in_sentence(worst.group.as_deref());
    match worst.tied.as_slice() {
        [] => name,
        [one] => format!("{name} and, equally, {}", in_sentence(Some(one))),
        tied => format!("{name} and, equally, {} others", tied.len()),
    }
}

/// `70.8 % (17 of 24 subjects)`.
fn proportion(report: &AuditReport, worst: &Worst) -> String {
    let cells = report.audited().breakdown(Facet::Group).map_or(&[][..], |groups| groups.cells.as_slice());
    let cell = cells.iter().find(|cell| cell.name == worst.group).and_then(|cell| cell.performance.as_ref());
    let value = worst.accuracy.value.map_or("undefined".to_owned(), percent);
    let Some(performance) = cell else { return value };
    let subject = &performance.subject;
    let counts = format!("{} of {}", subject.correct, counted(subject.n, "subject", "subjects"));
    // Of several equally bad groups the counts of one would mislead.
    match (worst.tied.is_empty(), performance.evidence) {
        (false, _) => value,
        (true, Evidence::Sufficient) => format!("{value} ({counts})"),
        (true, Evidence::Insufficient) => format!("{value} ({counts}: insufficient evidence)"),
    }
}

fn spread(report: &AuditReport) -> Option<String> {
    let found = report.audited().breakdown(Facet::AcquisitionGroup)?.heterogeneity.as_ref()?;
    if found.gap == 0.0 {
        return Some(format!(
            "It is the same in all {} acquisition groups with enough subjects; this is no proof that they are equal.",
            found.cells
        ));
    }
    let p = p_value(found.p_value);
    let chance = if found.p_value <= 0.05 {
        format!("which chance alone would rarely produce ({p})")
    } else {
        format!("which chance alone could produce ({p}); this is no proof that they are equal")
    };
    Some(format!(
        "Between the {} acquisition groups with enough subjects the accuracy differs by up to {} points, {chance}.",
        found.cells,
        points(found.gap).trim_start_matches('+')
    ))
}

fn versus(report: &AuditReport, comparison: &Comparison, other: &ModelReport) -> String {
    let audited = report.audited();
    let size = |model: &ModelReport| model.identity.parameters.map(parameters);
    let who = if other.role == Role::Teacher { "its teacher" } else { "the model" };
    let sizes = match (size(audited), size(other)) {
        (Some(own), Some(others)) => format!(" ({others} parameters against its own {own})"),
        _ => String::new(),
    };
    let difference = &comparison.cells[0].accuracy;
    let value = difference.value.unwrap_or(0.0);
    let direction = match value {
        value if value > 0.0 => format!("{} points higher than", points(value).trim_start_matches('+')),
        value if value < 0.0 => format!("{} points lower than", points(-value).trim_start_matches('+')),
        _ => "equal to".to_owned(),
    };
    let (range, sure) = difference.interval.map_or((String::new(), "no interval can be given"), |interval| {
        let sure = match (interval.low > 0.0, interval.high < 0.0) {
            (true, _) => "the data show that it is better",
            (_, true) => "the data show that it is worse",
            _ => "the data leave open which is better",
        };
        (format!(" (difference {} points)", points_range(interval)), sure)
    });
    format!(
        "On the same {} its accuracy is {direction} that of {who} “{}”{sizes}{range}: {sure}.",
        counted(comparison.cells[0].n, "subject", "subjects"),
        other.identity.name
    )
}

fn gates(report: &AuditReport) -> String {
    let count = |outcome: GateOutcome| report.gates.iter().filter(|gate| gate.outcome == outcome).count();
    let all = report.gates.len();
    match verdict(report) {
        Verdict::NoGate => {
            "No acceptance criterion was set beforehand: this report gives the evidence and passes no judgement."
                .to_owned()
        }
        Verdict::Pass if all == 1 => "The acceptance criterion set beforehand was met.".to_owned(),
        Verdict::Pass => format!("All {all} acceptance criteria were met."),
        Verdict::Fail if all == 1 => "The acceptance criterion set beforehand was not met.".to_owned(),
        Verdict::Fail => format!(
            "Of {all} acceptance criteria set beforehand {} not met{}.",
            match count(GateOutcome::Fail) {
                1 => "one was".to_owned(),
                failed => format!("{failed} were"),
            },
            match count(GateOutcome::InsufficientEvidence) {
                0 => String::new(),
                1 => ", and one could not be decided for lack of subjects".to_owned(),
                few => format!(", and {few} could not be decided for lack of subjects"),
            }
        ),
        Verdict::Insufficient => format!(
            "{} of {} could not be decided: the evidence is insufficient, which is not a pass.",
            count(GateOutcome::InsufficientEvidence),
            counted(all as u64, "acceptance criterion", "acceptance criteria"),
        ),
    }
}

/// The box and the key figures.
pub(super) fn lead(report: &AuditReport) -> Markup {
    let (class, title) = match verdict(report) {
        Verdict::NoGate => ("", "Summary"),
        Verdict::Pass => ("pass", "Acceptance criteria met"),
        Verdict::Fail => ("fail", "Acceptance criteria not met"),
        Verdict::Insufficient => ("doubt", "Insufficient evidence"),
    };
    html! {
        div class={ "verdict " (class) } role="note" aria-label="Verdict" {
            p { strong { (title) } }
            @for paragraph in paragraphs(report) { p { (paragraph) } }
        }
        (tiles(&figures(report)))
    }
}

fn figures(report: &AuditReport) -> Vec<(Markup, Markup, Markup)> {
    let model = report.audited();
    let (subject, data) = (&model.overall.subject, &report.data);
    let chance = confidence(report.settings.confidence);
    let range = |estimate: &crate::audit::report::Estimate| {
        estimate
            .interval
            .map_or("no interval".to_owned(), |interval| format!("{chance} interval {}", percent_range(interval)))
    };
    let value = |value: Option<f64>| value.map_or("\u{2013}".to_owned(), percent);
    let worst = &model.subject.worst;
    vec![
        (
            html! { "Average accuracy per subject" },
            html! { (value(subject.accuracy.value)) },
            html! { (range(&subject.accuracy)) },
        ),
        (
            html! { "Worst group, per subject" },
            html! { (value(worst.accuracy.value)) },
            html! { (worst_name(worst)) "; " (range(&worst.accuracy)) },
        ),
        (
            html! { "Evidence" },
            html! { (counted(data.counts.subjects, "subject", "subjects")) },
            html! {
                (counted(data.counts.samples, "image", "images")) " of " (counted(data.counts.stacks, "scan", "scans")) ", "
                (counted(data.acquisition_groups, "acquisition group", "acquisition groups"))
            },
        ),
        (
            html! { "Model" },
            html! { (model.identity.parameters.map_or("\u{2013}".to_owned(), parameters)) },
            html! {
                @if model.identity.parameters.is_some() { "parameters; " }
                (model.identity.architecture.as_deref().unwrap_or("architecture not known"))
                @if let Some(objective) = &model.identity.objective { ", " (objective) }
            },
        ),
    ]
}
