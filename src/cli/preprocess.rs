//! `groupdistil preprocess`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::failure::CliError;
use super::settings::{SettingsArgs, layered};
use super::{Global, OutArgs, print_result};
use crate::context::Context;
use crate::formats::dataset::Split;
use crate::formats::quality::QualityFlag;
use crate::preprocess::report::numbers::Report;
use crate::preprocess::report::probe::Guessed;
use crate::preprocess::{self, PreprocessSummary};
use crate::settings::preprocess::{PreprocessSettings, PreprocessWire, parse_size};

const EXAMPLES: &str = "\
Examples:
  groupdistil preprocess cohort --out dataset
  groupdistil preprocess cohort --out dataset --max-memory 2GiB --threads 4
  groupdistil preprocess cohort --out cycle --set 'sample=\"cycle\"' --set cycle_phases=6
  groupdistil preprocess cohort --out folds --split k-fold --folds 5 --seed 1
  groupdistil preprocess cohort --out sites --split leave-one-site-out
  groupdistil preprocess cohort --out agreed --split-file splits.csv
  groupdistil preprocess cohort --out unseen --hold-out 'vendor=siemens;site=unknown'
  groupdistil preprocess cohort --out dataset --report    # also of a dataset that is there: how well the scanner can be told
  groupdistil preprocess birds --out birds64 --resize 64,64 --split source

Every key of settings.toml, which is written into the dataset, can be given in --config or by --set.";

/// Arguments of `groupdistil preprocess`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PreprocessArgs {
    /// Folder made by `groupdistil ingest`.
    #[arg(value_name = "COHORT")]
    cohort: PathBuf,
    #[command(flatten)]
    out: OutArgs,
    /// Most memory for pixels, for example 2GiB (default: a quarter of what there is). Never changes the result.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_memory: Option<u64>,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Size of images without pixel spacing.
    #[arg(long, value_name = "ROWS,COLUMNS", value_parser = rows_and_columns)]
    resize: Option<[u32; 2]>,
    /// How subjects are divided: auto, random, source, k-fold or leave-one-site-out.
    #[arg(long, value_name = "METHOD")]
    split: Option<String>,
    /// Table of the split (train, val or test) of each subject: columns split and subject_id, or an attr_NAME of the cohort.
    #[arg(long, value_name = "CSV", conflicts_with_all = ["split", "folds"])]
    split_file: Option<PathBuf>,
    /// Parts of k-fold.
    #[arg(long, value_name = "K")]
    folds: Option<u32>,
    /// Seed of the random division.
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// Print how well a linear probe tells the scanner before and after the intensity steps, and flags per group
    /// (report.html and report.json are always written).
    #[arg(long)]
    report: bool,
    /// A group that is only tested on; may be repeated.
    #[arg(long, value_name = "GROUP")]
    hold_out: Vec<String>,
    /// A group that is only trained on; may be repeated.
    #[arg(long, value_name = "GROUP")]
    training_only: Vec<String>,
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "expected a size such as 2GiB, 500MB or 1073741824".to_owned())
}

fn rows_and_columns(text: &str) -> Result<[u32; 2], String> {
    let parsed = text
        .split_once(',')
        .and_then(|(rows, columns)| Some([rows.trim().parse().ok()?, columns.trim().parse().ok()?]));
    parsed.ok_or_else(|| "expected two numbers such as 64,64".to_owned())
}

/// Defaults, then the file, then `--set`, then flags.
fn settings(args: &PreprocessArgs) -> Result<PreprocessSettings, CliError> {
    let PreprocessArgs { max_memory, settings, resize, split, folds, seed, hold_out, training_only, .. } = args;
    let split_file = args.split_file.clone();
    let list = |names: &[String]| (!names.is_empty()).then(|| toml::Value::from(names.to_vec()));
    let flags = [
        ("split", split.clone().map(toml::Value::from)),
        ("folds", folds.map(toml::Value::from)),
        ("seed", seed.map(toml::Value::from)),
        ("resize", resize.map(|size| toml::Value::from(size.to_vec()))),
        ("held_out_groups", list(hold_out)),
        ("training_only_groups", list(training_only)),
    ];
    let wire: PreprocessWire = layered(settings, flags)?;
    Ok(PreprocessSettings::try_from(wire)?.with_split_file(split_file).with_max_memory_bytes(*max_memory))
}

/// Runs `groupdistil preprocess`.
pub fn preprocess(args: &PreprocessArgs, global: &Global, context: Context<'_>) -> Result<(), CliError> {
    let settings = settings(args)?;
    let summary = preprocess::preprocess(&settings, &args.cohort, &args.out.out, args.out.force, context)?;
    print_result(&if global.json { json(&summary, args.report) } else { table(&summary, args.report) })
}

fn json(summary: &PreprocessSummary, with_report: bool) -> String {
    let mut value = serde_json::json!({
        "dataset": summary.dataset,
        "excluded": summary.excluded,
        "up_to_date": summary.up_to_date,
    });
    if with_report {
        value["report"] = serde_json::json!(summary.report);
    }
    format!("{value}\n")
}

fn table(summary: &PreprocessSummary, with_report: bool) -> String {
    let dataset = &summary.dataset;
    let image = &dataset.image;
    let mut text = String::new();
    let spacing = image.pixel_spacing_mm.map_or("no spacing".to_owned(), |mm| format!("{mm} mm"));
    let _ = writeln!(
        text,
        "{} samples of {} stacks, {} subjects; {} x {} x {} pixels, {spacing}; classes {}",
        dataset.total.samples,
        dataset.total.stacks,
        dataset.total.subjects,
        image.channels,
        image.height,
        image.width,
        dataset.classes.join(", "),
    );
    let width = dataset.groups.iter().map(|group| group.name.len()).max().unwrap_or(0).max(5);
    let _ = writeln!(text, "\n{:width$}  {:>7}  {:>7}  {:>7}   subjects (samples)", "group", "train", "val", "test");
    for group in &dataset.groups {
        let _ = write!(text, "{:width$}", group.name);
        for split in Split::ALL {
            let counts = group.splits.get(&split).copied().unwrap_or_default();
            let _ = write!(text, "  {:>7}", counts.subjects);
        }
        let samples = Split::ALL.map(|split| group.splits.get(&split).map_or(0, |counts| counts.samples).to_string());
        let note = if group.held_out { "  held out" } else { "" };
        let _ = writeln!(text, "   ({}){note}", samples.join(", "));
    }
    if let Some(sites) = &dataset.site_folds {
        let names: Vec<String> = sites.sites.iter().enumerate().map(|(fold, site)| format!("{fold} {site}")).collect();
        let _ = writeln!(text, "\nfolds by the site that is tested: {}; the table shows fold 0", names.join(", "));
    } else if let Some(folds) = dataset.folds {
        let _ = writeln!(text, "\n{folds} folds; the table shows fold 0");
    }
    if !summary.excluded.is_empty() {
        let reasons = summary.excluded.iter().map(|(reason, count)| format!("{reason} {count}"));
        let _ = writeln!(text, "\nleft out: {} (exclusions.csv)", reasons.collect::<Vec<_>>().join(", "));
    }
    if with_report {
        text += &report_table(&summary.report);
    } else {
        let flagged: usize = summary.report.groups.iter().map(|group| group.flagged).sum();
        let _ = writeln!(
            text,
            "\n{flagged} of {} stacks to look at (sheets/); how alike scanners are: report.html",
            summary.report.stacks
        );
    }
    let done = if summary.up_to_date { "up to date" } else { "written" };
    let _ = writeln!(text, "\n{done}: {}", summary.out.display());
    text
}

/// The probe, then the flags, as text.
fn report_table(report: &Report) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "\nscanner told by a linear probe, balanced accuracy by subject (95 % interval)");
    let _ = writeln!(text, "{:8}  {:>7}  {:>6}  {:>22}  {:>22}", "", "classes", "chance", "before", "after");
    let figure = |one: &Guessed| {
        let range = one.interval.map_or(String::new(), |range| format!(" ({:.2} to {:.2})", range.low, range.high));
        format!("{:.2}{range}", one.balanced_accuracy)
    };
    for probe in &report.probes {
        let _ = match (&probe.before, &probe.after) {
            (Some(before), Some(after)) => writeln!(
                text,
                "{:8}  {:>7}  {:>6.2}  {:>22}  {:>22}",
                probe.target,
                after.classes.len(),
                after.chance,
                figure(before),
                figure(after)
            ),
            _ => writeln!(text, "{:8}  not probed: {}", probe.target, probe.reason.as_deref().unwrap_or("no reason")),
        };
    }
    let width = report.groups.iter().map(|group| group.name.len()).max().unwrap_or(0).max(5);
    let names = QualityFlag::ALL.map(QualityFlag::as_str);
    let _ = write!(text, "\n{:width$}  {:>6}", "group", "stacks");
    for name in names {
        let _ = write!(text, "  {name}");
    }
    text.push('\n');
    for group in &report.groups {
        let _ = write!(text, "{:width$}  {:>6}", group.name, group.stacks);
        for name in names {
            let _ = write!(text, "  {:>1$}", group.flags.get(name).copied().unwrap_or(0), name.len());
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_rows_and_columns() {
        assert_eq!(rows_and_columns("64, 96").unwrap(), [64, 96]);
        assert!(rows_and_columns("64").is_err() && rows_and_columns("64,x").is_err());
    }
}
