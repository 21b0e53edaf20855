//! What the machine must have before anything is downloaded, and the command that brings what is missing.

use std::path::PathBuf;

use crate::{Failure, shell};

/// Python versions that have wheels of the pinned torch, newest first.
const PYTHON_MINORS: std::ops::RangeInclusive<u32> = 10..=13;
/// The unpacked wheels with CUDA take 4.7 GB, the build 2 GB.
const NEEDED_DISK_GB: u64 = 8;

/// Checks operating system, compiler, Python and disk; gives the Python to use.
pub fn check(disk_needed: bool) -> Result<PathBuf, Failure> {
    if !(cfg!(target_os = "linux") && cfg!(target_arch = "x86_64")) {
        return Err("groupdistil is built on Linux x86-64 only: the pinned torch wheels are for it".to_owned());
    }
    let mut missing = Vec::new();
    if std::env::var_os("CXX").is_none() && ["c++", "g++", "clang++"].iter().all(|name| shell::find(name).is_none()) {
        missing.push("a C++ compiler: `apt-get install g++` (Fedora: `dnf install gcc-c++`)".to_owned());
    }
    let python = python();
    if python.is_none() {
        missing.push(
            "Python 3.10 to 3.13 with venv: `apt-get install python3 python3-venv` (Fedora: `dnf install python3`)"
                .to_owned(),
        );
    }
    if let (true, Some(free)) = (disk_needed, free_disk_gb())
        && free < NEEDED_DISK_GB
    {
        missing.push(format!("disk: {free} GB are free here, {NEEDED_DISK_GB} GB are needed"));
    }
    match python {
        Some(python) if missing.is_empty() => Ok(python),
        _ => Err(format!("missing on this machine:\n  - {}", missing.join("\n  - "))),
    }
}

/// A Python of a fitting version that can make virtual environments; `python3` first, since it is what the user runs.
fn python() -> Option<PathBuf> {
    let versioned = PYTHON_MINORS.rev().map(|minor| format!("python3.{minor}"));
    std::iter::once("python3".to_owned()).chain(versioned).filter_map(|name| shell::find(&name)).find(|path| {
        let probe = "import sys, venv, ensurepip; print(sys.version_info[0], sys.version_info[1])";
        let version = shell::capture(path, &["-c", probe]).unwrap_or_default();
        PYTHON_MINORS.into_iter().any(|minor| version == format!("3 {minor}"))
    })
}

fn free_disk_gb() -> Option<u64> {
    let project = shell::project();
    let listing = shell::capture(&shell::find("df")?, &["-Pk", project.to_str()?])?;
    let free_kib: u64 = listing.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(free_kib / 1024 / 1024)
}
