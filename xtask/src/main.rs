//! Set-up, demo, tests and benches of the project, each one command on a fresh machine.

mod bench;
mod evidence;
mod requirements;
mod setup;
mod shell;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  setup [--cpu] [--tests]   bring libtorch into .setup/ (--cpu: the small tree without CUDA; --tests: what the tests need too)
  demo [--quick] [ARGS]     set-up + build + the whole job on the embedded phantom cohort
  test [FILTER]             set-up + format + clippy + documentation + all tests
  bench [NAME]              set-up + a benchmark with its peers (without NAME: lists them)
  evidence [NAME] [ARGS]    set-up + build + a study of methods over seeds (without NAME: lists them)
  run -- ARGS               set-up + build + `groupdistil ARGS`

A LIBTORCH or LIBTORCH_USE_PYTORCH of yours is used instead of the download. After set-up, plain `cargo build`,
`cargo test` and `cargo run` work without any environment variable.
";

/// What went wrong, in words that name the remedy.
pub type Failure = String;

#[expect(clippy::print_stderr, clippy::print_stdout, reason = "a command-line tool")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [] | ["help" | "--help" | "-h", ..] => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        ["setup", flags @ ..] => setup_command(flags),
        ["demo", rest @ ..] => demo(rest),
        ["test", rest @ ..] => test(rest),
        ["bench", rest @ ..] => bench::run(rest),
        ["evidence", rest @ ..] => evidence::run(rest),
        ["run", "--", rest @ ..] | ["run", rest @ ..] => {
            setup::setup(&setup::Wanted::default()).and_then(|()| program(rest))
        }
        [other, ..] => Err(format!("unknown command `{other}`\n\n{HELP}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn setup_command(flags: &[&str]) -> Result<(), Failure> {
    let mut wanted = setup::Wanted::default();
    for flag in flags {
        match *flag {
            "--cpu" => wanted.cpu_only = true,
            "--tests" => wanted.tests = true,
            other => return Err(format!("setup does not know `{other}`; it takes --cpu and --tests")),
        }
    }
    if wanted.cpu_only && wanted.tests {
        return Err("--cpu and --tests exclude each other: the tests compare with PyTorch in Python".to_owned());
    }
    setup::setup(&wanted)
}

fn demo(arguments: &[&str]) -> Result<(), Failure> {
    setup::setup(&setup::Wanted::default())?;
    program(&[&["demo"], arguments].concat())
}

/// Builds and runs the program, in the profile that the tests use too.
fn program(arguments: &[&str]) -> Result<(), Failure> {
    shell::cargo(&[&["run", "--package", "groupdistil", "--"], arguments].concat())
}

/// Cheapest check first.
fn test(filter: &[&str]) -> Result<(), Failure> {
    shell::cargo(&["fmt", "--all", "--check"])
        .map_err(|_| "the code is not formatted; run `cargo fmt --all`".to_owned())?;
    setup::setup(&setup::Wanted { cpu_only: false, tests: true })?;
    shell::cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])?;
    shell::cargo(&["clippy", "--no-default-features", "--all-targets", "--", "--deny", "warnings"])?;
    shell::cargo_with(&["doc", "--no-deps", "--document-private-items"], &[("RUSTDOCFLAGS", "--deny warnings")])?;
    // Tests run side by side: threads of libtorch that spin while they wait would take the others' cores.
    shell::cargo_with(&[&["test", "--workspace", "--"], filter].concat(), &[("OMP_WAIT_POLICY", "PASSIVE")])
}
