//! What the tests share: running the binary and Python, finding real scans, and skipping by name.
#![allow(dead_code, reason = "not every test module uses every helper")]
#![expect(clippy::print_stderr, reason = "a skip must be seen")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The project's folder.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program under test, quiet, with arguments.
pub fn groupdistil(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_groupdistil"));
    command.args(arguments).env("XDG_CONFIG_HOME", config_home());
    // Tests run side by side: threads that spin while they wait would take the others' cores.
    command.env("OMP_WAIT_POLICY", "PASSIVE");
    command
}

/// A configuration folder of the tests, so that no test touches the user's key.
fn config_home() -> PathBuf {
    std::env::temp_dir().join(format!("groupdistil-test-config-{}", std::process::id()))
}

/// Runs and expects exit code `code`; otherwise fails with both streams.
#[track_caller]
pub fn expect_exit(command: &mut Command, code: i32) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert_eq!(
        output.status.code(),
        Some(code),
        "{command:?}\n--- stdout\n{}\n--- stderr\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Says that a test was skipped; with `GROUPDISTIL_REQUIRE_ALL=1` that is a failure.
pub fn skip(test: &str, reason: &str) {
    assert!(std::env::var_os("GROUPDISTIL_REQUIRE_ALL").is_none(), "{test} was skipped: {reason}");
    skip_on_this_machine(test, reason);
}

/// Says that a test was skipped for what this machine is or forbids, which no set-up changes; never a failure.
pub fn skip_on_this_machine(test: &str, reason: &str) {
    eprintln!("skipped {test}: {reason}");
}

/// The project's Python with the test packages, brought by `cargo xtask setup`; `None` is a skip.
pub fn python(test: &str) -> Option<PathBuf> {
    let python = project().join(".setup/venv/bin/python");
    if python.is_file() {
        return Some(python);
    }
    skip(test, "no .setup/venv; run `cargo xtask setup --tests`");
    None
}

/// Runs `tests/python/<script>` and expects success; `None` is a skip.
#[track_caller]
pub fn run_python(test: &str, script: &str, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(python(test)?);
    command.arg(project().join("tests/python").join(script)).args(arguments);
    Some(expect_exit(&mut command, 0))
}

/// A program from a Debian package; `None` is a skip that names the package.
pub fn debian_program(test: &str, program: &str, package: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        skip(test, &format!("`{program}` is missing; apt-get install {package}"));
    }
    found
}

/// A folder of real scans in `../shared/data`; `None` is a skip (users do not have it).
pub fn real_data(test: &str, folder: &str) -> Option<PathBuf> {
    let path = project().join("../shared/data").join(folder);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped {test}: {} is not there", path.display());
    None
}
