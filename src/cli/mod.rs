//! The command line: one file per subcommand, each turning arguments into settings and making one library call.
//!
//! Results go to stdout (a table, or one JSON object with `--json`); progress and messages go to stderr.

pub mod audit;
#[cfg(feature = "torch")]
pub mod compare;
#[cfg(feature = "torch")]
pub mod debug;
pub mod doctor;
#[cfg(feature = "torch")]
pub mod export;
pub mod failure;
pub mod ingest;
pub mod inspect;
pub mod phantom;
#[cfg(feature = "torch")]
pub mod predict;
pub mod preprocess;
pub mod reporter;
#[cfg(feature = "torch")]
pub mod run;
pub mod settings;
#[cfg(feature = "torch")]
pub mod train;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::context::{Context, Interrupt};
use failure::CliError;

/// Scanner-robust cardiac MRI classifiers: ingest, group-robust distillation, export and per-site audit.
#[derive(Debug, Parser)]
#[command(name = "groupdistil", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// When progress bars are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// Bars when stderr is a terminal, nothing otherwise.
    Auto,
    /// A plain line per step.
    Plain,
    /// Nothing.
    Never,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Worker threads (default: all cores).
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Where networks run: auto, cpu, cuda or cuda:N.
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    pub device: String,
    /// More messages (-v info, -vv debug).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Errors only.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// How progress is shown on stderr.
    #[arg(long, global = true, value_enum, default_value = "auto")]
    pub progress: ProgressMode,
    /// Print the result as one JSON object.
    #[arg(long, global = true)]
    pub json: bool,
}

impl Global {
    /// Worker threads: `--threads`, else all cores.
    pub fn thread_count(&self) -> usize {
        self.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
    }
}

/// The subcommands, in the order in which a user meets them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole job on the embedded phantom cohort: from scans to an audited student.
    #[cfg(feature = "torch")]
    Demo(run::DemoArgs),
    /// Run a whole pipeline from a TOML file; stages that are up to date are not done again.
    #[cfg(feature = "torch")]
    Run(run::RunArgs),
    /// Write a synthetic multi-site short-axis cine cohort as DICOM and NIfTI.
    Phantom(phantom::PhantomArgs),
    /// Show what is there and what ingest would make of it.
    Inspect(inspect::InspectArgs),
    /// Turn sources (DICOM, NIfTI, images + CSV) into a COHORT of labelled, grouped stacks.
    Ingest(ingest::IngestArgs),
    /// Turn a COHORT into a DATASET of comparable images.
    Preprocess(preprocess::PreprocessArgs),
    /// Train a network on a DATASET.
    #[cfg(feature = "torch")]
    Train(train::TrainArgs),
    /// Compare training methods on the same data and seeds.
    #[cfg(feature = "torch")]
    Compare(compare::CompareArgs),
    /// Export a RUN as self-describing TorchScript.
    #[cfg(feature = "torch")]
    Export(export::ExportArgs),
    /// From raw scans to probabilities with nothing but the model file.
    #[cfg(feature = "torch")]
    Predict(predict::PredictArgs),
    /// Report performance site by site, with intervals and a gate.
    Audit(audit::AuditArgs),
    /// Show versions, libtorch, CUDA and threads, and what is missing.
    Doctor(doctor::DoctorArgs),
    /// Tools for checking the program itself.
    #[cfg(feature = "torch")]
    Debug(debug::DebugArgs),
}

/// Parses the command line, runs the command and ends the process with its exit code.
pub fn main() -> ! {
    let code = match Cli::try_parse() {
        Ok(cli) => run(&cli).map_or_else(|error| error.report(), |()| 0),
        Err(answer) => {
            // Help and version come this way too. Where they cannot be printed, nothing can.
            let _ = answer.print();
            answer.exit_code()
        }
    };
    let _ = std::io::stdout().flush();
    // libtorch takes longer to put its registries away at exit than most commands need, and the system takes all back anyway.
    signal_hook::low_level::exit(code)
}

fn run(cli: &Cli) -> Result<(), CliError> {
    let global = &cli.global;
    reporter::start_logging(global);
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // A second signal ends the program at once: the first may wait for a long step.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag)).map_err(CliError::signals)?;
        signal_hook::flag::register(signal, Arc::clone(&flag)).map_err(CliError::signals)?;
    }
    let interrupt = Interrupt::from_flag(flag);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(global.thread_count()).build().map_err(CliError::threads)?;
    let reporter = reporter::Reporter::new(global);
    let context = Context { observer: &reporter, interrupt: &interrupt, pool: &pool };
    dispatch(&cli.command, global, context)
}

fn dispatch(command: &Command, global: &Global, context: Context<'_>) -> Result<(), CliError> {
    match command {
        #[cfg(feature = "torch")]
        Command::Demo(args) => run::demo(args, global, context),
        #[cfg(feature = "torch")]
        Command::Run(args) => run::run(args, global, context),
        Command::Phantom(args) => phantom::phantom(args, global, context),
        Command::Inspect(args) => inspect::inspect(args, global, context),
        Command::Ingest(args) => ingest::ingest(args, global, context),
        Command::Preprocess(args) => preprocess::preprocess(args, global, context),
        #[cfg(feature = "torch")]
        Command::Train(args) => train::train(args, global, context),
        #[cfg(feature = "torch")]
        Command::Compare(args) => compare::compare(args, global, context),
        #[cfg(feature = "torch")]
        Command::Export(args) => export::export(args, global, context),
        #[cfg(feature = "torch")]
        Command::Predict(args) => predict::predict(args, global, context),
        Command::Audit(args) => audit::audit(args, global, context),
        Command::Doctor(args) => doctor::doctor(args, global),
        #[cfg(feature = "torch")]
        Command::Debug(args) => debug::debug(args, global, context),
    }
}

/// Prints a result on stdout; a closed pipe is not an error.
pub fn print_result(text: &str) -> Result<(), CliError> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::stdout(error)),
        _ => Ok(()),
    }
}

/// Where a command writes, and what to do with what is there.
#[derive(Debug, Clone, Args)]
pub struct OutArgs {
    /// Output folder.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Make the folder anew where it was made from other settings or inputs.
    #[arg(long)]
    pub force: bool,
}
