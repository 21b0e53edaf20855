//! Files that were stored twice. DICOM: the same SOPInstanceUID; NIfTI: the same bytes under a second name.
//!
//! The file that stays is the one with the shortest name: copies get longer ones (`copy of x`, `x (1)`). Equal length: the first
//! in byte order. The same SOPInstanceUID over different content is rejected, save for the file that stays.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::discover::Found;
use super::image::Format;
use super::ledger::Verdict;
use super::look::Look;
use super::nifti;
use crate::context::Context;
use crate::fsx;

/// Replaces the second and later copies by verdicts.
pub fn set_aside(found: &[Found], looks: &mut [Look], context: Context<'_>) {
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
        suspects.par_iter().flat_map_iter(|(by_instance, files)| judge(found, files, *by_instance)).collect()
    });
    for (index, verdict) in verdicts {
        looks[index] = Look::Verdict(verdict);
    }
}

fn judge(found: &[Found], files: &[usize], by_instance: bool) -> Vec<(usize, Verdict)> {
    let name_length = |index: &usize| found[*index].path.file_name().map_or(0, std::ffi::OsStr::len);
    let mut files = files.to_vec();
    files.sort_by_key(|index| (name_length(index), *index));
    let mut by_content: BTreeMap<Option<[u8; 32]>, Vec<usize>> = BTreeMap::new();
    let mut first_content = None;
    for (rank, index) in files.into_iter().enumerate() {
        let content = hash(&found[index].path);
        if rank == 0 {
            first_content = Some(content);
        }
        by_content.entry(content).or_default().push(index);
    }
    let mut verdicts = Vec::new();
    for (content, copies) in by_content {
        let stays = !by_instance || first_content == Some(content);
        let twice = || Verdict::skipped("duplicate", "the same bytes as another file of this source");
        verdicts.extend(copies.iter().skip(1).map(|index| (*index, twice())));
        if !stays {
            let message =
                "the SOPInstanceUID of another file with other content: one of them was changed; the other is used";
            verdicts.push((copies[0], Verdict::rejected("conflicting-instance", message)));
        }
    }
    verdicts
}

/// SHA-256 of a file's bytes; `None` when it cannot be read again.
fn hash(path: &Path) -> Option<[u8; 32]> {
    let mut file = fsx::open(path).ok()?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(hasher.finalize().into()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
