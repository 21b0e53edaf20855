//! The folder of de-identified copies: which file goes where, and the folder's own rules (private, one writer, complete only with
//! `deidentified.json`).
//!
//! `<subject_id>/<stack_id>/<slice>_<phase>.dcm`, a multi-frame file named by its first frame; NIfTI as
//! `<subject_id>/volume<number>[_<words>].nii.gz`, so that ingest takes the folder for the subject.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::content::{Content, Opener, unpack};
use super::super::nifti::{image_file, is_header, stem};
use super::super::privacy::Pseudonyms;
use super::super::{IngestError, Scan};
use super::dataset::Subject;
use super::words::cleaned;
use super::{DeidentifyError, FILE_BYTES_CAP, METHOD_CODES, nifti, part10};
use crate::context::Context;
use crate::formats::cohort::{FrameRow, StackRow};
use crate::formats::table::{Column, Table};
use crate::fsx;
use crate::outdir::{Opened, OutDir, OutDirError, Provenance, fingerprint};

const FOLDER_JSON: &str = "deidentified.json";
const SCHEMA: &str = "groupdistil.deidentified/1";
/// Which copy holds what, by pseudonyms.
const FILES_CSV: &str = "files.csv";
/// Raised when the same input gives other copies.
const GENERATION: &str = "deidentify generation 2";
/// `deidentified.json` is small.
const JSON_CAP_BYTES: u64 = 1 << 20;

/// What was exported: counts alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeidentifySummary {
    schema: String,
    /// The profile and its options, DCM codes.
    method: Vec<String>,
    /// Copies written, by format.
    pub files: BTreeMap<String, usize>,
    /// Files that gave frames and have no copy, by reason.
    pub not_exported: BTreeMap<String, usize>,
}

/// One file and its copy.
struct Planned<'a> {
    source: &'a str,
    stack: &'a StackRow,
    first: &'a FrameRow,
    /// Below the folder; without ending for NIfTI.
    name: String,
}

/// The folder of copies: complete already, or open for work.
#[derive(Debug)]
pub(in super::super) enum Export {
    /// Made from the same before.
    UpToDate(DeidentifySummary),
    /// To be filled.
    Work(OutDir, Provenance),
}

impl Export {
    /// Opens the folder `out` for the copies of a cohort that was made from what `inputs` stands for, on `threads` threads.
    ///
    /// # Errors
    /// [`IngestError::OutDir`]: it belongs to something else and `force` is not given.
    pub fn open(out: &Path, force: bool, inputs: &str, threads: usize) -> Result<Self, IngestError> {
        let inputs = fingerprint([GENERATION.as_bytes(), inputs.as_bytes()]);
        let opened = OutDir::open(out, FOLDER_JSON, &inputs, force)?;
        fsx::make_private(out)?;
        match opened {
            Opened::UpToDate => Ok(Self::UpToDate(read_summary(out)?)),
            Opened::Work(folder) => Ok(Self::Work(folder, Provenance::begin(threads, "cpu"))),
        }
    }

    /// Gives the folder up before anything was written into it.
    pub fn abandon(self) -> Result<(), OutDirError> {
        match self {
            Self::UpToDate(_) => Ok(()),
            Self::Work(folder, _) => folder.abandon(),
        }
    }

    /// Writes the copies, unless they are there.
    ///
    /// # Errors
    /// [`IngestError`]: the folder cannot be written, or the user asked to stop. A file that cannot be copied is counted.
    pub fn write(self, scan: &Scan, ids: &Pseudonyms, context: Context<'_>) -> Result<DeidentifySummary, IngestError> {
        let (folder, provenance) = match self {
            Self::UpToDate(summary) => return Ok(summary),
            Self::Work(folder, provenance) => (folder, provenance),
        };
        let files = first_frames(scan);
        let pictures = files.values().filter(|(stack, _)| stack.source_format == "image").count();
        let planned = plan(files);
        let written = write_all(&folder, &planned, ids, context)?;
        let mut summary = DeidentifySummary {
            schema: SCHEMA.to_owned(),
            method: METHOD_CODES.iter().map(|(code, _)| (*code).to_owned()).collect(),
            files: BTreeMap::new(),
            not_exported: BTreeMap::new(),
        };
        let mut rows = Vec::new();
        for (planned, written) in planned.iter().zip(written) {
            match written {
                Ok(names) => {
                    *summary.files.entry(planned.stack.source_format.clone()).or_default() += 1;
                    rows.extend(names.into_iter().map(|name| (name, planned)));
                }
                Err(problem) => {
                    tracing::warn!(file = planned.source, %problem, "no de-identified copy");
                    *summary.not_exported.entry(problem.reason().to_owned()).or_default() += 1;
                }
            }
        }
        if pictures > 0 {
            // They have no header to clean and are not copied.
            *summary.not_exported.entry("picture".to_owned()).or_default() += pictures;
        }
        files_table(&rows).write_csv(&folder.path(FILES_CSV))?;
        folder.complete(&provenance.end(), &summary)?;
        Ok(summary)
    }
}

/// Names of the copies of each file, or why there is none.
type Copied = Result<Vec<String>, DeidentifyError>;

fn write_all(
    folder: &OutDir,
    planned: &[Planned<'_>],
    ids: &Pseudonyms,
    context: Context<'_>,
) -> Result<Vec<Copied>, IngestError> {
    let folders: BTreeSet<PathBuf> =
        planned.iter().filter_map(|one| folder.path(&one.name).parent().map(Path::to_path_buf)).collect();
    folders.iter().try_for_each(|folder| fsx::create_folder(folder))?;
    let opener = Opener::new();
    context.observer.begin("de-identified copies", Some(planned.len() as u64));
    let one = |planned: &Planned<'_>| {
        if context.interrupt.is_set() {
            return Err(IngestError::Interrupted);
        }
        let copied = write_copy(folder, planned, ids, &opener);
        context.observer.advance(1);
        copied
    };
    let written = context.pool.install(|| planned.par_iter().map(one).collect());
    context.observer.end();
    written
}

fn read_summary(out: &Path) -> Result<DeidentifySummary, IngestError> {
    let path = out.join(FOLDER_JSON);
    let text = fsx::read_text(&path, JSON_CAP_BYTES)?;
    Ok(serde_json::from_str(&text).map_err(|source| OutDirError::Json { path, source })?)
}

fn files_table(rows: &[(String, &Planned<'_>)]) -> Table {
    let text =
        |value: fn(&(String, &Planned<'_>)) -> String| Column::Text(rows.iter().map(|row| Some(value(row))).collect());
    let number = |value: fn(&FrameRow) -> i32| Column::Int32(rows.iter().map(|row| Some(value(row.1.first))).collect());
    Table::new()
        .with("file", text(|row| row.0.clone()))
        .with("subject_id", text(|row| row.1.stack.subject_id.clone()))
        .with("stack_id", text(|row| row.1.stack.stack_id.clone()))
        .with("first_slice", number(|first| first.slice))
        .with("first_phase", number(|first| first.phase))
}

/// Files with their stack and their earliest frame, by path.
type Files<'a> = BTreeMap<&'a str, (&'a StackRow, &'a FrameRow)>;

/// All files that gave frames.
fn first_frames(scan: &Scan) -> Files<'_> {
    let stacks: BTreeMap<&str, &StackRow> = scan.stacks.iter().map(|stack| (stack.stack_id.as_str(), stack)).collect();
    let mut files = Files::new();
    for frame in &scan.frames {
        let Some(stack) = stacks.get(frame.stack_id.as_str()) else { continue };
        let known = files.entry(&frame.path).or_insert((stack, frame));
        if frame.frame < known.1.frame {
            *known = (stack, frame);
        }
    }
    files
}

fn plan(files: Files<'_>) -> Vec<Planned<'_>> {
    let mut files: Vec<_> = files.into_iter().collect();
    // By pseudonyms, so that neither names nor folders of the source matter.
    files.sort_by_key(|(_, (stack, first))| (&stack.subject_id, &stack.stack_id, first.slice, first.phase));
    let mut volumes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut planned = Vec::with_capacity(files.len());
    for (source, (stack, first)) in files {
        let name = match stack.source_format.as_str() {
            "dicom" => {
                format!("{}/{}/{:04}_{:04}.dcm", stack.subject_id, stack.stack_id, first.slice, first.phase)
            }
            "nifti" => {
                let number = volumes.entry(&stack.subject_id).or_default();
                *number += 1;
                let words = cleaned(&stem(Path::new(source)), &[]);
                let words = if words.is_empty() { words } else { format!("_{words}") };
                format!("{}/volume{number:04}{words}", stack.subject_id)
            }
            _ => continue,
        };
        planned.push(Planned { source, stack, first, name });
    }
    planned
}

/// Writes the copy of one file; gives the names below the folder.
fn write_copy(
    folder: &OutDir,
    planned: &Planned<'_>,
    ids: &Pseudonyms,
    opener: &Opener,
) -> Result<Copied, IngestError> {
    // A library that panics on a malformed file loses that file alone.
    let made = catch_unwind(AssertUnwindSafe(|| copies(planned, ids, opener))).unwrap_or(Err(DeidentifyError::Damaged));
    let copies = match made {
        Ok(copies) => copies,
        Err(problem) => return Ok(Err(problem)),
    };
    for (name, bytes) in &copies {
        fsx::write_bulk(&folder.path(name), bytes)?;
    }
    Ok(Ok(copies.into_iter().map(|(name, _)| name).collect()))
}

/// Names and bytes of the copies of one file: one, or the two halves of a NIfTI pair.
fn copies(planned: &Planned<'_>, ids: &Pseudonyms, opener: &Opener) -> Result<Vec<(String, Vec<u8>)>, DeidentifyError> {
    let Planned { source, stack, name, .. } = planned;
    let path = Path::new(source);
    let content = opener.open(path).map_err(|_| DeidentifyError::Unreadable)?;
    if stack.source_format == "dicom" {
        let subject = Subject { id: stack.subject_id.clone(), sex: stack.sex.clone(), age_years: stack.age_years };
        let bytes = plain_bytes(&content)?;
        return Ok(vec![(name.clone(), part10::copy(&bytes, name, &subject, ids)?)]);
    }
    if is_header(path) {
        let voxels = image_file(opener, path).map_err(|_| DeidentifyError::Unreadable)?;
        let (header, voxels) = nifti::pair(&plain_bytes(&content)?, &plain_bytes(&voxels)?)?;
        return Ok(vec![(format!("{name}.hdr"), header), (format!("{name}.img"), voxels)]);
    }
    Ok(vec![(format!("{name}.nii.gz"), gzip(&nifti::single(&plain_bytes(&content)?)?)?)])
}

/// All bytes of a content, unpacked where it is packed.
fn plain_bytes(content: &Content) -> Result<Vec<u8>, DeidentifyError> {
    let plain = unpack::undone(content).map_err(|_| DeidentifyError::Damaged)?;
    if plain.bytes() > FILE_BYTES_CAP {
        return Err(DeidentifyError::Damaged);
    }
    plain.start(usize::MAX).map_err(|_| DeidentifyError::Unreadable)
}

/// Without name and time, so that equal bytes pack equally.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>, DeidentifyError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).map_err(|_| DeidentifyError::Damaged)
}
