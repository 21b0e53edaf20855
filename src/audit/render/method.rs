//! How every number was made, by which hashes it can be traced, and where the report answers items of TRIPOD+AI.

use maud::{Markup, html};

use super::shown::{confidence, method, plain};
use crate::audit::report::{AuditReport, Method, ModelReport, SourceKind};
use crate::page::{Align, DataTable, TableRow, text};

/// Definitions, with the settings of this report.
pub(super) fn method_section(report: &AuditReport) -> Markup {
    let settings = &report.settings;
    let chance = confidence(settings.confidence);
    let terms: Vec<(&str, String)> = vec![
        ("Subject, scan, image", "A subject is one person under a pseudonym; a scan is one stack; an image is one input of the network (a sample). \
          A subject's probability is the mean over the images of a scan, then over scans; the predicted class is the one of the highest \
          probability, ties to the first class.".into()),
        ("Accuracy per subject, and which interval is the headline", format!(
            "Right subjects / all subjects, with {} at {chance}: {}. Wilson's interval is the headline, not the bootstrap, because it is right for small groups \
             and for 0 % and 100 %, where resampling shows no variation. It is used for recall, too. One subject gives no interval.",
            method(Method::Wilson), "subjects are independent of each other"
        )),
        ("Accuracy per image, balanced accuracy, AUROC, Brier score, log loss, confidence minus accuracy", format!(
            "Intervals are percentiles of {} bootstrap replicates (seed {}): subjects are drawn with replacement within their acquisition group and site, \
             and all images of a drawn subject come along, because images of one subject resemble each other. No interval where more than 5 % of the \
             replicates are undefined or all subjects agree.",
            settings.replicates, settings.seed
        )),
        ("Worst group", format!(
            "The lowest accuracy over all groups that have a tested subject, small ones included. A minimum of noisy numbers is too low on average, so its \
             interval is the {}: the lower limit is the lowest of the groups' exact (Clopper-Pearson) lower limits, the upper limit the lowest of \
             their upper limits after Bonferroni's correction. It covers the worst of the true accuracies with at least {chance}. Gates look at \
             groups with enough subjects only, and do not pass while there are others.",
            method(Method::Minimum)
        )),
        ("Three averages", "Plain test mean: every tested subject (or image) counts once. Weighted by training shares: the groups' accuracies weighted by their \
          training images, as much of the literature on group robustness reports it; it rewards the majority. Mean over groups: every group counts once.".into()),
        ("Balanced accuracy, recall, AUROC", "Recall: right subjects of a class / subjects of the class. Balanced accuracy: mean recall over the classes present. \
          AUROC: mean of the one-against-rest areas; needs subjects of every class.".into()),
        ("Calibration", format!(
            "Expected calibration error and reliability over {} bins of equal width (low, high] of the probability of the predicted class. Recalibration: \
             intercept with slope 1, and slope, of a logistic regression of each class against the rest.",
            settings.calibration_bins
        )),
        ("Differences between models", format!(
            "On the subjects that both predicted. Accuracy per subject: {} (1998, method 10). All others: percentiles of the same bootstrap, both models in \
             each replicate; for a difference of two minima that is an approximation.",
            method(Method::Newcombe)
        )),
        ("Largest difference between groups", format!(
            "Highest minus lowest accuracy per subject over groups with enough subjects, and the share of {} random exchanges of subjects between groups, \
             within the true class, that give one as large.",
            settings.replicates
        )),
        ("Insufficient evidence", format!(
            "Fewer than {} subjects. Such groups are shown and marked, never left out, and can neither pass nor fail a criterion alone.",
            settings.min_subjects
        )),
    ];
    html! { dl.terms { @for (term, meaning) in terms { dt { (term) } dd { (meaning) } } } }
}

/// Identity and hashes of every model.
pub(super) fn traceability(report: &AuditReport) -> Markup {
    let kind = |kind: SourceKind| match kind {
        SourceKind::Run => "a trained run",
        SourceKind::Folds => "a set of folds",
        SourceKind::Csv => "a CSV of predictions",
    };
    html! {
        p {
            "Every number of this page is in " code { "audit.json" } " and, as rows, in " code { "audit.csv" } ". They follow from the files below and the settings: \
            confidence " (report.settings.confidence) ", " (report.settings.replicates) " replicates, seed " (report.settings.seed) ", at least "
            (report.settings.min_subjects) " subjects, split " code { (report.data.split.as_str()) } ". Made by groupdistil " (report.groupdistil_version)
            "; when, where and from which folders is in " code { "provenance.json" } "."
        }
        @for model in &report.models {
            (hashes(model, kind(model.identity.source)))
        }
        @if let Some(hash) = &report.settings.labels_sha256 { p { "Labels file, SHA-256: " code { (hash) } } }
    }
}

fn hashes(model: &ModelReport, kind: &str) -> Markup {
    let identity = &model.identity;
    let mut rows: Vec<(String, Markup)> = Vec::new();
    let mut add = |what: &str, value: Option<Markup>| rows.extend(value.map(|value| (what.to_owned(), value)));
    let hash = |value: &String| html! { code.hash { (value) } };
    add("Source", Some(text(kind)));
    add("Objective", identity.objective.as_ref().map(|value| text(value)));
    add("Architecture", identity.architecture.as_ref().map(|value| text(value)));
    add("Parameters", identity.parameters.map(|count| text(&count.to_string())));
    add("Training seed", identity.seed.map(|seed| text(&seed.to_string())));
    add("Selection of the epoch", identity.selection.as_ref().map(|value| text(value)));
    add("Dataset", identity.dataset_hash.as_ref().map(hash));
    add("Preprocessing plan", identity.plan_hash.as_ref().map(hash));
    add("Predictions (CSV)", identity.csv_sha256.as_ref().map(hash));
    add("Data", identity.held_out.as_ref().map(|value| text(value)));
    if let Some(teacher) = &identity.teacher {
        add("Teacher's weights", Some(hash(&teacher.weights_sha256)));
    }
    for network in &identity.networks {
        let fold = network.fold.map_or(String::new(), |fold| format!(", fold {fold}"));
        let epoch = format!("epoch {} of {}", network.best_epoch, network.epochs);
        rows.push((format!("Selected{fold}"), text(&epoch)));
        rows.extend(network.weights_sha256.as_ref().map(|value| (format!("Weights{fold}"), hash(value))));
        rows.push((format!("Predictions{fold}"), hash(&network.predictions_sha256)));
        rows.push((format!("Run record{fold}"), hash(&network.run_sha256)));
    }
    DataTable {
        caption: html! { b { (identity.name) } " (hashes are SHA-256)" },
        header: vec![(text("What"), Align::Left), (text("Value"), Align::Left)],
        rows: rows.into_iter().map(|(what, value)| TableRow { class: "", cells: vec![text(&what), value] }).collect(),
    }
    .render()
}

/// Items of TRIPOD+AI (Collins et al., BMJ 2024) and where this report answers them.
pub(super) fn tripod(report: &AuditReport) -> Markup {
    let teacher = if report.models.len() > 1 { " and Models beside each other" } else { "" };
    let items = [
        (
            "5a, 6a",
            "Sources of data, centres",
            "Data under report; how subjects were recruited is for the authors to add".to_owned(),
        ),
        ("21", "Numbers of participants in each analysis", "Data under report; n stands in every table".to_owned()),
        (
            "22",
            "Model specification",
            "Where the numbers come from; the model file holds the network and its preprocessing".to_owned(),
        ),
        ("23a", "Performance with intervals, key subgroups included", format!("Results by site, Subgroups{teacher}")),
        (
            "23b",
            "Heterogeneity across clusters",
            "Results by site: plot, largest difference and permutation test".to_owned(),
        ),
        (
            "25",
            "Fairness in the interpretation",
            "Summary and worst group; the clinical reading is for the authors to add".to_owned(),
        ),
        ("26", "Limitations", "What limits this report".to_owned()),
        (
            "27a",
            "Handling of poor-quality or missing input",
            "Not here: exclusions with reasons are in the dataset's exclusions.csv".to_owned(),
        ),
    ];
    let row = |(item, what, place): (&str, &str, String)| TableRow {
        class: "",
        cells: vec![text(item), text(what), text(&place)],
    };
    DataTable {
        caption: html! { "Items that a report of this kind can answer; the others are for the study's authors." },
        header: vec![(text("Item"), Align::Left), (text("About"), Align::Left), (text("Where"), Align::Left)],
        rows: items.into_iter().map(row).collect(),
    }
    .render()
}

/// Warnings as a list.
pub(super) fn limits(report: &AuditReport) -> Markup {
    if report.warnings.is_empty() {
        return html! { p {
            "No group is small, unseen or untested, and the training gave no warning. What no report of this kind can tell: whether the labels are right, and \
            whether the subjects are like those to come."
        } };
    }
    html! {
        ul.limits { @for warning in &report.warnings { li { (warning) } } }
        p.note { "What no report of this kind can tell: whether the labels are right, and whether the subjects are like those to come." }
    }
}

/// For the description of the reliability diagram.
pub(super) fn calibration_note(report: &AuditReport) -> String {
    let error = report.audited().overall.subject.calibration_error;
    let error = error.map_or(String::new(), |error| format!(" Expected calibration error {}.", plain(error, 3)));
    format!(
        "Each dot is one bin of subjects; on the dashed line the probability comes true as often as it says, below it the model is too sure. Bars: subjects \
         per bin.{error}"
    )
}
