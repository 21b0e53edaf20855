//! `groupdistil inspect`: what is there and what ingest would make of it, as a table, a tree, JSON or a page with pictures. Names
//! nobody.

mod html;
mod lines;
mod pictures;
mod reasons;
mod text;

use std::path::PathBuf;

use clap::Args;

use super::failure::CliError;
use super::ingest::{SourceArgs, source_settings};
use super::{Global, print_result};
use crate::context::Context;
use crate::failure::FailureKind;
use crate::formats::cohort::Outcome;
use crate::ingest::{self, Scan};

const EXAMPLES: &str = "\
Examples:
  groupdistil inspect /export/mri
  groupdistil inspect /export/mri --labels labels.csv --group-by vendor,field_strength_t
  groupdistil inspect slices --config sunnybrook-ingest.toml --all
  groupdistil inspect /export/mri --tree
  groupdistil inspect /export/mri --html look.html          a picture of every stack, moving where it is a cine
  groupdistil inspect /export/mri --files 2> files.txt      what becomes of every file (paths: keep them in the hospital)

Nothing but the page is written. Subjects are numbered; no name, id or path appears on stdout or on the page.";

/// Lines of the table of stacks unless `--all` is given.
const LINES: usize = 40;

/// Arguments of `groupdistil inspect`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InspectArgs {
    /// Folders or files with DICOM, NIfTI or pictures.
    #[arg(value_name = "PATH", required = true)]
    sources: Vec<PathBuf>,
    #[command(flatten)]
    about: SourceArgs,
    /// What a group would be made of (default: vendor,site).
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    group_by: Vec<String>,
    /// Show subject, study and stack as a tree.
    #[arg(long)]
    tree: bool,
    /// Show every stack.
    #[arg(long)]
    all: bool,
    /// List every file that would not be used, with the reason, on stderr.
    #[arg(long)]
    files: bool,
    /// Write a page with a picture of every stack, to see that orientation and order are right.
    #[arg(long, value_name = "PAGE.html")]
    html: Option<PathBuf>,
    /// Replace a file of that name that is no such page.
    #[arg(long, requires = "html")]
    force: bool,
}

/// Runs `groupdistil inspect`.
pub fn inspect(args: &InspectArgs, global: &Global, context: Context<'_>) -> Result<(), CliError> {
    let InspectArgs { sources, about, group_by, tree, all, files, html, force } = args;
    if let Some(page) = html {
        html::check_target(page, *force)?;
    }
    let settings = source_settings(about, group_by, None)?;
    let key = ingest::throw_away_key()?;
    let scan = ingest::scan(&settings, sources, &key, context)?;
    if *files {
        list_files(&scan);
    }
    let inspection = lines::inspection(&scan);
    if let Some(page) = html {
        html::write(page, &html::Shown { scan: &scan, inspection: &inspection, all: *all }, context)?;
    }
    if global.json {
        let text = serde_json::to_string(&inspection).map_err(|error| CliError::new(FailureKind::Unusable, error))?;
        return print_result(&format!("{text}\n"));
    }
    let most = if *all { usize::MAX } else { LINES };
    let text = if *tree { text::tree(&inspection, most) } else { text::table(&inspection, most) };
    // Without its path, which may name a patient.
    let done = if html.is_some() { "\npage written\n" } else { "" };
    print_result(&format!("{text}{done}"))
}

/// Files that would not be used. Paths may name patients: stderr alone.
#[expect(clippy::print_stderr, reason = "asked for by --files, and stdout may not hold paths")]
fn list_files(scan: &Scan) {
    for row in scan.ledger.iter().filter(|row| row.outcome != Outcome::Used) {
        eprintln!("{}\t{}\t{}\t{}", row.outcome.as_str(), row.reason, row.path, row.message);
    }
}
