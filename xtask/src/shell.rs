//! Running other programs with their output shown.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;

/// The project's folder.
pub fn project() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// Runs a command in the project's folder; failure is an error that shows the command.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    let shown = show(command);
    let status = command.current_dir(project()).status().map_err(|error| format!("cannot start {shown}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown} failed ({status})")) }
}

/// Runs a command and gives its stdout; `None` when it cannot run or fails.
pub fn capture(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs cargo with arguments.
pub fn cargo(arguments: &[&str]) -> Result<(), Failure> {
    cargo_with(arguments, &[])
}

/// Runs cargo with arguments and extra environment variables.
pub fn cargo_with(arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo).args(arguments).envs(environment.iter().copied()))
}

/// A program found in PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn show(command: &Command) -> String {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    format!("`{} {}`", command.get_program().to_string_lossy(), words.join(" "))
}

/// What stands between `prefix` and `suffix` in the names of a folder's files, sorted.
pub fn names(folder: &str, prefix: &str, suffix: &str) -> Vec<String> {
    let entries = std::fs::read_dir(project().join(folder)).into_iter().flatten().flatten();
    let between = |name: &str| Some(name.strip_prefix(prefix)?.strip_suffix(suffix)?.to_owned());
    let mut names: Vec<String> = entries.filter_map(|entry| between(entry.file_name().to_str()?)).collect();
    names.sort();
    names
}
