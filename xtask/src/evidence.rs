//! The studies by name: each is a pipeline `evidence-NAME.toml`; the digits are written first, by scikit-learn.

#![expect(clippy::print_stdout, reason = "lists the studies")]
use std::process::Command;

use crate::{Failure, setup, shell};

/// Seeds of the studies' cohorts: those of the tables, then those on which settings are chosen.
const SEEDS: [std::ops::Range<u32>; 2] = [0..10, 100..105];

/// Runs one study, or lists them.
pub fn run(arguments: &[&str]) -> Result<(), Failure> {
    let Some((name, rest)) = arguments.split_first() else {
        println!("studies: {}", names().join(", "));
        return Ok(());
    };
    if !names().iter().any(|known| known == name) {
        return Err(format!("there is no study `{name}`; there are: {}", names().join(", ")));
    }
    let digits = *name == "digits";
    setup::setup(&setup::Wanted { cpu_only: false, tests: digits })?;
    if digits {
        write_digits()?;
    }
    let file = shell::project().join(format!("pipelines/evidence-{name}.toml"));
    crate::program(&[&["run", &*file.to_string_lossy()], rest].concat())
}

fn write_digits() -> Result<(), Failure> {
    let project = shell::project();
    let seeds = SEEDS.into_iter().flatten().map(|seed| seed.to_string());
    let mut command = Command::new(project.join(".setup/venv/bin/python"));
    shell::run(command.arg(project.join("benches/evidence_digits.py")).arg(project.join("out/digits")).args(seeds))
}

/// The files of `pipelines/` that are studies, sorted.
fn names() -> Vec<String> {
    shell::names("pipelines", "evidence-", ".toml")
}
