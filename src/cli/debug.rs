//! `groupdistil debug`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Global;
use super::failure::CliError;
use crate::context::Context;
use crate::failure::FailureKind;
use crate::fsx;
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
    Objective(ObjectiveArgs),
}

#[derive(Debug, Args)]
struct ObjectiveArgs {
    /// Settings and steps, as below.
    #[arg(value_name = "IN.json")]
    input: PathBuf,
    /// Where losses, gradients and weights go.
    #[arg(long, value_name = "OUT.json")]
    out: PathBuf,
}

/// Runs `groupdistil debug`.
pub fn debug(args: &DebugArgs, global: &Global, _context: Context<'_>) -> Result<(), CliError> {
    let DebugCommand::Objective(args) = &args.command;
    let bytes = fsx::read(&args.input, INPUT_CAP_BYTES)?;
    let input: ReplayInput = serde_json::from_slice(&bytes).map_err(|error| {
        CliError::new(FailureKind::Unusable, format!("`{}`: {error}; see --help", args.input.display()))
    })?;
    let output = replay::replay(&input)?;
    let mut bytes = serde_json::to_vec(&output)
        .map_err(|error| CliError::new(FailureKind::Unusable, format!("`{}`: {error}", args.out.display())))?;
    bytes.push(b'\n');
    fsx::write_atomic(&args.out, &bytes)?;
    let last = output.float64.last();
    if global.json {
        let result = serde_json::json!({"steps": output.float64.len(), "loss": last.map(|step| step.loss),
            "q": last.map_or(&output.q_start, |step| &step.q)});
        return super::print_result(&format!("{result}\n"));
    }
    let q: Vec<String> = last.map_or(&output.q_start, |step| &step.q).iter().map(|q| format!("{q:.6}")).collect();
    super::print_result(&format!("{} steps; q after the last: {}\n", output.float64.len(), q.join(" ")))
}
