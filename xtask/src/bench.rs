//! The benchmarks by name: each is a cargo bench that measures its peers in the same run.

#![expect(clippy::print_stdout, reason = "lists the benchmarks")]
use crate::{Failure, setup, shell};

/// Runs one benchmark, or lists them.
pub fn run(arguments: &[&str]) -> Result<(), Failure> {
    let Some((name, rest)) = arguments.split_first() else {
        println!("benchmarks: {}", names().join(", "));
        return Ok(());
    };
    if !names().iter().any(|known| known == name) {
        return Err(format!("there is no benchmark `{name}`; there are: {}", names().join(", ")));
    }
    setup::setup(&setup::Wanted { cpu_only: false, tests: true })?;
    if *name == "preprocess" {
        setup::bring_peers()?;
    }
    shell::cargo(&[&["bench", "--profile", "dev", "--bench", name, "--"], rest].concat())
}

/// The files of `benches/`, sorted.
fn names() -> Vec<String> {
    shell::names("benches", "", ".rs")
}
