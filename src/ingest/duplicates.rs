//! Files that were stored twice. DICOM: the same SOPInstanceUID; NIfTI: the same bytes under a second name.
//!
//! The file that stays is the one with the shortest name: copies get longer ones (`copy of x`, `x (1)`). Equal length: the first
//! in byte order. DICOM copies may be packed, compressed in another transfer syntax, or have another header around them: equal
//! pixels make them duplicates, and a lossy one gives way to any that is not. The same SOPInstanceUID over different pixels is
//! rejected, save for the file that stays.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::content::{Content, Opener};
use super::discover::Found;
use super::image::Format;
use super::ledger::Verdict;
use super::look::Look;
use super::{nifti, pixels};
use crate::context::Context;

/// Replaces the second and later copies by verdicts.
pub fn set_aside(found: &[Found], looks: &mut [Look], opener: &Opener, context: Context<'_>) {
    let mut by_instance: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut by_bytes: HashMap<u64, Vec<usize>> = HashMap::new();
    for (index, look) in looks.iter().enumerate() {
        let Look::Images(images) = look else { continue };
        match images.first() {
            Some(first) if first.series.format == Format::Dicom => {
                by_instance.entry(&first.instance).or_default().push(index);
            }
            // Of a .hdr + .img pair the header says nothing of the voxels.
            Some(first) if first.series.format == Format::Nifti && !nifti::is_header(&found[index].path) => {
                by_bytes.entry(found[index].bytes).or_default().push(index);
            }
            _ => {}
        }
    }
    let same_instance = by_instance.into_values().filter(|files| files.len() > 1);
    let same_size = by_bytes.into_values().filter(|files| files.len() > 1);
    let suspects: Vec<(bool, Vec<usize>)> =
        same_instance.map(|files| (true, files)).chain(same_size.map(|files| (false, files))).collect();
    let verdicts: Vec<(usize, Verdict)> = context.pool.install(|| {
        let judge = |(by_instance, files): &(bool, Vec<usize>)| {
            let copies = Copies { found, opener, by_instance: *by_instance };
            copies.judge(files)
        };
        suspects.par_iter().flat_map_iter(judge).collect()
    });
    for (index, verdict) in verdicts {
        looks[index] = Look::Verdict(verdict);
    }
}

/// Files that may be copies of each other.
struct Copies<'a> {
    found: &'a [Found],
    opener: &'a Opener,
    /// They have one SOPInstanceUID; else one size.
    by_instance: bool,
}

impl Copies<'_> {
    /// Verdicts on all files but those that stay.
    fn judge(&self, files: &[usize]) -> Vec<(usize, Verdict)> {
        let name_length = |index: &usize| self.found[*index].path.file_name().map_or(0, std::ffi::OsStr::len);
        let is_lossy: BTreeMap<usize, bool> = files.iter().map(|index| (*index, self.is_lossy(*index))).collect();
        let mut files = files.to_vec();
        files.sort_by_key(|index| (is_lossy[index], name_length(index), *index));
        let mut stays: Vec<([u8; 32], Option<[u8; 32]>)> = Vec::new();
        let mut verdicts = Vec::new();
        for index in files {
            let Some(bytes) = self.bytes_hash(index) else {
                let message = "it could be read once and not again; check the disk";
                verdicts.push((index, Verdict::rejected("unreadable", message)));
                continue;
            };
            if stays.iter().any(|(known, _)| *known == bytes) {
                verdicts.push((index, Verdict::skipped("duplicate", "the same bytes as another file of this source")));
                continue;
            }
            let pixels = if self.by_instance { self.pixels_hash(index) } else { None };
            if stays.is_empty() || !self.by_instance {
                stays.push((bytes, pixels));
            } else if pixels.is_some() && stays.iter().any(|(_, known)| *known == pixels) {
                let message = "the same instance and pixels as another file, in other coding or with another header";
                verdicts.push((index, Verdict::skipped("duplicate", message)));
            } else if is_lossy[&index] {
                let message = "a lossy copy of an instance that another file holds";
                verdicts.push((index, Verdict::skipped("duplicate", message)));
            } else {
                let message =
                    "the SOPInstanceUID of another file with other pixels: one of them was changed; the other is used";
                verdicts.push((index, Verdict::rejected("conflicting-instance", message)));
            }
        }
        verdicts
    }

    /// Whether the file says that compression has changed its pixels.
    fn is_lossy(&self, index: usize) -> bool {
        self.by_instance && pixels::dicom::is_lossy(self.opener, &self.found[index].path)
    }

    /// SHA-256 of the bytes, of DICOM unpacked; `None` when they cannot be read again.
    fn bytes_hash(&self, index: usize) -> Option<[u8; 32]> {
        let path = &self.found[index].path;
        let content = if self.by_instance { self.opener.open_unpacked(path) } else { self.opener.open(path) };
        hash(&content.ok()?)
    }

    /// SHA-256 of all decoded pixels.
    fn pixels_hash(&self, index: usize) -> Option<[u8; 32]> {
        pixels_hash(self.opener, &self.found[index].path)
    }
}

/// SHA-256 of a content.
fn hash(content: &Content) -> Option<[u8; 32]> {
    let mut reader = content.reader();
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer).ok()? {
            0 => return Some(hasher.finalize().into()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn pixels_hash(opener: &Opener, path: &Path) -> Option<[u8; 32]> {
    let mut hasher = Sha256::new();
    for frame in 0..pixels::dicom::frame_count(opener, path).ok()? {
        for channel in pixels::read_frames(opener, path, &[frame]).ok()?.concat() {
            hasher.update((channel.nrows() as u64).to_le_bytes());
            channel.iter().for_each(|value| hasher.update(value.to_le_bytes()));
        }
    }
    Some(hasher.finalize().into())
}
