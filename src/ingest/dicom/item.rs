//! The elements that were kept of a data set or of a sequence's item, and their values. A missing attribute is `None`, a malformed
//! one an error that names it.

use dicom::core::{Tag, VR};

use super::charset::Charset;
use super::{DicomError, malformed};

/// A value as it lies in the file.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Bytes, numbers in the order of the data set.
    Bytes(Box<[u8]>),
    /// Items of a sequence.
    Items(Vec<Item>),
}

/// One element.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// Tag.
    pub tag: Tag,
    /// As written, else of the dictionary.
    pub vr: VR,
    /// Value.
    pub value: Value,
}

/// The kept elements of a data set or item.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// In the order of the file.
    pub elements: Vec<Element>,
    /// Whether numbers are big-endian.
    pub is_big: bool,
    /// How text is written.
    pub charset: Charset,
}

impl Item {
    /// An item without elements.
    pub fn empty(is_big: bool, charset: Charset) -> Self {
        Self { elements: Vec::new(), is_big, charset }
    }

    fn element(&self, tag: Tag) -> Option<&Element> {
        self.elements.iter().find(|element| element.tag == tag)
    }

    /// The tag of a private element: `element` of the block that `creator` reserves in `group` (PS3.5 7.8.1).
    pub fn private(&self, group: u16, creator: &str, element: u8) -> Option<Tag> {
        let in_group = self.elements.iter().map(|element| element.tag).filter(|tag| tag.0 == group);
        let mut creators = in_group.filter(|tag| (0x10..=0xFF).contains(&tag.1));
        let block = creators.find(|tag| self.text(*tag).as_deref() == Some(creator))?;
        Some(Tag(group, block.1 << 8 | u16::from(element)))
    }

    /// Whether the attribute is there, even if empty.
    pub fn has(&self, tag: Tag) -> bool {
        self.element(tag).is_some()
    }

    /// The bytes of a value.
    pub fn bytes(&self, tag: Tag) -> Option<&[u8]> {
        match &self.element(tag)?.value {
            Value::Bytes(bytes) => Some(bytes),
            Value::Items(_) => None,
        }
    }

    /// The items of a sequence.
    pub fn items(&self, tag: Tag) -> Option<&[Item]> {
        match &self.element(tag)?.value {
            Value::Items(items) => Some(items),
            Value::Bytes(_) => None,
        }
    }

    /// The first item of a sequence.
    pub fn first(&self, tag: Tag) -> Option<&Item> {
        self.items(tag)?.first()
    }

    /// Text without padding; empty is absent.
    pub fn text(&self, tag: Tag) -> Option<String> {
        let element = self.element(tag)?;
        let Value::Bytes(bytes) = &element.value else { return None };
        let text = match element.vr {
            VR::US | VR::UL | VR::SS | VR::SL | VR::FL | VR::FD => {
                let numbers = self.numbers(element).ok()?;
                numbers.iter().map(f64::to_string).collect::<Vec<_>>().join("\\")
            }
            _ => self.charset.decode(bytes),
        };
        (!text.is_empty()).then_some(text)
    }

    /// Finite decimal numbers; an empty value is absent.
    ///
    /// # Errors
    /// [`DicomError::Attribute`].
    pub fn floats(&self, tag: Tag) -> Result<Option<Vec<f64>>, DicomError> {
        let Some(element) = self.element(tag) else { return Ok(None) };
        let values = self.numbers(element)?;
        if values.iter().all(|value| value.is_finite()) {
            Ok((!values.is_empty()).then_some(values))
        } else {
            Err(malformed(tag, "not finite", "decimal numbers"))
        }
    }

    /// The first of [`Item::floats`].
    ///
    /// # Errors
    /// [`DicomError::Attribute`].
    pub fn float(&self, tag: Tag) -> Result<Option<f64>, DicomError> {
        Ok(self.floats(tag)?.and_then(|values| values.first().copied()))
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`DicomError::Attribute`].
    pub fn integer(&self, tag: Tag) -> Result<Option<i64>, DicomError> {
        let Some(value) = self.float(tag)? else { return Ok(None) };
        // Exact: far below 2^53.
        if value.fract() == 0.0 && value.abs() < 9e15 {
            Ok(Some(value as i64))
        } else {
            Err(malformed(tag, "malformed", "a whole number"))
        }
    }

    fn numbers(&self, element: &Element) -> Result<Vec<f64>, DicomError> {
        let wrong = || malformed(element.tag, "malformed", "decimal numbers");
        let Value::Bytes(bytes) = &element.value else { return Err(wrong()) };
        match element.vr {
            VR::US => fixed(bytes, self.is_big, u16::from_le_bytes).ok_or_else(wrong),
            VR::SS => fixed(bytes, self.is_big, i16::from_le_bytes).ok_or_else(wrong),
            VR::UL => fixed(bytes, self.is_big, u32::from_le_bytes).ok_or_else(wrong),
            VR::SL => fixed(bytes, self.is_big, i32::from_le_bytes).ok_or_else(wrong),
            VR::FL => fixed(bytes, self.is_big, f32::from_le_bytes).ok_or_else(wrong),
            VR::FD => fixed(bytes, self.is_big, f64::from_le_bytes).ok_or_else(wrong),
            VR::OB | VR::OW | VR::OF | VR::OD | VR::UN | VR::SQ => Err(wrong()),
            _ => {
                let text = self.charset.decode(bytes);
                if text.is_empty() {
                    return Ok(Vec::new());
                }
                let number = |part: &str| part.trim_matches([' ', '\0']).parse::<f64>().map_err(|_| wrong());
                text.split('\\').map(number).collect()
            }
        }
    }
}

/// Numbers of fixed width; `None` when the bytes are no multiple of it.
fn fixed<const N: usize, T: Into<f64>>(bytes: &[u8], is_big: bool, read: fn([u8; N]) -> T) -> Option<Vec<f64>> {
    if !bytes.len().is_multiple_of(N) {
        return None;
    }
    let number = |chunk: &[u8]| {
        let mut little = [0; N];
        little.copy_from_slice(chunk);
        if is_big {
            little.reverse();
        }
        read(little).into()
    };
    Some(bytes.chunks_exact(N).map(number).collect())
}
