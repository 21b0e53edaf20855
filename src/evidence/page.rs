//! `evidence.md`: the tables of a study, readable in a terminal and as a page of documentation.

use std::fmt::Write;

use crate::formats::evidence::{ArmJson, Difference, EvidenceJson, Level, Spread};

/// The page.
pub fn write(evidence: &EvidenceJson) -> String {
    let mut page = format!("# {}\n\n", if evidence.title.is_empty() { "Evidence" } else { &evidence.title });
    let [least, most] = evidence.test_subjects_per_group;
    let folds = evidence.folds.map_or_else(String::new, |folds| {
        format!(" Each of {folds} folds is tested on what its networks have not seen; figures are over all of them.")
    });
    let _ = writeln!(
        page,
        "A cohort and a training of its own for each of {} seeds ({}), {} test subjects a group.{folds} Settings were chosen among {} trials\n\
         a method by validation worst-group accuracy on the seeds {}; test figures chose nothing. Accuracies in %, mean (standard\n\
         deviation over the seeds). Differences are paired by seed; first interval: Student's t over the seeds; second: bootstrap over\n\
         the subjects within each seed, {} replicates ({:.0} % both); then seeds above, equal, below.\n",
        evidence.seeds.len(),
        range(&evidence.seeds),
        if least == most { least.to_string() } else { format!("{least} to {most}") },
        evidence.arms.first().map_or(0, |arm| arm.trials.len()),
        range(&evidence.tuning_seeds),
        evidence.replicates,
        evidence.confidence * 100.0,
    );
    // Of pictures a sample is a subject: one table says it all.
    let alike = evidence.arms.iter().all(|arm| arm.sample == arm.subject);
    let mut levels =
        vec![("Per sample", (|arm| &arm.sample) as fn(&ArmJson) -> &Level), ("Per subject", |arm| &arm.subject)];
    if alike {
        levels = vec![("Per subject, which has one sample each", |arm| &arm.subject)];
    }
    for (title, level) in levels {
        let _ = writeln!(page, "## {title}\n");
        page += &accuracies(evidence, level);
        for (what, value) in [
            ("Worst group", (|level| &level.worst_group_differences) as fn(&Level) -> &Vec<Difference>),
            ("Test mean", |level| &level.accuracy_differences),
        ] {
            page += &differences(evidence, what, |arm| value(level(arm)));
        }
    }
    let notes = evidence.arms.iter().filter_map(|arm| Some(format!("- `{}` {}\n", arm.name, arm.held_out.as_ref()?)));
    let notes: String = notes.collect();
    if !notes.is_empty() {
        let _ = writeln!(page, "{notes}");
    }
    page += &trials(evidence);
    page
}

fn range(seeds: &[u64]) -> String {
    match (seeds.first(), seeds.last()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (Some(first), _) => first.to_string(),
        _ => String::new(),
    }
}

/// A Markdown table with columns of equal width.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, &width)| format!(" {cell:width$} |"));
        format!("|{}\n", padded.collect::<String>())
    };
    let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
    let mut text = line(head.to_vec()) + &line(rule.iter().map(String::as_str).collect());
    for row in rows {
        text += &line(row.iter().map(String::as_str).collect());
    }
    text + "\n"
}

fn spread(value: &Spread) -> String {
    let sd = value.sd.map_or_else(String::new, |sd| format!(" ({:.1})", sd * 100.0));
    format!("{:.1}{sd}", value.mean * 100.0)
}

fn accuracies(evidence: &EvidenceJson, level: impl Fn(&ArmJson) -> &Level) -> String {
    let row = |arm: &ArmJson| {
        let found = level(arm);
        vec![
            arm.name.clone(),
            arm.parameters.to_string(),
            spread(&found.accuracy),
            spread(&found.mean_group_accuracy),
            spread(&found.worst_group_accuracy),
        ]
    };
    let rows: Vec<Vec<String>> = evidence.arms.iter().map(row).collect();
    table(&["method", "parameters", "test mean", "mean of groups", "worst group"], &rows)
}

fn difference(value: &Difference) -> String {
    let interval = |of: Option<[f64; 2]>| {
        of.map_or("-".to_owned(), |[low, high]| format!("{:+.1} to {:+.1}", low * 100.0, high * 100.0))
    };
    let [above, equal, below] = value.signs;
    format!(
        "{:+.1} [{}] [{}] {above}, {equal}, {below}",
        value.mean * 100.0,
        interval(value.interval),
        interval(value.subject_interval)
    )
}

/// A column for each reference; its header is the method, since each arm has the reference of its own teacher.
fn differences<'a>(evidence: &'a EvidenceJson, what: &str, of: impl Fn(&'a ArmJson) -> &'a Vec<Difference>) -> String {
    let mut references: Vec<&str> = Vec::new();
    for found in evidence.arms.iter().flat_map(&of) {
        let name = found.method();
        if !references.contains(&name) {
            references.push(name);
        }
    }
    if references.is_empty() {
        return String::new();
    }
    let row = |arm: &'a ArmJson| {
        let cell = |name: &&str| of(arm).iter().find(|one| one.method() == *name).map_or_else(String::new, difference);
        std::iter::once(arm.name.clone()).chain(references.iter().map(cell)).collect::<Vec<_>>()
    };
    let head: Vec<String> =
        std::iter::once(format!("{what} minus")).chain(references.iter().map(|&name| name.to_owned())).collect();
    table(&head.iter().map(String::as_str).collect::<Vec<_>>(), &evidence.arms.iter().map(row).collect::<Vec<_>>())
}

fn trials(evidence: &EvidenceJson) -> String {
    let mut rows = Vec::new();
    for arm in &evidence.arms {
        for (at, trial) in arm.trials.iter().enumerate() {
            let mut epochs = trial.best_epochs.clone();
            epochs.sort_unstable();
            rows.push(vec![
                if at == 0 { arm.name.clone() } else { String::new() },
                if trial.settings.is_empty() { "as all".to_owned() } else { trial.settings.clone() },
                format!("{:.1}", trial.mean_worst_group_accuracy * 100.0),
                format!("{:.1}", trial.mean_group_accuracy * 100.0),
                epochs.get(epochs.len() / 2).map_or_else(String::new, u64::to_string),
                if at == arm.chosen { "chosen" } else { "" }.to_owned(),
            ]);
        }
    }
    let head = ["method", "trial", "validation worst group", "mean of groups", "median epoch", ""];
    format!("## What was tried\n\n{}", table(&head, &rows))
}
