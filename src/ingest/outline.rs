//! The structure of a DICOM file, walked before a library reads it: no element may claim more bytes than the file has (a library
//! would reserve them), and the pixel data's place and length are known without reading them (PS3.5 7.1, 7.5, PS3.10 7.1).

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use dicom::core::dictionary::{DataDictionaryEntry, VirtualVr};
use dicom::core::{DataDictionary, Tag, VR};
use dicom::dictionary_std::{StandardDataDictionary, tags, uids};

use super::dicom::DicomError;
use crate::fsx;

/// Sequences are not nested deeper than this by any object.
const DEPTH_CAP: u32 = 16;
/// Length of sequences and items that end with a delimiter.
const UNDEFINED: u32 = u32::MAX;
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);
/// Retired, and still met.
pub const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
/// Of the preamble and the magic code.
const PREAMBLE_BYTES: u64 = 132;
/// Of the transfer syntax's text.
const UID_CAP_BYTES: u32 = 64;

/// Where the pixel data are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelData {
    /// Announced length; `None` when encapsulated in fragments.
    pub length: Option<u64>,
    /// Bytes from the first pixel to the end of the file.
    pub available: u64,
}

/// What the walk found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// Transfer syntax UID.
    pub transfer_syntax: String,
    /// `None` when there is no PixelData element.
    pub pixel_data: Option<PixelData>,
}

/// Whether the values of this transfer syntax lie in the file as they are.
pub fn is_native(transfer_syntax: &str) -> bool {
    [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN]
        .contains(&transfer_syntax)
}

/// Walks the elements of a file up to its pixel data.
///
/// # Errors
/// [`DicomError::Structure`] with the element that does not fit, [`DicomError::TransferSyntax`] for deflated files.
pub fn walk(path: &Path, bytes: u64) -> Result<Outline, DicomError> {
    let file = fsx::open(path).map_err(|_| DicomError::Read("cannot be opened".to_owned()))?;
    let mut walker = Walker { file: BufReader::new(file), at: 0, end: bytes, coding: Coding::EXPLICIT_LITTLE };
    walker.skip(PREAMBLE_BYTES, tags::FILE_META_INFORMATION_VERSION)?;
    let mut transfer_syntax = String::new();
    let mut header = walker.header()?;
    while let Some(element) = header.filter(|element| element.tag.0 == 2) {
        if element.tag == tags::TRANSFER_SYNTAX_UID && element.length <= UID_CAP_BYTES {
            transfer_syntax = walker.text(element)?;
        } else {
            walker.skip(u64::from(element.length), element.tag)?;
        }
        walker.coding = Coding::EXPLICIT_LITTLE;
        if walker.next_group()? != Some(2) {
            break;
        }
        header = walker.header()?;
    }
    walker.coding = match transfer_syntax.as_str() {
        uids::IMPLICIT_VR_LITTLE_ENDIAN => Coding { is_explicit: false, is_big: false },
        EXPLICIT_VR_BIG_ENDIAN => Coding { is_explicit: true, is_big: true },
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => {
            return Err(DicomError::TransferSyntax { name: "Deflated Explicit VR Little Endian".to_owned() });
        }
        "" => return Err(DicomError::Read("no transfer syntax in the file meta information".to_owned())),
        _ => Coding::EXPLICIT_LITTLE,
    };
    let pixel_data = walker.data_set()?;
    Ok(Outline { transfer_syntax, pixel_data })
}

/// How elements are written.
#[derive(Debug, Clone, Copy)]
struct Coding {
    is_explicit: bool,
    is_big: bool,
}

impl Coding {
    const EXPLICIT_LITTLE: Self = Self { is_explicit: true, is_big: false };
    const IMPLICIT_LITTLE: Self = Self { is_explicit: false, is_big: false };
}

#[derive(Debug, Clone, Copy)]
struct Header {
    tag: Tag,
    vr: VR,
    length: u32,
}

struct Walker {
    file: BufReader<File>,
    at: u64,
    end: u64,
    coding: Coding,
}

fn cut_off(tag: Tag) -> DicomError {
    DicomError::Structure { tag, problem: "ends beyond the file, which was cut off or damaged" }
}

impl Walker {
    fn skip(&mut self, count: u64, tag: Tag) -> Result<(), DicomError> {
        let at = self.at.checked_add(count).filter(|at| *at <= self.end).ok_or_else(|| cut_off(tag))?;
        let step = i64::try_from(count).map_err(|_| cut_off(tag))?;
        self.file.seek_relative(step).map_err(|error| DicomError::Read(error.kind().to_string()))?;
        self.at = at;
        Ok(())
    }

    fn take<const N: usize>(&mut self, tag: Tag) -> Result<[u8; N], DicomError> {
        let mut bytes = [0; N];
        match self.file.read_exact(&mut bytes) {
            Ok(()) => self.at += N as u64,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(cut_off(tag)),
            Err(error) => return Err(DicomError::Read(error.kind().to_string())),
        }
        Ok(bytes)
    }

    fn short(&mut self, tag: Tag) -> Result<u16, DicomError> {
        let bytes = self.take::<2>(tag)?;
        Ok(if self.coding.is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn long(&mut self, tag: Tag) -> Result<u32, DicomError> {
        let bytes = self.take::<4>(tag)?;
        Ok(if self.coding.is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// The group of the next element, which stays unread.
    fn next_group(&mut self) -> Result<Option<u16>, DicomError> {
        if self.at >= self.end {
            return Ok(None);
        }
        let group = self.short(Tag(0, 0))?;
        self.file.seek_relative(-2).map_err(|error| DicomError::Read(error.kind().to_string()))?;
        self.at -= 2;
        Ok(Some(group))
    }

    /// The next element's header; `None` at the end of the file.
    fn header(&mut self) -> Result<Option<Header>, DicomError> {
        if self.at >= self.end {
            return Ok(None);
        }
        let group = self.short(Tag(0, 0))?;
        let tag = Tag(group, self.short(Tag(group, 0))?);
        if group == 0xFFFE {
            return Ok(Some(Header { tag, vr: VR::UN, length: self.long(tag)? }));
        }
        if !self.coding.is_explicit {
            let entry = StandardDataDictionary.by_tag(tag);
            let is_sequence = entry.is_some_and(|entry| entry.vr() == VirtualVr::Exact(VR::SQ));
            let vr = if is_sequence { VR::SQ } else { VR::UN };
            return Ok(Some(Header { tag, vr, length: self.long(tag)? }));
        }
        let letters = self.take::<2>(tag)?;
        let problem = "has no valid value representation: the file is damaged";
        let vr = VR::from_binary(letters).ok_or(DicomError::Structure { tag, problem })?;
        let length = match vr {
            VR::OB
            | VR::OD
            | VR::OF
            | VR::OL
            | VR::OV
            | VR::OW
            | VR::SQ
            | VR::SV
            | VR::UC
            | VR::UN
            | VR::UR
            | VR::UT
            | VR::UV => {
                self.short(tag)?;
                self.long(tag)?
            }
            _ => u32::from(self.short(tag)?),
        };
        Ok(Some(Header { tag, vr, length }))
    }

    /// A value as text without padding; only for lengths that were capped.
    fn text(&mut self, element: Header) -> Result<String, DicomError> {
        let mut text = String::new();
        for _ in 0..element.length {
            let [letter] = self.take::<1>(element.tag)?;
            text.push(char::from(letter));
        }
        Ok(text.trim_matches(['\0', ' ']).to_owned())
    }

    /// Walks the data set to its pixel data or its end.
    fn data_set(&mut self) -> Result<Option<PixelData>, DicomError> {
        while let Some(element) = self.header()? {
            if element.tag == tags::PIXEL_DATA {
                let length = (element.length != UNDEFINED).then_some(u64::from(element.length));
                return Ok(Some(PixelData { length, available: self.end.saturating_sub(self.at) }));
            }
            self.value(element, 0)?;
        }
        Ok(None)
    }

    /// Walks over a value, into sequences.
    fn value(&mut self, element: Header, depth: u32) -> Result<(), DicomError> {
        let Header { tag, vr, length } = element;
        if depth > DEPTH_CAP {
            return Err(DicomError::Structure { tag, problem: "is nested too deeply: the file is damaged" });
        }
        if vr != VR::SQ && length != UNDEFINED {
            return self.skip(u64::from(length), tag);
        }
        let outer = self.coding;
        if vr == VR::UN && length == UNDEFINED {
            // PS3.5 6.2.2: the content of such a sequence is implicit VR little endian.
            self.coding = Coding::IMPLICIT_LITTLE;
        }
        let end = self.bound(length, tag)?;
        while self.at < end {
            let Some(item) = self.header()? else { break };
            match item.tag {
                SEQUENCE_END => break,
                ITEM => self.item(item, depth)?,
                _ => {
                    return Err(DicomError::Structure {
                        tag,
                        problem: "is a sequence without items: the file is damaged",
                    });
                }
            }
        }
        self.coding = outer;
        Ok(())
    }

    fn item(&mut self, item: Header, depth: u32) -> Result<(), DicomError> {
        let end = self.bound(item.length, item.tag)?;
        while self.at < end {
            let Some(element) = self.header()? else { break };
            if element.tag == ITEM_END {
                break;
            }
            self.value(element, depth + 1)?;
        }
        Ok(())
    }

    /// Where a sequence or item ends at the latest.
    fn bound(&self, length: u32, tag: Tag) -> Result<u64, DicomError> {
        if length == UNDEFINED {
            return Ok(self.end);
        }
        self.at.checked_add(u64::from(length)).filter(|end| *end <= self.end).ok_or_else(|| cut_off(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: (u16, u16), vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
        let mut bytes = [tag.0.to_le_bytes(), tag.1.to_le_bytes()].concat();
        bytes.extend(vr);
        bytes.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
        bytes.extend(value);
        bytes
    }

    fn outline(data_set: &[u8]) -> Result<Outline, DicomError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.dcm");
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM");
        bytes.extend(element((2, 0x10), b"UI", b"1.2.840.10008.1.2.1\0"));
        bytes.extend(data_set);
        fsx::write_atomic(&path, &bytes).unwrap();
        walk(&path, bytes.len() as u64)
    }

    fn pixel_data(length: u32, bytes: usize) -> Vec<u8> {
        let mut all = vec![0xE0, 0x7F, 0x10, 0x00, b'O', b'W', 0, 0];
        all.extend(length.to_le_bytes());
        all.extend(vec![0; bytes]);
        all
    }

    #[test]
    fn the_place_of_the_pixels_is_found_behind_nested_sequences() {
        // (0008,1140) SQ of undefined length: one item of undefined length with one element, both delimited.
        let mut bytes = element((8, 0x60), b"CS", b"MR");
        bytes.extend([0x08, 0, 0x40, 0x11, b'S', b'Q', 0, 0, 0xff, 0xff, 0xff, 0xff]);
        bytes.extend([0xfe, 0xff, 0x00, 0xe0, 0xff, 0xff, 0xff, 0xff]);
        bytes.extend(element((8, 0x1155), b"UI", b"1.2\0"));
        bytes.extend([0xfe, 0xff, 0x0d, 0xe0, 0, 0, 0, 0, 0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
        bytes.extend(pixel_data(8, 8));
        let found = outline(&bytes).unwrap();
        assert_eq!(found.transfer_syntax, uids::EXPLICIT_VR_LITTLE_ENDIAN);
        assert_eq!(found.pixel_data, Some(PixelData { length: Some(8), available: 8 }));
    }

    #[test]
    fn an_element_that_claims_more_than_the_file_has_is_refused_before_anything_is_reserved() {
        let mut bytes = vec![0x08, 0, 0x05, 0x30, b'O', b'B', 0, 0, 0xf0, 0xff, 0xff, 0xff];
        bytes.extend([0; 16]);
        assert!(matches!(outline(&bytes), Err(DicomError::Structure { tag: Tag(8, 0x3005), .. })));
        let nested = [0x08, 0, 0x40, 0x11, b'S', b'Q', 0, 0, 0xff, 0xff, 0xff, 0x7f];
        assert!(matches!(outline(&nested), Err(DicomError::Structure { .. })));
    }

    #[test]
    fn pixels_that_were_cut_off_are_counted() {
        let found = outline(&pixel_data(8, 5)).unwrap();
        assert_eq!(found.pixel_data, Some(PixelData { length: Some(8), available: 5 }));
        assert_eq!(outline(&element((8, 0x60), b"CS", b"MR")).unwrap().pixel_data, None);
    }
}
