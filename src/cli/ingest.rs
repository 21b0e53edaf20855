//! `groupdistil ingest`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::CliError;
use super::{Global, OutArgs, print_result};
use crate::context::Context;
use crate::failure::FailureKind;
use crate::formats::cohort::GroupCounts;
use crate::fsx;
use crate::ingest::{self, DeidentifySummary, IngestSummary};
use crate::settings::ingest::{IngestSettings, IngestWire, LabelsWire};

const EXAMPLES: &str = "\
Examples:
  groupdistil ingest phantom/scans --labels phantom/labels.csv --out cohort
  groupdistil ingest /export/mri /export/old --labels labels.csv --group-by vendor,site,field_strength_t --out cohort
  groupdistil ingest OpenDataset --group-by vendor,site --out mnms          the M&Ms collection: its CSV is found
  groupdistil ingest slices --config sunnybrook-ingest.toml --out cohort    pictures, explained by a pattern
  groupdistil ingest /export --out cohort --export-deidentified copies      de-identified DICOM and NIfTI beside it
  groupdistil ingest day1.zip day2.tar.gz /export/more --out cohort         archives are read as they are, nothing is unpacked by hand
  groupdistil ingest /export --set small_groups=hold-out --set min_group_subjects=20 --out cohort
  groupdistil ingest /export --exclude '(?i)/flow/' --crosswalk ~/crosswalk.csv --out cohort

labels.csv has one of patient_id, study_uid, folder or file, and label; optionally site, vendor, sex, age_years, split; other columns
become attr_<name>. The cohort holds paths: keep it in the hospital. Subjects are pseudonyms under a key (--key).";

/// No settings file is larger than this.
const CONFIG_CAP_BYTES: u64 = 1 << 20;

/// Arguments of `groupdistil ingest`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct IngestArgs {
    /// Folders, archives (.zip, .tar, .tar.gz, .gz) or files with DICOM, NIfTI or pictures.
    #[arg(value_name = "SRC", required = true)]
    sources: Vec<PathBuf>,
    #[command(flatten)]
    out: OutArgs,
    #[command(flatten)]
    about: SourceArgs,
    /// What a group is made of: vendor, site, model, station, software, field_strength_t, sex, label or attr_COLUMN
    /// (default: vendor,site).
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    group_by: Vec<String>,
    /// Key of the pseudonyms (default: one in your configuration folder, made at first use).
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Write a table that maps pseudonyms back to patients; keep it safe.
    #[arg(long, value_name = "FILE")]
    crosswalk: Option<PathBuf>,
    /// Write de-identified copies of the images (DICOM PS3.15 basic profile, docs/deidentification.md) into this folder.
    #[arg(long, value_name = "DIR")]
    export_deidentified: Option<PathBuf>,
    /// Exit with 3 when a file was rejected.
    #[arg(long)]
    strict: bool,
}

/// What is known of sources besides their files: the same for `ingest`, `inspect` and `predict`.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// Table of labels (CSV); may be repeated.
    #[arg(long, value_name = "CSV")]
    labels: Vec<PathBuf>,
    /// TOML file with settings of ingest, for example another cohort's settings.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any setting of ingest, as TOML; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Skip files whose path below the source fits this regular expression; may be repeated.
    #[arg(long, value_name = "REGEX")]
    exclude: Vec<String>,
}

fn usage(message: impl std::fmt::Display) -> CliError {
    CliError::new(FailureKind::Usage, message.to_string())
}

/// Defaults, then the file, then `--set`, then flags; `group_by` and `key` where they are given.
pub(super) fn source_settings(
    about: &SourceArgs,
    group_by: &[String],
    key: Option<&Path>,
) -> Result<IngestSettings, CliError> {
    let SourceArgs { labels, config, set, exclude } = about;
    let mut wire = IngestWire::default();
    let mut base = PathBuf::new();
    if let Some(path) = config {
        let text = fsx::read_text(path, CONFIG_CAP_BYTES)?;
        wire = toml::from_str(&text).map_err(|error| usage(format!("`{}`: {error}", path.display())))?;
        base = path.parent().map(Path::to_path_buf).unwrap_or_default();
    }
    if !set.is_empty() {
        let mut table = toml::Table::try_from(&wire).map_err(usage)?;
        for assignment in set {
            let (name, value) =
                assignment.split_once('=').ok_or_else(|| usage(format!("--set {assignment}: expected KEY=VALUE")))?;
            let parsed = toml::from_str::<toml::Table>(&format!("value = {}", value.trim())).ok();
            let value = parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| value.trim().into());
            table.insert(name.trim().to_owned(), value);
        }
        wire = table.try_into().map_err(|error| usage(format!("settings: {error}")))?;
    }
    // Paths of flags start at the working folder, paths of the file at its own.
    let here = std::path::absolute(".").map_err(usage)?;
    wire.labels.iter_mut().for_each(|table| table.file = base.join(&table.file));
    wire.key = wire.key.map(|key| base.join(key));
    wire.labels.extend(labels.iter().map(|file| LabelsWire { file: file.clone(), ..LabelsWire::default() }));
    wire.exclude.extend(exclude.iter().cloned());
    if !group_by.is_empty() {
        wire.group_by = Some(group_by.to_vec());
    }
    wire.key = key.map(Path::to_path_buf).or(wire.key);
    Ok(IngestSettings::from_wire(wire, &here)?)
}

fn settings(args: &IngestArgs) -> Result<IngestSettings, CliError> {
    let mut settings = source_settings(&args.about, &args.group_by, args.key.as_deref())?;
    settings.crosswalk.clone_from(&args.crosswalk);
    settings.export_deidentified.clone_from(&args.export_deidentified);
    Ok(settings)
}

/// Runs `groupdistil ingest`.
pub fn ingest(args: &IngestArgs, global: &Global, context: Context<'_>) -> Result<(), CliError> {
    let settings = settings(args)?;
    let OutArgs { out, force } = &args.out;
    let summary = ingest::ingest(&settings, &args.sources, out, *force, context)?;
    print_result(&if global.json { json(&summary)? } else { table(&summary) })?;
    match summary.rejected() {
        0 => Ok(()),
        count if args.strict => {
            let message = format!("{count} files were rejected and --strict was given; ledger.csv says why");
            Err(CliError::new(FailureKind::RejectedInputs, message))
        }
        _ => Ok(()),
    }
}

fn json(summary: &IngestSummary) -> Result<String, CliError> {
    let text = serde_json::to_string(summary)
        .map_err(|_| CliError::new(FailureKind::Unusable, "the summary cannot be written as JSON"))?;
    Ok(format!("{text}\n"))
}

fn table(summary: &IngestSummary) -> String {
    let counts = &summary.counts;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} files, {} subjects, {} stacks ({} labelled), {} images",
        counts.files, counts.subjects, counts.stacks, counts.labelled_stacks, counts.frames
    );
    let _ = writeln!(text, "\n{:<10}{:<30}{:>8}", "files", "reason", "count");
    for (name, count) in &counts.reasons {
        let (outcome, reason) = name.split_once(' ').unwrap_or((name, ""));
        let _ = writeln!(text, "{outcome:<10}{reason:<30}{count:>8}");
    }
    let _ = writeln!(text, "\n{:<10}{:<30}{:>8}", "view", "kind", "stacks");
    for (name, count) in &counts.views {
        let (view, kind) = name.split_once(' ').unwrap_or((name, ""));
        let _ = writeln!(text, "{view:<10}{kind:<30}{count:>8}");
    }
    text += &groups(&summary.groups.groups);
    if counts.labels_unmatched > 0 {
        let _ = writeln!(text, "\n{} label rows match no scan", counts.labels_unmatched);
    }
    for (index, warning) in summary.groups.warnings.iter().enumerate() {
        let _ = writeln!(text, "{}warning: {warning}", if index == 0 { "\n" } else { "" });
    }
    if let Some(copies) = &summary.deidentified {
        text += &deidentified(copies);
    }
    let _ = writeln!(text, "\n{}", if summary.up_to_date { "up to date" } else { "cohort written" });
    text
}

fn deidentified(copies: &DeidentifySummary) -> String {
    let mut text = format!("\n{:<10}{:<30}{:>8}\n", "copies", "de-identified", "files");
    let written = copies.files.iter().map(|(format, count)| ("written", format, count));
    let missing = copies.not_exported.iter().map(|(reason, count)| ("none", reason, count));
    for (outcome, what, count) in written.chain(missing) {
        let _ = writeln!(text, "{outcome:<10}{what:<30}{count:>8}");
    }
    text
}

/// Groups over what training may use, with subjects per label.
pub(super) fn groups(groups: &[GroupCounts]) -> String {
    let width = groups.iter().map(|group| group.name.chars().count()).max().unwrap_or(0).max(5) + 2;
    let mut text = format!("\n{:<width$}{:>8}{:>8}   subjects by label\n", "group", "subjects", "stacks");
    for group in groups {
        let labels: Vec<String> = group.labels.iter().map(|(label, count)| format!("{label} {count}")).collect();
        let _ =
            writeln!(text, "{:<width$}{:>8}{:>8}   {}", group.name, group.subjects, group.stacks, labels.join(", "));
    }
    text
}
