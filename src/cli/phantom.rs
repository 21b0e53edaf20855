//! `groupdistil phantom`.

use clap::{Args, ValueEnum};

use super::failure::CliError;
use super::{Global, OutArgs, print_result};
use crate::context::Context;
use crate::failure::FailureKind;
use crate::phantom::{self, PhantomSummary};
use crate::settings::phantom::{PhantomSettings, PhantomWire, Preset};

const EXAMPLES: &str = "\
Examples:
  groupdistil phantom --out phantom                              the cohort of `groupdistil demo`
  groupdistil phantom --out tiny --preset tiny --seed 3          a cohort in a second or two
  groupdistil phantom --out shift --preset shift --test-per-group 30
  groupdistil ingest phantom/scans --labels phantom/labels.csv --out cohort";

/// Arguments of `groupdistil phantom`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PhantomArgs {
    #[command(flatten)]
    out: OutArgs,
    /// Size and composition.
    #[arg(long, value_enum, default_value = "demo")]
    preset: PresetArg,
    /// Total subjects instead of the preset's; sites, diagnoses and splits keep their shares.
    #[arg(long, value_name = "N", conflicts_with = "test_per_group")]
    subjects: Option<u32>,
    /// Seed of everything random: the same seed gives the same bytes.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Test subjects of every diagnosis at every site, instead of the preset's.
    #[arg(long, value_name = "N")]
    test_per_group: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PresetArg {
    /// 36 subjects with small images: for tests.
    Tiny,
    /// Diagnosis independent of the scanner.
    Demo,
    /// Diagnosis tied to the scanner in training, balanced in validation and test.
    Shift,
    /// Clinical slice counts and matrices, more than 5,000 files.
    Large,
}

impl From<PresetArg> for Preset {
    fn from(argument: PresetArg) -> Self {
        match argument {
            PresetArg::Tiny => Self::Tiny,
            PresetArg::Demo => Self::Demo,
            PresetArg::Shift => Self::Shift,
            PresetArg::Large => Self::Large,
        }
    }
}

/// Runs `groupdistil phantom`.
pub fn phantom(args: &PhantomArgs, global: &Global, context: Context<'_>) -> Result<(), CliError> {
    let PhantomArgs { out, preset, subjects, seed, test_per_group } = args;
    let wire = PhantomWire {
        preset: Some((*preset).into()),
        subjects: *subjects,
        seed: Some(*seed),
        test_per_group: *test_per_group,
    };
    let settings = PhantomSettings::try_from(wire)?;
    let summary = phantom::write(&settings, &out.out, out.force, context)?;
    if global.json {
        let text = serde_json::to_string(&summary)
            .map_err(|_| CliError::new(FailureKind::Unusable, "the summary cannot be written as JSON"))?;
        return print_result(&format!("{text}\n"));
    }
    print_result(&table(&summary))
}

fn table(summary: &PhantomSummary) -> String {
    let mut text = format!("{:<16}{:<8}{:>6}{:>6}{:>6}\n", "site", "split", "DCM", "HCM", "NOR");
    for (site, splits) in &summary.by_site {
        for split in ["train", "val", "test"] {
            let Some(labels) = splits.get(split) else { continue };
            let count = |label: &str| labels.get(label).copied().unwrap_or_default();
            text += &format!("{site:<16}{split:<8}{:>6}{:>6}{:>6}\n", count("DCM"), count("HCM"), count("NOR"));
        }
    }
    match summary.up_to_date {
        true => text + &format!("{} subjects, up to date\n", summary.subjects),
        false => {
            let megabytes = summary.bytes as f64 / 1e6;
            text + &format!("{} subjects, {} files, {megabytes:.1} MB\n", summary.subjects, summary.files)
        }
    }
}
