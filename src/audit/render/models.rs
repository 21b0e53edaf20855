//! The models beside each other: the plot by site, the table, the paired differences, and how they were trained.

use maud::{Markup, html};

use super::forest::{Forest, ForestRow, Mark, Scale, legend};
use super::shown::{Style, cell_name, counted, estimate, group_name, parameters, percent, points, sentence};
use super::tables::{has_images, main_breakdowns};
use crate::audit::facet::Facet;
use crate::audit::report::{AuditReport, Breakdown, Estimate, Evidence, GroupNumbers, ModelReport, PairedCell, Role};
use crate::page::chart::{LineChart, Series};
use crate::page::{Align, DataTable, TableRow, pill, text};

fn limits(estimate: &Estimate) -> impl Iterator<Item = f64> {
    let interval = estimate.interval;
    estimate
        .value
        .into_iter()
        .chain(interval.map(|interval| interval.low))
        .chain(interval.map(|interval| interval.high))
}

fn names(report: &AuditReport) -> Vec<String> {
    report.models.iter().map(|model| model.identity.name.clone()).collect()
}

/// Accuracy per subject of every model, site by site.
pub(super) fn by_site(report: &AuditReport) -> Markup {
    let names = names(report);
    let series: Vec<(usize, String)> = names.iter().cloned().enumerate().collect();
    html! { @for breakdown in main_breakdowns(report.audited()) {
        h3 { "By " (breakdown.facet.title()) }
        figure {
            (legend(&series))
            (site_forest(report, breakdown, &names).render())
            figcaption {
                "Accuracy per subject with Wilson's " (super::shown::confidence(report.settings.confidence)) " interval. Hollow marks on dotted lines: fewer than "
                (report.settings.min_subjects) " subjects, insufficient evidence. Groups that were only trained on have no mark."
            }
        }
    } }
}

fn site_forest<'a>(report: &'a AuditReport, breakdown: &'a Breakdown, names: &[String]) -> Forest<'a> {
    let mut rows = vec![ForestRow {
        name: "All subjects".to_owned(),
        note: counted(report.audited().overall.subject.n, "subject", "subjects"),
        marks: report.models.iter().enumerate().map(|(series, model)| mark(series, &model.overall)).collect(),
    }];
    for cell in &breakdown.cells {
        let of = |(series, model): (usize, &'a ModelReport)| {
            let cells = &model.breakdown(breakdown.facet)?.cells;
            let found = cells.iter().find(|found| found.name == cell.name)?;
            Some(mark(series, found.performance.as_ref()?))
        };
        let n = cell.performance.as_ref().map_or(0, |performance| performance.subject.n);
        let marks: Vec<Mark<'a>> = report.models.iter().enumerate().filter_map(of).collect();
        let note = if marks.is_empty() { "training only".to_owned() } else { counted(n, "subject", "subjects") };
        rows.push(ForestRow { name: cell_name(breakdown.facet, cell.name.as_deref()), note, marks });
    }
    let values = rows.iter().flat_map(|row| &row.marks).flat_map(|mark| limits(mark.estimate)).collect::<Vec<_>>();
    Forest {
        scale: Scale::of_shares(values.into_iter()),
        reference: None,
        rows,
        series: names.to_vec(),
        axis: "accuracy per subject",
        show: |value| format!("{:.0} %", value * 100.0),
    }
}

fn mark(series: usize, performance: &crate::audit::report::Performance) -> Mark<'_> {
    Mark { series, estimate: &performance.subject.accuracy, evidence: performance.evidence }
}

/// One row per model: size, averages and worst group, per subject and per image.
pub(super) fn table(report: &AuditReport) -> Markup {
    let right = |name: &str| (text(name), Align::Right);
    let share = |value: Option<f64>| value.map_or_else(|| text("\u{2013}"), |value| text(&percent(value)));
    let worst = |numbers: &GroupNumbers| {
        html! { (estimate(&numbers.worst.accuracy, Style::Percent)) small { (group_name(numbers.worst.group.as_deref())) } }
    };
    let table = |unit: &str, of: &dyn Fn(&ModelReport) -> (u64, &Estimate, &Estimate, &GroupNumbers)| {
        let row = |model: &ModelReport| {
            let (n, accuracy, balanced, numbers) = of(model);
            let cells = vec![
                model_name(model),
                text(&n.to_string()),
                estimate(accuracy, Style::Percent),
                worst(numbers),
                share(numbers.train_weighted_accuracy),
                share(numbers.mean_group_accuracy),
                estimate(balanced, Style::Percent),
            ];
            TableRow { class: "", cells }
        };
        DataTable {
            caption: html! { b { "Per " (unit) "." } " Three averages, because they answer different questions (see Method), and the worst group"
                @if unit == "image" { ", whose interval is made per subject only" } "." },
            header: vec![
                (text("Model"), Align::Left),
                right(if unit == "subject" { "Subjects" } else { "Images" }),
                right("Average (plain test mean)"),
                right("Worst group"),
                right("Average weighted by training shares"),
                right("Mean over groups"),
                right("Balanced accuracy"),
            ],
            rows: report.models.iter().map(row).collect(),
        }
        .render()
    };
    html! {
        (table("subject", &|model| {
            let subject = &model.overall.subject;
            (subject.n, &subject.accuracy, &subject.balanced_accuracy, &model.subject)
        }))
        @if report.models.iter().any(has_images) {
            (table("image", &|model| {
                let sample = &model.overall.sample;
                (sample.n, &sample.accuracy, &sample.balanced_accuracy, &model.sample)
            }))
        }
    }
}

fn model_name(model: &ModelReport) -> Markup {
    let identity = &model.identity;
    let role = match model.role {
        Role::Audited => Some("under audit"),
        Role::Teacher => Some("its teacher"),
        Role::Compared => None,
    };
    html! {
        (identity.name)
        @if let Some(role) = role { " " (pill("plain", role)) }
        @if let Some(held_out) = &identity.held_out { " " (pill("plain", held_out)) }
        @if let Some(count) = identity.parameters { small.range { (parameters(count)) " parameters" } }
    }
}

/// Differences, model under audit minus each other.
pub(super) fn differences(report: &AuditReport) -> Markup {
    let audited = &report.audited().identity.name;
    let series: Vec<(usize, String)> = report
        .comparisons
        .iter()
        .enumerate()
        .map(|(index, comparison)| (index + 1, format!("{audited} minus {}", comparison.other)))
        .collect();
    let forest = difference_forest(report, &series);
    html! {
        h3 { "Paired differences on the same subjects" }
        figure {
            (legend(&series))
            (forest.render())
            figcaption {
                "Right of the dotted line “" (audited) "” is better. Difference of accuracy per subject, in percentage points, with Newcombe's paired "
                (super::shown::confidence(report.settings.confidence)) " interval. The intervals are not adjusted for the number of rows: where many \
                are looked at, some exclude 0 by chance. An interval that holds 0 is no proof of equality."
            }
        }
        (difference_table(report))
    }
}

/// Cells of a comparison that are shown: all subjects, acquisition groups, and sites where they divide differently.
fn is_shown(report: &AuditReport, cell: &PairedCell) -> bool {
    cell.facet.is_none_or(|facet| {
        report
            .audited()
            .breakdown(facet)
            .is_some_and(|breakdown| breakdown.same_as.is_none() || facet == Facet::AcquisitionGroup)
    })
}

fn difference_forest<'a>(report: &'a AuditReport, series: &[(usize, String)]) -> Forest<'a> {
    let first = &report.comparisons[0].cells;
    let mut rows: Vec<ForestRow<'a>> = Vec::new();
    for cell in first.iter().filter(|cell| is_shown(report, cell)) {
        let of = |(index, comparison): (usize, &'a crate::audit::report::Comparison)| {
            let found = comparison.cells.iter().find(|found| found.facet == cell.facet && found.name == cell.name)?;
            Some(Mark { series: index + 1, estimate: &found.accuracy, evidence: found.evidence })
        };
        let name = match cell.facet {
            None => "All subjects".to_owned(),
            Some(Facet::Site) => format!("Site {}", cell_name(Facet::Site, cell.name.as_deref())),
            Some(facet) => cell_name(facet, cell.name.as_deref()),
        };
        let marks = report.comparisons.iter().enumerate().filter_map(of).collect();
        rows.push(ForestRow { name, note: counted(cell.n, "subject", "subjects"), marks });
    }
    let values = rows.iter().flat_map(|row| &row.marks).flat_map(|mark| limits(mark.estimate)).collect::<Vec<_>>();
    let mut names = vec![String::new()];
    names.extend(series.iter().map(|(_, name)| name.clone()));
    Forest {
        scale: Scale::of_differences(values.into_iter()),
        reference: Some(0.0),
        rows,
        series: names,
        axis: "difference, percentage points",
        show: |value| {
            let rounded = points(value);
            rounded.strip_suffix(".0").map_or(rounded.clone(), str::to_owned)
        },
    }
}

fn difference_table(report: &AuditReport) -> Markup {
    let right = |name: &str| (text(name), Align::Right);
    let row = |comparison: &crate::audit::report::Comparison| {
        let overall = &comparison.cells[0];
        let [both, first, second, neither] = overall.correct;
        let cells = vec![
            text(&comparison.other),
            text(&overall.n.to_string()),
            estimate(&overall.accuracy, Style::Points),
            html! { (both) " / " (first) " / " (second) " / " (neither) },
            estimate(&comparison.worst_group_accuracy, Style::Points),
            estimate(&overall.sample_accuracy, Style::Points),
            estimate(&comparison.sample_worst_group_accuracy, Style::Points),
            estimate(&comparison.auroc, Style::Signed),
        ];
        TableRow { class: if overall.evidence == Evidence::Insufficient { "few" } else { "" }, cells }
    };
    DataTable {
        caption: html! {
            b { "“" (report.audited().identity.name) "” minus the other, over all subjects." } " In percentage points, AUROC as such. Right: both / only this \
            one / only the other / neither."
        },
        header: vec![
            (text("Other model"), Align::Left),
            right("Subjects"),
            right("Accuracy per subject"),
            right("Right: both / this / other / neither"),
            right("Worst group per subject"),
            right("Accuracy per image"),
            right("Worst group per image"),
            right("AUROC"),
        ],
        rows: report.comparisons.iter().map(row).collect(),
    }
    .render()
}

/// Weights of groups and worst-group curves over training.
pub(super) fn training(report: &AuditReport) -> Markup {
    let with_curves: Vec<&ModelReport> = report
        .models
        .iter()
        .filter(|model| model.identity.networks.first().is_some_and(|network| !network.history.val_epochs.is_empty()))
        .collect();
    let with_weights = report
        .models
        .iter()
        .filter(|model| model.identity.networks.first().is_some_and(|network| !network.history.weights.is_empty()));
    let weights: Vec<Markup> = with_weights.map(weights_figure).collect();
    if with_curves.is_empty() && weights.is_empty() {
        return html! { p { "The source says nothing about the training." } };
    }
    html! {
        div.pair {
            @if !with_curves.is_empty() { (worst_figure(&with_curves)) }
            @for figure in weights { (figure) }
        }
    }
}

fn fold_note(model: &ModelReport) -> &'static str {
    if model.identity.networks.len() > 1 { " (fold 0)" } else { "" }
}

fn epochs(epochs: &[u64], values: &[Option<f64>]) -> Vec<(f64, Option<f64>)> {
    #[expect(clippy::cast_precision_loss, reason = "an epoch")]
    let point = |(epoch, value): (&u64, &Option<f64>)| (*epoch as f64, *value);
    epochs.iter().zip(values).map(point).collect()
}

fn worst_figure(models: &[&ModelReport]) -> Markup {
    let series = |model: &&ModelReport| {
        let network = &model.identity.networks[0];
        #[expect(clippy::cast_precision_loss, reason = "an epoch")]
        let dot = Some(network.best_epoch as f64);
        let name = format!("{}{}", model.identity.name, fold_note(model));
        Series { name, points: epochs(&network.history.val_epochs, &network.history.val_worst), dot }
    };
    let chart = LineChart {
        description: "Worst-group accuracy per validation image over the epochs".to_owned(),
        series: models.iter().map(series).collect(),
        high: 1.0,
        show: |value| format!("{:.0} %", value * 100.0),
        x_title: "epoch",
    };
    html! {
        figure {
            h3 { "Worst group in validation" }
            (chart.render())
            figcaption { "Accuracy per image in the worst validation group after each epoch. Ring: the selected epoch, whose network is reported on." }
        }
    }
}

fn weights_figure(model: &ModelReport) -> Markup {
    let history = &model.identity.networks[0].history;
    let highest = history.weights.values().flatten().flatten().copied().fold(0.0, f64::max);
    let series = |(group, values): (&String, &Vec<Option<f64>>)| Series {
        name: group_name(Some(group)),
        points: epochs(&history.train_epochs, values),
        dot: None,
    };
    let chart = LineChart {
        description: format!("Group weights of {} over the epochs", model.identity.name),
        series: history.weights.iter().map(series).collect(),
        high: [0.2, 0.4, 0.6, 0.8].into_iter().find(|high| highest <= *high).unwrap_or(1.0),
        show: |value| super::shown::plain(value, 2),
        x_title: "epoch",
    };
    html! {
        figure {
            h3 { "Group weights of " (model.identity.name) (fold_note(model)) }
            (chart.render())
            figcaption { (sentence("weight q of each training group after each epoch: where the training looked harder. All start equal.")) }
        }
    }
}
