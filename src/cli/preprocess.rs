//! `groupdistil preprocess`.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::failure::CliError;
use super::{Global, OutArgs, print_result};
use crate::context::Context;
use crate::failure::FailureKind;
use crate::formats::dataset::Split;
use crate::fsx;
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

/// No settings file is larger than this.
const CONFIG_CAP_BYTES: u64 = 1 << 20;

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
    /// TOML file with settings, for example another dataset's settings.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Size of images without pixel spacing.
    #[arg(long, value_name = "ROWS,COLUMNS", value_delimiter = ',', num_args = 2)]
    resize: Vec<u32>,
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
    /// Any setting, as TOML; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "expected a size such as 2GiB, 500MB or 1073741824".to_owned())
}

/// Defaults, then the file, then `--set`, then flags.
fn settings(args: &PreprocessArgs) -> Result<PreprocessSettings, CliError> {
    let PreprocessArgs { max_memory, config, resize, split, folds, seed, hold_out, training_only, set, .. } = args;
    let mut wire = PreprocessWire::default();
    if let Some(path) = config {
        let text = fsx::read_text(path, CONFIG_CAP_BYTES)?;
        let wrong = |error| CliError::new(FailureKind::Usage, format!("`{}`: {error}", path.display()));
        wire = toml::from_str(&text).map_err(wrong)?;
    }
    let mut table = toml::Table::try_from(&wire).map_err(|error| CliError::new(FailureKind::Usage, error))?;
    for assignment in set {
        let (key, value) = parse_assignment(assignment)?;
        table.insert(key, value);
    }
    let mut flag = |key: &str, value: Option<toml::Value>| value.map(|value| table.insert(key.to_owned(), value));
    flag("split", split.clone().map(toml::Value::from));
    flag("folds", folds.map(toml::Value::from));
    flag("seed", seed.map(toml::Value::from));
    flag("resize", (!resize.is_empty()).then(|| toml::Value::from(resize.clone())));
    flag("held_out_groups", (!hold_out.is_empty()).then(|| toml::Value::from(hold_out.clone())));
    flag("training_only_groups", (!training_only.is_empty()).then(|| toml::Value::from(training_only.clone())));
    let wire: PreprocessWire =
        table.try_into().map_err(|error| CliError::new(FailureKind::Usage, format!("settings: {error}")))?;
    Ok(PreprocessSettings::try_from(wire)?.with_max_memory_bytes(*max_memory))
}

/// `key=value`; a value that is no TOML is taken as text.
fn parse_assignment(text: &str) -> Result<(String, toml::Value), CliError> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| CliError::new(FailureKind::Usage, format!("--set {text}: expected KEY=VALUE")))?;
    let (key, value) = (key.trim(), value.trim());
    let parsed = toml::from_str::<toml::Table>(&format!("value = {value}")).ok();
    let value = parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| value.into());
    Ok((key.to_owned(), value))
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
    fn an_assignment_is_toml_or_text() {
        assert_eq!(parse_assignment("folds = 7").unwrap(), ("folds".into(), toml::Value::from(7)));
        assert_eq!(parse_assignment("sample=cycle").unwrap(), ("sample".into(), toml::Value::from("cycle")));
        assert_eq!(parse_assignment("sample=\"cycle\"").unwrap(), ("sample".into(), toml::Value::from("cycle")));
        let list = parse_assignment("held_out_groups=[\"a=b\"]").unwrap().1;
        assert_eq!(list, toml::Value::from(vec!["a=b"]));
        assert!(parse_assignment("folds").is_err());
    }
}
