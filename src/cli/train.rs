//! `groupdistil train`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::CliError;
use super::settings::{SettingsArgs, layered};
use super::{Global, OutArgs, print_result};
use crate::context::Context;
use crate::formats::dataset::Split;
use crate::formats::run::{MetricsLine, RunJson};
use crate::settings::train::{TrainSettings, TrainWire};
use crate::train::{self, TrainSummary};

const EXAMPLES: &str = "\
Objectives:
  erm           mean cross-entropy
  kd            cross-entropy and distillation from --teacher
  group-dro     the weighted sum of the groups' cross-entropies; hard groups gain weight
  group-distil  distillation with group weights (Group Distributionally Robust Knowledge Distillation)
  jtt           cross-entropy, with the errors of a first, short run repeated (just train twice)
  agre-kd       distillation from several teachers, each weighted where it disagrees with --biased
  dfr-train     refits the last layer of --from on group-balanced subsets of the training split (deep feature reweighting)
  dfr-val       the same on half of the validation split, which it then no longer is: it uses group-balanced held-out data

Examples:
  groupdistil train dataset --out teacher --epochs 40
  groupdistil train dataset --out student --objective group-distil --teacher teacher --arch compact-resnet
  groupdistil train dataset --out fold2 --fold 2 --set selection=accuracy
  groupdistil train dataset --out dro --objective group-dro --set eta=0.1 --set weight_decay=0.1 --seed 3
  groupdistil train dataset --out agreed --objective agre-kd --teacher t1 --teacher t2 --biased erm --arch compact-resnet
  groupdistil train dataset --out twice --objective jtt --set jtt_epochs=5 --set jtt_upweight=20
  groupdistil train dataset --out refit --objective dfr-val --from student
  groupdistil train dataset --out tuned --arch resnet50 --init resnet50.pth --set ema_decay=0.99 --set clip_norm=1
  groupdistil train dataset --out plain --config student/settings.toml --objective erm --set augment=false

An interrupted run goes on where it was when the same command is given again. Every key of settings.toml, which is written into
the RUN, can be given in --config or by --set.";

/// Arguments of `groupdistil train`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainArgs {
    /// Folder made by `groupdistil preprocess`.
    #[arg(value_name = "DATASET")]
    dataset: PathBuf,
    #[command(flatten)]
    out: OutArgs,
    /// What is minimised: erm, kd, group-dro, group-distil, jtt, agre-kd, dfr-train or dfr-val.
    #[arg(long, value_name = "NAME")]
    objective: Option<String>,
    /// The network: resnet18, resnet34, resnet50, compact-resnet, tiny-resnet, mobilenet-v3-small, efficientnet-b0, densenet121.
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Weights to start from: safetensors, a .pth of torch.save, TorchScript, or a RUN. The first layer is fitted to the channels;
    /// the last layer starts anew where the classes are others. No code in the file is run.
    #[arg(long, value_name = "FILE|RUN")]
    init: Option<PathBuf>,
    /// RUN folder or TorchScript file to learn from; may be repeated.
    #[arg(long, value_name = "RUN|FILE.pt")]
    teacher: Vec<PathBuf>,
    /// Biased network of agre-kd, one trained by erm.
    #[arg(long, value_name = "RUN|FILE.pt")]
    biased: Option<PathBuf>,
    /// RUN folder whose last layer is refit, for dfr-train and dfr-val.
    #[arg(long, value_name = "RUN")]
    from: Option<PathBuf>,
    /// Fixes initial weights, batch order and augmentation.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Fold that is tested; the next one validates. For datasets made with --split k-fold or leave-one-site-out (where it is
    /// the site's number, and part of the other sites validates).
    #[arg(long, value_name = "K")]
    fold: Option<usize>,
    /// Passes over the training split.
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Defaults, then the file, then `--set`, then flags.
fn settings(args: &TrainArgs) -> Result<TrainSettings, CliError> {
    let TrainArgs { objective, arch, init, teacher, biased, from, seed, fold, epochs, settings, .. } = args;
    let flags = [
        ("objective", objective.clone().map(toml::Value::from)),
        ("arch", arch.clone().map(toml::Value::from)),
        ("epochs", epochs.map(toml::Value::from)),
    ];
    let mut wire: TrainWire = layered(settings, flags)?;
    wire.init = init.clone().or(wire.init);
    let settings = TrainSettings::from_wire(&wire, *seed, *fold, teacher.first().cloned())?;
    let more_teachers = teacher.iter().skip(1).cloned().collect();
    Ok(TrainSettings { from: from.clone(), more_teachers, biased: biased.clone(), ..settings })
}

/// Runs `groupdistil train`.
pub fn train(args: &TrainArgs, global: &Global, context: Context<'_>) -> Result<(), CliError> {
    let settings = settings(args)?;
    let OutArgs { out, force } = &args.out;
    let summary = train::train(&settings, &args.dataset, out, *force, &global.device, context)?;
    print_result(&if global.json { json(&summary) } else { table(&summary, out) })
}

fn json(summary: &TrainSummary) -> String {
    let value = serde_json::json!({"run": summary.run, "up_to_date": summary.up_to_date, "seconds": summary.seconds});
    format!("{value}\n")
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{:.1}", value * 100.0))
}

fn table(summary: &TrainSummary, out: &Path) -> String {
    let run = &summary.run;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} by {}, {} parameters, seed {}; best epoch {} of {} by {}",
        run.architecture, run.objective, run.parameters, run.seed, run.best_epoch, run.epochs, run.selection
    );
    let part = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let teachers = if run.teachers.is_empty() { run.teacher.as_slice() } else { &run.teachers };
    for (role, teacher) in
        teachers.iter().map(|one| ("teacher", one)).chain(run.biased.iter().map(|one| ("biased", one)))
    {
        let _ = writeln!(text, "{role}: {} by {}", part(&teacher.architecture), part(&teacher.objective));
    }
    if let Some(jtt) = &run.jtt {
        let errors: u64 = jtt.errors.values().sum();
        let _ =
            writeln!(text, "{errors} errors of a first run of {} epochs came {} times each", jtt.epochs, jtt.upweight);
    }
    if let Some(dfr) = &run.dfr {
        let from = dfr.from.objective.as_deref().unwrap_or("unknown");
        let _ = writeln!(
            text,
            "last layer of {from} refit: L1 penalty with C {}, {} subsets of {} samples a group",
            dfr.c, dfr.subsets, dfr.samples_per_group
        );
    }
    if let Some(held_out) = &run.held_out {
        let _ = writeln!(text, "note: {held_out}");
    }
    groups(&mut text, run);
    for (split, line) in &run.final_metrics {
        let worst = line.worst_group.as_deref().unwrap_or("-");
        let _ = writeln!(
            text,
            "{:6} accuracy {} %, mean of groups {} %, worst {} % ({worst})",
            split.as_str(),
            percent(line.accuracy),
            percent(line.mean_group_accuracy),
            percent(line.worst_group_accuracy)
        );
    }
    for warning in &run.warnings {
        let _ = writeln!(text, "note: {warning}");
    }
    let done = if summary.up_to_date { "up to date" } else { "written" };
    let _ = writeln!(text, "\n{done} in {:.1} s: {}", summary.seconds, out.display());
    text
}

/// Per group: samples and accuracy in each split, and the group's weight.
fn groups(text: &mut String, run: &RunJson) {
    let width = run.groups.iter().map(String::len).max().unwrap_or(0).max(5);
    let _ = write!(text, "\n{:width$}", "group");
    for split in Split::ALL {
        let _ = write!(text, "  {:>14}", format!("{} n, acc %", split.as_str()));
    }
    let _ = writeln!(text, "{}", if run.weighted_groups.is_empty() { "" } else { "  weight" });
    for name in &run.groups {
        let _ = write!(text, "{name:width$}");
        let of = |split: Split| run.final_metrics.get(&split).and_then(|line: &MetricsLine| line.groups.get(name));
        for split in Split::ALL {
            let (n, accuracy) = of(split).map_or((0, None), |group| (group.n, group.accuracy));
            let _ = write!(text, "  {n:>8} {:>5}", percent(accuracy));
        }
        let weight = Split::ALL.into_iter().find_map(|split| of(split)?.weight);
        let _ = writeln!(text, "{}", weight.map_or_else(String::new, |weight| format!("  {weight:>6.3}")));
    }
    let _ = writeln!(text);
}
