//! How elements of a data set are written (PS3.5 7), for those who walk over them: `header` and the copies of `deidentify`.

use dicom::core::{Tag, VR};
use dicom::dictionary_std::uids;

/// Length of sequences and items that end with a delimiter.
pub const UNDEFINED: u32 = u32::MAX;
/// Begins an item.
pub const ITEM: Tag = Tag(0xFFFE, 0xE000);
/// Ends an item of undefined length.
pub const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
/// Ends a sequence of undefined length.
pub const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);
/// Sequences are not nested deeper than this by any object.
pub const DEPTH_CAP: u32 = 16;
/// Retired, and still met.
pub const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// Whether the VR is written, and the byte order of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coding {
    /// The VR is written.
    pub is_explicit: bool,
    /// Numbers begin with their highest byte.
    pub is_big: bool,
}

impl Coding {
    /// Of the meta group, and of most data sets.
    pub const EXPLICIT_LITTLE: Self = Self { is_explicit: true, is_big: false };
    /// The default of the standard, and of sequences that are written as `UN` (PS3.5 6.2.2).
    pub const IMPLICIT_LITTLE: Self = Self { is_explicit: false, is_big: false };
    /// Retired.
    pub const EXPLICIT_BIG: Self = Self { is_explicit: true, is_big: true };

    /// Of a transfer syntax.
    pub fn of(syntax: &str) -> Self {
        match syntax {
            uids::IMPLICIT_VR_LITTLE_ENDIAN => Self::IMPLICIT_LITTLE,
            EXPLICIT_VR_BIG_ENDIAN => Self::EXPLICIT_BIG,
            _ => Self::EXPLICIT_LITTLE,
        }
    }

    /// A number of two bytes.
    pub fn short(self, bytes: [u8; 2]) -> u16 {
        if self.is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    /// A number of four bytes.
    pub fn long(self, bytes: [u8; 4]) -> u32 {
        if self.is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// The two bytes of a number.
    pub fn short_bytes(self, value: u16) -> [u8; 2] {
        if self.is_big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    /// The four bytes of a number.
    pub fn long_bytes(self, value: u32) -> [u8; 4] {
        if self.is_big { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

/// Whether an explicit VR is followed by two reserved bytes and a length of four (PS3.5 7.1.2).
pub fn has_long_length(vr: VR) -> bool {
    use VR::{OB, OD, OF, OL, OV, OW, SQ, SV, UC, UN, UR, UT, UV};
    [OB, OD, OF, OL, OV, OW, SQ, SV, UC, UN, UR, UT, UV].contains(&vr)
}
