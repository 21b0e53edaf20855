//! `groupdistil compare`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::CliError;
use super::settings::{insert, parse_assignment, read_config};
use super::{Global, OutArgs, print_result};
use crate::compare::{self, CompareOptions, CompareSummary};
use crate::context::Context;
use crate::failure::FailureKind;
use crate::formats::compare::{MethodSummary, OverSeeds};
use crate::settings::compare::{CompareSettings, CompareWire};

const EXAMPLES: &str = "\
A method is an objective; -total after group-distil weights cross-entropy and distillation together, -balanced draws every group
alike. METHOD+dfr-train and METHOD+dfr-val refit a method's last layer (alone: that of erm); dfr-val uses group-balanced held-out data, and
the table says so. agre-kd takes the seed's erm as its biased network. Per seed one teacher (--set teachers=N: several) is trained, and all methods of the seed share it, the initial weights and the batch order.

A key of --set goes to every training run; teacher.KEY to the teachers, student.KEY to the students, method.NAME.KEY to one method.

Examples:
  groupdistil compare dataset --out cmp --methods erm,kd,group-distil --seeds 5
  groupdistil compare dataset --out cmp --methods erm,erm-balanced,group-dro,kd,group-distil,group-distil-total --seeds 8 \\
      --set epochs=40 --set teacher.weight_decay=0.01 --set method.group-distil.eta=0.3

  groupdistil compare dataset --out cmp --methods erm,dfr-val,group-distil,group-distil+dfr-val --set dfr_subsets=20

Every training run is a folder seed-N/METHOD, up to date or resumed by itself: give more seeds or methods, and only those are
trained.";

/// Top-level keys of the settings; any other key of `--set` belongs to every training run.
const KEYS: [&str; 11] = [
    "methods",
    "baseline",
    "seeds",
    "teachers",
    "first_seed",
    "fold",
    "confidence",
    "common",
    "teacher",
    "student",
    "method",
];

/// Arguments of `groupdistil compare`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompareArgs {
    /// Folder made by `groupdistil preprocess`.
    #[arg(value_name = "DATASET")]
    dataset: PathBuf,
    #[command(flatten)]
    out: OutArgs,
    /// Methods, separated by commas (default: erm,kd,group-distil).
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    methods: Vec<String>,
    /// Seeds per method (default: 3).
    #[arg(long, value_name = "N")]
    seeds: Option<u32>,
    /// The method that the others are compared with (default: kd, else the first).
    #[arg(long, value_name = "METHOD")]
    baseline: Option<String>,
    /// Trainings at once, each with its share of --threads (default: one per thread on a CPU as far as memory goes, one on a GPU).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Fold that is tested, for datasets made with --split k-fold.
    #[arg(long, value_name = "K")]
    fold: Option<u32>,
    /// TOML file with settings: methods, seeds, `[common]`, `[teacher]`, `[student]`, `[method.NAME]`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting, as TOML; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Defaults, then the file, then `--set`, then flags.
fn settings(args: &CompareArgs) -> Result<CompareSettings, CliError> {
    let CompareArgs { methods, seeds, baseline, fold, config, set, .. } = args;
    let wire: CompareWire = match config {
        Some(path) => read_config(path)?,
        None => CompareWire::default(),
    };
    let mut table = toml::Table::try_from(&wire).map_err(|error| CliError::new(FailureKind::Usage, error))?;
    for assignment in set {
        let (key, value) = parse_assignment(assignment)?;
        let known = KEYS.contains(&key.split('.').next().unwrap_or_default());
        insert(&mut table, &if known { key } else { format!("common.{key}") }, value);
    }
    let flags = [
        ("methods", (!methods.is_empty()).then(|| toml::Value::from(methods.clone()))),
        ("seeds", seeds.map(toml::Value::from)),
        ("baseline", baseline.clone().map(toml::Value::from)),
        ("fold", fold.map(toml::Value::from)),
    ];
    for (key, value) in flags {
        if let Some(value) = value {
            insert(&mut table, key, value);
        }
    }
    let wire: CompareWire =
        table.try_into().map_err(|error| CliError::new(FailureKind::Usage, format!("settings: {error}")))?;
    Ok(CompareSettings::try_from(wire)?)
}

/// Runs `groupdistil compare`.
pub fn compare(args: &CompareArgs, global: &Global, context: Context<'_>) -> Result<(), CliError> {
    let settings = settings(args)?;
    let OutArgs { out, force } = &args.out;
    let options = CompareOptions {
        dataset: &args.dataset,
        out,
        force: *force,
        device: &global.device,
        at_once: args.jobs.map(usize::from),
    };
    let summary = compare::compare(&settings, &options, context)?;
    if global.json {
        let json = serde_json::to_string(&summary).map_err(|error| CliError::new(FailureKind::Unusable, error))?;
        return print_result(&format!("{json}\n"));
    }
    print_result(&table(&summary, out))
}

fn table(summary: &CompareSummary, out: &Path) -> String {
    let compare = &summary.compare;
    let mut text = String::new();
    let n = compare.runs.first().map_or((0, 0), |run| (run.sample.n, run.subject.n));
    let _ = writeln!(
        text,
        "test split: {} samples, {} subjects; accuracy in %, mean (sd) over {} seeds",
        n.0,
        n.1,
        compare.seeds.len()
    );
    for (kind, what) in [("sample", "per sample"), ("subject", "per subject")] {
        section(&mut text, compare.baseline.as_deref(), compare.confidence, (kind, what), &compare.summary);
    }
    let held_out = |summary: &MethodSummary| Some(format!("{}: {}", summary.method, summary.held_out.as_ref()?));
    for note in compare.summary.iter().filter_map(held_out) {
        let _ = writeln!(text, "\nnote: {note}");
    }
    let _ = writeln!(text, "\n{} of {} runs were there already", summary.up_to_date, compare.runs.len());
    let _ = writeln!(text, "written: {}", out.display());
    text
}

fn section(
    text: &mut String,
    baseline: Option<&str>,
    confidence: f64,
    (kind, what): (&str, &str),
    methods: &[MethodSummary],
) {
    let width = methods.iter().map(|method| method.method.len()).max().unwrap_or(0).max(what.len());
    let _ = write!(text, "\n{what:width$}  {:>13}  {:>13}", "average", "worst group");
    match baseline {
        Some(baseline) => {
            let _ =
                writeln!(text, "   worst group minus {baseline} [{:.0} % interval], seeds above", confidence * 100.0);
        }
        None => {
            let _ = writeln!(text);
        }
    }
    for MethodSummary { method, figures, .. } in methods {
        let figure = |name: &str| figures.get(&format!("{kind}_{name}"));
        let _ = write!(text, "{method:width$}");
        for name in ["accuracy", "worst_group_accuracy"] {
            let _ = write!(text, "  {:>13}", figure(name).map_or_else(String::new, spread));
        }
        let _ = writeln!(text, "   {}", figure("worst_group_accuracy").map_or_else(String::new, difference));
    }
}

fn spread(figure: &OverSeeds) -> String {
    match (figure.mean, figure.sd) {
        (Some(mean), Some(sd)) => format!("{:.1} ({:.1})", mean * 100.0, sd * 100.0),
        (Some(mean), None) => format!("{:.1}", mean * 100.0),
        (None, _) => "-".to_owned(),
    }
}

fn difference(figure: &OverSeeds) -> String {
    let Some(difference) = figure.difference else { return String::new() };
    let interval = figure
        .difference_interval
        .map_or_else(String::new, |[low, high]| format!(" [{:+.1}, {:+.1}]", low * 100.0, high * 100.0));
    let above = figure.above_baseline.map_or_else(String::new, |above| format!(", {above} of {}", figure.seeds));
    format!("{:+.1}{interval}{above}", difference * 100.0)
}
