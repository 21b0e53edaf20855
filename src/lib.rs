//! `groupdistil`: from cardiac MRI scans of many scanners to a compact, scanner-robust, audited classifier.
//!
//! ```text
//! sources (DICOM, NIfTI, images + CSV)
//!   -> ingest      every file used, skipped or rejected with a reason; stacks, labels, groups      COHORT
//!   -> preprocess  cine slices to comparable images, split by subject                              DATASET
//!   -> train       teacher, then student: ERM | KD | GroupDRO | GroupDistil | JTT | AGRE-KD | DFR  RUN
//!   -> export      self-describing TorchScript                                                     MODEL.pt
//!   -> audit       per-site report with subject-level intervals and a gate                         REPORT
//! ```
//!
//! Conventions: lengths in mm, times in ms, field strength in T, each with its suffix; patient coordinates are DICOM's LPS;
//! indices are 0-based; undefined numbers are `None`, never 0 or NaN; errors name the file and the remedy.
//!
//! Features: `torch` (default) brings everything that needs libtorch; all else builds and is tested without it.
//!
//! Imports point downward only (`tests/house.rs` holds this):
//! `main -> cli -> {pipeline, evidence} -> {predict, compare, export, train} -> {model, objective, dataset} -> torch -> {settings, formats}`
//! and `{audit, preprocess} -> {ingest, metrics, sheet, phantom} -> {settings, formats, geometry, page}`; all may use the ground floor
//! (`fsx`, `outdir`, `context`, `failure`); `train` draws its curves with `page`.

pub mod context;
pub mod failure;
pub mod fsx;
pub mod outdir;

pub mod formats;
pub mod geometry;
pub mod page;
pub mod settings;

pub mod audit;
pub mod ingest;
pub mod metrics;
pub mod phantom;
pub mod preprocess;
pub mod sheet;

pub mod dataset;
pub mod objective;

#[cfg(feature = "torch")]
pub mod compare;
#[cfg(feature = "torch")]
pub mod evidence;
#[cfg(feature = "torch")]
pub mod export;
#[cfg(feature = "torch")]
pub mod model;
#[cfg(feature = "torch")]
pub mod predict;
#[cfg(feature = "torch")]
pub mod torch;
#[cfg(feature = "torch")]
pub mod train;

pub mod cli;
#[cfg(feature = "torch")]
pub mod pipeline;
