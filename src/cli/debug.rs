//! `groupdistil debug`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::Global;
use super::failure::CliError;
use crate::context::Context;
use crate::failure::FailureKind;
use crate::fsx;
use crate::objective::logistic::{Fit, Problem, fit};
use crate::objective::replay::{self, ReplayInput};

/// No input of a replay is larger than this.
const INPUT_CAP_BYTES: u64 = 1 << 30;

/// Arguments of `groupdistil debug`.
#[derive(Debug, Args)]
pub struct DebugArgs {
    #[command(subcommand)]
    command: DebugCommand,
}

#[derive(Debug, Subcommand)]
enum DebugCommand {
    /// Replay given logits, labels and groups through an objective: losses, gradients and group weights per step.
    #[command(after_help = "\
IN.json:
  {\"objective\": \"group-distil\",        erm, kd, group-dro or group-distil
   \"train_counts\": [418, 22],          training samples of each group
   \"steps\": [{\"logits\": [[1.5, -2], [0, 1]], \"teacher_logits\": [[2, -2], [1, 0]],
              \"labels\": [0, 1], \"groups\": [0, 1]}],
   \"scope\": \"distillation\", \"absent\": \"keep\", \"temperature\": 1, \"alpha\": 0.5, \"eta\": 0.1,
   \"adjustment\": 0, \"floor\": 0}       all of this line optional

OUT.json: q_start, and under float64 (reference) and float32 (tensors, as in training) per step
  loss, ce, kd, gradient of the loss with respect to the logits, and q after the step.

Example:
  groupdistil debug objective steps.json --out losses.json")]
    Objective(FileArgs),
    /// Fit a last layer with an L1 penalty, as dfr-train and dfr-val do.
    #[command(after_help = "\
IN.json:
  {\"features\": [[1.5, -2], [0, 1], [0.5, 3]], \"labels\": [0, 1, 1], \"classes\": 2, \"c\": 1.0}

OUT.json: weights [classes][f] and intercepts [classes] (two classes: the first are 0), violation of the optimality conditions, steps.

Example:
  groupdistil debug refit features.json --out layer.json")]
    Refit(FileArgs),
}

#[derive(Debug, Args)]
struct FileArgs {
    /// As below.
    #[arg(value_name = "IN.json")]
    input: PathBuf,
    /// Where the result goes.
    #[arg(long, value_name = "OUT.json")]
    out: PathBuf,
}

/// Runs `groupdistil debug`.
pub fn debug(args: &DebugArgs, global: &Global, _context: Context<'_>) -> Result<(), CliError> {
    match &args.command {
        DebugCommand::Objective(args) => objective(args, global),
        DebugCommand::Refit(args) => refit(args, global),
    }
}

fn unusable(path: &Path, problem: impl std::fmt::Display) -> CliError {
    CliError::new(FailureKind::Unusable, format!("`{}`: {problem}; see --help", path.display()))
}

fn read<T: serde::de::DeserializeOwned>(args: &FileArgs) -> Result<T, CliError> {
    let bytes = fsx::read(&args.input, INPUT_CAP_BYTES)?;
    serde_json::from_slice(&bytes).map_err(|error| unusable(&args.input, error))
}

fn write(args: &FileArgs, output: &impl serde::Serialize) -> Result<(), CliError> {
    let mut bytes = serde_json::to_vec(output).map_err(|error| unusable(&args.out, error))?;
    bytes.push(b'\n');
    Ok(fsx::write_atomic(&args.out, &bytes)?)
}

/// What `debug refit` reads.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RefitInput {
    features: Vec<Vec<f64>>,
    labels: Vec<usize>,
    classes: usize,
    c: f64,
}

fn refit(args: &FileArgs, global: &Global) -> Result<(), CliError> {
    let RefitInput { features, labels, classes, c } = read(args)?;
    let width = features.first().map_or(0, Vec::len);
    let wrong = |problem: &str| Err(unusable(&args.input, problem));
    if features.is_empty() || features.len() != labels.len() || features.iter().any(|row| row.len() != width) {
        return wrong("features must be one row of equal length for each label");
    }
    if !(2..=1000).contains(&classes) || labels.iter().any(|&label| label >= classes) {
        return wrong("classes must be 2 to 1000 and labels 0 to classes - 1");
    }
    if !(c.is_finite() && c > 0.0) || features.iter().flatten().any(|value| !value.is_finite()) {
        return wrong("c must be > 0 and features finite");
    }
    let Fit { weights, intercepts, violation, steps } =
        fit(&Problem { features: &features.concat(), labels: &labels, classes, c });
    let rows: Vec<&[f64]> = weights.chunks_exact(width.max(1)).collect();
    let output = serde_json::json!({"schema": "groupdistil.refit/1", "weights": rows, "intercepts": intercepts,
        "violation": violation, "steps": steps});
    write(args, &output)?;
    if global.json {
        return super::print_result(&format!("{}\n", serde_json::json!({"violation": violation, "steps": steps})));
    }
    super::print_result(&format!("{steps} steps; optimality violated by {violation:.1e}\n"))
}

fn objective(args: &FileArgs, global: &Global) -> Result<(), CliError> {
    let input: ReplayInput = read(args)?;
    let output = replay::replay(&input)?;
    write(args, &output)?;
    let last = output.float64.last();
    if global.json {
        let result = serde_json::json!({"steps": output.float64.len(), "loss": last.map(|step| step.loss),
            "q": last.map_or(&output.q_start, |step| &step.q)});
        return super::print_result(&format!("{result}\n"));
    }
    let q: Vec<String> = last.map_or(&output.q_start, |step| &step.q).iter().map(|q| format!("{q:.6}")).collect();
    super::print_result(&format!("{} steps; q after the last: {}\n", output.float64.len(), q.join(" ")))
}
