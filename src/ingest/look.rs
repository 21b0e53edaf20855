//! What each file is, by name and first bytes, and what its header says. One file at a time, in parallel; no file can stop another.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::discover::Found;
use super::image::{Image, Series};
use super::labels::{self, LabelRow};
use super::ledger::Verdict;
use super::{IngestError, dicom, nifti};
use crate::context::Context;
use crate::fsx;
use crate::settings::ingest::IngestSettings;

/// Files that are looked at before their shared texts are merged: bounds memory.
const CHUNK_FILES: usize = 4096;
/// Enough to tell the format.
const SNIFF_BYTES: u64 = 264;

/// What looking at one file gave.
#[derive(Debug)]
pub enum Look {
    /// Images with geometry.
    Images(Vec<Image>),
    /// A PNG or JPEG: the settings or a sidecar must explain it.
    Picture,
    /// Rows of an information file that lies among the scans.
    Sidecar(Vec<LabelRow>),
    /// The pixel half of a `.hdr` + `.img` pair: shares the fate of its header.
    VolumeData,
    /// Nothing to use, and why.
    Verdict(Verdict),
}

/// Looks at every file; results in the order of `found`.
///
/// # Errors
/// [`IngestError::Interrupted`] alone.
pub fn look(settings: &IngestSettings, found: &[Found], context: Context<'_>) -> Result<Vec<Look>, IngestError> {
    let tables: BTreeSet<PathBuf> = settings.labels.iter().filter_map(|one| one.file.canonicalize().ok()).collect();
    let mut looks = Vec::with_capacity(found.len());
    let mut shared: HashMap<String, Vec<Arc<Series>>> = HashMap::new();
    context.observer.begin("reading headers", Some(found.len() as u64));
    for (chunk, files) in found.chunks(CHUNK_FILES).enumerate() {
        let part: Option<Vec<Look>> = context.pool.install(|| {
            let one = |(index, file): (usize, &Found)| {
                context.observer.advance(1);
                (!context.interrupt.is_set()).then(|| guarded(settings, &tables, file, chunk * CHUNK_FILES + index))
            };
            files.par_iter().enumerate().map(one).collect()
        });
        let Some(mut part) = part else {
            context.observer.end();
            return Err(IngestError::Interrupted);
        };
        part.iter_mut().for_each(|look| share(look, &mut shared));
        looks.extend(part);
    }
    context.observer.end();
    Ok(looks)
}

/// A decoder that panics on a malformed file rejects that file alone.
fn guarded(settings: &IngestSettings, tables: &BTreeSet<PathBuf>, file: &Found, index: usize) -> Look {
    catch_unwind(AssertUnwindSafe(|| look_at(settings, tables, file, index))).unwrap_or_else(|_| {
        Look::Verdict(Verdict::rejected(
            "malformed",
            "the header is malformed: the reader gave up; export the file again",
        ))
    })
}

fn look_at(settings: &IngestSettings, tables: &BTreeSet<PathBuf>, file: &Found, index: usize) -> Look {
    if let Some(problem) = &file.problem {
        return Look::Verdict(Verdict::rejected("unreadable", &format!("cannot be read: {problem}")));
    }
    let path = file.path.as_path();
    if path.to_str().is_none() {
        let message = "the path is not UTF-8 and cannot be written down; rename the file or its folder";
        return Look::Verdict(Verdict::rejected("path-not-utf8", message));
    }
    if settings.exclude.iter().any(|pattern| pattern.is_match(&file.relative)) {
        return Look::Verdict(Verdict::skipped("excluded", "fits an `exclude` pattern of the settings"));
    }
    if !tables.is_empty() && path.canonicalize().is_ok_and(|real| tables.contains(&real)) {
        return Look::Verdict(Verdict::used("labels", "read as a label table"));
    }
    if file.bytes == 0 {
        return Look::Verdict(Verdict::rejected("empty-file", "0 bytes: the copy was cut off; copy the file again"));
    }
    match sniff(path) {
        Ok(start) => by_content(file, &start, index),
        Err(message) => Look::Verdict(Verdict::rejected("unreadable", &message)),
    }
}

/// The first bytes; the message of an error is without the path.
fn sniff(path: &Path) -> Result<Vec<u8>, String> {
    let read = |file: std::fs::File| {
        let mut start = Vec::new();
        file.take(SNIFF_BYTES).read_to_end(&mut start).map(|_| start)
    };
    let reason = |error: &std::io::Error| format!("cannot be read: {}; check its permissions", error.kind());
    match fsx::open(path) {
        Ok(file) => read(file).map_err(|error| reason(&error)),
        Err(fsx::FsError::Io { source, .. }) => Err(reason(&source)),
        Err(_) => Err("cannot be read".to_owned()),
    }
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default()
}

fn by_content(file: &Found, start: &[u8], index: usize) -> Look {
    let path = file.path.as_path();
    if nifti::is_nifti(path) {
        return nifti_file(file, index);
    }
    let extension = extension(path);
    if nifti::header_of(path).is_some_and(|header| header.is_file()) {
        return Look::VolumeData;
    }
    if start.starts_with(b"\x89PNG\r\n\x1a\n") || start.starts_with(b"\xff\xd8\xff") {
        return Look::Picture;
    }
    if let Some(kind) = archive(start) {
        let message = format!("a {kind} archive: unpack it and ingest the folder");
        return Look::Verdict(Verdict::rejected("archive", &message));
    }
    if start.get(128..132) == Some(b"DICM") {
        return match dicom::read(path, index, file.bytes) {
            Ok(Ok(images)) => Look::Images(images),
            Ok(Err(verdict)) => Look::Verdict(verdict),
            Err(error) => Look::Verdict(Verdict::rejected(error.reason(), &error.to_string())),
        };
    }
    if extension == "csv"
        && let Some(rows) = labels::read_mnms(path)
    {
        return Look::Sidecar(rows);
    }
    if extension == "dcm" || is_bare_data_set(start) {
        let message = "DICOM without preamble and file meta information; add them, for example with `dcmconv`";
        return Look::Verdict(Verdict::rejected("not-dicom", message));
    }
    Look::Verdict(Verdict::skipped("not-an-image", "neither DICOM, NIfTI, PNG nor JPEG"))
}

/// Begins with an element of group 0002 or 0008 in little endian, as data sets without a preamble do.
fn is_bare_data_set(start: &[u8]) -> bool {
    matches!(start, [2 | 8, 0, _, 0, b'A'..=b'Z', b'A'..=b'Z', ..] | [8, 0, _, 0, _, 0, 0, 0, ..])
}

fn archive(start: &[u8]) -> Option<&'static str> {
    const MAGIC: [(&[u8], &str); 7] = [
        (b"PK\x03\x04", "zip"),
        (b"\x1f\x8b", "gzip"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"Rar!", "rar"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
    ];
    let tar = (start.get(257..262) == Some(b"ustar")).then_some("tar");
    MAGIC.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, kind)| *kind).or(tar)
}

/// Masks are named after their image by all public collections of cardiac NIfTI.
fn is_segmentation(path: &Path) -> bool {
    let stem = nifti::stem(path).to_lowercase();
    ["_gt", "_seg", "_mask", "_label", "_segmentation"].iter().any(|ending| stem.ends_with(ending))
}

fn nifti_file(file: &Found, index: usize) -> Look {
    if is_segmentation(&file.path) {
        return Look::Verdict(Verdict::skipped("segmentation", "a segmentation mask by its name, not an image"));
    }
    match nifti::read(&file.path, &file.relative, index, file.bytes) {
        Ok(images) => Look::Images(images),
        Err(error) => Look::Verdict(Verdict::rejected(error.reason(), &error.to_string())),
    }
}

/// Files of one series say the same of patient and scanner: one copy is kept.
fn share(look: &mut Look, shared: &mut HashMap<String, Vec<Arc<Series>>>) {
    let Look::Images(images) = look else { return };
    for image in images {
        let known = shared.entry(image.series.series_uid.clone()).or_default();
        match known.iter().find(|series| ***series == *image.series) {
            Some(series) => image.series = Arc::clone(series),
            None => known.push(Arc::clone(&image.series)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_known_by_their_first_bytes() {
        assert_eq!(archive(b"PK\x03\x04rest"), Some("zip"));
        let mut tar = vec![b'a'; 257];
        tar.extend(b"ustar\0");
        assert_eq!(archive(&tar), Some("tar"));
        assert_eq!(archive(b"plain text"), None);
    }

    #[test]
    fn masks_are_told_by_their_names() {
        assert!(is_segmentation(Path::new("a/A0S9V9_sa_gt.nii.gz")));
        assert!(!is_segmentation(Path::new("a/A0S9V9_sa.nii.gz")));
    }
}
