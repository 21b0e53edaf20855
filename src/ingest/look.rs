//! What each file is, by name and first bytes, and what its header says. One file at a time, in parallel; no file can stop another.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::content::{Archive, Content, ContentError, Kind, Opener, Peeked, member_path, unpack};
use super::dicom::header::{self, WINDOW_BYTES, looks_like_dicom};
use super::discover::{Found, Identity, identity};
use super::image::{Image, Series};
use super::labels::{self, LabelRow};
use super::ledger::Verdict;
use super::pixels::picture;
use super::{IngestError, dicom, nifti, sidecars};
use crate::context::Context;
use crate::settings::ingest::IngestSettings;

/// Files that are looked at before their shared texts are merged: bounds memory.
const CHUNK_FILES: usize = 4096;
/// Archives in archives in archives: PACS nest two.
const NESTING_CAP: usize = 4;

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

/// A file with what is in it.
type Seen = (Found, Look);

/// Looks at every file and, in archives, at every member: all of them by path, with what each is.
///
/// # Errors
/// [`IngestError::Interrupted`] alone.
pub fn look(
    settings: &IngestSettings,
    files: &[Found],
    opener: &Opener,
    context: Context<'_>,
) -> Result<(Vec<Found>, Vec<Look>), IngestError> {
    let tables = settings.labels.iter().filter_map(|one| identity(&one.file)).collect();
    let eye = Eye { settings, tables, opener, context };
    context.observer.begin("reading headers", Some(files.len() as u64));
    let seen = eye.all(files.len(), |index| eye.visit(files[index].clone()));
    context.observer.end();
    let mut seen = seen.ok_or(IngestError::Interrupted)?;
    seen.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    let (found, mut looks): (Vec<Found>, Vec<Look>) = seen.into_iter().unzip();
    for (index, one) in looks.iter_mut().enumerate() {
        if let Look::Images(images) = one {
            images.iter_mut().for_each(|image| image.file = index);
        }
    }
    Ok((found, looks))
}

/// What looking needs.
struct Eye<'a> {
    settings: &'a IngestSettings,
    /// Label tables that the user gave.
    tables: BTreeSet<Identity>,
    opener: &'a Opener,
    context: Context<'a>,
}

impl Eye<'_> {
    /// `count` visits in parallel; `None` when interrupted.
    fn all(&self, count: usize, visit: impl Fn(usize) -> Option<Vec<Seen>> + Sync) -> Option<Vec<Seen>> {
        let mut seen = Vec::with_capacity(count);
        let mut shared: HashMap<String, Vec<Arc<Series>>> = HashMap::new();
        for first in (0..count).step_by(CHUNK_FILES) {
            let chunk = first..count.min(first + CHUNK_FILES);
            let part: Option<Vec<Vec<Seen>>> =
                self.context.pool.install(|| chunk.into_par_iter().map(&visit).collect());
            let mut part: Vec<Seen> = part?.into_iter().flatten().collect();
            part.iter_mut().for_each(|(_, look)| share(look, &mut shared));
            seen.append(&mut part);
        }
        Some(seen)
    }

    /// A file on the disk and all that is in it.
    fn visit(&self, file: Found) -> Option<Vec<Seen>> {
        if self.context.interrupt.is_set() {
            return None;
        }
        self.context.observer.advance(1);
        if let Some(verdict) = self.at_first_sight(&file) {
            return Some(vec![(file, Look::Verdict(verdict))]);
        }
        match self.opener.open(&file.path) {
            Ok(content) => self.inside(file, &content, 0),
            Err(error) => Some(vec![rejected(file, &error)]),
        }
    }

    /// What a file's name and size already say.
    fn at_first_sight(&self, file: &Found) -> Option<Verdict> {
        if let Some(problem) = &file.problem {
            return Some(Verdict::rejected("unreadable", &format!("cannot be read: {problem}")));
        }
        if file.path.to_str().is_none() {
            let message = "the path is not UTF-8 and cannot be written down; rename the file or its folder";
            return Some(Verdict::rejected("path-not-utf8", message));
        }
        if self.settings.exclude.iter().any(|pattern| pattern.is_match(&file.relative)) {
            return Some(Verdict::skipped("excluded", "fits an `exclude` pattern of the settings"));
        }
        if file.identity.is_some_and(|identity| self.tables.contains(&identity)) {
            return Some(Verdict::used("labels", "read as a label table"));
        }
        if file.bytes == 0 {
            return Some(Verdict::rejected("empty-file", "0 bytes: the copy was cut off; copy the file again"));
        }
        None
    }

    /// A file by its content; an archive with all its members.
    fn inside(&self, file: Found, content: &Content, depth: usize) -> Option<Vec<Seen>> {
        let peeked = match Peeked::of(content, WINDOW_BYTES) {
            Ok(peeked) => peeked,
            Err(error) => return Some(vec![rejected(file, &error)]),
        };
        match peeked.archive {
            Some(kind) => self.members(file, content, kind, depth),
            None => {
                let look = self.guarded(&file, content, peeked);
                Some(vec![(file, look)])
            }
        }
    }

    fn members(&self, file: Found, content: &Content, kind: Kind, depth: usize) -> Option<Vec<Seen>> {
        if depth >= NESTING_CAP {
            let message = format!("an archive in {NESTING_CAP} others; unpack it and ingest the folder");
            return Some(vec![(file, Look::Verdict(Verdict::rejected("archive", &message)))]);
        }
        let archive = match Archive::open(kind, content) {
            Ok(archive) => archive,
            Err(error) => return Some(vec![rejected(file, &error)]),
        };
        let names = archive.names();
        let member = |index: usize| {
            if self.context.interrupt.is_set() {
                return None;
            }
            let member = member_of(&file, &archive, index);
            if let Some(verdict) = self.at_first_sight(&member) {
                return Some(vec![(member, Look::Verdict(verdict))]);
            }
            match archive.member(index) {
                Ok(content) => self.inside(member, &content, depth + 1),
                Err(error) => Some(vec![rejected(member, &error)]),
            }
        };
        let mut seen = self.all(names.len(), member)?;
        let message = format!("an archive of {} files, each with a row of its own", names.len());
        seen.push((file, Look::Verdict(Verdict::used("container", &message))));
        Some(seen)
    }

    /// A decoder that panics on a malformed file rejects that file alone.
    fn guarded(&self, file: &Found, content: &Content, peeked: Peeked) -> Look {
        catch_unwind(AssertUnwindSafe(|| self.by_content(file, content, peeked))).unwrap_or_else(|_| {
            Look::Verdict(Verdict::rejected(
                "malformed",
                "the header is malformed: the reader gave up; export the file again",
            ))
        })
    }

    fn by_content(&self, file: &Found, content: &Content, peeked: Peeked) -> Look {
        let path = file.path.as_path();
        if nifti::is_nifti(path) {
            return self.nifti_file(file, content);
        }
        if nifti::header_of(path).is_some_and(|header| self.opener.exists(&header)) {
            return Look::VolumeData;
        }
        let start = peeked.unpacked();
        if picture::is_picture(start) {
            return Look::Picture;
        }
        if looks_like_dicom(start) {
            return dicom_file(file, content, peeked);
        }
        if let Some(kind) = unopened_archive(start) {
            let message = format!("a {kind} archive, which is not opened here: unpack it and ingest the folder");
            return Look::Verdict(Verdict::rejected("archive", &message));
        }
        if let Some(rows) = sidecar(&file.relative, content) {
            return Look::Sidecar(rows);
        }
        if extension(path) == "dcm" {
            let message = "named .dcm and neither begins as DICOM nor with one of its elements; copy the file again";
            return Look::Verdict(Verdict::rejected("not-dicom", message));
        }
        Look::Verdict(Verdict::skipped("not-an-image", "neither DICOM, NIfTI, PNG nor JPEG"))
    }

    fn nifti_file(&self, file: &Found, content: &Content) -> Look {
        if is_segmentation(&file.path) {
            return Look::Verdict(Verdict::skipped("segmentation", "a segmentation mask by its name"));
        }
        let place = nifti::Place { opener: self.opener, path: &file.path, relative: &file.relative, content };
        match nifti::read(&place) {
            Ok(images) => Look::Images(images),
            Err(error) => Look::Verdict(Verdict::rejected(error.reason(), &error.to_string())),
        }
    }
}

fn rejected(file: Found, error: &ContentError) -> Seen {
    (file, Look::Verdict(Verdict::rejected(error.reason(), &error.to_string())))
}

fn member_of(container: &Found, archive: &Archive, index: usize) -> Found {
    let name = &archive.names()[index];
    Found {
        path: member_path(&container.path, name),
        relative: format!("{}!/{name}", container.relative),
        source: container.source,
        bytes: archive.bytes(index),
        modified_ns: container.modified_ns,
        identity: None,
        problem: None,
    }
}

fn dicom_file(file: &Found, content: &Content, peeked: Peeked) -> Look {
    let unpacked = match peeked.packed {
        None => Ok((content.clone(), peeked.start)),
        Some((packing, inside)) => unpack::whole(packing, content).map(|content| (content, inside)),
    };
    let read = unpacked.map_err(dicom::DicomError::from).and_then(|(content, start)| {
        let header = header::parse(&content, start)?;
        dicom::read(&header, &file.relative)
    });
    match read {
        Ok(Ok(images)) => Look::Images(images),
        Ok(Err(verdict)) => Look::Verdict(verdict),
        Err(error) => Look::Verdict(Verdict::rejected(error.reason(), &error.to_string())),
    }
}

/// The rows of an information file of a known collection.
fn sidecar(relative: &str, content: &Content) -> Option<Vec<LabelRow>> {
    if !sidecars::may_be_one(relative) || content.bytes() > sidecars::CAP_BYTES {
        return None;
    }
    sidecars::read(relative, &labels::decoded(&content.start(usize::MAX).ok()?))
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default()
}

fn unopened_archive(start: &[u8]) -> Option<&'static str> {
    const MAGIC: [(&[u8], &str); 4] =
        [(b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!", "rar"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz")];
    MAGIC.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, kind)| *kind)
}

/// Masks are named after their image by all public collections of cardiac NIfTI.
fn is_segmentation(path: &Path) -> bool {
    let stem = nifti::stem(path).to_lowercase();
    ["_gt", "_seg", "_mask", "_label", "_segmentation"].iter().any(|ending| stem.ends_with(ending))
}

/// Different words on one series that are compared before another copy is kept.
const SHARED_SERIES: usize = 8;

/// Files of one series say the same of patient and scanner: one copy is kept.
fn share(look: &mut Look, shared: &mut HashMap<String, Vec<Arc<Series>>>) {
    let Look::Images(images) = look else { return };
    for image in images {
        let Some(known) = shared.get_mut(&image.series.series_uid) else {
            shared.insert(image.series.series_uid.clone(), vec![Arc::clone(&image.series)]);
            continue;
        };
        match known.iter().rev().take(SHARED_SERIES).find(|series| ***series == *image.series) {
            Some(series) => image.series = Arc::clone(series),
            None => known.push(Arc::clone(&image.series)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_told_by_their_names() {
        assert!(is_segmentation(Path::new("a/A0S9V9_sa_gt.nii.gz")));
        assert!(!is_segmentation(Path::new("a/A0S9V9_sa.nii.gz")));
    }
}
