//! `groupdistil doctor`: what this machine has, what is missing, and whether a model file works here.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::failure::CliError;
use super::{Global, print_result};

/// Arguments of `groupdistil doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  groupdistil doctor
  groupdistil doctor --model student.pt     # does this model give its golden output on this machine?")]
pub struct DoctorArgs {
    /// Also run a model file's golden input and compare with the output it was exported with.
    #[arg(long, value_name = "MODEL.pt")]
    pub model: Option<PathBuf>,
}

/// Runs `groupdistil doctor`.
pub fn doctor(args: &DoctorArgs, global: &Global) -> Result<(), CliError> {
    let mut report = json!({
        "schema": "groupdistil.doctor/1",
        "groupdistil": env!("CARGO_PKG_VERSION"),
        "threads": global.thread_count(),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
    });
    add_torch(&mut report, args, global)?;
    if global.json {
        return print_result(&format!("{report}\n"));
    }
    print_result(&readable(&report))
}

#[cfg(feature = "torch")]
fn add_torch(report: &mut Value, args: &DoctorArgs, global: &Global) -> Result<(), CliError> {
    use crate::torch::device::{choose_device, cuda_devices};
    let count = cuda_devices();
    report["libtorch"] = json!("2.11.0");
    report["cuda_devices"] = json!(count);
    report["device"] = json!(format!("{:?}", choose_device(&global.device)?).to_lowercase());
    report["remedies"] = json!(remedies(count));
    if let Some(path) = &args.model {
        let metadata = crate::export::verify::read_metadata(path)?;
        if !crate::predict::makes_its_images(&metadata) {
            return Err(crate::predict::other_images(&metadata, path).into());
        }
        report["model"] = json!(crate::export::verify::verify(path, choose_device(&global.device)?)?);
    }
    Ok(())
}

#[cfg(not(feature = "torch"))]
fn add_torch(report: &mut Value, args: &DoctorArgs, _global: &Global) -> Result<(), CliError> {
    let remedy = "built without libtorch: ingest, preprocess and audit work; build with default features for the rest";
    report["remedies"] = json!([remedy]);
    match args.model {
        Some(_) => Err(CliError::new(crate::failure::FailureKind::Unusable, remedy)),
        None => Ok(()),
    }
}

/// Why there is no GPU, and what to do about it, as far as this machine shows it.
#[cfg(feature = "torch")]
fn remedies(cuda_devices: i64) -> Vec<&'static str> {
    let driver = std::path::Path::new("/proc/driver/nvidia/version").exists();
    match (cuda_devices, driver) {
        (0, true) => vec![
            "an NVIDIA driver is there but libtorch sees no GPU: the build may be the CPU tree; run `cargo xtask setup` \
             without --cpu and build again, or check `nvidia-smi`",
        ],
        (0, false) => vec!["no NVIDIA driver on this machine: networks run on the CPU"],
        _ => vec![],
    }
}

fn readable(report: &Value) -> String {
    let mut text = String::new();
    for (name, key) in [
        ("groupdistil", "groupdistil"),
        ("libtorch", "libtorch"),
        ("CUDA devices", "cuda_devices"),
        ("device", "device"),
        ("worker threads", "threads"),
        ("cores", "cores"),
    ] {
        let value = &report[key];
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.push_str(&format!("{name:16}{}\n", if value.is_null() { "not built in".to_owned() } else { shown }));
    }
    for remedy in report["remedies"].as_array().into_iter().flatten() {
        text.push_str(&format!("note: {}\n", remedy.as_str().unwrap_or_default()));
    }
    if let Some(difference) = report["model"]["largest_difference"].as_f64() {
        text.push_str(&format!("model: makes the images of its training and gives its golden output here (largest difference {difference:.1e})\n"));
    }
    text
}
