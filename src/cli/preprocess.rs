//! `groupdistil preprocess`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::failure::CliError;
use super::settings::{SettingsArgs, layered};
use super::{Global, OutArgs, print_result};
use crate::context::Context;
use crate::formats::dataset::Split;
use crate::preprocess::{self, PreprocessSummary};
use crate::settings::preprocess::{PreprocessSettings, PreprocessWire, parse_size};

const EXAMPLES: &str = "\
Examples:
  groupdistil preprocess cohort --out dataset
  groupdistil preprocess cohort --out dataset --max-memory 2GiB --threads 4
  groupdistil preprocess cohort --out cycle --set 'sample=\"cycle\"' --set cycle_phases=6
  groupdistil preprocess cohort --out folds --split k-fold --folds 5 --seed 1
  groupdistil preprocess cohort --out unseen --hold-out 'vendor=siemens;site=unknown'
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
    /// How subjects are divided: auto, random, source or k-fold.
    #[arg(long, value_name = "METHOD")]
    split: Option<String>,
    /// Parts of k-fold.
    #[arg(long, value_name = "K")]
    folds: Option<u32>,
    /// Seed of the random division.
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// A group that is only tested on (leave-one-site-out); may be repeated.
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
    Ok(PreprocessSettings::try_from(wire)?.with_max_memory_bytes(*max_memory))
}

/// Runs `groupdistil preprocess`.
pub fn preprocess(args: &PreprocessArgs, global: &Global, context: Context<'_>) -> Result<(), CliError> {
    let settings = settings(args)?;
    let summary = preprocess::preprocess(&settings, &args.cohort, &args.out.out, args.out.force, context)?;
    print_result(&if global.json { json(&summary) } else { table(&summary) })
}

fn json(summary: &PreprocessSummary) -> String {
    let value = serde_json::json!({
        "dataset": summary.dataset,
        "excluded": summary.excluded,
        "up_to_date": summary.up_to_date,
    });
    format!("{value}\n")
}

fn table(summary: &PreprocessSummary) -> String {
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
    if let Some(folds) = dataset.folds {
        let _ = writeln!(text, "\n{folds} folds; the table shows fold 0");
    }
    if !summary.excluded.is_empty() {
        let reasons = summary.excluded.iter().map(|(reason, count)| format!("{reason} {count}"));
        let _ = writeln!(text, "\nleft out: {} (exclusions.csv)", reasons.collect::<Vec<_>>().join(", "));
    }
    let done = if summary.up_to_date { "up to date" } else { "written" };
    let _ = writeln!(text, "\n{done}: {}", summary.out.display());
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
