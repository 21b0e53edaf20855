//! The private attributes that stay (option Retain Safe Private, PS3.15 E.3.10 and its table): scale intercept and scale slope of
//! Philips, without which stored values of two images are not on one scale. Enhanced objects hold them frame by frame in a private
//! sequence, which stays with nothing else in it.

use dicom::core::value::{DataSetSequence, PrimitiveValue};
use dicom::core::{DataElement, Length, Tag, VR};
use dicom::object::InMemDicomObject;

use super::super::dicom::charset::Charset;
use super::super::dicom::{self as headers, header};
use super::super::pixels::dicom::{PHILIPS, PHILIPS_FRAMES};

type Item = InMemDicomObject;

const GROUP: u16 = 0x2005;
/// Elements of a block of [`PHILIPS`]: scale intercept, scale slope.
const SCALES: [u8; 2] = [0x0D, 0x0E];
/// Element of a block of [`PHILIPS_FRAMES`]: the sequence of one frame.
const FRAME: u8 = 0x0F;

/// The safe private elements of an item, with the creators that reserve their blocks (PS3.5 7.8.1).
pub fn private(item: &Item) -> Vec<DataElement<Item>> {
    let mut kept = scales(item);
    if let Some(block) = block_of(item, PHILIPS_FRAMES) {
        let items = item.get(in_block(block, FRAME)).and_then(frame_items);
        let sequence = items.map(|items| {
            DataElement::new(in_block(block, FRAME), VR::SQ, DataSetSequence::new(items, Length::UNDEFINED))
        });
        kept.extend(with_creator(block, PHILIPS_FRAMES, sequence.into_iter().collect()));
    }
    kept
}

/// The block that a creator reserves in the group: the first, as the pixels' reader takes it.
fn block_of(item: &Item, creator: &str) -> Option<u16> {
    let is_its = |block: &u16| {
        let bytes = item.get(Tag(GROUP, *block)).and_then(|element| element.to_bytes().ok());
        bytes.is_some_and(|bytes| Charset::of("").decode(&bytes) == creator)
    };
    (0x10..=0xFF).find(is_its)
}

fn in_block(block: u16, element: u8) -> Tag {
    Tag(GROUP, block << 8 | u16::from(element))
}

/// Elements behind their creator; none without elements.
fn with_creator(block: u16, creator: &str, mut elements: Vec<DataElement<Item>>) -> Vec<DataElement<Item>> {
    if !elements.is_empty() {
        elements.insert(0, DataElement::new(Tag(GROUP, block), VR::LO, PrimitiveValue::from(creator)));
    }
    elements
}

/// One number as it is; in anything else, text could hide.
fn number(found: &DataElement<Item>) -> Option<DataElement<Item>> {
    let value = found.value().primitive()?;
    let is_number = match (found.vr(), value) {
        (VR::FL, PrimitiveValue::F32(values)) => values.len() == 1,
        (VR::FD, PrimitiveValue::F64(values)) => values.len() == 1,
        // In implicit VR, or written by somebody who did not know the attribute: the bytes of an FL.
        (VR::UN, value) => value.to_bytes().len() == 4,
        _ => false,
    };
    is_number.then(|| DataElement::new(found.header().tag, found.vr(), value.clone()))
}

/// The items of the private sequence with their scales alone; of unknown VR and known length, they are bytes that nobody took apart.
fn frame_items(found: &DataElement<Item>) -> Option<Vec<Item>> {
    if let Some(items) = found.items() {
        return Some(items.iter().map(|item| Item::from_element_iter(scales(item))).collect());
    }
    let bytes = found.value().primitive().filter(|_| found.vr() == VR::UN)?.to_bytes();
    let items = header::items_of_unknown(&bytes).ok()?;
    Some(items.iter().map(|item| Item::from_element_iter(scales_of_header(item))).collect())
}

/// Scale intercept and slope of an item.
fn scales(item: &Item) -> Vec<DataElement<Item>> {
    let Some(block) = block_of(item, PHILIPS) else { return Vec::new() };
    let found = SCALES.iter().filter_map(|element| item.get(in_block(block, *element)));
    with_creator(block, PHILIPS, found.filter_map(number).collect())
}

/// The same of an item that our own reader took apart.
fn scales_of_header(item: &headers::Item) -> Vec<DataElement<Item>> {
    let number = |element: &u8| {
        let tag = item.private(GROUP, PHILIPS, *element)?;
        let value = item.float(tag).ok()??;
        // Read from the four bytes of an FL: exact.
        Some(DataElement::new(tag, VR::FL, PrimitiveValue::from(value as f32)))
    };
    let numbers: Vec<DataElement<Item>> = SCALES.iter().filter_map(number).collect();
    let block = numbers.first().map(|first| first.header().tag.element() >> 8);
    block.map(|block| with_creator(block, PHILIPS, numbers)).unwrap_or_default()
}
