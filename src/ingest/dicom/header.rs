//! A DICOM file's structure, walked once up to its pixel data (PS3.5 7, PS3.10 7.1): what ingest uses is kept, all else is stepped
//! over unread, so that a file costs one read of its first kilobytes.
//!
//! No element may claim more bytes than the file has. Files without preamble or meta group, and data sets whose coding is not the
//! announced one, are read by what their first element looks like.

use dicom::core::{Tag, VR};
use dicom::dictionary_std::{tags, uids};
use flate2::read::DeflateDecoder;

use super::DicomError;
use super::charset::Charset;
use super::coding::{
    Coding, DEPTH_CAP, EXPLICIT_VR_BIG_ENDIAN, ITEM, ITEM_END, SEQUENCE_END, UNDEFINED, has_long_length,
};
use super::item::{Element, Item, Value};
use super::wanted::wanted;
use crate::ingest::content::{Content, unpack};

/// The largest value that is kept: a modality table of 65536 entries.
const VALUE_CAP_BYTES: u32 = 1 << 18;
/// More items than any sequence has; bounds what a file of empty items costs.
const ITEMS_CAP: usize = 100_000;
/// Of the preamble and the magic code.
const PREAMBLE_BYTES: usize = 132;
/// Bytes that are read at once; most headers end before.
pub const WINDOW_BYTES: usize = 16 << 10;

/// Where the pixel data are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelData {
    /// First byte in [`Header::content`].
    pub start: u64,
    /// Announced length; `None` when encapsulated in fragments.
    pub length: Option<u64>,
}

/// What the walk found.
#[derive(Debug, Clone)]
pub struct Header {
    /// MediaStorageSOPClassUID; empty without meta group.
    pub sop_class: String,
    /// TransferSyntaxUID; empty without meta group.
    pub transfer_syntax: String,
    /// The kept elements.
    pub item: Item,
    /// `None` when there is no PixelData element.
    pub pixel_data: Option<PixelData>,
    /// The bytes that `pixel_data` counts in: the file's, or what its deflated data set inflates to.
    pub content: Content,
}

/// Whether the values of this transfer syntax lie in the file as they are.
pub fn is_native(transfer_syntax: &str) -> bool {
    let native = [
        "",
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
        uids::EXPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_BIG_ENDIAN,
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    ];
    native.contains(&transfer_syntax)
}

/// Whether a file that begins like this may be DICOM: by its magic code, or by a first element of group 2 or 8.
pub fn looks_like_dicom(start: &[u8]) -> bool {
    let is_group = |low: u8, high: u8| matches!((low, high), (2 | 8, 0) | (0, 8));
    let is_first = |at: &[u8]| match at {
        [a, b, _, _, c, d, ..] if VR::from_binary([*c, *d]).is_some() => is_group(*a, *b),
        // Implicit: a little-endian length that a first element may have, of an element that every image has.
        [8, 0, element, 0, _, length, 0, 0, ..] => *element <= 0x90 && *length < 4,
        _ => false,
    };
    start.get(128..132) == Some(b"DICM") || is_first(start)
}

/// Walks the elements of a file up to its pixel data; `start` is what was read of it already.
///
/// # Errors
/// [`DicomError::Structure`] with the element that does not fit, [`DicomError::Content`] for what cannot be read or inflated.
pub fn parse(content: &Content, start: Vec<u8>) -> Result<Header, DicomError> {
    let at = if start.get(128..132) == Some(b"DICM") { PREAMBLE_BYTES as u64 } else { 0 };
    let mut walker = Walker::new(content, start, at);
    let (sop_class, transfer_syntax) = walker.meta()?;
    if transfer_syntax == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
        let deflated = content.part(walker.at, content.bytes());
        let cap_bytes = unpack::expansion_cap(deflated.bytes());
        let content = unpack::keep(DeflateDecoder::new(deflated.reader()), cap_bytes, "deflated data set")?;
        let mut walker = Walker::new(&content, Vec::new(), 0);
        let (item, pixel_data) = walker.data_set()?;
        return Ok(Header { sop_class, transfer_syntax, item, pixel_data, content: content.clone() });
    }
    walker.coding = walker.coding_of(&transfer_syntax)?;
    let (item, pixel_data) = walker.data_set()?;
    Ok(Header { sop_class, transfer_syntax, item, pixel_data, content: content.clone() })
}

/// The items of a sequence that was kept as the bytes of a `UN` value: implicit VR little endian (PS3.5 6.2.2).
///
/// # Errors
/// [`DicomError::Structure`].
pub fn items_of_unknown(bytes: &[u8]) -> Result<Vec<Item>, DicomError> {
    let content = Content::Memory(bytes.into());
    let mut walker = Walker::new(&content, Vec::new(), 0);
    walker.coding = Coding::IMPLICIT_LITTLE;
    let mut items = Vec::new();
    walker.items(Head { tag: ITEM, vr: None, length: UNDEFINED }, 0, Some(&mut items))?;
    Ok(items)
}

#[derive(Debug, Clone, Copy)]
struct Head {
    tag: Tag,
    /// `None` where it is not written.
    vr: Option<VR>,
    length: u32,
}

struct Walker<'a> {
    content: &'a Content,
    /// Bytes from `window_start` on.
    window: Vec<u8>,
    window_start: u64,
    at: u64,
    end: u64,
    coding: Coding,
    charset: Charset,
}

fn cut_off(tag: Tag) -> DicomError {
    DicomError::Structure { tag, problem: "ends beyond the file, which was cut off or damaged" }
}

impl<'a> Walker<'a> {
    fn new(content: &'a Content, window: Vec<u8>, at: u64) -> Self {
        let coding = Coding::EXPLICIT_LITTLE;
        let charset = Charset::of("");
        Self { content, window, window_start: 0, at, end: content.bytes(), coding, charset }
    }

    /// The next `count` bytes, which stay unread; fewer at the end.
    fn peek(&mut self, count: usize) -> Result<&[u8], DicomError> {
        let inside = |from: u64, window: &[u8]| {
            let offset = usize::try_from(self.at.checked_sub(from)?).ok()?;
            (offset.checked_add(count)? <= window.len()).then_some(offset)
        };
        let offset = match inside(self.window_start, &self.window) {
            Some(offset) => offset,
            None => {
                let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
                let mut window = vec![0; count.max(WINDOW_BYTES).min(left)];
                let there =
                    self.content.read_at(&mut window, self.at).map_err(|error| DicomError::Content(error.into()))?;
                window.truncate(there);
                (self.window, self.window_start) = (window, self.at);
                0
            }
        };
        Ok(&self.window[offset..self.window.len().min(offset + count)])
    }

    fn take<const N: usize>(&mut self, tag: Tag) -> Result<[u8; N], DicomError> {
        let bytes = self.peek(N)?.try_into().map_err(|_| cut_off(tag))?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn skip(&mut self, count: u32, tag: Tag) -> Result<(), DicomError> {
        self.at = self.bound(count, tag)?;
        Ok(())
    }

    /// The next element's head; `None` at the end. Fewer bytes than a head has are padding.
    fn head(&mut self) -> Result<Option<Head>, DicomError> {
        let Ok([a, b, c, d, e, f, g, h]) = <[u8; 8]>::try_from(self.peek(8)?) else {
            self.at = self.end;
            return Ok(None);
        };
        self.at += 8;
        let tag = Tag(self.coding.short([a, b]), self.coding.short([c, d]));
        if tag.0 == 0xFFFE || !self.coding.is_explicit {
            return Ok(Some(Head { tag, vr: None, length: self.coding.long([e, f, g, h]) }));
        }
        let problem = "has no valid value representation: the file is damaged";
        let vr = VR::from_binary([e, f]).ok_or(DicomError::Structure { tag, problem })?;
        let length = if has_long_length(vr) {
            let length = self.take::<4>(tag)?;
            self.coding.long(length)
        } else {
            u32::from(self.coding.short([g, h]))
        };
        Ok(Some(Head { tag, vr: Some(vr), length }))
    }

    /// SOP class and transfer syntax of the meta group; it may be missing.
    fn meta(&mut self) -> Result<(String, String), DicomError> {
        let (mut sop_class, mut transfer_syntax) = (String::new(), String::new());
        while matches!(self.peek(2)?, [2, 0]) {
            let Some(head) = self.head()? else { break };
            let kept = match head.tag {
                tags::MEDIA_STORAGE_SOP_CLASS_UID => Some(&mut sop_class),
                tags::TRANSFER_SYNTAX_UID => Some(&mut transfer_syntax),
                _ => None,
            };
            match kept {
                Some(kept) => *kept = Charset::of("").decode(&self.value_bytes(head)?),
                None => self.skip(head.length, head.tag)?,
            }
        }
        Ok((sop_class, transfer_syntax))
    }

    /// How the data set is written: as announced, unless its first element looks otherwise.
    fn coding_of(&mut self, transfer_syntax: &str) -> Result<Coding, DicomError> {
        let announced = Coding::of(transfer_syntax);
        Ok(match self.peek(6)? {
            // The first group of every data set here is below 0x0100.
            [0, high, _, _, a, b] if *high != 0 && VR::from_binary([*a, *b]).is_some() => Coding::EXPLICIT_BIG,
            [_, 0, _, _, a, b] if VR::from_binary([*a, *b]).is_some() => Coding::EXPLICIT_LITTLE,
            [_, 0, _, _, _, _] if !announced.is_big => Coding::IMPLICIT_LITTLE,
            _ => announced,
        })
    }

    /// Walks the data set to its pixel data or its end.
    fn data_set(&mut self) -> Result<(Item, Option<PixelData>), DicomError> {
        let mut item = Item::empty(self.coding.is_big, self.charset);
        while let Some(head) = self.head()? {
            if head.tag == tags::PIXEL_DATA {
                let length = (head.length != UNDEFINED).then_some(u64::from(head.length));
                return Ok((item, Some(PixelData { start: self.at, length })));
            }
            self.element(head, 0, Some(&mut item))?;
            if head.tag == tags::SPECIFIC_CHARACTER_SET {
                self.charset = Charset::of(&item.text(head.tag).unwrap_or_default());
                item.charset = self.charset;
            }
        }
        Ok((item, None))
    }

    /// Walks over an element, and keeps it in `into` where it is wanted.
    fn element(&mut self, head: Head, depth: u32, into: Option<&mut Item>) -> Result<(), DicomError> {
        let Head { tag, vr, length } = head;
        if depth > DEPTH_CAP {
            return Err(DicomError::Structure { tag, problem: "is nested too deeply: the file is damaged" });
        }
        let known = wanted(tag);
        // PACS write `UN` for what they do not know; the dictionary knows.
        let vr = vr.filter(|vr| *vr != VR::UN).or(known).unwrap_or(VR::UN);
        let into = into.filter(|item| known.is_some() && !item.has(tag));
        if vr != VR::SQ && length != UNDEFINED {
            return match into {
                Some(item) if length <= VALUE_CAP_BYTES => {
                    let value = Value::Bytes(self.value_bytes(head)?);
                    item.elements.push(Element { tag, vr, value });
                    Ok(())
                }
                _ => self.skip(length, tag),
            };
        }
        match into {
            Some(item) => {
                let mut items = Vec::new();
                self.items(head, depth, Some(&mut items))?;
                item.elements.push(Element { tag, vr: VR::SQ, value: Value::Items(items) });
                Ok(())
            }
            // A sequence of known length that nobody wants is stepped over whole.
            None if length != UNDEFINED => self.skip(length, tag),
            None => self.items(head, depth, None),
        }
    }

    /// Walks the items of a sequence.
    fn items(&mut self, head: Head, depth: u32, mut into: Option<&mut Vec<Item>>) -> Result<(), DicomError> {
        let Head { tag, vr, length } = head;
        let outer = self.coding;
        if vr == Some(VR::UN) {
            // PS3.5 6.2.2: the content of such a sequence is implicit VR little endian.
            self.coding = Coding::IMPLICIT_LITTLE;
        }
        let end = self.bound(length, tag)?;
        let mut count = 0;
        while self.at < end {
            let Some(head) = self.head()? else { break };
            if head.tag == SEQUENCE_END {
                break;
            }
            count += 1;
            if head.tag != ITEM || count > ITEMS_CAP {
                let problem = "is a sequence of something else than items: the file is damaged";
                return Err(DicomError::Structure { tag, problem });
            }
            match &mut into {
                Some(items) => {
                    let mut item = Item::empty(self.coding.is_big, self.charset);
                    self.item(head, depth, Some(&mut item))?;
                    items.push(item);
                }
                None if head.length != UNDEFINED => self.skip(head.length, tag)?,
                None => self.item(head, depth, None)?,
            }
        }
        self.coding = outer;
        Ok(())
    }

    fn item(&mut self, head: Head, depth: u32, mut into: Option<&mut Item>) -> Result<(), DicomError> {
        let end = self.bound(head.length, head.tag)?;
        while self.at < end {
            let Some(element) = self.head()? else { break };
            if element.tag == ITEM_END {
                break;
            }
            self.element(element, depth + 1, into.as_deref_mut())?;
        }
        Ok(())
    }

    fn value_bytes(&mut self, head: Head) -> Result<Box<[u8]>, DicomError> {
        let end = self.bound(head.length, head.tag)?;
        let count = head.length.min(VALUE_CAP_BYTES) as usize;
        let bytes = Box::from(self.peek(count)?);
        self.at = end;
        Ok(bytes)
    }

    /// Where a value, sequence or item ends at the latest.
    fn bound(&self, length: u32, tag: Tag) -> Result<u64, DicomError> {
        if length == UNDEFINED {
            return Ok(self.end);
        }
        self.at.checked_add(u64::from(length)).filter(|end| *end <= self.end).ok_or_else(|| cut_off(tag))
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
