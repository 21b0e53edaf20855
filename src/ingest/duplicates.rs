//! Files that were stored twice. DICOM: the same SOPInstanceUID; NIfTI: the same bytes under a second name.
//!
//! The file that stays is the one with the shortest name: copies get longer ones (`copy of x`, `x (1)`). Equal length: the first
//! in byte order. DICOM copies may be packed, compressed in another transfer syntax, or have another header around them: equal
//! pixels make them duplicates, and a lossy one gives way to any that is not. The same SOPInstanceUID over different pixels is
//! rejected, save for the file that stays.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::io::Read;

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

/// SHA-256.
type Hash = [u8; 32];

/// Files that may be copies of each other.
struct Copies<'a> {
    found: &'a [Found],
    opener: &'a Opener,
    /// They have one SOPInstanceUID; else one size.
    by_instance: bool,
}

/// What tells one copy from another without a look at its pixels.
struct Twin {
    index: usize,
    /// Compression has changed its pixels, as it says.
    is_lossy: bool,
    /// Of the bytes, of DICOM unpacked; `None` when they cannot be read again.
    bytes: Option<Hash>,
}

impl Copies<'_> {
    /// Verdicts on all files but those that stay.
    fn judge(&self, files: &[usize]) -> Vec<(usize, Verdict)> {
        let name_length = |index: usize| self.found[index].path.file_name().map_or(0, std::ffi::OsStr::len);
        let mut twins: Vec<Twin> = files.iter().map(|index| self.twin(*index)).collect();
        twins.sort_by_key(|twin| (twin.is_lossy, name_length(twin.index), twin.index));
        let mut stays: Vec<(usize, Hash)> = Vec::new();
        // Of the file that stays; most copies are equal in their bytes, and nobody asks.
        let first_pixels: OnceCell<Option<Hash>> = OnceCell::new();
        let mut verdicts = Vec::new();
        for Twin { index, is_lossy, bytes } in twins {
            let Some(bytes) = bytes else {
                let message = "it could be read once and not again; check the disk";
                verdicts.push((index, Verdict::rejected("unreadable", message)));
                continue;
            };
            if stays.iter().any(|(_, known)| *known == bytes) {
                verdicts.push((index, Verdict::skipped("duplicate", "the same bytes as another file of this source")));
                continue;
            }
            let Some((first, _)) = stays.first().filter(|_| self.by_instance) else {
                stays.push((index, bytes));
                continue;
            };
            let pixels = self.pixels_hash(index);
            if pixels.is_some() && *first_pixels.get_or_init(|| self.pixels_hash(*first)) == pixels {
                let message = "the same instance and pixels as another file, in other coding or with another header";
                verdicts.push((index, Verdict::skipped("duplicate", message)));
            } else if is_lossy {
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

    /// Opens a file once for all that is asked of each. Nothing of it stays open: there may be any number of copies.
    fn twin(&self, index: usize) -> Twin {
        let path = &self.found[index].path;
        let content = if self.by_instance { self.opener.open_unpacked(path) } else { self.opener.open(path) };
        let Ok(content) = content else { return Twin { index, is_lossy: false, bytes: None } };
        let header = self.by_instance.then(|| pixels::dicom::header_of(path, &content).ok()).flatten();
        Twin { index, is_lossy: header.is_some_and(|header| pixels::dicom::is_lossy(&header)), bytes: hash(&content) }
    }

    /// Of all decoded pixels of a DICOM file.
    fn pixels_hash(&self, index: usize) -> Option<Hash> {
        let path = &self.found[index].path;
        let frames = pixels::dicom::Frames::open(path, &self.opener.open_unpacked(path).ok()?).ok()?;
        let mut hasher = Sha256::new();
        for frame in 0..frames.count() {
            let grey = frames.frame(frame).ok()?;
            hasher.update((grey.nrows() as u64).to_le_bytes());
            grey.iter().for_each(|value| hasher.update(value.to_le_bytes()));
        }
        Some(hasher.finalize().into())
    }
}

/// SHA-256 of a content.
fn hash(content: &Content) -> Option<Hash> {
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

#[cfg(test)]
mod tests {
    use dicom::core::{DataElement, PrimitiveValue, Tag, VR};
    use dicom::dictionary_std::{tags, uids};
    use dicom::object::{FileMetaTableBuilder, InMemDicomObject};

    use super::*;

    /// Two frames of 1 x 2 pixels.
    fn write(path: &std::path::Path, syntax: &str, lossy: &str, stored: [u16; 4]) {
        let text = |tag: Tag, vr, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
        let number = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
        let object = InMemDicomObject::from_element_iter([
            text(tags::SOP_CLASS_UID, VR::UI, uids::MR_IMAGE_STORAGE),
            text(tags::SOP_INSTANCE_UID, VR::UI, "2.25.1"),
            text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
            text(tags::NUMBER_OF_FRAMES, VR::IS, "2"),
            text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, lossy),
            number(tags::ROWS, 1),
            number(tags::COLUMNS, 2),
            number(tags::BITS_ALLOCATED, 16),
            DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(stored.into_iter().collect())),
        ]);
        let meta = FileMetaTableBuilder::new().transfer_syntax(syntax);
        object.with_meta(meta).unwrap().write_to_file(path).unwrap();
    }

    #[test]
    fn copies_of_an_instance_are_told_by_the_pixels_of_all_frames() {
        let folder = tempfile::tempdir().unwrap();
        let (little, implicit) = (uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN);
        let files = [
            ("lossy", implicit, "01", [9, 9, 9, 9]),
            ("a.dcm", little, "00", [1, 2, 3, 4]),
            ("b (1).dcm", little, "00", [1, 2, 3, 4]),
            ("c in other coding", implicit, "00", [1, 2, 3, 4]),
            ("d with another last pixel", little, "00", [1, 2, 3, 5]),
        ];
        let found: Vec<Found> = files
            .into_iter()
            .map(|(name, syntax, lossy, stored)| {
                let path = folder.path().join(name);
                write(&path, syntax, lossy, stored);
                let (relative, bytes) = (name.to_owned(), 1);
                Found { path, relative, source: 0, bytes, modified_ns: 0, identity: None, problem: None }
            })
            .collect();
        let copies = Copies { found: &found, opener: &Opener::new(), by_instance: true };
        let verdicts = copies.judge(&[0, 1, 2, 3, 4]);
        let told: Vec<(usize, &str)> = verdicts.iter().map(|(index, verdict)| (*index, verdict.reason)).collect();
        let expected = [(2, "duplicate"), (3, "duplicate"), (4, "conflicting-instance"), (0, "duplicate")];
        assert_eq!(told, expected, "the shortest name without loss stays");
    }
}
