//! A DICOM file's bytes to those of its de-identified copy (PS3.10 7, PS3.5 7 and A.4): a new preamble and meta group, the cleaned
//! data set, and the pixel data in their own transfer syntax, byte for byte. Only what no pixel uses is cleared: bits and padding of
//! native pixels (retired embedded overlays), comments in compressed ones. What follows the pixel data is dropped.
//!
//! Every length is held against the bytes that are there before a library reads the data set.

use std::io::{Read, Write};
use std::ops::Range;

use dicom::core::dictionary::{DataDictionaryEntry, VirtualVr};
use dicom::core::{DataDictionary, DataElement, PrimitiveValue, Tag, VR};
use dicom::dictionary_std::{StandardDataDictionary, tags, uids};
use dicom::encoding::TransferSyntaxIndex;
use dicom::object::{FileMetaTableBuilder, InMemDicomObject};
use dicom::transfer_syntax::TransferSyntaxRegistry;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::super::content::Content;
use super::super::dicom::coding::{Coding, DEPTH_CAP, ITEM, ITEM_END, SEQUENCE_END, UNDEFINED, has_long_length};
use super::super::dicom::header;
use super::super::privacy::Pseudonyms;
use super::dataset::{Cleaner, Subject};
use super::uid;
use super::{DeidentifyError, FILE_BYTES_CAP, comments};

const MAGIC: &[u8] = b"DICM";
const PREAMBLE_BYTES: usize = 128;
/// Of this program, made from its name: UUID of version 8 in decimal.
const IMPLEMENTATION_UID: &str = "2.25.1995448060524627292416902099542228145";
const IMPLEMENTATION_NAME: &str = "GROUPDISTIL_1";

/// The de-identified copy of a DICOM file. `name` stands for an instance without a UID of its own.
///
/// # Errors
/// [`DeidentifyError`]: the file is damaged, in an unknown coding, or hides an overlay in compressed pixels.
pub fn copy(bytes: &[u8], name: &str, subject: &Subject, ids: &Pseudonyms) -> Result<Vec<u8>, DeidentifyError> {
    let (syntax, start) = syntax_and_start(bytes)?;
    let inflated;
    let is_deflated = syntax == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
    let (coded, start) = if is_deflated {
        inflated = inflate(bytes.get(start..).unwrap_or_default())?;
        (inflated.as_slice(), 0)
    } else {
        (bytes, start)
    };
    let coding = Coding::of(&syntax);
    let pixels = locate(coded, start, coding)?;
    let inner = if is_deflated { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { syntax.as_str() };
    let inner = TransferSyntaxRegistry.get(inner).ok_or(DeidentifyError::TransferSyntax)?;
    let damaged = |_| DeidentifyError::Damaged;
    let top = InMemDicomObject::read_dataset_with_ts(&coded[start..pixels.element], inner).map_err(damaged)?;
    let told = header::parse(&Content::Memory(coded[start..pixels.element].into()), Vec::new());
    let told = told.map_err(|_| DeidentifyError::Damaged)?.item;
    let mut cleaned = Cleaner::new(ids, subject, &top, &told).main(&top);
    let (class, instance) = name_instance(&mut cleaned, &top, name, ids);

    let mut data_set = Vec::with_capacity(coded.len());
    cleaned.write_dataset_with_ts(&mut data_set, inner).map_err(|_| DeidentifyError::TransferSyntax)?;
    pixels.write(coded, coding, &top, &mut data_set)?;
    if is_deflated {
        data_set = deflate(&data_set)?;
    }
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(class)
        .media_storage_sop_instance_uid(instance)
        .transfer_syntax(syntax)
        .implementation_class_uid(IMPLEMENTATION_UID)
        .implementation_version_name(IMPLEMENTATION_NAME)
        .build()
        .map_err(|_| DeidentifyError::Damaged)?;
    let mut file = vec![0; PREAMBLE_BYTES];
    file.extend(MAGIC);
    meta.write(&mut file).map_err(|_| DeidentifyError::Damaged)?;
    file.append(&mut data_set);
    Ok(file)
}

/// Class and instance for the meta group: the cleaned ones, made where a file has none that may stay.
fn name_instance(
    cleaned: &mut InMemDicomObject,
    top: &InMemDicomObject,
    name: &str,
    ids: &Pseudonyms,
) -> (String, String) {
    let text = |item: &InMemDicomObject, tag| {
        let value = item.get(tag)?.to_str().ok()?;
        let value = value.trim_matches([' ', '\0']).to_owned();
        (!value.is_empty()).then_some(value)
    };
    let is_multi_frame = top.get(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).is_some();
    let usual = if is_multi_frame { uids::ENHANCED_MR_IMAGE_STORAGE } else { uids::MR_IMAGE_STORAGE };
    let class = text(cleaned, tags::SOP_CLASS_UID).unwrap_or_else(|| usual.to_owned());
    let instance = text(cleaned, tags::SOP_INSTANCE_UID).unwrap_or_else(|| uid::replaced(ids, name));
    for (tag, value) in [(tags::SOP_CLASS_UID, &class), (tags::SOP_INSTANCE_UID, &instance)] {
        cleaned.put(DataElement::new(tag, VR::UI, PrimitiveValue::from(value.as_str())));
    }
    (class, instance)
}

/// Transfer syntax, and where the data set begins. Without a meta group the syntax is told from the first element.
fn syntax_and_start(bytes: &[u8]) -> Result<(String, usize), DeidentifyError> {
    let mut at = if bytes.get(PREAMBLE_BYTES..PREAMBLE_BYTES + 4) == Some(MAGIC) { PREAMBLE_BYTES + 4 } else { 0 };
    let mut syntax = None;
    loop {
        let mut walker = Walker { bytes, at, coding: Coding::EXPLICIT_LITTLE };
        if walker.peek_group() != Some(2) {
            break;
        }
        let header = walker.header()?;
        let value = walker.value_range(header.length)?;
        if header.tag == tags::TRANSFER_SYNTAX_UID {
            let text = String::from_utf8_lossy(&bytes[value.clone()]).into_owned();
            syntax = Some(text.trim_matches([' ', '\0']).to_owned());
        }
        at = value.end;
    }
    let is_explicit = bytes.get(at + 4..at + 6).is_some_and(|vr| vr.iter().all(u8::is_ascii_uppercase));
    let told = if is_explicit { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { uids::IMPLICIT_VR_LITTLE_ENDIAN };
    Ok((syntax.unwrap_or_else(|| told.to_owned()), at))
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, DeidentifyError> {
    let mut inflated = Vec::new();
    let capped = DeflateDecoder::new(bytes).take(FILE_BYTES_CAP).read_to_end(&mut inflated);
    match capped {
        Ok(count) if (count as u64) < FILE_BYTES_CAP => Ok(inflated),
        _ => Err(DeidentifyError::Damaged),
    }
}

fn deflate(bytes: &[u8]) -> Result<Vec<u8>, DeidentifyError> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    let deflated = encoder.write_all(bytes).and_then(|()| encoder.finish());
    let mut deflated = deflated.map_err(|_| DeidentifyError::Damaged)?;
    // PS3.5 A.5: an even length.
    if deflated.len() % 2 == 1 {
        deflated.push(0);
    }
    Ok(deflated)
}

#[derive(Debug, Clone, Copy)]
struct Header {
    tag: Tag,
    vr: VR,
    length: u32,
}

/// Walks over elements without reading their values.
struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
    coding: Coding,
}

impl Walker<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DeidentifyError> {
        let end = self.at.checked_add(N).ok_or(DeidentifyError::Damaged)?;
        let found = self.bytes.get(self.at..end).and_then(|found| found.try_into().ok());
        self.at = end;
        found.ok_or(DeidentifyError::Damaged)
    }

    fn short(&mut self) -> Result<u16, DeidentifyError> {
        Ok(self.coding.short(self.take()?))
    }

    fn long(&mut self) -> Result<u32, DeidentifyError> {
        Ok(self.coding.long(self.take()?))
    }

    fn peek_group(&self) -> Option<u16> {
        Walker { bytes: self.bytes, at: self.at, coding: self.coding }.short().ok()
    }

    fn header(&mut self) -> Result<Header, DeidentifyError> {
        let tag = Tag(self.short()?, self.short()?);
        if tag.group() == 0xFFFE {
            return Ok(Header { tag, vr: VR::UN, length: self.long()? });
        }
        if !self.coding.is_explicit {
            let entry = StandardDataDictionary.by_tag(tag);
            let is_sequence = entry.is_some_and(|entry| entry.vr() == VirtualVr::Exact(VR::SQ));
            return Ok(Header { tag, vr: if is_sequence { VR::SQ } else { VR::UN }, length: self.long()? });
        }
        let vr = VR::from_binary(self.take()?).ok_or(DeidentifyError::Damaged)?;
        let length = if has_long_length(vr) {
            self.short()?;
            self.long()?
        } else {
            u32::from(self.short()?)
        };
        Ok(Header { tag, vr, length })
    }

    /// The bytes of a value of known length that begins here.
    fn value_range(&self, length: u32) -> Result<Range<usize>, DeidentifyError> {
        let length = usize::try_from(length).map_err(|_| DeidentifyError::Damaged)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        Ok(self.at..end.ok_or(DeidentifyError::Damaged)?)
    }

    /// Steps over a value, into sequences: their items too must end within the file.
    fn step_over(&mut self, header: Header, depth: u32) -> Result<(), DeidentifyError> {
        if depth > DEPTH_CAP {
            return Err(DeidentifyError::Damaged);
        }
        if header.vr != VR::SQ && header.length != UNDEFINED {
            self.at = self.value_range(header.length)?.end;
            return Ok(());
        }
        let outer = self.coding;
        if header.vr == VR::UN && outer.is_explicit {
            // PS3.5 6.2.2: such a sequence is in implicit VR little endian.
            self.coding = Coding::IMPLICIT_LITTLE;
        }
        let end = self.end_of(header.length)?;
        while self.at < end {
            let item = self.header()?;
            match item.tag {
                SEQUENCE_END => break,
                ITEM => self.items_elements(item.length, depth)?,
                _ => return Err(DeidentifyError::Damaged),
            }
        }
        self.coding = outer;
        Ok(())
    }

    fn items_elements(&mut self, length: u32, depth: u32) -> Result<(), DeidentifyError> {
        let end = self.end_of(length)?;
        while self.at < end {
            let element = self.header()?;
            if element.tag == ITEM_END {
                break;
            }
            self.step_over(element, depth + 1)?;
        }
        Ok(())
    }

    fn end_of(&self, length: u32) -> Result<usize, DeidentifyError> {
        if length == UNDEFINED { Ok(self.bytes.len()) } else { Ok(self.value_range(length)?.end) }
    }
}

/// The pixel data of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pixels {
    /// Where their element begins.
    element: usize,
    vr: [u8; 2],
    is_encapsulated: bool,
    /// Native values, or all fragments with their headers, without the delimiter.
    value: Range<usize>,
}

/// Finds the pixel data; all elements before them end where they say.
fn locate(bytes: &[u8], start: usize, coding: Coding) -> Result<Pixels, DeidentifyError> {
    let mut walker = Walker { bytes, at: start, coding };
    while walker.at < bytes.len() {
        let element = walker.at;
        let header = walker.header()?;
        if header.tag != tags::PIXEL_DATA {
            walker.step_over(header, 0)?;
            continue;
        }
        let vr = if header.vr == VR::OB { *b"OB" } else { *b"OW" };
        let is_encapsulated = header.length == UNDEFINED;
        let value = if is_encapsulated { fragments(&mut walker)? } else { walker.value_range(header.length)? };
        return Ok(Pixels { element, vr, is_encapsulated, value });
    }
    Err(DeidentifyError::Damaged)
}

/// The fragments that begin here, each of which ends within the file (PS3.5 A.4).
fn fragments(walker: &mut Walker<'_>) -> Result<Range<usize>, DeidentifyError> {
    let start = walker.at;
    while walker.at < walker.bytes.len() {
        let end = walker.at;
        let item = walker.header()?;
        match item.tag {
            SEQUENCE_END => return Ok(start..end),
            ITEM if item.length != UNDEFINED => walker.at = walker.value_range(item.length)?.end,
            _ => return Err(DeidentifyError::Damaged),
        }
    }
    // Some writers leave the delimiter out.
    Ok(start..walker.at)
}

impl Pixels {
    /// Appends the element to `out`.
    fn write(
        &self,
        bytes: &[u8],
        coding: Coding,
        top: &InMemDicomObject,
        out: &mut Vec<u8>,
    ) -> Result<(), DeidentifyError> {
        let number = |tag: Tag| top.get(tag).and_then(|element| element.to_int::<u64>().ok());
        let value = bytes.get(self.value.clone()).ok_or(DeidentifyError::Damaged)?;
        let tag =
            [coding.short_bytes(tags::PIXEL_DATA.group()), coding.short_bytes(tags::PIXEL_DATA.element())].concat();
        let mut header = |length: u32| {
            out.extend(&tag);
            if coding.is_explicit {
                out.extend(self.vr);
                out.extend([0, 0]);
            }
            out.extend(coding.long_bytes(length));
        };
        if self.is_encapsulated {
            if has_hidden_overlay(top) {
                return Err(DeidentifyError::HiddenOverlay);
            }
            header(UNDEFINED);
            let start = out.len();
            out.extend(value);
            clear_comments(&mut out[start..]);
            for part in [SEQUENCE_END.group(), SEQUENCE_END.element(), 0, 0] {
                out.extend(coding.short_bytes(part));
            }
            return Ok(());
        }
        let need = |tag| number(tag).ok_or(DeidentifyError::Damaged);
        let bits = need(tags::BITS_ALLOCATED)?;
        let bytes_a_pixel = Some(bits / 8).filter(|_| matches!(bits, 8 | 16 | 32)).ok_or(DeidentifyError::Damaged)?;
        let factors = [
            need(tags::COLUMNS)?,
            number(tags::NUMBER_OF_FRAMES).unwrap_or(1),
            number(tags::SAMPLES_PER_PIXEL).unwrap_or(1),
            bytes_a_pixel,
        ];
        let needed = factors.iter().try_fold(need(tags::ROWS)?, |all, one| all.checked_mul(*one));
        let needed = needed.and_then(|needed| usize::try_from(needed).ok()).ok_or(DeidentifyError::Damaged)?;
        let mut used = value.get(..needed).ok_or(DeidentifyError::Damaged)?.to_vec();
        clear_unused_bits(&mut used, top, coding);
        if used.len() % 2 == 1 {
            used.push(0);
        }
        header(u32::try_from(used.len()).map_err(|_| DeidentifyError::Damaged)?);
        out.append(&mut used);
        Ok(())
    }
}

/// Clears the comments of every fragment that begins a compressed stream.
fn clear_comments(fragments: &mut [u8]) {
    let mut at = 0_usize;
    // Encapsulated pixel data are little endian.
    while let Some(length) = fragments.get(at + 4..).and_then(|rest| rest.first_chunk::<4>()) {
        let start = at + 8;
        let end = usize::try_from(u32::from_le_bytes(*length)).ok().and_then(|length| start.checked_add(length));
        let Some(end) = end.filter(|end| *end <= fragments.len()) else { return };
        comments::clear(&mut fragments[start..end]);
        at = end;
    }
}

/// Whether an overlay lies in the bits of the pixels (retired: OverlayBitPosition other than 0, no OverlayData).
fn has_hidden_overlay(top: &InMemDicomObject) -> bool {
    (0x6000..=0x60FE_u16).step_by(2).any(|group| {
        let bits = top.get(Tag(group, 0x0100)).and_then(|element| element.to_int::<u16>().ok());
        bits.is_some_and(|bits| bits > 1) && top.get(Tag(group, 0x3000)).is_none()
    })
}

/// Sets the bits outside BitsStored to 0, or to the sign of signed pixels.
fn clear_unused_bits(pixels: &mut [u8], top: &InMemDicomObject, coding: Coding) {
    let number = |tag: Tag| top.get(tag).and_then(|element| element.to_int::<u32>().ok());
    let (Some(allocated), Some(stored)) = (number(tags::BITS_ALLOCATED), number(tags::BITS_STORED)) else { return };
    let high = number(tags::HIGH_BIT).unwrap_or_else(|| stored.saturating_sub(1));
    if !matches!(allocated, 8 | 16) || stored == 0 || stored >= allocated || high >= allocated || high + 1 < stored {
        return;
    }
    let low = high + 1 - stored;
    let mask = (((1_u32 << stored) - 1) << low) as u16;
    let above = !((1_u32 << (high + 1)).wrapping_sub(1)) as u16;
    let is_signed = number(tags::PIXEL_REPRESENTATION) == Some(1);
    let cleared = |value: u16| {
        let is_negative = is_signed && value & (1 << high) != 0;
        (value & mask) | if is_negative { above } else { 0 }
    };
    match allocated {
        8 => pixels.iter_mut().for_each(|byte| *byte = (cleared(u16::from(*byte)) & 0xff) as u8),
        16 => pixels.chunks_exact_mut(2).for_each(|pair| {
            let value = coding.short([pair[0], pair[1]]);
            pair.copy_from_slice(&coding.short_bytes(cleared(value)));
        }),
        _ => {}
    }
}

#[cfg(test)]
#[path = "part10_tests.rs"]
mod tests;
