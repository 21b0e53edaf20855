//! `groupdistil run` and `groupdistil demo`.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::export::this_program;
use super::failure::CliError;
use super::settings::parse_assignment;
use super::{Global, print_result};
use crate::context::Context;
use crate::evidence::{self, EvidenceOptions};
use crate::failure::FailureKind;
use crate::fsx;
use crate::pipeline::{self, EMBEDDED, PipelineSummary, RunOptions, Stage};
use crate::settings::evidence::{EvidenceSettings, is_study};
use crate::settings::pipeline::{Assignment, PipelineSettings};

/// No pipeline file is larger than this.
const PIPELINE_CAP_BYTES: u64 = 1 << 20;

/// Stages by the names that the pipeline gives them.
fn stages() -> impl TypedValueParser<Value = Stage> {
    let find = |name: String| Stage::ALL.into_iter().find(|stage| stage.name() == name).ok_or("no stage of a pipeline");
    PossibleValuesParser::new(Stage::ALL.map(Stage::name)).try_map(find)
}

/// Arguments of `groupdistil run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Stages that are up to date are not done again; an interrupted run goes on where it stopped.

Examples:
  groupdistil run pipelines/sunnybrook.toml
  groupdistil run pipelines/hospital.toml --source /scans/site-a --source /scans/site-b --out out/ours
  groupdistil run pipelines/demo.toml --set student.epochs=40 --set method.kd.alpha=0.5
  groupdistil run pipelines/demo.toml --from students
  groupdistil run pipelines/sunnybrook.toml --jobs 2          two folds or students at once
  groupdistil run pipelines/evidence-shift.toml --jobs 2      a study of methods over seeds")]
pub struct RunArgs {
    /// The pipeline.
    #[arg(value_name = "PIPELINE.toml")]
    pipeline: PathBuf,
    /// Folder of all stages (default: `out/NAME`, after the pipeline file).
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Any setting, as TOML, with the tables of the file before it: `train.epochs=3`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Scans to use instead of the file's `sources`; may be repeated.
    #[arg(long, value_name = "PATH")]
    source: Vec<PathBuf>,
    /// Do this stage and all after it anew, even where they are up to date.
    #[arg(long, value_parser = stages(), value_name = "STAGE")]
    from: Option<Stage>,
    /// Trainings at once, each with its share of --threads (default: one; in a study one per thread on a CPU as far as memory goes,
    /// one on a GPU).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

/// Arguments of `groupdistil demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Makes a synthetic cohort of four scanners, ingests and preprocesses it, trains a teacher and three compact students (ERM, KD,
GroupDistil), exports the last one and audits all of them. Takes minutes on two cores; --quick is a small version for tests.

Examples:
  groupdistil demo
  groupdistil demo --quick --out /tmp/demo")]
pub struct DemoArgs {
    /// A small cohort and short training: shows that everything works, not what it is good for.
    #[arg(long)]
    quick: bool,
    /// Folder of all stages.
    #[arg(long, value_name = "DIR", default_value = "out/demo")]
    out: PathBuf,
}

/// Runs a pipeline file.
pub fn run(args: &RunArgs, global: &Global, context: Context<'_>) -> Result<(), CliError> {
    let RunArgs { pipeline: path, out, set, source, from, jobs } = args;
    let text = fsx::read_text(path, PIPELINE_CAP_BYTES)?;
    let assignment = |text: &String| parse_assignment(text).map(|(key, value)| Assignment { key, value });
    let mut assignments = set.iter().map(assignment).collect::<Result<Vec<_>, _>>()?;
    if !source.is_empty() {
        assignments.push(Assignment { key: "sources".to_owned(), value: absolute(source)?.into() });
    }
    let base = path.parent().unwrap_or(Path::new(""));
    let default = || Path::new("out").join(path.file_stem().unwrap_or_default());
    let out = out.clone().unwrap_or_else(default);
    let unreadable = |error: &dyn std::error::Error| {
        CliError::new(FailureKind::Usage, format!("`{}`: {}", path.display(), chain(error)))
    };
    if is_study(&text) {
        if from.is_some() {
            return Err(CliError::new(
                FailureKind::Usage,
                "a study has no stages to begin --from; what is up to date is kept",
            ));
        }
        let settings = EvidenceSettings::parse(&text, &assignments, base).map_err(|error| unreadable(&error))?;
        let options = EvidenceOptions { out: &out, device: &global.device, at_once: jobs.map(usize::from) };
        return study(&settings, &options, global, context);
    }
    let settings = PipelineSettings::parse(&text, &assignments, base).map_err(|error| unreadable(&error))?;
    let (device, jobs) = (global.device.as_str(), jobs.map(usize::from));
    finish(&settings, &RunOptions { out: &out, from: *from, device, jobs, checker: &this_program()? }, global, context)
}

/// Runs a study of methods over seeds and prints its page.
fn study(
    settings: &EvidenceSettings,
    options: &EvidenceOptions<'_>,
    global: &Global,
    context: Context<'_>,
) -> Result<(), CliError> {
    let summary = evidence::run(settings, options, context)?;
    if global.json {
        let text = serde_json::to_string(&summary).map_err(|error| CliError::new(FailureKind::Unusable, error))?;
        return print_result(&format!("{text}\n"));
    }
    let (all, there) = (summary.trainings, summary.up_to_date);
    let out = options.out.display();
    print_result(&format!("{}{there} of {all} trainings were there already\nwritten: {out}\n", summary.page))
}

/// Runs the embedded demo pipeline.
pub fn demo(args: &DemoArgs, global: &Global, context: Context<'_>) -> Result<(), CliError> {
    let DemoArgs { quick, out } = args;
    let (_, text) = EMBEDDED[usize::from(*quick)];
    let settings = PipelineSettings::parse(text, &[], Path::new(""))?;
    let options = RunOptions { out, from: None, device: &global.device, jobs: None, checker: &this_program()? };
    finish(&settings, &options, global, context)
}

fn finish(
    settings: &PipelineSettings,
    options: &RunOptions<'_>,
    global: &Global,
    context: Context<'_>,
) -> Result<(), CliError> {
    let summary = pipeline::run(settings, options, context)?;
    if global.json {
        let text = serde_json::to_string(&summary).map_err(|error| CliError::new(FailureKind::Unusable, error))?;
        print_result(&format!("{text}\n"))?;
    } else {
        print_result(&readable(&summary, options.out))?;
    }
    Ok(summary.audit.check_gates()?)
}

#[expect(clippy::cast_precision_loss, reason = "shown in MB")]
fn readable(summary: &PipelineSummary, out: &Path) -> String {
    let PipelineSummary { title, model, audit } = summary;
    let heading = if title.is_empty() { String::new() } else { format!("{title}\n\n") };
    let fold = model.fold.map_or(String::new(), |fold| format!(" of fold {fold}"));
    let notes: String = audit.warnings.iter().map(|warning| format!("note: {warning}\n")).collect();
    format!(
        "{heading}{}{notes}model:   {} ({}{fold}: {} with {} parameters, {:.1} MB)\n",
        super::audit::table(audit),
        out.join(pipeline::stages::MODEL).display(),
        model.name,
        model.architecture,
        model.parameters,
        model.bytes as f64 / 1e6,
    )
}

/// Paths on the command line start where the user stands, those in the file at the file.
fn absolute(paths: &[PathBuf]) -> Result<Vec<String>, CliError> {
    let absolute = |path: &PathBuf| {
        let whole = std::path::absolute(path)
            .map_err(|error| CliError::new(FailureKind::Usage, format!("`{}`: {error}", path.display())))?;
        let wrong = || CliError::new(FailureKind::Usage, format!("`{}`: not UTF-8", path.display()));
        whole.to_str().map(str::to_owned).ok_or_else(wrong)
    };
    paths.iter().map(absolute).collect()
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source()).map(|cause| format!(": {cause}"));
    std::iter::once(error.to_string()).chain(causes).collect()
}
