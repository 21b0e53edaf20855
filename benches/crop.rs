//! `cargo xtask bench crop [PRESET|real] [FIRST SEED]`: is the heart in the crop, and are end-diastole and end-systole where they are?
//!
//! Phantom cohorts of several seeds against their `truth.json`, and the real scans of `../shared/data` against the experts' contours
//! and masks. Nothing is timed. Every stack whose heart is cut is listed by its pseudonym, with whether it was flagged.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and panics to fail"
)]

#[path = "shared/crop.rs"]
mod shared;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use groupdistil::settings::phantom::{PhantomSettings, Preset};
use shared::{Verdict, contour_verdicts, mask_verdicts, phantom_verdicts, quantile};

/// Preset, subjects (the preset's own without), seeds.
const COHORTS: [(Preset, Option<u32>, u64); 4] =
    [(Preset::Tiny, None, 6), (Preset::Demo, None, 3), (Preset::Shift, None, 2), (Preset::Large, Some(48), 2)];

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn of_phantom(preset: Preset, subjects: Option<u32>, seed: u64) -> Vec<Verdict> {
    let folder = project().join(format!("target/bench-crop/{}-{seed}", preset.name()));
    phantom_verdicts(&PhantomSettings { preset, subjects, seed, test_per_group: None }, &folder)
}

fn real_data(folder: &str) -> Option<PathBuf> {
    let path = project().join("../shared/data").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    println!("not there, left out: ../shared/data/{folder}");
    None
}

fn table(verdicts: &[Verdict]) {
    let mut rows: BTreeMap<&str, Vec<&Verdict>> = BTreeMap::new();
    for verdict in verdicts {
        rows.entry(&verdict.row).or_default().push(verdict);
    }
    println!(
        "{:<18}{:>7}{:>10}{:>10}{:>9}{:>9}{:>9}{:>9}{:>11}{:>11}",
        "", "stacks", "left vent.", "both", "median", "p95 mm", "max", "flagged", "ED med/p95", "ES med/p95"
    );
    for (name, found) in rows {
        let share = |held: usize| 100.0 * held as f64 / found.len() as f64;
        let left = share(found.iter().filter(|verdict| verdict.left_cut_mm <= 0.0).count());
        let both = found.iter().filter(|verdict| verdict.heart_cut_mm.is_some_and(|cut| cut <= 0.0)).count();
        let error = |q: f64| quantile(found.iter().map(|verdict| verdict.centre_error_mm), q);
        let phases: Vec<(usize, usize)> = found.iter().filter_map(|verdict| verdict.phase_error).collect();
        let phase = |pick: fn(&(usize, usize)) -> usize| match phases.is_empty() {
            true => "-".to_owned(),
            false => format!("{}/{}", quantile(phases.iter().map(pick), 0.5), quantile(phases.iter().map(pick), 0.95)),
        };
        let both = if phases.is_empty() { "-".to_owned() } else { format!("{:.1} %", share(both)) };
        let flagged = found.iter().filter(|verdict| verdict.flagged).count();
        println!(
            "{name:<18}{:>7}{:>8.1} %{both:>10}{:>9.1}{:>9.1}{:>9.1}{flagged:>9}{:>11}{:>11}",
            found.len(),
            left,
            error(0.5),
            error(0.95),
            error(1.0),
            phase(|error| error.0),
            phase(|error| error.1),
        );
    }
    println!("\nhearts that the crop cuts:");
    for verdict in verdicts.iter().filter(|verdict| verdict.is_cut()) {
        println!(
            "{:<18} {} centre off by {:.1} mm; cut {:.1} mm of the left ventricle, {:.1} mm of both; {}",
            verdict.row,
            verdict.stack_id,
            verdict.centre_error_mm,
            verdict.left_cut_mm,
            verdict.heart_cut_mm.unwrap_or(verdict.left_cut_mm),
            if verdict.flagged { "flagged" } else { "not flagged" },
        );
    }
}

fn main() {
    let wanted =
        std::env::args().skip(1).find(|argument| !argument.starts_with('-') && argument.parse::<u64>().is_err());
    let first = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(0);
    let mut verdicts = Vec::new();
    for (preset, subjects, seeds) in COHORTS {
        if wanted.as_deref().is_none_or(|name| name == preset.name()) {
            verdicts.extend((first..first + seeds).flat_map(|seed| of_phantom(preset, subjects, seed)));
        }
    }
    if wanted.as_deref().is_none_or(|name| name == "real") {
        verdicts.extend(real_data("sunnybrook-cine/final_data").iter().flat_map(|folder| contour_verdicts(folder)));
        verdicts.extend(real_data("sunnybrook-slices").iter().flat_map(|folder| mask_verdicts(folder)));
    }
    table(&verdicts);
}
