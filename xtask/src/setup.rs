//! Brings libtorch, as the pip wheel of torch, into `.setup/` of the project, and for the tests the programs they compare with.
//!
//! Each finished step leaves a stamp that holds what it was made from: an interrupted set-up goes on where it stopped, and a
//! changed version is brought anew. Nothing outside `.setup/` is touched, but for Debian packages when root runs the tests.

#![expect(clippy::print_stdout, reason = "set-up says what it does")]
#![expect(clippy::disallowed_methods, reason = "xtask is no part of the library whose file access goes through fsx")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Failure, requirements, shell};

/// tch 0.24 binds this version exactly.
const TORCH: &str = "torch==2.11.0";
/// What the CPU libraries of that wheel still link against.
const CUDA_STUBS: [&str; 2] = ["nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"];
/// Programs that tests compare with, and the Debian packages that hold them.
const DEBIAN_PROGRAMS: [(&str, &str); 2] = [("dciodvfy", "dicom3tools"), ("dcm2niix", "dcm2niix")];

/// What set-up shall bring.
#[derive(Debug, Default)]
pub struct Wanted {
    /// The small tree without CUDA.
    pub cpu_only: bool,
    /// Python and Debian packages of the tests.
    pub tests: bool,
}

/// Makes the machine ready; does nothing when it is.
pub fn setup(wanted: &Wanted) -> Result<(), Failure> {
    let folder = shell::project().join(".setup");
    let users_own = users_libtorch(&folder);
    let ready = stamp_holds(&folder, "libtorch", &libtorch_stamp(wanted)) || (!wanted.cpu_only && has_full(&folder));
    let python = requirements::check(!ready && users_own.is_none())?;
    fs::create_dir_all(&folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    match users_own {
        Some(variable) => println!("libtorch: your {variable} is used"),
        None if ready => {}
        None if wanted.cpu_only => bring_cpu_tree(&folder, &python)?,
        None => bring_full(&folder, &python)?,
    }
    if wanted.tests { bring_test_programs(&folder, &python) } else { Ok(()) }
}

/// The user's own variable, unless it is the one that `.cargo/config.toml` sets.
fn users_libtorch(folder: &Path) -> Option<&'static str> {
    if std::env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        return Some("LIBTORCH_USE_PYTORCH");
    }
    let ours = folder.join("libtorch");
    std::env::var_os("LIBTORCH").is_some_and(|value| Path::new(&value) != ours).then_some("LIBTORCH")
}

fn libtorch_stamp(wanted: &Wanted) -> String {
    format!("{TORCH}{}", if wanted.cpu_only { " cpu" } else { "" })
}

fn has_full(folder: &Path) -> bool {
    stamp_holds(folder, "libtorch", TORCH)
}

fn bring_full(folder: &Path, python: &Path) -> Result<(), Failure> {
    println!("libtorch: installing {TORCH} into .setup/venv (about 4.7 GB; a minute or more)");
    let venv_python = virtual_environment(folder, python)?;
    pip(&venv_python, &["install", TORCH])?;
    link_libtorch(folder, &torch_folder(&venv_python)?)?;
    write_stamp(folder, "libtorch", TORCH)
}

/// Unpacks the wheel without its CUDA dependencies and keeps what a CPU build links and loads.
fn bring_cpu_tree(folder: &Path, python: &Path) -> Result<(), Failure> {
    println!("libtorch: unpacking the CPU part of {TORCH} into .setup/libtorch-cpu (about 0.5 GB)");
    let venv_python = virtual_environment(folder, python)?;
    let unpacked = folder.join("cpu-wheels");
    let target = unpacked.display().to_string();
    let flags = ["install", "--no-deps", "--upgrade", "--target", target.as_str(), TORCH];
    pip(&venv_python, &[flags.as_slice(), &CUDA_STUBS].concat())?;
    let tree = folder.join("libtorch-cpu");
    remove(&tree)?;
    prune(&unpacked, &tree)?;
    remove(&unpacked)?;
    link_libtorch(folder, &tree)?;
    write_stamp(folder, "libtorch", &libtorch_stamp(&Wanted { cpu_only: true, tests: false }))
}

/// Moves headers and the libraries that a CPU process loads from the unpacked wheels to `tree`.
fn prune(unpacked: &Path, tree: &Path) -> Result<(), Failure> {
    let fail = |error| format!("cannot make {}: {error}", tree.display());
    let libraries = tree.join("lib");
    fs::create_dir_all(&libraries).map_err(fail)?;
    fs::rename(unpacked.join("torch/include"), tree.join("include")).map_err(fail)?;
    let wanted = ["libc10.so", "libtorch_cpu.so", "libtorch.so", "libgomp", "libcudart", "libcupti"];
    for source in [unpacked.join("torch/lib"), unpacked.join("nvidia/cu13/lib")] {
        for entry in fs::read_dir(&source).map_err(|error| format!("cannot list {}: {error}", source.display()))? {
            let entry = entry.map_err(fail)?;
            if wanted.iter().any(|name| entry.file_name().to_string_lossy().starts_with(name)) {
                fs::rename(entry.path(), libraries.join(entry.file_name())).map_err(fail)?;
            }
        }
    }
    Ok(())
}

fn bring_test_programs(folder: &Path, python: &Path) -> Result<(), Failure> {
    let list = shell::project().join("tests/python/requirements.txt");
    let wanted = fs::read_to_string(&list).map_err(|error| format!("cannot read {}: {error}", list.display()))?;
    if !stamp_holds(folder, "tests", &wanted) {
        println!("tests: installing the Python packages of tests/python/requirements.txt into .setup/venv");
        let venv_python = virtual_environment(folder, python)?;
        pip(&venv_python, &["install", "--requirement", &list.display().to_string()])?;
        write_stamp(folder, "tests", &wanted)?;
    }
    bring_debian_packages()
}

/// Installs the Python packages that benchmarks are measured against; [`setup`] has made the virtual environment.
pub fn bring_peers() -> Result<(), Failure> {
    let folder = shell::project().join(".setup");
    let list = shell::project().join("benches/requirements.txt");
    let wanted = fs::read_to_string(&list).map_err(|error| format!("cannot read {}: {error}", list.display()))?;
    if stamp_holds(&folder, "benches", &wanted) {
        return Ok(());
    }
    println!("bench: installing the Python packages of benches/requirements.txt into .setup/venv");
    pip(&folder.join("venv/bin/python"), &["install", "--requirement", &list.display().to_string()])?;
    write_stamp(&folder, "benches", &wanted)
}

/// Installs what is missing when root runs on Debian; otherwise the tests that need a package skip by name.
fn bring_debian_packages() -> Result<(), Failure> {
    let missing: Vec<&str> = DEBIAN_PROGRAMS
        .iter()
        .filter(|(program, _)| shell::find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let root = shell::find("id").and_then(|id| shell::capture(&id, &["-u"])).is_some_and(|user| user == "0");
    let (true, Some(apt)) = (root, shell::find("apt-get")) else {
        println!("tests: without {}: their tests skip (as root: apt-get install {0})", missing.join(" "));
        return Ok(());
    };
    println!("tests: installing the Debian packages {}", missing.join(" "));
    let quiet = |arguments: &[&str]| {
        shell::run(Command::new(&apt).args(["-q", "-y"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    quiet(&["update"])?;
    quiet(&[&["install", "--no-install-recommends"], missing.as_slice()].concat())
}

fn virtual_environment(folder: &Path, python: &Path) -> Result<PathBuf, Failure> {
    let venv = folder.join("venv");
    let venv_python = venv.join("bin/python");
    if shell::capture(&venv_python, &["-c", "import pip"]).is_none() {
        remove(&venv)?;
        shell::run(Command::new(python).args(["-m", "venv"]).arg(&venv))?;
    }
    Ok(venv_python)
}

fn pip(python: &Path, arguments: &[&str]) -> Result<(), Failure> {
    let flags = ["-m", "pip", "--disable-pip-version-check"];
    shell::run(Command::new(python).args(flags).args(arguments)).map_err(|error| {
        format!("{error}\n(needs a Python package index; run the same command again to go on where it stopped)")
    })
}

/// Asked without importing torch, which takes seconds.
fn torch_folder(python: &Path) -> Result<PathBuf, Failure> {
    let probe = "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])";
    shell::capture(python, &["-c", probe]).map(PathBuf::from).ok_or_else(|| "torch was not installed".to_owned())
}

/// A fixed path inside the project lets `.cargo/config.toml` name libtorch for every tool.
fn link_libtorch(folder: &Path, target: &Path) -> Result<(), Failure> {
    let link = folder.join("libtorch");
    if fs::symlink_metadata(&link).is_ok() {
        fs::remove_file(&link).map_err(|error| format!("cannot replace {}: {error}", link.display()))?;
    }
    let relative = target.strip_prefix(folder).unwrap_or(target);
    symlink(relative, &link).map_err(|error| format!("cannot link {}: {error}", link.display()))
}

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

fn stamp_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.stamp"))
}

fn stamp_holds(folder: &Path, name: &str, content: &str) -> bool {
    fs::read_to_string(stamp_path(folder, name)).is_ok_and(|found| found == content)
        && (name != "libtorch" || folder.join("libtorch/lib/libtorch_cpu.so").exists())
}

fn write_stamp(folder: &Path, name: &str, content: &str) -> Result<(), Failure> {
    let path = stamp_path(folder, name);
    fs::write(&path, content).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
